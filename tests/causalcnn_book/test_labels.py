"""The pictures of results: strips of labels that fit their spectrogram, and intervals with every row named."""

from __future__ import annotations

import pytest
import torch

from causalcnn_book import confidence_intervals, labels_over_time


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


def test_every_row_of_intervals_is_named():
    text = confidence_intervals(
        {"add": (79.0, 0.5), "concat": (77.5, 1.2)},
        points={"add": [78.5, 79.5]},
        x_label="right, in %",
        alt="Two rows.",
    )._repr_html_()
    assert text.count("add") >= 2  # once for the page, once for the phone
    assert text.count("concat") >= 2
