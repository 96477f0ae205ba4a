"""Sphinx extension of the book: self-contained pages, MathML, palette, descriptions, launch links.

Everything that a page loads comes from the book itself. What the theme adds and the book does not need is
removed; whatever would reach another host is a warning, and warnings fail the build.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import math_core
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

import html_checks
import page_parts

log = logging.getLogger(__name__)
TEX = math_core.LatexToMathML()


# ------------------------------------------------------------------------------------------------ mathematics
def _convert(tex: str, display: bool) -> str:
    try:
        mathml: str = TEX.convert_with_local_state(tex, displaystyle=display)
    except Exception as error:  # the parser's own error classes differ between versions
        log.warning("cannot set the formula %r: %s", tex, error, type="offline", subtype="math")
        return html.escape(tex)
    return mathml


def visit_math(self: Any, node: nodes.math) -> None:
    """Write an inline formula as MathML."""
    self.body.append(_convert(node.astext(), display=False))
    raise nodes.SkipNode


def visit_block(self: Any, node: nodes.math_block) -> None:
    """Write a displayed formula as MathML, with its number, in a box that scrolls when it is too wide."""
    self.body.append(self.starttag(node, "div", CLASS="math", tabindex="0", role="group"))
    if node.get("number"):
        self.body.append(f'<span class="eqno">({node["number"]})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(_convert(node.astext(), display=True) + "</div>\n")
    raise nodes.SkipNode


# -------------------------------------------------------------------------------------------- colours, sources
def write_palette(app: Sphinx, config: Any) -> None:
    """Write the colours of ``causalcnn_book`` as a style sheet, so that page and figures share one table."""
    try:
        from causalcnn_book import palette
    except ImportError:
        return

    folder = Path(app.outdir).parent / ".palette"
    folder.mkdir(parents=True, exist_ok=True)
    sheet = folder / "palette.css"
    text = palette.css()
    if not sheet.exists() or sheet.read_text("utf8") != text:
        sheet.write_text(text, "utf8")
    config.html_static_path.append(str(folder))


# ------------------------------------------------------------------------------------------------- page context
def description(doctree: nodes.document | None) -> str:
    """Return the first paragraph of a page in at most 160 characters: what a search engine shows."""
    if doctree is None:
        return ""
    for paragraph in doctree.findall(nodes.paragraph):
        if isinstance(paragraph.parent, nodes.section):
            text = " ".join(paragraph.astext().split())
            return text if len(text) <= 160 else text[:157].rsplit(" ", 1)[0] + " …"
    return ""


def page_context(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Add the description; drop the parts of the theme that the book does not use."""
    text = description(doctree) or f"{context.get('title', '')}: {app.config.html_title or app.config.project}"
    tags = re.sub(r'<meta name="description"[^>]*>', "", context.get("metatags", ""))
    tags = re.sub(r'<meta property="og:[^>]*>|<meta name="twitter:[^>]*>', "", tags)
    context["metatags"] = tags + f'<meta name="description" content="{html.escape(text, quote=True)}">\n'


def launch_urls(repository: str, branch: str, docname: str) -> dict[str, str]:
    """Return the addresses that open a page's notebook in Colab and in Binder (both need GitHub)."""
    match = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)/?", repository)
    if not match:
        raise ValueError(f"book_repository is {repository!r}; it must be https://github.com/OWNER/NAME")
    name = match.group(1)
    return {
        "Colab": f"https://colab.research.google.com/github/{name}/blob/{branch}/{docname}.ipynb",
        "Binder": f"https://mybinder.org/v2/gh/{name}/{branch}?urlpath=lab/tree/{docname}.ipynb",
    }


