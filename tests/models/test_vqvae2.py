"""The causal VQ-VAE-2: the contract for the whole model, codes in and frames out, its fields, its non-causal form."""

import copy
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from causalcnn import audit, check_contract
from causalcnn.causality import Verdict, linearized_copy
from causalcnn.models import MODELS, VQVAE2, CausalVQVAE2, Codes, VQVAE2Config, load_model
from causalcnn.speech import Batch

CHECKPOINTS = Path(__file__).resolve().parents[2] / "book" / "checkpoints"
SMALL = VQVAE2Config(channels=6, residual_channels=4, residual_blocks=1, code_dim=4, num_codes=16, mels=16)


def speech_like(frames=20, batch=2, mels=16, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 1, frames, mels, generator=generator, dtype=dtype) * 15 - 35


def batch_of(frames=20, rows=3, mels=16, seed=0):
    x = speech_like(frames, rows, mels, seed, torch.float32)[:, 0].transpose(1, 2)
    return Batch(x, torch.ones(rows, frames, dtype=torch.bool), torch.zeros(rows, dtype=torch.int64))


@pytest.fixture(params=["torch", "compiled"])
def engine(request):
    if request.param == "compiled":
        pytest.importorskip("numba")
    return request.param


@pytest.fixture(scope="module")
def model():
    """A model whose codebooks have met data."""
    torch.manual_seed(0)
    model = CausalVQVAE2(SMALL)
    for seed in range(3):
        model.loss(batch_of(seed=seed))
    return model.double().eval()


def test_the_whole_model_keeps_the_contract(model):
    report = check_contract(model, speech_like(13))
    assert report.field.lookahead == 0


def test_the_codes_of_pieces_are_the_codes_of_the_whole(model, engine):
    x = speech_like(21)
    whole = model.encode(x)
    assert whole.top.shape == (2, 21, 2)
    assert whole.bottom.shape == (2, 21, 4)
    state, stream = model.initial_state(x), model.stream(engine=engine)
    steps, streamed = [], []
    for piece in x.split([0, 1, 7, 3, 10], dim=2):
        codes, state = model.encode_step(piece, state)
        steps.append(codes)
        streamed.append(stream.encode(piece))
    for pieces in (steps, streamed):
        assert torch.equal(torch.cat([c.top for c in pieces], 1), whole.top)
        assert torch.equal(torch.cat([c.bottom for c in pieces], 1), whole.bottom)


