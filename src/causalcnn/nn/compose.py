"""Models made of layers: a base for any, and layers in series, side by side, and around a skip."""

from __future__ import annotations

import abc
import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from causalcnn.field import Field
from causalcnn.nn.base import CausalModule, State, Stateless, StatelessStream, Stream, empty_piece
from causalcnn.nn.exporting import is_exporting
from causalcnn.nn.hooks import has_forward_hooks, has_hooks
from causalcnn.nn.streams import RingStream

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
    """Make a layer that keeps the contract from a module.

    Args:
        module: a causal module, or a module of torch that acts on each value alone.

    Returns:
        The causal module as it is; the other in a :class:`Pointwise`.

    Raises:
        TypeError: the module may read the future, writes into its input, or is not known; the message says why.
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
    """A function of one value, such as an activation, as a causal layer.

    :class:`CausalSequential` and the other composites wrap the activations of torch by themselves; for a function of
    your own, wrap it in this class.

    Args:
        function: a module that acts on each value alone, such as ``nn.ReLU()``.

    Shape:
        any, unchanged.

    Example:
        >>> import torch
        >>> from causalcnn.nn import Pointwise
        >>> Pointwise(torch.nn.ReLU())(torch.tensor([[[-1.0, 2.0]]]))
        tensor([[[0., 2.]]])
    """

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function

    @override
    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    @override
    def _begin(self, x: Tensor) -> tuple[State, Tensor]:
        return (
            (),
            x,
        )  # no function is called on no values: it may not be able to, and its hooks would count one call more

    @override
    def _torch_stream(self, state: State | None) -> Stream:
        return PointwiseStream(self, state)


class PointwiseStream(StatelessStream):
    """Calls the function directly, on pieces and on frames: in a deep network, every call between them costs time."""

    module: Pointwise

    def _load(self, state: State) -> None:
        function = self.module.function
        if not has_hooks(function) and not has_hooks(self.module):  # else they are called, and that costs more
            self._advance = self._frame = function.forward  # type: ignore[method-assign]


Run = Callable[[CausalModule, Tensor], Tensor]
"""Runs a part of a composite on what it is given: on a whole sequence, on a piece, or as a stream."""


class Composite(CausalModule):
    """Base class of models that are made of several causal modules, their *parts*.

    A subclass assigns the parts to attributes (lists of them to an ``nn.ModuleList``), and defines :attr:`field` and
    :meth:`compose`, which says once how the parts work together. ``forward``, ``step`` and ``stream`` follow from it.
    The state is a dict from the name of each part to its state.

    Attributes:
        takes_frames: whether :meth:`compose` also accepts a single frame, ``(batch, channels)``, without an axis of
            time. Streams that get one frame at a time are then faster.

    Example:
        >>> import torch
        >>> from causalcnn import CausalConv1d, Composite
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

    @abc.abstractmethod
    def compose(self, x: Tensor, run: Run) -> Tensor:
        """Compute the output from the input with the help of the parts.

        Args:
            x: the input, with any number of frames, ``(batch, channels, time[, frequency])``; where
                :attr:`takes_frames` is True, also a single frame, ``(batch, channels)``.
            run: a function that runs a part; ``run(part, piece)`` returns its output. Run each part once, and always
                with ``run``; do not call a part directly.

        Returns:
            The output, ``(batch, out_channels, out_time[, frequency])``; for a single frame ``(batch, out_channels)``.
        """

    @override
    def forward(self, x: Tensor) -> Tensor:
        return self.compose(x, lambda part, piece: part(piece))

    @torch.no_grad()
    def initial_state(self, x: Tensor) -> State:
        """Make the state before the first frame from the initial states of the parts.

        A piece without frames passes through the model, so that each part sees what its input looks like.

        Args:
            x: a piece of the input, ``(batch, channels, time[, frequency])``; no frames are needed. Only its batch
                size, channels, frequencies, dtype and device are used, not its values.

        Returns:
            A dict from the name of each part that :meth:`compose` runs to its initial state.

        Raises:
            ValueError: ``x`` is no input of this model; or :meth:`compose` runs a module that is no part of it, or
                one part twice.
        """
        return self._begin_parts(empty_piece(x))[0]

    @torch.no_grad()
    def _begin(self, x: Tensor) -> tuple[State, Tensor]:
        plain = type(self).initial_state is Composite.initial_state
        return self._begin_parts(x) if plain else super()._begin(x)

    def _begin_parts(self, x: Tensor) -> tuple[dict[str, State], Tensor]:
        state: dict[str, State] = {}
        names = self._names()

        def run(part: CausalModule, piece: Tensor) -> Tensor:
            name, own = names.get(part), type(self).__name__
            if name is None:
                raise ValueError(f"{type(part).__name__} is no part of {own}; assign it to an attribute in __init__")
            if name in state:
                raise ValueError(f"{name} of {own} is run twice, and has one state; run CausalSequential(self.{name})")
            state[name], y = part._begin(piece)
            return y

        return state, self.compose(x, run)

    @override
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
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
        """Make a ``run`` for :meth:`compose` that steps each part and writes its new state into ``state``.

        Args:
            state: the state of each part by its name; it is changed.

        Returns:
            The function ``run(part, piece)``. It raises a ValueError for a part of which ``state`` holds no state.
        """
        names = self._names()

        def run(part: CausalModule, piece: Tensor) -> Tensor:
            if names[part] not in state:
                raise _no_state(names[part])
            y, state[names[part]] = part.step(piece, state[names[part]])
            return y

        return run

    @override
    def _torch_stream(self, state: State | None) -> Stream:
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
        """The ``run`` of :meth:`Composite.compose`, which gives the next outputs of a part's stream."""
        advance = self._pieces.get(part)
        if advance is None:
            raise _no_state(self.module._names()[part])
        return advance(piece)

    def _advance(self, x: Tensor) -> Tensor:
        return self.module.compose(x, self.run)

    def _frame(self, x: Tensor) -> Tensor:
        frames = self._frames
        return self.module.compose(x, lambda part, frame: frames[part](frame))


