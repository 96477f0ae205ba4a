"""Hooks of torch around a ``step`` and a stream, as ``__call__`` runs them around ``forward``."""

from __future__ import annotations

import contextlib
import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from causalcnn.nn.exporting import is_exporting

__all__ = ["HookedCall", "has_forward_hooks", "has_hooks", "hooked_step", "hooks_running", "plain_step", "renew_weight"]

_WEIGHT_MAKERS = (WeightNorm, SpectralNorm, BasePruningMethod)
"""Hooks of torch that make a weight from its parts in front of every ``forward``."""

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")

_FLAGS = (
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_is_full_backward_hook",
)

_running: ContextVar[tuple[nn.Module, ...]] = ContextVar("running", default=())
"""The modules whose hooks are around what runs now: a ``forward`` may step, and a ``step`` call its module."""


def _all_hooks(module: nn.Module, *kinds: str) -> list[Callable[..., Any]]:
    """The hooks of a module that are not there to make a weight."""
    hooks = [hook for kind in kinds for hook in getattr(module, kind).values()]
    return [hook for hook in hooks if not isinstance(hook, _WEIGHT_MAKERS)]


def has_hooks(module: nn.Module) -> bool:
    """Say whether a call of a module is more than its ``forward``."""
    return bool(
        module._forward_pre_hooks or module._forward_hooks or module._backward_pre_hooks or module._backward_hooks
    )


def has_forward_hooks(module: nn.Module) -> bool:
    """Say whether a module has forward hooks that do something else than to make a weight."""
    hooked = bool(module._forward_pre_hooks or module._forward_hooks)
    return hooked and bool(_all_hooks(module, "_forward_pre_hooks", "_forward_hooks"))


def renew_weight(module: nn.Module) -> None:
    """Run the hooks that make weights, for who reads these without a call: they would be those of the last one."""
    if is_exporting():
        return  # the weight of the last step becomes a constant
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, _WEIGHT_MAKERS):
            hook(module, ())


@contextlib.contextmanager
def hooks_running(module: nn.Module) -> Iterator[bool]:
    """Say whether a module's hooks run already; until the end of the block they do."""
    running = _running.get()
    token = _running.set((*running, module))
    try:
        yield any(one is module for one in running)
    finally:
        _running.reset(token)


class _Around(nn.Module):
    """Runs a function with the hooks of a module around it, and lets torch do so: it alone knows all kinds of them."""

    def __init__(self, module: nn.Module, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()

        def of_module(hook: Callable[..., Any]) -> Callable[..., Any]:
            def run(_: nn.Module, *given: Any) -> Any:
                return hook(module, *given)

            run.__dict__["around"] = self  # a backward hook of the old kind keeps its module by a weak reference only
            return run

        for kind in _HOOKS:
            setattr(self, kind, OrderedDict((key, of_module(hook)) for key, hook in getattr(module, kind).items()))
        for flag in _FLAGS:
            setattr(self, flag, getattr(module, flag))
        self.forward = function


def _call(module: nn.Module, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Run a function of a piece with the module's hooks around it, unless they run already."""
    with hooks_running(module) as already:
        return function(x) if already else _Around(module, function)(x)


Step = Callable[[Any, Tensor, Any], tuple[Tensor, Any]]


def hooked_step(step: Step) -> Step:
    """Make a ``step`` run the hooks of its module, which see the piece and what comes of it, and never the state.

    Args:
        step: the method.

    Returns:
        The method that does so; :func:`plain_step` gives ``step`` back.
    """

    @functools.wraps(step)
    def run(module: nn.Module, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        if not has_hooks(module):
            return step(module, x, state)
        makes_weights_only = not _all_hooks(module, *_HOOKS)
        if torch.compiler.is_compiling() and makes_weights_only:
            renew_weight(module)
            return step(module, x, state)
        if makes_weights_only:
            with hooks_running(module) as already:
                if not already:
                    renew_weight(module)
                return step(module, x, state)
        if torch.compiler.is_compiling() and not is_exporting():
            return torch.compiler.disable(_step)(step, module, x, state)
        return _step(step, module, x, state)

    run.__dict__["plain"] = step
    return run


def plain_step(kind: type) -> Step:
    """The ``step`` of a class without hooks around it."""
    step = kind.step  # type: ignore[attr-defined]
    return getattr(step, "plain", step)


def _step(step: Step, module: nn.Module, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    after: list[Any] = []

    def function(piece: Tensor) -> Tensor:
        y, new = step(module, piece, state)
        after.append(new)
        return y

    return _call(module, function, x), after[0]


class HookedCall:
    """A method of a stream with the hooks of its module around it, which see pieces, also where it takes frames.

    Args:
        stream: the stream.
        name: the name of the method.
    """

    def __init__(self, stream: Any, name: str) -> None:
        self.stream, self.name = stream, name

    def __call__(self, x: Tensor) -> Tensor:
        """Run it on a piece, or on a frame."""
        method = getattr(type(self.stream), self.name)
        if self.name == "_frame":
            return _call(
                self.stream.module, lambda piece: method(self.stream, piece[:, :, 0])[:, :, None], x[:, :, None]
            )[:, :, 0]
        return _call(self.stream.module, functools.partial(method, self.stream), x)
