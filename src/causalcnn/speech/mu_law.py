"""μ-law: samples in whole numbers, fine where speech is quiet and coarse where it is loud."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from causalcnn._checks import at_least

__all__ = ["mu_law_decode", "mu_law_edges", "mu_law_encode"]

MOST_BITS = 16
"""With so many bits a bin is as fine as a sample of a sound file."""


def mu_law_encode(samples: Tensor, bits: int = 8) -> Tensor:
    """Turn samples into the indices of ``2**bits`` bins.

    A sample ``x`` is first compressed, ``sign(x)·ln(1 + μ·|x|) / ln(1 + μ)`` with ``μ = 2**bits − 1``; the bins divide
    the range −1 … 1 of the compressed value into equal parts. So the bins are narrow around silence: with 8 bits they
    are 0.00017 wide there, and 0.043 at full scale.

    Args:
        samples: in −1 … 1, floating point of any shape.
        bits: the logarithm to base 2 of the number of bins, 1 to 16.

    Returns:
        The indices, 0 … ``2**bits − 1``, int64, in the shape of ``samples``. As μ depends on the bits, an index of
        8 bits cannot be shifted into one of fewer bits.

    Raises:
        ValueError: a sample that is NaN or outside −1 … 1; samples that are no floating-point numbers; bits that
            are not a whole number from 1 to 16.

    Source:
        ITU-T G.711 has the law, for μ = 255, by straight pieces; van den Oord et al., arXiv 1609.03499, §2.2.

    Example:
        >>> import torch
        >>> from causalcnn.speech import mu_law_decode, mu_law_encode
        >>> mu_law_encode(torch.tensor([-1.0, -0.001, 0.0, 0.001, 1.0])).tolist()
        [0, 122, 128, 133, 255]
    """
    mu = _mu(bits)
    if not samples.is_floating_point():
        raise ValueError(f"the samples are {samples.dtype}; μ-law takes floating-point numbers in −1 … 1")
    if samples.numel():
        low, high = (float(value) for value in torch.aminmax(samples.detach()))
        if not (low >= -1 and high <= 1):  # also where one is NaN
            raise ValueError(
                f"the samples reach from {low} to {high}; μ-law takes numbers in −1 … 1, and none that is NaN. "
                "Divide by the loudest sample, or clip with samples.clamp(-1, 1)"
            )
    x = samples.double()
    compressed = x.sign() * torch.log1p(mu * x.abs()) / math.log1p(mu)
    return ((compressed + 1) * 2 ** (bits - 1)).floor().clamp(0, mu).long()


def mu_law_decode(indices: Tensor, bits: int = 8) -> Tensor:
    """Turn indices of bins back into samples: each becomes the centre of its bin, in the compressed range.

    A sample ``x`` comes back as one that is at most ``(1/μ + |x|)·((1 + μ)**(2**-bits) − 1)`` away: with 8 bits 0.00009
    near silence and 0.022 at full scale.

    Args:
        indices: 0 … ``2**bits − 1``, whole numbers of any shape.
        bits: the logarithm to base 2 of the number of bins, 1 to 16.

    Returns:
        The samples, in −1 … 1, float32, the shape of ``indices``.

    Raises:
        ValueError: indices outside the range or no whole numbers; bits that are not a whole number from 1 to 16.

    Source:
        As for :func:`mu_law_encode`.

    Example:
        >>> import torch
        >>> from causalcnn.speech import mu_law_decode, mu_law_encode
        >>> x = torch.tensor([0.5, 0.01])
        >>> mu_law_decode(mu_law_encode(x)) - x
        tensor([0.0090, 0.0002])
    """
    mu = _mu(bits)
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise ValueError(f"the indices are {indices.dtype}; they must be whole numbers, as mu_law_encode gives them")
    if indices.numel():
        low, high = (int(value) for value in torch.aminmax(indices))
        if low < 0 or high > mu:
            raise ValueError(f"the indices reach from {low} to {high}; with {bits} bits they are 0 to {mu}")
    compressed = (indices.double() + 0.5) / 2 ** (bits - 1) - 1
    return (compressed.sign() * torch.expm1(compressed.abs() * math.log1p(mu)) / mu).float()


def mu_law_edges() -> Tensor:
    """Compute between which samples each of the 256 bins of 8 bits lies; the outer ones reach to infinity.

    Returns:
        The edges, float64 ``(257,)``.

    Example:
        >>> from causalcnn.speech import mu_law_edges
        >>> [round(edge, 5) for edge in mu_law_edges()[126:131].tolist()]
        [-0.00035, -0.00017, 0.0, 0.00017, 0.00035]
    """
    compressed = torch.arange(257, dtype=torch.float64) / 128 - 1
    edges = compressed.sign() * torch.expm1(compressed.abs() * math.log(256)) / 255
    edges[0], edges[-1] = -math.inf, math.inf
    return edges


def _mu(bits: int) -> int:
    at_least("bits", bits)
    if bits > MOST_BITS:
        raise ValueError(f"bits is {bits}; μ-law has 1 to {MOST_BITS} of them here")
    return 2**bits - 1