class SequentialStream(CompositeStream):
    """Runs through the layers without looking them up each time, as :meth:`CausalSequential.compose` does.

    A ReLU before a layer with a ring is done on the way into the ring.
    """

    def _load(self, state: State) -> None:
        super()._load(state)
        for name in self.module._names().values():  # or a layer would be stepped over
            if name not in self._streams:
                raise _no_state(name)
        chain: list[Stream] = []
        for stream in self._streams.values():
            if (
                isinstance(stream, RingStream)
                and not has_forward_hooks(stream.module)
                and chain
                and _is_relu(chain[-1])
            ):
                stream.rectifies = True
                chain.pop()
            chain.append(stream)
        for before, after in itertools.pairwise(chain):
            if after._copies_input:
                before._reuse_output()
        self._last = chain[-1] if chain else None
        self._copies_input = bool(chain) and chain[0]._copies_input
        self._chain = [stream._advance for stream in chain]
        self._frame_chain = [stream._frame for stream in chain]

    def _reuse_output(self) -> None:
        if self._last is not None:
            self._last._reuse_output()

    def _advance(self, x: Tensor) -> Tensor:
        for advance in self._chain:
            x = advance(x)
        return x

    def _frame(self, x: Tensor) -> Tensor:
        for next_frame in self._frame_chain:
            x = next_frame(x)
        return x


class ResidualStream(CompositeStream):
    """Adds what the body gives, without looking it up each time."""

    def _load(self, state: State) -> None:
        super()._load(state)
        if "body" not in self._streams:
            raise _no_state("body")
        self._body = self._streams["body"]
        self._body._reuse_output()
        self._copies_input = self._body._copies_input

    def _advance(self, x: Tensor) -> Tensor:
        return x + self._body._advance(x)

    def _frame(self, x: Tensor) -> Tensor:
        return x + self._body._frame(x)


def _is_relu(stream: Stream) -> bool:
    """Whether this is the stream of a plain ReLU, of which nobody would miss the call."""
    function = getattr(stream.module, "function", None)
    return type(function) is nn.ReLU and not has_hooks(function) and not has_hooks(stream.module)


@functools.lru_cache(maxsize=512)
def _series(fields: tuple[Field, ...], rates: tuple[float | None, ...]) -> Field:
    """The fields in series, cached, because a deep network asks for it often (equal fields may differ in ``rates``)."""
    return functools.reduce(Field.then, fields, Field.identity())


