"""The compiled stream equals step, whatever the network and its pieces, and goes on where a stream of torch stopped."""

from __future__ import annotations

import copy
import math
import pickle
import sys
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, weight_norm
from torch.utils import _pytree as pytree

from causalcnn import CausalConv1d, CausalConv2d, Stateless, VectorQuantizer
from causalcnn.engine import CompiledStream, Plan, ReferenceRunner, lower
from causalcnn.engine import stream as stream_module
from causalcnn.engine.machine import Machine
from causalcnn.nn import CausalConvTranspose1d, CausalSequential, Encoder, Parallel, Stream
from tests.engine.networks import random_network
from tests.fuzz import examples

pytest.importorskip("numba")

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def assert_equal(got: Tensor, expected: Tensor, exact: Tensor | None = None) -> None:
    """Equal up to 10⁻⁵ of the largest number in float32, and 10⁻¹⁰ in float64.

    A network may enlarge rounding, whoever rounds: where the exact numbers are given, torch's own error comes on top.
    """
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    if not expected.numel():
        return
    scale = max(1.0, float(expected.abs().max()))
    slack = 0.0 if exact is None else 4 * float((expected - exact).abs().max())
    torch.testing.assert_close(got, expected, rtol=0, atol=TOLERANCE[expected.dtype] * scale + slack)


def assert_same_state(got: object, expected: object, exact: object = None) -> None:
    ours, theirs = pytree.tree_flatten(got), pytree.tree_flatten(expected)
    assert ours[1] == theirs[1]
    for a, b, c in zip(ours[0], theirs[0], theirs[0] if exact is None else pytree.tree_leaves(exact), strict=True):
        assert_equal(a, b, c)


@given(
    seed=st.integers(0, 10**6), sizes=st.lists(st.integers(0, 5), min_size=2, max_size=8), double=st.booleans(),
    quantized=st.booleans(),
)  # fmt: skip
@settings(max_examples=examples(150))
def test_any_network_in_any_pieces_equals_step_and_states_change_hands(seed, sizes, double, quantized):
    dtype = torch.float64 if double else torch.float32
    network, empty = random_network(seed, quantized=quantized and double)  # in float32 a code might flip
    network, x = network.to(dtype), torch.randn(*empty.shape[:2], sum(sizes), *empty.shape[3:], dtype=dtype)
    twin = copy.deepcopy(network).double()
    ours, theirs, exact = network.stream(engine="compiled"), network.initial_state(x), twin.initial_state(x.double())
    for number, piece in enumerate(torch.split(x, sizes, dim=2)):
        with torch.no_grad():
            expected, theirs = network.step(piece, theirs)
            truth, exact = twin.step(piece.double(), exact)
        assert_equal(ours(piece), expected, truth)
        assert_same_state(ours.state, theirs, exact)
        if number % 2:  # each goes on from the other's state
            ours, theirs = network.stream(theirs, engine="compiled"), ours.state


@given(seed=st.integers(0, 10**6), rows=st.integers(1, 2))
@settings(max_examples=examples(40))
def test_the_plan_in_numpy_equals_the_network(seed, rows):
    network, empty = random_network(seed, quantized=False)
    x = torch.randn(rows, empty.shape[1], 7, *empty.shape[3:], dtype=torch.float64)
    runner = ReferenceRunner(lower(network.double(), x), rows)
    frames = x.permute(2, 0, 1).unsqueeze(2) if x.dim() == 3 else x.permute(2, 0, 3, 1)
    found = [y for frame in frames.numpy() for y in runner.feed(frame)[0]]
    with torch.no_grad():
        expected = network(x)
    if not found:
        assert expected.shape[2] == 0
        return
    got = torch.from_numpy(np.stack(found)).permute(1, 3, 0, 2)  # (rows, channels, frames, cells)
    assert_equal(got if x.dim() == 4 else got[..., 0], expected)


