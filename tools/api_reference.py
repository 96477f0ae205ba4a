"""Sphinx extension of the API reference: what autodoc and napoleon cannot know of this library.

Each package has a page, ``book/api/NAME.md``, with an ``automodule``. Added here: a table of the package's names; the
docstrings of its constants, which stand where these are assigned; what a class has from a private base; and links
from short names, wherever in the library they are at home.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx.addnodes import desc_signature, pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject
from sphinx.pycode import ModuleAnalyzer

import docstrings

LONG = 60  # characters of a constant's value from which on it is not printed


@functools.cache
def names_of(package: str) -> list[str]:
    """Return the public names of a package, without its subpackages."""
    module = importlib.import_module(package)
    return [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]


def borrowed(package: str) -> list[str]:
    """Return the names that a package offers, too: at home they are below it, or in a package before it."""
    every = [other.__name__ for other in docstrings.packages()]
    others = [p for p in every if p.startswith(f"{package}.")] or every[1 : every.index(package)]
    return [name for name in names_of(package) if any(name in names_of(other) for other in others)]


def constants(package: ModuleType) -> Iterator[tuple[str, list[str]]]:
    """Yield a package's constants with their docstrings, from the modules that assign them."""
    below = pkgutil.iter_modules(getattr(package, "__path__", ()), f"{package.__name__}.")
    homes = [ModuleAnalyzer.for_module(module.name) for module in below if "._" not in module.name]
    for name in names_of(package.__name__):
        value = getattr(package, name)
        for docs in (home.find_attr_docs().get(("", name)) for home in homes):
            if docs and not inspect.isclass(value):
                yield name, [*docs, *([":meta hide-value:"] if len(repr(value)) > LONG else []), ""]


def prepare(app: Sphinx, config: Any) -> None:
    """Say which inherited members autodoc shows: those of private bases, which have no entry of their own."""
    classes = {value for value in docstrings.public_items().values() if inspect.isclass(value)}
    bases = {base for value in classes for base in value.__mro__}
    public = {base.__name__ for base in bases if base in classes or not docstrings.is_ours(base)}
    config.autodoc_default_options["inherited-members"] = ",".join(sorted(public))
    for package in docstrings.packages():
        ModuleAnalyzer.for_module(package.__name__).find_attr_docs().update(
            {("", name): docs for name, docs in constants(package)}
        )


def depend(app: Sphinx, docname: str, source: list[str]) -> None:
    """Let the pages of the reference depend on every file: a docstring may be inherited, a name lie in a stub."""
    if docname.startswith("book/api/"):
        for top in docstrings.TOPS:
            for file in sorted((docstrings.ROOT / "src" / top).rglob("*.py*")):
                app.env.note_dependency(str(file))


def skip(app: Sphinx, what: str, name: str, member: Any, skipped: bool, options: Any) -> bool | None:
    """Leave to the packages below what is at home there."""
    package = app.env.temp_data.get("autodoc:module")
    return True if what == "module" and package and name in borrowed(package) else None


def name_traits(app: Sphinx, what: str, name: str, value: Any, options: Any, signature: str, back: str) -> Any:
    """Give a figure the signature of its own constructor, which traitlets hides behind ``*args, **kwargs``."""
    return ("(**state: Any)", None) if what == "class" and "t.Any" in (signature or "") else None


def add_table(app: Sphinx, what: str, name: str, module: Any, options: Any, lines: list[str]) -> None:
    """End a package's own docstring with a table of its names."""
    if what == "module" and names_of(name):
        lines += ["", ".. autosummary::", "   :nosignatures:", "", *(f"   {each}" for each in names_of(name)), ""]


def shorten_contents(app: Sphinx, domain: str, kind: str, content: nodes.Element) -> None:
    """List the classes and functions of a page beside it, not the members of every class."""
    if kind in ("method", "property", "attribute"):
        for signature in content.parent.findall(desc_signature):
            signature["_toc_name"] = ""


def resolve(app: Sphinx, env: Any, node: pending_xref, text: nodes.Element) -> nodes.Element | None:
    """Find the one public object that ends in the name that was written: of the class around it, or of any package."""
    if node.get("refdomain") != "py":
        return None
    objects = env.domaindata["py"]["objects"]
    target = re.sub(r"^causalcnn(?:_book)?(?:\.[a-z_0-9]+)*\.(?=[A-Za-z])", "", node["reftarget"])
    place = getattr(sys.modules.get(node.get("py:module") or ""), node.get("py:class") or "", object)
    for name in (*(f"{owner.__name__}.{target}" for owner in place.__mro__), target):
        homes = [each for each in objects if f".{each}".endswith(f".{name}") and not objects[each].aliased]
        if len(homes) == 1:
            node["reftarget"] = homes[0]
            return env.get_domain("py").resolve_xref(env, node["refdoc"], app.builder, "obj", homes[0], node, text)
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the extension."""
    for kind in PyObject.doc_field_types:
        if kind.name == "variable":  # napoleon's name for what a docstring lists as attributes
            kind.label = "Attributes"
    app.connect("config-inited", prepare)
    app.connect("source-read", depend)
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", name_traits)
    app.connect("autodoc-process-docstring", add_table)
    app.connect("object-description-transform", shorten_contents)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