class CausalSequential(Composite):
    """Layers one after the other, the causal form of :class:`torch.nn.Sequential`.

    Args:
        *layers: causal layers, and modules of torch that act on each value alone, such as ``nn.ReLU()``.

    Attributes:
        takes_frames: True; see :class:`Composite`.

    Shape:
        ``(batch, channels, time[, frequency])`` of the first layer → ``(batch, out_channels, out_time[, frequency])``
        of the last one.

    Raises:
        TypeError: a layer reads the future or is not known to be safe; the message says why.

    Example:
        >>> from torch import nn
        >>> from causalcnn.nn import CausalConv1d, CausalSequential
        >>> net = CausalSequential(CausalConv1d(1, 8, 3), nn.ReLU(), CausalConv1d(8, 8, 3, dilation=3))
        >>> len(net), net.field.size, net.field.lookahead
        (3, 9, 0)
    """

    takes_frames = True

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        for i, layer in enumerate(_as_parts(layers)):
            self.add_module(str(i), layer)  # as nn.Sequential names them

    @property
    def parts(self) -> tuple[CausalModule, ...]:
        """The layers, in order."""
        return tuple(self._modules.values())  # type: ignore[arg-type]

    @property
    @override
    def field(self) -> Field:
        fields = tuple(part.field for part in self.parts)
        return _series(fields, tuple(field.rate_hz for field in fields))

    @override
    def compose(self, x: Tensor, run: Run) -> Tensor:
        for part in self.parts:
            x = run(part, x)
        return x

    @override
    def _torch_stream(self, state: State | None) -> Stream:
        plain = type(self).compose is CausalSequential.compose
        return SequentialStream(self, state) if plain else CompositeStream(self, state)

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> CausalModule:
        return self.parts[index]


class Residual(Composite):
    """A skip connection around a body of layers, ``x + body(x)``.

    It reads what the body reads, and the present frame.

    Args:
        *body: the layers of the body, as for :class:`CausalSequential`, with as many channels out as in.

    Attributes:
        takes_frames: True; see :class:`Composite`.

    Shape:
        ``(batch, channels, time[, frequency])``, unchanged.

    Raises:
        TypeError: a layer reads the future or is not known to be safe; the message says why.
        ValueError: the body looks ahead, has a stride, or changes the rate and back inside, so that its output would
            not fit the skip. From ``forward`` and ``step``: the body changes the channels or the frequencies.

    Source:
        He et al., Deep Residual Learning for Image Recognition, arXiv 1512.03385, §3.

    Example:
        >>> from causalcnn.nn import CausalConv1d, Residual
        >>> block = Residual(CausalConv1d(4, 4, kernel_size=2, dilation=8))
        >>> sorted(block.field.inputs_of(0))
        [-8, 0]
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
    @override
    def field(self) -> Field:
        return self.body.field | Field.identity()

    @override
    def compose(self, x: Tensor, run: Run) -> Tensor:
        y = run(self.body, x)
        if y.shape[1] != x.shape[1] or y.shape[3:] != x.shape[3:]:  # one channel or cell would be spread over all
            raise ValueError(
                f"the body makes {tuple(y.shape)} of {tuple(x.shape)}; around a skip it must leave channels and "
                "frequencies as they are"
            )
        return x + y

    @override
    def _torch_stream(self, state: State | None) -> Stream:
        plain = type(self).compose is Residual.compose
        return ResidualStream(self, state) if plain else CompositeStream(self, state)


class Parallel(Composite):
    """Branches that read the same input; their outputs are added or concatenated.

    Args:
        *branches: causal modules, and modules of torch that act on each value alone, with the same stride and
            convention.
        combine: ``"add"`` sums the outputs; ``"concat"`` puts their channels one after the other.

    Attributes:
        takes_frames: True; see :class:`Composite`.

    Shape:
        ``(batch, channels, time[, frequency])`` → ``(batch, out_channels, out_time[, frequency])`` as of each branch;
        with ``"concat"`` the ``out_channels`` of all branches together.

    Raises:
        TypeError: a branch reads the future or is not known to be safe; the message says why.
        ValueError: there is no branch, their outputs do not come at the same time, or ``combine`` is neither
            ``"add"`` nor ``"concat"``. From ``forward`` and ``step``: the outputs do not fit each other.

    Example:
        >>> import torch
        >>> from causalcnn.nn import CausalConv1d, Parallel
        >>> both = Parallel(CausalConv1d(1, 4, 3), CausalConv1d(1, 4, 3, dilation=4), combine="concat")
        >>> both(torch.zeros(2, 1, 10)).shape, sorted(both.field.inputs_of(0))
        (torch.Size([2, 8, 10]), [-8, -4, -2, -1, 0])
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
    @override
    def field(self) -> Field:
        fields: list[Field] = [branch.field for branch in self.branches]  # type: ignore[misc]
        return functools.reduce(operator.or_, fields)

    @override
    def compose(self, x: Tensor, run: Run) -> Tensor:
        outputs = [run(branch, x) for branch in self.branches]  # type: ignore[arg-type]
        kept = slice(2, None) if self.combine == "concat" else slice(1, None)
        if not is_exporting() and any(y.shape[kept] != outputs[0].shape[kept] for y in outputs):
            raise ValueError(
                f"of {tuple(x.shape)} the branches make {', '.join(str(tuple(y.shape)) for y in outputs)}: they speak "
                "at different times, or have other channels or frequencies"
            )
        return torch.cat(outputs, 1) if self.combine == "concat" else torch.stack(outputs).sum(0)
