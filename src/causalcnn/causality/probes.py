"""Three probes that look for the future in a network, and its measured receptive field.

Each probe takes any callable that maps ``(batch, channels, time[, frequency])`` to the same kind of
tensor, time on axis 2. Each can miss something, see the chapter *Causality*:

* an impulse shows what these weights do to this input: not a closed gate, nor a ReLU that does not open;
* a gradient shows what a derivative sees: nothing behind an ``argmin``, one input of a maximum;
* a prefix may be computed by another kernel than the whole, so that rounding looks like a leak.

:func:`causalcnn.audit` combines several views, so that a leak must hide from all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from causalcnn.causality.copies import linearized_copy

__all__ = ["gradient_probe", "impulse_probe", "measure_field", "prefix_probe"]

Network = Callable[[Tensor], Tensor]


def _over_time(y: Tensor) -> Tensor:
    """Return the largest absolute value in each frame, ``(time,)``."""
    return y.detach().abs().transpose(0, 2).flatten(1).amax(1) if y.numel() else y.new_zeros(y.shape[2])


def impulse_probe(network: Network, x: Tensor, frame: int, *, size: float = 1.0) -> Tensor:
    """Measure how much each output frame changes when one input frame does.

    Args:
        network: the network to probe.
        x: an input, ``(batch, channels, time[, frequency])``.
        frame: the input frame to disturb.
        size: what is added to each number of that frame.

    Returns:
        The largest change in each output frame, ``(time',)``. Where the rates are equal, anything but 0 before
        ``frame`` is a leak; zeros prove nothing about other weights or other inputs.

    Raises:
        ValueError: the input has no such frame.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from causalcnn import impulse_probe
        >>> change = impulse_probe(nn.Conv1d(1, 1, 3, padding=1), torch.zeros(1, 1, 6), frame=3)
        >>> (change > 0).int().tolist()  # output 2 knows of input 3
        [0, 0, 1, 1, 1, 0]
    """
    _check_frame(frame, x.shape[2], "input")
    disturbed = x.detach().clone()
    disturbed[:, :, frame] += size
    with torch.no_grad():
        return _over_time(network(disturbed) - network(x.detach()))


def gradient_probe(network: Network, x: Tensor, frame: int) -> Tensor:
    """Measure how much one output frame depends on each input frame, by the derivative.

    Args:
        network: the network to probe.
        x: an input, ``(batch, channels, time[, frequency])``.
        frame: the output frame to differentiate.

    Returns:
        The largest absolute gradient in each input frame, ``(time,)``. Where the rates are equal, anything but 0 after
        ``frame`` is a leak; a zero proves nothing, because an ``argmin`` or a closed gate has no gradient.

    Raises:
        ValueError: the output has no such frame.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from causalcnn import gradient_probe
        >>> gradient = gradient_probe(nn.Conv1d(1, 1, 3, padding=1), torch.zeros(1, 1, 6), frame=3)
        >>> (gradient > 0).int().tolist()  # output 3 reads input 4
        [0, 0, 1, 1, 1, 0]
    """
    source = x.detach().clone().requires_grad_()
    y = network(source)
    _check_frame(frame, y.shape[2], "output")
    (gradient,) = torch.autograd.grad(y[:, :, frame].sum(), source, allow_unused=True)
    return _over_time(torch.zeros_like(source) if gradient is None else gradient)


def prefix_probe(network: Network, x: Tensor, frames: int) -> Tensor:
    """Measure how much the first outputs change when the rest of the input has not arrived yet.

    Args:
        network: the network to probe.
        x: an input, ``(batch, channels, time[, frequency])``.
        frames: length of the prefix to compare with, in frames.

    Returns:
        The largest difference in each output frame of the prefix, ``(time',)``. Anything but 0 is a leak, or rounding
        where another length selects another kernel.

    Raises:
        ValueError: the input has no prefix of so many frames.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from causalcnn import prefix_probe
        >>> difference = prefix_probe(nn.Conv1d(1, 1, 3, padding=1), torch.ones(1, 1, 6), frames=4)
        >>> (difference > 0).int().tolist()  # the last output of the prefix waits for a frame
        [0, 0, 0, 1]
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
    """Measure what each output of a network reads: the inputs with a gradient, under positive weights.

    The weights are replaced by positive ones and what could hide an input is made linear
    (:func:`causalcnn.causality.linearized_copy`), so that nothing cancels. Unlike :func:`causalcnn.receptive_field`,
    this also shows networks whose operations cannot be followed; what is written as a function (an ``argmin``, a hard
    threshold) still hides what it reads.

    Args:
        module: any module over time (axis 2), and frequency (axis 3) where ``x`` has one, that returns one tensor.
        x: an example, ``(batch, channels, time[, frequency])``; only its shape counts. Its batch is not used.
        seed: of the weights and of the input that take the place of the given ones.

    Returns:
        For every output index ``(time,)`` or ``(time, frequency)`` the set of input frames, or of cells, within ``x``.
        The field that a layer declares must equal it.

    Raises:
        ValueError: the module has a dilated max-pooling, which has no linear counterpart.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from causalcnn import measure_field
        >>> found = measure_field(nn.Conv1d(1, 1, 3, dilation=2), torch.zeros(1, 1, 6))
        >>> {output: sorted(inputs) for output, inputs in found.items()}
        {(0,): [0, 2, 4], (1,): [1, 3, 5]}
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
