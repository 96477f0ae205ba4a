"""The checks of built pages find what they are for, and the built book passes them."""

from __future__ import annotations

from pathlib import Path

import pytest

import build_book
import draw_cone
import html_checks

GOOD = """<!doctype html><html lang="en"><head><title>A page</title>
<meta name="description" content="A page that has everything it needs."></head>
<body><h1 id="top">A page</h1><a href="#top">up</a> <a href="b.html#there">on</a></body></html>"""

ICON = '<svg aria-hidden="true"><path/></svg>'
STILL = f'<div class="cc-static"><div class="cc-fig"><div class="cc-stage">{ICON}</div><div>x</div></div></div>'


def site(folder: Path, extra: str = "") -> Path:
    (folder / "a.html").write_text(GOOD.replace("</body>", extra + "</body>"), "utf8")
    (folder / "b.html").write_text(GOOD.replace('"top"', '"there"').replace("#top", "").replace("b.html", ""), "utf8")
    return folder


def test_good_site_has_no_problem(tmp_path: Path) -> None:
    assert html_checks.site_problems(site(tmp_path, STILL)) == []


@pytest.mark.parametrize(
    ("message", "extra"),
    [
        ("third-party request", '<script src="https://cdn.example/x.js"></script>'),
        ("third-party request", '<img alt="x" src="//img.example/x.png">'),
        ("third-party request", '<link rel="stylesheet" href="http://fonts.example/x.css">'),
        ("third-party request", '<link rel="preconnect" href="https://fonts.example">'),
        ("third-party request", "<style>p { background: url(https://img.example/x.png) }</style>"),
        ("third-party request", "<style>@import 'https://fonts.example/x.css';</style>"),
        ("third-party request", '<p style="background:url(https://img.example/x.png)">x</p>'),
        ("third-party request", '<img alt="x" srcset="https://img.example/x.png 2x">'),
        ("no alt text", '<img src="x.png">'),
        ("no alt text", '<img src="x.png" alt=" ">'),
        ('no role="img"', "<svg><path/></svg>"),
        ("<audio> has no label", '<audio src="data:audio/mpeg;base64,AAAA"></audio>'),
        ("does not exist", '<a href="nowhere.html">x</a>'),
        ("no such anchor", '<a href="b.html#nowhere">x</a>'),
        ("no such anchor", '<a href="#nowhere">x</a>'),
        ("without a still picture", '<div class="cc-static"><div class="cc-fig"><p>In words.</p></div></div>'),
        ("without a still picture", STILL + '<div class="cc-static"></div>' + STILL),
        ("without a still picture", '<div class="cc-static"></div>' + ICON),
    ],
)
def test_planted_fault_is_found(tmp_path: Path, message: str, extra: str) -> None:
    assert any(message in problem for problem in html_checks.site_problems(site(tmp_path, extra)))


@pytest.mark.parametrize(
    ("message", "old", "new"),
    [
        ("no title", "<title>A page</title>", "<title></title>"),
        ("meta description", "A page that has everything it needs.", "Short."),
        ("no language", ' lang="en"', ""),
    ],
)
def test_missing_head_is_found(message: str, old: str, new: str) -> None:
    assert any(message in problem for problem in html_checks.page_problems(GOOD.replace(old, new)))


def test_style_sheet_that_reaches_out_is_found(tmp_path: Path) -> None:
    (site(tmp_path) / "x.css").write_text("@font-face { src: url('https://fonts.example/x.woff2') }", "utf8")
    assert any("third-party" in problem for problem in html_checks.site_problems(tmp_path))


def test_weight_counts_everything_that_a_page_loads(tmp_path: Path) -> None:
    site(tmp_path, '<link rel="stylesheet" href="x.css"><img alt="x" src="x.png">')
    (tmp_path / "x.css").write_text("@font-face { src: url(x.woff2), url(x.woff) } p { color: red }", "utf8")
    for name, size in (("x.png", 1000), ("x.woff2", 2000), ("x.woff", 5000)):
        (tmp_path / name).write_bytes(b"0" * size)
    files = ("a.html", "x.css", "x.png", "x.woff2")
    assert html_checks.page_bytes(tmp_path, tmp_path / "a.html") == sum((tmp_path / f).stat().st_size for f in files)
    assert list(html_checks.weight_problems(tmp_path, limit=3000)) != []
    assert list(html_checks.weight_problems(tmp_path)) == []


def test_the_readme_s_picture_is_the_one_that_the_explorer_draws() -> None:
    assert draw_cone.TARGET.read_text("utf8") == draw_cone.drawing() + "\n"


@pytest.mark.page
def test_built_book_has_no_problem() -> None:
    assert (build_book.HTML / "index.html").exists(), "run `make book` first"
    assert html_checks.site_problems(build_book.HTML) == []
