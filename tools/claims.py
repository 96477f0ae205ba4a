"""No loose numbers: every number in the prose is computed, measured or given, and a test compares.

``book/claims/NAME.toml`` holds the claims of the page ``book/NAME``. The format is described in CONTRIBUTING.md.
"""

from __future__ import annotations

import importlib
import json
import math
import re
import tomllib
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import prose

ROOT = Path(__file__).resolve().parent.parent
WORDS = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty",
)
VULGAR = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅛": "1/8"}
SLOT = (
    r"(?<!\w)([-−+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?(?:\s?·\s?10\^?[-−]?\d+)?[½⅓⅔¼¾⅕⅛]?|[½⅓⅔¼¾⅕⅛]|(?i:"
    + "|".join(WORDS)
    + r"))"
)


@dataclass(frozen=True)
class Claim:
    """One sentence and what its numbers must be; no expressions when the numbers are given."""

    says: str
    expressions: tuple[str, ...] = ()
    given: bool = False


@dataclass
class Chapter:
    """The claims of one page and the Python that prepares their namespace."""

    setup: str = ""
    claims: list[Claim] = field(default_factory=list)


def read(path: Path) -> Chapter:
    """Read a file of claims; a missing file holds none.

    Raises:
        ValueError: a claim without text, with unknown keys, or with another number of slots than expressions.
    """
    if not path.exists():
        return Chapter()
    content = tomllib.loads(path.read_text("utf8"))
    if set(content) - {"setup", "claim"}:
        raise ValueError(f"{path.name}: unknown keys {sorted(set(content) - {'setup', 'claim'})}")
    chapter = Chapter(content.get("setup", ""))
    for entry in content.get("claim", []):
        says, kind = entry.get("says", ""), entry.get("kind", "computed")
        expressions = entry.get("is", [])
        expressions = (expressions,) if isinstance(expressions, str) else tuple(expressions)
        if not says or set(entry) - {"says", "is", "kind"} or kind not in ("computed", "given"):
            raise ValueError(f"{path.name}: a claim has says, is and kind = 'given' only: {entry}")
        if says.count("{}") != len(expressions) or (kind == "computed") == (not expressions):
            raise ValueError(f"{path.name}: {says!r} needs one expression for each {{}}, and kind = 'given' has none")
        chapter.claims.append(Claim(says, expressions, kind == "given"))
    return chapter


def value(text: str) -> tuple[Fraction, int]:
    """Return the number that a slot prints, and how many decimals it prints (−1: exact, as a word or a fraction)."""
    text = text.strip().replace("−", "-").replace(",", "").lower()
    if text in WORDS:
        return Fraction(WORDS.index(text)), -1
    power = re.fullmatch(r"([-+]?[\d.]+)\s?·\s?10\^?(-?\d+)", text)
    if power:
        exponent = int(power.group(2))
        decimals = len(power.group(1).partition(".")[2]) - exponent
        return Fraction(power.group(1)) * Fraction(10) ** exponent, decimals
    if text[-1] in VULGAR:
        return Fraction(text[:-1] or 0) + Fraction(VULGAR[text[-1]]), -1
    if "/" in text:
        return Fraction(text), -1
    return Fraction(text), len(text.partition(".")[2])


def equal(printed: str, computed: Any) -> bool:
    """Say whether a computed number, rounded to the decimals that are printed, is the printed one."""
    number, decimals = value(printed)
    if isinstance(computed, bool) or not math.isfinite(float(computed)):
        return False
    exact = Fraction(computed) if isinstance(computed, int | float | Fraction) else Fraction(float(computed))
    if decimals < 0 or (decimals == 0 and isinstance(computed, int)):
        return exact == number
    # Half a unit of the last printed place; a little more, because 0.125 is not exact in every computation.
    return abs(exact - number) <= Fraction(1, 2) / Fraction(10) ** decimals * (1 + Fraction(1, 10**9))


def namespace(setup: str = "", measurements: Path = ROOT / "book" / "measurements") -> dict[str, Any]:
    """Return what expressions see."""
    import numpy as np
    import torch

    causalcnn = importlib.import_module("causalcnn")

    def measured(name: str) -> Any:
        return json.loads((measurements / name).read_text("utf8"))

    names: dict[str, Any] = {n: getattr(causalcnn, n) for n in causalcnn.__all__ if n != "__version__"}
    for package in ("nn", "causality", "speech"):
        names[package] = importlib.import_module(f"causalcnn.{package}")
    names["book"] = importlib.import_module("causalcnn_book")
    names |= {"causalcnn": causalcnn, "torch": torch, "np": np, "math": math, "Fraction": Fraction}
    names["measured"] = measured
    exec(setup, names)
    return names


def pattern(says: str) -> re.Pattern[str]:
    """Return the pattern of a claim's sentence in normalised, unprotected text."""
    sentence = prose.unprotect(prose.normalise(prose.plain(says.replace("{}", prose.SLOT))))
    joined = re.escape(sentence).replace(re.escape(prose.SLOT), SLOT)
    # A sentence that begins or ends with a digit must not match inside a longer number.
    return re.compile(r"(?<![\d.,])" + joined + r"(?!\d|[.,]\d)")


def problems(name: str, markdown: list[str], chapter: Chapter, names: dict[str, Any] | None = None) -> list[str]:
    """Return what is wrong with a page: claims that fail or vanished, numbers that no claim covers.

    Args:
        name: the page's name, for the messages.
        markdown: the text of its markdown cells.
        chapter: its claims.
        names: the namespace of the expressions; by default made anew, with the chapter's set-up.
    """
    marked = prose.normalise("\n\n".join(prose.plain(cell) for cell in markdown))
    text = prose.unprotect(marked)  # the same length: a span in one is a span in the other
    found: list[str] = []
    covered: list[tuple[int, int]] = []
    if names is None:
        names = namespace(chapter.setup) if chapter.claims else {}
    for claim in chapter.claims:
        matches = list(pattern(claim.says).finditer(text))
        if not matches:
            found.append(f"{name}: the claim {claim.says!r} is not in the text any more")
        covered += [match.span() for match in matches]
        for slot, expression in enumerate(claim.expressions):
            try:
                computed = eval(expression, names)
                wrong = [m.group(slot + 1) for m in matches if not equal(m.group(slot + 1), computed)]
            except Exception as error:
                found.append(f"{name}: {claim.says!r}: {expression!r} raises {type(error).__name__}: {error}")
                continue
            found += [f"{name}: the text says {w} in {claim.says!r}; {expression} is {computed}" for w in wrong]
    for start, end, number in prose.numbers(marked):
        if not any(a <= start and end <= b for a, b in covered):
            around = text[max(0, start - 50) : end + 30]
            found.append(f"{name}: no claim covers {number!r} in '… {around} …'")
    return found
