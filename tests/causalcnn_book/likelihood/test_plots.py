"""The picture of the table of models: every row has a name, the dearest stands above."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib")

from causalcnn.speech import UniformBins
from causalcnn_book.likelihood.likelihood import models
from causalcnn_book.likelihood.plots import CALLED, bits_of_models


def test_every_row_of_the_experiment_has_a_name() -> None:
    assert set(models(UniformBins(-70.0, 20.0))) == set(CALLED)


def test_the_picture_names_the_rows_and_the_sets() -> None:
    rows = {"copy": {"embedded": [5.7, 5.8], "prompts": [5.4]}, "mine": {"embedded": [4.5], "prompts": [4.6]}}
    page = bits_of_models(rows, sets={"embedded": "embedded voices"}, alt="Two models")._repr_html_()
    for text in ("the last frame again", "mine", "embedded voices", "bits a value", "Two models"):
        assert text in page
    assert "prompts" not in page
