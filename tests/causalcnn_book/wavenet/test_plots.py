"""The picture of the WaveNet chapter: both widths, every gate, on the sound's own axis."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib")

from causalcnn_book.wavenet import wave_and_gates


def test_a_wave_and_gates_name_every_line_at_both_widths() -> None:
    picture = wave_and_gates([0.0, 0.5] * 1600, {"quiet": [0.1] * 3200, "hiss": [0.9] * 3200}, alt="two gates")
    assert len(picture.drawings) == 2
    for drawing in picture.drawings.values():
        for word in ("quiet", "hiss", "how far open"):
            assert f">{word}<" in drawing


def test_a_gate_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="'short' has 10 values; the sound has 3200 samples"):
        wave_and_gates([0.0] * 3200, {"short": [0.1] * 10}, alt="one gate")