def add_launch_links(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """End the opening block of a chapter with the links that run it."""
    source = Path(app.env.doc2path(docname))
    if source.suffix != ".ipynb":
        return
    for block in doctree.findall(nodes.Admonition):
        if not isinstance(block, nodes.Element) or "opening" not in block.get("classes", []):
            continue
        line = nodes.paragraph(classes=["launch"])
        line += nodes.strong(text="Run it yourself ")
        links = {"Download the notebook": source.name}
        if app.config.book_repository:
            links = {**launch_urls(app.config.book_repository, app.config.book_branch, docname), **links}
        for number, (label, url) in enumerate(links.items()):
            line += nodes.Text(" · " if number else "")
            line += nodes.reference("", label, refuri=url, classes=["launch-link"], internal=False)
        block += line


# ------------------------------------------------------------------------------------------------- built pages
FONT_AWESOME = re.compile(r'\s*<script[^>]* src="[^"]*fontawesome\.js[^"]*"></script>')
PRELOAD_SCRIPT = re.compile(r'<link rel="preload" as="script"[^>]*>\s*')
BLOCKING_SCRIPT = re.compile(r'<script (?![^>]*(?:\b(?:defer|async|type)\b|documentation_options))([^>]*\bsrc=")')
# In a signature each word has a span of its own inside the one that colours it: a third of the reference's elements.
SIGNATURE = re.compile(r'<dt class="sig .*?</dt>', re.S)
SPAN = re.compile(r'<span class="(?:pre|w)">([^<]*)</span>')
CODE = re.compile(r'(<div class="highlight">)<pre>')


# Without a choice of the reader's, the system's theme counts from the first paint on, not after the scripts.
# A choice that has not been made is no theme: "auto" in the storage counts as none.
THEME = re.compile(r'document\.documentElement\.dataset\.theme = localStorage\.getItem\("theme"\) \|\| "\w*";')
SYSTEM_THEME = (
    "document.documentElement.dataset.theme = /^(light|dark)$/.test(document.documentElement.dataset.mode) "
    '? document.documentElement.dataset.mode : matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";'
)
SEARCH_SCRIPT = re.compile(r'\s*<script[^>]* src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*"></script>')
VIEWPORT = re.compile(r'\s*<meta name="viewport"[^>]*>')

SCRIPTS = ("reader.js", "figure-host.js", "searchtools.js", "sphinx_highlight.js", "togglebutton.js")
"""Scripts whose words may name a class: the style sheet keeps its rules for them."""


def parameters_in_lines(match: re.Match[str]) -> str:
    """A signature's parameters, each on its line: a list of definitions in which nothing is defined is none."""
    lines = match.group(1).replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
    return f'<span class="sig-list">{lines}</span>'


# What the theme and its companions get wrong for readers who use a screen reader (axe finds each of them).
ACCESS = (
    # The visible words are the name: "Search Ctrl+K", "Solution".
    (re.compile(r'(<button class="btn search-button-field[^"]*") title="Search" aria-label="Search"[^>]*>'), r"\1>"),
    (re.compile(r'<summary aria-label="Toggle hidden content">'), "<summary>"),
    # What opens a part of the sidebar is an icon alone.
    (re.compile(r'<summary>(?=<span class="toctree-toggle")'), '<summary aria-label="Pages of this part">'),
    (re.compile(r'<dl>\n((?:<dd><em class="sig-param">.*?</dd>\n)+)</dl>', re.S), parameters_in_lines),
    # The sidebar is a landmark; a list of citations has no roles that its elements may not have.
    (re.compile(r'(<div id="pst-primary-sidebar")'), r'\1 role="navigation" aria-label="Book"'),
    (re.compile(r'<div role="list" class="citation-list">'), '<div class="citation-list">'),
    (re.compile(r' role="doc-biblioentry"'), ""),
    # A wide table scrolls in its box on a phone: by keyboard, too.
    (
        re.compile(r'<div class="pst-scrollable-table-container">'),
        r'<div class="pst-scrollable-table-container" tabindex="0">',
    ),
    # The empty corner of a table heads nothing.
    (re.compile(r'<th class="head">(?:<p></p>)?</th>'), "<td></td>"),
)


def trim(page: str, searches: bool = False) -> str:
    """Remove what blocks or bloats a page, and make it usable by keyboard and screen reader.

    Args:
        page: the HTML.
        searches: whether it is the page of search results, which alone needs the index.
    """
    page = FONT_AWESOME.sub("", page)  # 1.5 MB of script; the icon font draws the same icons
    page = PRELOAD_SCRIPT.sub("", page)
    page = BLOCKING_SCRIPT.sub(r"<script defer \1", page)
    page = CODE.sub(r'\1<pre tabindex="0">', page)
    page = SIGNATURE.sub(lambda m: SPAN.sub(r"\1", m.group()), page)
    page = THEME.sub(SYSTEM_THEME, page)
    if not searches:
        page = SEARCH_SCRIPT.sub("", page)
    viewports = VIEWPORT.findall(page)
    page = VIEWPORT.sub("", page).replace("<head>", "<head>" + viewports[0], 1) if len(viewports) > 1 else page
    for wrong, right in ACCESS:
        page = wrong.sub(right, page)
    return page


def redirect(target: str, title: str) -> str:
    """Return the page at the root of the site, which leads to the front page."""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta http-equiv="refresh" content="0; url={target}"></head>'
        f'<body><p><a href="{target}">{html.escape(title)}</a></p></body></html>\n'
    )


