"""A prior of random weights, small enough for hundreds of files, and codes for it."""

from __future__ import annotations

import functools

import numpy as np
import torch
from hypothesis import strategies as st

from causalcnn.codec import CodeReader, Frequencies
from causalcnn.codec.container import BLOCK_FRAMES, HEAD_BYTES, HEADER_BYTES
from causalcnn.codec.frequencies import TOTAL
from causalcnn.models import Codes, IntegerCodePrior, IntegerCodePriorConfig

MODEL = b"a model."
CONFIG = IntegerCodePriorConfig(top_cells=2, bottom_cells=4, num_codes=11, channels=16)


def random_prior(config=CONFIG, seed=0):
    """A prior that is sure of some codes and holds others for nearly impossible, as a trained one is."""
    torch.manual_seed(seed)
    prior = IntegerCodePrior(config)
    with torch.no_grad():
        for level in prior.levels:
            level.out.mul_(30)
            for bias in (level.bias_table, level.bias_hidden, level.bias_out):
                bias.normal_(0, 20)
    return prior


@functools.cache
def small_prior():
    return Frequencies(random_prior())


def codes_of(joined):
    """Codes as a model gives them, of ``(frames, cells)``."""
    whole = torch.from_numpy(np.asarray(joined, dtype=np.int64)).view(1, -1, CONFIG.cells)
    return Codes(whole[:, :, : CONFIG.top_cells], whole[:, :, CONFIG.top_cells :])


def joined_of(codes):
    return torch.cat(codes, dim=2)[0].numpy()


def random_codes(frames, seed=0):
    return codes_of(np.random.default_rng(seed).integers(0, CONFIG.num_codes, (frames, CONFIG.cells)))


recordings = st.builds(
    random_codes, st.one_of(st.integers(0, 20), st.sampled_from([99, 100, 101, 200, 230, 300])), st.integers(0, 999)
)
"""Codes of none, few and several blocks."""


def assert_frames_come_in_time(data, joined, prior, model):
    """Each at most 8 bytes after those that the information of its block up to it fills, behind the block's head.

    Args:
        data: a file.
        joined: its codes, ``(frames, cells)``.
        prior: the prior.
        model: the model's fingerprint.
    """
    live, arrived = CodeReader(prior, model=model), {}
    for n in range(len(data)):
        for frame in live.feed(data[n : n + 1]):
            arrived[frame.number] = n + 1
            assert (frame.codes == joined[frame.number]).all()
    begins = HEADER_BYTES
    for first in range(0, len(joined), BLOCK_FRAMES):
        block = joined[first : first + BLOCK_FRAMES]
        shares = np.take_along_axis(prior.of_block(block), block[:, :, None], axis=2) / TOTAL
        for number, own in enumerate(-np.log2(shares).sum(axis=(1, 2)).cumsum() / 8):
            assert arrived[first + number] <= begins + HEAD_BYTES + own + 8
        begins += HEAD_BYTES + int.from_bytes(data[begins + 5 : begins + 7], "little") + 4
    assert begins == len(data)
