"""Whether a plan holds together: a file may be damaged, and the compiled loop believes what it is told."""

from __future__ import annotations

from typing import Any

import numpy as np

from causalcnn.engine.plan import Op, Operand, Plan, Register
from causalcnn.engine.reference import FUNCTIONS

__all__ = ["check_plan"]

_PAIRS = ("add", "subtract", "multiply", "divide", "gate")

_LIMIT = 2**40
"""No size of a plan is as large; what is multiplied of smaller ones stays a whole number of the loop, or fills memory
before."""


def check_plan(plan: Plan) -> None:
    """Check that every operation reads and writes what is there.

    Args:
        plan: the plan.

    Raises:
        ValueError: it does not; the message names the operation and says why.

    Example:
        >>> import torch
        >>> from causalcnn.engine import lower
        >>> from causalcnn.engine.check import check_plan
        >>> from causalcnn.nn import CausalConv1d
        >>> plan = lower(CausalConv1d(2, 3, 2), torch.zeros(1, 2, 0))
        >>> check_plan(plan)
        >>> plan.ops[0].settings["products"][0]["taps"][0][0] = 7
        >>> check_plan(plan)
        Traceback (most recent call last):
        ValueError: operation 0 of the plan, linear: a tap lies outside of the window
    """
    where = "the plan"
    try:
        _need(plan.dtype in ("float32", "float64"), "its dtype is neither float32 nor float64")
        for one in plan.registers:
            _whole(one.channels, one.cells)
        _need(_whole(plan.inputs) + len(plan.ops) == len(plan.registers) > 0, "it has another number of registers")
        for number, op in enumerate(plan.ops):
            where = f"operation {number} of the plan, {op.kind}"
            _need(op.output == plan.inputs + number, "it writes another register than the next one")
            _need(len(op.inputs) > 0, "it has no input")
            for operand in op.inputs:
                _operand(plan, operand, op.output)
            _op(plan, op)
        where = "the outputs of the plan"
        for operand in plan.outputs:
            _operand(plan, operand, len(plan.registers))
        where = "the state of the plan"
        for _, number in plan.rings():
            _need(_whole(number) < len(plan.ops) and plan.ops[number].remembers, "it names an operation without one")
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}: {type(error).__name__} {error}; it is damaged") from error


