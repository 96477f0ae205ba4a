"""A budget says steps or seconds, and nothing that could be either."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalcnn.training import Budget


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("500 steps", Budget(steps=500)),
        ("1 step", Budget(steps=1)),
        ("10_000 STEPS", Budget(steps=10_000)),
        ("90 s", Budget(seconds=90.0)),
        ("90s", Budget(seconds=90.0)),
        ("20 min", Budget(seconds=1200.0)),
        (" 1.5 hours ", Budget(seconds=5400.0)),
    ],
)
def test_what_people_write_is_understood(text: str, budget: Budget) -> None:
    assert Budget.parse(text) == budget


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("500", "has no unit"),
        ("", "is no budget"),
        ("20 parsecs", "'parsecs' is no unit"),
        ("1.5 steps", "whole numbers"),
        ("-3 s", "is no budget"),
        ("0 steps", "1 or more"),
        ("0 s", "above 0"),
        ("1,5 h", "is no budget"),
        ("nan s", "is no budget"),
    ],
)
def test_what_could_be_anything_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Budget.parse(text)


def test_a_bare_number_and_two_budgets_at_once_are_refused() -> None:
    with pytest.raises(TypeError, match="not 500; write for example"):
        Budget.of(500)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one of the two"):
        Budget(steps=1, seconds=1.0)
    with pytest.raises(ValueError, match="one of the two"):
        Budget()
    with pytest.raises(ValueError, match="finite"):
        Budget(seconds=float("inf"))


@given(st.integers(1, 10**6))
def test_steps_read_back_what_was_written(steps: int) -> None:
    assert Budget.parse(str(Budget(steps=steps))) == Budget(steps=steps)


@given(st.integers(1, 10**6), st.sampled_from(["s", "min", "h"]))
def test_times_read_back_what_was_written(amount: int, unit: str) -> None:
    budget = Budget.parse(f"{amount} {unit}")
    assert Budget.parse(str(budget)).seconds == pytest.approx(budget.seconds, rel=1e-5)


def test_a_share_grows_to_one_and_stays() -> None:
    steps, time = Budget(steps=4), Budget(seconds=10.0)
    assert [steps.fraction(n, seconds=99.0) for n in (0, 1, 4, 5)] == [0, 0.25, 1, 1]
    assert [time.fraction(99, seconds=s) for s in (0.0, 2.5, 10.0, 11.0)] == [0, 0.25, 1, 1]
    assert [steps.is_finished(3, 99.0), steps.is_finished(4, 0.0)] == [False, True]
