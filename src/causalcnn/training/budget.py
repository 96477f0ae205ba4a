"""How long to train: a number of steps, or a length of time."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Budget"]

SECONDS_OF = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
}
EXAMPLES = "write for example '500 steps', '90 s', '20 min' or '1.5 h'"


@dataclass(frozen=True)
class Budget:
    """How long a training takes, in steps or in seconds.

    With a budget in steps, every run gives the same numbers. One in seconds fits a deadline; how many steps it allows,
    and so how its learning rate falls, depends on the machine and on what else runs there.

    Attributes:
        steps: number of updates of the weights, ≥ 1; None for a budget in seconds.
        seconds: seconds of training, data and evaluation included, above 0; None for a budget in steps.

    Raises:
        ValueError: neither or both are given, or one is out of range.

    Example:
        >>> from causalcnn.training import Budget
        >>> Budget.parse("20 min")
        Budget(seconds=1200.0)
        >>> Budget.parse("500 steps").fraction(125, seconds=9.0)
        0.25
    """

    steps: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.seconds is None):
            raise ValueError(f"a budget is steps or seconds, one of the two; got {self.steps} and {self.seconds}")
        if self.steps is not None and (self.steps != int(self.steps) or self.steps < 1):
            raise ValueError(f"a budget of {self.steps} steps is none; give a whole number, 1 or more")
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise ValueError(f"a budget of {self.seconds} s is none; give a finite time above 0")

    def __repr__(self) -> str:
        return f"Budget(steps={self.steps})" if self.seconds is None else f"Budget(seconds={self.seconds})"

    def __str__(self) -> str:
        if self.seconds is None:
            return f"{self.steps} step" + "s" * (self.steps != 1)
        for name, length in (("h", 3600), ("min", 60)):
            if self.seconds >= length and self.seconds % (length / 2) == 0:
                return f"{_plain(self.seconds / length)} {name}"
        return f"{_plain(self.seconds)} s"

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read a budget from text.

        Args:
            text: a number with a unit, such as ``"500 steps"``, ``"90 s"``, ``"20 min"`` or ``"1.5 h"``.

        Returns:
            The budget.

        Raises:
            ValueError: the text is no budget, or its unit is missing; the message shows what to write.
        """
        found = re.fullmatch(r"\s*(\d[\d_]*(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
        if not found:
            raise ValueError(f"{text!r} is no budget; {EXAMPLES}")
        amount, unit = found[1].replace("_", ""), found[2]
        if unit in ("step", "steps"):
            if "." in amount:
                raise ValueError(f"{text!r} is no budget: steps are whole numbers")
            return cls(steps=int(amount))
        if unit in SECONDS_OF:
            return cls(seconds=float(amount) * SECONDS_OF[unit])
        why = f"{unit!r} is no unit of it" if unit else "it has no unit"
        raise ValueError(f"{text!r} is no budget: {why}; {EXAMPLES}")

    @classmethod
    def of(cls, budget: Budget | str) -> Budget:
        """Take a budget as it is, or read it from text.

        Args:
            budget: a budget, or a text as for :meth:`parse`.

        Returns:
            The budget.

        Raises:
            TypeError: it is something else, such as a bare number, which could be steps or seconds.
            ValueError: the text is no budget.
        """
        if isinstance(budget, cls):
            return budget
        if isinstance(budget, str):
            return cls.parse(budget)
        raise TypeError(f"a budget is a Budget or a text, not {budget!r}; {EXAMPLES}")

    def fraction(self, steps: int, seconds: float) -> float:
        """Compute how much of the budget is used.

        Args:
            steps: number of steps that were made.
            seconds: seconds that passed.

        Returns:
            The fraction that is used, from 0 to 1.
        """
        used = steps / self.steps if self.steps is not None else seconds / (self.seconds or 1.0)
        return min(1.0, used)

    def is_finished(self, steps: int, seconds: float) -> bool:
        """Say whether the budget is used up.

        Args:
            steps: number of steps that were made.
            seconds: seconds that passed.

        Returns:
            Whether nothing of it is left.
        """
        return self.fraction(steps, seconds) >= 1.0


def _plain(number: float) -> str:
    """The number without an exponent, which :meth:`Budget.parse` would not read."""
    return f"{number:.6f}".rstrip("0").rstrip(".")