@given(seed=st.integers(0, 10**6), sizes=st.lists(st.integers(0, 9), min_size=1, max_size=6))
@settings(max_examples=examples(30))
def test_how_a_recording_is_cut_changes_no_bit(seed, sizes):
    network, empty = random_network(seed, quantized=True)
    x = torch.randn(*empty.shape[:2], sum(sizes), *empty.shape[3:])
    whole = network.stream(engine="compiled")(x)
    stream = network.stream(engine="compiled")
    assert torch.equal(torch.cat([stream(piece) for piece in torch.split(x, sizes, dim=2)], dim=2), whole)


def test_a_plan_can_be_saved_and_runs_again(tmp_path):
    network, x = Encoder(3, 8, 2, dilation=2).eval(), torch.randn(2, 3, 9)
    plan = lower(network, x)
    plan.save(tmp_path / "plan.safetensors")
    loaded = Plan.load(tmp_path / "plan.safetensors")
    assert (loaded.registers, loaded.outputs, loaded.state) == (plan.registers, plan.outputs, plan.state)
    assert torch.equal(Machine(loaded, 2)(x)[0], Machine(plan, 2)(x)[0])
    torch.save({"a": 1}, tmp_path / "other")
    with pytest.raises(ValueError, match="no safetensors file"):
        Plan.load(tmp_path / "other")


def test_a_plan_of_another_version_is_refused(tmp_path, monkeypatch):
    from causalcnn.engine import plan as plan_module

    plan = lower(CausalConv1d(1, 1, 1), torch.zeros(1, 1, 0))
    monkeypatch.setattr(plan_module, "VERSION", 3)
    plan.save(tmp_path / "plan")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="version 3; this is version 2"):
        Plan.load(tmp_path / "plan")


# ------------------------------------------------------------------------------------------ the promises of a stream
@pytest.fixture
def network():
    return CausalSequential(CausalConv1d(2, 4, 3, stride=2), torch.nn.ReLU(), CausalConv1d(4, 3, 2, dilation=3)).eval()


def test_before_the_first_piece_there_is_no_state(network):
    stream = network.stream(engine="compiled")
    assert stream.state is None
    assert stream(torch.zeros(1, 2, 0)).shape == (1, 3, 0)
    assert_same_state(stream.state, network.initial_state(torch.zeros(1, 2, 0)))


def test_a_stream_that_was_resumed_has_its_state_before_a_piece_comes(network):
    _, state = network.step(torch.randn(1, 2, 5), network.initial_state(torch.zeros(1, 2, 0)))
    stream = network.stream(state, engine="compiled")
    assert_same_state(stream.state, pytree.tree_map(torch.Tensor.detach, state))
    stream(torch.randn(1, 2, 3))
    assert stream.state["0"].shape[2] == 2  # and the one that was given stays as it was
    assert state["0"].shape[2] == 1


def test_a_row_starts_afresh_at_a_block_boundary(network):
    x = torch.randn(3, 2, 12)
    stream, fresh = network.stream(engine="compiled"), network.stream(engine="compiled")
    stream(x[:, :, :4])
    stream.reset_rows([1])
    y, kept = stream(x[:, :, 4:]), network(x)[:, :, 2:].detach()
    assert_equal(y[1], fresh(x[:, :, 4:])[1])
    assert_equal(y[[0, 2]], kept[[0, 2]])
    stream(x[:, :, :1])
    with pytest.raises(ValueError, match="block boundary"):
        stream.reset_rows([1])


def test_a_copy_goes_on_by_itself(network):
    x = torch.randn(1, 2, 12)
    stream = network.stream(engine="compiled")
    stream(x[:, :, :5])
    twins = copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))
    expected = stream(x[:, :, 5:])
    for twin in twins:
        assert torch.equal(twin(x[:, :, 5:]), expected)


