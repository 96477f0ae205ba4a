"""Models made of layers: a base for any, and layers in series, side by side, and around a skip."""

from __future__ import annotations

import abc
import functools
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from causalcnn.field import Field
from causalcnn.nn.base import CausalModule, State, Stateless, StatelessStream, Stream, empty_piece

__all__ = ["CausalSequential", "Composite", "Parallel", "Pointwise", "Residual"]

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


def as_causal(module: nn.Module) -> CausalModule:
    """``module`` as a layer that keeps the contract: itself, or a pointwise module wrapped.

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
        return Pointwise(module)
    name = type(module).__name__
    why = next((reason for word, reason in OVER_TIME.items() if word in name), "it is not known to be")
    cure = (
        "FrameNorm"
        if "Norm" in name
        else "the layer of causalcnn with the same name (CausalConv1d, CausalMaxPool1d, …)"
    )
    raise TypeError(f"{name} is not safe over time: {why}. Use {cure}, or a CausalModule of your own.")


def _as_parts(modules: Iterable[nn.Module]) -> list[CausalModule]:
    """Causal layers for a composite. One that stands at two places gets a wrapper, for it has two states."""
    parts: list[CausalModule] = []
    for module in modules:
        part = as_causal(module)
        parts.append(CausalSequential(part) if part in parts else part)
    return parts


class Pointwise(Stateless):
    """Any function of one value, as a layer that keeps the contract.

    Args:
        function: a module that acts on every value alone, such as ``nn.ReLU()``.

    Shape: unchanged.
    """

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """The function of ``x``."""
        return self.function(x)

    def stream(self, state: State | None = None) -> Stream:
        """A stream that has nothing to remember."""
        return PointwiseStream(self, state)


class PointwiseStream(StatelessStream):
    """Calls the function, on pieces and on frames: in deep networks every call that lies between counts."""

    module: Pointwise

    def _advance(self, x: Tensor) -> Tensor:
        return self.module.function(x)

    _frame = _advance


Run = Callable[[CausalModule, Tensor], Tensor]
"""Runs a part of a composite on what it is given: on a whole sequence, on a piece, or as a stream."""


class Composite(CausalModule):
    """A model made of several causal modules, its *parts*.

    A subclass assigns the parts to attributes (lists of them to an ``nn.ModuleList``) and gives :attr:`field` and
    :meth:`compose`: how the parts work together, written once. Whole sequences, steps, states and streams follow.
    The state is a dict: the name of each part, and its state.

    Example:
        >>> from causalcnn import CausalConv1d
        >>> class Gated(Composite):
        ...     def __init__(self, channels):
        ...         super().__init__()
        ...         self.value = CausalConv1d(channels, channels, 3)
        ...         self.gate = CausalConv1d(channels, channels, 3, dilation=2)
        ...
        ...     @property
        ...     def field(self):
        ...         return self.value.field | self.gate.field
        ...
        ...     def compose(self, x, run):
        ...         return torch.tanh(run(self.value, x)) * torch.sigmoid(run(self.gate, x))
        >>> print(Gated(8).field)
        reads 5 frames: 4 frames of past; never looks ahead; touches 4, skips 1
    """

    takes_frames: bool = False
    """Whether :meth:`compose` also works on single frames ``(batch, channels)``, without an axis of time. Streams
    of one frame at a time are then faster."""

    @abc.abstractmethod
    def compose(self, x: Tensor, run: Run) -> Tensor:
        """How the parts work together.

        Args:
            x: the input, any number of frames.
            run: ``run(part, piece)`` gives the output of a part; each part is run once. Never call a part itself.
        """

    def forward(self, x: Tensor) -> Tensor:
        """A whole sequence, every part on the whole of it: a step without the states that nobody asked for."""
        return self.compose(x, lambda part, piece: part(piece))

    @torch.no_grad()
    def initial_state(self, x: Tensor) -> State:
        """The initial state of each part: an empty piece passes through the model, so that each sees its shape.

        Raises:
            ValueError: :meth:`compose` runs what is no part of the model, or one part twice.
        """
        state: dict[str, State] = {}
        names = self._names()

        def run(part: CausalModule, piece: Tensor) -> Tensor:
            name, own = names.get(part), type(self).__name__
            if name is None:
                raise ValueError(f"{type(part).__name__} is no part of {own}; assign it to an attribute in __init__")
            if name in state:
                raise ValueError(f"{name} of {own} is run twice, and has one state; run CausalSequential(self.{name})")
            state[name] = part.initial_state(piece)
            # No function is called on no values: it may not be able to, and its hooks would count one call more.
            return piece if isinstance(part, Pointwise) else part.step(piece, state[name])[0]

        self.compose(empty_piece(x), run)
        return state

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Continue from ``state``; see :meth:`CausalModule.step`."""
        new = dict(self._check_state(state))
        return self.compose(x, self.run_into(new)), new

    def _check_state(self, state: State) -> dict[str, State]:
        """Refuse what cannot be a state of this model."""
        names = self._names().values()
        if not isinstance(state, dict) or not state.keys() <= set(names):
            got = f"the parts {', '.join(map(str, state))}" if isinstance(state, dict) else f"a {type(state).__name__}"
            raise ValueError(f"this state is {got}; {type(self).__name__} has the parts {', '.join(names)}")
        return state

    def run_into(self, state: dict[str, State]) -> Run:
        """A ``run`` for :meth:`compose` that steps each part and writes its new state into ``state``."""
        names = self._names()

        def run(part: CausalModule, piece: Tensor) -> Tensor:
            if names[part] not in state:
                raise _no_state(names[part])
            y, state[names[part]] = part.step(piece, state[names[part]])
            return y

        return run

    def stream(self, state: State | None = None) -> Stream:
        """A stream made of the fast streams of the parts."""
        return CompositeStream(self, state)

    def _names(self) -> dict[CausalModule, str]:
        return dict(_named_parts(self, ""))


