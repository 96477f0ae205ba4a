"""The codebook figure tells the truth: its JavaScript and VectorQuantizer move the same codewords."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

pytest.importorskip("anywidget")
pytest.importorskip("py_mini_racer")

from causalcnn.nn import VectorQuantizer
from causalcnn_book.vector_quantisation.codebook_explorer import LAST, NUM_POINTS, CodebookExplorer

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


def state(figure: CodebookExplorer) -> dict[str, Any]:
    return {key: getattr(figure, key) for key in KEYS}


def quantizer(figure: CodebookExplorer, start: dict[str, Any]) -> VectorQuantizer:
    """The library's quantiser in float64, as it is at the figure's start."""
    below = 0.1 if figure.restart else 0.0
    layer = VectorQuantizer(figure.codes, 2, decay=figure.decay / 100, dead_code_threshold=below).double()
    layer.count.copy_(exact(start["count"]))
    layer.sum.copy_(exact(start["sum"]))
    layer.started.fill_(True)
    return layer.train()


def check_against_the_quantiser(script: Any, figure: CodebookExplorer) -> None:
    """Every step of the module's codebook is that of the library, and so is every number that it shows."""
    shown = figure.read()
    points, books = shown["points"], shown["codebooks"]
    layer, data = quantizer(figure, books[0]), exact(points).T[None]
    assert len(books) == figure.steps + 1
    for book in books[:-1]:
        torch.testing.assert_close(layer.count, exact(book["count"]), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(layer.sum, exact(book["sum"]), rtol=1e-9, atol=1e-9)
        layer.quantize(data)
    found = layer.eval().quantize(data)
    torch.testing.assert_close(layer.count, exact(books[-1]["count"]), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(layer.codebook, exact(shown["codewords"]), rtol=1e-9, atol=1e-9)
    wins = script("points.map((p) => nearest(p, codewords))", points=points, codewords=shown["codewords"])
    assert found.indices[0].tolist() == wins
    assert found.counts.tolist() == shown["wins"]
    assert float(found.usage) * figure.codes == pytest.approx(shown["used"])
    assert float(found.perplexity) == pytest.approx(shown["perplexity"], rel=1e-6)
    assert math.log2(shown["perplexity"]) == pytest.approx(shown["bits"], abs=1e-12)
    assert 2 * float(found.commitment) == pytest.approx(shown["error"], rel=1e-9)
    assert float(data.var(2, correction=0).sum()) == pytest.approx(shown["variance"], rel=1e-9)
    assert shown["restarts"] == sum(sum(book["fresh"]) for book in books)
    assert figure.restart or not shown["restarts"]


@pytest.mark.parametrize("start", STARTS)
def test_the_quantiser_moves_the_same_codewords(engine: Any, start: str) -> None:
    for start_, codes, decay, restart in GRID:
        if start_ != start:
            continue
        steps = LAST if codes in (2, 8, 12) else 30  # later steps are more of the same, and take time
        figure = CodebookExplorer(start=start, codes=codes, decay=decay, restart=restart, steps=steps)
        check_against_the_quantiser(engine("codebook_explorer"), figure)


@pytest.mark.parametrize("edit", EDITED)
def test_the_quantiser_goes_on_from_what_a_reader_has_dragged(engine: Any, edit: dict[str, Any]) -> None:
    for steps in (0, 3, 60):
        check_against_the_quantiser(engine("codebook_explorer"), CodebookExplorer(**edit, steps=steps))


def test_what_is_placed_and_moved_is_there_and_nonsense_is_not() -> None:
    plain = CodebookExplorer(codes=3, steps=0).read()["points"]
    shown = CodebookExplorer(**EDITED[0], steps=0).read()
    assert shown["codewords"] == [[2, 3], [6.5, 5.5], [9, 1]]
    assert shown["codebooks"][0]["count"] == [20, 31, 9]
    put = {4: [0, 0], 59: [10, 7], 7: [0.5, 6.5]}
    assert shown["points"] == [put.get(i, p) for i, p in enumerate(plain)]
    for edit in (EDITED[1], EDITED[3]):
        edited = CodebookExplorer(**edit, steps=0)
        assert edited.read() == CodebookExplorer(codes=edited.codes, steps=0).read()


@pytest.mark.parametrize("codes", CODES)
def test_the_quantiser_starts_by_the_same_k_means(codes: int) -> None:
    layer = VectorQuantizer(codes, 2, decay=0.5, dead_code_threshold=0).double().train()
    shown = CodebookExplorer(codes=codes, start="kmeans", decay=50, steps=1).read()
    layer.quantize(exact(shown["points"]).T[None])
    torch.testing.assert_close(layer.codebook, exact(shown["codewords"]), rtol=1e-9, atol=1e-9)
    count = shown["codebooks"][0]["count"]
    assert sum(count) == pytest.approx(NUM_POINTS) == len(shown["points"])
    assert len(count) == codes


def test_a_cell_holds_what_is_nearest_to_its_codeword(engine: Any) -> None:
    script = engine("codebook_explorer")
    codewords = CodebookExplorer(codes=9, start="points", steps=3).read()["codewords"]
    cells = script("codewords.map((_, j) => voronoiCell(j, codewords))", codewords=codewords)

    def inside(p: tuple[float, float], shape: list[tuple[float, float]]) -> bool:
        turns = [
            (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])
            for a, b in zip(shape, shape[1:] + shape[:1], strict=True)
        ]
        return min(turns) > -1e-9

    plane = list(itertools.product((0.31 + 0.47 * i for i in range(20)), (0.17 + 0.41 * i for i in range(16))))
    for p, j in zip(plane, torch.cdist(exact(plane), exact(codewords)).argmin(1).tolist(), strict=True):
        assert inside(p, cells[j])
    areas = [sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(s, s[1:] + s[:1], strict=True)) / 2 for s in cells]
    assert math.isclose(sum(areas), 70)


def test_what_is_dropped_goes_on_from_where_it_was(engine: Any) -> None:
    script = engine("codebook_explorer")
    figure = CodebookExplorer(start="points", steps=12, chosen=2)
    before = figure.read()
    dropped = CodebookExplorer(**state(figure) | script("drop(s, [4.5, 3.25])", s=state(figure)))
    after = dropped.read()
    assert dropped.steps == 0
    assert after["codewords"][2] == [4.5, 3.25]
    for j in set(range(8)) - {2}:
        assert after["codewords"][j] == pytest.approx(before["codewords"][j], abs=6e-4)
        assert after["codebooks"][0]["count"][j] == pytest.approx(before["codebooks"][-1]["count"][j], abs=6e-4)
    dropped.chosen = 8 + 3
    moved = CodebookExplorer(**state(dropped) | script("drop(s, [99, -1])", s=state(dropped)))
    assert moved.read()["points"][3] == [10, 0]
    assert moved.read()["codewords"] == after["codewords"]


def test_nonsense_gets_a_state_that_can_be_drawn(engine: Any) -> None:
    s = engine("codebook_explorer")(
        "figure.settled({codes: 99, decay: 'x', steps: -4, chosen: 1e9, start: 'there', restart: true})"
    )
    assert s == {"codes": 12, "decay": 20, "steps": 0, "chosen": 71, "start": "corner", "restart": True}


def test_a_corner_kills_codewords_and_a_restart_revives_them() -> None:
    alone, helped = (CodebookExplorer(restart=restart, steps=LAST).read() for restart in (False, True))
    assert alone["used"] == 3
    assert helped["used"] == 8
    assert helped["error"] < alone["error"] / 5