def finish(app: Sphinx, error: Exception | None) -> None:
    """Trim every page, lay the notebooks beside the pages, and warn of all that is not as promised."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    if app.config.root_doc != "index":
        front = redirect(f"{app.config.root_doc}.html", app.config.html_title or app.config.project)
        (out / "index.html").write_text(front, "utf8")
    icons = out / "_static" / "vendor" / "fontawesome" / "webfonts" / "fa-solid-900.woff2"
    if icons.exists():  # the icons that the theme draws here, 4 KB of 156
        shutil.copyfile(out / "_static" / "fonts" / "icons.woff2", icons)
    site, pages, before = page_parts.Site(out), {}, {}
    for page in html_checks.site_pages(out):
        before[page] = page.read_text("utf8")
        searches, root = page.name == "search.html", "../" * (len(page.relative_to(out).parts) - 1)
        pages[page] = trim(before[page], searches)
        if page.relative_to(out).as_posix() != "index.html" or app.config.root_doc == "index":
            pages[page] = page_parts.lighten(pages[page], site, root, searches)
    everything = "".join(pages.values())
    scripts = [out / "_static" / n for n in SCRIPTS if n in everything or n == "sphinx_highlight.js"]
    parts = [out / "_static" / name for name in site.wanted if name.endswith(".js")]
    pages = page_parts.bind(pages, site, [file for file in scripts + parts if file.exists()])
    site.sweep()
    for page, text in pages.items():
        if text != before[page]:
            page.write_text(text, "utf8")
        for problem in html_checks.page_problems(text):
            log.warning("%s: %s", page.relative_to(out), problem, type="offline")
    for docname in app.env.found_docs:
        source = Path(app.env.doc2path(docname))
        if source.suffix == ".ipynb":
            target = out / f"{docname}.ipynb"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(json.dumps(without_outputs(json.loads(source.read_text("utf8"))), indent=1), "utf8")


def without_outputs(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return a notebook as it stands in git: no outputs, no counts, no widget state."""
    cells = []
    for cell in notebook["cells"]:
        cell = {**cell, "metadata": {k: v for k, v in cell["metadata"].items() if k in ("tags", "mystnb")}}
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the extension."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_block, None))
    app.add_config_value("book_repository", "", "html", [str])
    app.add_config_value("book_branch", "main", "html", [str])
    app.connect("config-inited", write_palette)
    app.connect("doctree-resolved", add_launch_links)
    app.connect("html-page-context", page_context, priority=900)
    app.connect("build-finished", finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