def test_what_does_not_fit_is_refused_and_loses_nothing(network):
    x = torch.randn(2, 2, 9)
    stream, expected = network.stream(engine="compiled"), network(x).detach()
    with pytest.raises(ValueError, match="2 channels"):
        stream(torch.zeros(2, 5, 1))
    first = stream(x[:, :, :4])
    with pytest.raises(RuntimeError, match="without gradients"):
        stream(x.clone().requires_grad_())
    with pytest.raises(ValueError, match="2 rows, the input has 3"):
        stream(torch.zeros(3, 2, 1))
    for wrong in (torch.zeros(2, 3, 1), torch.zeros(2, 2, 1, 4), torch.zeros(2, 2), x.double()):
        with pytest.raises(ValueError, match="this stream takes"):
            stream(wrong)
    assert_equal(torch.cat([first, stream(x[:, :, 4:])], dim=2), expected)


@pytest.mark.parametrize(
    "state",
    [[1], {"0": None}, {"0": "frames"}, {"0": torch.zeros(1, 2, 2), "1": (), "2": torch.zeros(1, 4, 3), "9": ()}],
)
def test_what_is_no_state_is_refused_at_once(network, state):
    with pytest.raises(ValueError, match="state"):
        network.stream(state, engine="compiled")


@pytest.mark.parametrize("state", [{}, {"0": torch.zeros(1, 2, 7), "1": (), "2": torch.zeros(1, 4, 3)}, {"0": ()}])
def test_a_state_of_another_module_is_refused(network, state):
    with pytest.raises(ValueError, match="state"):
        network.stream(state, engine="compiled")(torch.zeros(1, 2, 1))


def test_after_a_refused_first_piece_the_right_one_is_taken(network):
    _, state = network.step(torch.randn(1, 2, 5), network.initial_state(torch.zeros(1, 2, 0)))
    stream = network.stream(state, engine="compiled")
    with pytest.raises(ValueError, match="2 channels"):
        stream(torch.zeros(1, 3, 1))
    assert stream(torch.zeros(1, 2, 1)).shape == (1, 3, 0)


WRONG = [torch.zeros(1, 2, 4).half(), torch.zeros(1, 5, 4), torch.zeros(2, 4), torch.zeros(1, 2, 4).long()]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda x: f"{x.dtype} {tuple(x.shape)}")
def test_a_wrong_first_piece_leaves_nothing_behind(network, wrong):
    stream, x = network.stream(engine="compiled"), torch.randn(3, 2, 8)
    with pytest.raises((ValueError, TypeError)):
        stream(wrong)
    assert stream.state is None
    assert_equal(stream(x), network(x).detach())


def test_a_first_piece_of_other_rows_than_the_state_leaves_nothing_behind(network):
    x = torch.randn(1, 2, 8)
    first, state = network.step(x[:, :, :4], network.initial_state(x))
    stream = network.stream(state, engine="compiled")
    with pytest.raises(ValueError, match="state has shape"):
        stream(torch.zeros(2, 2, 1))
    assert_equal(torch.cat([first.detach(), stream(x[:, :, 4:])], dim=2), network(x).detach())


def test_there_are_two_engines(network):
    with pytest.raises(ValueError, match="'torch' or 'compiled'"):
        network.stream(engine="onnx")
    assert isinstance(network.stream(engine="compiled"), CompiledStream)


def test_a_stream_keeps_the_weights_of_its_first_piece():
    layer, x = CausalConv1d(2, 2, 2), torch.randn(1, 2, 6)
    stream, before = layer.stream(engine="compiled"), layer(x).detach()
    first = stream(x[:, :, :3])
    with torch.no_grad():
        layer.weight.zero_()
    assert_equal(torch.cat([first, stream(x[:, :, 3:])], dim=2), before)


@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize(
    "make", [weight_norm, parametrizations.weight_norm, lambda m: prune.l1_unstructured(m, "weight", 3)]
)
def test_weights_that_are_made_are_those_of_now(make):
    layer, x = CausalConv1d(2, 3, 2), torch.randn(1, 2, 6)
    make(layer)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(1.5)
        assert_equal(layer.stream(engine="compiled")(x), layer(x))


