"""Take out of the built pages what a browser need not read before it paints: code of figures, styles, sound, pictures.

A notebook's output carries all that it needs, so that it lives in Jupyter and in Colab too. On the site the same
bytes are files that pages share and load late: the module of a figure, once (a classic script, because modules do
not load from ``file://``), and its large values, when it comes near; its style in the one style sheet; sounds and
pictures under the hash of what they hold.
Doing it twice changes nothing, so that a page that Sphinx did not write again may pass once more.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import one_sheet

STATE = re.compile(r'(<script type="application/vnd\.jupyter\.widget-state\+json">)(.*?)(</script>)', re.S)
STYLE = re.compile(r"<style>(:root\{--cc-.*?)</style>", re.S)
DATA = re.compile(r'(\b(?:src|href)=)"data:([\w/+.-]+);base64,([A-Za-z0-9+/=\s]+)"')
LINK = re.compile(r'\s*<link(?=[^>]*\brel="stylesheet")[^>]*\bhref="([^"]+)"[^>]*>')
SCRIPT = re.compile(r'\s*<script[^>]*\bsrc="([^"]+)"[^>]*></script>')
SETTING = re.compile(r"\s*<script>(DOCUMENTATION_OPTIONS\.|let toggle|var togglebuttonSelector)[^<]*</script>")
EXPORT = re.compile(r"^export default (.*?);?\s*\Z", re.S | re.M)
SUFFIX = {"audio/mpeg": "mp3", "audio/wav": "wav", "image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg"}
LARGE = 20_000
"""Characters of JSON from which on a figure's value is a file, which is loaded when the figure comes near."""
SMALL = 400
"""Bytes of base64 up to which a picture stays in the page: a request costs more."""

NOTICE = (
    "/* Of these sheets only the rules that the book uses: Bootstrap 5.3 (The Bootstrap Authors, MIT), PyData Sphinx "
    "Theme and Sphinx (BSD-3-Clause, BSD-2-Clause), Sphinx Book Theme and its companions (Executable Books, MIT), "
    "Font Awesome Free 6 (CC BY 4.0, OFL 1.1, MIT). */\n"
)
# Scripts of the theme whose work reader.js does; of the others, those that a page's own marks ask for.
REPLACED = {"bootstrap.js", "pydata-sphinx-theme.js", "sphinx-book-theme.js", "clipboard.min.js", "copybutton.js"}
SEARCH = {"documentation_options.js", "doctools.js", "sphinx_highlight.js", "searchtools.js", "language_data.js"}
ASKED = {
    "togglebutton.js": re.compile(r'class="(?:[^"]* )?(?:toggle[" ]|admonition (?:[^"]* )?dropdown[" ])'),
    "design-tabs.js": re.compile(r'class="(?:[^"]* )?sd-tab-set[" ]'),
}


def digest(content: bytes) -> str:
    """Return the name of a content."""
    return hashlib.sha256(content).hexdigest()[:12]


@dataclass
class Site:
    """The folder of a built book, and what its pages share.

    Attributes:
        out: the folder.
        wanted: the files under ``_static/parts`` that some page names.
    """

    out: Path
    wanted: set[str] = field(default_factory=set)

    @property
    def static(self) -> Path:
        """The folder of shared files."""
        return self.out / "_static"

    def keep(self, content: bytes, suffix: str) -> str:
        """Lay a content under ``_static/parts`` and return its path below ``_static``."""
        name = f"parts/{digest(content)}.{suffix}"
        file = self.static / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            file.write_bytes(content)
        self.wanted.add(name)
        return name

    def sweep(self) -> None:
        """Remove the parts that no page names any more."""
        for file in (self.static / "parts").glob("*"):
            if f"parts/{file.name}" not in self.wanted:
                file.unlink()


def lighten(page: str, site: Site, root: str, searches: bool = False) -> str:
    """Return a page whose shared parts are files.

    Args:
        page: the HTML.
        site: where the files go.
        root: the way from the page to the root of the site, ``"../"`` or ``""``.
        searches: whether it is the page of search results, which needs Sphinx's own scripts.
    """
    site.wanted.update(re.findall(r"\bparts/[\w.]+", page))
    page = STATE.sub(lambda m: m.group(1) + _state(m.group(2), site, root) + m.group(3), page)
    styles: list[str] = []

    def style(match: re.Match[str]) -> str:
        name = site.keep(match.group(1).encode(), "css")
        styles.extend([name] if name not in styles else [])
        return ""

    head, mark, body = page.partition("</head>")
    page = head + mark + DATA.sub(lambda m: _file(m, site, root), STYLE.sub(style, body))
    return _sheets(_scripts(page, root, searches), styles)


