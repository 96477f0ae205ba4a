"""The order explorer tells the truth: JavaScript, the static picture, and the gradients of real networks agree."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("anywidget")

from causalcnn.models.autoregressive import ordered_field
from causalcnn.nn import CausalConv1d, CausalConv2d
from causalcnn_book.likelihood import order_explorer
from causalcnn_book.likelihood.order_explorer import BANDS, CELLS, FRAMES, OrderExplorer, rank

KEYS = ("order", "network", "layers", "kernel", "frame", "band")
ORDERS = ("frame", "band", "tiers", "shuffled")
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
    built = arrivals({"masked": one_stack, "two": two_stacks}[network], layers, kernel)
    for figure, found, arrives in zip(asked, live, built, strict=True):
        assert found == figure.read()
        assert found["seen"] == arrives
        assert set(found["seen"]) <= set(found["allowed"])
        assert not found["future"]


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_gives_each_value_a_number_and_all_that_came_before(engine: Any, order: str) -> None:
    asked = [OrderExplorer(order=order, frame=t, band=f) for t, f in PLACES]
    script = engine("order_explorer")
    for figure, found in zip(
        asked, script("states.map((s) => readState(settled(s)))", states=[state(f) for f in asked]), strict=True
    ):
        assert found == figure.read()
        assert found["seen"] == found["allowed"]
        assert len(found["allowed"]) == found["number"]
    assert sorted(rank(order, t - 1, f - 1) for t, f in PLACES) == list(range(CELLS))
    s, walked = script("settled(s)", s=state(asked[0])), []
    for _ in range(CELLS):
        s |= script("following(s)", s=s)
        walked.append(rank(order, s["frame"] - 1, s["band"] - 1))
    assert sorted(walked) == list(range(CELLS))
    assert all((b - a) % CELLS == 1 for a, b in itertools.pairwise(walked))


def test_frame_by_frame_is_the_order_of_the_models() -> None:
    field = ordered_field(None, BANDS)
    for t, f in PLACES:
        allowed = OrderExplorer(frame=t, band=f).read()["allowed"]
        reads = field.inputs_of((t - 1, f - 1), within=(range(FRAMES), range(BANDS)))
        assert {divmod(c, BANDS) for c in allowed} == reads


def test_what_is_called_a_blind_spot_stays_one_for_more_layers(monkeypatch: Any) -> None:
    places = [(13, 1), (13, 8), (7, 4), (1, 8)]
    figures = [OrderExplorer(network=n, kernel=3, frame=t, band=f) for n in ("masked", "two") for t, f in places]
    before = [figure.read()["blind"] for figure in figures]
    monkeypatch.setattr(order_explorer, "ENOUGH", 30)
    assert [figure.read()["blind"] for figure in figures] == before


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


@pytest.mark.parametrize("width", [700, 330])
def test_the_static_picture_and_the_words_are_the_live_ones(engine: Any, width: int) -> None:
    script = engine("order_explorer")
    settings = [{"order": order} for order in ORDERS]
    settings += [{"network": n, "layers": layers, "kernel": k} for n, layers, k in NETWORKS]
    for setting, (t, f) in itertools.product(settings, [(1, 1), (1, 2), (7, 4), (13, 8), (2, 8), (12, 1)]):
        figure = OrderExplorer(**setting, frame=t, band=f)
        picture, height = figure.picture(width, "x")
        assert script("drawPicture(s, width, 'x')", s=state(figure), width=width) == picture
        assert script("layout(width).height", width=width) == height
        assert script("sentence(s)", s=state(figure)) == figure.sentence()
        live = [(row["key"], row["label"], row["text"], row["note"]) for row in script("readouts(s)", s=state(figure))]
        assert live == figure.readout_rows()


def test_nonsense_gets_a_state_that_can_be_drawn(engine: Any) -> None:
    wild = engine("order_explorer")("settled({order: 'x', network: 'y', layers: 99, kernel: 4, frame: -3, band: 'b'})")
    assert wild == {"order": "frame", "network": "all", "layers": 6, "kernel": 5, "frame": 1, "band": 1}
