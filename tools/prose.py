"""What of a chapter's markdown is prose, and which numbers stand in it. Standard library only.

Digits that need no claim (in code, formulas, citations, addresses) are *protected*: replaced, one for one, by private
characters, so that a claim's sentence can still run across them while the scan for numbers passes them by.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

YEARS = range(1980, 2031)
SLOT = "\ue100"  # stands for a claim's {} while its sentence is treated like the chapter's
_PROTECT = {ord("0") + digit: 0xE030 + digit for digit in range(10)} | {
    ord(c): 0xE040 + i for i, c in enumerate("½⅓⅔¼¾⅕⅛")
}
_UNPROTECT = {private: public for public, private in _PROTECT.items()}
UNITS = r"(?:ms|µs|s|Hz|kHz|dB|KB|kB|MB|GB|bits?|bytes?)\b"
NUMBER = re.compile(
    r"(?<![\w.,^/])[-−+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?[½⅓⅔¼¾⅕⅛]?(?:(?![\w^])|(?="
    + UNITS
    + r"))|[½⅓⅔¼¾⅕⅛]"
)
COUNTED = re.compile(
    r"(?:Exercises?|Figures?|Tables?|Sections?|Chapters?|Parts?|[Ss]teps?|Questions?|Equations?|§+|No\.)\s*$"
)
REFERENCES = re.compile(r"^## (?:References|Next)\b.*?(?=^## |\Z)", re.M | re.S)
# Fenced directives whose content is read as prose; every other fence is code.
PROSE_FENCES = "admonition|note|warning|tip|margin|important|dropdown|glossary|figure|sidebar|card|grid"
CODE_FENCE = re.compile(rf"^(`{{3,}}|~{{3,}})(?!\{{(?:{PROSE_FENCES})).*?^\1[`~]*\s*$", re.M | re.S)


def protect(text: str) -> str:
    """Return text whose digits need no claim."""
    return text.translate(_PROTECT)


def unprotect(text: str) -> str:
    """Return text with its digits back, character for character."""
    return text.translate(_UNPROTECT)


def _math(match: re.Match[str]) -> str:
    """Keep a formula; only a bare number, or one after the last equals sign, still needs a claim."""
    formula = match.group(1).replace("{,}", ",").replace(r"\,", "").replace("\\%", "%").strip()
    shown = re.search(rf"(?:^|[=≈]\s*|\\approx\s*)([-−+]?[\d,]+(?:\.\d+)?|{SLOT})$", formula)
    if not shown:
        return protect(formula)
    return protect(formula[: shown.start(1)]) + shown.group(1)


def _role(match: re.Match[str]) -> str:
    shown = match.group(2)
    return protect(shown) if match.group(1).startswith("cite") else shown


def plain(markdown: str) -> str:
    """Return a markdown cell without code blocks, display formulas, addresses, headings and list numbers."""
    text = CODE_FENCE.sub("", markdown)
    text = REFERENCES.sub("", text)
    text = re.sub(r"\$\$.*?\$\$(?:\s*\([\w-]+\))?", "", text, flags=re.S)
    text = re.sub(r"^(?:#{1,6} |`{3,}|~{3,}|:{3,}).*$", "", text, flags=re.M)
    text = re.sub(r"^\([\w.:-]+\)=\s*$", "", text, flags=re.M)
    text = re.sub(r"^:[\w-]+:(?: .*)?$", "", text, flags=re.M)
    text = re.sub(r"^\*\*Reading time\*\*.*$", "", text, flags=re.M)
    text = re.sub(r"\{([\w:-]+)\}`([^`<]*?)(?:\s*<[^`>]*>)?`", _role, text)
    text = re.sub(r"`([^`]*)`", lambda m: protect(m.group(1)), text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"</?[a-zA-Z!][^>\n]*>", " ", text)
    text = re.sub(r"(?:https?://|arXiv:|doi:)\S+", lambda m: protect(m.group()), text)
    text = re.sub(r"(?<![\\$])\$(?!\s)([^$\n]+?)(?<!\s)\$", _math, text)
    return re.sub(r"^(\s*)\d+[.)]\s", r"\1", text, flags=re.M)


def normalise(text: str) -> str:
    """Return text without emphasis marks, with plain quotes and single spaces."""
    text = re.sub(r"[*_`$]", "", text).replace("’", "'").replace("\u00a0", " ").replace("\u202f", " ")
    text = re.sub(r"[“”]", '"', text)
    return re.sub(r"\s+", " ", text).strip()


def numbers(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, number) for every number of normalised prose that needs a claim."""
    for match in NUMBER.finditer(text):
        number = match.group()
        if COUNTED.search(text[: match.start()]):
            continue
        if re.fullmatch(r"\d{4}", number) and int(number) in YEARS:
            continue
        yield match.start(), match.end(), number
