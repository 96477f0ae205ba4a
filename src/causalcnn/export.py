"""A causal module as an ONNX file that runs piece by piece, in any language, with its state in the caller's hands."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from causalcnn._extras import require
from causalcnn._files import atomic_write, check_writable
from causalcnn.nn.base import CausalModule, State
from causalcnn.nn.exporting import short_pieces
from causalcnn.nn.quantize import VectorQuantizer

__all__ = ["CannotExport", "export_onnx"]

MAX_PROTO_BYTES = 2**31
"""What protobuf, the format of ONNX, can hold in one file."""


RUNS = 8
"""How often a file with quantizers may run until one run has no code that rounding tips."""


class CannotExport(RuntimeError):
    """A module cannot be written as an ONNX file, or the file would not compute the same; the message says why."""


def export_onnx(
    module: CausalModule,
    path: str | Path,
    *,
    example: Tensor,
    rate_hz: float | None = None,
    tolerance: float = 1e-4,
) -> dict[str, str]:
    """Write a causal module as a streaming ONNX file, which computes one :meth:`CausalModule.step`.

    The file has the input ``input`` and the output ``output``. Each tensor of the state is another input,
    ``state.NAME``, and another output, ``next.NAME``, with the names of the parts that it belongs to; feed back what
    came out. A state of one tensor has the names ``state`` and ``next``. A piece may have any number of frames from 1
    on, and any number of rows. A module that cannot be exported so, such as one with a recurrent layer or a branch of
    its own, takes pieces of a multiple of its block, or of exactly its block, or as many rows as ``example`` has; the
    metadata say it.

    Before the file takes its place it is run in onnxruntime on uneven pieces of random numbers like those of
    ``example``, within its range, and every output and state is compared with torch. Where a quantizer chooses between
    two codewords that are equally near, rounding decides, and what follows differs; so with quantizers it is enough
    that one whole run of eight agrees.

    The metadata are in the file, as strings: ``module``, ``causalcnn_version``, ``field`` in words, ``past_frames``,
    ``lookahead_frames``, ``latency_frames``, ``block_frames`` (input frames after which the pattern of outputs
    repeats), ``stride`` (input frames for an output frame), ``convention``, ``rows`` and ``frames`` (what a piece may
    have), ``tolerance`` and ``largest_difference``; where the rate is known ``rate_hz`` and ``latency_ms``; and
    ``states``, a JSON list with ``input``, ``output``, ``dtype``, the ``shape`` to begin with and the ``initial`` value
    of every state, one number or the nested list of a row.

    Args:
        module: the module, float32. It is exported as in ``eval()``, and left as it was.
        path: the file to write, such as ``"model.onnx"``.
        example: a piece of input, ``(batch, channels, time[, frequency])``, with at least one frame.
        rate_hz: frames or samples of input a second, in Hz; by default that of the module's field, if it has one.
        tolerance: how much an output may differ, as a share of the largest one or of 1, if that is more.

    Returns:
        The metadata, as they are in the file.

    Raises:
        TypeError: ``module`` is no causal module.
        ValueError: ``example`` is no input of the module; something is not float32, or not on the CPU; ``rate_hz`` or
            ``tolerance`` is not above 0.
        CannotExport: an operation has no form in ONNX, or onnxruntime gives other numbers than torch.
        ImportError: onnx, onnxscript or onnxruntime is missing; they come with the extra ``export``.
        OSError: the file cannot be written. Nothing is left half-written, and an older file stays.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import torch
        >>> from causalcnn import CausalConv1d, export_onnx
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "layer.onnx"
        ...     metadata = export_onnx(CausalConv1d(4, 8, 3), file, example=torch.randn(1, 4, 5), rate_hz=100)
        >>> metadata["past_frames"], metadata["latency_ms"], metadata["frames"]
        ('2', '0.0', 'at least 1')
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package, extra="export")
    _check(module, example, rate_hz, tolerance)
    check_writable(path)
    block = module.field.advance[0]
    lengths = [_Frames(1), *([_Frames(block)] if block > 1 else []), _Frames(block, fixed=True)]
    attempts = [(rows, frames) for frames in lengths for rows in (None, len(example))]
    with _in_eval_mode(module), torch.no_grad(), atomic_write(path) as part:
        module.step(example, module.initial_state(example))  # a wrong example is said before anything is traced
        problems = []
        for rows, frames in attempts:
            plan = _Plan.of(module, example, rows, frames)
            try:
                proto = _convert(plan)
                metadata = _metadata(plan, rate_hz)
                _write(proto, metadata | {"tolerance": repr(tolerance)}, part)
                difference = _verify(plan, part, tolerance)
            except CannotExport as problem:
                problems.append(problem)
                continue
            metadata |= {"tolerance": repr(tolerance), "largest_difference": f"{difference:.1e}"}
            _write(proto, metadata, part)
            return metadata
        raise problems[0]


