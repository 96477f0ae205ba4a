"""Bins between the quietest and the loudest value of the recording itself: the usual way, which reads the future."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from causalcnn.speech.uniform_bins import check_bits, check_features, check_indices

__all__ = ["MinMaxBins"]


class MinMaxBins(nn.Module):
    """``2**bits`` equal bins between the minimum and the maximum of each recording.

    **It reads the future**: the maximum of a recording is known only when the recording is over, so a loud sound at
    its end changes the bins of its first frame. It is here to be compared with, and for recordings that are already
    whole. :class:`~causalcnn.speech.UniformBins`, whose range is known beforehand, and
    :class:`~causalcnn.speech.RunningBins` are causal.

    A decoder needs the two ends of the range besides the indices. A constant recording, digital silence for example,
    has index 0 throughout and comes back exactly.

    Args:
        bits: the logarithm to base 2 of the number of bins, 1 to 16.

    Shape:
        ``(batch, 80, time)`` in dB, one recording a row → the same, rounded to the centres of the bins

    Raises:
        ValueError: bits that are not a whole number from 1 to 16.

    Example:
        >>> import torch
        >>> from causalcnn.speech import MinMaxBins
        >>> indices, ends = MinMaxBins(bits=8).encode(torch.tensor([[[-100.0, -20.0, 0.0]]]))
        >>> indices.tolist(), ends.tolist()
        ([[[0, 204, 255]]], [[-100.0, 0.0]])
    """

    def __init__(self, bits: int = 8) -> None:
        super().__init__()
        check_bits(bits)
        self.bits = bits

    def extra_repr(self) -> str:
        """Name the bits, for ``repr``."""
        return f"bits={self.bits}"

    def forward(self, x: Tensor) -> Tensor:
        """Encode and decode recordings, without looking at what they hold.

        Args:
            x: finite values in dB, ``(batch, 80, time)``, one recording a row. Unlike :meth:`encode`, this does not
                refuse NaN or infinity, whose rows come back without meaning.

        Returns:
            The values rounded to the centres of the bins, the shape of ``x``.

        Raises:
            IndexError: a recording without frames, which has no range.
        """
        return self._values(*self._indices(x)).to(x.dtype)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Turn the values of recordings into the indices of their bins.

        Args:
            x: values in dB, ``(batch, 80, time)``, one recording a row.

        Returns:
            Indices from 0 to ``2**bits - 1``, int64 in the shape of ``x``, and the two ends of every row's range in dB,
            ``(batch, 2)``.

        Raises:
            ValueError: NaN or infinity, which leave a recording without a range; no frames; features that are not
                floating point.
        """
        check_features(x)
        if x.dim() < 2 or not x[:1].numel():
            raise ValueError(f"the recordings have the shape {tuple(x.shape)}; a range needs at least one frame a row")
        if not torch.isfinite(x).all():
            count = int((~torch.isfinite(x)).sum())
            raise ValueError(
                f"{count} of {x.numel()} values are NaN or infinite, and a range from them would be, too; "
                "mend the recording first: features.nan_to_num(-100.0, posinf=0.0, neginf=-100.0)"
            )
        return self._indices(x)

    def decode(self, indices: Tensor, ends: Tensor) -> Tensor:
        """Turn indices and ends, as :meth:`encode` gives them, into the centres of the bins.

        Args:
            indices: whole numbers from 0 to ``2**bits - 1``, ``(batch, 80, time)``.
            ends: the two ends of every row's range in dB, ``(batch, 2)``.

        Returns:
            Values in dB, the shape of ``indices``.

        Raises:
            ValueError: indices that are not whole numbers or out of range; ends of another shape.
        """
        check_indices(indices, 2**self.bits)
        if ends.shape != (indices.shape[0], 2):
            raise ValueError(f"the ends have the shape {tuple(ends.shape)}; it must be {(indices.shape[0], 2)}")
        return self._values(indices, ends)

    # No checks from here on: forward is for the audit, which follows operations and not decisions.
    def _indices(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x if x.dtype == torch.float64 else x.float()
        flat = x.flatten(1)
        low, high = flat.amin(1), flat.amax(1)
        one = (x.shape[0], *(1,) * (x.dim() - 1))
        width = (high - low).clamp(min=torch.finfo(x.dtype).tiny)
        share = (x - low.reshape(one)) / width.reshape(one)
        return (share * 2**self.bits).long().clamp(max=2**self.bits - 1), torch.stack([low, high], dim=1)

    def _values(self, indices: Tensor, ends: Tensor) -> Tensor:
        one = (indices.shape[0], *(1,) * (indices.dim() - 1))
        low, high = ends[:, 0].reshape(one), ends[:, 1].reshape(one)
        return (indices + 0.5) / 2**self.bits * (high - low) + low
