"""Copies of networks: exact ones, also of what torch refuses to copy, and linear ones that hide nothing they read."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.nn.utils.weight_norm import WeightNorm
from torch.utils import _pytree as pytree

from causalcnn.nn.compose import POINTWISE
from causalcnn.nn.pool import CausalAvgPool1d, CausalMaxPool1d

__all__ = ["LINEAR_COPIES", "deepcopy_module", "in_float64", "linearized_copy"]

Module = TypeVar("Module", bound=nn.Module)


def deepcopy_module(module: Module) -> Module:
    """Copy a module deeply, also one that keeps the result of a computation.

    ``copy.deepcopy`` refuses a tensor that has a gradient history: the weight that ``torch.nn.utils.weight_norm`` made
    from its two parts (and makes again in every call), an activation that a forward has kept. The copy holds the
    same numbers without the history.
    """
    memo: dict[int, object] = {}
    for part in module.modules():
        for value in pytree.tree_leaves(vars(part)):
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
            elif isinstance(value, torch.jit.ScriptFunction):  # it holds no numbers, and refuses to be copied
                memo[id(value)] = value
    copied = copy.deepcopy(module, memo)
    for part in copied.modules():
        if parametrize.is_parametrized(part):  # its class is made for one module; the copy would share it
            own = {k: v for k, v in vars(type(part)).items() if k not in ("__dict__", "__weakref__")}
            part.__class__ = type(type(part).__name__, type(part).__bases__, own)
    return copied


def in_float64(module: Module) -> Module:
    """Bring a module to the CPU and to float64; complex numbers stay complex, and plain tensors go along.

    ``module.to(torch.float64)`` would drop the imaginary parts, and leave what is no parameter and no buffer.
    """

    def convert(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if value.is_complex():
            return value.to("cpu", torch.complex128)
        return value.to("cpu", torch.float64 if value.is_floating_point() else value.dtype)

    module._apply(convert)
    for part in module.modules():
        for name, value in list(vars(part).items()):
            if not name.startswith("_") and isinstance(value, Tensor):
                vars(part)[name] = convert(value)
    return module


def _average(pool: nn.MaxPool1d | nn.MaxPool2d) -> nn.Module:
    if pool.dilation not in (1, (1,), (1, 1)):
        raise ValueError("a dilated max-pooling has no average of the same window; measure it by perturbation")
    average = nn.AvgPool1d if isinstance(pool, nn.MaxPool1d) else nn.AvgPool2d
    return average(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)  # type: ignore[arg-type]


def _causal_average(pool: CausalMaxPool1d) -> nn.Module:
    return CausalAvgPool1d(pool.kernel_size, stride=pool.stride, convention=pool.convention)


def _without_gates(rnn: nn.GRU | nn.LSTM) -> nn.Module:
    """Give the module a linear forward; it stays the same object, so that its attributes stay."""
    rnn.forward = functools.partial(_run_without_gates, rnn)  # type: ignore[method-assign]
    return rnn


def _run_without_gates(rnn: nn.GRU | nn.LSTM, x: Any, state: Any = None) -> tuple[Any, Any]:
    """Run ``h' = w x + u h``, called as ``rnn`` is; ``w`` and ``u`` are the means of its weights over the gates."""
    if isinstance(x, PackedSequence):
        padded, lengths = pad_packed_sequence(x, batch_first=rnn.batch_first)
        y, state = _run_without_gates(rnn, padded, state)
        return pack_padded_sequence(y, lengths, rnn.batch_first, enforce_sorted=False), state
    if x.dim() == 2:  # no axis for rows
        rows = 0 if rnn.batch_first else 1
        state = None if state is None else pytree.tree_map(lambda part: part.unsqueeze(1), state)
        y, state = _run_without_gates(rnn, x.unsqueeze(rows), state)
        return y.squeeze(rows), pytree.tree_map(lambda part: part.squeeze(1), state)
    ways, is_lstm = 2 if rnn.bidirectional else 1, isinstance(rnn, nn.LSTM)
    steps = x.transpose(0, 1) if rnn.batch_first else x  # (steps, rows, features)
    last: list[tuple[Tensor, Tensor]] = []
    for layer in range(rnn.num_layers):
        outs = []
        for way in range(ways):
            index = layer * ways + way
            start = () if state is None else [part[index] for part in (state if is_lstm else (state,))]
            out, h, c = _run_one_way(rnn, rnn.all_weights[index], steps.flip(0) if way else steps, start)
            outs.append(out.flip(0) if way else out)
            last.append((h, c))
        steps = torch.cat(outs, 2)
    y = steps.transpose(0, 1) if rnn.batch_first else steps
    h, c = (torch.stack(part) for part in zip(*last, strict=True))
    return y, (h, c) if is_lstm else h


