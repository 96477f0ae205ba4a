"""When a module's word for its field is taken: where what runs is what declared it."""

from __future__ import annotations

from types import FunctionType

from torch import nn
from torch.nn.modules import module as torch_module

from causalcnn.field import Field
from causalcnn.nn.hooks import has_forward_hooks

__all__ = ["declared_field"]

DESCRIBES = {"__init__", "__repr__", "__str__", "extra_repr", "_get_name", "reset_parameters"}
"""Methods that a subclass may have of its own without computing anything else."""


def declared_field(module: nn.Module) -> Field | None:
    """Return the field that a module declares, if it can be believed.

    A field belongs to the class that declares it. It is not believed of a subclass that overrides ``forward`` or any
    other method without declaring it anew, nor where a method was replaced on the object, nor under hooks, which may
    change what goes in and comes out; and it is made of the fields of the parts, so that all of this holds for them.

    Args:
        module: any module.

    Returns:
        The field, or None where there is none or it need not be true; then the operations have to be followed.
    """
    field = getattr(module, "field", None)
    if not isinstance(field, Field) or _has_global_hooks():
        return None
    return field if all(_is_as_declared(part) for part in module.modules()) else None


def _has_global_hooks() -> bool:
    return bool(torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks)


def _is_as_declared(part: nn.Module) -> bool:
    if has_forward_hooks(part):
        return False
    if any(isinstance(getattr(type(part), name, None), FunctionType) for name in vars(part)):
        return False  # a method was replaced on this object
    for owner in type(part).__mro__:  # the most derived class first
        if "field" in vars(owner) or owner.__module__.startswith(("causalcnn.", "torch.")):
            return True
        if any(isinstance(value, FunctionType) for name, value in vars(owner).items() if name not in DESCRIBES):
            return not hasattr(type(part), "field") and "field" not in vars(part)
    return True
