"""μ-law: the compressed range in equal bins, back within the error that the docstring promises."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from causalcnn.speech import mu_law_decode, mu_law_edges, mu_law_encode

BITS = list(range(1, 17))


def compressed(x: float, bits: int) -> float:
    """The law by its definition, in plain Python."""
    mu = 2**bits - 1
    return math.copysign(math.log(1 + mu * abs(x)) / math.log(1 + mu), x)


@given(st.floats(-1, 1), st.sampled_from(BITS))
def test_a_bin_holds_an_equal_part_of_the_compressed_range(x: float, bits: int) -> None:
    place = (compressed(x, bits) + 1) * 2 ** (bits - 1)
    index = int(mu_law_encode(torch.tensor([x], dtype=torch.float64), bits))
    assert 0 <= index < 2**bits
    assert index - 1e-9 <= place <= index + 1 + 1e-9


@given(st.floats(-1, 1), st.sampled_from(BITS))
def test_a_sample_comes_back_within_the_promised_error(x: float, bits: int) -> None:
    back = mu_law_decode(mu_law_encode(torch.tensor([x], dtype=torch.float64), bits), bits)
    mu = 2**bits - 1
    bound = (1 / mu + abs(x)) * ((1 + mu) ** (2.0**-bits) - 1)
    assert abs(float(back) - x) <= bound + 2**-24  # the sample that comes back is float32


@pytest.mark.parametrize("bits", BITS)
def test_every_index_comes_back_as_itself_and_the_law_is_odd(bits: int) -> None:
    indices = torch.arange(2**bits)
    samples = mu_law_decode(indices, bits)
    assert torch.equal(mu_law_encode(samples, bits), indices)
    assert (samples.diff() > 0).all()
    assert torch.equal(samples, -samples.flip(0))
    assert samples.dtype == torch.float32


def test_shape_and_ends() -> None:
    x = torch.tensor([[-1.0, 1.0], [0.0, -0.0]])
    assert mu_law_encode(x).tolist() == [[0, 255], [128, 128]]
    assert mu_law_encode(torch.zeros(2, 0)).shape == mu_law_decode(torch.zeros(2, 0, dtype=torch.int32)).shape == (2, 0)


@pytest.mark.parametrize(
    ("samples", "bits", "said"),
    [
        (torch.tensor([0.0, math.nan]), 8, "none that is NaN"),
        (torch.tensor([0.0, 1.0001]), 8, "reach from 0.0 to 1.0001"),
        (torch.tensor([-math.inf]), 8, "reach from -inf to -inf"),
        (torch.tensor([1, 0]), 8, "the samples are torch.int64"),
        (torch.zeros(1), 0, "bits is 0"),
        (torch.zeros(1), 17, "1 to 16"),
        (torch.zeros(1), 2.5, "bits"),
    ],
)
def test_samples_that_cannot_be_encoded_are_refused(samples: torch.Tensor, bits: int, said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        mu_law_encode(samples, bits)


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        (torch.tensor([0, 256]), "reach from 0 to 256; with 8 bits they are 0 to 255"),
        (torch.tensor([-1]), "reach from -1"),
        (torch.tensor([1.0]), "torch.float32"),
        (torch.tensor([True]), "torch.bool"),
    ],
)
def test_indices_that_no_encoder_gives_are_refused(indices: torch.Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        mu_law_decode(indices)


def test_the_edges_are_where_the_encoder_changes_its_mind() -> None:
    edges = mu_law_edges()[1:-1]
    assert mu_law_encode(edges - 1e-9).tolist() == list(range(255))
    assert mu_law_encode(edges + 1e-9).tolist() == list(range(1, 256))
