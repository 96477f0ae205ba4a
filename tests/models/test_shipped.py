"""The models in book/checkpoints: whole, causal, better than asked, and the same live as offline."""

import math
from pathlib import Path

import pytest
import torch

pytest.importorskip("safetensors")
pytest.importorskip("espeakng_loader")

from causalcnn import audit
from causalcnn.causality import Verdict
from causalcnn.models import CausalVQVAE2, CodeCorpus, load_model
from causalcnn.speech import EmbeddedSpeech, FeatureCorpus, LogMel, SampleCorpus, synthesize, to_2d
from causalcnn_book.causal_vqvae2.reconstruction import score
from causalcnn_book.vocoder.vocoder_quality import compare, noise_vocoder
from causalcnn_book.wavenet.bits_per_sample import score as bits_per_sample

CHECKPOINTS = Path(__file__).resolve().parents[2] / "book" / "checkpoints"


@pytest.fixture(scope="module")
def unheard():
    return FeatureCorpus.of(EmbeddedSpeech("test", speakers=3, seconds=9))


@pytest.mark.parametrize("name", ["vqvae2-tiny", "vqvae2-noncausal-tiny"])
def test_a_shipped_model_is_small_has_a_card_and_generalises(name, unheard):
    assert (CHECKPOINTS / f"{name}.safetensors").stat().st_size <= 4_000_000
    model, card = load_model(CHECKPOINTS / name)
    assert card["command"].endswith(f"--out book/checkpoints/{name}")
    found = score(model.eval(), unheard)
    assert found.error <= 0.10
    assert min(found.usage) >= 0.5


def test_live_codes_are_the_codes_of_the_recording(unheard):
    model = load_model(CHECKPOINTS / "vqvae2-tiny")[0].eval()
    x = to_2d(unheard[0][None, :, :60])
    whole, stream = model.encode(x), model.stream()
    frames = [stream.encode(x[:, :, t : t + 1]) for t in range(x.shape[2])]
    for level in ("top", "bottom"):
        live = torch.cat([getattr(codes, level) for codes in frames], 1)
        assert (live != getattr(whole, level)).float().mean() <= 0.001, "rounding flips hardly a code"


def test_the_audit_certifies_the_shipped_weights():
    """Convolutions over frequency do not know how many bands there are: sixteen show the same wiring."""
    trained = load_model(CHECKPOINTS / "vqvae2-tiny")[0]
    model = CausalVQVAE2(trained.config.with_(mels=16))
    model.load_state_dict(trained.state_dict())
    report = audit(model.eval(), (1, 1, 24, 16))
    assert report.passed, report
    assert report.verdict is Verdict.CAUSAL
    assert report.lookahead == 0


def test_the_shipped_wavenet_prices_unheard_samples_as_its_card_says():
    assert (CHECKPOINTS / "wavenet-small.safetensors").stat().st_size <= 400_000
    model, card = load_model(CHECKPOINTS / "wavenet-small")
    unheard = SampleCorpus.of(EmbeddedSpeech("test", speakers=4, seconds=12))
    told = card["metrics"]["bits per sample, unheard speakers"]["embedded"]
    assert abs(bits_per_sample(model.eval(), unheard) - told) < 0.4, "few seconds, other voices"
    assert (model.field.past, model.field.lookahead) == (256, -1)


def test_what_the_shipped_wavenet_draws_does_not_depend_on_the_engine():
    model = load_model(CHECKPOINTS / "wavenet-small")[0].double().eval()
    drawn = [model.generate(400, seed=1, engine=engine) for engine in ("torch", "compiled")]
    assert torch.equal(*drawn)


def test_the_shipped_vocoder_is_small_has_a_card_and_is_understood():
    """Voices that it has not heard; beside it noise through the same linear prediction, in bits and in STOI."""
    pytest.importorskip("pystoi")
    pytest.importorskip("numba")
    assert (CHECKPOINTS / "lp-wavenet.safetensors").stat().st_size <= 1_500_000
    vocoder, card = load_model(CHECKPOINTS / "lp-wavenet")
    assert card["command"].endswith("--out book/checkpoints/lp-wavenet")
    noise, stois, bits = noise_vocoder(vocoder), [], []
    for speaker in (1_205, 1_208):
        samples = synthesize("The frames are given, the samples are its own.", speaker=speaker).samples
        x = torch.from_numpy(samples[: len(samples) // 160 * 160])[None]
        frames = LogMel()(x)
        frames = torch.cat([frames, frames[:, :, -1:]], dim=2)
        for model in (vocoder, noise):
            found = model.generate(frames, engine="compiled")[0].double().numpy()
            measured = compare(x[0].double().numpy(), found)
            assert abs(measured["level_db"]) < 3
            assert abs(found).max() < 1
            stois.append(measured["stoi"])
            bits.append(float(-model.log_prob(x).mean().detach()) / math.log(2))
    for of_network, of_noise in zip(stois[::2], stois[1::2], strict=True):
        assert of_network > of_noise
    for of_network, of_noise in zip(bits[::2], bits[1::2], strict=True):
        assert of_network < of_noise - 0.2


def test_the_shipped_prior_is_small_belongs_to_its_coder_and_prices_unheard_codes_as_its_card_says(unheard):
    assert (CHECKPOINTS / "code-prior-tiny.safetensors").stat().st_size <= 4_000_000
    prior, card = load_model(CHECKPOINTS / "code-prior-tiny")
    coder, coders_card = load_model(CHECKPOINTS / "vqvae2-tiny")
    assert card["command"].endswith("--out book/checkpoints/code-prior-tiny")
    assert card["codes_of"] == {"name": "vqvae2-tiny", "sha256": coders_card["sha256"]}
    with torch.no_grad():
        clips = [prior.log_prob(prior.join(codes)) for codes in CodeCorpus.of(coder, unheard)]
    bits = -torch.cat(clips, dim=1).mean().item() / math.log(2)
    assert abs(bits - card["metrics"]["held_out"]["bits"]) < 0.7, "few seconds, other voices"
    assert bits < 6
    assert (prior.field.axis("time").past, prior.field.axis("time").lookahead) == (16, 0)
