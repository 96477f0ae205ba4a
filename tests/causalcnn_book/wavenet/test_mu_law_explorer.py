"""The μ-law figure tells the truth: its bins are the library's, its ratios those of the sentence."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

pytest.importorskip("anywidget")
pytest.importorskip("py_mini_racer")

import itertools

from causalcnn.speech import mu_law_decode, mu_law_encode
from causalcnn_book.wavenet import MuLawExplorer
from causalcnn_book.wavenet.mu_law_explorer import BITS, FRAME, in_bins

EVERY = torch.arange(-32_768, 32_768)


def sentence(seed: int = 0) -> torch.Tensor:
    """Noise that is loud, then quiet, then silent."""
    generator = torch.Generator().manual_seed(seed)
    level = torch.tensor([0.3, 0.003, 0.03, 0.0]).repeat_interleave(2 * FRAME)
    return (level * torch.randn(len(level), generator=generator)).clamp(-1, 1)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("law", ["mu", "uniform"])
def test_every_16_bit_sample_is_in_the_bin_of_the_library(engine: Any, bits: int, law: str) -> None:
    x = EVERY.double() / 32_768
    ours = engine("mu_law_explorer")("ns.map(n => encode(n / 32768, bits, law))", ns=EVERY.tolist(), bits=bits, law=law)
    bins = mu_law_encode(x, bits) if law == "mu" else ((x + 1) * 2 ** (bits - 1)).floor().long()
    assert ours == bins.tolist()
    back = engine("mu_law_explorer")("ns.map(n => decode(n, bits, law))", ns=list(range(2**bits)), bits=bits, law=law)
    centres = in_bins(x, bits, law)
    assert torch.tensor(back)[bins] == pytest.approx(centres, abs=1e-7)
    if law == "mu":
        assert back == pytest.approx(mu_law_decode(torch.arange(2**bits), bits).tolist(), abs=1e-7)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("law", ["mu", "uniform"])
def test_edges_part_the_samples_as_the_bins_do(engine: Any, bits: int, law: str) -> None:
    edges = engine("mu_law_explorer")(
        "ns.map(n => edge(n, bits, law))", ns=list(range(2**bits + 1)), bits=bits, law=law
    )
    assert (edges[0], edges[-1]) == pytest.approx((-1, 1))
    for bin_, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = torch.tensor([low + 1e-6 * (high - low), high - 1e-6 * (high - low)], dtype=torch.float64)
        found = mu_law_encode(inside.clamp(-1, 1), bits) if law == "mu" else ((inside + 1) * 2 ** (bits - 1)).long()
        assert found.tolist() == [bin_, bin_]


@pytest.mark.parametrize("law", ["mu", "uniform"])
def test_its_ratios_are_those_of_the_sentence(law: str) -> None:
    x = sentence()
    pieces = [slice(start, start + FRAME) for start in range(0, len(x), FRAME)]
    sounding = sorted((float(x[piece].square().sum()), i) for i, piece in enumerate(pieces) if x[piece].any())
    quiet = [pieces[i] for _, i in sounding[: len(sounding) // 2]]
    for bits in BITS:
        read = MuLawExplorer.of(x, sounds=False, bits=bits, law=law).read()
        error = in_bins(x, bits, law) - x
        for key, chosen in (("snr_db", pieces), ("quiet_snr_db", quiet)):
            signal, noise = (sum(float(y[p].double().square().sum()) for p in chosen) for y in (x, error))
            assert read[key] == pytest.approx(10 * math.log10(signal / noise), abs=0.006)
        assert (read["bins"], read["rate"]) == (2**bits, 16_000 * bits)


def test_mu_law_keeps_what_is_quiet_and_equal_bins_do_not() -> None:
    mu, equal = (MuLawExplorer.of(sentence(), sounds=False, bits=6, law=law).read() for law in ("mu", "uniform"))
    assert mu["quiet_snr_db"] > equal["quiet_snr_db"] + 10


def test_it_can_be_heard_in_every_setting() -> None:
    pytest.importorskip("soundfile")
    figure = MuLawExplorer.of(sentence())
    assert [len(figure.sounds[law]) for law in ("mu", "uniform")] == [len(BITS), len(BITS)]
    assert figure.controls == ["sound", "bits", "law"]


@pytest.mark.parametrize("wrong", [torch.zeros(2, 4000), torch.zeros(4000), torch.ones(10)])
def test_what_is_no_sentence_is_refused(wrong: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="it must be one sentence"):
        MuLawExplorer.of(wrong, sounds=False)


def test_nonsense_gets_a_state_that_can_be_drawn(engine: Any) -> None:
    assert engine("mu_law_explorer")("figure.settled({bits: 99, law: 'so'})") == {"bits": 8, "law": "mu"}
