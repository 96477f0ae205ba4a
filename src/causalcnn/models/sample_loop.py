"""Models that read what they draw, as plans: thousands of samples, or all bands of a frame, in one compiled call."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from causalcnn.engine import Builder, CannotCompile, Plan, Register, Symbol, lower
from causalcnn.engine.fusion import fuse
from causalcnn.engine.lowering import refuse_autocast
from causalcnn.engine.machine import Machine
from causalcnn.models.distributions import (
    NUM_BINS,
    Categorical,
    Gaussian,
    GaussianMixture,
    LogisticMixture,
    OutputDistribution,
)
from causalcnn.models.distributions.mixtures import MIN_SCALE
from causalcnn.nn.base import CausalModule, State

__all__ = ["BandLoop", "SampleLoop", "lower_generation", "noise_for"]

AT_ONCE = 16_000
"""Samples in one call of the loop, so that an interrupt need not wait for all of them."""


def lower_generation(model: Any, rows: int = 1) -> Plan:
    """Make the plan that draws a sample for each frame of noise.

    Args:
        model: a WaveNet.
        rows: the batch size that its symbols show.

    Returns:
        The plan. Its inputs are the noise of :func:`noise_for` and, where the model has one, the condition; its output
        is the bin.

    Raises:
        CannotCompile: a part of the model has no place in a plan.
    """
    like = model.input.weight

    def wiring(noise: Symbol, *rest: Any) -> Symbol:
        *condition, run = rest
        builder = noise.builder
        last, feed_back = builder.feedback(noise, Register(1, integer=True), NUM_BINS)
        # The input convolution reads one sample, so for each bin its output is known; the last row is that of silence
        # before the first sample, when there was no bin.
        with torch.no_grad():
            bins = torch.arange(NUM_BINS, device=like.device)[None]
            known = model.samples_to_input(bins)
            table = model.input(torch.cat([known, torch.zeros_like(known[:, :, :1])], dim=2))[0].T
        looked_up = builder.lookup(last, table)

        def run_known(part: CausalModule, x: Any) -> Any:
            return looked_up if part is model.input else run(part, x)

        parameters = model.predict(last, condition[0] if condition else None, run_known)
        drawn = choice(model.distribution, parameters, noise, builder)
        feed_back(drawn)
        return drawn

    examples = [like.new_empty(rows, 4, 0)]
    if model.config.condition_channels:
        examples.append(like.new_empty(rows, model.config.condition_channels, 0))
    return lower(model, *examples, wiring=wiring)


def noise_for(distribution: OutputDistribution, uniform: Tensor, temperature: float) -> Tensor:
    """Make what a plan draws with.

    Args:
        distribution: the distribution.
        uniform: as :meth:`OutputDistribution.sample` takes them, ``(…, num_uniforms)``.
        temperature: above 0.

    Returns:
        Four numbers for each value, ``(…, 4)`` float64: a number that chooses, one that says where in what is chosen,
        the temperature of the logits, and that of the scales.
    """
    distribution._check_temperature(temperature)
    distribution._check_uniform(uniform)
    noise = uniform.new_full((*uniform.shape[:-1], 4), 1.0, dtype=torch.float64)
    noise[..., :2] = uniform[..., [0, -1]]
    if isinstance(distribution, LogisticMixture | GaussianMixture):
        noise[..., 1] = distribution.icdf(noise[..., 1])
    noise[..., 2] = temperature
    noise[..., 3] = temperature if isinstance(distribution, LogisticMixture) else math.sqrt(temperature)
    return noise


def choice(distribution: OutputDistribution, parameters: Symbol, noise: Symbol, builder: Builder) -> Symbol:
    """The operation that draws."""
    if isinstance(distribution, Categorical):
        settings: dict[str, Any] = {"components": 0, "width": 2**distribution.shift}
    elif isinstance(distribution, LogisticMixture | GaussianMixture):
        if isinstance(distribution, Gaussian):  # a mixture of one component, whose scale is no output of the network
            scale = distribution._components(torch.zeros(1, dtype=torch.float64), 1.0)[2].item()
            raw = math.log(math.expm1(scale - MIN_SCALE))
            parameters = builder.concat([parameters * 0, parameters, parameters * 0 + raw])
        settings = {"components": distribution.num_components, "bins": NUM_BINS, "min_scale": MIN_SCALE}
    else:
        raise CannotCompile(f"no plan draws from {type(distribution).__name__}")
    return builder.emit("choice", [parameters, noise], Register(1, integer=True), settings)


class SampleLoop:
    """A running generation, compiled; it does what a WaveNet and a torch stream do for a sampler.

    Args:
        model: the WaveNet.
        rows: how many sounds are drawn side by side.
    """

    def __init__(self, model: Any, rows: int) -> None:
        self._model = model
        self._machine = Machine(lower_generation(model, rows), rows)
        (self._fed_back,) = (op.settings["register"] for op in self._machine.plan.ops if op.kind == "feedback")

    def load(self, state: State, last: Tensor) -> None:
        """Go on from the model's state and the bins that were read or drawn last, ``(rows,)``; 256 for none."""
        for path, ring in self._machine.plan.rings():
            part: Any = state
            for name in path:
                part = part[name]
            self._machine.load_ring(ring, part)
        self._machine.register(self._fed_back)[:, 0, 0] = last.numpy()

    def save(self, state: State) -> State:
        """The state of the model: ``state``, in which all parts that the loop runs have moved on."""
        return self._moved(state, ())

    def _moved(self, state: State, path: tuple[str, ...]) -> State:
        rings = dict(self._machine.plan.rings())
        if path in rings:
            return self._machine.ring(rings[path])
        if isinstance(state, dict):
            return {name: self._moved(part, (*path, name)) for name, part in state.items()}
        return state

    def draw(self, uniform: Tensor, condition: Tensor, temperature: float) -> Tensor:
        """Draw samples: ``uniform`` ``(rows, samples, num_uniforms)``, ``condition`` ``(rows, channels, samples)``."""
        refuse_autocast()
        noise = noise_for(self._model.distribution, uniform, temperature).transpose(1, 2)
        pieces = zip(noise.split(AT_ONCE, dim=2), condition.split(AT_ONCE, dim=2), strict=True)
        conditioned = self._machine.plan.inputs == 2
        drawn = [self._machine(*((own, beside) if conditioned else (own,)))[0] for own, beside in pieces]
        return torch.cat(drawn, dim=2)[:, 0]


