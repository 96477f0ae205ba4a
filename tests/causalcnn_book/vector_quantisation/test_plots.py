"""The picture of a communication system says what travels."""

from __future__ import annotations

import pytest

pytest.importorskip("anywidget")

from causalcnn_book.vector_quantisation import channel_diagram


def test_it_shows_codes_and_rates_at_both_widths() -> None:
    picture = channel_diagram(
        [4, 17, 203], comes_in="256,000 bits a second", travels="900 bits a second", caption="Which."
    )
    assert set(picture.drawings) == {700, 340}
    for drawing in picture.drawings.values():
        for text in ("4 17 203", "256,000 bits a second", "900 bits a second", "sender", "receiver"):
            assert text in drawing
    assert "4, 17, 203" in picture.alt
    assert "Which." in picture._repr_html_()


def test_what_it_is_told_cannot_break_the_page() -> None:
    picture = channel_diagram([1], comes_in="<b>", travels="&")
    assert "<b>" not in "".join(picture.drawings.values())
