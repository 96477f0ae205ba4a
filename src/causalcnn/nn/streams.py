"""The fast streams of the convolutions. Their reference is ``step``; ``check_contract`` compares the two."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from causalcnn.nn.base import Stream, renew_weight

__all__ = ["ConvStream", "RingStream"]


class RingStream(Stream[Any]):
    """One frame of a 1D convolution of stride 1 is one copy and one matrix product.

    Frames that meet in a window lie ``dilation`` apart, so each of the ``dilation`` phases has a ring of its own
    with ``kernel_size`` slots, written twice, ``kernel_size`` slots apart: the last window is then contiguous
    wherever the ring stands, and nothing is gathered or moved. Views into the rings are made once.
    """

    takes_frames = True

    def _load(self, state: Tensor) -> None:
        layer = self.module
        renew_weight(layer)
        self._taps, self._spread = layer.kernel_size[0], layer.dilation[0]
        batch, channels, history = state.shape
        self._shape = (batch, channels)
        weight = layer.weight.detach()
        self._matrix = weight.permute(2, 1, 0).reshape(-1, weight.shape[0]).clone()
        self._bias = weight.new_zeros(weight.shape[0]) if layer.bias is None else layer.bias.detach().clone()
        self._rings = state.new_zeros(self._spread, batch, 2 * self._taps, channels)
        if history:  # frame i of the history: phase i mod dilation, slot i div dilation
            slots = state.detach().reshape(batch, channels, self._taps - 1, self._spread).permute(3, 0, 2, 1)
            self._rings[:, :, : self._taps - 1] = slots
            self._rings[:, :, self._taps : -1] = slots
        self._frame_number = history
        self._views: dict[int, tuple[Tensor, Tensor]] = {}
        self._places = self._taps * self._spread

    def _save(self) -> Tensor:
        times = torch.arange(self._frame_number - (self._taps - 1) * self._spread, self._frame_number)
        slots = torch.div(times, self._spread, rounding_mode="floor") % self._taps
        return self._rings[times % self._spread, :, slots].permute(1, 2, 0)

    def _view(self, place: int) -> tuple[Tensor, Tensor]:
        """Where the next frame is written (twice), and the window that it completes."""
        slot, phase = divmod(place, self._spread)
        ring = self._rings[phase]
        window = ring[:, slot + 1 : slot + 1 + self._taps]
        flat = window.as_strided((window.shape[0], self._taps * window.shape[2]), (ring.stride(0), 1))
        self._views[place] = (ring[:, slot :: self._taps][:, :2].transpose(0, 1), flat)
        return self._views[place]

    def _frame(self, x: Tensor) -> Tensor:
        if x.shape != self._shape:  # else copy_ would broadcast a single channel over all
            raise ValueError(f"a frame has shape {tuple(x.shape)}; this stream takes (batch, channels) {self._shape}")
        place = self._frame_number % self._places
        target, window = self._views.get(place) or self._view(place)
        target.copy_(x)
        self._frame_number += 1
        return torch.addmm(self._bias, window, self._matrix)

    def _advance(self, x: Tensor) -> Tensor:
        if x.shape[2] <= 4:
            self.module._check(x)
            frames = [self._frame(x[:, :, t]) for t in range(x.shape[2])]
            return torch.stack(frames, dim=2) if frames else self.module._nothing(x)
        y, state = self.module.step(x, self._save())
        self._load(state)
        return y

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which go on by themselves: views into the old rings stay behind."""
        return self.__dict__ | {"_views": {}}


class ConvStream(Stream[Any]):
    """The stream of any convolution: one buffer, written in place, its window always contiguous.

    Frames are appended; when the buffer is full, the last window moves to its front, so that a frame is
    copied once in ``ROOM`` frames and memory never grows.
    """

    ROOM = 256

    def _load(self, state: Tensor) -> None:
        renew_weight(self.module)
        self._end = state.shape[2]
        self._start = 0
        self._buffer = state.new_empty(*state.shape[:2], self.module._window - 1 + self.ROOM, *state.shape[3:])
        self._buffer[:, :, : self._end] = state.detach()

    def _save(self) -> Tensor:
        return self._buffer[:, :, self._start : self._end]

    def _advance(self, x: Tensor) -> Tensor:
        layer = self.module
        layer._check(x)
        if (x.shape[0], *x.shape[3:]) != (self._buffer.shape[0], *self._buffer.shape[3:]):  # else it would broadcast
            raise ValueError(
                f"input has shape {tuple(x.shape)}; this stream began with a batch of {self._buffer.shape[0]}"
                + (f" and {self._buffer.shape[3]} frequencies" if x.dim() == 4 else "")
            )
        if x.shape[2] > self.ROOM:  # a long piece is no stream: take the whole-sequence path once
            y, state = layer.step(x, self._save())
            self._load(state)
            return y
        if self._end + x.shape[2] > self._buffer.shape[2]:
            live = self._save().clone()  # source and target may overlap
            self._start, self._end = 0, live.shape[2]
            self._buffer[:, :, : self._end] = live
        self._buffer[:, :, self._end : self._end + x.shape[2]] = x
        self._end += x.shape[2]
        y = layer._outputs(self._save())
        self._start += y.shape[2] * layer.stride[0]
        return y
