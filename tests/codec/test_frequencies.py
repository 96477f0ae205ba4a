"""The frequencies are the same everywhere: for any batch, engine, number of threads, and in Python's own integers."""

import itertools
import operator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from causalcnn.codec import Frequencies
from causalcnn.codec.frequencies import TOTAL, negative_powers
from causalcnn.models import IntegerCodePrior, IntegerCodePriorConfig, load_model
from tests.codec.small import CONFIG, joined_of, random_codes, random_prior, small_prior

pytestmark = pytest.mark.filterwarnings("ignore:TF32 acceleration")  # torch speaks of graphics cards here

SHIPPED = Path(__file__).resolve().parents[2] / "book" / "checkpoints" / "integer-code-prior"
LARGE = IntegerCodePriorConfig()


def by_torch(threads, onednn):
    def product(a, b):
        torch.set_num_threads(threads)
        with torch.backends.mkldnn.flags(enabled=onednn):
            return (torch.from_numpy(a) @ torch.from_numpy(np.ascontiguousarray(b))).numpy()

    return product


def by_integers(a, b):
    return (a.astype(np.int64) @ b.astype(np.int64)).astype(np.float64)


def backwards(a, b):
    return a[:, ::-1] @ b[::-1]


PRODUCTS = {
    "torch": by_torch(1, True),
    "torch, two threads": by_torch(2, True),
    "torch without oneDNN": by_torch(1, False),
    "torch, two threads, without oneDNN": by_torch(2, False),
    "int64": by_integers,
    "backwards": backwards,
}


def clipped(values):
    return [min(max(each, 0), 255) for each in values]


def times(lines, x):
    return [sum(map(operator.mul, line, x)) for line in lines]


