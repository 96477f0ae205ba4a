"""Layers in series, side by side, and around a skip: the field, the state and the stream follow from the parts."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from causalcnn.field import Field
from causalcnn.nn.law import CausalModule, Convention, State, Stream

__all__ = ["CausalSequential", "Parallel", "Pointwise", "Residual"]

POINTWISE = (
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Hardtanh,
    nn.Identity, nn.Dropout,
)  # fmt: skip
"""Modules of torch that look at one value at a time, so that they may stand anywhere in a causal network."""

OVER_TIME = {
    "BatchNorm": "in training it normalises with the mean over the whole recording, future included",
    "InstanceNorm": "it normalises with the mean over the whole recording, future included",
    "GroupNorm": "it normalises with the mean over the whole recording, future included",
    "LayerNorm": "on (batch, channels, time) it normalises over the last axes, and time is one of them",
    "GRU": "it expects (time, batch, features)",
    "LSTM": "it expects (time, batch, features)",
    "Conv": "it pads on both sides, or not at all",
    "Pool": "its window is not aligned with the past",
}


def as_causal(module: nn.Module, two_dimensional: bool = False) -> CausalModule:
    """``module`` as a layer under the law: itself, or a pointwise module wrapped.

    Raises:
        TypeError: it may read the future, and why; or it is not known.
    """
    if isinstance(module, CausalModule):
        return module
    if isinstance(module, POINTWISE):
        if getattr(module, "inplace", False):
            raise TypeError(
                f"{module} writes into its input, which a skip, another branch or the caller still needs; "
                "leave inplace out"
            )
        return Pointwise(module, two_dimensional=two_dimensional)
    name = type(module).__name__
    why = next((reason for word, reason in OVER_TIME.items() if word in name), "it is not known to be")
    cure = (
        "FrameNorm"
        if "Norm" in name
        else "the layer of causalcnn with the same name (CausalConv1d, CausalMaxPool1d, …)"
    )
    raise TypeError(f"{name} is not safe over time: {why}. Use {cure}, or a CausalModule of your own.")


class Pointwise(CausalModule):
    """Any function of one value, as a layer under the law.

    Args:
        function: a module that acts on every value alone, such as ``nn.ReLU()``.
        two_dimensional: whether its input has a frequency axis.
    """

    def __init__(self, function: nn.Module, *, two_dimensional: bool = False) -> None:
        super().__init__()
        self.function = function
        self.two_dimensional = two_dimensional

    @property
    def field(self) -> Field:
        """Output ``u`` reads input ``u``."""
        return identity_field(self.two_dimensional)

    @property
    def convention(self) -> Convention:
        """Strict: at stride 1 there is no other."""
        return Convention.STRICT

    def initial_state(self, batch: int, *frequency: int) -> State:
        """Nothing to remember."""
        return ()

    def forward(self, x: Tensor) -> Tensor:
        """The function of ``x``."""
        return self.function(x)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The function of ``x``."""
        return self.function(x), ()

    def stream(self, batch: int, *frequency: int, state: State | None = None) -> Stream:
        """A stream that has nothing to remember."""
        return PointwiseStream(self, batch, *frequency, state=state)


class PointwiseStream(Stream[Pointwise]):
    """Applies the function, to a piece or to a frame."""

    takes_frames = True

    def _frame(self, x: Tensor) -> Tensor:
        return self.module.function(x)


def identity_field(two_dimensional: bool) -> Field:
    """The field of doing nothing, over time or over time and frequency."""
    one = Field.identity()
    return Field.product(one, Field.identity(axis="frequency")) if two_dimensional else one


def frequencies_after(layer: CausalModule, frequency: tuple[int, ...]) -> tuple[int, ...]:
    """The size of the frequency axis behind a layer: it is asked for, by an empty piece, not computed twice."""
    if not frequency:
        return ()
    weight = next(layer.parameters(), torch.empty(0))
    channels = getattr(layer, "in_channels", None)
    if channels is None:  # pointwise layers and poolings keep the axis
        return frequency
    empty = torch.zeros(1, channels, 0, *frequency, dtype=weight.dtype, device=weight.device)
    return tuple(layer.step(empty, layer.initial_state(1, *frequency))[0].shape[3:])


