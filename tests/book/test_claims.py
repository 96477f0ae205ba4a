"""The claims of the pages hold; and each way in which a claim can fail does fail."""

from __future__ import annotations

from pathlib import Path

import pytest

import check_book
import claims
import prose

TEXT = """# Fields

With kernel **3** and dilation `2`, a field
spans {term}`exactly <field>` 5 frames, that is $R = 5$, or $16{,}000$ samples at most.

See Exercise 2, [chapter](x9.ipynb) and {cite:t}`oord2016wavenet` of 2016. It is 1D.

```python
x = 99
```
"""
GOOD = claims.Chapter(
    "k = 3",
    [
        claims.Claim("kernel 3 and dilation 2, a field spans exactly {} frames", ("(k - 1) * 2 + 1",)),
        claims.Claim("$R = {}$, or {} samples", ("5", "100 * 160")),
    ],
)


@pytest.mark.parametrize("name", check_book.names())
def test_page_says_what_the_code_says(name: str) -> None:
    assert check_book.problems(name) == []


def test_true_claims_pass() -> None:
    assert claims.problems("page", [TEXT], GOOD) == []


def test_wrong_number_fails() -> None:
    [problem] = claims.problems("page", [TEXT.replace(" 5 frames", " 6 frames")], GOOD)
    assert "the text says 6" in problem
    assert "is 5" in problem


def test_vanished_sentence_fails() -> None:
    found = claims.problems("page", [TEXT.replace("a field\nspans", "it\nspans")], GOOD)
    assert any("not in the text any more" in problem for problem in found)


def test_loose_number_fails() -> None:
    [problem] = claims.problems("page", [TEXT + "\nAnd 7 more."], GOOD)
    assert "no claim covers '7'" in problem


def test_a_loose_number_inside_a_longer_one_is_not_covered() -> None:
    chapter = claims.Chapter("", [claims.Claim("{} frames", ("5",))])
    assert claims.problems("page", ["There are 5 frames."], chapter) == []
    assert claims.problems("page", ["There are 15 frames."], chapter) != []


def test_broken_expression_fails() -> None:
    [problem] = claims.problems("page", ["5 frames"], claims.Chapter("", [claims.Claim("{} frames", ("no_such",))]))
    assert "NameError" in problem


@pytest.mark.parametrize(
    ("printed", "computed", "same"),
    [
        ("16,000", 16000, True),
        ("0.63", 0.6251, True),
        ("0.63", 0.6249, False),
        ("−3", -3, True),
        ("½", 0.5, True),
        ("1/3", 1 / 3, False),
        ("seven", 7, True),
        ("Seven", 8, False),
        ("31", 31.4, True),
        ("31", 31.6, False),
        ("31", True, False),
        ("3 · 10^-6", 3.2e-6, True),
        ("5", float("nan"), False),
    ],
)
def test_numbers_compare_after_rounding_to_what_is_printed(printed: str, computed: float, same: bool) -> None:
    assert claims.equal(printed, computed) is same


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("In 2019 we had Exercise 3 and step 4.", []),
        ("A 16-frame window of 40 ms, 25ms.", ["16", "40", "25"]),
        ("1. First\n2. Second", []),
        ("Conv1d, 2D, d3 and `x = 4`.", []),
        ("$k = 3$, $d^{2}$, $7$", ["3", "7"]),
        ("$$x = 3$$ (label)", []),
        ("| kernel | 3 |\n|---|---|", ["3"]),
        (":::{admonition} Predict 9\n:class: predict\n\nDoes it see 8?\n:::", ["8"]),
        ("<div width=3>4</div>", ["4"]),
        ("arXiv:1609.03499 and doi:10.1/2", []),
        ("a 2048-point window", ["2048"]),
    ],
)
def test_what_counts_as_a_number_of_the_prose(text: str, numbers: list[str]) -> None:
    assert [number for _, _, number in prose.numbers(prose.normalise(prose.plain(text)))] == numbers


def test_a_claim_file_with_a_fault_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    for text in ('[[claim]]\nsays = "5 frames"', '[[claim]]\nsays = "{} frames"', '[[claims]]\nsays = "x"'):
        path.write_text(text, "utf8")
        with pytest.raises(ValueError, match=r"x\.toml"):
            claims.read(path)
