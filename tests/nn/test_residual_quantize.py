"""Residual quantisation: equal to a naive one, with the gradients that others lose or count several times."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from causalcnn import (
    CausalConv1d,
    CausalConv2d,
    ResidualVectorQuantizer,
    VectorQuantizer,
    audit,
    check_contract,
    export_onnx,
)
from causalcnn.engine import CannotCompile, ReferenceRunner, lower
from causalcnn.nn import CausalSequential
from tests.fuzz import examples


def noise(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def trained(stages=3, codes=8, dim=3, *, dtype=torch.float64, **options):
    """A quantizer whose codebooks have seen a batch."""
    quantizer = ResidualVectorQuantizer(stages, codes, dim, **options).to(dtype)
    quantizer(noise(4, dim, 50, dtype=dtype, seed=5))
    return quantizer


def state(quantizer):
    return {name: value.clone() for name, value in quantizer.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def naive(codebooks, vectors):
    """The codes and the sum of codewords of vectors ``(vectors, dim)``, one vector and one stage after the other."""
    codes, sums = [], []
    for vector in vectors:
        left, found, total = vector.clone(), [], torch.zeros_like(vector)
        for codebook in codebooks:
            found.append(min(range(len(codebook)), key=lambda k: float(((left - codebook[k]) ** 2).sum())))
            left = left - codebook[found[-1]]
            total = total + codebook[found[-1]]
        codes.append(found)
        sums.append(total)
    return torch.tensor(codes), torch.stack(sums)


# ---------------------------------------------------------------------- values
@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 4), st.integers(1, 12), st.sampled_from([(), (1,), (4,)]))
@settings(max_examples=examples(25))
def test_it_equals_the_naive_one(stages, codes, dim, time, frequency):
    quantizer = ResidualVectorQuantizer(stages, codes, dim, init="random").double().eval()
    x = noise(2, dim, time, *frequency, seed=time)
    codes, sums = naive([stage.codebook for stage in quantizer.quantizers], x.movedim(1, -1).reshape(-1, dim))
    found = quantizer.quantize(x)
    assert torch.equal(found.indices.movedim(1, -1).reshape(-1, stages), codes)
    assert found.indices.shape == (2, stages, time, *frequency)
    torch.testing.assert_close(found.values.movedim(1, -1).reshape(-1, dim), sums, rtol=1e-14, atol=1e-14)


@given(st.integers(1, 4), st.sampled_from([(), (4,)]), st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=examples(15))
def test_all_ways_agree_and_training_finds_what_evaluation_finds(stages, frequency, dtype):
    """Decoded codes are the values (vector-quantize-pytorch #71), in train() as in eval() (#162)."""
    quantizer = trained(stages, dtype=dtype)
    x, mask = noise(2, 3, 9, *frequency, dtype=dtype), torch.rand(2, 9) < 0.7
    learning = copy.deepcopy(quantizer).train().quantize(x, mask)
    codes = quantizer.eval().encode(x)
    assert codes.dtype == torch.int64
    stream = quantizer.stream()
    stream(x[:, :, :0])
    for values in (
        learning.values, copy.deepcopy(quantizer).train()(x), quantizer(x), quantizer.quantize(x).values,
        quantizer.decode(codes), quantizer.decode(codes.int()), quantizer.stream()(x), stream.decode(codes),
    ):  # fmt: skip
        assert torch.equal(values, quantizer(x))
    assert torch.equal(learning.indices, codes)
    assert torch.equal(stream.encode(x), codes)


def test_one_stage_is_a_vector_quantizer():
    plain, residual = VectorQuantizer(8, 3, decay=0.5), ResidualVectorQuantizer(1, 8, 3, decay=0.5)
    residual.quantizers[0].load_state_dict(plain.state_dict())
    for seed in range(4):
        results = []
        for quantizer in (plain, residual):
            x = noise(2, 3, 30, dtype=torch.float32, seed=seed).requires_grad_()
            found = quantizer.quantize(x)
            (found.commitment + found.values.square().sum()).backward()
            results.append((found.values.detach(), found.indices.view(2, 30), found.commitment.detach(), x.grad))
        torch.testing.assert_close(*results, rtol=0, atol=0)
        assert same(state(plain), state(residual.quantizers[0]))


def test_the_codes_of_the_first_stages_decode_to_what_these_stages_give():
    """Each further stage, the last one too, makes the error smaller."""
    quantizer, x = trained(4, 16).eval(), noise(4, 3, 50, seed=5)
    codes, errors = quantizer.encode(x), []
    for stages in (1, 2, 3, 4):
        first = ResidualVectorQuantizer(stages, 16, 3).double().eval()
        first.load_state_dict({k: v for k, v in quantizer.state_dict().items() if int(k.split(".")[1]) < stages})
        assert torch.equal(quantizer.decode(codes[:, :stages]), first(x))
        assert torch.equal(first.encode(x), codes[:, :stages])
        errors.append(float((first(x) - x).square().mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 4


# ---------------------------------------------------------------------- learning
def test_each_stage_learns_from_what_the_stages_before_it_leave_over():
    """Start, moving averages and restarts, equal to quantizers that are wired by hand; looked up before the update."""
    residual = ResidualVectorQuantizer(3, 8, 3, decay=0.5, dead_code_threshold=0.3).double()
    by_hand = copy.deepcopy(residual.quantizers)
    mask = torch.arange(30) < torch.tensor([30, 11])[:, None]
    for seed in range(8):
        left = x = noise(2, 3, 30, seed=seed) * (1 + seed % 3)
        for quantizer in by_hand:
            left = left - quantizer.quantize(left, mask).values
        residual.quantize(x, mask)
        assert same(state(residual.quantizers), state(by_hand))


@given(st.sampled_from([(), (4,)]), st.sampled_from([0, 0.3]))
@settings(max_examples=examples(10))
def test_padding_counts_nowhere(frequency, threshold):
    mask = torch.arange(12) < torch.tensor([12, 3, 0])[:, None]
    wide, results = mask.view(3, 1, 12, *(1,) * len(frequency)), []
    for filling in (0.0, 50.0, float("nan")):
        torch.manual_seed(1)
        quantizer = ResidualVectorQuantizer(3, 6, 3, decay=0.5, dead_code_threshold=threshold).double()
        for seed in range(4):
            x = torch.where(wide, noise(3, 3, 12, *frequency, seed=seed), filling).requires_grad_()
            found = quantizer.quantize(x, mask)
            (found.commitment + torch.where(wide, found.values, 0).square().sum()).backward()
        assert not x.grad[~wide.expand_as(x)].any()
        results.append((state(quantizer), found.commitment.detach(), x.grad, found.perplexity, found.usage))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=0, atol=0)


def test_what_is_reported_is_reported_of_each_stage():
    quantizer, mask = trained(3, 8).eval(), torch.arange(20) < 12
    found = quantizer.quantize(noise(2, 3, 20), mask.expand(2, 20))
    assert found.perplexity.tolist() == [stage.perplexity for stage in found.stages]
    assert found.usage.tolist() == [stage.usage for stage in found.stages]
    assert [stage.num_vectors for stage in found.stages] == [24] * 3
    assert found.commitment == torch.stack([stage.commitment for stage in found.stages]).mean()
    assert torch.equal(found.indices, torch.stack([stage.indices for stage in found.stages], 1))
    assert (found.perplexity > 1).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("started", [False, True])
def test_a_broken_batch_is_refused_and_destroys_nothing(bad, started):
    quantizer, x = ResidualVectorQuantizer(3, 8, 3), noise(2, 3, 20, dtype=torch.float32)
    if started:
        quantizer(x)
    before = state(quantizer)
    x[1, 2, 7] = bad
    with pytest.raises(ValueError, match="codebook was left"):
        quantizer(x)
    assert same(state(quantizer), before)
    nothing = quantizer.quantize(x[:, :, :0])
    assert nothing.commitment == 0
    assert same(state(quantizer), before)


# ---------------------------------------------------------------------- gradients, and the faults that others have
def faulty(quantizer, x, *, detached):
    """Residual quantisation as it is often written: values summed with their gradients, the residual detached or not.

    Not detached, a vector minus its codeword has no gradient, and the commitments of later stages are dead (EnCodec
    #25, vector-quantize-pytorch #33). Detached, but summed, the decoder's gradient is counted once for each stage.
    """
    left, total, commitments = x, 0, []
    for stage in quantizer.quantizers:
        found = stage.quantize(left)
        total = total + found.values
        commitments.append(found.commitment)
        left = left - (found.values.detach() if detached else found.values)
    return total, commitments


def found_by(quantizer, x):
    found = quantizer.quantize(x)
    return found.values, [stage.commitment for stage in found.stages]


def straight_through(find, quantizer):
    """How many times the gradient of the values reaches the input."""
    x = noise(2, 3, 7).requires_grad_()
    weight = noise(2, 3, 7, seed=1)
    (find(quantizer, x)[0] * weight).sum().backward()
    times = x.grad / weight
    torch.testing.assert_close(times, times[0, 0, 0].expand_as(times))
    return round(float(times[0, 0, 0]), 9)


def commitments_right(find, quantizer):
    """Which stages' commitment has the gradient 2(residual − codeword) / number of numbers."""
    right = []
    for number in range(quantizer.num_stages):
        x = noise(2, 3, 7).requires_grad_()
        gap = x.detach() - quantizer.decode(quantizer.encode(x)[:, : number + 1])
        find(quantizer, x)[1][number].backward()
        right.append(x.grad is not None and torch.allclose(x.grad, 2 * gap / gap.numel(), rtol=1e-12))
    return right


@pytest.mark.parametrize("mode", ["train", "eval", "frozen"])
def test_the_gradient_passes_once_and_each_commitment_pulls(mode):
    quantizer = trained()
    quantizer.freeze() if mode == "frozen" else quantizer.train(mode == "train")
    for find in (found_by, lambda q, x: (q(x), ())):
        assert straight_through(find, copy.deepcopy(quantizer)) == 1
    assert commitments_right(found_by, quantizer.eval()) == [True, True, True]


def test_the_two_usual_faults_would_be_found():
    quantizer = trained().eval()
    for detached, times, right in ((False, 1, [True, False, False]), (True, 3, [True, True, True])):
        assert straight_through(lambda q, x, d=detached: faulty(q, x, detached=d), quantizer) == times
        assert commitments_right(lambda q, x, d=detached: faulty(q, x, detached=d), quantizer) == right


def test_gradients_against_finite_differences():
    """The commitments, where no code changes; the values pass straight through, and so are no derivative."""
    quantizer, x = trained().eval(), noise(2, 3, 5).requires_grad_()
    mask = torch.arange(5) < torch.tensor([5, 3])[:, None]
    assert torch.autograd.gradcheck(lambda x: quantizer.quantize(x, mask).commitment, x)


# ---------------------------------------------------------------------- precision
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_quantizes_no_rounding(dtype):
    """What is left over is computed in float32; in half precision late stages would quantize rounding errors."""
    quantizer = trained(4, 32, dtype=torch.float32).eval()
    x = noise(2, 3, 200, dtype=torch.float32, seed=5).to(dtype)
    half = copy.deepcopy(quantizer).to(dtype)
    assert torch.equal(half.encode(x), quantizer.encode(x.float()))
    x.requires_grad_()
    found = half.quantize(x)
    assert found.values.dtype == half.stream()(x.detach()).dtype == dtype
    assert found.commitment.dtype == torch.float32
    (found.commitment + found.values.sum()).backward()
    assert x.grad.dtype == dtype
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quantizer.encode(x.detach()), half.encode(x.detach()))


# ---------------------------------------------------------------------- in a network
@given(st.integers(1, 3), st.sampled_from([1, 5, 128]), st.integers(1, 4), st.sampled_from([(), (5,)]))
@settings(max_examples=examples(10))
def test_it_keeps_the_contract(stages, codes, dim, frequency):
    layer = ResidualVectorQuantizer(stages, codes, dim, init="random").eval().double()
    check_contract(layer, torch.randn(2, dim, 7, *frequency, dtype=torch.float64))


def bottleneck_1d():
    return CausalSequential(CausalConv1d(2, 3, 3, dilation=2), nn.ReLU(), trained().eval(), CausalConv1d(3, 2, 2))


def bottleneck_2d():
    return CausalSequential(CausalConv2d(1, 3, (3, 3)), trained().eval(), CausalConv2d(3, 1, (2, 3)))


@pytest.mark.parametrize(
    ("network", "shape", "size"), [(bottleneck_1d, (2, 2, 40), 6), (bottleneck_2d, (2, 1, 20, 5), 4)]
)
def test_the_audit_follows_through_all_stages(network, shape, size):
    report = audit(network().eval(), shape)
    assert report.passed
    assert report.receptive_field.size == size == network().field.axis("time").size
    check_contract(network().eval().double(), torch.randn(*shape, dtype=torch.float64))


def test_a_stream_learns_nothing_and_keeps_the_codebooks_of_its_beginning():
    quantizer, x = trained().train(), noise(2, 3, 20)
    before, expected = state(quantizer), quantizer.decode(quantizer.encode(x))
    stream = quantizer.stream()
    pieces = [stream(piece) for piece in x[:, :, :12].split([0, 1, 4, 7], dim=2)]
    assert same(state(quantizer), before)
    quantizer(x * 3)
    assert torch.equal(torch.cat([*pieces, stream(x[:, :, 12:])], dim=2), expected)


@pytest.mark.parametrize("make", [bottleneck_1d, bottleneck_2d])
def test_it_is_lowered_for_compiled_streams(make):
    network, shape = make().double().eval(), ((2, 2, 30) if make is bottleneck_1d else (2, 1, 30, 5))
    x = noise(*shape)
    runner = ReferenceRunner(lower(network, x[:, :, :0]), rows=2)
    frames = x.movedim(2, 0).movedim(2, -1).reshape(30, 2, -1, x.shape[1])  # (time, rows, frequency, channels)
    found = torch.from_numpy(np.stack([y for frame in frames.numpy() for y in runner.feed(frame)[0]]))
    expected = network(x).movedim(2, 0).movedim(2, -1).reshape(found.shape)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    with pytest.raises(CannotCompile, match="float64"):
        lower(network, x[:, :, :0].float())


def test_the_compiled_stream_equals_step():
    pytest.importorskip("numba")
    quantizer, x = trained().train(), noise(2, 3, 20)
    before = state(quantizer)
    stream = quantizer.stream(engine="compiled")
    pieces = torch.cat([stream(piece) for piece in x.split([3, 1, 16], dim=2)], dim=2)
    torch.testing.assert_close(pieces, quantizer.eval()(x), rtol=1e-12, atol=1e-12)
    assert same(state(quantizer), before)


def test_it_is_exported(tmp_path):
    pytest.importorskip("onnxruntime")
    network = CausalSequential(CausalConv1d(2, 3, 2), trained(dtype=torch.float32).eval(), CausalConv1d(3, 2, 2))
    export_onnx(network, tmp_path / "network.onnx", example=torch.randn(1, 2, 8))


def test_compiled_by_torch_it_learns_the_same():
    torch._dynamo.reset()
    eager = ResidualVectorQuantizer(2, 8, 4, decay=0.8)
    layer = copy.deepcopy(eager)
    compiled = torch.compile(layer, backend="eager")
    for seed in range(3):
        x = noise(2, 4, 25, dtype=torch.float32, seed=seed)
        torch.testing.assert_close(compiled(x), eager(x))
        torch.testing.assert_close(state(layer), state(eager))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda q: q(torch.randn(2, 4, 5)), r"\(2, 4, 5\).*\(batch, 3, time\)"),
        (lambda q: q(torch.zeros(2, 3, 5, dtype=torch.int64)), r"int64.*x\.float\(\)"),
        (lambda q: q.encode(torch.randn(2, 4, 5)), r"\(2, 4, 5\)"),
        (lambda q: q.quantize(torch.randn(2, 3, 5), torch.ones(2, 5)), r"float32.*bool"),
        (lambda q: q.decode(torch.zeros(2, 5, dtype=torch.int64)), r"\(2, 5\).*\(batch, stages, time\)"),
        (lambda q: q.decode(torch.zeros(2, 3, 5, dtype=torch.int64)), r"\(2, 3, 5\).*1 to 2 stages"),
        (lambda q: q.decode(torch.zeros(2, 0, 5, dtype=torch.int64)), r"\(2, 0, 5\).*1 to 2 stages"),
        (lambda q: q.decode(torch.zeros(2, 2, 5)), r"float32.*int64"),
        (lambda q: q.decode(torch.full((2, 2, 5), -1)), "between -1 and -1"),
        (lambda q: ResidualVectorQuantizer(0, 8, 3), "num_stages is 0"),
        (lambda q: ResidualVectorQuantizer(2, 0, 3), "num_codes is 0"),
        (lambda q: ResidualVectorQuantizer(2, 8, 3, decay=1), "decay is 1"),
    ],
)  # fmt: skip
def test_errors_name_the_value_the_rule_and_the_way_out(call, message):
    with pytest.raises(ValueError, match=message):
        call(ResidualVectorQuantizer(2, 8, 3))
