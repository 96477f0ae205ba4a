"""Docstrings of public items: a shape with each tensor, a unit with each quantity, an example that runs."""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docstring_parser
import pytest
from torch import Tensor

import docstrings

PUBLIC = {
    f"{item.__module__}.{item.__qualname__}": item
    for item in map(docstrings.function_of, docstrings.public_items().values())
}
PROPERTIES = {place[1] for place, value in docstrings.public_items().items() if not callable(value)}
SHAPE = re.compile(r"``\([^`]*\)[^`]*``|\bany shape\b|\bshapes? of\b|\bscalars?\b")
UNITS = {
    "hz": r"\bk?Hz\b",
    "db": r"\bdB\b",
    "seconds": r"\bseconds?\b|\bs\b",
    "ms": r"\bms\b|\bmilliseconds?\b",
    "samples": r"\bsamples?\b",
    "frames": r"\bframes?\b",
    "bits": r"\bbits?\b",
}


def annotated(item: Any) -> dict[str, str]:
    """Return the parameters of a function or of a constructor, and a class's attributes, with their annotations."""
    functions = [vars(item).get("__init__")] if isinstance(item, type) else [item]
    found = dict(inspect.get_annotations(item)) if isinstance(item, type) else {}
    for function in filter(inspect.isfunction, functions):
        found |= {name: p.annotation for name, p in inspect.signature(function).parameters.items()}
    return {name: inspect.formatannotation(a) if not isinstance(a, str) else a for name, a in found.items()}


def holds_tensor(annotation: str) -> bool:
    """Say whether an annotation names a tensor, and not a function of one."""
    return bool(re.search(r"\bTensor\b", annotation)) and not re.search(r"Callable|\btype\[", annotation)


def without_unit(name: str, annotation: str, text: str) -> bool:
    """Say whether a number whose name ends in a unit is described without it."""
    unit = re.search(rf"_({'|'.join(UNITS)})$", name)
    number = re.search(r"\b(?:int|float|Fraction)\b", annotation)
    return bool(unit and number and not re.search(UNITS[unit[1]], text))


def problems(item: Any) -> Iterator[str]:
    """Yield what the docstring of an item does not say."""
    text = inspect.cleandoc(item.__doc__ or "")
    if not text:
        return  # tools/docstrings.py says where a method may leave it to its base
    parsed = docstring_parser.parse(text, style=docstring_parser.DocstringStyle.GOOGLE)
    said = {p.arg_name.lstrip("*"): p.description or "" for p in [*parsed.params, *getattr(parsed, "attrs", [])]}
    for name, annotation in annotated(item).items():
        if name in said and holds_tensor(annotation) and not SHAPE.search(said[name]):
            yield f"the entry of {name} states no shape"
        if name in said and without_unit(name, annotation, said[name]):
            yield f"the entry of {name} names no unit"
    if isinstance(item, type):
        if not issubclass(item, BaseException) and ">>>" not in text:
            yield "the class has no example"
        return
    back = str(item.__annotations__.get("return", ""))
    returns = text if item.__qualname__ in PROPERTIES or parsed.returns is None else parsed.returns.description or ""
    if holds_tensor(back) and not SHAPE.search(returns):
        yield "what it returns has no shape stated"
    if item.__qualname__ in PROPERTIES and without_unit(item.__name__, back, text):
        yield "what it gives has no unit stated"


def test_every_public_docstring_says_shapes_and_units_and_every_class_has_an_example() -> None:
    assert len(PUBLIC) > 400
    assert [f"{name}: {problem}" for name, item in PUBLIC.items() for problem in problems(item)] == []


WITH_EXAMPLE = [name for name, item in PUBLIC.items() if ">>>" in (item.__doc__ or "")]


@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_the_example_of_a_docstring_runs(name: str) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False)
    said: list[str] = []
    for test in doctest.DocTestFinder(recurse=False).find(PUBLIC[name], name, globs={}):
        runner.run(test, out=said.append)
    assert runner.tries
    assert not runner.failures, "".join(said)


def bare(x: Tensor, low_hz: float) -> Tensor:
    """Filter.

    Args:
        x: the input.
        low_hz: where it begins.

    Returns:
        The output.
    """
    return x * low_hz


class Bare:
    """A class without an example."""


def test_what_is_missing_is_found() -> None:
    assert list(problems(bare)) == [
        "the entry of x states no shape",
        "the entry of low_hz names no unit",
        "what it returns has no shape stated",
    ]
    assert list(problems(Bare)) == ["the class has no example"]


def test_the_tool_finds_what_is_missing(tmp_path: Path) -> None:
    file = (tmp_path / "planted.py").resolve()
    told = 'def told(x: int) -> int:\n    """Double.\n\n    Args:\n        y: another.\n    """\n    return 2 * x\n'
    fails = 'def fails(x: int) -> None:\n    """Fail.\n\n    Args:\n        x: any.\n    """\n    raise ValueError(x)\n'
    file.write_text(f"{told}\n\n{fails}", "utf8")
    found = "\n".join(line for lines in docstrings.problems([file], {}).values() for line in lines)
    assert "DOC103" in found
    assert "DOC201" in found
    assert "DOC501" in found
