"""What the generation explorer counts is what the fields, the states and a generating WaveNet say."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

pytest.importorskip("anywidget")
pytest.importorskip("py_mini_racer")

from causalcnn.field import Field
from causalcnn.models import WaveNet, WaveNetConfig
from causalcnn_book.wavenet import GenerationExplorer

GRID = list(itertools.product(range(1, 6), (1, 2)))


@pytest.mark.parametrize(("layers", "cycles"), GRID)
def test_recomputed_nodes_are_what_the_layers_above_read(engine: Any, layers: int, cycles: int) -> None:
    figure = GenerationExplorer(layers=layers, cycles=cycles)
    above, rows = Field.identity(), []  # the field of the layers above each row, from the last row down
    for dilation in reversed(figure.dilations):
        rows.append(above)
        above = Field.conv(2, dilation=dilation).then(above)
    counted = [sum(len([t for t in row.inputs_of(now) if t >= 0]) for row in rows) for now in range(96)]
    for sample in range(1, 97):
        read = engine("generation_explorer")(
            "readState(s)", s={"layers": layers, "cycles": cycles, "sample": sample, "way": "kept"}
        )
        assert read["computed"]["recomputed"] == counted[sample - 1]
        assert read["total"]["recomputed"] == sum(counted[:sample])
    if cycles == 1:
        assert counted[-1] == 2**layers - 1  # 2^L against L


@pytest.mark.parametrize(("layers", "cycles"), GRID)
def test_the_cone_s_samples_are_those_of_the_field(engine: Any, layers: int, cycles: int) -> None:
    figure = GenerationExplorer(layers=layers, cycles=cycles)
    s = {"layers": layers, "cycles": cycles, "sample": 80, "way": "recomputed"}
    assert engine("generation_explorer")("cone(s, 79)[0]", s=s) == sorted(figure.field.inputs_of(79))
    assert figure.read()["size"] == figure.field.size == figure.read()["memory"] + 1


@pytest.mark.parametrize(("layers", "cycles"), GRID)
def test_what_is_kept_and_computed_is_what_a_wavenet_has(layers: int, cycles: int) -> None:
    model = WaveNet(WaveNetConfig(layers=layers, cycles=cycles, residual_channels=2, skip_channels=2)).eval()
    figure = GenerationExplorer(layers=layers, cycles=cycles, sample=17)
    state = model.initial_state(torch.zeros(1, model.in_channels, 0))
    kept = sum(part.shape[2] for name, part in state.items() if name.endswith("dilated"))
    assert figure.read()["memory"] == kept
    assert figure.read()["size"] == model.sample_field.size
    assert figure.read()["computed"]["kept"] == len(model.residual_blocks)
    assert figure.read()["total"]["kept"] == 17 * len(model.residual_blocks)


@pytest.mark.parametrize("width", [300, 360, 720, 920])
def test_every_state_can_be_drawn_and_lies_on_the_stage(engine: Any, width: int) -> None:
    for (layers, cycles), way, sample in itertools.product(GRID, ("kept", "recomputed"), (1, 2, 33, 96)):
        view = engine("generation_explorer")(
            "figure.view(s, width, 'a')",
            s={"layers": layers, "cycles": cycles, "way": way, "sample": sample},
            width=width,
        )
        assert "NaN" not in view["picture"]
        assert "undefined" not in view["sentence"]


def test_nonsense_gets_a_state_that_can_be_drawn(engine: Any) -> None:
    settled = engine("generation_explorer")("figure.settled({layers: 99, cycles: -1, sample: 1e9, way: 'so'})")
    assert settled == {"layers": 5, "cycles": 1, "sample": 96, "way": "kept"}
