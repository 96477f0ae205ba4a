"""The communication-system view of a quantiser: a sender and a receiver with the same codebook, codes between them."""

from __future__ import annotations

import html
from collections.abc import Sequence

from causalcnn_book.picture import FONT, Picture

__all__ = ["channel_diagram"]

BOX = (190, 128)
"""Width and height of a party, in pixels."""


def channel_diagram(codes: Sequence[int], *, comes_in: str, travels: str, caption: str = "") -> Picture:
    """Draw sender, channel and receiver, with the codes of a few frames on the way.

    Args:
        codes: the numbers that travel, first to last.
        comes_in: the rate of what the sender reads, ``"256,000 bits a second"``.
        travels: the rate of the codes, written in the same way.
        caption: one sentence below the picture.

    Returns:
        The picture, drawn for a page's column of text and for a phone.

    Example:
        >>> from causalcnn_book.vector_quantisation import channel_diagram
        >>> channel_diagram([4, 17, 17, 203], comes_in="256,000 bits a second", travels="900 bits a second").alt[:36]
        'A sender and a receiver, each with t'
    """
    said = ", ".join(map(str, codes))
    alt = (
        f"A sender and a receiver, each with the same codebook. Sound comes in at {comes_in}. "
        f"Between the two travel only the numbers {said}, at {travels}. Sound comes out."
    )
    sent = _text(0, 0, " ".join(map(str, codes)), "fill:var(--cc-bottom);font-weight:650")
    rate = _text(0, 0, travels, "fill:var(--cc-muted)")
    wide = (
        _party(0, 6, "sender", f"in: {comes_in}")
        + _party(510, 6, "receiver", "out: sound")
        + _arrow("M200 70H490", "M482 64l10 6l-10 6")
        + f'<g transform="translate(345 52)">{sent}</g><g transform="translate(345 96)">{rate}</g>'
    )
    narrow = (
        _party(75, 6, "sender", f"in: {comes_in}")
        + _party(75, 270, "receiver", "out: sound")
        + _arrow("M170 168V258", "M164 250l6 10l6 -10")
        + f'<g transform="translate(170 190)">{_behind(sent)}</g><g transform="translate(170 224)">{_behind(rate)}</g>'
    )
    drawings = {
        width: f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(alt)}" '
        f'style="font:13.5px {html.escape(FONT)};fill:var(--cc-ink)">{inside}</svg>'
        for width, height, inside in ((700, 166, wide), (340, 430, narrow))
    }
    return Picture(drawings, alt, caption)


def _party(x: int, y: int, name: str, below: str) -> str:
    """A box with a name, its encoder or decoder, and a codebook of bars."""
    middle, (width, height) = x + BOX[0] // 2, BOX
    does = ("encoder", "nearest codeword?") if name == "sender" else ("codeword of this number", "decoder")
    bars = "".join(f"M{x + 27 + 9 * i} {y + 112}v{-8 - (i * 7) % 16}" for i in range(16))
    return (
        f'<rect x="{x + 1}" y="{y}" width="{width - 2}" height="{height}" rx="9" '
        'style="fill:none;stroke:var(--cc-future)"/>'
        + _text(middle, y + 22, name, "font-weight:650")
        + "".join(_text(middle, y + 45 + 20 * i, line, "") for i, line in enumerate(does))
        + f'<path d="{bars}" style="fill:none;stroke:var(--cc-bottom);stroke-width:6"/>'
        + _text(middle, y + height + 20, below, "fill:var(--cc-muted)")
    )


def _text(x: int, y: int, text: str, style: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="middle" style="{style}">{html.escape(text)}</text>'


def _behind(text: str) -> str:
    """The text on a strip of paper, where a line runs below it."""
    paper = "fill:var(--pst-color-background,var(--cc-paper))"
    return f'<rect x="-110" y="-14" width="220" height="20" style="{paper}"/>{text}'


def _arrow(line: str, head: str) -> str:
    return f'<path d="{line}{head}" style="fill:none;stroke:var(--cc-bottom);stroke-width:2"/>'
