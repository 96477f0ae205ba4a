"""The picture of rate and distortion: which number of the table stands where."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("matplotlib")

from causalcnn_book.autoencoders import lower_hull, rate_distortion_curves, rate_distortion_points


def point(error: float, **rates: float) -> dict[str, Any]:
    return {"one": {"rmse_db": {"mean": error}, "bits_per_second": {rate: {"mean": x} for rate, x in rates.items()}}}


@pytest.fixture
def table() -> dict[str, Any]:
    rows = {
        "autoencoder": {"unrounded": point(1), "step 1": point(3, unigram=9000, differences=8000)},
        "vae 1": {"unrounded": point(2), "drawn": point(2.5, kl=7000), "rounded 1": point(2.6, unigram=7100),
                  "rounded 2": point(4, unigram=5000)},
        "vae 4": {"drawn": point(4, kl=3000), "rounded 1": point(4.1, unigram=3200)},
        "vq 16": {"codes": point(5, fixed=8000, unigram=7500)},
        "vq 2 levels": {"codes": point(1.5, fixed=27000, unigram=25000)},
        "codec": {"codes": point(1, fixed=27000, unigram=26000, prior=16000)},
        "pca": {"step 2 dB": point(0.6, unigram=28000, differences=23000)},
        "gaussian": {"2 dB": point(2, gaussian=5000)},
    }  # fmt: skip
    sent = {"vae 4, rounded 1": (3200.0, 4.1), "pca, step 2 dB": (23000.0, 0.6)}
    return {
        "rows": {row: {"points": points} for row, points in rows.items()},
        "hull": {"one": {"sent": lower_hull(sent)}},
    }


def test_each_point_has_the_lowest_rate_at_which_it_is_sent(table: dict[str, Any]) -> None:
    series = rate_distortion_points(table, "one")
    assert series["autoencoder"] == [(8000, 3, "autoencoder, step 1")]
    assert [label for _, _, label in series["VAE, rounded"]] == ["vae 4, rounded 1", "vae 1, rounded 1"]
    assert [rate for rate, _, _ in series["VAE, a draw"]] == [3000, 7000]
    assert series["codes"] == [(7500, 5, "vq 16, codes")]
    assert series["two levels"][0][0] == 25000
    assert series["codec, prior"][0][0] == 16000
    assert series["components"][0][0] == 23000
    assert series["Gaussian bound"][0][0] == 5000


def test_the_picture_names_every_series_at_both_widths(table: dict[str, Any]) -> None:
    picture = rate_distortion_curves(table, "one", alt="eight curves")
    assert len(picture.drawings) == 2
    for drawing in picture.drawings.values():
        for word in (*rate_distortion_points(table, "one"), "kbit a second", "error, dB"):
            assert f">{word}<" in drawing
