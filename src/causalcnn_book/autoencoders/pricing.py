"""What numbers and codes cost: rounding, prices by frequency, and the classical yardstick beside which they stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["PrincipalComponents", "SymbolPrices", "UniformQuantizer", "lower_hull", "reverse_water_filling"]

SENT = ("fixed", "unigram", "differences", "prior")
"""The names of rates at which frames are sent one by one, by tables or by a network that has read what came before."""


@dataclass(frozen=True, eq=False)
class UniformQuantizer:
    """Rounds each number of a frame to a multiple of its step, within the range that was met in training.

    Attributes:
        step: the steps, ``(n,)``.
        low: the smallest symbols, int64, ``(n,)``.
        high: the largest symbols, int64, ``(n,)``.

    Example:
        >>> import torch
        >>> from causalcnn_book.autoencoders import UniformQuantizer
        >>> quantizer = UniformQuantizer.fitted(torch.tensor([[-1.0], [2.0]]), torch.tensor([0.5]))
        >>> quantizer.decode(quantizer.encode(torch.tensor([[0.6], [9.0]]))).tolist()
        [[0.5], [2.0]]
    """

    step: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def fitted(cls, numbers: Tensor, step: Tensor) -> UniformQuantizer:
        """Make a quantiser for the range of some numbers.

        Args:
            numbers: those of training, ``(frames, n)``.
            step: the steps, each above 0, ``(n,)``.

        Returns:
            The quantiser.

        Raises:
            ValueError: a step is not above 0.
        """
        if not (step > 0).all():
            raise ValueError(f"the smallest step is {float(step.min())}; it must be more than 0")
        symbols = (numbers / step).round().long()
        return cls(step, symbols.amin(0), symbols.amax(0))

    def encode(self, numbers: Tensor) -> Tensor:
        """Round numbers.

        Args:
            numbers: ``(frames, n)``.

        Returns:
            The symbols, int64, ``(frames, n)``.
        """
        return (numbers / self.step).round().long().clamp(self.low, self.high)

    def decode(self, symbols: Tensor) -> Tensor:
        """Compute the numbers that symbols stand for.

        Args:
            symbols: ``(frames, n)``.

        Returns:
            The numbers, ``(frames, n)``.
        """
        return symbols * self.step


class SymbolPrices:
    """The price of each symbol by how often it occurred in training; each place of a frame has its own histogram.

    What a coder with these tables would send for other speech is the sum of the prices: a cross-entropy, which is more
    than the entropy of that speech itself. Every symbol of the range counts half an occurrence from the beginning, so
    that none is impossible.

    Args:
        symbols: those of training, int64, ``(frames, n)``.
        low: the smallest symbol of each place, int64, ``(n,)``.
        high: the largest symbol of each place, int64, ``(n,)``.

    Attributes:
        low: as given, ``(n,)``.
        bits: the prices in bits, ``(n, symbols)``; symbol ``s`` of place ``i`` stands at ``bits[i, s − low[i]]``.

    Raises:
        ValueError: a symbol is out of the range.

    Example:
        >>> import torch
        >>> from causalcnn_book.autoencoders import SymbolPrices
        >>> prices = SymbolPrices(torch.tensor([[0], [0], [0], [1]]), torch.tensor([0]), torch.tensor([1]))
        >>> round(float(prices.of(torch.tensor([[1]]))), 3)  # 1.5 of 5 occurrences
        1.737
    """

    low: Tensor
    bits: Tensor

    def __init__(self, symbols: Tensor, low: Tensor, high: Tensor) -> None:
        places, size = symbols.shape[1], int((high - low).max()) + 1
        self.low = low
        counts = torch.zeros(places, size, dtype=torch.float64)
        shifted = self._shifted(symbols, high)
        counts.scatter_add_(1, shifted.T, torch.ones_like(shifted.T, dtype=torch.float64))
        real = torch.arange(size) <= (high - low)[:, None]
        counts = torch.where(real, counts + 0.5, 0)
        self.bits = -(counts / counts.sum(1, keepdim=True)).log2()
        self._high = high

    def of(self, symbols: Tensor) -> Tensor:
        """Price the symbols of frames.

        Args:
            symbols: int64, ``(frames, n)``.

        Returns:
            The bits of each frame, float64, ``(frames,)``.

        Raises:
            ValueError: a symbol is out of the range.
        """
        return self.bits.gather(1, self._shifted(symbols, self._high).T).sum(0)

    def _shifted(self, symbols: Tensor, high: Tensor) -> Tensor:
        if ((symbols < self.low) | (symbols > high)).any():
            raise ValueError("a symbol is out of the range that the prices are for")
        return symbols - self.low


class PrincipalComponents:
    """The principal components of single frames, all of them: what an autoencoder without a network would find.

    Args:
        frames: those of training in dB, ``(frames, bands)``.

    Attributes:
        mean: the mean frame, ``(bands,)``.
        basis: the directions, orthonormal, the largest variance first, ``(bands, bands)``.
        variances: the variances along them, falling, float64, ``(bands,)``.

    Source:
        Goyal, Theoretical foundations of transform coding, 2001, doi 10.1109/79.952802.

    Example:
        >>> import torch
        >>> from causalcnn_book.autoencoders import PrincipalComponents
        >>> x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
        >>> components = PrincipalComponents(x)
        >>> torch.allclose(components.frames(components.numbers(x)), x, atol=1e-5)
        True
    """

    mean: Tensor
    basis: Tensor
    variances: Tensor

    def __init__(self, frames: Tensor) -> None:
        mean = frames.double().mean(0)
        centered = frames.double() - mean
        values, basis = torch.linalg.eigh(centered.T @ centered / len(frames))
        self.variances = values.flip(0).clamp(min=0)
        self.mean, self.basis = mean.float(), basis.flip(1).float()

    def numbers(self, frames: Tensor) -> Tensor:
        """Compute the components of frames.

        Args:
            frames: in dB, ``(frames, bands)``.

        Returns:
            Their components in dB, ``(frames, bands)``.
        """
        return (frames - self.mean) @ self.basis

    def frames(self, numbers: Tensor) -> Tensor:
        """Compute the frames of components.

        Args:
            numbers: components in dB, ``(frames, bands)``.

        Returns:
            The frames in dB, ``(frames, bands)``.
        """
        return numbers @ self.basis.T + self.mean


def reverse_water_filling(variances: Tensor, distortion: float) -> float:
    """Compute the rate–distortion function of independent Gaussians: no code needs less for Gaussians, none can.

    Each component gets the same squared error, the water level, unless its variance is below it: then it is left out.

    Args:
        variances: of the components, ``(n,)``.
        distortion: the mean squared error over the components, above 0, in the unit of the variances.

    Returns:
        Bits for one draw of all components; 0 where the mean variance is not more than the distortion.

    Raises:
        ValueError: ``distortion`` is not above 0.

    Source:
        Cover and Thomas, Elements of Information Theory, 2nd edition 2006, theorem 10.3.3,
        doi 10.1002/047174882X.

    Example:
        >>> import torch
        >>> from causalcnn_book.autoencoders import reverse_water_filling
        >>> reverse_water_filling(torch.tensor([16.0, 1.0]), 1.0)  # half a bit for each factor of 2
        2.0
    """
    if not distortion > 0:
        raise ValueError(f"distortion is {distortion}; it must be more than 0")
    falling = variances.double().sort(descending=True).values
    target = distortion * len(falling)
    if float(falling.sum()) <= target:
        return 0.0
    filled = len(falling)  # so many components stand above the water
    while (level := (target - float(falling[filled:].sum())) / filled) > float(falling[filled - 1]):
        filled -= 1
    return float(0.5 * (falling[:filled] / level).log2().sum())


def lower_hull(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Find the points that no mixture of others beats: the lower convex hull of rate and squared error.

    Whoever switches between two codes now and then gets the mean of their rates and of their squared errors, so the
    hull is what all of the points together can do.

    Args:
        points: name → rate, and root of the mean squared error.

    Returns:
        The names of the points on the hull, the lowest rate first.

    Example:
        >>> from causalcnn_book.autoencoders import lower_hull
        >>> lower_hull({"a": (0, 4), "b": (1, 3.9), "c": (2, 1), "d": (3, 2)})
        ['a', 'c']
    """
    best: list[tuple[float, float, str]] = []
    for rate, square, name in sorted((rate, error**2, name) for name, (rate, error) in points.items()):
        if best and square >= best[-1][1]:
            continue
        while len(best) > 1 and _slope(best[-2], best[-1]) >= _slope(best[-1], (rate, square, name)):
            best.pop()
        best.append((rate, square, name))
    return [name for _, _, name in best]


def _slope(left: tuple[float, float, str], right: tuple[float, float, str]) -> float:
    return (right[1] - left[1]) / (right[0] - left[0])
