"""Bins whose range depends on what was decoded so far, so that a decoder finds it without being sent it."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from causalcnn.field import Field
from causalcnn.nn.base import CausalModule
from causalcnn.speech.front_end import FRAMES_PER_SECOND
from causalcnn.speech.uniform_bins import UniformBins, check_features, check_indices

__all__ = ["RunningBins"]

GRID = 2**20
"""The state counts the range's offset in units of the range's width divided by this, whatever the bits."""

HIGHEST_DB = 100.0
"""The range rises at most so far above its start: louder than any microphone, and infinities cannot move it further."""


class RunningBins(CausalModule):
    """Bins with a range that follows the speaker's level: up at once, down slowly, by what has been decoded already.

    The bins of a frame are those of a :class:`~causalcnn.speech.UniformBins`, moved up or down. After every frame

    - the range rises by ``rise_db`` if more than ``top_bin_limit`` of the frame's values are in the top bin: they lie
      in it or above it, and a decoder, which has the indices only, cannot tell which; 100 dB above its start it rises
      no further;
    - otherwise it falls by ``fall_db_per_second`` if any value of the frame lies in the upper half of the range;
    - otherwise it stays: a pause, or silence before the first word, moves nothing.

    The rules depend on the indices only, and are computed in whole numbers. So a decoder finds the same range, on any
    machine. A value that jumps ``d`` dB above the range is clipped for ``ceil(d / rise_db)`` frames. Speech so quiet
    that none of it reaches the upper half does not move the range.

    :meth:`step` encodes and decodes; :meth:`encode_step` and :meth:`decode_step` are its two halves, and their states
    are equal after every frame. Rounding has no gradient, so none passes. :func:`~causalcnn.check_contract` proves
    it causal; :func:`~causalcnn.audit` cannot follow decisions that depend on data, and says *unknown*.

    Args:
        bins: the range at the start, its width and the number of bins.
        top_bin_limit: how many values of a frame may be in the top bin before the range rises. Where bins are few they
            are wide, and loud frames have many values in the top one: :meth:`fitted` counts them.
        rise_db: how far the range rises after one frame, in dB.
        fall_db_per_second: how fast it falls, in dB for each second of frames that are not a pause.

    Shape:
        ``(batch, 80, time)`` in dB → the same, rounded to the centres of the bins

    Raises:
        ValueError: a limit that is not a whole number of at least 0; a rise that is not positive, or wider than the
            range; a fall that is negative or not finite.

    Example:
        >>> import torch
        >>> from causalcnn.speech import RunningBins, UniformBins
        >>> running = RunningBins(UniformBins(-70.0, 20.0))
        >>> loud = torch.full((1, 80, 6), 40.0)                    # 20 dB above the range
        >>> [round(value) for value in running(loud)[0, 0].tolist()]
        [20, 26, 32, 38, 40, 40]

    Source:
        The idea, a quantiser that adapts by its own output, is N. S. Jayant's (Adaptive quantization with a
        one-word memory, Bell System Technical Journal 52, 1973). There the step adapts; here, in dB, the place does.
    """

    def __init__(
        self, bins: UniformBins, *, top_bin_limit: int = 0, rise_db: float = 6.0, fall_db_per_second: float = 5.0
    ) -> None:
        super().__init__()
        if not isinstance(top_bin_limit, int) or top_bin_limit < 0:
            raise ValueError(f"top_bin_limit is {top_bin_limit!r}; it is a number of values, 0 or more")
        span_db = bins.high_db - bins.low_db
        if not 0 < rise_db <= span_db:
            raise ValueError(f"rise_db is {rise_db}; it must be more than 0 and at most the range, {span_db:g} dB")
        if not (math.isfinite(fall_db_per_second) and fall_db_per_second >= 0):
            raise ValueError(f"fall_db_per_second is {fall_db_per_second}; it must be 0 or more")
        self.bins, self.top_bin_limit, self.rise_db, self.fall_db_per_second = (
            bins,
            top_bin_limit,
            rise_db,
            fall_db_per_second,
        )
        self._rise = max(1, round(rise_db / span_db * GRID))
        self._fall = round(fall_db_per_second / FRAMES_PER_SECOND / span_db * GRID)
        self._highest = round(HIGHEST_DB / span_db * GRID)
        self._width = GRID >> bins.bits

    @classmethod
    def fitted(cls, corpus: Iterable[Tensor], bits: int = 8) -> RunningBins:
        """Take the range of a training corpus for the start, and a limit that one of its frames in a thousand exceeds.

        Args:
            corpus: a :class:`~causalcnn.speech.FeatureCorpus`, or any features in dB, each ``(80, time)``. They are
                read twice; what is no list, tuple or corpus is kept in memory for that.
            bits: the logarithm to base 2 of the number of bins, 1 to 16.

        Returns:
            Bins with the default rise and fall.

        Raises:
            ValueError: a corpus without values; values that are not finite or not floating point; nothing but digital
                silence; bits that are not a whole number from 1 to 16.
        """
        clips = corpus if isinstance(corpus, list | tuple) or hasattr(corpus, "clips") else list(corpus)
        bins = UniformBins.fitted(clips, bits)
        crowds = torch.cat([(bins.encode(clip) == bins.num_bins - 1).sum(-2).flatten() for clip in clips])
        rank = max(1, math.ceil(0.999 * crowds.numel()))
        return cls(bins, top_bin_limit=int(crowds.kthvalue(rank).values))

    @property
    def field(self) -> Field:
        """All of the past."""
        return Field.all_past()

    def extra_repr(self) -> str:
        """Name the range at the start and how it moves, for ``repr``."""
        return (
            f"{self.bins}, top_bin_limit={self.top_bin_limit}, +{self.rise_db:g} dB, −{self.fall_db_per_second:g} dB/s"
        )

    def initial_state(self, x: Tensor) -> Tensor:
        """Give the state before the first frame, in which the range is where it starts.

        Args:
            x: a piece of features or of indices, perhaps without frames, ``(batch, 80, time)``. Only its batch and
                device are read.

        Returns:
            How far the range has moved, as a number of parts of its width, which is divided into ``2**20`` parts; here
            zeros, int64 ``(batch, 1)``.
        """
        return torch.zeros(len(x), 1, dtype=torch.int64, device=x.device)

    def offset_db(self, state: Tensor) -> Tensor:
        """Say how far the range of the next frame is from its start.

        Args:
            state: as a step gave it, ``(batch, 1)``.

        Returns:
            The distance in dB, positive where the range has risen, ``(batch,)``.
        """
        return state[:, 0] * ((self.bins.high_db - self.bins.low_db) / GRID)

    # ------------------------------------------------------------------ pieces
    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Encode and decode the next frames.

        Args:
            x: values in dB, any number of frames, also none, ``(batch, 80, time)``.
            state: as :meth:`initial_state` or an earlier step gave it, int64 ``(batch, 1)``. It is left as it was.

        Returns:
            The values rounded to the centres of their bins, the shape of ``x``, and the new state, ``(batch, 1)``.

        Raises:
            ValueError: NaN, which is in no bin; features of another shape, or not floating point.
        """
        indices, offsets = self._encode(x, state)
        return self._values(indices, offsets).to(x.dtype), offsets[:, -1:]

    def encode_step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Turn the next frames into the indices of their bins.

        Args:
            x: values in dB, any number of frames, also none, ``(batch, 80, time)``.
            state: as :meth:`initial_state` or an earlier step gave it, int64 ``(batch, 1)``. It is left as it was.

        Returns:
            Indices from 0 to ``bins.num_bins - 1``, int64 in the shape of ``x``, and the new state, ``(batch, 1)``.

        Raises:
            ValueError: NaN, which is in no bin; features of another shape, or not floating point.
        """
        indices, offsets = self._encode(x, state)
        return indices, offsets[:, -1:]

    def decode_step(self, indices: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Turn the indices of the next frames into values.

        Args:
            indices: whole numbers from 0 to ``bins.num_bins - 1``, any number of frames, also none,
                ``(batch, 80, time)``.
            state: as :meth:`initial_state` or an earlier step gave it, int64 ``(batch, 1)``. It is left as it was.

        Returns:
            The centres of the bins in dB, float32 in the shape of ``indices``, and the new state, ``(batch, 1)``, which
            is equal to the encoder's.

        Raises:
            ValueError: indices that are not whole numbers or out of range, or of another shape.
        """
        check_indices(indices, self.bins.num_bins)
        self._check_shape(indices)
        offsets = self._offsets(indices * self._width, state, moving=False)
        return self._values(indices, offsets), offsets[:, -1:]

    def encode(self, x: Tensor) -> Tensor:
        """Turn whole recordings into the indices of their bins.

        Args:
            x: values in dB, ``(batch, 80, time)``.

        Returns:
            Indices from 0 to ``bins.num_bins - 1``, int64 in the shape of ``x``.

        Raises:
            ValueError: NaN, which is in no bin; features of another shape, or not floating point.
        """
        return self.encode_step(x, self.initial_state(x))[0]

    def decode(self, indices: Tensor) -> Tensor:
        """Turn the indices of whole recordings into values; nothing else is needed.

        Args:
            indices: whole numbers from 0 to ``bins.num_bins - 1``, ``(batch, 80, time)``.

        Returns:
            The centres of the bins in dB, float32 in the shape of ``indices``.

        Raises:
            ValueError: indices that are not whole numbers or out of range, or of another shape.
        """
        return self.decode_step(indices, self.initial_state(indices))[0]

    # ------------------------------------------------------------------ how it is done
    def _encode(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Give the indices, and the offset of every frame's range and of the next one's, ``(batch, time + 1)``."""
        check_features(x)
        self._check_shape(x)
        if torch.isnan(x).any():
            raise ValueError(
                f"{int(torch.isnan(x).sum())} of {x.numel()} values are NaN, which is in no bin; mend the recording, "
                "or say what they count as: features.nan_to_num(-100.0)"
            )
        x = x if x.dtype == torch.float64 else x.float()
        # Where a value lies, in parts of the range: the share first, then a power of two, as UniformBins does it.
        share = (x - self.bins.low_db) / (self.bins.high_db - self.bins.low_db)
        furthest = 2 * (1 + self._highest / GRID)  # infinities become whole numbers, too
        place = (share.clamp(-furthest, furthest) * GRID).floor().long()
        offsets = self._offsets(place, state, moving=True)
        indices = (place - offsets[:, None, :-1]).div(self._width, rounding_mode="floor")
        return indices.clamp(0, self.bins.num_bins - 1), offsets

    def _offsets(self, place: Tensor, state: Tensor, *, moving: bool) -> Tensor:
        """Find where the range is at every frame and after the last, from where the values lie.

        Args:
            place: in parts of the range, ``(batch, 80, time)``.
            state: where the range is at the first frame, ``(batch, 1)``.
            moving: whether ``place`` is counted from the lower end at the start, so that the range moves past the
                values; else it is counted from the lower end of the range of their frame.

        Returns:
            The offsets of the range in parts of its width, int64 ``(batch, time + 1)``.
        """
        bands = place.shape[1]
        peak = place.amax(1)
        # More than `top_bin_limit` values lie above a line exactly if the (top_bin_limit + 1)th largest does.
        never = torch.full_like(peak, -(2**62))
        judge = place.kthvalue(bands - self.top_bin_limit, dim=1).values if self.top_bin_limit < bands else never
        rows = []
        for offset, peaks, judges in zip(state[:, 0].tolist(), peak.tolist(), judge.tolist(), strict=True):
            row = [offset]
            for high, crowded in zip(peaks, judges, strict=True):
                lower_end = offset if moving else 0
                if crowded - lower_end >= GRID - self._width:
                    offset = min(offset + self._rise, self._highest)
                elif high - lower_end >= GRID // 2:
                    offset -= self._fall
                row.append(offset)
            rows.append(row)
        return torch.tensor(rows, dtype=torch.int64, device=state.device).reshape(-1, place.shape[2] + 1)

    def _values(self, indices: Tensor, offsets: Tensor) -> Tensor:
        """Give the centres of bins in dB: one multiplication of a whole number, so that every machine says the same."""
        place = indices * self._width + self._width // 2 + offsets[:, None, :-1]
        return place.float() * ((self.bins.high_db - self.bins.low_db) / GRID) + self.bins.low_db

    def _check_shape(self, x: Tensor) -> None:
        if x.dim() != 3 or not x.shape[1]:
            raise ValueError(f"RunningBins takes (batch, 80, time); this has the shape {tuple(x.shape)}")
