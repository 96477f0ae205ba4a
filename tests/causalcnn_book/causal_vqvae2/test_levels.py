"""What each level carries is measured as it is said."""

from __future__ import annotations

import math

import pytest
import torch

from causalcnn.models import CausalVQVAE2, VQVAE2Config
from causalcnn.speech import EmbeddedSpeech, FeatureCorpus
from causalcnn_book.causal_vqvae2.levels import entropy_bits, error_of_levels, flips, swapped, voice


@pytest.fixture(scope="module")
def corpus():
    pytest.importorskip("espeakng_loader", reason="needs the extra 'speech'")
    return FeatureCorpus.of(EmbeddedSpeech("test", speakers=2, seconds=14), cache=False)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = VQVAE2Config(channels=4, residual_channels=2, residual_blocks=1, code_dim=2, num_codes=8)
    return CausalVQVAE2(config).eval()


def test_entropy_is_that_of_the_frequencies():
    assert entropy_bits(torch.arange(8).repeat(5), 8) == pytest.approx(3)
    assert entropy_bits(torch.zeros(9, dtype=torch.int64), 8) == 0
    expected = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert entropy_bits(torch.tensor([0, 0, 0, 5]), 8) == pytest.approx(expected)


def test_a_voice_does_not_depend_on_the_level_nor_on_silence():
    x, real = torch.randn(80, 30), torch.arange(30) < 20
    louder = torch.where(real, x + 12, torch.full_like(x, -100))
    assert torch.allclose(voice(x, real), voice(louder, real), atol=1e-5)


def test_a_decoder_that_says_the_mean_frame_has_an_error_of_one(corpus, model):
    class SaysTheMean:
        config = model.config

        def encode(self, x):
            self.x = x.clamp(min=model.config.floor_db)
            return model.encode(x)

        def decode(self, codes, only=None):
            return self.x if only is None else mean.view(1, 1, 1, 80).expand_as(self.x)

    from causalcnn.speech import speech_mask

    one = FeatureCorpus.of([EmbeddedSpeech("test", speakers=1, seconds=2)[0]], cache=False)
    x = one[0].clamp(min=model.config.floor_db)
    mean = x[:, speech_mask(one[0])].mean(1)
    errors = error_of_levels(SaysTheMean(), one)  # type: ignore[arg-type]
    assert errors["both"] == [0.0]
    assert errors["top"] == errors["bottom"] == [pytest.approx(1, abs=1e-4)]


def test_swaps_are_counted_over_every_ordered_pair(corpus, model):
    found = swapped(model, corpus)
    assert found["pairs"] == 2
    assert sum(found["voice_after_swap"].values()) == pytest.approx(1)
    assert found["voice_found"]["recording"] in (0, 0.5, 1)


def test_frame_by_frame_flips_are_counted(corpus, model):
    found = flips(model, corpus, rows=2)
    assert found["flipped"]["top"] + found["flipped"]["bottom"] <= 2
    assert found["codes"]["bottom"] == 2 * found["codes"]["top"]
