"""The three autoencoders with one level: all but the bottleneck is one law, which is tested here for each of them."""

import copy
import json
import math
from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalcnn import audit, check_contract
from causalcnn.causality import Verdict, linearized_copy
from causalcnn.cli import main
from causalcnn.models import (
    MODELS,
    AutoencoderConfig,
    CausalAutoencoder,
    CausalVAE,
    CausalVQVAE,
    CausalVQVAE2,
    Posterior,
    VAEConfig,
    VQVAE2Config,
    VQVAEConfig,
    load_model,
    save_model,
)
from causalcnn.speech import Batch
from tests.fuzz import examples

SMALL = {"channels": 6, "residual_channels": 4, "residual_blocks": 1, "code_dim": 3, "mels": 16}
CONFIGS = {
    "autoencoder": AutoencoderConfig(**SMALL),
    "vae": VAEConfig(**SMALL),
    "vqvae": VQVAEConfig(**SMALL, num_codes=16),
}


def speech_like(frames=20, batch=2, mels=16, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 1, frames, mels, generator=generator, dtype=dtype) * 15 - 35


def batch_of(frames=20, rows=3, seed=0):
    x = speech_like(frames, rows, 16, seed, torch.float32)[:, 0].transpose(1, 2)
    return Batch(x, torch.ones(rows, frames, dtype=torch.bool), torch.zeros(rows, dtype=torch.int64))


def made(name):
    """A model whose codebook, if it has one, has met data."""
    torch.manual_seed(0)
    model = MODELS[name](CONFIGS[name])
    for seed in range(3):
        model.loss(batch_of(seed=seed))
    return model.double().eval()


@pytest.fixture(scope="module", params=CONFIGS)
def model(request):
    return made(request.param)


@pytest.fixture(params=["torch", "compiled"])
def engine(request):
    if request.param == "compiled":
        pytest.importorskip("numba")
    return request.param


def sent(latent, noise=None):
    """What a receiver gets of what ``encode`` gives."""
    if not isinstance(latent, Posterior):
        return latent
    return latent.mean if noise is None else latent.sample(noise)


def test_it_keeps_the_contract(model):
    report = check_contract(model, speech_like(11))
    assert report.field.lookahead == 0


def test_it_is_causal_for_any_weights(model):
    report = audit(model, (1, 1, 16, 16))
    assert report.passed, report
    assert report.verdict is Verdict.CAUSAL


def test_its_fields_are_the_measured_ones(model):
    # Two convolutions of 3 taps, one of them in a block, in the encoder; the same in the decoder.
    assert model.latent_field.axis("time").size == 1 + 2 * 2
    assert model.field.axis("time").size == 1 + 2 * 4
    x = speech_like(16).requires_grad_()
    linear = linearized_copy(model)
    vectors = linear.project(linear.encoder((x - model.config.mean_db) / model.config.spread_db))
    (gradient,) = torch.autograd.grad(vectors[:, :, 12].abs().sum(), x)
    assert {int(t) for t in gradient.abs().sum((0, 1, 3)).nonzero()} == set(
        model.latent_field.axis("time").inputs_of(12)
    )


def test_encode_and_decode_are_the_two_halves(model):
    x = speech_like()
    torch.testing.assert_close(model.decode(sent(model.encode(x))), model(x), rtol=1e-12, atol=1e-9)


