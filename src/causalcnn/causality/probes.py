"""Three ways to look for the future in a network, and what a network reads when it is asked.

Each probe takes any callable that maps ``(batch, channels, time[, frequency])`` to the same kind of
tensor, time on axis 2. Each can miss something, see the chapter *Causality*: an impulse sees what these
weights do to this input, a gradient sees what a derivative sees, a prefix may be computed by another kernel.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.nn.utils.weight_norm import WeightNorm
from torch.utils import _pytree as pytree

from causalcnn.causality.copies import copied
from causalcnn.nn.compose import POINTWISE
from causalcnn.nn.pool import CausalAvgPool1d, CausalMaxPool1d

__all__ = ["LINEAR_COPIES", "gradient_probe", "impulse_probe", "measure_field", "positive_copy", "prefix_probe"]

Network = Callable[[Tensor], Tensor]


def _over_time(y: Tensor) -> Tensor:
    """The largest absolute value in each frame: ``(time,)``."""
    return y.detach().abs().transpose(0, 2).flatten(1).amax(1) if y.numel() else y.new_zeros(y.shape[2])


def impulse_probe(network: Network, x: Tensor, frame: int, *, size: float = 1.0) -> Tensor:
    """How much each output frame changes when one input frame does.

    Args:
        x: an input, ``(batch, channels, time[, frequency])``. frame: the input frame to disturb.
        size: what is added to it.

    Returns:
        ``(time',)``: the largest change in each output frame. Anything but 0 before ``frame`` is a leak.
    """
    _check_frame(frame, x.shape[2], "input")
    disturbed = x.detach().clone()
    disturbed[:, :, frame] += size
    with torch.no_grad():
        return _over_time(network(disturbed) - network(x.detach()))


def gradient_probe(network: Network, x: Tensor, frame: int) -> Tensor:
    """How much one output frame depends on each input frame, by the derivative.

    Args:
        x: an input, ``(batch, channels, time[, frequency])``. frame: the output frame to differentiate.

    Returns:
        ``(time,)``: the largest absolute gradient in each input frame. Anything but 0 after ``frame`` is a leak.
    """
    source = x.detach().clone().requires_grad_()
    y = network(source)
    _check_frame(frame, y.shape[2], "output")
    (gradient,) = torch.autograd.grad(y[:, :, frame].sum(), source, allow_unused=True)
    return _over_time(torch.zeros_like(source) if gradient is None else gradient)


def prefix_probe(network: Network, x: Tensor, frames: int) -> Tensor:
    """How much the first outputs change when the rest of the input has not arrived yet.

    Args:
        x: an input, ``(batch, channels, time[, frequency])``. frames: length of the prefix to compare with.

    Returns:
        ``(time',)`` for the outputs of the prefix: the largest difference in each frame. Anything but 0 is a leak.
    """
    if not 0 < frames <= x.shape[2]:
        raise ValueError(f"frames is {frames}; a prefix of this input has 1 to {x.shape[2]} frames")
    with torch.no_grad():
        whole, prefix = network(x), network(x[:, :, :frames])
    return _over_time(whole[:, :, : prefix.shape[2]] - prefix)


def _check_frame(frame: int, frames: int, what: str) -> None:
    if not 0 <= frame < frames:
        raise ValueError(f"frame is {frame}; the {what} has the frames 0 to {frames - 1}")


def _average(pool: nn.MaxPool1d | nn.MaxPool2d) -> nn.Module:
    if pool.dilation not in (1, (1, 1)):
        raise ValueError("a dilated max-pooling has no average of the same window; measure it by perturbation")
    average = nn.AvgPool1d if isinstance(pool, nn.MaxPool1d) else nn.AvgPool2d
    return average(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)  # type: ignore[arg-type]


def _causal_average(pool: CausalMaxPool1d) -> nn.Module:
    return CausalAvgPool1d(pool.kernel_size, stride=pool.stride, convention=pool.convention)


def _without_gates(rnn: nn.GRU | nn.LSTM) -> nn.Module:
    """The same module, linear; one whose class has a forward of its own stays as it is."""
    if type(rnn).forward in (nn.GRU.forward, nn.LSTM.forward):
        rnn.forward = functools.partial(_run_without_gates, rnn)  # type: ignore[method-assign]
    return rnn


def _run_without_gates(rnn: nn.GRU | nn.LSTM, x: Any, state: Any = None) -> tuple[Any, Any]:
    """``h' = w x + u h``, called as ``rnn`` is; ``w`` and ``u`` are the means of its weights over the gates."""
    if isinstance(x, PackedSequence):
        padded, lengths = pad_packed_sequence(x, batch_first=rnn.batch_first)
        y, state = _run_without_gates(rnn, padded, state)
        return pack_padded_sequence(y, lengths, rnn.batch_first, enforce_sorted=False), state
    if x.dim() == 2:  # no axis for rows
        rows = 0 if rnn.batch_first else 1
        state = None if state is None else pytree.tree_map(lambda part: part.unsqueeze(1), state)
        y, state = _run_without_gates(rnn, x.unsqueeze(rows), state)
        return y.squeeze(rows), pytree.tree_map(lambda part: part.squeeze(1), state)
    steps = x.transpose(0, 1) if rnn.batch_first else x
    is_lstm, ways = isinstance(rnn, nn.LSTM), 2 if rnn.bidirectional else 1
    last: list[Tensor] = []
    cells: list[Tensor] = []
    for layer in range(rnn.num_layers):
        outs = []
        for way in range(ways):
            place = layer * ways + way
            w, u, *rest = rnn.all_weights[place]
            biases, project = rest[: 2 * rnn.bias], rest[2 * rnn.bias :]  # an LSTM may have a projection of its state
            w, u, *biases = (part.unflatten(0, (-1, rnn.hidden_size)).mean(0) for part in (w, u, *biases))
            h = steps.new_zeros(steps.shape[1], u.shape[1])
            c = steps.new_zeros(steps.shape[1], rnn.hidden_size)
            if state is not None:
                h, c = (state[0][place], state[1][place]) if is_lstm else (state[place], c)
            written: list[Tensor] = []
            for step in steps.flip(0) if way else steps:
                c = step @ w.T + h @ u.T + sum(biases) + (c if is_lstm and not written else 0)
                h = c @ project[0].T if project else c
                written.append(h)
            out = torch.stack(written)
            outs.append(out.flip(0) if way else out)
            last.append(h)
            cells.append(c)
        steps = torch.cat(outs, 2)
    y = steps.transpose(0, 1) if rnn.batch_first else steps
    return y, (torch.stack(last), torch.stack(cells)) if is_lstm else torch.stack(last)


LINEAR_COPIES: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    **dict.fromkeys(POINTWISE, lambda module: nn.Identity()),
    nn.MaxPool1d: _average,
    nn.MaxPool2d: _average,
    CausalMaxPool1d: _causal_average,
    nn.GRU: _without_gates,
    nn.LSTM: _without_gates,
}
"""For a class of modules (and its subclasses): from a copy of one, a module that reads the same and hides nothing.

Add a class of your own whose gradient hides what it can read.
"""


def _linear(module: nn.Module, done: dict[nn.Module, nn.Module]) -> nn.Module:
    """The same wiring without what hides it: no activation closes, no maximum picks one input of many.

    ``done``: what each module became, because one that stands in several places must become one and the same.
    """
    if module not in done:
        _merge_weight_norm(module)
        make = next((LINEAR_COPIES[kind] for kind in type(module).__mro__ if kind in LINEAR_COPIES), None)
        done[module] = module if make is None else make(module)
        for name, child in done[module]._modules.items() if done[module] is module else ():
            if child is not None:
                setattr(module, name, _linear(child, done))
    return done[module]


def _merge_weight_norm(module: nn.Module) -> None:
    """A normed weight becomes a plain one: drawn as a length and a direction, it would grow with the fan-in's root."""
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, WeightNorm):
            nn.utils.remove_weight_norm(module, hook.name)
    for name, steps in list(getattr(module, "parametrizations", {}).items()):
        if len(steps) == 1 and isinstance(steps[0], _WeightNorm):
            parametrize.remove_parametrizations(module, name)