def _check(module: Any, example: Any, rate_hz: float | None, tolerance: float) -> None:
    if not isinstance(module, CausalModule):
        raise TypeError(
            f"{type(module).__name__} is no CausalModule: only a module with step and a state can be exported as a "
            "stream. Build it of the layers of causalcnn.nn, or subclass CausalModule or Composite"
        )
    if not isinstance(example, Tensor) or example.dim() < 3 or 0 in example.shape:
        shape = tuple(example.shape) if isinstance(example, Tensor) else type(example).__name__
        raise ValueError(
            f"example is {shape}; it must be a tensor (batch, channels, time[, frequency]), none of them 0"
        )
    if not tolerance > 0:
        raise ValueError(f"tolerance is {tolerance}; it must be above 0")
    if rate_hz is not None and not rate_hz > 0:
        raise ValueError(f"rate_hz is {rate_hz}; a rate must be above 0")
    tensors = {"example": example, **dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise ValueError(f"{name} is {tensor.dtype}; ONNX files hold float32 here: module.float(), example.float()")
        if tensor.device.type != "cpu":
            raise ValueError(f"{name} is on {tensor.device}; export on the CPU: module.cpu(), example.cpu()")


@contextlib.contextmanager
def _in_eval_mode(module: nn.Module) -> Iterator[None]:
    """Without dropout and with codebooks that stand still; afterwards each part is in its mode again."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


# --------------------------------------------------------------------------------------------------- what is exported
@dataclass(frozen=True)
class _Frames:
    """How many frames a piece may have: a multiple of ``unit``, or exactly so many."""

    unit: int
    fixed: bool = False

    def __str__(self) -> str:
        if self.fixed:
            return f"exactly {self.unit}"
        return "at least 1" if self.unit == 1 else f"a multiple of {self.unit}"


@dataclass(frozen=True)
class _Leaf:
    """A tensor of the state: its names, its initial value, and which of its axes change."""

    name: str
    initial: Tensor
    has_rows: bool
    moving: dict[int, int]
    """Axes whose size changes from piece to piece, and their smallest size."""
    empty: bool
    """Whether it never holds a number, as the state of a convolution with one tap."""

    @property
    def input(self) -> str:
        return f"state{self.name}"

    @property
    def output(self) -> str:
        return f"next{self.name}"


@dataclass(frozen=True)
class _Plan:
    """A module, what may be fed to it, and its state."""

    module: CausalModule
    example: Tensor
    rows: int | None
    """How many rows a piece must have; None: any number."""
    frames: _Frames
    leaves: list[_Leaf]
    spec: pytree.TreeSpec

    @classmethod
    def of(cls, module: CausalModule, example: Tensor, rows: int | None, frames: _Frames) -> _Plan:
        """Look at the state of the module while it reads a block, frame by frame."""
        like = _noise(example, rows or 2, frames.unit, 0)
        state = module.initial_state(like)
        paths, spec = pytree.tree_flatten_with_path(state)
        for path, leaf in paths:
            if not isinstance(leaf, Tensor):
                raise CannotExport(
                    f"the state of {type(module).__name__} holds {leaf!r} at {pytree.keystr(path) or 'its top'}; "
                    "only tensors can be inputs of an ONNX file"
                )
        more = pytree.tree_leaves(module.initial_state(_noise(example, (rows or 2) + 1, frames.unit, 0)))
        shapes = [[leaf.shape] for _, leaf in paths]
        for _ in range(module.field.advance[0] // frames.unit + 1):
            _, state = module.step(like, state)
            for seen, leaf in zip(shapes, pytree.tree_leaves(state), strict=True):
                seen.append(leaf.shape)
        leaves = []
        for (path, leaf), other, seen in zip(paths, more, shapes, strict=True):
            sizes = list(zip(*seen, strict=True))
            moving = {axis: min(size) for axis, size in enumerate(sizes) if len(set(size)) > 1}
            has_rows = leaf.dim() > 0 and leaf.shape[0] != other.shape[0]
            leaves.append(_Leaf(_dotted(path), leaf.clone(), has_rows, moving, not moving and leaf.numel() == 0))
        return cls(module, example, rows, frames, leaves, spec)

    @property
    def kept(self) -> list[_Leaf]:
        """The tensors of the state that hold something."""
        return [leaf for leaf in self.leaves if not leaf.empty]

    def fill(self, x: Tensor, kept: tuple[Tensor, ...]) -> State:
        """The state as the module wants it, with those that never hold anything.

        While it is traced it must not touch the initial values, or the tracer would take them for constants.
        """
        given = iter(kept)
        leaves = []
        for leaf in self.leaves:
            shape = [x.shape[0] if leaf.has_rows and axis == 0 else n for axis, n in enumerate(leaf.initial.shape)]
            leaves.append(x.new_zeros(shape, dtype=leaf.initial.dtype) if leaf.empty else next(given))
        return pytree.tree_unflatten(leaves, self.spec)

    def keep(self, state: State) -> list[Tensor]:
        """The opposite."""
        leaves = pytree.tree_leaves(state)
        return [new for new, leaf in zip(leaves, self.leaves, strict=True) if not leaf.empty]


def _dotted(path: tuple[Any, ...]) -> str:
    """A place in a state as a name: ``.encoder.0``; nothing where the state is one tensor."""
    words = (getattr(key, "key", getattr(key, "idx", getattr(key, "name", key))) for key in path)
    return "".join(f".{word}" for word in words)


def _noise(example: Tensor, rows: int, frames: int, seed: int) -> Tensor:
    """Numbers like those of the example: between its smallest and largest, of its mean and spread."""
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, example.shape[1], frames, *example.shape[3:])
    if not example.is_floating_point():
        first, last = int(example.min()), int(example.max())
        return torch.randint(first, last + 1, shape, generator=generator).to(example.dtype)
    low, mean, high = float(example.min()), float(example.mean()), float(example.max())
    if low == high:  # it says nothing about the range
        return torch.randn(shape, generator=generator) * max(1.0, abs(mean) / 2) + mean
    return (torch.randn(shape, generator=generator) * float(example.std(correction=0)) + mean).clamp(low, high)


class _Step(nn.Module):
    """The step of a module with each tensor of its state as an argument of its own."""

    def __init__(self, plan: _Plan) -> None:
        super().__init__()
        self.module, self._plan = _unshared(plan.module), plan

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        with short_pieces(x.shape[2]):
            y, new = self.module.step(x, self._plan.fill(x, state))
        return y, *self._plan.keep(new)


def _unshared(module: CausalModule) -> CausalModule:
    """The module, with no part at two places, as one activation behind all layers is: it would confuse the tracer."""
    parts = [part for _, part in module.named_modules(remove_duplicate=False)]
    return _twin(module) if len(set(parts)) < len(parts) else module


def _twin(module: Any) -> Any:
    """A module of its own, and so are its parts, with the same tensors."""
    twin = object.__new__(type(module))
    twin.__dict__ = module.__dict__ | {
        "_modules": {name: part if part is None else _twin(part) for name, part in module._modules.items()}
    }
    return twin


# -------------------------------------------------------------------------------------------------------- torch → ONNX
def _convert(plan: _Plan) -> Any:
    """The file's content, a ``ModelProto``, without metadata."""
    if "prefer_deferred_runtime_asserts_over_guards" not in inspect.signature(torch.export.export).parameters:
        raise CannotExport(f"torch {torch.__version__} cannot export so; a newer one can, such as 2.13")
    from torch.fx.experimental import _config

    batch, time = (torch.export.Dim(name, min=1) for name in ("batch", "pieces"))
    rows = {} if plan.rows else {0: batch}
    shapes = []
    for number, leaf in enumerate(plan.kept):
        moving = {
            axis: torch.export.Dim(f"state_{number}_{axis}", min=smallest) for axis, smallest in leaf.moving.items()
        }
        shapes.append((rows if leaf.has_rows else {}) | moving)
    unit = plan.frames.unit
    frames = {} if plan.frames.fixed else {2: time if unit == 1 else unit * time}
    length = unit if plan.frames.fixed else unit * (3 * plan.module.field.advance[0] // unit + 2)
    x = _noise(plan.example, plan.rows or 2, length, 1)
    arguments = (x, *(leaf.initial for leaf in plan.kept))
    plan.module.step(x, plan.fill(x, arguments[1:]))  # weights and tables that are made when they are needed
    with _quietly():
        try:
            # A size of 0 or 1 is like any other.
            with _config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
                program = torch.export.export(
                    _Step(plan).eval(),
                    arguments,
                    dynamic_shapes=(rows | frames, *([tuple(shapes)] if shapes else [])),
                    prefer_deferred_runtime_asserts_over_guards=True,
                )
            onnx_program = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=["input", *(leaf.input for leaf in plan.kept)],
                output_names=["output", *(leaf.output for leaf in plan.kept)],
            )
            assert onnx_program is not None
            proto = onnx_program.model_proto
        except Exception as problem:
            raise CannotExport(
                f"{type(plan.module).__name__} cannot be exported: {type(problem).__name__}: {_first_lines(problem)}"
            ) from problem
    _name_axes(proto, plan)
    return proto


def _first_lines(problem: Exception) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return " ".join(lines[:3])[:400] or "no reason is given"


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's own messages, about packages and settings that nobody asked for, and graphs it prints."""
    names = ("torch.onnx", "torch.export", "torch.fx.experimental.symbolic_shapes", "onnxscript", "onnx_ir")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _name_axes(proto: Any, plan: _Plan) -> None:
    """Give the axes of inputs and outputs names that a reader understands, instead of the tracer's symbols."""
    names = {"input": "frames", "output": "out_frames"}
    for value in (*proto.graph.input, *proto.graph.output):
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if dimension.HasField("dim_param"):
                dimension.dim_param = "batch" if axis == 0 else names.get(value.name, f"{value.name}.frames")
    del proto.graph.value_info[:]  # they name the old symbols, and a runtime finds them itself


# ------------------------------------------------------------------------------------------------- metadata and files
def _metadata(plan: _Plan, rate_hz: float | None) -> dict[str, str]:
    field = plan.module.field
    rate_hz = field.rate_hz if rate_hz is None else rate_hz
    ahead = max(field.lookahead, 0)
    metadata = {
        "module": type(plan.module).__name__,
        "causalcnn_version": version("causalcnn"),
        "field": str(field if rate_hz is None else field.with_rate(rate_hz)),
        "past_frames": str(field.past),
        "lookahead_frames": str(field.lookahead),
        "latency_frames": str(ahead),
        "block_frames": str(field.advance[0]),
        "stride": str(field.stride),
        "convention": plan.module.convention.value,
        "rows": str(plan.rows or "any"),
        "frames": str(plan.frames),
        "states": json.dumps([_description(leaf) for leaf in plan.kept]),
    }
    if rate_hz is not None:
        metadata |= {"rate_hz": repr(float(rate_hz)), "latency_ms": repr(round(1000 * field.latency(rate_hz), 4))}
    return metadata


def _description(leaf: _Leaf) -> dict[str, Any]:
    value = leaf.initial[0] if leaf.has_rows else leaf.initial
    same = value.numel() == 0 or bool((value == value.flatten()[0]).all())
    first = value.flatten()[0].item() if value.numel() else 0
    return {
        "input": leaf.input,
        "output": leaf.output,
        "dtype": str(leaf.initial.dtype).removeprefix("torch."),
        "shape": ["batch" if leaf.has_rows and axis == 0 else size for axis, size in enumerate(leaf.initial.shape)],
        "initial": first if same else value.tolist(),
    }


def _write(proto: Any, metadata: dict[str, str], part: Path) -> None:
    del proto.metadata_props[:]
    for key, text in metadata.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, text
    if proto.ByteSize() >= MAX_PROTO_BYTES:
        raise CannotExport(f"the file would have {proto.ByteSize()} bytes; an ONNX file can have 2 GB")
    part.write_bytes(proto.SerializeToString())


# -------------------------------------------------------------------------------------------------------- verification
def _verify(plan: _Plan, file: Path, tolerance: float) -> float:
    """Run the file on uneven pieces and compare with torch: give the largest difference, or refuse the file."""
    runtime = require("onnxruntime", extra="export")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    try:
        session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as problem:
        raise CannotExport(f"onnxruntime cannot read the file: {_first_lines(problem)}") from problem
    rounding_decides = any(isinstance(part, VectorQuantizer) for part in plan.module.modules())
    problems = []
    for seed in range(RUNS if rounding_decides else 1):
        try:
            # A single row besides: one that is squeezed or asked for would look alike in three.
            return max(_run(plan, session, tolerance, seed, rows) for rows in ((plan.rows,) if plan.rows else (3, 1)))
        except CannotExport as problem:
            problems.append(problem)
    raise problems[0]


def _sizes(plan: _Plan) -> list[int]:
    """Uneven pieces: single frames, such that complete nothing, blocks, and one that is longer than the past."""
    block, unit = plan.module.field.advance[0], plan.frames.unit
    past = int(min(plan.module.field.past, 5_000))
    if plan.frames.fixed:
        return [unit] * (past // unit + 4)
    sizes = [1, 1, 2, block - 1, block, block + 1, 3, 2 * block + 1, 1, past + 2, 1, 5]
    return [max(1, size // unit) * unit for size in sizes if size > 0]


def _run(plan: _Plan, session: Any, tolerance: float, seed: int, rows: int) -> float:
    sizes = _sizes(plan)
    x = _noise(plan.example, rows, sum(sizes), seed)
    state = plan.module.initial_state(x)
    names = ["output", *(leaf.output for leaf in plan.kept)]
    feed = [tensor.numpy() for tensor in plan.keep(state)]
    worst = 0.0
    for piece in x.split(sizes, dim=2):
        y, state = plan.module.step(piece, state)
        wanted = [y, *plan.keep(state)]
        fed = {"input": piece.numpy(), **{leaf.input: old for leaf, old in zip(plan.kept, feed, strict=True)}}
        try:
            got = session.run(names, fed)
        except Exception as problem:
            raise CannotExport(
                f"onnxruntime cannot run it on a piece of {piece.shape[2]} frames: {_first_lines(problem)}"
            ) from problem
        for name, one, other in zip(names, got, wanted, strict=True):
            worst = max(worst, _difference(name, torch.from_numpy(one), other, piece.shape[2], tolerance))
        feed = got[1:]
    return worst


def _difference(name: str, got: Tensor, wanted: Tensor, frames: int, tolerance: float) -> float:
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        raise CannotExport(
            f"{name} is {got.dtype} {tuple(got.shape)} in onnxruntime and {wanted.dtype} {tuple(wanted.shape)} in "
            f"torch for a piece of {frames} frames"
        )
    if not wanted.numel():
        return 0.0
    largest = max(1.0, float(wanted.abs().max()))
    difference = float((got.double() - wanted.double()).abs().max()) / largest
    if not difference <= (tolerance if wanted.is_floating_point() else 0):
        raise CannotExport(
            f"{name} differs by {difference:.1e} of its largest value between onnxruntime and torch, for a piece of "
            f"{frames} frames; {tolerance:.0e} is allowed, and codes must be equal"
        )
    return difference
