"""An LP-WaveNet that speaks: frames come in, samples go out, 160 for each hop."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from causalcnn.engine import Plan, Register, Symbol, compiled_or_none, lower
from causalcnn.engine.machine import Machine
from causalcnn.models.excitation import KEPT, LAGS, next_sample
from causalcnn.models.sampling import check_can_draw
from causalcnn.models.vocoder import HOP_SAMPLES, MELS
from causalcnn.nn.base import Engine, without_gradients
from causalcnn.nn.compose import Run

__all__ = ["LPWaveNetSampler", "lower_speaking"]


class LPWaveNetSampler:
    """A running vocoder: it reads frames while they arrive, and gives the samples of each hop.

    The samples of hop ``t`` are given when frame ``t + lookahead_frames`` is known. What a hop costs does not depend on
    how many came before.

    Args:
        model: an :class:`LPWaveNet` in eval mode. Its weights must not change while it speaks.
        rows: how many sounds are made side by side.
        engine: what draws the samples, ``"torch"`` or ``"compiled"``; see :meth:`CausalModule.stream`. Both draw the
            same, up to rounding, which after some thousand samples has grown into another sound of the same kind.

    Raises:
        RuntimeError: the model is in training mode.
        ValueError: a weight is not finite, or there is no such engine.

    Example:
        >>> import torch
        >>> from causalcnn.models import LPWaveNet, LPWaveNetConfig
        >>> sampler = LPWaveNet(LPWaveNetConfig.tiny()).eval().sampler()
        >>> frame, generator = torch.full((1, 80, 1), -60.0), torch.Generator().manual_seed(0)
        >>> [sampler.draw(frame, generator).shape[1] for _ in range(3)]
        [0, 160, 160]
    """

    @without_gradients
    def __init__(self, model: Any, rows: int = 1, engine: Engine = "torch") -> None:
        check_can_draw(model, [model, model.network])
        self.model, self.rows = model, rows
        begin = model.initial_state(model.network.input.weight.new_zeros(rows, 1, 0))
        self._left_to_drop = model.config.lookahead_frames
        self._frame_state = begin["frame_network"]
        self._machine = compiled_or_none(engine, lambda: Machine(lower_speaking(model, rows), rows))
        self._stream = model.network.stream(begin["network"])
        self._lines = begin["samples"], begin["excitation"]

    @without_gradients
    def draw(self, frames: Tensor, generator: torch.Generator, *, temperature: float = 1.0) -> Tensor:
        """Draw the samples of the hops whose frames are known now.

        Args:
            frames: the next frames of log-mel in dB, any number of them, also none, ``(rows, 80, frames)``.
            generator: where random numbers come from, one for each sample; it is left further on. It must be one of
                the CPU.
            temperature: what the standard deviations are multiplied by, 0 or more.

        Returns:
            The samples in −1 … 1, ``(rows, samples)``; 160 for each frame, apart from the first ``lookahead_frames``.

        Raises:
            ValueError: frames of another shape, or a temperature that is below 0 or not finite.
        """
        if frames.dim() != 3 or frames.shape[:2] != (self.rows, MELS):
            raise ValueError(f"the frames have shape {tuple(frames.shape)}; they must be ({self.rows}, {MELS}, frames)")
        if not 0 <= temperature < float("inf"):
            raise ValueError(f"temperature is {temperature}; it must be 0 or more, and finite")
        dropped = min(self._left_to_drop, frames.shape[2])
        self._left_to_drop -= dropped
        frames = frames[:, :, dropped:].to(self.model.network.input.weight)
        if not frames.shape[2]:
            return frames.new_zeros(self.rows, 0)
        fit, beside, self._frame_state = self.model.at_frames(frames, self._frame_state)
        known = torch.cat([fit.packed(), beside], dim=1)
        return torch.cat([self._hop(hop, generator, temperature) for hop in known.unbind(dim=2)], dim=1)

    def choose(self, rows: Tensor) -> None:
        """Let every row go on from where one of the rows is.

        Args:
            rows: for each row the number of that which it becomes a copy of, int64 ``(rows,)``.
        """
        self._frame_state = pytree.tree_map(lambda x: x[rows], self._frame_state)
        if self._machine is not None:
            self._machine.choose(rows)
        else:
            chosen, self._lines = pytree.tree_map(lambda x: x[rows], (self._stream.state, self._lines))
            self._stream = self.model.network.stream(chosen)

    def _hop(self, known: Tensor, generator: torch.Generator, temperature: float) -> Tensor:
        """The samples of a hop, ``(rows, 160)``, of which is known ``(rows, channels)``."""
        normal = torch.randn(HOP_SAMPLES, self.rows, generator=generator, dtype=torch.float64)
        noise = (temperature * normal).to(known).movedim(0, 1).unsqueeze(1)
        if self._machine is not None:
            return self._machine(noise, known.unsqueeze(2).expand(-1, -1, HOP_SAMPLES))[0][:, 0]
        heard, errors = self._lines
        for t in range(HOP_SAMPLES):
            sample, error = next_sample(
                heard[:, -self.model.config.order :], errors[:, -KEPT:], known, noise[:, :, t], self._network, _total
            )
            heard, errors = torch.cat([heard, sample], dim=1), torch.cat([errors, error], dim=1)
        self._lines = heard[:, -self.model.config.order :], errors[:, -KEPT:]
        return heard[:, -HOP_SAMPLES:]

    def _network(self, x: Tensor) -> Tensor:
        return self._stream(x.unsqueeze(2)).squeeze(2)


def _total(x: Tensor) -> Tensor:
    return x.sum(dim=1, keepdim=True)


def lower_speaking(model: Any, rows: int = 1) -> Plan:
    """Make the plan that draws a sample for each frame of noise.

    Args:
        model: the vocoder.
        rows: the batch size that its symbols show.

    Returns:
        The plan. Its inputs are standard normal noise, and what is known of the hop; its output is the sample.

    Raises:
        CannotCompile: a part of the model has no place in a plan.
    """

    def wiring(noise: Symbol, known: Symbol, run: Run) -> Symbol:
        builder = noise.builder
        heard, feed_heard = builder.feedback(noise, Register(model.config.order), 0.0)
        errors, feed_errors = builder.feedback(noise, Register(KEPT), 0.0)
        sample, error = next_sample(
            heard,
            errors,
            known,
            noise,
            lambda x: model.network.compose(x, run),
            lambda x: builder.matrix(x, np.ones((x.shape[1], 1))),
        )
        feed_heard(builder.concat([heard[:, 1:], sample]))
        feed_errors(builder.concat([errors[:, 1:], error]))
        return sample

    like = model.network.input.weight
    channels = model.config.order + LAGS + 2 + model.network.gates * model.config.layers
    return lower(model.network, like.new_empty(rows, 1, 0), like.new_empty(rows, channels, 0), wiring=wiring)
