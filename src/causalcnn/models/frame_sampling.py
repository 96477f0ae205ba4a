"""A frame of the frame generator, value by value: a plain loop in torch, and the same loop compiled by numba.

On a CPU the compiled loop is much faster, because torch takes a dozen calls for each of the 80 values, and each call
costs more than its arithmetic. Both compute the same. The parts of the gates that do not depend on the values being
drawn are computed for the whole frame at once; for each value there remains one product of the state with the
recurrent weights.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalcnn.models.autoregressive import HEAD_SCALE
from causalcnn.models.distributions import Categorical, Gaussian, GaussianMixture, LogisticMixture
from causalcnn.models.sampling import Sampler, check_can_draw
from causalcnn.nn.base import without_gradients

__all__ = ["CompiledFrameSampler", "FrameSampler"]


class FrameSampler(Sampler):
    """Draws frames of a :class:`FrameGenerator`: a stream of its encoder, and a plain loop over the values in torch.

    What a frame costs does not depend on how many came before. The sampler holds the model's weights as they are when
    it is made. On a CPU with numba, :meth:`AutoregressiveModel.sampler` gives a subclass whose loop is compiled.

    Args:
        model: a :class:`FrameGenerator` in eval mode. Its weights must not change while it generates.
        rows: how many spectrograms are drawn side by side.

    Raises:
        RuntimeError: the model is in training mode, or a part of it has a forward hook.
        ValueError: a weight is not finite.

    Example:
        >>> import torch
        >>> from causalcnn.models import FrameGenerator, FrameGeneratorConfig, FrameSampler, Sampler
        >>> model = FrameGenerator(FrameGeneratorConfig(mels=8, channels=4, hidden=4)).eval()
        >>> fast, reference = FrameSampler(model, rows=1), Sampler(model, rows=1)
        >>> uniform = reference.uniform(torch.Generator().manual_seed(0))
        >>> torch.equal(fast.draw(uniform), reference.draw(uniform))
        True
    """

    @without_gradients
    def __init__(self, model: Any, rows: int) -> None:
        check_can_draw(model, model.modules())
        super().__init__(model, rows)
        c = model.config
        self._last, encoder_state = self.state
        self._stream = model.encoder.stream(encoder_state)
        del self.state  # the stream has its own, which moves on
        w_read, w_state, b_read, b_state = (weight.detach() for weight in model.rnn.all_weights[0])
        # What the RNN reads: the value below, the context, the embedding of the band, in this order.
        self._w_below, self._w_context = w_read[:, 0].contiguous(), w_read[:, 1 : 1 + c.context_bands]
        self._w_band = model.band_embedding.detach() @ w_read[:, 1 + c.context_bands :].T + b_read
        self._w_state, self._b_state = w_state.T.contiguous(), b_state
        head, bias = HEAD_SCALE * model.head.weight.detach(), HEAD_SCALE * model.head.bias.detach()
        self._head_state = head[:, : c.hidden].T.contiguous()
        self._head_below = head[:, c.hidden].contiguous()
        self._head_context = head[:, c.hidden + 1 :][:, : c.context_bands]
        self._head_band = model.band_embedding.detach() @ head[:, c.hidden + 1 + c.context_bands :].T + bias

    def _read(self, x: Tensor) -> None:
        known = torch.cat([self._last, x], 2)  # the last frame passes through the encoder when the next is drawn
        if x.shape[2]:
            self._encode(known[:, :, :-1])
        self._last = known[:, :, -1:]

    def _encode(self, x: Tensor) -> Tensor:
        return self._stream(self.model._to_encoder(x))

    def _draw(self, uniform: Tensor, temperature: float) -> Tensor:
        state = self.model.rnn_state(self._encode(self._last))[:, 0]
        gates, outputs = self._w_band.expand(self.rows, -1, -1), self._head_band.expand(self.rows, -1, -1)
        if self.model.config.context_bands:
            context = self.model.context(self._last)
            gates, outputs = gates + context @ self._w_context.T, outputs + context @ self._head_context.T
        bins = self._sample(state, gates, outputs, uniform, temperature)
        self._last = self.model.to_input(bins[:, None])
        return bins

    def _sample(self, state: Tensor, gates: Tensor, outputs: Tensor, uniform: Tensor, temperature: float) -> Tensor:
        """Draw the values of a frame.

        Args:
            state: the initial state of the GRU, ``(rows, hidden)``.
            gates: what is known of the GRU's gates before the first value is drawn, ``(rows, mels, 3 · hidden)``.
            outputs: what is known of the parameters then, ``(rows, mels, distribution.size)``.
            uniform: the random numbers, ``(rows, mels, distribution.num_uniforms)``.
            temperature: above 0; see :meth:`Sampler.draw`.

        Returns:
            The bins, int64, ``(rows, mels)``.
        """
        distribution, hidden = self.model.distribution, self.model.config.hidden
        below = state.new_zeros(self.rows, 1)
        drawn = []
        for f in range(self.model.config.mels):
            read = gates[:, f] + below * self._w_below
            recurrent = torch.addmm(self._b_state, state, self._w_state)
            reset, update = torch.sigmoid(read[:, : 2 * hidden] + recurrent[:, : 2 * hidden]).chunk(2, 1)
            new = torch.tanh(read[:, 2 * hidden :] + reset * recurrent[:, 2 * hidden :])
            state = new + update * (state - new)
            parameters = outputs[:, f] + below * self._head_below + state @ self._head_state
            value = distribution.sample(parameters, uniform[:, f].to(parameters.device), temperature)
            drawn.append(value)
            below = distribution.to_input(value)[:, None].to(state)
        return torch.stack(drawn, 1)


class CompiledFrameSampler(FrameSampler):
    """A :class:`FrameSampler` whose loop over the values is compiled by numba, for a CPU; it draws row after row.

    numba need not be installed; librosa brings it.
    """

    @without_gradients
    def __init__(self, model: Any, rows: int) -> None:
        super().__init__(model, rows)
        kind, distribution = _kind(model.distribution), model.distribution
        assert kind is not None
        if isinstance(distribution, Gaussian):  # as a mixture of one: its weight, its mean, its spread
            _, _, spread = distribution.components(torch.zeros(1))
            kind = kind._replace(spread=float(spread.detach()))
        self._kind = kind
        self._inputs = distribution.to_input(torch.arange(256)).to(self._last)

    @staticmethod
    def fits(model: Any) -> bool:
        """Whether there is numba, the model's weights lie on a CPU, and the loop knows its output distribution."""
        weight = model.band_embedding
        numbers = weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64)
        return numbers and _compiled() is not None and _kind(model.distribution) is not None

    def _sample(self, state: Tensor, gates: Tensor, outputs: Tensor, uniform: Tensor, temperature: float) -> Tensor:
        loop, kind, distribution = _compiled(), self._kind, self.model.distribution
        assert loop is not None
        if isinstance(distribution, Gaussian):
            numbers = distribution.icdf(uniform)
        elif isinstance(distribution, GaussianMixture | LogisticMixture):
            numbers = torch.stack([uniform[..., 0], distribution.icdf(uniform[..., 1])], -1)
        else:
            numbers = uniform
        bins = torch.empty(self.rows, self.model.config.mels, dtype=torch.int64)
        for row in range(self.rows):
            loop(
                bins[row].numpy(), state[row].numpy().copy(), gates[row].contiguous().numpy(),
                outputs[row].contiguous().numpy(), self._w_below.numpy(), self._w_state.numpy(), self._b_state.numpy(),
                self._head_below.numpy(), self._head_state.numpy(), self._inputs.numpy(),
                numbers[row].contiguous().numpy(), kind.number, kind.components, kind.spread, float(temperature),
            )  # fmt: skip
        return bins


