"""Checks of arguments that every part of the library makes alike."""

from __future__ import annotations

import operator
from typing import SupportsIndex

__all__ = ["at_least"]


def at_least(name: str, value: SupportsIndex, minimum: int = 1) -> int:
    """Check that an argument is an integer of at least ``minimum``.

    Args:
        name: name of the argument, for the message.
        value: its value.
        minimum: the smallest value that is allowed.

    Returns:
        The value.

    Raises:
        ValueError: it is no integer, or is smaller; the message names the argument, its value and the rule.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = minimum - 1
    if number < minimum:
        raise ValueError(f"{name} is {value!r}; it must be an integer of at least {minimum}")
    return number
