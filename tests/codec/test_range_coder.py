"""The decoder reads what constriction writes, as constriction's own does, and no later than it says."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalcnn.codec.block_decoder import words_of
from causalcnn.codec.frequencies import TOTAL
from causalcnn.codec.range_coder import CorruptWords, RangeDecoder, range_encode

constriction = pytest.importorskip("constriction")


def random_tables(symbols, number, sharpness, seed):
    """Tables of frequencies, from even ones to such that are sure of one symbol."""
    draw = np.random.default_rng(seed)
    shares = draw.dirichlet(np.full(number, sharpness), symbols)
    tables = np.floor(shares * (TOTAL - number)).astype(np.int64) + 1
    tables[np.arange(symbols), tables.argmax(1)] += TOTAL - tables.sum(1)
    likely = np.array([draw.choice(number, p=table / TOTAL) for table in tables], dtype=np.int64)
    unlikely = draw.integers(0, number, symbols)
    return np.where(draw.random(symbols) < 0.9, likely, unlikely), tables


@given(st.integers(0, 60), st.integers(2, 512), st.sampled_from([0.01, 0.1, 1.0, 100.0]), st.integers(0, 999))
def test_what_constriction_writes_is_read_back_and_constriction_reads_it_too(symbols, number, sharpness, seed):
    wanted, tables = random_tables(symbols, number, sharpness, seed)
    payload = range_encode(wanted, tables)
    decoder = RangeDecoder()
    decoder.feed(words_of(payload), ended=True)
    assert [decoder.decode(table.cumsum()) for table in tables] == wanted.tolist()
    if symbols:
        theirs = constriction.stream.queue.RangeDecoder(np.frombuffer(payload, ">u4").astype(np.uint32))
        family = constriction.stream.model.Categorical(perfect=False)
        assert theirs.decode(family, (tables - 1).astype(np.float64)).tolist() == wanted.tolist()
    information = -np.log2(tables[np.arange(symbols), wanted] / TOTAL).sum()
    assert 8 * len(payload) <= information * 1.001 + 64


@given(st.integers(1, 60), st.sampled_from([0.01, 0.1, 1.0]), st.integers(0, 999))
def test_a_symbol_waits_for_at_most_8_bytes_beyond_the_information_before_it(symbols, sharpness, seed):
    wanted, tables = random_tables(symbols, 300, sharpness, seed)
    words, decoder, information = words_of(range_encode(wanted, tables)), RangeDecoder(), 0.0
    read = 0
    for symbol, table in zip(wanted, tables, strict=True):
        while not decoder.ready:
            decoder.feed(words[read : read + 1], ended=read >= len(words))
            read += 1
        assert 4 * read <= information / 8 + 8
        assert decoder.decode(table.cumsum()) == symbol
        information -= math.log2(table[symbol] / TOTAL)


def test_words_that_nobody_wrote_are_refused():
    decoder = RangeDecoder()
    decoder.feed([2**32 - 1] * 4)
    with pytest.raises(CorruptWords):
        decoder.decode(np.full(3, TOTAL // 3).cumsum())