@settings(max_examples=examples(5))
@given(cuts=st.lists(st.integers(0, 7), min_size=1, max_size=5), seed=st.integers(0, 99))
@pytest.mark.parametrize("name", CONFIGS)
def test_pieces_through_sender_and_receiver_are_the_whole(name, cuts, seed):
    model = MODELS_MADE.setdefault(name, made(name))
    x = speech_like(sum(cuts), seed=seed)
    noise = torch.randn(2, 3, sum(cuts), 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    sides = [model.stream(), model.stream()]
    state = [model.initial_state(x)] * 2
    for given_noise in (None, noise):
        whole = model.decode(sent(model.encode(x), given_noise))
        stepped, streamed = [], []
        for piece, part in zip(x.split(cuts, dim=2), noise.split(cuts, dim=2), strict=True):
            part = None if given_noise is None else part
            latent, state[0] = model.encode_step(piece, state[0])
            y, state[1] = model.decode_step(sent(latent, part), state[1])
            stepped.append(y)
            streamed.append(sides[1].decode(sent(sides[0].encode(piece), part)))
        torch.testing.assert_close(torch.cat(stepped, 2), whole, rtol=1e-12, atol=1e-9)
        torch.testing.assert_close(torch.cat(streamed, 2), whole, rtol=1e-12, atol=1e-9)
        sides, state = [model.stream(), model.stream()], [model.initial_state(x)] * 2


MODELS_MADE: dict[str, torch.nn.Module] = {}


def test_either_engine_runs_both_sides(model, engine):
    x = speech_like(17)
    sender, receiver, both = (model.stream(engine=engine) for _ in range(3))
    noise = torch.randn(2, 3, 17, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    got, said = [], []
    for piece, part in zip(x.split([1, 0, 9, 7], 2), noise.split([1, 0, 9, 7], 2), strict=True):
        got.append(receiver.decode(sent(sender.encode(piece), part)))
        said.append(both(piece))
    torch.testing.assert_close(torch.cat(got, 2), model.decode(sent(model.encode(x), noise)), rtol=1e-10, atol=1e-9)
    torch.testing.assert_close(torch.cat(said, 2), model(x), rtol=1e-10, atol=1e-9)
    with pytest.raises(ValueError, match="2 rows, the input has 1"):
        receiver.decode(sent(model.encode(x[:1])))


def test_padding_changes_no_real_frame_no_codebook_and_no_gradient(model):
    batch = batch_of(rows=2)
    padded = Batch(
        torch.cat([batch.features, torch.full((2, 16, 7), 40.0)], 2),
        torch.cat([batch.mask, torch.zeros(2, 7, dtype=torch.bool)], 1),
        batch.speaker,
    )
    noise = torch.randn(2, 3, 27, 4, generator=torch.Generator().manual_seed(0))
    results = []
    for b, n in ((batch, noise[:, :, :20]), (padded, noise)):
        copied = copy.deepcopy(model).float().train()
        loss, metrics = copied.loss(b, n) if isinstance(model, CausalVAE) else copied.loss(b)
        loss.backward()
        results.append((loss, metrics, [p.grad for p in copied.parameters()], list(copied.buffers())))
    for a, b in zip(results[0], results[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_weight_has_a_gradient_and_training_lowers_the_error(name):
    torch.manual_seed(0)
    model = MODELS[name](CONFIGS[name])
    model.loss(batch_of())[0].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    model = MODELS[name](CONFIGS[name].with_(channels=16))
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    errors = []
    for step in range(60):
        waves = torch.sin(torch.arange(20) / (2.0 + step % 3) + torch.arange(16)[:, None] / 4) * 20 - 35
        batch = Batch(waves[None], torch.ones(1, 20, dtype=torch.bool), torch.zeros(1, dtype=torch.int64))
        loss, metrics = model.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        errors.append(float(metrics["error"]))
    assert sum(errors[-5:]) < 0.4 * sum(errors[1:6])


def test_only_the_bottleneck_differs():
    models = [CausalAutoencoder(), CausalVAE(), CausalVQVAE(), CausalVQVAE2()]
    first = models[0]
    for other in models[1:3]:
        assert [p.shape for p in other.encoder.parameters()] == [p.shape for p in first.encoder.parameters()]
        assert [p.shape for p in other.decoder.parameters()][1:] == [p.shape for p in first.decoder.parameters()][1:]
    assert [p.shape for p in models[3].encoder_bottom.parameters()] == [p.shape for p in first.encoder.parameters()]
    assert [p.shape for p in models[3].decoder.parameters()][1:] == [p.shape for p in first.decoder.parameters()][1:]
    sizes = {each.name for each in fields(AutoencoderConfig)} - {"code_dim"}
    tiny = [config.tiny() for config in (AutoencoderConfig, VAEConfig, VQVAEConfig, VQVAE2Config)]
    assert all(getattr(config, name) == getattr(tiny[0], name) for config in tiny for name in sizes)
    assert CausalVQVAE(VQVAEConfig.tiny()).bits_per_second == 20 * 9 * 100


def test_it_is_kept_with_its_config(model, tmp_path):
    save_model(tmp_path / "kept", model.float(), {"why": "a test"})
    again, card = load_model(tmp_path / "kept")
    model.double()
    assert card["model"] == model.name
    assert again.config == model.config
    assert type(again) is type(model)
    torch.testing.assert_close(again.double()(speech_like()), model(speech_like()))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_command_trains_it(name, tmp_path, monkeypatch):
    pytest.importorskip("espeakng_loader", reason="needs the extra speech")
    monkeypatch.setenv("CAUSALCNN_CACHE", str(tmp_path / "cache"))
    made_of = ["--set", "channels=8", "--set", "code_dim=2", "--rows", "2", "--frames", "16"]
    speech = ["--seconds-of-speech", "6", "--speakers", "2"]
    out = tmp_path / "model"
    assert main(["train", name, "--device", "cpu", "--budget", "3 steps", "--out", str(out), *made_of, *speech]) == 0
    model, card = load_model(out)
    assert model.config.code_dim == 2
    assert card["training"]["steps"] == 3
    assert math.isfinite(card["metrics"]["held_out"]["error"])
    json.dumps(card, allow_nan=False)


def test_what_it_refuses(model):
    with pytest.raises(ValueError, match=r"\(2, 16, 5\).*log-mel.*to_2d"):
        model(torch.zeros(2, 16, 5))
    with pytest.raises(ValueError, match="int64"):
        model(torch.zeros(1, 1, 5, 16, dtype=torch.int64))
    latent = sent(model.encode(speech_like(5)))
    for wrong in (latent[..., :3], latent[0]):
        with pytest.raises(ValueError, match=r"they must be \(batch.*time, 4\)"):
            model.decode(wrong)
    config = type(model.config)
    for wrong in ({"mels": 18}, {"kernel_size": 4}, {"channels": 0}, {"channels": 5}, {"spread_db": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            config(**wrong)


def test_codes_that_there_are_not():
    model = made("vqvae")
    with pytest.raises(ValueError, match="0 to 15"):
        model.decode(torch.full((1, 2, 4), 16))
    with pytest.raises(ValueError, match="num_codes is 0"):
        VQVAEConfig(num_codes=0)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_codes_in_half_precision(kind):
    half = made("vqvae").to(kind)
    codes = half.encode(speech_like(9, dtype=kind))
    assert half.decode(codes).dtype == half(speech_like(9, dtype=kind)).dtype == kind