def _no_state(name: str) -> ValueError:
    return ValueError(f"the state does not hold the part {name}; take one of initial_state(x), step or a stream")


def _named_parts(module: nn.Module, prefix: str) -> Iterator[tuple[CausalModule, str]]:
    """The causal modules inside ``module`` that are in no other causal module, and their names."""
    for name, child in module._modules.items():
        if isinstance(child, CausalModule):
            yield child, prefix + name
        elif child is not None:
            yield from _named_parts(child, f"{prefix}{name}.")


class CompositeStream(Stream[Composite]):
    """Runs the fast stream of each part; no delays to keep, because every part is causal at the same rate."""

    def _load(self, state: State) -> None:
        self._streams: dict[str, Stream] = {}
        self._pieces: dict[CausalModule, Callable[[Tensor], Tensor]] = {}
        self._frames: dict[CausalModule, Callable[[Tensor], Tensor]] = {}
        state = self.module._check_state(state)
        for part, name in _named_parts(self.module, ""):
            if name in state:  # a model need not run all of its parts
                self._streams[name] = stream = part.stream(state[name])
                self._pieces[part], self._frames[part] = stream._advance, stream._frame
        self.takes_frames = self.module.takes_frames and all(stream.takes_frames for stream in self._streams.values())

    def _save(self) -> State:
        return {name: stream._save() for name, stream in self._streams.items()}

    def run(self, part: CausalModule, piece: Tensor) -> Tensor:
        """The ``run`` of :meth:`Composite.compose`: the next outputs of a part's stream."""
        if part not in self._pieces:
            raise _no_state(self.module._names()[part])
        return self._pieces[part](piece)

    def _advance(self, x: Tensor) -> Tensor:
        return self.module.compose(x, self.run)

    def _frame(self, x: Tensor) -> Tensor:
        frames = self._frames
        return self.module.compose(x, lambda part, frame: frames[part](frame))


