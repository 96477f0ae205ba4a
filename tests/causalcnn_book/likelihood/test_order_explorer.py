"""The order explorer tells the truth: its JavaScript and the gradients of real networks agree."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("anywidget")
pytest.importorskip("py_mini_racer")

from causalcnn.models.autoregressive import ordered_field
from causalcnn.nn import CausalConv1d, CausalConv2d
from causalcnn_book.likelihood.order_explorer import BANDS, FRAMES, OrderExplorer

KEYS = ("order", "network", "layers", "kernel", "frame", "band")
CELLS = FRAMES * BANDS
ORDERS = {  # what each sorts frame and band by, both from 0
    "frame": lambda t, f: (t, f),
    "band": lambda t, f: (f, t),
    "tiers": lambda t, f: (t % 2, t, f),
    "shuffled": lambda t, f: (((t * BANDS + f) * 7919 + 13) ** 2 % 10007, t, f),
}
PLACES = list(itertools.product(range(1, FRAMES + 1), range(1, BANDS + 1)))
NETWORKS = list(itertools.product(("masked", "two"), range(1, 7), (3, 5)))


def state(figure: OrderExplorer) -> dict[str, Any]:
    return {key: getattr(figure, key) for key in KEYS}


def ones(layer: nn.Conv1d | nn.Conv2d, mask: Tensor | None = None) -> Any:
    """The layer with all weights one, or those of a mask."""
    with torch.no_grad():
        layer.weight.fill_(1) if mask is None else layer.weight.copy_(mask.expand_as(layer.weight))
    return layer.double()


def conv2d(kernel: int, mask: Tensor | None = None) -> Any:
    return ones(CausalConv2d(1, 1, kernel, bias=False), mask)


def one_stack(x: Tensor, layers: int, kernel: int) -> Tensor:
    """Masked causal convolutions: the last row of the kernel is the present frame."""
    half = (kernel - 1) // 2
    for layer in range(layers):
        mask = torch.ones(kernel, kernel)
        mask[-1, half + (layer > 0) :] = 0
        x = conv2d(kernel, mask)(x)
    return x


def two_stacks(x: Tensor, layers: int, kernel: int) -> Tensor:
    """The library's causal convolutions: over time for what came before, along frequency for the present frame."""
    rows, half = x.shape[0], (kernel - 1) // 2
    before = torch.cat([torch.zeros_like(x[:, :, :1]), x[:, :, :-1]], 2)
    lower = torch.cat([torch.zeros_like(x[..., :1]), x[..., :-1]], 3)
    along = lower.transpose(1, 2).reshape(-1, 1, BANDS)
    for layer in range(layers):
        before = conv2d(kernel)(before)
        # The first reads the delayed frame, so that its last tap is the band below.
        along = ones(CausalConv1d(1, 1, half if layer == 0 else half + 1, bias=False))(along)
        along = along + before.transpose(1, 2).reshape(-1, 1, BANDS)
    return along.view(rows, FRAMES, 1, BANDS).transpose(1, 2)


STACKS = {"masked": one_stack, "two": two_stacks}


def arrivals(network: Any, layers: int, kernel: int) -> list[list[int]]:
    """For every cell, the cells where its gradient arrives."""
    x = torch.ones(CELLS, 1, FRAMES, BANDS, dtype=torch.float64, requires_grad=True)
    y = network(x, layers, kernel).reshape(CELLS, CELLS)
    (gradient,) = torch.autograd.grad(y.diagonal().sum(), x)
    return [one.flatten().nonzero()[:, 0].tolist() for one in gradient]


@pytest.mark.parametrize(("network", "layers", "kernel"), NETWORKS)
def test_it_reads_exactly_the_cells_where_the_gradient_arrives(
    engine: Any, network: str, layers: int, kernel: int
) -> None:
    asked = [OrderExplorer(network=network, layers=layers, kernel=kernel, frame=t, band=f) for t, f in PLACES]
    live = engine("order_explorer")("states.map(readState)", states=[state(figure) for figure in asked])
    for found, arrives in zip(live, arrivals(STACKS[network], layers, kernel), strict=True):
        assert found["seen"] == arrives
        assert set(found["seen"]) <= set(found["allowed"])
        assert not found["future"]


@pytest.mark.parametrize(("network", "kernel"), list(itertools.product(STACKS, (3, 5))))
def test_what_is_called_a_blind_spot_is_where_no_gradient_arrives_for_any_number_of_layers(
    engine: Any, network: str, kernel: int
) -> None:
    asked = [state(OrderExplorer(network=network, kernel=kernel, frame=t, band=f)) for t, f in PLACES]
    live = engine("order_explorer")("states.map(readState)", states=asked)
    for found, arrives in zip(live, arrivals(STACKS[network], 30, kernel), strict=True):
        assert found["blind"] == sorted(set(found["allowed"]) - set(arrives))


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_gives_each_value_a_number_and_all_that_came_before(engine: Any, order: str) -> None:
    script, key = engine("order_explorer"), ORDERS[order]
    asked = [state(OrderExplorer(order=order, frame=t, band=f)) for t, f in PLACES]
    in_order = sorted(range(CELLS), key=lambda cell: key(*divmod(cell, BANDS)))
    for found in script("states.map((s) => readState(figure.settled(s)))", states=asked):
        t, number = found["cell"] // BANDS, in_order.index(found["cell"])
        assert found["number"] == number
        assert found["allowed"] == found["seen"] == sorted(in_order[:number])
        assert found["future"] == [c for c in found["seen"] if c // BANDS > t]
        assert not found["blind"]
    s, walked = script("figure.settled(s)", s=asked[in_order[0]]), []
    for _ in range(CELLS):
        walked.append((s["frame"] - 1) * BANDS + s["band"] - 1)
        s |= script("following(s)", s=s)
    assert walked == in_order
    assert (s["frame"], s["band"]) == (asked[in_order[0]]["frame"], asked[in_order[0]]["band"])


def test_frame_by_frame_is_the_order_of_the_models() -> None:
    field = ordered_field(None, BANDS)
    for t, f in PLACES:
        allowed = OrderExplorer(frame=t, band=f).read()["allowed"]
        reads = field.inputs_of((t - 1, f - 1), within=(range(FRAMES), range(BANDS)))
        assert {divmod(c, BANDS) for c in allowed} == reads


def test_only_frame_by_frame_never_asks_for_the_future() -> None:
    for order in ORDERS:
        asks = any(OrderExplorer(order=order, frame=t, band=f).read()["future"] for t, f in PLACES)
        assert asks == (order != "frame")


def test_more_layers_never_cure_the_blind_spot_and_two_stacks_have_none() -> None:
    for t, f in PLACES:
        one = [set(OrderExplorer(network="masked", layers=n, frame=t, band=f).read()["blind"]) for n in (1, 6)]
        assert one[0] == one[1]
        assert not OrderExplorer(network="two", layers=1, frame=t, band=f).read()["blind"]
    assert len(OrderExplorer(network="masked", frame=7, band=4).read()["blind"]) > 0


def test_nonsense_gets_a_state_that_can_be_drawn(engine: Any) -> None:
    wild = engine("order_explorer")(
        "figure.settled({order: 'x', network: 'y', layers: 99, kernel: 4, frame: -3, band: 'b'})"
    )
    assert wild == {"order": "frame", "network": "all", "layers": 6, "kernel": 5, "frame": 1, "band": 1}
