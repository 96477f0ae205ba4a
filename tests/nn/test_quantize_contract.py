"""The quantiser in a network: the contract of all layers, the audit, and what a compiler makes of it."""

import copy
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from causalcnn import CausalConv1d, CausalConv2d, VectorQuantizer, audit, check_contract, receptive_field
from causalcnn.nn import CausalSequential
from tests.fuzz import examples


@given(st.sampled_from([1, 5, 128, 512]), st.integers(1, 6), st.integers(2, 20), st.sampled_from([(), (1,), (5,)]))
@settings(max_examples=examples(25))
def test_it_keeps_the_contract(codes, dim, time, frequency):
    layer = VectorQuantizer(codes, dim)
    x = torch.randn(2, dim, time, *frequency, dtype=torch.float64)
    check_contract(layer.eval().double(), x)


def test_it_keeps_the_contract_when_trained_in_float32():
    layer = VectorQuantizer(128, 4)
    for _ in range(3):
        layer(torch.randn(4, 4, 30, 5))
    check_contract(layer.eval(), torch.randn(2, 4, 12, 5))


def bottleneck_1d(quantizer=None):
    return CausalSequential(
        CausalConv1d(2, 4, 3, dilation=2), nn.ReLU(), quantizer or VectorQuantizer(128, 4), CausalConv1d(4, 2, 2)
    ).eval()


def bottleneck_2d():
    quantizer = VectorQuantizer(128, 4)
    return CausalSequential(CausalConv2d(1, 4, (3, 3)), quantizer, CausalConv2d(4, 1, (2, 3))).eval()


@pytest.mark.parametrize(
    ("network", "shape", "size"), [(bottleneck_1d, (2, 2, 40), 6), (bottleneck_2d, (2, 1, 20, 5), 4)]
)
def test_the_audit_follows_through_argmin_and_lookup(network, shape, size):
    report = audit(network(), shape)
    assert report.passed
    assert report.receptive_field is not None
    assert report.receptive_field.size == network().field.axis("time").size == size
    assert receptive_field(network()) == network().field


def test_the_audit_sees_a_look_ahead_through_the_codes():
    network = nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), VectorQuantizer(128, 4).eval(), CausalConv1d(4, 2, 2))
    report = audit(network, (2, 2, 40))
    assert not report.passed
    assert report.lookahead == 1


def test_a_quantiser_streams_inside_a_network():
    network = bottleneck_1d()
    check_contract(network.double(), torch.randn(2, 2, 24, dtype=torch.float64))
    x = torch.randn(1, 2, 24, dtype=torch.float64)
    stream = network.stream(network.initial_state(x))
    assert stream.takes_frames  # the short way for a single frame stays open
    frames = torch.cat([stream(x[:, :, t : t + 1]) for t in range(24)], 2)
    torch.testing.assert_close(frames, network(x))


def test_a_network_round_trips_through_its_state():
    network, other = bottleneck_1d(), bottleneck_1d()
    network.train()(torch.randn(2, 2, 200))
    other.load_state_dict(network.eval().state_dict())
    x = torch.randn(2, 2, 30)
    assert torch.equal(network(x), other(x))
    assert not any("stream" in name for name in network.state_dict())


def test_a_compiled_training_may_begin_with_the_start_of_the_codebook():
    """K-means decides in Python: the compiler steps out of the graph for it, and comes back."""
    torch._dynamo.reset()
    eager = VectorQuantizer(8, 4, decay=0.8)
    compiled_layer = copy.deepcopy(eager)
    compiled = torch.compile(compiled_layer, backend="eager")
    for batch in [torch.randn(2, 4, 25) for _ in range(3)]:
        torch.testing.assert_close(compiled(batch), eager(batch))
        torch.testing.assert_close(compiled_layer.codebook, eager.codebook)
    assert torch._dynamo.utils.counters["graph_break"], "the test is about leaving the graph"
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"], "something was compiled"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_compiled_equals_eager():
    """Also the moving averages and the restarts: the inductor has dropped a factor from such an update before."""
    torch._dynamo.reset()
    eager = VectorQuantizer(64, 8, decay=0.8, dead_code_threshold=0.4)
    batches = [torch.randn(4, 8, 25, 3) * (1 + i) for i in range(6)]
    mask = torch.arange(25) < torch.tensor([25, 20, 0, 7])[:, None]
    eager.quantize(batches[0], mask)  # k-means decides in Python; it runs once
    compiled_layer = copy.deepcopy(eager)

    def loss(layer, x):
        found = layer.quantize(x, mask)
        return found.commitment + (found.values * found.values.detach()).sum(), found.indices

    compiled = torch.compile(loss, fullgraph=True)
    for batch in batches:
        results = []
        for run, layer in ((loss, eager), (compiled, compiled_layer)):
            x = batch.clone().requires_grad_()
            value, codes = run(layer, x)
            value.backward()
            results.append((value.detach(), codes, x.grad, layer.count.clone(), layer.codebook))
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
    compiled_layer.eval()
    forward = torch.compile(compiled_layer, fullgraph=True)
    torch.testing.assert_close(forward(batches[0]), compiled_layer(batches[0]))