class SequentialStream(CompositeStream):
    """What :meth:`CausalSequential.compose` does to a frame, without asking each time which layers there are."""

    def _load(self, state: State) -> None:
        super()._load(state)
        for name in self.module._names().values():  # or a layer would be stepped over
            if name not in self._streams:
                raise _no_state(name)

    def _frame(self, x: Tensor) -> Tensor:
        for next_frame in self._frames.values():
            x = next_frame(x)
        return x


@functools.lru_cache(maxsize=512)
def _series(fields: tuple[Field, ...], rates: tuple[float | None, ...]) -> Field:
    """The fields in series; remembered, because a deep network asks for it often (rates: equal fields may differ)."""
    return functools.reduce(Field.then, fields, Field.identity())


class CausalSequential(Composite):
    """Layers one after the other.

    Args:
        layers: causal layers, and pointwise modules of torch such as ``nn.ReLU()``.

    Raises:
        TypeError: a module that reads the future or that is not known to be safe; the error says why.
    """

    takes_frames = True

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        for i, layer in enumerate(_as_parts(layers)):
            self.add_module(str(i), layer)  # as nn.Sequential names them

    @property
    def parts(self) -> tuple[CausalModule, ...]:
        """The layers."""
        return tuple(self._modules.values())  # type: ignore[arg-type]

    @property
    def field(self) -> Field:
        """The fields of the layers in series."""
        fields = tuple(part.field for part in self.parts)
        return _series(fields, tuple(field.rate_hz for field in fields))

    def compose(self, x: Tensor, run: Run) -> Tensor:
        """Each layer reads what the one before it wrote."""
        for part in self.parts:
            x = run(part, x)
        return x

    def stream(self, state: State | None = None) -> Stream:
        """A stream made of the fast streams of the layers."""
        plain = type(self).compose is CausalSequential.compose
        return SequentialStream(self, state) if plain else CompositeStream(self, state)

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> CausalModule:
        return self.parts[index]


class Residual(Composite):
    """``x + body(x)``: the skip connection of He et al., arXiv 1512.03385.

    Its field is the body's and the present frame: a skip adds a path, it never takes one away.

    Raises:
        ValueError: the body changes the rate, also within, or reads ahead, so that its output would not fit the skip.
    """

    takes_frames = True

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
        self.body = inner

    @property
    def field(self) -> Field:
        """The body's field and the present."""
        return self.body.field | Field.identity()

    def compose(self, x: Tensor, run: Run) -> Tensor:
        """The input and what the body made of it."""
        return x + run(self.body, x)


class Parallel(Composite):
    """Branches that read the same input, their outputs added or concatenated over channels.

    Args:
        branches: causal modules with the same stride and the same look-ahead.
        combine: ``"add"`` or ``"concat"``.
    Raises:
        ValueError: branches whose outputs do not come at the same time, or an unknown ``combine``.
    """

    takes_frames = True

    def __init__(self, *branches: nn.Module, combine: Literal["add", "concat"] = "add") -> None:
        super().__init__()
        if combine not in ("add", "concat"):
            raise ValueError(f"combine is {combine!r}; it must be 'add' or 'concat'")
        if not branches:
            raise ValueError("Parallel needs at least one branch")
        layers = _as_parts(branches)
        self.branches = nn.ModuleList(layers)
        kinds = {
            (layer.field.stride, layer.field.advance[0], layer.convention.value if layer.field.stride != 1 else "")
            for layer in layers
        }
        if len(kinds) > 1:
            raise ValueError(
                f"branches speak at different times, (stride, frames at once, convention): {sorted(kinds)}"
            )
        self.combine = combine

    @property
    def field(self) -> Field:
        """The union of the branches' fields."""
        fields: list[Field] = [branch.field for branch in self.branches]  # type: ignore[misc]
        return functools.reduce(operator.or_, fields)

    def compose(self, x: Tensor, run: Run) -> Tensor:
        """The outputs of all branches, added or side by side."""
        outputs = [run(branch, x) for branch in self.branches]  # type: ignore[arg-type]
        return torch.cat(outputs, 1) if self.combine == "concat" else torch.stack(outputs).sum(0)
