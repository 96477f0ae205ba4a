"""Tables of counts: what they charge is a probability, learned of training codes only, smoothed as said."""

import itertools
import math

import numpy as np
import pytest
import torch

from causalcnn.models import Codes
from causalcnn_book.priors.count_models import CONTEXTS, STRENGTHS, CountModel


def clip(seed, frames=40, num_codes=4):
    """Codes that like to stay as they are, and a bottom that follows its top."""
    draw = np.random.default_rng(seed)
    top = np.zeros((frames, 1), dtype=np.int64)
    for t in range(1, frames):
        top[t] = top[t - 1] if draw.random() < 0.8 else draw.integers(num_codes)
    bottom = np.where(draw.random((frames, 2)) < 0.9, top, draw.integers(num_codes, size=(frames, 2)))
    return Codes(torch.from_numpy(top)[None], torch.from_numpy(bottom)[None])


CLIPS = [clip(seed) for seed in range(40)]


@pytest.mark.parametrize("row", CONTEXTS)
def test_the_probabilities_of_all_sequences_sum_to_one(row):
    model = CountModel(2, CONTEXTS[row])
    model.fit([Codes(top % 2, bottom % 2) for top, bottom in CLIPS])
    total = 0.0
    for bits in itertools.product(range(2), repeat=9):
        codes = torch.tensor(bits).view(3, 3)
        top, bottom = model.bits(Codes(codes[None, :, :1], codes[None, :, 1:]))
        total += 2 ** -(top.sum() + bottom.sum())
    assert total == pytest.approx(1)


def test_without_contexts_a_code_costs_the_logarithm_of_their_number():
    model = CountModel(512)
    model.fit(CLIPS)
    for bits in model.bits(clip(99)):
        np.testing.assert_allclose(bits, 9)


def test_more_neighbors_tell_more():
    unheard = clip(99, frames=2_000)
    prices = {}
    for row, contexts in CONTEXTS.items():
        model = CountModel(4, contexts)
        model.fit(CLIPS)
        prices[row] = [float(bits.mean()) for bits in model.bits(unheard)]
    assert prices["one neighbor"][0] < prices["unigram"][0] - 0.5
    assert prices["neighbor and top"][1] < prices["one neighbor"][1] - 0.5
    assert prices["neighbor and top"][0] == prices["one neighbor"][0]  # the same contexts
    change = 0.2 * 3 / 4  # how often the top becomes another code
    entropy = -(1 - change) * math.log2(1 - change) - change * math.log2(change / 3)
    assert prices["one neighbor"][0] == pytest.approx(entropy, abs=0.1)


def test_a_price_is_the_smoothed_count():
    model = CountModel(3, {"top": ("previous",), "bottom": ()})
    codes = [Codes(torch.tensor([[[0], [1], [0], [1], [0], [2]]]), torch.zeros(1, 6, 1, dtype=torch.int64))] * 3
    model.fit(codes)
    first, second = model.strengths["top"]
    assert {first, second} <= set(STRENGTHS)
    after_zero = (3 * 2 + second * (3 * 2 + first / 3) / (3 * 6 + first)) / (3 * 3 + second)
    assert model.bits(codes[0])[0][1, 0] == pytest.approx(-math.log2(after_zero))