def _run_one_way(
    rnn: nn.GRU | nn.LSTM, weights: Sequence[Tensor], steps: Tensor, start: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Run one direction of one layer: outputs ``(steps, rows, state)``, the last of them, and the last cell state."""
    w, u, *rest = weights
    biases, projection = rest[: 2 * rnn.bias], rest[2 * rnn.bias :]  # an LSTM may project its state
    w, u, *biases = (part.unflatten(0, (-1, rnn.hidden_size)).mean(0) for part in (w, u, *biases))

    def output(cell: Tensor) -> Tensor:
        return cell @ projection[0].T if projection else cell

    h = start[0] if start else steps.new_zeros(steps.shape[1], u.shape[1])
    if len(start) > 1:  # the first state of an LSTM has a cell too
        h = h + output(start[1])
    outs = []
    for step in steps:
        c = step @ w.T + h @ u.T + sum(biases)
        h = output(c)
        outs.append(h)
    return torch.stack(outs), h, c


LINEAR_COPIES: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    **dict.fromkeys(POINTWISE, lambda module: nn.Identity()),
    nn.MaxPool1d: _average,
    nn.MaxPool2d: _average,
    CausalMaxPool1d: _causal_average,
    nn.GRU: _without_gates,
    nn.LSTM: _without_gates,
}
"""For each class of modules, a function from a copy of one to a module that reads the same inputs and hides none.

:func:`linearized_copy`, and so :func:`measure_field` and :func:`check_contract`, use it; for subclasses too, unless
they have a ``forward`` of their own. Add a class of yours whose gradient hides what it can read.
"""


def _linear(module: nn.Module, done: dict[nn.Module, nn.Module]) -> nn.Module:
    """Keep the wiring and replace what hides it: no activation closes, no maximum picks one input of many.

    ``done``: what each module became, because one that stands in several places must become one and the same.
    """
    if module not in done:
        _merge_weight_norm(module)
        own = type(module)
        fitting = (LINEAR_COPIES[c] for c in own.__mro__ if c in LINEAR_COPIES and c.forward is own.forward)
        make = next(fitting, None)
        done[module] = module if make is None else make(module)
        for name, child in done[module]._modules.items() if done[module] is module else ():
            if child is not None:
                setattr(module, name, _linear(child, done))
    return done[module]


def _merge_weight_norm(module: nn.Module) -> None:
    """Make a normed weight a plain one: drawn as a length and a direction, it would grow with the fan-in's root."""
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, WeightNorm):
            nn.utils.remove_weight_norm(module, hook.name)
        elif isinstance(
            hook, prune.BasePruningMethod
        ):  # the mask of pruning belongs to these weights; here any weights count
            prune.remove(module, hook._tensor_name)
    for name, steps in list(getattr(module, "parametrizations", {}).items()):
        if len(steps) == 1 and isinstance(steps[0], _WeightNorm):
            parametrize.remove_parametrizations(module, name)


def _fan_in(part: nn.Module, parameter: Tensor) -> int:
    """Return how many numbers this weight adds up into one; 1 for a bias or a gain."""
    if parameter.dim() < 2 or not parameter.numel():
        return 1
    outputs = 1 if "Transpose" in type(part).__name__ else 0  # (in, out, …) there, (out, in, …) elsewhere
    return parameter.numel() // parameter.shape[outputs]


def linearized_copy(module: nn.Module, *, seed: int = 0) -> nn.Module:
    """Make a linear float64 copy in eval mode, with positive parameters.

    The parameters are drawn from 0.5 to 1.5, and weights are divided by their fan-in. Activations become the identity,
    maxima averages, and gates of recurrent layers sums (``causalcnn.causality.LINEAR_COPIES``); with positive weights
    nothing cancels. So a gradient shows every input that is read, also where the original weights happen to be zero.

    What is written as a function (``F.relu``, a hand-made maximum) is left as it is; the fan-in keeps what enters it
    near 1, because the derivative of a saturated ``torch.sigmoid`` is 0 even in float64.

    Args:
        module: any module; it is not changed.
        seed: of the positive parameters.

    Returns:
        A module of the same wiring on the CPU.

    Raises:
        ValueError: the module has a dilated max-pooling, which has no average over the same window.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from causalcnn.causality import linearized_copy
        >>> closed = nn.Sequential(nn.Conv1d(1, 1, 3), nn.ReLU())
        >>> _ = nn.init.constant_(closed[0].bias, -100.0)
        >>> x = torch.ones(1, 1, 3, dtype=torch.float64, requires_grad=True)
        >>> linearized_copy(closed)(x).backward()
        >>> bool((x.grad > 0).all())  # the ReLU that never opens hides nothing here
        True
    """
    generator = torch.Generator().manual_seed(seed)
    linear = _linear(in_float64(deepcopy_module(module)).eval(), {})
    drawn: set[nn.Parameter] = set()
    with torch.no_grad():
        for part in linear.modules():
            for parameter in part.parameters(recurse=False):
                if parameter not in drawn:
                    values = torch.rand(parameter.shape, generator=generator, dtype=torch.float64) + 0.5
                    parameter.copy_(values / _fan_in(part, parameter))
                    drawn.add(parameter)
    return linear
