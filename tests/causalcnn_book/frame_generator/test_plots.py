"""The pictures of the frame generator's chapter: both widths, both say what they show."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib")

from causalcnn_book.frame_generator import drift_curves, frame_generator_diagram


def test_the_wiring_names_its_parts_at_both_widths() -> None:
    picture = frame_generator_diagram(alt="how it is wired")
    assert len(picture.drawings) == 2
    for drawing in picture.drawings.values():
        for word in ("encoder", "glimpse", "RNN", "frames before"):
            assert f">{word}<" in drawing


def test_drift_curves_name_every_line_and_draw_the_ranges() -> None:
    lines = {"speech": [1.0, 1.1, 1.0], "free": [1.0, 2.0, 4.0]}
    picture = drift_curves(
        lines, [1, 10, 100], ranges={"free": [[0.9, 1.1], [1.5, 2.5], [3, 5]]}, y_label="distance, dB", alt="two lines"
    )
    for drawing in picture.drawings.values():
        for word in ("speech", "free", "distance, dB", "100"):
            assert f">{word}<" in drawing