class BandLoop:
    """The bands of a frame, drawn from low to high in one call.

    Args:
        distribution: that of a value.
        table: what the network reads of each bin, ``(num_bins, input_channels)``.
        rows: how many frames are drawn side by side.
        parameters: gets the symbol of the value below, as the network reads it, and that of what stands beside the
            band, and returns the symbol of the parameters of the band's distribution.
        channels: how many numbers stand beside a band.
    """

    def __init__(
        self,
        distribution: OutputDistribution,
        table: Tensor,
        rows: int,
        parameters: Callable[[Symbol, Symbol], Symbol],
        channels: int,
    ) -> None:
        self._distribution = distribution
        builder = Builder(rows, table.dtype)
        noise, beside = builder.input(Register(4)), builder.input(Register(channels))
        last, feed_back = builder.feedback(noise, Register(1, integer=True), len(table))
        # Below the lowest band there is nothing: that is the last row.
        below = builder.lookup(last, torch.cat([table, torch.zeros_like(table[:1])]))
        drawn = choice(self._distribution, parameters(below, beside), noise, builder)
        feed_back(drawn)
        self._machine = Machine(fuse(builder.plan([drawn], {})), rows)

    def draw(self, beside: Tensor, uniform: Tensor, temperature: float) -> Tensor:
        """Draw a frame.

        Args:
            beside: what stands beside each band, ``(rows, channels, mels)``.
            uniform: the random numbers, ``(rows, mels, num_uniforms)``.
            temperature: above 0.

        Returns:
            The bins, int64, ``(rows, mels)``.
        """
        self._machine.reset()
        noise = noise_for(self._distribution, uniform, temperature).transpose(1, 2)
        return self._machine(noise, beside)[0][:, 0]
