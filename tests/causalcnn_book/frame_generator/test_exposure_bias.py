"""The drift of generated speech: what it is measured with says what it should, on clouds and models that are known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

pytest.importorskip("espeakng_loader")

from causalcnn.models import FrameGenerator, FrameGeneratorConfig, load_model
from causalcnn.speech import EmbeddedSpeech, FeatureCorpus
from causalcnn_book.frame_generator.drift_metrics import (
    LinearJudge,
    continuations,
    distance_db,
    frame_statistics,
    one_frame_ahead,
)
from causalcnn_book.frame_generator.exposure_bias import combine_seeds
from causalcnn_book.likelihood.likelihood import score

BOOK = Path(__file__).resolve().parents[3] / "book"


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_distance_of_a_cloud_from_itself_moved_and_scaled_is_known() -> None:
    cloud = drawn(4000, 8)
    assert distance_db(cloud, cloud) == pytest.approx(0, abs=1e-5)
    assert distance_db(cloud, cloud + 3) == pytest.approx(3)
    whitened = (cloud - cloud.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(cloud.T))).T
    assert distance_db(whitened, 5 * whitened) == pytest.approx(4)
    assert distance_db(cloud, cloud[:, [1, 0, *range(2, 8)]]) < 0.2


def test_a_linear_process_costs_its_own_entropy_and_another_one_costs_more() -> None:
    noise = 3 * drawn(3000, 4)
    x = torch.zeros(3000, 4, dtype=torch.float64)
    for t in range(1, 3000):
        x[t] = 0.8 * x[t - 1] + noise[t]
    judge = LinearJudge.fitted([x[:2000]], frames=2)
    entropy = 0.5 * math.log2(2 * math.pi * math.e * 9)
    assert float(judge.bits(x[None, 2000:]).mean()) == pytest.approx(entropy, abs=0.1)
    assert float(judge.bits(x[None, 2000:].flip(2) * 2).mean()) > entropy + 1


def test_frames_are_described_in_decibels() -> None:
    loud = torch.full((1, 3, 80), -20.0)
    loud[:, :, ::2] = -40.0
    before = loud - 5
    found = frame_statistics(loud, before, level_db=25.0)
    assert torch.allclose(found["step_db"], torch.tensor(5.0))
    assert torch.allclose(found["contrast_db"], loud[0, 0].std())
    assert torch.allclose(found["level_db"], torch.tensor(-22.967), atol=1e-3)  # the mean power, not the mean of dB
    assert found["silent"].all()
    assert not frame_statistics(loud, before, level_db=10.0)["silent"].any()


def test_one_frame_ahead_reads_the_true_past_and_nothing_else() -> None:
    torch.manual_seed(0)
    model = FrameGenerator(FrameGeneratorConfig(channels=8, hidden=8)).eval()
    bins = torch.randint(0, 256, (24, 80), generator=torch.Generator().manual_seed(1))
    ahead = one_frame_ahead(model, bins, 20, seed=3)
    assert ahead.shape == (4, 80)
    other = bins.clone()
    other[22] = 255 - other[22]
    changed = one_frame_ahead(model, other, 20, seed=3)
    assert torch.equal(changed[:3], ahead[:3])
    assert not torch.equal(changed[3], ahead[3])
    # A longer past changes nothing: a row has read all that the model reads.
    sampler = model.sampler(1)
    sampler.read(bins[None, :20])
    uniform = model.sampler(4).uniform(torch.Generator().manual_seed(3))[:1]
    assert torch.equal(sampler.draw(uniform)[0], ahead[0])


def test_too_short_a_past_is_refused() -> None:
    model = FrameGenerator(FrameGeneratorConfig(channels=8, hidden=8)).eval()
    with pytest.raises(ValueError, match="first is 12, and the model reads 13 frames"):
        one_frame_ahead(model, torch.zeros(20, 80, dtype=torch.int64), 12)


def test_prompts_end_within_speech() -> None:
    corpus = FeatureCorpus.of(EmbeddedSpeech("test", speakers=2, seconds=20), cache=False)
    model = FrameGenerator(FrameGeneratorConfig(channels=8, hidden=8))
    bins, speakers = continuations(corpus, model, per_speaker=2, prompt=20, frames=30)
    assert bins.shape == (4, 50, 80)
    assert speakers == [name for name in corpus.speaker_names for _ in range(2)]
    assert model.to_decibels(bins)[:, :, 20].amax(1).min() > corpus.level_db - 20
    with pytest.raises(ValueError, match="of 5020 frames; 1 are asked for"):
        continuations(corpus, model, per_speaker=1, prompt=20, frames=5000)


def test_trainings_come_together_with_their_spread() -> None:
    joined = combine_seeds([{"a": [1.0, 2.0], "a_half": [0.1, 0.1]}, {"a": [3.0, 2.5], "a_half": [0.2, 0.2]}])
    assert joined == {"a": [2.0, 2.25], "a_range": [[1.0, 3.0], [2.0, 2.5]]}


def test_the_shipped_model_is_small_has_a_card_and_guesses_unheard_voices() -> None:
    name = BOOK / "checkpoints" / "frame-generator-tiny"
    assert name.with_suffix(".safetensors").stat().st_size <= 4_000_000
    model, card = load_model(name)
    assert card["command"].endswith("--out book/checkpoints/frame-generator-tiny")
    unheard = FeatureCorpus.of(EmbeddedSpeech("test", speakers=3, seconds=9))
    assert score(model, unheard)["bits"] < 4.9


def test_the_committed_table_is_of_the_shipped_model_and_whole() -> None:
    table = json.loads((BOOK / "measurements" / "exposure-bias.json").read_text("utf8"))
    card = json.loads((BOOK / "checkpoints" / "frame-generator-tiny.json").read_text("utf8"))
    assert table["shipped"]["command"] == card["command"]
    assert table["seeds"] == [0, 1, 2]
    for found in table["measures"].values():
        assert all(len(values) == len(table["lags"]) for key, values in found.items() if "of_all" not in key)
