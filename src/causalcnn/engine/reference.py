"""A plan run in plain numpy: slow, and the meaning of every operation. What compiled loops compute must equal it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from causalcnn.engine.plan import Op, Operand, Plan

__all__ = ["FUNCTIONS", "ReferenceRunner", "choose"]

Array = np.ndarray

FUNCTIONS: dict[str, Callable[[Array, float, float], Array]] = {
    "affine": lambda x, a, b: a * x + b,
    "relu": lambda x, a, b: np.maximum(x, 0),
    "leaky_relu": lambda x, a, b: np.where(x > 0, x, a * x),
    "clamp": lambda x, a, b: np.clip(x, bound(a), bound(b)),
    "tanh": lambda x, a, b: np.tanh(x),
    "sigmoid": lambda x, a, b: _sigmoid(x),
    "silu": lambda x, a, b: x * _sigmoid(x),
    "exp": lambda x, a, b: np.exp(x),
    "elu": lambda x, a, b: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0))),
    "gelu": lambda x, a, b: x * (1 + np.vectorize(math.erf, otypes=[x.dtype])(x / math.sqrt(2))) / 2,
    "mish": lambda x, a, b: x * np.tanh(np.logaddexp(0, x)),
    "softplus": lambda x, a, b: np.where(a * x > b, x, np.logaddexp(0, a * x) / a),
    "log": lambda x, a, b: np.log(x),
    "sqrt": lambda x, a, b: np.sqrt(x),
    "square": lambda x, a, b: np.square(x),
    "abs": lambda x, a, b: np.abs(x),
    "reciprocal": lambda x, a, b: 1 / x,
    "divide": lambda x, a, b: x / a,
}
"""The pointwise functions of a plan, of the number x and the parameters a and b."""

_PAIRS: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "gate": lambda x, y: np.tanh(x) * _sigmoid(y),
}


def bound(number: float) -> float:
    """Read a bound of ``clamp``, of which the largest number stands for none, because JSON has no infinity."""
    return math.copysign(math.inf, number) if abs(number) == sys.float_info.max else number


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def choose(op: Op, x: Array, noise: Array) -> Array:
    """Draw a bin for each cell; the same noise gives the same bins.

    The noise of a cell is four numbers: ``u``, which chooses by the inverse CDF; ``z``; the ``temperature``, by which
    logits are divided; and the factor of a ``spread``. With ``components`` = 0 the input is a logit for each coarse
    bin, and ``z`` chooses one of the ``width`` bins in it. With K components, it is K logits, K means and K numbers
    whose softplus, plus ``min_scale``, is a scale; and the value ``mean + scale · spread · z`` lies in one of the
    ``bins`` between −1 and 1.

    Args:
        op: the operation.
        x: what describes the distribution, ``(rows, cells, size)``.
        noise: ``(rows, cells, 4)``.

    Returns:
        The bins, ``(rows, cells, 1)``.
    """
    s = op.settings
    u, z, temperature, spread = np.split(noise, 4, axis=2)
    count = s["components"] or x.shape[2]
    weight = np.exp((x[:, :, :count] - x[:, :, :count].max(2, keepdims=True)) / temperature)
    chosen = (np.cumsum(weight, 2)[:, :, :-1] <= u * weight.sum(2, keepdims=True)).sum(2, keepdims=True)
    if not s["components"]:
        return chosen * s["width"] + np.minimum(np.floor(z * s["width"]), s["width"] - 1)
    mean, raw = (np.take_along_axis(part, chosen, 2) for part in np.split(x[:, :, count:], 2, axis=2))
    value = mean + (np.logaddexp(0, raw) + s["min_scale"]) * spread * z
    return np.clip(np.floor((value + 1) / 2 * s["bins"]), 0, s["bins"] - 1)


class ReferenceRunner:
    """Runs a plan frame by frame, in plain numpy.

    Args:
        plan: the plan.
        rows: the batch size.

    Attributes:
        plan: as given.
        rows: as given.
        rings: for each operation with a window the frames that it holds, oldest first, each
            ``(rows, cells, channels)``.

    Example:
        >>> import numpy as np, torch
        >>> from causalcnn.engine import ReferenceRunner, lower
        >>> from causalcnn.nn import CausalConv1d
        >>> layer, x = CausalConv1d(2, 3, kernel_size=4, stride=2), torch.randn(1, 2, 9)
        >>> runner = ReferenceRunner(lower(layer, x), rows=1)
        >>> frames = [y for t in range(9) for y in runner.feed(x[:, :, t].numpy()[:, None])[0]]
        >>> np.allclose(np.stack(frames, -1)[:, 0], layer(x).detach(), atol=1e-6)
        True
    """

    plan: Plan
    rows: int
    rings: dict[int, list[Array]]

    def __init__(self, plan: Plan, rows: int) -> None:
        self.plan, self.rows, self.rings = plan, rows, {}
        for number, op in enumerate(plan.ops):
            if op.remembers:
                (register, _, channels), *_ = op.inputs
                zeros = np.zeros((rows, plan.registers[register].cells, channels))
                self.rings[number] = [zeros] * op.settings["held"]
            if op.kind == "feedback":
                out = plan.registers[op.output]
                self.rings[number] = [np.full((rows, out.cells, out.channels), op.settings["start"])]

    def feed(self, *frames: Array) -> list[list[Array]]:
        """Read one frame of each input.

        Args:
            *frames: a frame of each input, ``(rows, cells, channels)``.

        Returns:
            For each output of the plan, the frames that this completes, each ``(rows, cells, channels)``.
        """
        now: dict[int, list[Array]] = {number: [frame] for number, frame in enumerate(frames)}

        def read(operand: Operand) -> list[Array]:
            register, first, channels = operand
            return [frame[:, :, first : first + channels] for frame in now[register]]

        for number, op in enumerate(self.plan.ops):
            inputs = zip(*map(read, op.inputs[: op.entering]), strict=True)
            out = self.plan.registers[op.output]
            shape = (self.rows, out.cells, out.channels)
            now[op.output] = [y.reshape(shape) for xs in inputs for y in self._run(number, op, *xs)]
            if op.entering < len(op.inputs):
                _add(op, now[op.output], [read(operand) for operand in op.inputs])
        for number, op in enumerate(self.plan.ops):
            if op.kind == "feedback":
                self.rings[number] = now[op.settings["register"]]
        return [read(output) for output in self.plan.outputs]

    def _run(self, number: int, op: Op, *xs: Array) -> list[Array]:
        """The frames that an operation gives for one frame of each of its inputs."""
        s, x = op.settings, xs[0]
        match op.kind:
            case "linear" | "pool" | "power":
                ring = self.rings.get(number, [])
                ring.append(_each(**s["enter"], xs=xs) if "enter" in s else x)
                if len(ring) < s.get("window", 1):
                    return []
                y: list[Array] = globals()[f"_{op.kind}"](op, ring[::-1], self.plan.registers[op.output])
                del ring[: s.get("stride", 1)]
                return y
            case "pointwise" | "add" | "subtract" | "multiply" | "divide" | "gate":
                return [_each(op.kind, xs, **s)]
            case "concat":
                return [np.concatenate(xs, axis=2)]
            case "reshape":
                return [x]
            case "norm":
                centered = x - x.mean(2, keepdims=True)
                scale = np.sqrt(np.square(centered).mean(2, keepdims=True) + s["eps"])
                return [centered / scale * op.arrays["weight"] + op.arrays["bias"]]
            case "argmax":
                return [x.argmax(2)[:, :, None]]
            case "feedback":
                return self.rings[number]
            case "choice":
                return [choose(op, *xs)]
            case "lookup":
                return [op.arrays["table"][x[:, :, 0].astype(int)]]
        raise ValueError(f"a plan has no operation {op.kind!r}")


def _each(kind: str, xs: tuple[Array, ...], function: str = "", a: float = 0.0, b: float = 0.0) -> Array:
    """What is computed number by number."""
    return FUNCTIONS[function](xs[0], a, b) if kind == "pointwise" else _PAIRS[kind](xs[0], xs[1])


def _linear(op: Op, ring: list[Array], out: Any) -> list[Array]:
    s = op.settings
    rows, _, width = ring[0].shape
    padded = [np.pad(x, ((0, 0), (s["below"], s["above"]), (0, 0))).reshape(rows, -1) for x in ring]
    y = np.zeros((s["phases"], rows, out.cells, out.channels))
    for i, p in enumerate(s["products"]):
        weight, bias = op.arrays[f"weight{i}"], op.arrays[f"bias{i}"]
        for m in range(p["cells"]):
            total = np.broadcast_to(bias, (rows, len(bias)))
            for (delay, cell), matrix in zip(p["taps"], weight, strict=True):
                start = (cell + m * p["in_step"]) * width + p["in_channel"]
                total = total + padded[delay][:, start : start + len(matrix)] @ matrix
            channels = slice(p["out_channel"], p["out_channel"] + len(bias))
            y[p["phase"], :, p["out_cell"] + m * p["out_step"], channels] = total
    return list(y)


def _add(op: Op, ys: list[Array], inputs: list[list[Array]]) -> None:
    """Add what the products have as ``plus`` to the frames of the output."""
    for i, p in enumerate(op.settings["products"]):
        if "plus" not in p:
            continue
        channels = slice(p["out_channel"], p["out_channel"] + op.arrays[f"bias{i}"].size)
        cells = slice(p["out_cell"], p["out_cell"] + (p["cells"] - 1) * p["out_step"] + 1, p["out_step"])
        for number, (y, x) in enumerate(zip(ys, inputs[p["plus"]], strict=True)):
            if number % op.settings["phases"] == p["phase"]:
                y[:, cells, channels] += x[:, cells]


def _pool(op: Op, ring: list[Array], out: Any) -> list[Array]:
    chosen = np.stack([ring[delay] for delay in op.settings["delays"]])
    return [chosen.max(0) if op.settings["reduce"] == "max" else chosen.mean(0)]


def _power(op: Op, ring: list[Array], out: Any) -> list[Array]:
    window = np.stack(ring[::-1], axis=-1)[:, :, 0]  # (rows, 1, samples)
    return [np.abs(np.fft.rfft(window * op.arrays["window"], op.settings["points"])) ** 2]
