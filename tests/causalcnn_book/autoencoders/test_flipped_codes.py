"""Codes with a bit flipped, or replaced: which, by what, and how many."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from causalcnn.models import CausalVQVAE2, VQVAE2Config
from causalcnn.nn import VectorQuantizer
from causalcnn.speech import SampleCorpus
from causalcnn_book.autoencoders import flip_bit, principal_order, replace_codes
from causalcnn_book.autoencoders.flipped_codes import FlippedCodes


def quantizer(codes=16, dim=3):
    torch.manual_seed(0)
    made = VectorQuantizer(codes, dim).eval()
    made.count.copy_(torch.rand(codes) + 0.1)
    made.sum.copy_(torch.randn(codes, dim) * made.count[:, None] * torch.tensor([1.0, 5.0, 0.3])[:dim])
    return made


def test_the_principal_axis_is_the_one_along_which_used_codewords_differ_most():
    made = quantizer()
    order, share = principal_order(made)
    assert sorted(order.tolist()) == list(range(16))
    along = made.codebook[order, 1]
    assert abs(np.corrcoef(along, np.arange(16))[0, 1]) > 0.9, "it is nearly the second coordinate"
    assert 0.85 < share < 1
    drawn = made.codebook[torch.multinomial(made.count, 200_000, replacement=True)].double()
    variance = torch.linalg.eigvalsh(torch.cov(drawn.T))
    assert share == pytest.approx(float(variance[-1] / variance.sum()), abs=0.01)


@given(st.integers(0, 3), st.booleans(), st.integers(0, 99))
def test_a_bit_that_is_flipped_twice_is_as_it_was(bit, sort, seed):
    made = quantizer()
    order = principal_order(made)[0] if sort else torch.arange(16)
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(16, (2, 5, 4), generator=generator)
    hit = torch.rand(codes.shape, generator=generator) < 0.5
    flipped = flip_bit(codes, bit, order, hit)
    assert torch.equal(flip_bit(flipped, bit, order, hit), codes)
    assert torch.equal(flipped != codes, hit)
    names = {int(code): name for name, code in enumerate(order)}
    assert all(names[int(a)] ^ names[int(b)] == 2**bit for a, b in zip(codes[hit], flipped[hit], strict=True))


def test_along_the_axis_low_bits_are_small_steps():
    made = quantizer(256, 1)
    codes, everything = torch.arange(256), torch.ones(256, dtype=torch.bool)
    steps = [
        float((made.decode(flip_bit(codes, bit, principal_order(made)[0], everything)[None]) - made.decode(codes[None]))
              .abs().mean())
        for bit in range(8)
    ]  # fmt: skip
    assert steps == sorted(steps)
    assert steps[7] > 20 * steps[0]


@pytest.mark.parametrize(("size", "bit"), [(12, 0), (16, 4), (16, -1)])
def test_names_without_such_a_bit_are_refused(size, bit):
    codes = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match=f"bit {bit} of {size} codewords"):
        flip_bit(codes, bit, torch.arange(size), codes > 0)


def test_the_nearest_other_codeword_is_nearer_than_any_other():
    made, codes = quantizer(), torch.arange(16)
    everything, generator = torch.ones(16, dtype=torch.bool), torch.Generator().manual_seed(0)
    other = replace_codes(codes, "nearest", made, everything, generator)
    distance = torch.cdist(made.codebook, made.codebook)
    assert (other != codes).all()
    assert torch.equal(distance[codes, other], distance.fill_diagonal_(9e9).amin(1))
    drawn = torch.stack([replace_codes(codes, "random", made, everything, generator) for _ in range(300)])
    assert (drawn != codes).all()
    assert [len(set(column.tolist())) for column in drawn.T] == [15] * 16
    assert torch.equal(replace_codes(codes, "random", made, ~everything, generator), codes)


def test_the_table_says_what_each_replacement_does(monkeypatch, tmp_path):
    pytest.importorskip("pystoi")
    pytest.importorskip("librosa")
    t = np.arange(32_000) / 16_000
    sound = sum(np.sin(2 * np.pi * k * (150 * t + 20 * t**2)) / k for k in range(1, 9)) * (np.sin(9 * t) > -0.5)
    monkeypatch.setattr(FlippedCodes, "sets", {"one": SampleCorpus([(8_000 * sound).astype(np.int16)], ["a"])})
    model = CausalVQVAE2(VQVAE2Config(channels=8, residual_blocks=1, code_dim=4, num_codes=4)).eval()
    monkeypatch.setattr(FlippedCodes, "codec", (model, 0.0))
    rows = ["nothing", "bottom", "top cells", "bottom bits"]
    table = FlippedCodes().run(tmp_path / "flipped.json", rows=rows)
    assert table["clips"] == 1
    assert [len(table["rows"][row]) for row in rows] == [1, 4, 10, 4]
    assert table["rows"]["nothing"]["nothing"]["error_db"]["median"] == 0
    found = {way: each["error_db"]["median"] for way, each in table["rows"]["bottom"].items()}
    assert 0 < found["random, 0.01"] < found["random, 0.1"]
    assert found["nearest, 0.1"] < found["random, 0.1"]
    for row in rows[2:]:
        assert all(each["error_db"]["median"] > 0 for each in table["rows"][row].values())
    assert all(0 < share <= 1 for share in table["variance_on_axis"].values())
