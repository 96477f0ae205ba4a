"""What a page loads is light, and nothing that it needs is lost on the way."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

import one_sheet
import page_parts

PAGE = '<html><body><div class="used"><p id="here">x</p></div></body></html>'


def used(page: str = PAGE, *scripts: str) -> one_sheet.Used:
    return one_sheet.used([page], scripts)


@pytest.mark.parametrize(
    "rule",
    [
        ".used{color:red}",
        "div.used > p#here:hover::before{content:'}'}",
        "p:not(.absent){color:red}",
        "p:is(.absent,.used){color:red}",
        '[data-theme="dark"] .used{color:red}',
        "@media (max-width:1px){.used{color:red}}",
        "@container (min-width:500px){.used{color:red}}",
        ".used{background:url(\"data:image/svg+xml,%3Csvg d='M0 0(1)'/%3E\")}",
        "@font-face{font-family:\"A B\";src:url(x.woff2)}.used{font-family:'A B'}",
        "@font-face{font-family:A\\ B;src:url(x.woff2)}.used{font-family:'A B'}",
        "@keyframes go{from{top:0}to{top:1px}}.used{animation:go 1s}",
        ":root{--a:1px}.used{margin:var(--a)}",
    ],
)
def test_a_rule_that_a_page_may_use_stays(rule: str) -> None:
    assert one_sheet.read(one_sheet.kept(rule, used()), used()) == rule


@pytest.mark.parametrize(
    "rule",
    [
        ".absent{color:red}",
        ".used .absent{color:red}",
        "#gone{color:red}",
        "marquee{color:red}",
        "@media print{.absent{color:red}}",
        '@font-face{font-family:"A B";src:url(x.woff2)}',
        "@keyframes go{from{top:0}to{top:1px}}",
        ":root{--a:1px;--b:var(--a)}",
    ],
)
def test_a_rule_that_no_page_can_use_goes(rule: str) -> None:
    assert one_sheet.read(one_sheet.kept(rule, used()), used()) == ""


def test_a_class_that_a_script_gives_keeps_its_rule() -> None:
    assert one_sheet.kept(".later{top:0}", used(PAGE, 'el.classList.add("later")')) == ".later{top:0}"
    assert one_sheet.kept(".later{top:0}", used(PAGE, "const later = 1")) == ""


def test_imports_come_first_and_addresses_follow_the_sheet(tmp_path: Path) -> None:
    (tmp_path / "styles").mkdir()
    (tmp_path / "base.css").write_text("p{background:url(x.png)}", "utf8")
    (tmp_path / "styles" / "theme.css").write_text('@import "../base.css";p{background:url("../y.png?1")}', "utf8")
    sheet = one_sheet.sheet([tmp_path / "styles" / "theme.css"], tmp_path, used())
    assert sheet == 'p{background:url("x.png")}p{background:url("y.png?1")}'


MODULE = "const answer = 42;\nexport default { render };\n"
SOUND = base64.b64encode(b"sound" * 100).decode()


def page(esm: str = MODULE) -> str:
    state = {
        "m": {"model_module": "anywidget", "state": {"_esm": esm, "_css": "p{}", "alt": "a </b> c", "layout": "l"}}
    }
    widgets = json.dumps({"state": {**state, "l": {"model_module": "@jupyter-widgets/base", "state": {}}}})
    return (
        '<html><head><link rel="stylesheet" href="../_static/a.css?v=1"><link rel="stylesheet" href="../_static/b.css">'
        '<script src="../_static/scripts/bootstrap.js"></script><script src="../_static/figure-host.js"></script>'
        f'<script type="application/vnd.jupyter.widget-state+json">{widgets}</script></head><body>'
        f'<style>:root{{--cc-ink:#000}}.cc-fig{{top:0}}</style><audio src="data:audio/mpeg;base64,{SOUND}"></audio>'
        "</body></html>"
    )


def built(folder: Path, text: str) -> tuple[str, page_parts.Site]:
    static = folder / "_static"
    static.mkdir(exist_ok=True)
    (static / "a.css").write_text("p{top:0}.absent{top:0}", "utf8")
    (static / "b.css").write_text("body{top:1px}", "utf8")
    site = page_parts.Site(folder)
    path = folder / "book" / "a.html"
    text = page_parts.bind({path: page_parts.lighten(text, site, "../")}, site, [])[path]
    site.sweep()
    return text, site


def test_a_page_shares_its_parts_and_a_second_pass_changes_nothing(tmp_path: Path) -> None:
    once, site = built(tmp_path, page())
    assert "data:audio" not in once
    assert "bootstrap" not in once
    assert once.count("<link") == 1
    assert (site.static / "site.css").read_text("utf8").endswith("*/\nbody{top:1px}")  # no p, no .cc-fig on this page
    state = json.loads(page_parts.STATE.search(once)[2])["state"]  # type: ignore[index]
    assert list(state) == ["m"]
    assert sorted(state["m"]["state"]) == ["_module", "_src", "alt"]
    script = (tmp_path / "book" / state["m"]["state"]["_src"]).resolve().read_text("utf8")
    assert script.endswith("const answer = 42;\nreturn { render };\n})();\n")
    assert (site.static / once.split('audio src="../_static/')[1].split('"')[0]).read_bytes() == b"sound" * 100
    twice, site = built(tmp_path, once)
    assert twice == once
    assert {file.suffix for file in (site.static / "parts").iterdir()} == {".css", ".js", ".mp3"}


def test_large_values_of_a_figure_are_a_file_that_a_second_pass_finds(tmp_path: Path) -> None:
    long = "x" * page_parts.LARGE
    once, site = built(tmp_path, page().replace('"alt": "a </b> c"', f'"alt": "a", "frames": {json.dumps(long)}'))
    assert long not in once
    state = json.loads(page_parts.STATE.search(once)[2])["state"]["m"]["state"]  # type: ignore[index]
    assert sorted(state) == ["_data", "_data_name", "_module", "_src", "alt"]
    script = (tmp_path / "book" / state["_data"]).resolve().read_text("utf8")
    assert (
        script
        == f'(window.causalcnnModules ??= {{}})["{state["_data_name"]}"] = '
        + json.dumps({"frames": long}, separators=(",", ":"))
        + ";\n"
    )
    twice, _ = built(tmp_path, once)
    assert twice == once
    assert (site.static / "parts" / Path(state["_data"]).name).exists()


def test_a_module_with_imports_stays_in_its_page(tmp_path: Path) -> None:
    text, _ = built(tmp_path, page('import x from "y";\n' + MODULE))
    assert '"_esm":' in text


def test_a_part_that_no_page_names_goes(tmp_path: Path) -> None:
    built(tmp_path, page())
    _, site = built(tmp_path, "<html><head></head><body></body></html>")
    assert list((site.static / "parts").iterdir()) == []