def python_frequencies(prior, codes):
    """The same network in Python's own integers: no float, no numpy, no torch, no order of a sum that matters."""
    c, whole = prior.config, prior.rounded()
    weights = [{n: value.tolist() for n, value in level.named_parameters()} for level in whole.levels]
    contexts = [level.context.tolist() for level in whole.levels]
    powers = negative_powers().tolist()
    nothing = [c.num_codes] * c.cells
    history = [nothing, nothing, *codes]
    for t in range(2, len(history)):
        row = [*history[t], *history[t - 1], *history[t - 2], c.num_codes]
        for (level, w), number in itertools.chain(
            (((0, weights[0]), n) for n in range(c.top_cells)), (((1, weights[1]), n) for n in range(c.bottom_cells))
        ):
            read = [row[place] for place in contexts[level][number]]
            sums = [sum(values) for values in zip(*map(operator.getitem, w["table"], read), strict=True)]
            x = clipped(map(operator.add, [each >> 1 for each in sums], w["bias_table"][number]))
            x = clipped(map(operator.add, [each >> 8 for each in times(w["hidden"], x)], w["bias_hidden"]))
            x = [*map(operator.add, [each >> 7 for each in times(w["out"], x)], w["bias_out"][number])]
            top = max(x)
            shares = [powers[min(top - each, len(powers) - 1)] for each in x]
            whole_share = sum(shares)
            found = [share * (2**24 - len(x)) // whole_share + 1 for share in shares]
            found[x.index(top)] += 2**24 - sum(found)
            yield found


@pytest.fixture(scope="module")
def large():
    return random_prior(LARGE)


def codes_for_large(frames):
    return np.random.default_rng(0).integers(0, 512, (frames, 30))


@pytest.mark.parametrize("name", PRODUCTS)
def test_no_engine_no_thread_and_no_order_changes_a_frequency(name, large):
    codes = codes_for_large(40)
    expected = Frequencies(large).of_block(codes)
    assert (Frequencies(large, PRODUCTS[name]).of_block(codes) == expected).all()


@pytest.mark.parametrize("name", PRODUCTS)
def test_what_a_receiver_computes_is_what_the_sender_did(name, large):
    """A cell at a time, for one block or for 7 at once, by each engine."""
    codes = codes_for_large(2)
    expected = Frequencies(large).of_block(codes)
    receiver = Frequencies(large, PRODUCTS[name])
    row = np.full((7, 91), 512)
    for t, frame in enumerate(codes):
        row[:, 30:90] = row[:, :60].copy()
        for cell in range(30):
            row[:, cell:30] = 511  # what is not known yet is not read
            assert (receiver.of_cell(row, cell) == expected[t, cell]).all()
            assert (receiver.of_cell(row[:1], cell) == expected[t, cell]).all()
            row[:, cell] = frame[cell]


def test_python_alone_computes_the_same(large):
    codes = codes_for_large(2)
    found = list(python_frequencies(large, codes.tolist()))
    assert found == Frequencies(large).of_block(codes).reshape(-1, 512).tolist()


@pytest.mark.slow
def test_python_alone_computes_the_same_of_the_shipped_prior_for_100_frames():
    prior = load_model(SHIPPED)[0]
    codes = codes_for_large(100)
    found = python_frequencies(prior, codes.tolist())
    expected = Frequencies(prior).of_block(codes).reshape(-1, 512)
    assert all((one == other).all() for one, other in zip(found, expected, strict=True))


@given(st.integers(0, 99), st.integers(1, 9))
def test_frequencies_are_those_of_the_network_that_was_trained(seed, frames):
    """From the logits that training sees to frequencies: none is 0, their sum is 2^24, the likeliest stays so."""
    prior, codes = random_prior(seed=seed), random_codes(frames, seed)
    logits = prior(torch.cat(codes, dim=2))[0].detach().double()
    found = torch.from_numpy(Frequencies(prior).of_block(joined_of(codes)))
    assert (found.sum(2) == TOTAL).all()
    assert found.min() >= 1
    wanted = torch.softmax(logits * (np.log(2) / 32), dim=2)
    assert (found / TOTAL - wanted).abs().max() < 1e-5
    assert (found.argmax(2) == logits.argmax(2)).all()


def test_a_block_begins_without_a_past_and_reads_none_of_its_future():
    prior, codes = small_prior(), joined_of(random_codes(30))
    whole = prior.of_block(codes)
    assert (prior.of_block(codes[:7]) == whole[:7]).all()
    assert prior.of_block(codes[:0]).shape == (0, CONFIG.cells, CONFIG.num_codes)
    for t, cell in [(0, 0), (3, 1), (3, 2), (20, 5)]:
        changed = codes.copy()
        changed[t, cell] = (changed[t, cell] + 1) % CONFIG.num_codes
        moved = (prior.of_block(changed) != whole).any(axis=2)
        first = moved.reshape(-1).argmax()
        assert first > t * CONFIG.cells + cell
        assert not moved[t + 3 :].any()


def test_powers_of_two_are_right_to_the_last_bit():
    powers = negative_powers()
    exact = 2.0 ** (20 - np.arange(len(powers)) / 32)
    assert abs(powers - exact).max() <= 0.5 + 1e-6
    assert (powers[0], powers[32], powers[64], powers[-1]) == (2**20, 2**19, 2**18, 0)


def test_a_prior_has_a_fingerprint_that_changes_with_a_single_weight():
    prior = random_prior()
    before = Frequencies(prior).fingerprint
    assert len(before) == 8
    assert Frequencies(prior.rounded()).fingerprint == before
    with torch.no_grad():
        prior.levels[1].out[3, 4] += 1
    assert Frequencies(prior).fingerprint != before


def test_a_sum_that_float64_cannot_hold_is_refused(monkeypatch):
    monkeypatch.setattr("causalcnn.codec.frequencies.EXACT_BELOW", 1000)
    with pytest.raises(ValueError, match=r"sums of 'hidden' could reach .* float64 is not exact"):
        Frequencies(random_prior())


def test_the_twin_in_floating_point_writes_no_file():
    twin = IntegerCodePrior(IntegerCodePriorConfig(2, 4, 11, 16, rounded=False))
    with pytest.raises(ValueError, match="computes in floating point"):
        Frequencies(twin)
