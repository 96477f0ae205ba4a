"""The hierarchy explorer tells the truth: JavaScript, declared fields and gradients agree."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

pytest.importorskip("anywidget")

from causalcnn import Field
from causalcnn.models import CausalVQVAE2, VQVAE2Config
from causalcnn_book import palette
from causalcnn_book.causal_vqvae2.hierarchy_explorer import MELS, HierarchyExplorer
from causalcnn_book.causal_vqvae2.levels import influence

BANDS = {"top": 8, "bottom": 4, "output": 1}
KEYS = ("level", "band", "frame", "blocks", "kernel", "weights", "frames", "image", "influence", "trained")
SIZES = list(itertools.product((1, 2, 3), (3, 5)))


def state(figure: HierarchyExplorer) -> dict[str, Any]:
    return {key: getattr(figure, key) for key in KEYS}


def small(blocks: int, kernel: int) -> CausalVQVAE2:
    config = VQVAE2Config(
        channels=4, residual_channels=2, residual_blocks=blocks, kernel_size=kernel, code_dim=2, num_codes=4
    )
    torch.manual_seed(0)
    return CausalVQVAE2(config).eval()


def opened(model: CausalVQVAE2) -> CausalVQVAE2:
    """The model with positive weights and codewords: no ReLU shuts, nothing cancels."""
    for parameter in model.parameters():
        parameter.data.abs_()
    for quantiser in (model.quantize_top, model.quantize_bottom):
        quantiser.sum.abs_()  # type: ignore[operator, union-attr]
    return model


def declared(model: CausalVQVAE2, level: str) -> Field:
    return {"top": model.top_field, "bottom": model.bottom_field, "output": model.field}[level]


def cells(one: dict[str, Any]) -> set[tuple[int, int]]:
    return set(itertools.product(range(-one["back"], 1), range(one["bands"][0], one["bands"][1] + 1)))


def figures(level: str, blocks: int, kernel: int) -> list[HierarchyExplorer]:
    bands = range(0, MELS, BANDS[level])
    return [HierarchyExplorer(level=level, band=band, blocks=blocks, kernel=kernel) for band in bands]


def gradients(model: CausalVQVAE2, level: str) -> list[set[tuple[int, int]]]:
    """Where the gradient of each cell of the last frame arrives."""
    model = opened(model.double())
    depth, cells = 1 + 4 * (model.config.residual_blocks + 1) * (model.config.kernel_size - 1), MELS // BANDS[level]
    x = torch.ones(cells, 1, depth + 1, MELS, dtype=torch.float64).requires_grad_()
    output, top, bottom = model.reconstruct(x)
    values = {"top": top.values, "bottom": bottom.values, "output": output}[level]
    (gradient,) = torch.autograd.grad(values[torch.arange(cells), :, -1, torch.arange(cells)].sum(), x)
    return [{(t - depth, f) for t, f in one[0].nonzero().tolist()} for one in gradient]


@pytest.mark.parametrize("level", BANDS)
@pytest.mark.parametrize(("blocks", "kernel"), SIZES)
def test_javascript_walks_to_exactly_the_cells_where_the_gradient_arrives(
    engine: Any, blocks: int, kernel: int, level: str
) -> None:
    asked = figures(level, blocks, kernel)
    live = engine("hierarchy_explorer")("states.map(readState)", states=[state(figure) for figure in asked])
    for found, arrives in zip(live, gradients(small(blocks, kernel), level), strict=True):
        ages, bands = {-t for t, _ in arrives}, {band for _, band in arrives}
        assert cells(found["through"]) == arrives
        assert (found["past"], found["size"]) == (max(ages), len(ages))
        assert (found["bands"], found["cells"]) == (len(bands), len(arrives))
        direct = cells(found["direct"]) if found["direct"] else set()
        assert direct < arrives
        assert found["only"] == len(arrives - direct)


@pytest.mark.parametrize("level", BANDS)
def test_it_is_the_declared_field(level: str) -> None:
    field = declared(small(1, 3), level)
    for figure in figures(level, 1, 3):
        reads, cell = figure.read(), figure.band // BANDS[level]
        assert cells(reads["through"]) == {(t, f) for t, f in field.inputs_of((0, cell)) if 0 <= f < MELS}
        assert (reads["size"], field.lookahead) == (field.axis("time").size, 0)


def test_every_band_under_a_code_asks_that_code(engine: Any) -> None:
    states = [state(HierarchyExplorer(level=level, band=band)) for level in BANDS for band in range(MELS)]
    assert engine("hierarchy_explorer")("states.map(cellOf)", states=states) == [
        s["band"] // BANDS[s["level"]] for s in states
    ]


def test_the_direct_frame_is_what_the_bottom_encoder_reads_alone() -> None:
    for blocks, kernel in SIZES:
        alone = small(blocks, kernel).encoder_bottom.field
        for code in range(20):
            figure = HierarchyExplorer(level="bottom", band=4 * code, blocks=blocks, kernel=kernel)
            reads = {(t, f) for t, f in alone.inputs_of((0, code)) if 0 <= f < MELS}
            assert cells(figure.read()["direct"]) == reads


def present(field: Field, codes: list[int], limit: int) -> list[int]:
    """The first and the last cell of the present frame that a part of the model reads for these outputs."""
    cells = {f for code in codes for t, f in field.inputs_of((0, code)) if t == 0 and 0 <= f < limit}
    return [min(cells), max(cells)]


@pytest.mark.parametrize(("blocks", "kernel"), SIZES)
def test_the_codes_on_the_way_are_those_that_the_parts_of_the_model_read(blocks: int, kernel: int) -> None:
    hint, decoder = small(blocks, kernel).hint.field, small(blocks, kernel).decoder.field
    for level in BANDS:
        for figure in figures(level, blocks, kernel):
            found, cell = figure.read(), figure.band // BANDS[level]
            bottoms = {"top": None, "bottom": [cell, cell], "output": present(decoder, [cell], 20)}[level]
            assert found["bottoms"] == bottoms
            read = list(range(bottoms[0], bottoms[1] + 1)) if bottoms else []
            assert found["tops"] == (present(hint, read, 10) if read else [cell, cell])


def test_it_is_drawn_in_the_colours_of_a_dark_page(engine: Any) -> None:
    lit = {"top": palette.DARK["top"], "bottom": palette.DARK["bottom"], "now": palette.DARK["present"]}
    assert engine("hierarchy_explorer")("LIT") == lit


def test_what_the_weights_do_read_lies_within_what_they_could() -> None:
    model = opened(small(1, 3))
    found = influence(model, torch.rand(3, 1, 20, MELS) * 20 - 30)
    for level, codes in found.items():
        for code, one in enumerate(codes):
            ages = len(one["table"]) // MELS
            assert ages == declared(model, level).axis("time").size
            assert 1 <= one["within"] <= ages
            seen = {(-(i // MELS), i % MELS) for i, digit in enumerate(one["table"]) if digit != "0"}
            could = cells(HierarchyExplorer(level=level, band=code * BANDS[level]).read()["through"])
            assert seen == could
            assert "9" in one["table"]


def test_the_influence_is_the_jacobian() -> None:
    model, x = opened(small(1, 3)), torch.rand(1, 1, 13, MELS) * 20 - 30
    jacobian = torch.autograd.functional.jacobian(lambda v: model.reconstruct(v)[2].values[0, :, -1, 5], x)
    square = jacobian[:, 0, 0].square().sum(0).flip(0)
    one = influence(model, x, draws=300)["bottom"][5]
    strength = torch.tensor([int(digit) for digit in one["table"]]).view(13, MELS) / 9
    expected = (square / square.max()) ** 0.25
    assert (strength - expected).abs().max() < 0.2
    by_age = square.sum(1).cumsum(0) / square.sum()
    assert abs(int((by_age < 0.99).sum()) + 1 - one["within"]) <= 1


def test_nonsense_gets_a_state_that_can_be_drawn(engine: Any) -> None:
    wild = engine("hierarchy_explorer")(
        "figure.settled({level: 'x', band: 99, frame: -3, blocks: 9, kernel: 4, frames: 84})"
    )
    assert wild == {"level": "bottom", "band": 79, "frame": 0, "blocks": 3, "kernel": 5, "frames": 84}


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"mel has the shape \(40, 9\)"):
        HierarchyExplorer(torch.zeros(40, 9))
    with pytest.raises(ValueError, match="at least 13 frames"):
        influence(small(1, 3), torch.zeros(1, 1, 5, MELS))
    with pytest.raises(TypeError, match="HierarchyExplorer has no 'size'"):
        HierarchyExplorer(size=3)