def test_codes_in_sound_out(model, engine):
    x = speech_like(17)
    codes = model.encode(x)
    y = model.decode(codes)
    torch.testing.assert_close(y, model(x), rtol=1e-12, atol=1e-9)
    state, stream = model.initial_state(x), model.stream(engine=engine)
    steps, streamed = [], []
    for top, bottom in zip(codes.top.split([1, 0, 9, 7], 1), codes.bottom.split([1, 0, 9, 7], 1), strict=True):
        piece, state = model.decode_step(Codes(top, bottom), state)
        steps.append(piece)
        streamed.append(stream.decode(Codes(top, bottom)))
    torch.testing.assert_close(torch.cat(steps, 2), y, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(torch.cat(streamed, 2), y, rtol=1e-12, atol=1e-9)


def test_the_bottom_reads_more_than_the_top(model):
    top, bottom = model.top_field, model.bottom_field
    assert top.lookahead == bottom.lookahead == 0
    assert bottom.past > top.past
    # Four convolutions of 3 taps before a top code (2 + 1 blocks each), two more in the hint.
    assert top.axis("time").size == 1 + 2 * 4
    assert bottom.axis("time").size == 1 + 2 * 6
    assert model.field.axis("time").size == 1 + 2 * 8


@pytest.mark.parametrize("level", ["top", "bottom"])
def test_declared_fields_of_the_codes_are_the_measured_ones(model, level):
    x = speech_like(20).requires_grad_()
    _, *found = linearized_copy(model).reconstruct(x)
    values = found[level == "bottom"].values
    (gradient,) = torch.autograd.grad(values[:, :, 15].abs().sum(), x)
    read = {int(t) for t in gradient.abs().sum((0, 1, 3)).nonzero()}
    field = (model.top_field if level == "top" else model.bottom_field).axis("time")
    assert read == set(field.inputs_of(15))


def test_audit_certifies_it_and_finds_the_centered_windows(model):
    example = (1, 1, 24, 16)
    report = audit(model, example)
    assert report.passed, report
    assert report.verdict is Verdict.CAUSAL
    centered = VQVAE2(SMALL)
    centered.load_state_dict(model.state_dict())
    report = audit(centered.double().eval(), example)
    assert report.verdict is not Verdict.CAUSAL
    assert report.culprit.startswith("encoder_bottom.4")


def test_the_parts_have_names(model):
    parts = [name for name, _ in model.named_children()]
    assert parts == [
        "encoder_bottom", "encoder_top", "quantize_top", "hint",
        "project_bottom", "quantize_bottom", "upsample_top", "decoder",
    ]  # fmt: skip
    assert {key.split(".")[0] for key in model.state_dict()} == set(parts)


def test_a_receiver_that_hears_the_codes_only_makes_its_own_state(model, engine):
    x = speech_like(6)
    codes = model.encode(x)
    stream = model.stream(engine=engine)
    frames = [stream.decode(Codes(codes.top[:, t : t + 1], codes.bottom[:, t : t + 1])) for t in range(6)]
    torch.testing.assert_close(torch.cat(frames, 2), model.decode(codes), rtol=1e-12, atol=1e-9)
    with pytest.raises(ValueError, match="2 rows, the input has 1"):
        stream.decode(model.encode(x[:1]))


def test_encoding_in_training_moves_no_codebook(model, engine):
    learning = copy.deepcopy(model).train()
    before = copy.deepcopy(learning.state_dict())
    x = speech_like(5)
    learning.encode(x)
    learning.encode_step(x, learning.initial_state(x))
    learning.stream(engine=engine)(x)
    assert all(torch.equal(value, before[name]) for name, value in learning.state_dict().items())


def test_padding_changes_no_real_frame_and_no_codebook(model):
    batch = batch_of(rows=2)
    padded = Batch(
        torch.cat([batch.features, torch.full((2, 16, 7), 40.0)], 2),
        torch.cat([batch.mask, torch.zeros(2, 7, dtype=torch.bool)], 1),
        batch.speaker,
    )
    results = []
    for b in (batch, padded):
        copied = copy.deepcopy(model).float().train()
        loss, metrics = copied.loss(b)
        loss.backward()
        results.append((loss, metrics, [p.grad for p in copied.parameters()], list(copied.buffers())))
    for a, b in zip(results[0], results[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_training_lowers_the_error():
    torch.manual_seed(0)
    model = CausalVQVAE2(SMALL)
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
    assert sum(errors[-5:]) < 0.3 * sum(errors[1:6])


def test_every_weight_gets_a_gradient():
    for cls in (CausalVQVAE2, VQVAE2):
        torch.manual_seed(0)
        model = cls(SMALL)
        model.loss(batch_of())[0].backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters()), cls


def test_one_level_alone(model):
    x = speech_like(10)
    codes = model.encode(x)
    other = Codes(codes.top, torch.zeros_like(codes.bottom))
    assert torch.equal(model.decode(codes, only="top"), model.decode(other, only="top"))
    assert not torch.equal(model.decode(codes, only="top"), model.decode(codes))
    assert not torch.equal(model.decode(codes, only="top"), model.decode(codes, only="bottom"))


def test_what_it_refuses(model):
    with pytest.raises(ValueError, match=r"\(2, 16, 5\).*log-mel.*to_2d"):
        model(torch.zeros(2, 16, 5))
    with pytest.raises(ValueError, match="80"):
        CausalVQVAE2(VQVAE2Config.tiny())(torch.zeros(1, 1, 5, 64))
    with pytest.raises(ValueError, match="int64"):
        model(torch.zeros(1, 1, 5, 16, dtype=torch.int64))
    codes = model.encode(speech_like(5))
    with pytest.raises(ValueError, match="4 top and 2 bottom"):
        model.decode(Codes(codes.bottom, codes.top))
    with pytest.raises(ValueError, match="shapes"):
        model.decode(Codes(codes.top[:, :3], codes.bottom))
    with pytest.raises(ValueError, match="0 to 15"):
        model.decode(Codes(codes.top + 16, codes.bottom))
    with pytest.raises(ValueError, match="only is 'middle'"):
        model.decode(codes, only="middle")
    for wrong in ({"mels": 20}, {"kernel_size": 4}, {"channels": 0}, {"channels": 5}, {"spread_db": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            VQVAE2Config(**wrong)


def test_the_names_in_cards():
    assert MODELS["vqvae2"] is CausalVQVAE2
    assert MODELS["vqvae2-noncausal"] is VQVAE2
    config = VQVAE2Config.base()
    assert (config.channels, config.residual_channels, config.num_codes, config.code_dim) == (128, 32, 512, 64)
    assert CausalVQVAE2.Config is VQVAE2Config


def test_bits_per_second():
    assert CausalVQVAE2(VQVAE2Config.tiny()).bits_per_second == 30 * 9 * 100


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_compiled_equals_eager():
    """Losses, gradients and codebooks over several updates. In float64: a code that flips by rounding flips others."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    eager = CausalVQVAE2(SMALL).double().train()
    batches = [replace(batch, features=batch.features.double()) for batch in map(batch_of, (20,) * 4, (3,) * 4)]
    batches = [replace(batch, features=batch.features + 3 * i) for i, batch in enumerate(batches)]
    eager.loss(batches[0])  # the codebooks start by k-means, which decides in Python
    other = copy.deepcopy(eager)
    compiled = torch.compile(lambda batch: other.loss(batch)[0])
    for batch in batches[1:]:
        results = []
        for model, run in ((eager, lambda batch: eager.loss(batch)[0]), (other, compiled)):
            model.zero_grad()
            loss = run(batch)
            loss.backward()
            results.append((loss.detach(), [p.grad for p in model.parameters()], list(model.buffers())))
        torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)
    x = speech_like()
    torch.testing.assert_close(torch.compile(other.eval())(x), eager.eval()(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_codes_in_half_precision(model, kind):
    half = copy.deepcopy(model).to(kind)
    assert half.quantize_top.codebook.dtype.itemsize >= 4  # a codebook stays exact enough to move
    seen = []
    for part in half.children():
        part.register_forward_pre_hook(lambda layer, given: seen.append(given[0].dtype))
    x = speech_like(9, dtype=kind)
    codes = half.encode(x)
    assert half.decode(codes).dtype == half(x).dtype == kind
    assert set(seen) == {kind}
    stream = half.stream()
    assert stream.decode(stream.encode(x)).dtype == kind


def test_a_stream_takes_its_own_rows_only(model, engine):
    stream = model.stream(engine=engine)
    stream.encode(speech_like(4, batch=3))
    with pytest.raises(ValueError, match="3 rows, the input has 2"):
        stream.encode(speech_like(4))
    with pytest.raises(ValueError, match="3 rows, the input has 2"):
        stream.decode(model.encode(speech_like(4)))


def test_a_compiled_stream_reconstructs_encodes_and_decodes_in_turn(model):
    pytest.importorskip("numba")
    x = speech_like(24)
    ours, theirs = model.stream(engine="compiled"), model.stream()
    for piece in x.split([3, 5, 0, 1, 7, 8], dim=2):
        codes, expected = ours.encode(piece), theirs.encode(piece)
        assert torch.equal(codes.top, expected.top)
        assert torch.equal(codes.bottom, expected.bottom)
        torch.testing.assert_close(ours.decode(codes), theirs.decode(codes), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(ours(piece), theirs(piece), rtol=1e-10, atol=1e-10)
        theirs = model.stream(ours.state)
    resumed = model.stream(theirs.state, engine="compiled")
    torch.testing.assert_close(resumed(x), ours(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("codes", "message"), [(16, "16; this codebook has 0 to 15"), (-1, "-1"), (0.5, "float32")])
def test_a_compiled_stream_refuses_codes_that_there_are_not(model, codes, message):
    pytest.importorskip("numba")
    stream = model.stream(engine="compiled")
    wrong = torch.zeros(1, 2, 2, dtype=torch.int64) + codes
    with pytest.raises(ValueError, match=message):
        stream.decode(Codes(wrong, torch.zeros(1, 2, 4, dtype=torch.int64)))


def test_a_compiled_stream_in_single_precision_flips_hardly_a_code():
    """The codes of the shipped model, in float32: a flip must be a tie, up to rounding, of two codewords."""
    pytest.importorskip("numba")
    model = load_model(CHECKPOINTS / "vqvae2-tiny")[0].eval()
    x = speech_like(200, 1, 80, dtype=torch.float32).cumsum(2).clamp(-100, 0)
    ours, theirs = model.stream(engine="compiled").encode(x), model.encode(x)
    flips = sum(int((a != b).sum()) for a, b in zip(ours, theirs, strict=True))
    print(f"{flips} of {theirs.top.numel() + theirs.bottom.numel()} codes differ")
    assert flips <= 3
    torch.testing.assert_close(model.stream(engine="compiled").decode(theirs), model.decode(theirs), rtol=0, atol=1e-3)
