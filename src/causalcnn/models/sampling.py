"""Drawing from an autoregressive model, frame by frame: the slow reference, and the incremental way."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from causalcnn.models.sample_loop import BandLoop
from causalcnn.nn.base import State, without_gradients
from causalcnn.nn.hooks import has_forward_hooks, renew_weight

__all__ = ["IncrementalSampler", "Sampler"]


def check_can_draw(model: nn.Module, never_called: Iterable[nn.Module] = ()) -> None:
    """Refuse a model that cannot draw, and bring its weights up to date, which a sampler reads directly.

    Args:
        model: the model.
        never_called: what is not called while the model draws, so that its forward hooks would not run.

    Raises:
        RuntimeError: the model is in training mode, or one of ``never_called`` has a forward hook.
        ValueError: a weight is not finite.
    """
    if model.training:
        raise RuntimeError("the model is in training mode; call model.eval() before it generates")
    hooked = next(filter(has_forward_hooks, never_called), None)
    if hooked is not None:
        raise RuntimeError(
            f"a {type(hooked).__name__} has a forward hook, which drawing value by value does not call; remove it, or "
            "draw with the reference, where the model has one: model.sampler(reference=True)"
        )
    with torch.no_grad():
        for part in model.modules():
            renew_weight(part)
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise ValueError(
                f"{name} is not finite: this model can draw nothing; see the last checkpoint of its training"
            )


def can_compile(model: nn.Module) -> bool:
    """Say whether a loop of this model can be compiled: it is on a CPU, and numba is there."""
    weight = next(model.parameters())
    numbers = weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64)
    return numbers and importlib.util.find_spec("numba") is not None


def draw_uniform(*shape: int, generator: torch.Generator) -> Tensor:
    """Random numbers strictly between 0 and 1, float64, from a generator of the CPU."""
    return torch.rand(*shape, generator=generator, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)


def state_after(model: Any, state: State, x: Tensor) -> State:
    """The state after the frames ``x``, by the time stack alone: no value is predicted."""
    if not x.shape[2]:
        return state
    last, time_state = state
    frames = torch.cat([last, x], dim=2)
    _, time_state = model.time_stack(frames[:, :, :-1], time_state)
    return frames[:, :, -1:].clone(), time_state


class Sampler:
    """A running generation, which reads the frames that are known and draws the next ones.

    First :meth:`read`, then :meth:`draw`. This class is the reference. To draw one frame it runs
    :meth:`AutoregressiveModel.step` on the whole frame once for each of its values, and uses the parameters of that
    value only. Faster samplers override ``_read`` and ``_draw``, and draw the same.
    :meth:`AutoregressiveModel.sampler` gives the fastest one for a model.

    Args:
        model: an :class:`AutoregressiveModel` in eval mode. Its weights must not change while it generates.
        rows: how many recordings are drawn side by side.

    Raises:
        RuntimeError: the model is in training mode.
        ValueError: a weight is not finite.

    Example:
        >>> import torch
        >>> from causalcnn.models import PixelCNN, PixelCNNConfig, Sampler
        >>> sampler = Sampler(PixelCNN(PixelCNNConfig(mels=8, channels=4)).eval(), rows=2)
        >>> sampler.read(torch.full((2, 3, 8), 128))
        >>> tuple(sampler.draw(sampler.uniform(torch.Generator().manual_seed(0))).shape)
        (2, 8)
    """

    @without_gradients
    def __init__(self, model: Any, rows: int) -> None:
        check_can_draw(model)
        self.model, self.rows = model, rows
        no_frame = next(model.parameters()).new_zeros(rows, model.input_channels, 0, model.cells)
        self.state: State = model.initial_state(no_frame)

    def uniform(self, generator: torch.Generator) -> Tensor:
        """Make the random numbers that one frame takes.

        Args:
            generator: where they come from; it is left further on. It must be one of the CPU.

        Returns:
            Numbers strictly between 0 and 1, float64, ``(rows, cells, distribution.num_uniforms)``.
        """
        model = self.model
        return draw_uniform(self.rows, model.cells, model.distribution.num_uniforms, generator=generator)

    @without_gradients
    def read(self, bins: Tensor) -> None:
        """Read frames that are known, after those that were read or drawn before.

        Args:
            bins: integers from 0 to ``distribution.num_bins − 1``, ``(rows, time, cells)``; ``time`` may be 0.

        Raises:
            ValueError: bins of another shape or dtype, or outside of their range.
        """
        self._check_bins(bins, (self.rows, None, self.model.cells), "the prompt")
        self._read(self.model.to_input(bins))

    @without_gradients
    def draw(self, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """Draw the next frame; a further call goes on after it.

        The frame is a function of what was read and drawn before, of ``uniform`` and of ``temperature``.

        Args:
            uniform: the random numbers, as :meth:`uniform` makes them, ``(rows, cells, distribution.num_uniforms)``.
            temperature: above 0. At 1 the model draws as it has learned; below 1 it prefers likelier bins.

        Returns:
            The bins, int64 from 0 to ``distribution.num_bins − 1``, ``(rows, cells)``.

        Raises:
            ValueError: a temperature that is not above 0 and finite.
        """
        self.model.distribution._check_temperature(temperature)
        return self._draw(uniform, temperature)

    def _check_bins(self, bins: Tensor, shape: tuple[int | None, ...], what: str) -> None:
        """Refuse bins of another shape (None for any size), or that the model does not have."""
        fits = bins.dim() == len(shape) and all(
            size in (None, own) for size, own in zip(shape, bins.shape, strict=True)
        )
        most, words = self.model.distribution.num_bins - 1, self.model.MAKES_INPUT
        if not fits or bins.is_floating_point():
            wanted = ", ".join("time" if size is None else str(size) for size in shape)
            raise ValueError(
                f"{what} is {bins.dtype} of shape {tuple(bins.shape)}; it must be integers ({wanted}): {words}"
            )
        if bins.numel() and not 0 <= int(bins.min()) <= int(bins.max()) <= most:
            raise ValueError(
                f"{what} has bins from {int(bins.min())} to {int(bins.max())}; they are 0 to {most}: {words}"
            )

    def _read(self, x: Tensor) -> None:
        _, self.state = self.model.step(x, self.state)

    def _draw(self, uniform: Tensor, temperature: float) -> Tensor:
        model = self.model
        bins = torch.zeros(self.rows, 1, model.cells, dtype=torch.int64, device=next(model.parameters()).device)
        for f in range(model.cells):  # whatever stands at f and above is not read yet
            parameters, _ = model.step(model.to_input(bins), self.state)
            value = model.distribution.sample(parameters[:, :, 0, f], uniform[:, f].to(bins.device), temperature)
            bins[:, 0, f] = value
        self._read(model.to_input(bins))
        return bins[:, 0]


class IncrementalSampler(Sampler):
    """Draws a frame with one run of the time stack, and runs the frequency stack value by value.

    What a frame costs does not depend on how many came before. A subclass for a model defines :meth:`begin_frame` and
    :meth:`next_value`; those of :class:`PixelCNN` and :class:`MelNet` come from :meth:`AutoregressiveModel.sampler`.
    On a CPU with numba, their frequency stack is compiled, and a frame's values are drawn in one call.

    Args:
        model: as for :class:`Sampler`.
        rows: how many spectrograms are drawn side by side.
        compiled: False to run the frequency stack by torch in any case.

    Raises:
        RuntimeError: the model is in training mode, or a part of it has a forward hook.
        ValueError: a weight is not finite.

    Example:
        >>> import torch
        >>> from causalcnn.models import IncrementalSampler, PixelCNN, PixelCNNConfig
        >>> model = PixelCNN(PixelCNNConfig(mels=8, channels=4)).eval()
        >>> fast, reference = model.sampler(), model.sampler(reference=True)
        >>> uniform = reference.uniform(torch.Generator().manual_seed(0))
        >>> isinstance(fast, IncrementalSampler), torch.equal(fast.draw(uniform), reference.draw(uniform))
        (True, True)
    """

    @without_gradients
    def __init__(self, model: Any, rows: int, *, compiled: bool = True) -> None:
        check_can_draw(model, model.modules())
        super().__init__(model, rows)
        with torch.no_grad():
            self._loop = self._make_loop() if compiled and can_compile(model) else None

    def _make_loop(self) -> BandLoop | None:
        """The compiled loop over the bands, where a model has one; then it has ``_beside``, too."""
        return None

    def _beside(self, condition: Any) -> Tensor:
        """What the loop reads beside each band of one frame, ``(rows, channels, mels)``."""
        raise NotImplementedError

    def _input_table(self) -> Tensor:
        """What the network reads of each bin, ``(num_bins, 1)``."""
        distribution = self.model.distribution
        values = distribution.to_input(torch.arange(distribution.num_bins))
        return values.to(next(self.model.parameters()))[:, None]

    def begin_frame(self, condition: Any) -> None:
        """Begin a frame.

        Args:
            condition: what :meth:`AutoregressiveModel.time_stack` gives for this one frame.
        """
        raise NotImplementedError

    def next_value(self, f: int, below: Tensor) -> Tensor:
        """Compute the parameters of value ``f`` of the frame. It is called once for each band, from low to high.

        Args:
            f: the band, from 0 to ``mels`` − 1.
            below: the value of the band below, as the network reads it, from −1 to 1, ``(rows, 1)``; 0 for the first.

        Returns:
            The parameters of the output distribution, ``(rows, distribution.size)``.
        """
        raise NotImplementedError

    def _read(self, x: Tensor) -> None:
        self.state = state_after(self.model, self.state, x)

    def _draw(self, uniform: Tensor, temperature: float) -> Tensor:
        model = self.model
        last, time_state = self.state
        condition, time_state = model.time_stack(last, time_state)
        if self._loop is not None:
            bins = self._loop.draw(self._beside(condition), uniform, temperature)
            self.state = model.to_input(bins[:, None]), time_state
            return bins
        self.begin_frame(condition)
        frame = torch.zeros_like(last)
        bins = torch.zeros(self.rows, model.config.mels, dtype=torch.int64, device=last.device)
        uniform = uniform.to(last.device)
        below = frame[:, 0, 0, :1]
        for f in range(model.config.mels):
            bins[:, f] = model.distribution.sample(self.next_value(f, below), uniform[:, f], temperature)
            below = model.distribution.to_input(bins[:, f : f + 1]).to(last)
            frame[:, 0, 0, f] = below[:, 0]
        self.state = frame, time_state
        return bins
