"""The rate figure tells the truth: each model has the rate and the error that it was given, and the sentence's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("anywidget")
pytest.importorskip("py_mini_racer")

from causalcnn_book.autoencoders import RateExplorer, as_bins, error_db, from_bins

RANDOM = np.random.default_rng(0)
SENTENCE = RANDOM.uniform(-80, 0, (80, 30))
MODELS = [
    {"family": family, "label": f"β {n}", "rate": 300.0 * 2**n + turn, "error": 5.0 - n, "frames": SENTENCE + n}
    for turn, family in enumerate(("VAE", "codes"))
    for n in (3, 0, 1, 2)
]
STATE = ("family", "rate", "original", "models", "sentence")


@pytest.fixture(scope="module")
def figure() -> RateExplorer:
    return RateExplorer.of(SENTENCE, MODELS, sounds=False)


def state_of(figure: RateExplorer, **more: Any) -> dict[str, Any]:
    return {key: getattr(figure, key) for key in STATE} | more


@given(arrays(np.float64, (80, 3), elements=st.floats(-200, 100)))
def test_bytes_keep_frames_to_a_quarter_of_a_decibel(frames: np.ndarray) -> None:
    back = from_bins(as_bins(frames))
    assert np.abs(back - frames.clip(-70, 57)).max() <= 0.25
    assert as_bins(back) == as_bins(frames)


def test_other_shapes_are_no_frames() -> None:
    with pytest.raises(ValueError, match=r"\(80, frames\)"):
        as_bins(np.zeros((3, 80)))
    with pytest.raises(ValueError):
        from_bins(as_bins(np.zeros((80, 1)))[:8])


@pytest.mark.parametrize("model", MODELS, ids=lambda model: f"{model['family']} {model['label']}")
def test_every_model_can_be_chosen_and_is_read_as_it_was_measured(figure: RateExplorer, model: dict[str, Any]) -> None:
    chosen = RateExplorer(**state_of(figure, family=model["family"], rate=model["rate"]))
    found = chosen.read()
    assert (found["family"], found["label"], found["rate"], found["error_db"]) == (
        *(model[key] for key in ("family", "label", "rate", "error")),
    )
    expected = error_db(from_bins(as_bins(SENTENCE)), from_bins(as_bins(model["frames"])))
    assert found["sentence_db"] == pytest.approx(expected, rel=1e-9)
    view = chosen.draw()
    assert f"{model['family']}, {model['label']}" in view["sentence"]
    assert "NaN" not in view["picture"]


@given(st.floats(1, 1e6), st.sampled_from(["VAE", "codes", "no such family"]))
def test_of_other_rates_the_nearest_one_of_the_family_is_chosen(
    engine: Any, figure: RateExplorer, rate: float, family: str
) -> None:
    found = engine("rate_explorer")("figure.settled(s)", s=state_of(figure, rate=rate, family=family))
    family = "VAE" if family == "no such family" else family
    rates = [model["rate"] for model in MODELS if model["family"] == family]
    assert found["family"] == family
    gaps = np.abs(np.log(rates) - np.log(rate))
    assert abs(np.log(found["rate"] / rate)) == pytest.approx(gaps.min())


@pytest.mark.parametrize("width", [330, 700])
def test_a_point_of_the_plot_chooses_its_model(engine: Any, figure: RateExplorer, width: int) -> None:
    ask = engine("rate_explorer")
    for model in (MODELS[0], MODELS[5]):
        given = state_of(figure)
        at = f"((l) => modelAt(s, l.x({model['rate']}) + 2, l.y({model['error']}) - 1, {width}))(layout(s, {width}))"
        assert ask(at, s=given)["rate"] in (model["rate"], model["rate"] - 1, model["rate"] + 1)  # two lie together
    assert ask(f"modelAt(s, 1, 1, {width}) ?? null", s=state_of(figure)) is None


def test_the_slider_runs_from_the_lowest_rate_to_the_highest(figure: RateExplorer) -> None:
    for family in ("VAE", "codes"):
        rates = [model["rate"] for model in figure.models if model["family"] == family]
        assert rates == sorted(rates)


def test_it_can_be_heard_in_every_setting() -> None:
    pytest.importorskip("soundfile")
    figure = RateExplorer.of(SENTENCE, MODELS[:3])
    assert len({figure.mp3, *(model["mp3"] for model in figure.models)}) >= 3
    assert figure.seconds == 0.3
    assert figure.controls[0] == "sound"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ([], "no models"),
        ([{"family": "VAE"}], "no 'error'"),
        ([{**MODELS[0], "rate": 0}], "must be above 0"),
        ([{**MODELS[0], "frames": np.zeros((80, 2))}], "not as many frames"),
    ],
)
def test_what_is_no_model_is_refused(wrong: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        RateExplorer.of(SENTENCE, wrong, sounds=False)
