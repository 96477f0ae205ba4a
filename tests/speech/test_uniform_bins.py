"""Uniform bins: half a step at most, a shift between bits, and a word for everything that is no ordinary value."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalcnn.speech import UniformBins
from causalcnn.speech.front_end import FLOOR_DB
from tests.fuzz import examples

ranges = st.tuples(st.floats(-100, 20), st.floats(1, 120)).map(lambda ends: (ends[0], ends[0] + ends[1]))


def values(low, high, count=2_000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(2, 80, count // 160, generator=generator)


@given(ranges, st.integers(1, 8))
@settings(max_examples=examples(60), derandomize=True)
def test_what_lies_in_the_range_comes_back_within_half_a_step(ends, bits):
    bins = UniformBins(*ends, bits)
    x = values(*ends)
    indices = bins.encode(x)
    assert indices.dtype == torch.int64
    assert indices.shape == x.shape
    assert indices.min() >= 0
    assert indices.max() <= bins.num_bins - 1
    rounding = 1e-5 * max(map(abs, ends))  # float32 cannot say more
    assert (bins.decode(indices) - x).abs().max() <= bins.step_db / 2 + rounding
    assert torch.equal(bins.encode(bins.decode(indices)), indices)


@given(ranges, st.integers(1, 8), st.integers(8, 16))
@settings(max_examples=examples(60), derandomize=True)
def test_a_coarser_index_is_a_finer_one_shifted(ends, coarse, fine):
    bins = UniformBins(*ends, fine)
    x = values(ends[0] - 5, ends[1] + 5)
    assert torch.equal(bins.coarser(coarse).encode(x), bins.encode(x) >> (fine - coarse))


def test_a_bin_begins_where_the_last_one_ends():
    bins = UniformBins(0.0, 4.0, bits=2)
    assert bins.step_db == 1
    assert bins.num_bins == 4
    assert bins.encode(torch.tensor([0.0, 0.99, 1.0, 1.99, 2.0, 3.0, 3.99])).tolist() == [0, 0, 1, 1, 2, 3, 3]
    assert bins.decode(torch.arange(4)).tolist() == [0.5, 1.5, 2.5, 3.5]


def test_what_lies_outside_goes_to_the_nearest_bin_infinities_too():
    bins = UniformBins(-70.0, 20.0)
    x = torch.tensor([-math.inf, -1e30, -100, -70.1, 20.0, 20.1, 1e30, math.inf])
    assert bins.encode(x).tolist() == [0, 0, 0, 0, 255, 255, 255, 255]
    assert bins.decode(bins.encode(x)).isfinite().all()


def test_silence_is_the_lowest_bin_and_no_frames_are_no_indices():
    bins = UniformBins(-70.0, 20.0)
    assert (bins.encode(torch.full((1, 80, 5), FLOOR_DB)) == 0).all()
    assert bins.encode(torch.zeros(1, 80, 0)).shape == (1, 80, 0)
    assert bins.decode(torch.zeros(0, dtype=torch.int64)).shape == (0,)


def test_half_precision_is_encoded_in_float32():
    bins = UniformBins(-70.0, 20.0)
    x = values(-75, 25).bfloat16()
    assert torch.equal(bins.encode(x), bins.encode(x.float()))


def test_nan_is_an_error_that_names_the_way_out():
    bins = UniformBins(-70.0, 20.0)
    x = torch.zeros(3, 4)
    x[1, 2] = math.nan
    with pytest.raises(ValueError, match=r"1 of 12 values are NaN.*nan_to_num"):
        bins.encode(x)
    assert bins.encode(x.nan_to_num(bins.low_db))[1, 2] == 0


def test_what_cannot_be_is_named():
    for low, high in ((0, 0), (5, -5), (-math.inf, 0), (0, math.nan)):
        with pytest.raises(ValueError, match="the range is"):
            UniformBins(low, high)
    for bits in (0, 17, 8.0, True):
        with pytest.raises(ValueError, match="bits is"):
            UniformBins(-70, 20, bits)
    bins = UniformBins(-70, 20, 4)
    with pytest.raises(ValueError, match="these bins have 4"):
        bins.coarser(5)
    with pytest.raises(ValueError, match=r"int64; they must be a floating point"):
        bins.encode(torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="float32; they must be whole numbers"):
        bins.decode(torch.zeros(3))
    with pytest.raises(ValueError, match="from 0 to 16; with 16 bins they are 0 to 15"):
        bins.decode(torch.arange(17))


# ------------------------------------------------------------------------------------ learned from a corpus
def test_the_range_of_a_corpus_is_that_of_all_but_its_rarest_values():
    speech = values(-60, 10, count=160_000)
    click = speech.clone()
    click[0, 0, 0] = 60
    bins = UniformBins.fitted([speech])
    assert bins.high_db == pytest.approx(10, abs=0.11)
    assert bins.low_db == pytest.approx(bins.high_db - 90)
    assert UniformBins.fitted([click]) == bins
    assert UniformBins.fitted([speech], 4, span_db=50) == UniformBins(bins.high_db - 50, bins.high_db, 4)


def test_the_range_does_not_depend_on_the_order_or_the_cutting_of_a_corpus():
    x = values(-60, 10, count=16_000)
    pieces = list(x.split(7, dim=2))
    assert UniformBins.fitted([x]) == UniformBins.fitted(pieces) == UniformBins.fitted(pieces[::-1])


def test_the_range_never_goes_below_digital_silence():
    assert UniformBins.fitted([values(-99, -40)]).low_db == FLOOR_DB


def test_a_corpus_without_a_range_is_named():
    for corpus, message in (
        ([], "has no values"),
        ([torch.zeros(80, 0)], "has no values"),
        ([torch.full((80, 9), FLOOR_DB)], "nothing but digital silence"),
        ([torch.zeros(80, 9), torch.full((80, 9), math.nan)], "clip 1 has values that are not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            UniformBins.fitted(corpus)
    with pytest.raises(ValueError, match="span_db is 0"):
        UniformBins.fitted([torch.zeros(80, 9)], span_db=0)