@functools.lru_cache(maxsize=512)
def _series(fields: tuple[Field, ...], rates: tuple[float | None, ...], two_dimensional: bool) -> Field:
    """The fields in series; remembered, because a deep network asks for it often (rates: equal fields may differ)."""
    field = identity_field(two_dimensional)
    for part in fields:
        field = field.then(part)
    return field if not rates or rates[0] is None else field.at(rates[0])


class _Composite(CausalModule):
    """A module whose state is the tuple of the states of its parts."""

    parts: nn.ModuleList

    @property
    def convention(self) -> Convention:
        """Block where any part is block, else strict."""
        block = any(part.convention is Convention.BLOCK and part.field.stride > 1 for part in self.parts)
        return Convention.BLOCK if block else Convention.STRICT

    def stream(self, batch: int, *frequency: int, state: State | None = None) -> Stream:
        """A stream made of the fast streams of the parts."""
        return CompositeStream(self, batch, *frequency, state=state)

    def _frequencies(self, frequency: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The frequency axis in front of each part."""
        raise NotImplementedError

    def initial_state(self, batch: int, *frequency: int) -> State:
        """The initial states of the parts, as a tuple."""
        sizes = self._frequencies(frequency)
        return tuple(part.initial_state(batch, *size) for part, size in zip(self.parts, sizes, strict=True))  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        """A whole sequence, every part on the whole of it. The same as a step, without states that nobody asked for."""
        return self._combine(x, lambda i, piece: self.parts[i](piece))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Continue from ``state``; see :meth:`CausalModule.step`."""
        new: list[State] = [None] * len(self.parts)

        def advance(i: int, piece: Tensor) -> Tensor:
            y, new[i] = self.parts[i].step(piece, state[i])  # type: ignore[operator]
            return y

        return self._combine(x, advance), tuple(new)

    def _combine(self, x: Tensor, advance: Any) -> Tensor:
        """How the parts work together; ``advance(i, x)`` runs part ``i``. One text for step and for stream."""
        raise NotImplementedError


class CompositeStream(Stream[_Composite]):
    """Runs the fast stream of each part; no delays to keep, because every part is causal at the same rate."""

    def _load(self, state: State) -> None:
        parts = self.module.parts
        self._streams = [part.stream(self.batch, state=piece) for part, piece in zip(parts, state, strict=True)]  # type: ignore[operator]
        self.takes_frames = all(stream.takes_frames for stream in self._streams)
        self._frames = [stream._frame for stream in self._streams]

    def _save(self) -> State:
        return tuple(stream._save() for stream in self._streams)

    def _advance(self, x: Tensor) -> Tensor:
        return self.module._combine(x, lambda i, piece: self._streams[i]._advance(piece))

    def _frame(self, x: Tensor) -> Tensor:
        return self.module._combine(x, lambda i, frame: self._frames[i](frame))


class CausalSequential(_Composite):
    """Layers one after the other, under the law.

    Args:
        layers: causal layers, and pointwise modules of torch such as ``nn.ReLU()``.
        two_dimensional: whether the input has a frequency axis; only needed if no layer tells.
    Raises:
        TypeError: a module that reads the future or that is not known to be safe; the error says why.
    """

    def __init__(self, *layers: nn.Module, two_dimensional: bool | None = None) -> None:
        super().__init__()
        if two_dimensional is None:
            known = [len(layer.field.axes) == 2 for layer in layers if isinstance(layer, CausalModule)]
            two_dimensional = any(known)
        self.two_dimensional = two_dimensional
        self.parts = nn.ModuleList(as_causal(layer, two_dimensional) for layer in layers)
        self._depth = len(self.parts)
        self._channels()

    def _channels(self) -> None:
        known = [part.in_channels for part in self.parts if hasattr(part, "in_channels")]
        if known:
            self.in_channels = known[0]

    @property
    def field(self) -> Field:
        """The fields of the layers in series."""
        fields: list[Field] = [part.field for part in self.parts]  # type: ignore[misc]
        return _series(tuple(fields), tuple(field.rate_hz for field in fields), self.two_dimensional)

    def _frequencies(self, frequency: tuple[int, ...]) -> list[tuple[int, ...]]:
        sizes = []
        for part in self.parts:
            sizes.append(frequency)
            frequency = frequencies_after(part, frequency)  # type: ignore[arg-type]
        return sizes

    def _combine(self, x: Tensor, advance: Any) -> Tensor:
        for i in range(self._depth):
            x = advance(i, x)
        return x

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> nn.Module:
        return self.parts[index]


class Residual(_Composite):
    """``x + body(x)``: the skip connection of He et al., arXiv 1512.03385.

    Its field is the body's and the present frame: a skip adds a path, it never takes one away.

    Raises:
        ValueError: the body changes the rate, also within, or reads ahead, so that its output would not fit the skip.
    """

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        inner = body[0] if len(body) == 1 and isinstance(body[0], CausalModule) else CausalSequential(*body)
        if inner.field.stride != 1 or inner.field.lookahead > 0:
            raise ValueError(
                f"a skip needs a body at the same rate that never looks ahead; this one has stride "
                f"{inner.field.stride} and looks {max(0, inner.field.lookahead)} frames ahead"
            )
        if inner.field.advance[0] != 1:  # down and up again: it speaks in blocks, and the skip at every frame
            raise ValueError(
                f"a skip needs a body that speaks at every frame; this one speaks once in {inner.field.advance[0]} "
                "frames, because it goes down in rate and up again. Put the stride outside of the skip"
            )
        self.parts = nn.ModuleList([inner])
        if hasattr(inner, "in_channels"):
            self.in_channels = inner.in_channels

    @property
    def body(self) -> CausalModule:
        """What stands beside the skip."""
        return self.parts[0]  # type: ignore[return-value]

    @property
    def field(self) -> Field:
        """The body's field and the present."""
        return self.body.field | identity_field(len(self.body.field.axes) == 2)

    def _frequencies(self, frequency: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [frequency]

    def _combine(self, x: Tensor, advance: Any) -> Tensor:
        return x + advance(0, x)


class Parallel(_Composite):
    """Branches that read the same input, their outputs added or concatenated over channels.

    Args:
        branches: causal modules with the same stride and the same look-ahead.
        combine: ``"add"`` or ``"concat"``.
    Raises:
        ValueError: branches whose outputs do not come at the same time, or an unknown ``combine``.
    """

    def __init__(self, branches: Sequence[nn.Module], *, combine: Literal["add", "concat"] = "add") -> None:
        super().__init__()
        if combine not in ("add", "concat"):
            raise ValueError(f"combine is {combine!r}; it must be 'add' or 'concat'")
        if not branches:
            raise ValueError("Parallel needs at least one branch")
        self.parts = nn.ModuleList(as_causal(branch) for branch in branches)
        layers: list[CausalModule] = list(self.parts)  # type: ignore[arg-type]
        kinds = {
            (layer.field.stride, layer.field.advance[0], layer.convention.value if layer.field.stride != 1 else "")
            for layer in layers
        }
        if len(kinds) > 1:
            raise ValueError(
                f"branches speak at different times, (stride, frames at once, convention): {sorted(kinds)}"
            )
        self.combine = combine
        if hasattr(self.parts[0], "in_channels"):
            self.in_channels = self.parts[0].in_channels

    @property
    def field(self) -> Field:
        """The union of the branches' fields."""
        first, *rest = [part.field for part in self.parts]
        for field in rest:
            first = first | field  # type: ignore[operator]
        return first  # type: ignore[return-value]

    def _frequencies(self, frequency: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [frequency] * len(self.parts)

    def _combine(self, x: Tensor, advance: Any) -> Tensor:
        outputs = [advance(i, x) for i in range(len(self.parts))]
        return torch.cat(outputs, 1) if self.combine == "concat" else torch.stack(outputs).sum(0)