def test_memory_stays_flat():
    layer, x = Parallel(CausalConv1d(2, 2, 3, dilation=5), CausalConv1d(2, 2, 2)).eval(), torch.randn(1, 2, 1)
    stream = layer.stream(engine="compiled")
    stream(x)
    tracemalloc.start()
    for _ in range(100):
        stream(x)
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(5000):
        stream(x)
    assert tracemalloc.get_traced_memory()[0] - before < 2000
    tracemalloc.stop()


def test_without_numba_torch_runs_the_stream_and_says_so_once(monkeypatch, network):
    monkeypatch.setitem(sys.modules, "numba", None)
    stream_module._warn.cache_clear()
    with pytest.warns(UserWarning, match=r"causalcnn\[speech\]"):
        stream = network.stream(engine="compiled")
    assert isinstance(stream, Stream)
    assert not isinstance(stream, CompiledStream)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network.stream(engine="compiled")
    stream_module._warn.cache_clear()


# ---------------------------------------------------------------------------------------------------- the loop
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("function", [torch.tanh, torch.sigmoid, torch.nn.functional.silu])
def test_fast_functions_are_exact_to_rounding(dtype, function):
    module = {torch.tanh: torch.nn.Tanh, torch.sigmoid: torch.nn.Sigmoid}.get(function, torch.nn.SiLU)()
    x = torch.cat([torch.linspace(-30, 30, 20001), torch.tensor([-1e4, -200.0, 200.0, 1e4])]).to(dtype).view(1, 1, -1)
    y = CausalSequential(module).stream(engine="compiled")(x)
    exact = function(x.double())
    error = (y.double() - exact).abs() / exact.abs().clamp_min(1)
    assert error.max() < (2e-7 if dtype == torch.float32 else 1e-15)


EXTREME = [0.0, 1.0, 1e-30, 1e-45, 20.0, 50.0, 86.0, 104.0, 1e4, 1e30, 3e38, float("inf"), float("nan")]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "function",
    [
        torch.sigmoid, torch.tanh, nn.SiLU(), nn.Mish(), nn.Softplus(), nn.ELU(), nn.Hardtanh(), nn.LeakyReLU(0.1),
        lambda x: x.clamp(min=0), lambda x: x.clamp(max=0), lambda x: torch.log(torch.sigmoid(x)),
        lambda x: 1 / torch.sigmoid(x), lambda x: x * float("inf"), lambda x: x + float("nan"),
    ],
)  # fmt: skip
def test_extreme_numbers_become_what_torch_makes_of_them(dtype, function):
    class Layer(Stateless):
        def forward(self, x):
            return function(x)

    x = torch.tensor(EXTREME + [-number for number in EXTREME], dtype=dtype)[None, None]
    y = Layer().stream(engine="compiled")(x)
    torch.testing.assert_close(y, function(x), rtol=1e-5, atol=1e-7, equal_nan=True)


def test_a_nan_is_the_largest_as_in_torch():
    quantizer, x = VectorQuantizer(6, 2, init="random").eval(), torch.randn(1, 2, 50)
    quantizer.sum[3, 0] = float("nan")
    y = quantizer.stream(engine="compiled")(x)
    torch.testing.assert_close(y, quantizer(x), equal_nan=True)


def test_nan_stays_nan():
    x = torch.tensor([[[1.0, float("nan"), -1.0]]])
    for module in (torch.nn.ReLU(), torch.nn.Tanh(), torch.nn.Sigmoid(), torch.nn.Hardtanh(), torch.nn.GELU()):
        y = CausalSequential(module).stream(engine="compiled")(x)
        assert y.isnan().tolist() == [[[False, True, False]]]


def test_where_numba_may_not_compile_that_is_said(monkeypatch, network):
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    with pytest.raises(RuntimeError, match="NUMBA_DISABLE_JIT is set"):
        network.stream(engine="compiled")(torch.zeros(1, 2, 1))


