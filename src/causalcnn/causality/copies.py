"""Copies of networks, also of those that torch refuses to copy."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import Tensor, nn
from torch.utils import _pytree as pytree

__all__ = ["copied"]

Module = TypeVar("Module", bound=nn.Module)


def copied(module: Module) -> Module:
    """A deep copy, also of a module that keeps the result of a computation.

    ``copy.deepcopy`` refuses a tensor that has a gradient history: the weight that ``torch.nn.utils.weight_norm`` made
    from its two parts (and makes again in every call), an activation that a forward has kept. The copy holds the
    same numbers without the history.
    """
    memo: dict[int, object] = {}
    for part in module.modules():
        for value in pytree.tree_leaves(vars(part)):
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(module, memo)
