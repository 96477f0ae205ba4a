"""Every public name is in the built reference, and linked; the README's code says what is true; extras are named."""

from __future__ import annotations

import builtins
import html
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from sphinx.util.inventory import InventoryFile

import api_reference
import build_book
import docstrings
from causalcnn import _extras

REFERENCE = build_book.HTML / "book" / "api"
PACKAGES = [package.__name__ for package in docstrings.packages()]
TAG = re.compile(r"<[^>]+>")


def built(folder: Path) -> dict[str, str]:
    """Return the pages of a folder of the built book, by name."""
    pages = {path.stem: path.read_text("utf8") for path in sorted(folder.glob("*.html"))}
    if not pages:
        pytest.skip("the book is not built; run `make book` first")
    return pages


@pytest.fixture(scope="module")
def objects() -> dict[str, str]:
    """The Python objects in the inventory of the built book, each with its address."""
    file = build_book.HTML / "objects.inv"
    if not file.exists():
        pytest.skip("the book is not built; run `make book` first")
    with file.open("rb") as stream:
        inventory = InventoryFile.load(stream, "", lambda base, address: address)
    return {
        name: address
        for kind, entries in inventory.items()
        if kind.startswith("py:")
        for name, (_, _, address, _) in entries.items()
    }


def test_every_package_has_its_place_in_the_reference_and_every_page_of_it_is_in_the_book() -> None:
    files = sorted((build_book.ROOT / "book" / "api").glob("*.md"))
    documented = [
        name for file in files for name in re.findall(r"^\.\. automodule:: (\S+)$", file.read_text("utf8"), re.M)
    ]
    assert sorted(documented) == sorted(PACKAGES)
    assert {f"book/api/{file.name}" for file in files} <= set(build_book.pages())


@pytest.mark.page
@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_in_the_built_reference(package: str, objects: dict[str, str]) -> None:
    elsewhere = api_reference.borrowed(package)
    for name in api_reference.names_of(package):
        places = [f"{other}.{name}" for other in PACKAGES] if name in elsewhere else [f"{package}.{name}"]
        homes = [place for place in places if objects.get(place, "").startswith("book/api/")]
        assert len(homes) == 1, f"{package}.{name} is not in the reference once: {homes}"


@pytest.mark.page
def test_every_public_method_is_in_the_built_reference(objects: dict[str, str]) -> None:
    items = docstrings.public_items()
    classes = {place: value for (_, place), value in items.items() if inspect.isclass(value)}
    for (_, place), value in items.items():
        owner, _, method = place.rpartition(".")
        if not inspect.isclass(value) and owner and not owner.startswith("_"):
            # What a base class defines that is not public itself is shown with each class that has it.
            bases = {name: [base.__name__ for base in each.__mro__] for name, each in classes.items()}
            heirs = [name for name in classes if owner in bases[name]]
            first = [name for name in heirs if not set(bases[name][1:]) & set(heirs)]
            assert first, f"{place} belongs to no public class"
            for shown in first:
                wanted = f".{shown}.{method}"
                assert any(name.endswith(wanted) for name in objects), f"{wanted} is not in the reference"


@pytest.mark.page
def test_markup_is_read_and_not_shown() -> None:
    for name, page in built(REFERENCE).items():
        article = page[page.index("<article") : page.index("</article>")]
        body = re.sub(r"(?s)<(script|style|pre|dt|code|strong)\b.*?</\1>", "", article)
        text = html.unescape(TAG.sub("", body))
        assert (
            re.findall(r".*(?:``|:\w+:`|(?<!\w)\*\*\w|^(?:Args|Returns|Raises|Shape|Attributes):).*", text, re.M) == []
        ), name


@pytest.mark.page
@pytest.mark.parametrize("folder", [REFERENCE, REFERENCE.parent], ids=["reference", "chapters"])
def test_every_mention_of_a_public_name_is_a_link(folder: Path, objects: dict[str, str]) -> None:
    public = {name.rpartition(".")[2] for name in objects}
    for page, text in built(folder).items():
        for before, shown in re.findall(r'(.{40})<code class="xref py [^>]*>(.*?)</code>', text, re.S):
            name = TAG.sub("", shown)
            ours = name.rpartition(".")[2].removesuffix("()") in public
            foreign = name.startswith(("torch", "numpy", "matplotlib"))
            assert foreign or not ours or before.endswith('">'), f"{page}: {name} is no link"


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