def _fan_in(part: nn.Module, parameter: Tensor) -> int:
    """How many numbers this weight adds up into one; 1 for a bias or a gain."""
    if parameter.dim() < 2 or not parameter.numel():
        return 1
    outputs = 1 if "Transpose" in type(part).__name__ else 0  # (in, out, …) there, (out, in, …) elsewhere
    return parameter.numel() // parameter.shape[outputs]


def positive_copy(module: nn.Module, *, seed: int = 0) -> nn.Module:
    """A linear float64 copy in eval mode whose parameters are all positive: from 0.5 to 1.5, weights over their fan-in.

    Activations become the identity, maxima averages, and gates of recurrent layers sums (:data:`LINEAR_COPIES`); with
    positive weights nothing cancels. So a gradient shows every input that is read, also where the original weights
    happen to be zero. What is written as a function (``F.relu``, a hand-made maximum) is left as it is; the fan-in
    keeps what enters it near 1, because the derivative of a saturated ``torch.sigmoid`` is 0 even in float64.
    """
    generator = torch.Generator().manual_seed(seed)
    twin = _linear(copied(module).to("cpu", torch.float64).eval(), {})
    drawn: set[nn.Parameter] = set()
    with torch.no_grad():
        for part in twin.modules():
            for parameter in part.parameters(recurse=False):
                if parameter not in drawn:
                    values = torch.rand(parameter.shape, generator=generator, dtype=torch.float64) + 0.5
                    parameter.copy_(values / _fan_in(part, parameter))
                    drawn.add(parameter)
    return twin


def measure_field(module: nn.Module, x: Tensor, *, seed: int = 0) -> Mapping[tuple[int, ...], frozenset]:
    """What each output of a network reads, measured: the support of the gradient under positive weights.

    Args:
        module: any module over time (axis 2), and frequency (axis 3) where ``x`` has one.
        x: an example; only its shape counts. Its batch is not used.

    Returns:
        For every output index ``(time,)`` or ``(time, frequency)``: the set of input frames, or of cells,
        within ``x``. The field that a layer declares must equal it.
    """
    twin = positive_copy(module, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    source = torch.rand((1, *x.shape[1:]), generator=generator, dtype=torch.float64).add_(0.5).requires_grad_()
    y = twin(source).sum(1)[0]
    found: dict[tuple[int, ...], frozenset] = {}
    for output in torch.cartesian_prod(*(torch.arange(n) for n in y.shape)).reshape(-1, y.dim()).tolist():
        (gradient,) = torch.autograd.grad(y[tuple(output)], source, retain_graph=True, allow_unused=True)
        touched = [] if gradient is None else gradient[0].abs().sum(0).nonzero().tolist()
        found[tuple(output)] = frozenset(cell[0] if len(cell) == 1 else tuple(cell) for cell in touched)
    return found
