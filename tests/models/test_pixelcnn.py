"""The PixelCNN: the contract, its field, no blind spot, padding, and what cannot be."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalcnn import Field, check_contract
from causalcnn.causality import measure_field
from causalcnn.models import get_distribution
from causalcnn.models.pixelcnn import PixelCNN, PixelCNNConfig
from causalcnn.speech import Batch
from tests.fuzz import examples
from tests.models.shared import batch_of, lively

SMALL = PixelCNNConfig(
    channels=4,
    hidden=3,
    mels=9,
    first_time_kernel=(2, 3),
    first_frequency_kernel=2,
    time_dilations=((2, 1), (3, 1)),
    frequency_dilations=(1, 3),
)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def test_it_keeps_the_contract():
    x = torch.rand(2, 1, 11, 9, dtype=torch.float64) * 2 - 1
    check_contract(PixelCNN(SMALL).double(), x)


def cells_inside(model, cells, blocks):
    """What the given cells read of a spectrogram, walking from layer to layer; a layer's padding is read by nobody."""

    def through(field, cells):
        read = {cell for output in cells for cell in field.inputs_of(output)}
        return {(t, f) for t, f in read if t >= 0 and 0 <= f < model.config.mels}

    def along(layer):
        return Field.product(Field.identity(), Field.window(layer.field.inputs_of(0), axis="frequency"))

    if not blocks:
        below = Field.product(Field.identity(), Field.window([-1], axis="frequency"))
        return through(below, through(along(model.frequency_input), cells))
    lower = through(along(model.frequency_blocks[blocks - 1].conv), cells) | cells
    earlier = cells
    for block in reversed(model.time_blocks[:blocks]):
        earlier = through(block.field, earlier)
    earlier = through(model.time_input.field, earlier)
    late = Field.product(Field.window([-1]), Field.identity(axis="frequency"))
    return cells_inside(model, lower, blocks - 1) | through(late, earlier)


@settings(max_examples=examples(8), derandomize=True, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 3), st.sampled_from([1, 2, 3])),
    lower=st.integers(1, 4),
    blocks=st.lists(st.tuples(st.integers(1, 3), st.just(1), st.integers(1, 3)), min_size=1, max_size=2),
)
def test_its_field_is_the_measured_one_for_all_sizes(kernel, lower, blocks):
    config = PixelCNNConfig(
        channels=2, hidden=2, mels=6, first_time_kernel=kernel, first_frequency_kernel=lower,
        time_dilations=tuple(block[:2] for block in blocks), frequency_dilations=tuple(block[2] for block in blocks),
    )  # fmt: skip
    model = PixelCNN(config)
    measured = measure_field(model, torch.zeros(1, 1, 5, 6))
    for output, found in measured.items():
        assert found == cells_inside(model, {output}, len(blocks)), (output, config)
        assert found <= model.field.inputs_of(output, within=(range(5), range(6))), (output, config)


def test_the_preset_reads_all_lower_frequencies_and_180_ms_without_a_hole():
    field = PixelCNN(PixelCNNConfig.tiny()).field
    assert (field.past, field.lookahead) == (18, 0)
    cells = field.inputs_of((100, 79), within=(range(101), range(80)))
    assert {f for t, f in cells if t == 100} == set(range(79))
    assert {t for t, f in cells if f == 79} == set(range(82, 100))


def test_there_is_no_blind_spot():
    """A stack of kernels masked in raster order never sees the cells above and to the side that lie behind others."""
    field = PixelCNN(SMALL).field
    read = {cell for cell in field.inputs_of((20, 4), within=(range(21), range(9))) if cell[0] >= 18}
    reach = 3  # of the vertical stack at each side: one cell in each of its three layers
    assert {f for t, f in read if t == 19} == set(range(4 + reach + 1))


def test_it_begins_as_its_distribution_begins():
    model = PixelCNN(SMALL)
    start = get_distribution(SMALL.output).initial_bias()
    said = model(torch.rand(1, 1, 6, 9) * 2 - 1)
    torch.testing.assert_close(said, start[None, :, None, None].expand_as(said), atol=0.5, rtol=0)


def test_padding_changes_no_real_frame():
    model = lively(PixelCNN(SMALL)).double()
    batch = batch_of()
    longer = Batch(
        torch.cat([batch.features, torch.full((2, 9, 5), 7.0)], 2),
        torch.cat([batch.mask, torch.zeros(2, 5, dtype=torch.bool)], 1),
        batch.speaker,
    )
    torch.testing.assert_close(model.loss(batch)[0], model.loss(longer)[0], rtol=1e-6, atol=0)


def test_a_configuration_survives_json():
    config = PixelCNNConfig(first_time_kernel=[2, 3], time_dilations=[[2, 1]], frequency_dilations=[1])
    assert config == PixelCNNConfig(first_time_kernel=(2, 3), time_dilations=((2, 1),), frequency_dilations=(1,))
    assert hash(config) == hash(copy.copy(config))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frequency_dilations": (1,)}, r"4 time and 1 frequency dilations"),
        ({"channels": 0}, r"channels is 0"),
    ],
)
def test_what_cannot_be_is_said(changes, message):
    with pytest.raises(ValueError, match=message):
        PixelCNNConfig(**changes)


def test_an_input_of_another_shape_is_refused():
    model = PixelCNN(SMALL)
    with pytest.raises(ValueError, match=r"\(1, 1, 4, 8\).*\(batch, 1, time, 9\)"):
        model(torch.zeros(1, 1, 4, 8))
    with pytest.raises(ValueError, match=r"model\.to_input\(bins\)"):
        model.step(torch.zeros(1, 1, 4, 8), model.initial_state(torch.zeros(1, 1, 0, 9)))
