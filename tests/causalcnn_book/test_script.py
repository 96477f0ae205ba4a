"""The script that travels with a figure: whole, small, and of one text however its files are formatted."""

from __future__ import annotations

from pathlib import Path

import pytest

from causalcnn_book import script

SHARED = """// What is shared.

/** @param {number} n */
export const twice = (n) => 2 * n;

/**
 * Nobody needs it. `export const x` and `import {y}` are words here.
 */
export function unused() {
  return twice(1);
}

export const words = (/** @type {string} */ a) => `${a} = ( ${a ? ` : ${a}` : ""} )`; // stays, with its spaces
"""
BETWEEN = """import { twice } from "../shared.js";

const HIDDEN = [/*ENERGY*/].length;
const four = twice(2) + HIDDEN - 33;

export { four };
"""
OWN = """/** @import { Declaration } from "../types" */
import {
  twice,
  words,
} from "../shared.js";
import { four } from "./between.js";

/** @type {Declaration<number>} */
const declaration = { text: "a = b ;  // c", sum: twice(four), said: words("x") };

export default declaration;
"""


def joined(folder: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> str:
    """The text of ``chapter/own.js`` in a folder with these files."""
    (folder / "chapter").mkdir()
    for name, text in {"shared": SHARED, "chapter/between": BETWEEN, "chapter/own": OWN, **files}.items():
        (folder / f"{name}.js").write_text(text, "utf8")
    monkeypatch.setattr(script, "HERE", folder)
    return script.module.__wrapped__("chapter/own")


def test_a_module_and_its_imports_are_one_text_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    py_mini_racer = pytest.importorskip("py_mini_racer")
    text = joined(tmp_path, monkeypatch)
    assert text.count("const twice=") == 1
    v8 = py_mini_racer.MiniRacer()
    v8.eval(text.replace("export default", "var shipped ="))
    assert [v8.eval(f"shipped.{key}") for key in ("text", "sum", "said")] == ["a = b ;  // c", 8, "x = (  : x )"]


def test_it_carries_no_types_no_comments_and_nothing_unused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = joined(tmp_path, monkeypatch)
    for gone in ("import", "export {", "/**", "@type", "What is shared", "stays, with", "unused", "Nobody"):
        assert gone not in text


@pytest.mark.parametrize(
    ("own", "rule"),
    [
        ('import { twice as double } from "../shared.js";\n', "under another"),
        ('import * as shared from "../shared.js";\n', "write: import"),
        ('import "../shared.js";\n', "write: import"),
        ('export * from "../shared.js";\n', "write: import"),
        ("const lines = `one\ntwo`;\nexport default lines;\n", "on one line"),
    ],
)
def test_what_cannot_be_one_text_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        joined(tmp_path, monkeypatch, **{"chapter/own": own})
