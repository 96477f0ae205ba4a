"""A frame of the frame generator, value by value: a plain loop in torch, and the same loop compiled by numba.

The compiled loop is the fast one on a CPU: torch takes a dozen calls for each of the 80 values, and each call costs
more than its arithmetic. Both compute the same: the parts of the gates that do not depend on the values being drawn
are made for the whole frame at once, and the rest is one product of the state with the recurrent weights for each.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalcnn.models.autoregressive import HEAD_SCALE, Sampler
from causalcnn.models.distributions import Categorical, Gaussian, GaussianMixture, LogisticMixture

if TYPE_CHECKING:
    from causalcnn.models.frame_generator import FrameGenerator

__all__ = ["CompiledFrameSampler", "FrameSampler"]


class FrameSampler(Sampler["FrameGenerator"]):
    """The encoder as a stream, one frame at a time; then the RNN from its initial state, a plain loop over values.

    It holds the weights as they are when it is made.
    """

    def __init__(self, model: FrameGenerator, rows: int) -> None:
        super().__init__(model, rows)
        c = model.config
        known, self._last = self.state
        self._stream = model.encoder.stream(known)
        del self.state  # the stream has its own, which moves on
        w_read, w_state, b_read, b_state = (weight.detach() for weight in model.rnn.all_weights[0])
        # What is read: the value below, the glimpse, the place, in this order.
        self._below, self._w_glimpse = w_read[:, 0].contiguous(), w_read[:, 1 : 1 + c.context_bands]
        self._placed = model.band_embedding.detach() @ w_read[:, 1 + c.context_bands :].T + b_read
        self._w_state, self._b_state = w_state.T.contiguous(), b_state
        head, bias = HEAD_SCALE * model.head.weight.detach(), HEAD_SCALE * model.head.bias.detach()
        self._head_state = head[:, : c.hidden].T.contiguous()
        self._head_below, self._head_glimpse = (
            head[:, c.hidden].contiguous(),
            head[:, c.hidden + 1 :][:, : c.context_bands],
        )
        self._head_placed = model.band_embedding.detach() @ head[:, c.hidden + 1 + c.context_bands :].T + bias

    def _read(self, x: Tensor) -> None:
        known = torch.cat([self._last, x], 2)  # the last frame passes through the encoder when the next is drawn
        if x.shape[2]:
            self._encode(known[:, :, :-1])
        self._last = known[:, :, -1:]

    def _encode(self, x: Tensor) -> Tensor:
        return self._stream(self.model._to_encoder(x))

    def _draw(self, uniform: Tensor, temperature: float) -> Tensor:
        state = self.model._initial(self._encode(self._last))[:, 0]
        gates, said = self._placed.expand(self.rows, -1, -1), self._head_placed.expand(self.rows, -1, -1)
        if self.model.config.context_bands:
            glimpses = self.model._glimpses(self._last)
            gates, said = gates + glimpses @ self._w_glimpse.T, said + glimpses @ self._head_glimpse.T
        levels = self._write(state, gates, said, uniform, temperature)
        self._last = self.model.to_input(levels[:, None])
        return levels

    def _write(self, state: Tensor, gates: Tensor, said: Tensor, uniform: Tensor, temperature: float) -> Tensor:
        """The values of a frame.

        Args:
            state: of the RNN, ``(rows, hidden)``.
            gates, said: ``(rows, mels, 3·hidden)`` and ``(rows, mels, distribution.size)``: what is known of the gates
                and of the parameters before the first value is drawn.
        """
        distribution, hidden = self.model.distribution, self.model.config.hidden
        below = state.new_zeros(self.rows, 1)
        drawn = []
        for f in range(self.model.config.mels):
            read = gates[:, f] + below * self._below
            recurrent = torch.addmm(self._b_state, state, self._w_state)
            reset, update = torch.sigmoid(read[:, : 2 * hidden] + recurrent[:, : 2 * hidden]).chunk(2, 1)
            new = torch.tanh(read[:, 2 * hidden :] + reset * recurrent[:, 2 * hidden :])
            state = new + update * (state - new)
            parameters = said[:, f] + below * self._head_below + state @ self._head_state
            level = distribution.sample(parameters, uniform[:, f].to(parameters.device), temperature)
            drawn.append(level)
            below = distribution.to_input(level)[:, None].to(state)
        return torch.stack(drawn, 1)


class CompiledFrameSampler(FrameSampler):
    """The same, its loop over values compiled by numba (which librosa brings); on a CPU, a row at a time."""

    def __init__(self, model: FrameGenerator, rows: int) -> None:
        super().__init__(model, rows)
        kind, distribution = _kind(model.distribution), model.distribution
        assert kind is not None
        if isinstance(distribution, Gaussian):  # as a mixture of one: its weight, its mean, its spread
            kind = kind._replace(
                spread=float(distribution.components(model.band_embedding.detach().new_zeros(1))[2].detach())
            )
        self._kind = kind
        self._seen = distribution.to_input(torch.arange(256)).to(self._last)

    @staticmethod
    def fits(model: FrameGenerator) -> bool:
        """Whether this machine, this model and its output distribution can be served."""
        numbers = model.band_embedding.device.type == "cpu" and model.band_embedding.dtype in (
            torch.float32,
            torch.float64,
        )
        return numbers and _compiled() is not None and _kind(model.distribution) is not None

    def _write(self, state: Tensor, gates: Tensor, said: Tensor, uniform: Tensor, temperature: float) -> Tensor:
        loop, kind, distribution = _compiled(), self._kind, self.model.distribution
        assert loop is not None
        if isinstance(distribution, Gaussian):
            numbers = distribution.icdf(uniform)
        elif isinstance(distribution, GaussianMixture | LogisticMixture):
            numbers = torch.stack([uniform[..., 0], distribution.icdf(uniform[..., 1])], -1)
        else:
            numbers = uniform
        levels = torch.empty(self.rows, self.model.config.mels, dtype=torch.int64)
        for row in range(self.rows):
            loop(
                levels[row].numpy(), state[row].numpy().copy(), gates[row].contiguous().numpy(),
                said[row].contiguous().numpy(), self._below.numpy(), self._w_state.numpy(), self._b_state.numpy(),
                self._head_below.numpy(), self._head_state.numpy(), self._seen.numpy(),
                numbers[row].contiguous().numpy(), kind.number, kind.components, kind.spread, float(temperature),
            )  # fmt: skip
        return levels


class _Kind(NamedTuple):
    """Which distribution the compiled loop is to draw from; ``components`` counts the bins of a categorical one."""

    number: int
    components: int
    spread: float = 0.0


CATEGORICAL, LOGISTIC_MIXTURE, GAUSSIAN_MIXTURE, GAUSSIAN = range(4)


def _kind(distribution: Any) -> _Kind | None:
    if isinstance(distribution, Gaussian):
        return _Kind(GAUSSIAN, 1)
    if isinstance(distribution, GaussianMixture):
        return _Kind(GAUSSIAN_MIXTURE, distribution.num_components)
    if isinstance(distribution, LogisticMixture):
        return _Kind(LOGISTIC_MIXTURE, distribution.num_components)
    return _Kind(CATEGORICAL, distribution.size) if isinstance(distribution, Categorical) else None


@functools.cache
def _compiled() -> Callable[..., None] | None:
    """The loop over the values of a frame as machine code; None where numba is missing. Compiling takes seconds, once.

    ``state`` is overwritten. ``numbers`` holds what the distribution needs for each value: uniform numbers for a
    choice, values of the standard component for a position within it.
    """
    try:
        import numba
    except ImportError:
        return None

    from causalcnn.models.distributions.mixtures import MIN_SCALE

    @numba.njit(fastmath=False, cache=True)
    def level_of(value: float) -> int:
        return min(max(int(np.floor((value + 1) * 128)), 0), 255)

    @numba.njit(fastmath=False, cache=True)
    def picked(weights: NDArray, highest: float, uniform: float, temperature: float) -> int:
        total = 0.0
        for i in range(weights.shape[0]):
            total += np.exp((weights[i] - highest) / temperature)
        reached, choice = 0.0, 0
        for i in range(weights.shape[0] - 1):
            reached += np.exp((weights[i] - highest) / temperature) / total
            if reached <= uniform:
                choice = i + 1
        return choice

    @numba.njit(fastmath=False, cache=True)
    def drawn(
        said: NDArray, numbers: NDArray, kind: int, components: int, spread: float, temperature: float
    ) -> int:  # fmt: skip
        if kind == GAUSSIAN:
            return level_of(said[0] + spread * np.sqrt(temperature) * numbers[0])
        which = picked(said[:components], said[:components].max(), numbers[0], temperature)
        if kind == CATEGORICAL:
            width = 256 // components
            return which * width + (min(int(numbers[1] * width), width - 1) if width > 1 else 0)
        raw = said[2 * components + which]
        scale = (raw if raw > 20 else np.log1p(np.exp(raw))) + MIN_SCALE
        wider = temperature if kind == LOGISTIC_MIXTURE else np.sqrt(temperature)
        return level_of(said[components + which] + scale * wider * numbers[1])

    @numba.njit(fastmath={"contract", "reassoc"}, cache=True)
    def frame(
        levels: NDArray, state: NDArray, gates: NDArray, said: NDArray, below_gates: NDArray, w_state: NDArray,
        b_state: NDArray, below_said: NDArray, head_state: NDArray, seen: NDArray, numbers: NDArray,
        kind: int, components: int, spread: float, temperature: float,
    ) -> None:  # fmt: skip
        hidden, size = state.shape[0], said.shape[1]
        recurrent, parameters = np.empty_like(b_state), np.empty_like(below_said)
        below = state.dtype.type(0)
        for f in range(gates.shape[0]):
            recurrent[:] = b_state
            for j in range(0, hidden - 3, 4):  # four rows at once: the sums then stay in registers
                a, b, c, d = state[j], state[j + 1], state[j + 2], state[j + 3]
                wa, wb, wc, wd = w_state[j], w_state[j + 1], w_state[j + 2], w_state[j + 3]
                for i in range(3 * hidden):
                    recurrent[i] += a * wa[i] + b * wb[i] + c * wc[i] + d * wd[i]
            for j in range(hidden - hidden % 4, hidden):
                for i in range(3 * hidden):
                    recurrent[i] += state[j] * w_state[j, i]
            for i in range(hidden):
                k, m = i + hidden, i + 2 * hidden
                reset = 1 / (1 + np.exp(-(gates[f, i] + below * below_gates[i] + recurrent[i])))
                update = 1 / (1 + np.exp(-(gates[f, k] + below * below_gates[k] + recurrent[k])))
                new = np.tanh(gates[f, m] + below * below_gates[m] + reset * recurrent[m])
                state[i] = new + update * (state[i] - new)
            for i in range(size):
                parameters[i] = said[f, i] + below * below_said[i]
            for j in range(hidden):
                for i in range(size):
                    parameters[i] += state[j] * head_state[j, i]
            levels[f] = drawn(parameters, numbers[f], kind, components, spread, temperature)
            below = seen[levels[f]]

    return frame