def test_where_nothing_can_be_written_the_loop_is_compiled_all_the_same(monkeypatch):
    from causalcnn.engine import kernels

    def njit(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(kernels, "njit", njit)
    assert kernels._compiled(len) is len


def test_a_frame_beside_wide_registers_touches_no_neighbor():
    """Columns that are no whole vectors are written one by one."""
    for out in (1, 3, 15, 16, 17, 31, 33, 49, 63, 64, 65):
        layer, x = CausalConv2d(2, out, 3), torch.randn(2, 2, 4, 9)
        assert_equal(layer.stream(engine="compiled")(x), layer(x).detach())


@given(
    stages=st.lists(st.tuples(st.integers(2, 5), st.sampled_from(["strict", "block", "up"])), min_size=1, max_size=5)
)
@example(stages=[(3, "strict"), (2, "up"), (3, "strict"), (5, "up"), (5, "up"), (2, "up"), (3, "block")])
@settings(max_examples=examples(40))
def test_there_is_room_for_what_any_piece_gives_whatever_came_before(stages):
    layers = [
        CausalConvTranspose1d(1, 1, n, stride=n) if kind == "up" else CausalConv1d(1, 1, n, stride=n, convention=kind)
        for n, kind in stages
    ]
    (given,) = Machine(lower(CausalSequential(*layers), torch.zeros(1, 1, 0)), 1)._given
    ends = np.arange(2 * math.prod(n for n, kind in stages if kind != "up"))
    for n, kind in stages:
        ends = ends * n if kind == "up" else (ends + (n - 1 if kind == "strict" else 0)) // n
    for length in range(1, min(60, len(ends))):
        assert given.room(length) >= (ends[length:] - ends[:-length]).max()


def test_memory_with_gaps_needs_no_loop_of_its_own():
    from causalcnn.engine import kernels

    layer, x = CausalConv1d(1, 2, 3), torch.randn(1, 1, 20)
    stream = layer.stream(engine="compiled")
    stream(x)
    before = len(kernels.run.signatures)
    for piece in (x[:, :, ::2], torch.ones(1, 1, 1).expand(1, 1, 9)):
        with torch.no_grad():
            assert_equal(layer.stream(engine="compiled")(piece), layer(piece))
    assert len(kernels.run.signatures) == before


def test_a_stream_that_two_threads_call_stays_within_its_memory():
    stream = CausalConvTranspose1d(1, 1, 8, stride=8).stream(engine="compiled")
    pieces = [torch.zeros(1, 1, length) for length in (1, 400, 3, 2000)] * 50
    with ThreadPoolExecutor(4) as pool:
        assert [y.shape[2] for y in pool.map(stream, pieces)] == [8 * x.shape[2] for x in pieces]


@pytest.mark.parametrize("kernel_size", [8, 11])
def test_two_threads_may_both_bring_the_first_piece(kernel_size):
    layer = CausalConvTranspose1d(1, 1, kernel_size, stride=8)
    ones = torch.ones(1, 1, 5)
    expected = layer(torch.ones(1, 1, 40)).detach()
    for _ in range(20):
        stream = layer.stream(engine="compiled")
        ready = Barrier(4)

        def feed(_, stream=stream, ready=ready):
            ready.wait()
            return [stream(ones) for _ in range(2)]

        with ThreadPoolExecutor(4) as pool:
            given = [y for ys in pool.map(feed, range(4)) for y in ys]
        # All pieces are the same, so whoever came first, together they are the whole.
        given.sort(key=lambda y: (y - expected[:, :, : y.shape[2]]).abs().max().item())
        assert sum(y.shape[2] for y in given) == expected.shape[2]
        assert_equal(given[0], expected[:, :, :40])
        assert_same_state(stream.state, layer.step(torch.ones(1, 1, 40), layer.initial_state(ones))[1])


@pytest.mark.parametrize("shape", [(0, 2, 5), (2, 2, 5)])
def test_a_batch_may_have_no_rows(shape):
    network, x = CausalSequential(CausalConv1d(2, 3, 3, stride=2), nn.ReLU(), CausalConv1d(3, 3, 1)), torch.zeros(shape)
    stream = network.stream(engine="compiled")
    assert_equal(stream(x), network(x).detach())
    assert_same_state(stream.state, network.step(x, network.initial_state(x))[1])