class _Kind(NamedTuple):
    """The distribution that the compiled loop draws from; ``components`` counts the bins of a categorical one."""

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
    """The loop over the values of a frame as machine code, or None where numba is missing.

    It takes seconds to compile, once; numba keeps the result on disk. The loop overwrites its ``state``. Its
    ``numbers`` are what the distribution needs for each value: a uniform number to choose a component or a bin, and a
    value of the standard component.
    """
    try:
        import numba
    except ImportError:
        return None

    from causalcnn.models.distributions.mixtures import MIN_SCALE

    @numba.njit(fastmath=False, cache=True)
    def bin_of(value: float) -> int:
        return min(max(int(np.floor((value + 1) * 128)), 0), 255)

    @numba.njit(fastmath=False, cache=True)
    def index_of(weights: NDArray, highest: float, uniform: float, temperature: float) -> int:
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
    def sampled(
        outputs: NDArray, numbers: NDArray, kind: int, components: int, spread: float, temperature: float
    ) -> int:  # fmt: skip
        if kind == GAUSSIAN:
            return bin_of(outputs[0] + spread * np.sqrt(temperature) * numbers[0])
        which = index_of(outputs[:components], outputs[:components].max(), numbers[0], temperature)
        if kind == CATEGORICAL:
            width = 256 // components
            return which * width + (min(int(numbers[1] * width), width - 1) if width > 1 else 0)
        raw = outputs[2 * components + which]
        scale = (raw if raw > 20 else np.log1p(np.exp(raw))) + MIN_SCALE
        wider = temperature if kind == LOGISTIC_MIXTURE else np.sqrt(temperature)
        return bin_of(outputs[components + which] + scale * wider * numbers[1])

    @numba.njit(fastmath={"contract", "reassoc"}, cache=True)
    def frame(
        bins: NDArray, state: NDArray, gates: NDArray, outputs: NDArray, below_gates: NDArray, w_state: NDArray,
        b_state: NDArray, below_outputs: NDArray, head_state: NDArray, inputs: NDArray, numbers: NDArray,
        kind: int, components: int, spread: float, temperature: float,
    ) -> None:  # fmt: skip
        hidden, size = state.shape[0], outputs.shape[1]
        recurrent, parameters = np.empty_like(b_state), np.empty_like(below_outputs)
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
                parameters[i] = outputs[f, i] + below * below_outputs[i]
            for j in range(hidden):
                for i in range(size):
                    parameters[i] += state[j] * head_state[j, i]
            bins[f] = sampled(parameters, numbers[f], kind, components, spread, temperature)
            below = inputs[bins[f]]

    return frame
