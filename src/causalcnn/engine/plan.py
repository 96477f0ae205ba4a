"""A stream as data: which operations a frame passes through, with which numbers. See :class:`Plan`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from causalcnn._files import atomic_write, pack_tensors, read_tensors

__all__ = ["VERSION", "Op", "Operand", "Plan", "Register"]

VERSION = 2
"""The version of the format; a file of another version is refused."""


class Register(NamedTuple):
    """What one frame of a value looks like: ``(rows, cells, channels)`` numbers, the channels next to each other.

    Attributes:
        channels: numbers in a cell.
        frequency: cells of a frame along frequency, or None where there is no such axis (then there is one cell).
        integer: whether the numbers are indices.

    Example:
        >>> from causalcnn.engine import Register
        >>> Register(channels=64).cells, Register(channels=1, frequency=80).cells
        (1, 80)
    """

    channels: int
    frequency: int | None = None
    integer: bool = False

    @property
    def cells(self) -> int:
        """Cells of a frame, at least one."""
        return 1 if self.frequency is None else self.frequency


class Operand(NamedTuple):
    """What an operation reads: some channels of a register, next to each other.

    Attributes:
        register: number of the register.
        first: the first channel.
        channels: how many.

    Example:
        >>> import torch
        >>> from causalcnn.engine import Builder, Register
        >>> x = Builder().input(Register(channels=8))
        >>> [half.operand for half in x.chunk(2, dim=1)]
        [Operand(register=0, first=0, channels=4), Operand(register=0, first=4, channels=4)]
    """

    register: int
    first: int
    channels: int


@dataclass(frozen=True)
class Op:
    """One operation.

    Attributes:
        kind: what it does; see :class:`Plan`.
        inputs: what it reads.
        output: the register that it writes; each register is written by one operation.
        settings: numbers, words, and lists and dicts of them.
        arrays: its weights, by name.

    Example:
        >>> import torch
        >>> from causalcnn.engine import lower
        >>> from causalcnn.nn import FrameNorm
        >>> (op,) = lower(FrameNorm(4), torch.zeros(1, 4, 0)).ops
        >>> op.kind, op.settings, op.arrays["weight"].shape, op.remembers
        ('norm', {'eps': 1e-05}, (4,), False)
    """

    kind: str
    inputs: tuple[Operand, ...]
    output: int
    settings: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def remembers(self) -> bool:
        """Whether it keeps frames: those kinds have a ``window``."""
        return "window" in self.settings

    @property
    def entering(self) -> int:
        """How many of its inputs come at the same time; what is behind them is added to frames that it gives."""
        if self.kind != "linear":
            return len(self.inputs)
        return 1 if self.settings.get("enter", {}).get("kind", "pointwise") == "pointwise" else 2


@dataclass(frozen=True, repr=False)
class Plan:
    """What a stream computes, as data: registers, and a list of operations that fill them, in their order.

    Frames come in one by one. Whenever some come, every operation reads the frames that its inputs got (perhaps none)
    and writes what follows from them. Operations that remember frames have a ``window`` of frames, of which ``held``
    are there at the start, as zeros: a new frame is added, and when there are ``window`` of them, the operation gives
    outputs and forgets the oldest ``stride``. In such a window, *delay* 0 is the newest frame. The kinds:

    - ``linear``: A convolution, also a transposed one. It has a window. With ``enter``, the settings of a
      ``pointwise`` operation or of one of two inputs, together with its ``kind``, a frame enters the window as that
      operation makes it. The cells of a frame have ``below`` zeros below and ``above`` above them. A full window
      gives ``phases`` frames, which are sums of ``products``. The ``i``-th has the arrays ``weight{i}``
      ``(taps, depth, out)`` and ``bias{i}`` ``(out,)``. For each of its ``cells``, numbered ``m``, it writes the
      channels from ``out_channel`` on of the cell ``out_cell + m·out_step`` of frame ``phase``: the bias, plus for
      each tap ``[delay, cell]`` the product of the weight with ``depth`` numbers from that frame, from the channel
      ``in_channel`` of the padded cell ``cell + m·in_step`` on; where depth is larger than the channels, they go on
      into the next cells. With ``plus``, the number of an input, the channels of that input are added, of the same
      frame and cell as the output.
    - ``pool``: The ``max`` or the ``mean`` (``reduce``) of the frames at ``delays``. It has a window; a delay is
      one of its kind.
    - ``power``: The power spectrum of the window times the array ``window``, with ``points`` points, a power of
      two.
    - ``pointwise``: ``function`` of every number, with the parameters ``a`` and ``b``; see
      :data:`causalcnn.engine.reference.FUNCTIONS`.
    - ``add``, ``subtract``, ``multiply``, ``divide``: Of two inputs, number by number.
    - ``gate``: The tanh of the first input times the sigmoid of the second, number by number.
    - ``concat``: The channels of the inputs, one after the other.
    - ``reshape``: The same numbers in a register whose frames have other channels and cells.
    - ``norm``: Each cell to mean 0 and variance 1, with ``eps``, then times ``weight``, plus ``bias``.
    - ``argmax``: The channel of the largest number of each cell, the first of equal ones.
    - ``lookup``: The row of ``table`` with this index.
    - ``feedback``: What ``register`` held after the frame before, at first ``start``: the only operation that
      reads what is written after it. Its input says when. A plan that has one is fed one frame at a time.
    - ``choice``: A bin, drawn from the distribution that the first input describes; see
      :func:`causalcnn.engine.reference.choose`.

    Attributes:
        registers: what frames look like; the first ones are the inputs.
        inputs: how many registers are inputs.
        ops: the operations.
        outputs: what the plan gives.
        dtype: of all numbers, ``"float32"`` or ``"float64"``.
        state: which operation keeps which part of the module's state: a dict from name to part, the number of an
            operation, or an empty list for a part that keeps nothing.

    Example:
        >>> import torch
        >>> from causalcnn.engine import lower
        >>> from causalcnn.nn import CausalConv1d, Residual
        >>> plan = lower(Residual(CausalConv1d(8, 8, 3, dilation=2)), torch.zeros(1, 8, 0))
        >>> [op.kind for op in plan.ops], plan.state
        (['linear'], {'body': 0})
        >>> (product,) = plan.ops[0].settings["products"]
        >>> plan.ops[0].settings["window"], product["taps"], product["plus"]
        (5, [[0, 0], [2, 0], [4, 0]], 1)
        >>> plan
        Plan(1 linear; inputs: 1, outputs: 1; 200 numbers, float32)
    """

    registers: list[Register]
    inputs: int
    ops: list[Op]
    outputs: list[Operand]
    dtype: str
    state: Any

    def __repr__(self) -> str:
        """The kinds in one line; its numbers would fill pages."""
        kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(op.kind for op in self.ops).items())
        numbers = sum(array.size for op in self.ops for array in op.arrays.values())
        size = f"inputs: {self.inputs}, outputs: {len(self.outputs)}; {numbers:,} numbers, {self.dtype}"
        return f"Plan({kinds or 'no operations'}; {size})"

    def rings(self) -> Iterator[tuple[tuple[str, ...], int]]:
        """Walk through the state.

        Yields:
            The names on the way to a part that remembers frames, and the number of its operation.
        """
        yield from _leaves(self.state, ())

    def save(self, path: str | Path) -> None:
        """Write the plan into one file, in the format of safetensors; its metadata hold the structure as JSON.

        Args:
            path: the file. It appears only when it is complete.

        Raises:
            ImportError: safetensors is missing; it comes with the extra ``train``.
            OSError: the file cannot be written.
        """
        arrays = {
            f"{number}.{name}": torch.from_numpy(array)
            for number, op in enumerate(self.ops)
            for name, array in op.arrays.items()
        }
        with atomic_write(path) as part:
            part.write_bytes(pack_tensors(arrays, {"plan": json.dumps(self._structure())}))

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read a plan that :meth:`save` wrote.

        Args:
            path: the file.

        Returns:
            The plan.

        Raises:
            FileNotFoundError: there is no such file.
            ImportError: safetensors is missing; it comes with the extra ``train``.
            ValueError: the file holds no plan, one of another version, or one that is damaged; what runs a plan checks
                further whether it holds together.
        """
        tensors, metadata = read_tensors(path)
        if "plan" not in metadata:
            raise ValueError(f"{str(path)!r} holds no plan; Plan.save writes one")
        try:
            return cls._from(json.loads(metadata["plan"]), tensors, str(path))
        except (KeyError, IndexError, TypeError, AttributeError, json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"the plan in {str(path)!r} is damaged: {type(error).__name__} {error}") from error

    @classmethod
    def _from(cls, structure: dict[str, Any], tensors: dict[str, torch.Tensor], path: str) -> Plan:
        """Put the structure and the arrays of a file together."""
        if structure["version"] != VERSION:
            raise ValueError(f"{path!r} is a plan of version {structure['version']}; this is version {VERSION}")
        arrays: list[dict[str, np.ndarray]] = [{} for _ in structure["ops"]]
        for name, tensor in tensors.items():
            number, _, key = name.partition(".")
            arrays[int(number)][key] = tensor.numpy()
        return cls(
            [Register(*register) for register in structure["registers"]],
            structure["inputs"],
            [
                Op(op["kind"], tuple(Operand(*one) for one in op["inputs"]), op["output"], op["settings"], own)
                for op, own in zip(structure["ops"], arrays, strict=True)
            ],
            [Operand(*one) for one in structure["outputs"]],
            structure["dtype"],
            structure["state"],
        )

    def _structure(self) -> dict[str, Any]:
        """Everything but the arrays."""
        ops = [{"kind": op.kind, "inputs": op.inputs, "output": op.output, "settings": op.settings} for op in self.ops]
        return {
            "version": VERSION,
            "registers": self.registers,
            "inputs": self.inputs,
            "ops": ops,
            "outputs": self.outputs,
            "dtype": self.dtype,
            "state": self.state,
        }


def _leaves(state: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(state, int):
        yield path, state
    elif isinstance(state, dict):
        for name, part in state.items():
            yield from _leaves(part, (*path, name))
