"""The coders that are compared: networks with a bottleneck, and principal components. Each makes numbers of frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from typing_extensions import override

from causalcnn.models import CausalVAE, CausalVQVAE2, CodePrior, Codes
from causalcnn.speech import to_1d, to_2d
from causalcnn_book.autoencoders.pricing import PrincipalComponents, SymbolPrices, UniformQuantizer

__all__ = ["CodeCoder", "Coder", "ComponentCoder", "NumberCoder", "Point", "VAECoder"]


Clip = tuple[Tensor, Tensor]
"""The frames of a clip, ``(1, 80, time)``, and which speak, ``(time,)``; only these are fitted to and priced."""


class Point(Protocol):
    """A coder at one setting, fitted to training speech."""

    label: str

    def rates(self, x: Tensor) -> dict[str, Tensor]:
        """Price frames ``(1, 80, time)``: name of the rate → bits of each frame ``(time,)``."""

    def decoded(self, x: Tensor) -> Tensor:
        """What a receiver makes of frames, ``(1, 80, time)``."""


class Coder(Protocol):
    """What makes something to send of frames, and frames of that."""

    def points(self, train: Sequence[Clip]) -> Iterator[Point]:
        """Fit each setting of the coder to clips of training speech."""


def _differences(symbols: Tensor) -> Tensor:
    """Each symbol minus that of the frame before; before the first frame all are 0."""
    return symbols.diff(dim=0, prepend=torch.zeros_like(symbols[:1]))


class _Rounded:
    """Numbers that are rounded: sent as they are, or as differences, from which the receiver adds them up again."""

    def __init__(self, coder: NumberCoder, label: str, train: Sequence[Clip], step: Tensor) -> None:
        self.coder, self.label = coder, label
        numbers, speaks = zip(*train, strict=True)
        self.quantizer = quantizer = UniformQuantizer.fitted(torch.cat(numbers), step)
        symbols = [quantizer.encode(clip) for clip in numbers]
        low, high = quantizer.low.clamp(max=0), quantizer.high.clamp(min=0)  # before a clip stands the symbol 0
        alone, between = (torch.cat(each)[torch.cat(speaks)] for each in (symbols, list(map(_differences, symbols))))
        self.alone = SymbolPrices(alone, quantizer.low, quantizer.high)
        self.between = SymbolPrices(between, low - high, high - low)

    def rates(self, x: Tensor) -> dict[str, Tensor]:
        symbols = self.quantizer.encode(self.coder.numbers(x))
        return {"unigram": self.alone.of(symbols), "differences": self.between.of(_differences(symbols))}

    def decoded(self, x: Tensor) -> Tensor:
        return self.coder.frames(self.quantizer.decode(self.quantizer.encode(self.coder.numbers(x))))


@dataclass
class _Unrounded:
    """Real numbers, which have no rate: what the coder leaves out before anything is rounded."""

    coder: NumberCoder
    label: str = "unrounded"

    def rates(self, x: Tensor) -> dict[str, Tensor]:
        return {}

    def decoded(self, x: Tensor) -> Tensor:
        return self.coder.frames(self.coder.numbers(x))


class NumberCoder:
    """A network whose latent is numbers; each is rounded to a multiple of a share of its standard deviation.

    Args:
        model: an autoencoder in eval mode.
        steps: the shares.
    """

    def __init__(self, model: Any, steps: Sequence[float]) -> None:
        self.model, self.steps = model, steps

    def numbers(self, x: Tensor) -> Tensor:
        """The numbers of frames, ``(1, 80, time)`` → ``(time, n)``."""
        return _flat(self.model.encode(to_2d(x)))

    def frames(self, numbers: Tensor) -> Tensor:
        """The frames of numbers, ``(time, n)`` → ``(1, 80, time)``."""
        return to_1d(self.model.decode(_cells(numbers, self.model.cells)))

    def points(self, train: Sequence[Clip]) -> Iterator[Point]:
        """As :meth:`Coder.points`."""
        clips = [(self.numbers(x), speaks) for x, speaks in train]
        spread = torch.cat([numbers[speaks] for numbers, speaks in clips]).std(0).clamp(min=1e-6)
        yield _Unrounded(self)
        for step in self.steps:
            yield _Rounded(self, f"step {step:g}", clips, step * spread)


class ComponentCoder(NumberCoder):
    """Principal components of single frames; all are rounded to multiples of one step in dB.

    Equal steps are what reverse water-filling asks for: components that vary less than the step fall silent.

    Args:
        components: the components.
        steps: the steps in dB.
    """

    def __init__(self, components: PrincipalComponents, steps: Sequence[float]) -> None:
        self.components, self.steps = components, steps

    @override
    def numbers(self, x: Tensor) -> Tensor:
        return self.components.numbers(x[0].T)

    @override
    def frames(self, numbers: Tensor) -> Tensor:
        return self.components.frames(numbers).T[None]

    @override
    def points(self, train: Sequence[Clip]) -> Iterator[Point]:
        clips = [(self.numbers(x), speaks) for x, speaks in train]
        yield _Unrounded(self)
        for step in self.steps:
            yield _Rounded(self, f"step {step:g} dB", clips, torch.full((clips[0][0].shape[1],), step))


@dataclass
class _Drawn:
    """A draw from the posterior at the price of the divergence: what relative entropy coding comes near to."""

    coder: VAECoder
    label: str = "drawn"

    def rates(self, x: Tensor) -> dict[str, Tensor]:
        return {"kl": self.coder.model.encode(to_2d(x)).kl().double().sum((0, 1, 3)) / torch.log(torch.tensor(2.0))}

    def decoded(self, x: Tensor) -> Tensor:
        posterior = self.coder.model.encode(to_2d(x))
        draw = torch.Generator().manual_seed(self.coder.seed)
        return to_1d(self.coder.model.decode(posterior.sample(torch.randn(posterior.mean.shape, generator=draw))))


class VAECoder(NumberCoder):
    """A VAE: draws from its posterior, and its means, rounded to steps that are as coarse as the posterior is wide.

    The error of rounding to a step Δ has the variance Δ²/12; here this is ``share``² times the mean variance of the
    posterior.

    Args:
        model: a VAE in eval mode.
        steps: the shares.
        seed: of the draws.
    """

    def __init__(self, model: CausalVAE, steps: Sequence[float], seed: int) -> None:
        super().__init__(model, steps)
        self.seed = seed

    @override
    def numbers(self, x: Tensor) -> Tensor:
        return _flat(self.model.encode(to_2d(x)).mean)

    @override
    def points(self, train: Sequence[Clip]) -> Iterator[Point]:
        found = [(self.model.encode(to_2d(x)), speaks) for x, speaks in train]
        clips = [(_flat(posterior.mean), speaks) for posterior, speaks in found]
        variances = [_flat((2 * posterior.log_std).exp())[speaks] for posterior, speaks in found]
        width = torch.cat(variances).mean(0).sqrt()
        yield _Unrounded(self)
        yield _Drawn(self)
        for step in self.steps:
            yield _Rounded(self, f"rounded {step:g}", clips, step * 12**0.5 * width)


class CodeCoder:
    """A network whose latent is codes.

    Args:
        model: a VQ-VAE with one or two levels, in eval mode.
        prior: prices codes of two levels, in eval mode; none: they have no rate ``prior``.
    """

    def __init__(self, model: Any, prior: CodePrior | None = None) -> None:
        self.model, self.prior, self.label = model, prior, "codes"

    def points(self, train: Sequence[Clip]) -> Iterator[Point]:
        """As :meth:`Coder.points`."""
        codes = torch.cat([self.codes(x)[speaks] for x, speaks in train])
        low = torch.zeros(codes.shape[1], dtype=torch.int64)
        self.prices = SymbolPrices(codes, low, low + self.model.config.num_codes - 1)
        yield self

    def codes(self, x: Tensor) -> Tensor:
        """The codes of frames, of two levels the top ones first, ``(1, 80, time)`` → ``(time, n)``."""
        found = self.model.encode(to_2d(x))
        return torch.cat(list(found), 2)[0] if isinstance(found, Codes) else found[0]

    def rates(self, x: Tensor) -> dict[str, Tensor]:
        """As :meth:`Point.rates`."""
        codes = self.codes(x)
        fixed = torch.full((len(codes),), codes.shape[1], dtype=torch.float64)
        rates = {"fixed": fixed * self.prices.bits.new_tensor(self.model.config.num_codes).log2(),
                 "unigram": self.prices.of(codes)}  # fmt: skip
        if self.prior is not None:
            rates["prior"] = self.prior.log_prob(codes[None])[0].double().sum(1) / -math.log(2)
        return rates

    def decoded(self, x: Tensor) -> Tensor:
        """As :meth:`Point.decoded`."""
        codes = self.codes(x)[None]
        if isinstance(self.model, CausalVQVAE2):
            config = self.model.config
            return to_1d(self.model.decode(Codes(*codes.split([config.top_cells, config.bottom_cells], 2))))
        return to_1d(self.model.decode(codes))


def _flat(latent: Tensor) -> Tensor:
    """``(1, dim, time, cells)`` → ``(time, dim · cells)``."""
    return latent[0].transpose(0, 1).flatten(1)


def _cells(numbers: Tensor, cells: int) -> Tensor:
    """``(time, dim · cells)`` → ``(1, dim, time, cells)``."""
    return numbers.unflatten(1, (-1, cells)).transpose(0, 1)[None]
