"""Which bits of the codes can be flipped unheard? Codes of the shipped VQ-VAE-2, some of them replaced.

    causalcnn experiment flipped-codes --out book/measurements/flipped-codes.json

At a given rate, codes of one level are replaced: by the codeword nearest to theirs, by any other, by one whose index
differs in one bit. An index is only a name, so as the codebook was learned all its bits are alike. Sorted along the
principal axis of the codewords, names that differ in a low bit are neighbors on that axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from causalcnn.models import CausalVQVAE2, Codes, load_model
from causalcnn.nn import VectorQuantizer
from causalcnn.speech import SampleCorpus
from causalcnn_book.autoencoders.distortions import FLOOR_DB, error_db
from causalcnn_book.autoencoders.equal_error import clips, log_mel, quartiles, sound_of, stoi, unheard
from causalcnn_book.autoencoders.masking import masked_error_db
from causalcnn_book.experiment import Experiment, Results, option

__all__ = ["FlippedCodes", "flip_bit", "principal_order", "replace_codes"]

Level = Literal["top", "bottom"]
LEVELS: tuple[Level, Level] = ("top", "bottom")


def principal_order(quantizer: VectorQuantizer) -> tuple[Tensor, float]:
    """Sort a codebook along the axis on which the codewords, as often as each is used, differ most.

    Args:
        quantizer: the quantizer.

    Returns:
        The indices of the codewords in this order, int64 ``(num_codes,)``; and the share of their variance that lies on
        the axis, from 0 to 1.
    """
    weight = (quantizer.count / quantizer.count.sum()).double()
    words = quantizer.codebook.double()
    centered = words - weight @ words
    variance, axes = torch.linalg.eigh((centered * weight[:, None]).T @ centered)
    axis = axes[:, -1] * axes[:, -1][axes[:, -1].abs().argmax()].sign()  # either sign would do; this one is always so
    return (centered @ axis).argsort(), float(variance[-1] / variance.sum())


def flip_bit(codes: Tensor, bit: int, order: Tensor, hit: Tensor) -> Tensor:
    """Flip one bit of the names of some codes.

    Args:
        codes: indices in a codebook of a power of two of codewords, int64, of any shape.
        bit: which one, 0 for the lowest.
        order: the index of each codeword by its name, ``(num_codes,)``: ``torch.arange(num_codes)`` for names that are
            the indices, :func:`principal_order` for others.
        hit: True where the bit is flipped, of the shape of ``codes``.

    Returns:
        The other codes, of the shape of ``codes``.

    Raises:
        ValueError: the codebook has no power of two of codewords, or its names have no such bit.
    """
    size = len(order)
    if size & (size - 1) or not 0 <= bit < size.bit_length() - 1:
        raise ValueError(f"bit {bit} of {size} codewords; there must be 2, 4, 8, … of them, and the bit in their names")
    names = torch.empty_like(order)
    names[order] = torch.arange(size)
    return torch.where(hit, order[names[codes] ^ 2**bit], codes)


def replace_codes(
    codes: Tensor, by: Literal["nearest", "random"], quantizer: VectorQuantizer, hit: Tensor, generator: torch.Generator
) -> Tensor:
    """Replace some codes by others.

    Args:
        codes: indices in the codebook, int64, of any shape.
        by: ``"nearest"``, the codeword that is nearest to the own one, or ``"random"``, any other.
        quantizer: whose codes they are.
        hit: True where a code is replaced, of the shape of ``codes``.
        generator: draws the random ones.

    Returns:
        The other codes, of the shape of ``codes``.
    """
    if by == "nearest":
        distance = torch.cdist(quantizer.codebook.double(), quantizer.codebook.double())
        other = distance.fill_diagonal_(float("inf")).argmin(1)[codes]
    else:
        shift = torch.randint(1, quantizer.num_codes, codes.shape, generator=generator)
        other = (codes + shift) % quantizer.num_codes
    return torch.where(hit, other, codes)


@dataclass
class FlippedCodes(Experiment):
    """Which bits of the codes of the shipped VQ-VAE-2 can be flipped unheard?

    Rows are what is replaced: nothing; codes of a level, by the nearest other codeword or a random one, at two rates;
    codes of one cell of the frame; one bit of the codes of a level, named as they were learned or sorted along the
    principal axis. It takes about three minutes, most of them for Griffin–Lim.

    Attributes:
        name: the command's name.
        spread: that over the clips of all sets.
        rows: what is replaced.
        model: the VQ-VAE-2.
        rate: the share of codes that are replaced.
        rarely: a smaller one.
        clips: how many of each set are used, of 2 to 4 s.

    Example:
        >>> from causalcnn_book.autoencoders.flipped_codes import FlippedCodes
        >>> FlippedCodes.rows[:3]
        ('nothing', 'top', 'bottom')
    """

    name = "flipped-codes"
    spread = "median and quartiles over the clips of all sets"
    rows = ("nothing", "top", "bottom", "top cells", "bottom cells", "top bits", "bottom bits")

    model: str = option("book/checkpoints/vqvae2-tiny", "the path of the trained VQ-VAE-2")
    rate: float = option(0.1, "the share of codes that are replaced")
    rarely: float = option(0.01, "a smaller share, where whole levels are hit")
    clips: int = option(3, "of each set")

    @cached_property
    def codec(self) -> tuple[CausalVQVAE2, float]:
        """The trained VQ-VAE-2, and the level of its training speech, in dB."""
        model, card = load_model(Path(self.model))
        return model, float(card["corpus"]["level_db"])

    @cached_property
    def sets(self) -> dict[str, SampleCorpus]:
        """The sounds by set, at the level of the training speech."""
        return unheard(30.0, self.codec[1])

    @cached_property
    @torch.no_grad()
    def _coded(self) -> list[tuple[Tensor, Codes]]:
        """Every clip with its codes."""
        found = []
        for corpus in self.sets.values():
            for samples in clips(corpus)[: self.clips]:
                frames = torch.from_numpy(log_mel(samples).T.copy()).float()
                found.append((samples, self.codec[0].encode(frames[None, None])))
        return found

    def _quantizer(self, level: str) -> VectorQuantizer:
        model = self.codec[0]
        return model.quantize_top if level == "top" else model.quantize_bottom

    @override
    def measure(self, row: str, seed: int) -> dict[str, Any]:
        """Replace codes in all ways of one row.

        Args:
            row: one of :attr:`rows`.
            seed: draws which codes are hit.

        Returns:
            Way → measure → a number for each clip: ``error_db`` and ``masked_db`` against the spectrogram of the codes
            that were sent, and ``stoi`` of the sound against the recording.
        """
        level, _, what = row.partition(" ")
        if row == "nothing":
            return {"nothing": self._measured(lambda codes, _: codes)}
        if not what:
            return {
                f"{by}, {rate}": self._measured(self._replacing(level, by, rate), seed)
                for by in ("nearest", "random")
                for rate in (self.rarely, self.rate)
            }
        if what == "cells":
            cells = self.codec[0].config.top_cells if level == "top" else self.codec[0].config.bottom_cells
            return {
                str(cell): self._measured(self._replacing(level, "random", self.rate, cell), seed)
                for cell in range(cells)
            }
        quantizer = self._quantizer(level)
        orders = {"learned": torch.arange(quantizer.num_codes), "sorted": principal_order(quantizer)[0]}
        return {
            f"{name}, {bit}": self._measured(self._flipping(level, bit, order), seed)
            for name, order in orders.items()
            for bit in range((quantizer.num_codes - 1).bit_length())
        }

    def _replacing(self, level: str, by: Any, rate: float, cell: int | None = None) -> Any:
        def other(codes: Tensor, generator: torch.Generator) -> Tensor:
            hit = torch.rand(codes.shape, generator=generator) < rate
            if cell is not None:
                hit &= torch.arange(codes.shape[2]) == cell
            return replace_codes(codes, by, self._quantizer(level), hit, generator)

        return lambda codes, generator: codes._replace(**{level: other(getattr(codes, level), generator)})

    def _flipping(self, level: str, bit: int, order: Tensor) -> Any:
        def other(codes: Tensor, generator: torch.Generator) -> Tensor:
            return flip_bit(codes, bit, order, torch.rand(codes.shape, generator=generator) < self.rate)

        return lambda codes, generator: codes._replace(**{level: other(getattr(codes, level), generator)})

    @torch.no_grad()
    def _measured(self, change: Any, seed: int = 0) -> dict[str, list[float]]:
        """What a change of the codes does to each clip. The same codes are hit in every way of the same level."""
        found: dict[str, list[float]] = {"error_db": [], "masked_db": [], "stoi": []}
        for number, (samples, codes) in enumerate(self._coded):
            generator = torch.Generator().manual_seed(1_000 * seed + number)
            sent, got = (
                np.maximum(self.codec[0].decode(each)[0, 0].T.double().numpy(), FLOOR_DB)
                for each in (codes, change(codes, generator))
            )
            found["error_db"].append(round(error_db(sent, got), 4))
            found["masked_db"].append(round(masked_error_db(sent, got), 4))
            found["stoi"].append(round(stoi(samples, sound_of(got)), 4))
        return found

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """Write medians and quartiles.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            The number of ``clips``, the share of the ``variance_on_axis`` by level, and ``rows``: row → way → measure.
        """
        return {
            "clips": len(self._coded),
            "sets": sorted(self.sets),
            "variance_on_axis": {level: round(principal_order(self._quantizer(level))[1], 4) for level in LEVELS},
            "rows": {
                row: {
                    way: {key: quartiles([x for one in found.values() for x in one[way][key]]) for key in found[0][way]}
                    for way in found[0]
                }
                for row, found in results.items()
            },
        }