def _state(text: str, site: Site, root: str) -> str:
    """Keep of the widget state what the figures of the page are, their code by its address."""
    state = json.loads(text)
    kept = {}
    for model, entry in state["state"].items():
        if entry["model_module"] != "anywidget":
            continue
        values = {k: v for k, v in entry["state"].items() if not k.startswith(("_model_", "_view_", "_dom_"))}
        code = EXPORT.search(values.get("_esm", ""))
        if code and not re.search(r"^\s*import\b", values["_esm"], re.M):
            body = values.pop("_esm")[: code.start()]
            values.pop("_css", None)
            register = f'"use strict";\n{body}return {code.group(1)};\n'
            name = digest(register.encode())
            script = f'(window.causalcnnModules ??= {{}})["{name}"] = (() => {{\n{register}}})();\n'
            values["_src"] = f"{root}_static/{site.keep(script.encode(), 'js')}"
            values["_module"] = name
        for unused in ("layout", "tabbable", "tooltip"):
            values.pop(unused, None)
        large = {k: v for k, v in values.items() if k[0] != "_" and len(_json(v)) > LARGE}
        if large:
            name = digest(_json(large).encode())
            script = f'(window.causalcnnModules ??= {{}})["{name}"] = {_json(large)};\n'
            values = {k: v for k, v in values.items() if k not in large}
            values |= {"_data": f"{root}_static/{site.keep(script.encode(), 'js')}", "_data_name": name}
        kept[model] = {**entry, "state": values}
    return _json({**state, "state": kept}).replace("</", "<\\/")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _file(match: re.Match[str], site: Site, root: str) -> str:
    before, kind, data = match.groups()
    if kind not in SUFFIX or len(data) <= SMALL:
        return match.group(0)
    return f'{before}"{root}_static/{site.keep(base64.b64decode(data), SUFFIX[kind])}"'


def _scripts(page: str, root: str, searches: bool) -> str:
    """Drop the scripts that the page does not need; add the reader's."""
    needed = {name for name, mark in ASKED.items() if mark.search(page)}

    def script(match: re.Match[str]) -> str:
        name = match.group(1).split("?")[0].rsplit("/", 1)[-1]
        drop = name in REPLACED or (name in SEARCH and not searches) or (name in ASKED and name not in needed)
        return "" if drop else match.group(0)

    def setting(match: re.Match[str]) -> str:
        of_sphinx = match.group(1).startswith("DOCUMENTATION_OPTIONS")
        return match.group(0) if (searches if of_sphinx else "togglebutton.js" in needed) else ""

    page = SETTING.sub(setting, SCRIPT.sub(script, page))
    if "reader.js" not in page:
        page = page.replace("</head>", f'<script defer src="{root}_static/reader.js"></script>\n  </head>', 1)
    return page


def _sheets(page: str, styles: list[str]) -> str:
    """Put one link in the place of all links to style sheets; it names what it stands for."""
    found: list[str] = []

    def link(match: re.Match[str]) -> str:
        tag, address = match.group(0), match.group(1)
        known = re.search(r'data-from="([^"]*)"', tag)
        names = known.group(1).split() if known else [address.split("?")[0].partition("_static/")[2]]
        found.extend(name for name in names if name not in found)
        return "" if len(found) > len(names) else "\n    <link-to-the-sheet>"

    page = LINK.sub(link, page)
    found.extend(name for name in styles if name not in found)
    return page.replace("<link-to-the-sheet>", f'<link rel="stylesheet" href="" data-from="{" ".join(found)}">', 1)


def bind(pages: dict[Path, str], site: Site, scripts: list[Path]) -> dict[Path, str]:
    """Write the one style sheet of all pages and return the pages with its address in them."""
    order: list[str] = []
    for text in pages.values():
        for names in re.findall(r'data-from="([^"]*)"', text):
            order.extend(name for name in names.split() if name not in order)
    order.sort(key=lambda name: name.startswith("parts/"))  # styles of the figures count last, as they did in the body
    found = one_sheet.used(pages.values(), [script.read_text("utf8") for script in scripts])
    sources = [site.static / name for name in order]
    sheet = NOTICE + one_sheet.sheet([s for s in sources if s.exists()], site.static, found)
    (site.static / "site.css").write_text(sheet, "utf8")
    version = digest(sheet.encode())
    bound = {}
    for path, text in pages.items():
        root = "../" * (len(path.relative_to(site.out).parts) - 1)
        address = f"{root}_static/site.css?v={version}"
        link = '<link rel="stylesheet" href="{}" data-from='
        bound[path] = re.sub(link.format('[^"]*'), link.format(address), text)
    return bound
