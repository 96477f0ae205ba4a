"""The codebook figure tells the truth: its JavaScript, its picture and VectorQuantizer move the same codewords."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest
import torch

pytest.importorskip("anywidget")

from causalcnn.nn import VectorQuantizer
from causalcnn_book.vector_quantisation.codebook_explorer import LAST, CodebookExplorer
from causalcnn_book.vector_quantisation.codebook_learning import POINTS, initial_codewords, nearest, voronoi_cell

KEYS = ("codes", "decay", "restart", "start", "steps", "placed", "moved", "chosen")
DECAYS, STARTS, CODES = (20, 50, 80, 90, 95, 99), ("corner", "points", "kmeans"), range(2, 13)
GRID = list(itertools.product(STARTS, CODES, DECAYS, (False, True)))
EDITED: list[dict[str, Any]] = [
    {"codes": 3, "placed": "2000.3000.20000_6500.5500.31000_9000.1000.9000", "moved": "4.0.0_59.10000.7000_7.500.6500"},
    {
        "codes": 8,
        "placed": "2000.3000.20000_6500.5500.31000",
        "moved": "99.1.1",
    },  # not eight, no such point
    {"codes": 2, "placed": "1000.1000.5000_1000.1000.5000", "restart": True},  # two codewords on one place
    {"codes": 4, "placed": "nonsense", "moved": "1.2"},
]


def exact(numbers: Any) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


DATA = exact(POINTS).T[None]


def state(figure: CodebookExplorer) -> dict[str, Any]:
    return {key: getattr(figure, key) for key in KEYS}


def quantizer(figure: CodebookExplorer) -> VectorQuantizer:
    """The library's quantiser in float64, as it is at the figure's start."""
    book, below = figure.history()[0], 0.1 if figure.restart else 0.0
    layer = VectorQuantizer(figure.codes, 2, decay=figure.decay / 100, dead_code_threshold=below).double()
    layer.count.copy_(exact(book.count))
    layer.sum.copy_(exact(book.sum))
    layer.started.fill_(True)
    return layer.train()


@pytest.mark.parametrize("start", STARTS)
def test_the_quantiser_moves_the_same_codewords(start: str) -> None:
    for start_, codes, decay, restart in GRID:
        if start_ != start:
            continue
        steps = LAST if codes in (2, 8, 12) else 30  # later steps are more of the same, and take time
        figure = CodebookExplorer(start=start, codes=codes, decay=decay, restart=restart, steps=steps)
        layer = quantizer(figure)
        for codebook in figure.history()[:-1]:
            torch.testing.assert_close(layer.codebook, exact(codebook.codewords), rtol=1e-9, atol=1e-9)
            layer.quantize(DATA)
        shown, found = figure.read(), layer.eval().quantize(DATA)
        torch.testing.assert_close(layer.codebook, exact(shown["codewords"]), rtol=1e-9, atol=1e-9)
        assert found.indices[0].tolist() == [nearest(p, shown["codewords"]) for p in POINTS]
        assert found.counts.tolist() == shown["wins"]
        assert float(found.usage) * codes == pytest.approx(shown["used"])
        assert float(found.perplexity) == pytest.approx(shown["perplexity"], rel=1e-6)
        assert 2 * float(found.commitment) == pytest.approx(shown["error"], rel=1e-9)


@pytest.mark.parametrize("codes", CODES)
def test_the_quantiser_starts_by_the_same_k_means(codes: int) -> None:
    layer = VectorQuantizer(codes, 2, decay=0.5, dead_code_threshold=0).double().train()
    codewords, count = initial_codewords(codes, "kmeans", list(POINTS))
    figure = CodebookExplorer(codes=codes, start="kmeans", decay=50, steps=1)
    layer.quantize(DATA)
    torch.testing.assert_close(layer.codebook, exact(figure.history()[1].codewords), rtol=1e-9, atol=1e-9)
    assert sum(count) == pytest.approx(len(POINTS))
    assert len(codewords) == codes


def test_javascript_walks_the_same_way_over_the_whole_grid(engine: Any) -> None:
    script = engine("codebook_explorer")
    for start, codes, decay, restart in GRID:
        figure = CodebookExplorer(start=start, codes=codes, decay=decay, restart=restart, steps=LAST)
        live = script("history(s).map((b) => [b.count, b.sum, b.fresh, b.restarts])", s=state(figure))
        assert live == json.loads(json.dumps([[b.count, b.sum, b.fresh, b.restarts] for b in figure.history()]))


@pytest.mark.parametrize("width", [700, 330])
def test_the_static_picture_and_the_words_are_the_live_ones(engine: Any, width: int) -> None:
    script = engine("codebook_explorer")
    settings: list[dict[str, Any]] = [
        {"start": start, "codes": codes, "restart": restart, "steps": steps, "chosen": (7 * i) % (codes + 60)}
        for i, (start, codes, restart, steps) in enumerate(
            itertools.product(STARTS, (2, 8, 12), (False, True), (0, 17, 60))
        )
    ]
    for setting in [*settings, *(edit | {"steps": steps} for edit in EDITED for steps in (0, 3, 60))]:
        figure = CodebookExplorer(**setting)
        s = script("settled(s)", s=state(figure))
        picture, height = figure.picture(width, "x")
        assert script("drawPicture(s, width)", s=s, width=width) == picture
        assert script("layout(width).height", s=s, width=width) == height
        assert script("sentence(s)", s=s) == figure.sentence()
        live = [(row["key"], row["label"], row["text"], row["note"]) for row in script("readouts(s)", s=s)]
        assert live == figure.readout_rows()


def test_a_cell_holds_what_is_nearest_to_its_codeword() -> None:
    codewords = CodebookExplorer(codes=9, start="points", steps=3).read()["codewords"]
    cells = [voronoi_cell(j, codewords) for j in range(9)]

    def inside(p: tuple[float, float], shape: list[tuple[float, float]]) -> bool:
        turns = [
            (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])
            for a, b in zip(shape, shape[1:] + shape[:1], strict=True)
        ]
        return min(turns) > -1e-9

    for p in itertools.product((0.31 + 0.47 * i for i in range(20)), (0.17 + 0.41 * i for i in range(16))):
        assert inside(p, cells[nearest(p, codewords)])
    areas = [sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(s, s[1:] + s[:1], strict=True)) / 2 for s in cells]
    assert math.isclose(sum(areas), 70)


def test_what_is_dropped_goes_on_from_where_it_was(engine: Any) -> None:
    script = engine("codebook_explorer")
    figure = CodebookExplorer(start="points", steps=12, chosen=2)
    before = figure.read()
    dropped = CodebookExplorer(**state(figure) | script("drop(s, [4.5, 3.25])", s=state(figure)))
    after = dropped.read()
    assert dropped.steps == 0
    assert after["codewords"][2] == (4.5, 3.25)
    for j in set(range(8)) - {2}:
        assert after["codewords"][j] == pytest.approx(before["codewords"][j], abs=6e-4)
        assert after["codebooks"][0].count[j] == pytest.approx(before["codebooks"][-1].count[j], abs=6e-4)
    dropped.chosen = 8 + 3
    moved = CodebookExplorer(**state(dropped) | script("drop(s, [99, -1])", s=state(dropped)))
    assert moved.read()["points"][3] == (10, 0)
    assert moved.read()["codewords"] == after["codewords"]


def test_nonsense_gets_a_state_that_can_be_drawn(engine: Any) -> None:
    s = engine("codebook_explorer")(
        "settled({codes: 99, decay: 'x', steps: -4, chosen: 1e9, start: 'there', restart: true})"
    )
    assert s == {"codes": 12, "decay": 20, "steps": 0, "chosen": 71, "start": "corner", "restart": True}


def test_a_corner_kills_codewords_and_a_restart_revives_them() -> None:
    alone, helped = (CodebookExplorer(restart=restart, steps=LAST).read() for restart in (False, True))
    assert alone["used"] == 3
    assert helped["used"] == 8
    assert helped["error"] < alone["error"] / 5
