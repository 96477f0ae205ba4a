"""Strips of labels fit their spectrogram, and wrong ones are seen."""

from __future__ import annotations

import pytest
import torch

from causalcnn_book.encoders import labels_over_time


def test_wrong_labels_are_hatched_and_right_ones_are_not():
    mel = torch.zeros(80, 60)
    truth = ["SIL"] * 10 + ["AA"] * 30 + ["S"] * 20
    right = labels_over_time(mel, truth, truth, alt="Two equal strips.")._repr_html_()
    wrong = labels_over_time(mel, truth, ["SIL"] * 10 + ["AE"] * 30 + ["S"] * 20, alt="Two strips.")._repr_html_()
    assert "<pattern" not in right
    assert "<pattern" in wrong
    assert "AE" in wrong


def test_strips_of_another_length_are_refused():
    with pytest.raises(ValueError, match="60 frames, 59 true labels"):
        labels_over_time(torch.zeros(80, 60), ["SIL"] * 59, ["SIL"] * 60, alt="Two strips.")
