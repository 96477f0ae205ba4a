"""Where a network may change what it does: lengths that its own code compares, divides by, or builds masks with.

A trace sees one length of input. A network that pads to a multiple of 16, or has a window of 100 frames, does something
else at another. So the sizes that a network asks for during a trace are whole numbers that note what is done to them
(:class:`Length`), and constants that meet the numbers of a mask are noted too. Which lengths are tried then follows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

__all__ = ["Landmarks", "Length"]

SMALLEST, LARGEST = 4, 1 << 14
"""Numbers beyond these are no lengths: an exponent, the base of a positional code, a mask of −1e9."""


@dataclass
class Landmarks:
    """Numbers of input frames at which a network may change what it does.

    Attributes:
        frames: of the input that is traced.
        limits: lengths that the code compares its own with.
        divisors: numbers that it divides a length by.
        constants: numbers that meet the constants of masks and indices; some may be no lengths at all.
        reach: frames of the past that the windows of all masks let through, one after the other; 0 without a window.
    """

    frames: int
    limits: set[int] = field(default_factory=set)
    divisors: set[int] = field(default_factory=set)
    constants: set[int] = field(default_factory=set)
    reach: int = 0

    def sizes(self, shape: torch.Size) -> torch.Size:
        """Return the same shape, in which sizes that may be times note what is done to them."""
        return torch.Size([self.size(n) for n in shape])

    def size(self, n: int) -> int:
        """Return the same number; where it may be a time, as one that notes what is done to it."""
        return Length(n, Fraction(self.frames, n), self) if SMALLEST <= n <= 4 * self.frames else n

    def limit(self, at: Fraction | float) -> None:
        """Note a number of input frames from which on something may change."""
        if SMALLEST <= at <= LARGEST:
            self.limits.add(int(at))

    def divisor(self, by: Fraction | float) -> None:
        """Note a number of input frames of which the length may or may not be a multiple."""
        if 1 < by <= LARGEST and by == int(by):
            self.divisors.add(int(by))

    def constant(self, value: Any, tensor: Tensor) -> None:
        """Note a number that an operation on a constant tensor is given: it may be a distance in time."""
        if isinstance(value, (int, float)) and not isinstance(value, bool) and tensor.numel():
            frames = abs(value) * max(1, self.frames // max(tensor.shape, default=1))
            if 2 * SMALLEST <= frames <= LARGEST:
                self.constants.add(int(frames))

    def slice(self, whole: Tensor, axis: int) -> None:
        """Note where a stored mask of which a part is used changes along its last row."""
        if whole.dim() < 2 or axis < whole.dim() - 2 or whole.shape[-1] <= self.frames:
            return
        row = whole.reshape(-1, whole.shape[-1])[-1]
        changes = (row[1:] != row[:-1]).nonzero().flatten()
        if len(changes) <= 8:
            for place in changes.tolist():
                self.constant(whole.shape[-1] - 1 - place, whole)

    def window(self, hidden: Tensor) -> None:
        """Note how far back a constant mask ``(…, rows, columns)`` lets each row look, if it hides the first column."""
        if hidden.dim() < 2 or not SMALLEST <= hidden.shape[-2] <= hidden.shape[-1]:
            return
        seen = ~hidden.reshape(-1, *hidden.shape[-2:]).all(0)
        if seen[-1, 0] or not seen[-1].any():
            return
        first = seen.to(torch.uint8).argmax(-1)
        own = torch.arange(len(first)) + hidden.shape[-1] - hidden.shape[-2]
        self.reach += int((own - first)[seen.any(-1)].max()) * max(1, self.frames // len(first))


class Length(int):
    """A whole number that stands for a length of time and notes what it is compared with and divided by.

    Attributes:
        per: input frames for one more of it; negative where it falls as the input grows.
        notes: where to note.
    """

    per: Fraction
    notes: Landmarks

    def __new__(cls, value: int, per: Fraction, notes: Landmarks) -> Length:  # noqa: D102
        self = super().__new__(cls, value)
        self.per, self.notes = per, notes
        return self

    def __reduce__(self) -> tuple:
        return int, (int(self),)

    def __deepcopy__(self, memo: dict) -> int:
        return int(self)

    def _like(self, value: int, per: Fraction) -> int:
        return Length(value, per, self.notes) if per else value

    def _meets(self, other: Any) -> None:
        if isinstance(other, (int, float)) and not isinstance(other, Length):
            self.notes.limit(self.notes.frames + (other - int(self)) * self.per)

    def _divided(self, other: Any) -> None:
        if isinstance(other, (int, float)) and not isinstance(other, Length):
            self.notes.divisor(abs(float(other * self.per)))

    # ------------------------------------------------------------------ longer and shorter
    def _plus(self, other: Any, sign: int) -> Any:
        if not isinstance(other, int):
            return NotImplemented
        rate = 1 / self.per + (sign / other.per if isinstance(other, Length) else 0)
        return self._like(int(self) + sign * int(other), 1 / rate if rate else Fraction(0))

    def __add__(self, other: Any) -> Any:
        return self._plus(other, 1)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._plus(other, -1)

    def __neg__(self) -> int:
        return self._like(-int(self), -self.per)

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __mul__(self, other: Any) -> Any:
        result = int(self) * other if not isinstance(other, Length) else int(self) * int(other)
        plain = isinstance(other, int) and not isinstance(other, Length)
        return self._like(result, self.per / other) if plain and other else result

    __rmul__ = __mul__

    # ------------------------------------------------------------------ compared
    def __lt__(self, other: Any) -> Any:
        self._meets(other)
        return int.__lt__(self, other)

    def __le__(self, other: Any) -> Any:
        self._meets(other)
        return int.__le__(self, other)

    def __gt__(self, other: Any) -> Any:
        self._meets(other)
        return int.__gt__(self, other)

    def __ge__(self, other: Any) -> Any:
        self._meets(other)
        return int.__ge__(self, other)

    def __eq__(self, other: Any) -> Any:
        self._meets(other)
        return int.__eq__(self, other)

    def __ne__(self, other: Any) -> Any:
        self._meets(other)
        return int.__ne__(self, other)

    __hash__ = int.__hash__

    def bit_length(self) -> int:
        """Return the number of binary digits: it changes at powers of two."""
        bits = int(self).bit_length()
        self._meets(1 << bits)
        return bits

    # ------------------------------------------------------------------ divided
    def __mod__(self, other: Any) -> Any:
        self._divided(other)
        return int(self) % other

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __truediv__(self, other: Any) -> Any:
        self._divided(other)
        return int(self) / other

    def __floordiv__(self, other: Any) -> Any:
        self._divided(other)
        plain = isinstance(other, int) and not isinstance(other, Length)
        return self._like(int(self) // other, self.per * other) if plain else int(self) // other

    def __and__(self, other: Any) -> Any:
        self._divided(other + 1)
        return int(self) & other

    def __rshift__(self, other: Any) -> Any:
        return self // (1 << other)
