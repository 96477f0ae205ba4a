"""Every test has a stage, a stage says what failed, and what a commit has passed is not run again for it."""

from __future__ import annotations

import inspect
import itertools
import re
import sys
from pathlib import Path

import pytest
import yaml

import ci
import make
from tests.conftest import seventh_of
from tests.fuzz import FACTOR, examples

MARKS = ("slow", "page", "budget", "release", "hypothesis")


def expressions(stages: tuple[object, ...]) -> list[str]:
    """Return the marks that the stages select, as they stand in the code."""
    found = [re.findall(r'pytest\(result, "([^"]+)"', inspect.getsource(one)) for one in stages]  # type: ignore[arg-type]
    return [text for texts in found for text in texts]


def selected(expression: str, marks: set[str]) -> bool:
    """Say whether pytest would select a test that carries these marks."""
    return bool(eval(expression, {mark: mark in marks for mark in MARKS}))


@pytest.mark.parametrize("chosen", list(itertools.product((False, True), repeat=len(MARKS))))
def test_every_test_has_a_stage(chosen: tuple[bool, ...]) -> None:
    marks = {mark for mark, on in zip(MARKS, chosen, strict=True) if on}
    if len(marks & {"slow", "page", "budget"}) > 1 or marks == {"release"} or marks == {"release", "hypothesis"}:
        return  # no test is of two kinds, and what belongs to the release alone is of a kind
    landing = sum(selected(text, marks) for text in [make.QUICK, *expressions(ci.LANDING)])
    release = sum(selected(text, marks) for text in expressions((ci.graphs, ci.views, ci.lighthouse)))
    assert (landing, release) == ((0, 1) if "release" in marks else (1, 0))


def test_the_sevenths_together_are_everything() -> None:
    names = [f"tests/x.py::test[{n}]" for n in range(1000)]
    parts = [{name for name in names if seventh_of(name) == n} for n in range(7)]
    assert set.union(*parts) == set(names)
    assert sum(map(len, parts)) == len(names)
    assert all(len(part) > 100 for part in parts)


def test_the_long_fuzz_multiplies_every_number_of_examples() -> None:
    assert examples(25) == 25 * FACTOR
    for path in (ci.ROOT / "tests").rglob("*.py"):
        loose = re.findall(r"max_examples=(?!examples\()", path.read_text("utf8").replace("examples=(?!", ""))
        assert not loose, f"{path.name} names a number of examples that the long fuzz does not multiply"


def pytest_says(*lines: str, status: int = 0) -> list[str]:
    return [sys.executable, "-c", f"print({chr(10).join(lines)!r}); raise SystemExit({status})"]


def test_a_stage_counts_its_tests_and_knows_whether_it_passed() -> None:
    result = ci.Result("some")
    ci.run(result, pytest_says("12 passed, 1 skipped in 3.2s"))
    ci.run(result, pytest_says("5 passed, 2 xfailed, 3 deselected in 1.0s", "a warning after it"))
    assert (result.passed, result.tests) == (True, {"passed": 17, "skipped": 1, "xfailed": 2})
    ci.run(result, pytest_says("1 failed, 2 passed in 1s", status=1))
    assert (result.passed, result.tests["failed"]) == (False, 1)
    assert re.search(r"some +0 +19 +1 +2 +1  FAILED", ci.table([result]))


def test_no_test_in_a_seventh_is_no_fault_and_elsewhere_it_is() -> None:
    for words, passed in ((["--seventh", "3"], True), ([], False)):
        result = ci.Result("some")
        ci.run(result, [*pytest_says("3 deselected in 0.1s", status=5), *words])
        assert result.passed is passed


def test_a_command_that_hangs_fails_its_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ci, "LIMIT_SECONDS", 0.2)
    result = ci.Result("some")
    ci.run(result, [sys.executable, "-c", "import time; time.sleep(30)"])
    assert not result.passed


def test_what_a_commit_has_passed_is_not_run_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran, commits = [], ["a1"]

    def house(result: ci.Result) -> None:
        ran.append("house")

    def fuzz(result: ci.Result) -> None:
        ran.append("fuzz")
        result.passed = ran.count("fuzz") > 1

    monkeypatch.setattr(ci, "RECORD", tmp_path / "ci" / "release.json")
    monkeypatch.setattr(ci, "commit", lambda: commits[-1])
    monkeypatch.setattr(ci, "environment", lambda result: None)
    monkeypatch.setattr(ci, "RELEASE", (house, fuzz))
    assert [one.passed for one in ci.release([])] == [True, False]
    assert [one.passed for one in ci.release([])] == [True, True]
    assert [one.passed for one in ci.release(["house"])] == [True]
    assert ran == ["house", "fuzz", "fuzz"]
    commits.append("b2")
    ci.release(["house"])
    assert ran[3:] == ["house"]
    (tmp_path / "ci" / "release.json").write_text('{"commit": "b2", "sta', "utf8")
    ci.release(["house"])
    assert ran[4:] == ["house"]


def test_the_weekly_workflow_runs_every_stage_of_the_release() -> None:
    workflow = yaml.safe_load((ci.ROOT / ".github" / "workflows" / "release.yml").read_text("utf8"))
    assert workflow["jobs"]["stage"]["strategy"]["matrix"]["stage"] == [stage.__name__ for stage in ci.RELEASE]
