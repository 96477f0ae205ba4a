"""Three probes that look for the future in a network, and its measured receptive field.

Each probe takes any callable that maps ``(batch, channels, time[, frequency])`` to the same kind of
tensor, time on axis 2. Each can miss something, see the chapter *Causality*: an impulse sees what these
weights do to this input, a gradient sees what a derivative sees, a prefix may be computed by another kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from causalcnn.causality.copies import linearized_copy

__all__ = ["gradient_probe", "impulse_probe", "measure_field", "prefix_probe"]

Network = Callable[[Tensor], Tensor]


def _over_time(y: Tensor) -> Tensor:
    """The largest absolute value in each frame: ``(time,)``."""
    return y.detach().abs().transpose(0, 2).flatten(1).amax(1) if y.numel() else y.new_zeros(y.shape[2])


def impulse_probe(network: Network, x: Tensor, frame: int, *, size: float = 1.0) -> Tensor:
    """How much each output frame changes when one input frame does.

    Args:
        network: the network to probe.
        x: an input, ``(batch, channels, time[, frequency])``.
        frame: the input frame to disturb.
        size: what is added to it.

    Returns:
        ``(time',)``: the largest change in each output frame. Anything but 0 before ``frame`` is a leak.

    Raises:
        ValueError: the input has no such frame.
    """
    _check_frame(frame, x.shape[2], "input")
    disturbed = x.detach().clone()
    disturbed[:, :, frame] += size
    with torch.no_grad():
        return _over_time(network(disturbed) - network(x.detach()))


def gradient_probe(network: Network, x: Tensor, frame: int) -> Tensor:
    """How much one output frame depends on each input frame, by the derivative.

    Args:
        network: the network to probe.
        x: an input, ``(batch, channels, time[, frequency])``.
        frame: the output frame to differentiate.

    Returns:
        ``(time,)``: the largest absolute gradient in each input frame. Anything but 0 after ``frame`` is a leak.

    Raises:
        ValueError: the output has no such frame.
    """
    source = x.detach().clone().requires_grad_()
    y = network(source)
    _check_frame(frame, y.shape[2], "output")
    (gradient,) = torch.autograd.grad(y[:, :, frame].sum(), source, allow_unused=True)
    return _over_time(torch.zeros_like(source) if gradient is None else gradient)


def prefix_probe(network: Network, x: Tensor, frames: int) -> Tensor:
    """How much the first outputs change when the rest of the input has not arrived yet.

    Args:
        network: the network to probe.
        x: an input, ``(batch, channels, time[, frequency])``.
        frames: length of the prefix to compare with.

    Returns:
        ``(time',)`` for the outputs of the prefix: the largest difference in each frame. Anything but 0 is a leak.

    Raises:
        ValueError: the input has no prefix of so many frames.
    """
    if not 0 < frames <= x.shape[2]:
        raise ValueError(f"frames is {frames}; a prefix of this input has 1 to {x.shape[2]} frames")
    with torch.no_grad():
        full, prefix = network(x), network(x[:, :, :frames])
    return _over_time(full[:, :, : prefix.shape[2]] - prefix)


def _check_frame(frame: int, frames: int, what: str) -> None:
    if not 0 <= frame < frames:
        raise ValueError(f"frame is {frame}; the {what} has the frames 0 to {frames - 1}")


def measure_field(module: nn.Module, x: Tensor, *, seed: int = 0) -> Mapping[tuple[int, ...], frozenset]:
    """What each output of a network reads, measured: the support of the gradient under positive weights.

    Args:
        module: any module over time (axis 2), and frequency (axis 3) where ``x`` has one.
        x: an example; only its shape counts. Its batch is not used.
        seed: of the weights and of the input that take the place of the given ones.

    Returns:
        For every output index ``(time,)`` or ``(time, frequency)``: the set of input frames, or of cells,
        within ``x``. The field that a layer declares must equal it.
    """
    copy = linearized_copy(module, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    source = torch.rand((1, *x.shape[1:]), generator=generator, dtype=torch.float64).add_(0.5).requires_grad_()
    y = copy(source).sum(1)[0]
    found: dict[tuple[int, ...], frozenset] = {}
    for output in torch.cartesian_prod(*(torch.arange(n) for n in y.shape)).reshape(-1, y.dim()).tolist():
        (gradient,) = torch.autograd.grad(y[tuple(output)], source, retain_graph=True, allow_unused=True)
        touched = [] if gradient is None else gradient[0].abs().sum(0).nonzero().tolist()
        found[tuple(output)] = frozenset(cell[0] if len(cell) == 1 else tuple(cell) for cell in touched)
    return found
