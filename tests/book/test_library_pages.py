"""The API page has every public name; the README's code says what is true; extras are asked for by name."""

from __future__ import annotations

import builtins
import importlib
import re
import sys
from typing import Any

import pytest

import api_page
import build_book
from causalcnn import _extras


def test_every_public_name_is_on_the_api_page() -> None:
    text = api_page.markdown()
    for package in api_page.PACKAGES:
        for name in api_page.public_names(package):
            assert re.search(rf"\{{py:\w+\}} [\w.]+\.{name}\b", text), f"{package}.{name} is not on the API page"


def test_every_public_name_has_a_docstring() -> None:
    for package, objects in api_page.homes().items():
        assert importlib.import_module(package).__doc__, package
        for name, value in objects:
            if callable(value):
                assert (value.__doc__ or "").strip(), f"{package}.{name} has no docstring"


def test_docstring_becomes_readable_text() -> None:
    def example(a: int, *rest: int) -> int:
        """Add * things_ up.

        Args:
            a: the first, ``a ≥ 1``;
                and on.
            *rest: others.

        Raises:
            ValueError: when it must.
        """
        return a + sum(rest)

    text = api_page.docstring(example)
    assert r"Add \* things\_ up." in text
    assert "- `a`: the first, `a ≥ 1`; and on." in text
    assert "- `ValueError`: when it must." in text
    assert api_page.signature("example", example) == "example(a, *rest)"


def test_readme_code_runs_and_asserts_its_claims() -> None:
    text = (build_book.ROOT / "README.md").read_text("utf8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    assert blocks, "the README shows no code"
    for block in blocks:
        assert "assert" in block
        assert len(block.strip().splitlines()) <= 14
        exec(compile(block, "README.md", "exec"), {})


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "nothing_here":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"extra 'speech'.*pip install 'causalcnn\[speech\]'"):
        _extras.require("nothing_here", extra="speech")
    assert _extras.require("os.path", extra="speech") is sys.modules["os.path"]


def test_a_docstring_becomes_markdown() -> None:
    def documented() -> None:
        """Call :meth:`step`, or :meth:`Sampler.draw <causalcnn.models.Sampler.draw>`; a sentence with: a colon.

        Args:
            rows: how many, see :class:`~causalcnn.speech.Batch`. seed, other_seed: of the draws.
        """

    assert api_page.docstring(documented) == (
        "Call `step`, or `Sampler.draw`; a sentence with: a colon.\n\n**Args.**\n\n"
        "- `rows`: how many, see `causalcnn.speech.Batch`.\n- `seed, other_seed`: of the draws."
    )