def _need(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def _whole(*numbers: Any, least: int = 0) -> int:
    """The first number, if all are whole and none is too small or large."""
    for number in numbers:
        _need(type(number) is int and least <= number < _LIMIT, f"{number!r} is no size or place")
    first: int = numbers[0]
    return first


def _operand(plan: Plan, operand: Operand, before: int) -> None:
    _whole(*operand)
    _need(operand.register < before, "it reads a register that nothing has written before")
    _need(operand.first + operand.channels <= plan.registers[operand.register].channels, "it reads channels beyond")


def _op(plan: Plan, op: Op) -> None:
    """Check one operation; its operands are known to be there."""
    s, out = op.settings, plan.registers[op.output]
    x, *others = (plan.registers[one.register]._replace(channels=one.channels) for one in op.inputs)
    alone = op.kind not in ("linear", *_PAIRS, "concat", "choice")
    _need(not (alone and others), "it has more than one input")
    if op.kind in ("linear", "pool", "power"):
        window, stride = _whole(s.get("window", 1), least=1), _whole(s.get("stride", 1), least=1)
        held = _whole(s.get("held", 0))
        _whole(s.get("phases", 1), least=1)
        _need(stride <= window, "it forgets more frames than its window has")
        _need(window - stride <= held < window, "it begins with too few or too many frames")
    else:
        _need(not op.remembers and s.get("stride", 1) == s.get("phases", 1) == 1, "it has no window")
    match op.kind:
        case "linear":
            inputs = [x, *others]
            if "enter" in s:
                _each(s["enter"]["kind"], s["enter"], x, *inputs[: op.entering])
            _linear(op, inputs, out)
        case "pool":
            _need(len(s["delays"]) > 0 and _whole(*s["delays"]) < window > max(s["delays"]), "a delay is too long")
            _need(s["reduce"] in ("max", "mean"), "it has no such way to reduce")
            _same(x, out)
        case "power":
            points = _whole(s["points"], least=2)
            _need(points & (points - 1) == 0, "its points are no power of two")
            _need(op.arrays["window"].shape == (window,) and window <= points, "its window has another length")
            _need(x.cells * x.channels == 1 and out.cells * out.channels == points // 2 + 1, "its frames do not fit")
        case "pointwise" | "add" | "subtract" | "multiply" | "divide" | "gate":
            _each(op.kind, s, out, x, *others)
        case "concat":
            _same(*(one._replace(channels=0) for one in (x, *others, out)))
            _need(sum(one.channels for one in (x, *others)) == out.channels, "its channels do not add up")
        case "reshape":
            _need(x.cells * x.channels == out.cells * out.channels, "its frames have other sizes")
        case "norm":
            _numbers(s["eps"])
            _need(x.channels > 0 and all(op.arrays[k].shape == (x.channels,) for k in ("weight", "bias")), "weights")
            _same(x, out)
        case "argmax":
            _need(x.channels > 0, "it has nothing to choose from")
            _same(x._replace(channels=1), out)
        case "lookup":
            rows, width = op.arrays["table"].shape
            _need(rows > 0, "its table is empty")
            _same(Register(1, x.frequency), x)
            _same(x._replace(channels=width), out)
        case "feedback":
            _numbers(s["start"])
            _need(_whole(s["register"]) < len(plan.registers), "it feeds back a register that there is not")
            _same(plan.registers[s["register"]], out)
        case "choice":
            components = _whole(s["components"])
            _need(len(others) == 1 and x.channels > 0 and components * 3 in (0, x.channels), "its inputs do not fit")
            _numbers(*((s["bins"], s["min_scale"]) if components else (s["width"],)))
            _same(x._replace(channels=4), others[0])
            _same(x._replace(channels=1), out)
        case _:
            raise ValueError("a plan has no such operation")
    for name, array in op.arrays.items():
        _need(isinstance(array, np.ndarray) and array.dtype.kind == "f", f"{name} is no array of real numbers")


def _each(kind: str, s: dict[str, Any], out: Register, *inputs: Register) -> None:
    """Check what is done number by number."""
    if kind == "pointwise":
        _need(s["function"] in FUNCTIONS, f"there is no function {s['function']!r}")
        _numbers(s["a"], s["b"])
    else:
        _need(kind in _PAIRS and len(inputs) == 2, "it has not two inputs")
    _same(out, *inputs)


def _linear(op: Op, inputs: list[Register], out: Register) -> None:
    s, x = op.settings, inputs[0]
    window, phases = s.get("window", 1), s["phases"]
    end = (_whole(s["below"]) + x.cells + _whole(s["above"])) * x.channels
    for i, p in enumerate(s["products"]):
        weight, bias = op.arrays[f"weight{i}"], op.arrays[f"bias{i}"]
        taps, depth, columns = weight.shape
        cells = _whole(p["cells"], least=1)
        _whole(p["phase"], p["in_step"], p["out_step"], p["in_channel"], p["out_channel"], p["out_cell"])
        _need(bias.shape == (columns,) and len(p["taps"]) == taps, "its weights, biases and taps do not fit")
        _need(p["phase"] < phases, "it writes a frame beyond")
        _need(p["out_cell"] + (cells - 1) * p["out_step"] < out.cells, "it writes a cell beyond")
        _need(p["out_channel"] + columns <= out.channels, "it writes channels beyond")
        if "plus" in p:
            _need(op.entering <= _whole(p["plus"]) < len(inputs), "it adds an input that there is not")
            _same(out._replace(channels=columns), inputs[p["plus"]])
        for delay, cell in p["taps"]:
            last = (_whole(cell) + (cells - 1) * p["in_step"]) * x.channels + p["in_channel"] + depth
            _need(_whole(delay) < window and last <= end, "a tap lies outside of the window")


def _same(one: Register, *others: Register) -> None:
    """Refuse registers whose frames differ; whether numbers are indices does not matter."""
    _need(all((x.cells, x.channels) == (one.cells, one.channels) for x in others), "its frames have other sizes")


def _numbers(*values: Any) -> None:
    _need(all(isinstance(value, int | float) for value in values), "a setting is no number")
