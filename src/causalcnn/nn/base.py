"""The contract that every layer of causalcnn keeps, as a base class, and the stream that runs it piece by piece."""

from __future__ import annotations

import abc
import enum
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.utils import _pytree as pytree

from causalcnn.field import Field

__all__ = ["CausalModule", "Convention", "Stateless", "Stream"]

State = Any
"""A tensor, or any nesting of tuples, lists and dicts of tensors."""


class Convention(enum.Enum):
    """Up to which input frame an output of a strided layer reads. Both are called "causal" in the literature.

    ``STRICT``: output ``u`` reads inputs up to ``u·stride`` (Keras, WaveNet, TCN).
    ``BLOCK``: output ``u`` reads its whole block, up to ``(u+1)·stride − 1`` (EnCodec, Moshi, every STFT
    front end): it is known only when the block is complete. At stride 1 the two are the same.
    """

    STRICT = "strict"
    BLOCK = "block"

    @classmethod
    def of(cls, name: str | Convention) -> Convention:
        """The convention called ``name``, or an error that lists them."""
        try:
            return cls(name)
        except ValueError:
            raise ValueError(f"convention is {name!r}; it must be 'strict' or 'block'") from None

    def lookahead(self, stride: int) -> int:
        """Input frames beyond ``u·stride`` that output ``u`` may read."""
        return stride - 1 if self is Convention.BLOCK else 0


def empty_piece(x: Tensor) -> Tensor:
    """No frames of ``x``, in memory of its own: only batch, channels, frequency, dtype and device are left."""
    return x.narrow(min(2, x.dim() - 1), 0, 0).clone()


_MAKES_A_WEIGHT = (WeightNorm, SpectralNorm, BasePruningMethod)
"""Hooks of torch that make a weight from its parts in front of every ``forward``."""


def renew_weight(layer: nn.Module) -> None:
    """Run those hooks for a ``step`` or a stream; without them the weight would be that of the last forward."""
    for hook in layer._forward_pre_hooks.values():
        if isinstance(hook, _MAKES_A_WEIGHT):
            hook(layer, ())


class CausalModule(nn.Module, abc.ABC):
    """A network over time (axis 2) that runs on a whole sequence, on pieces of it, and as a stream.

    A subclass gives :attr:`field`, :meth:`initial_state` and :meth:`step`; the rest follows. A layer that remembers
    nothing is easier as a :class:`Stateless`, a model made of several layers as a :class:`Composite`.
    :func:`causalcnn.check_contract` verifies the contract.
    """

    @property
    @abc.abstractmethod
    def field(self) -> Field:
        """Which inputs an output reads, for any weights, known before any data is seen."""

    @property
    def convention(self) -> Convention:
        """Block where the field looks ahead within a block of inputs, else strict."""
        block = self.field.lookahead > 0 and self.field.advance[0] > 1
        return Convention.BLOCK if block else Convention.STRICT

    @abc.abstractmethod
    def initial_state(self, x: Tensor) -> State:
        """The state before the first frame: a history of zeros.

        Args:
            x: a piece of the input, perhaps without frames. Only its batch, channels, frequency, dtype and device
                are read.
        """

    @abc.abstractmethod
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Continue from ``state`` with any number of frames, also none. Pure: ``state`` is left as it was.

        Returns:
            The outputs that these frames complete (perhaps none), and the new state.
        """

    def forward(self, x: Tensor) -> Tensor:
        """A whole sequence: one step from the initial state."""
        return self.step(x, self.initial_state(x))[0]

    def stream(self, state: State | None = None) -> Stream:
        """The fast form of :meth:`step` for inference. It makes its state from the first piece.

        Args:
            state: where to go on, as :attr:`Stream.state` or :meth:`step` returned it.
        """
        return Stream(self, state)

    def reset_rows(self, state: State, rows: Tensor | list[int], x: Tensor) -> State:
        """A new state in which the given rows start afresh (a new speaker takes over a row of the batch).

        Rows share the phase of a strided layer, so a row can only be reset at a block boundary, that is
        when a multiple of the stride has been read.

        Args:
            state: as :meth:`step` returned it.
            rows: indices into the batch.
            x: a piece of the input, perhaps without frames, as for :meth:`initial_state`.

        Raises:
            ValueError: the stream is in the middle of a block.
        """
        leaves, spec = pytree.tree_flatten(state)
        out = []
        for old, new in zip(leaves, pytree.tree_leaves(self.initial_state(x)), strict=True):
            if old.shape[2:] != new.shape[2:]:
                raise ValueError(
                    f"rows can be reset at a block boundary only: the stream is in the middle of a block of "
                    f"{self.field.advance[0]} frames (its history holds {old.shape[2]} frames, not {new.shape[2]})"
                )
            chosen = torch.zeros(old.shape[0], *(1,) * (old.dim() - 1), dtype=torch.bool, device=old.device)
            chosen[torch.as_tensor(rows)] = True
            out.append(torch.where(chosen, new.to(old), old))
        return pytree.tree_unflatten(out, spec)


ModuleT = TypeVar("ModuleT", bound=CausalModule)


class Stream(Generic[ModuleT]):
    """A running inference: call it with the next frames, get the outputs that they complete.

    Holds its own state, computes without gradients, and equals :meth:`CausalModule.step`.

    Example:
        >>> stream = layer.stream()                          # doctest: +SKIP
        >>> for frame in microphone: codes = stream(frame)   # doctest: +SKIP
    """

    takes_frames = False
    """Whether :meth:`_frame`, a shorter way for a single frame ``(batch, channels)``, is there."""

    def __init__(self, module: ModuleT, state: State | None = None) -> None:
        self.module = module
        self._like: Tensor | None = None  # an empty piece: what a row that is reset begins with
        self._started = state is not None
        if state is not None:
            self._load(state)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """The next frames in, the outputs that they complete out.

        Raises:
            RuntimeError: ``x`` asks for gradients; a stream cannot give them, ``step`` can.
            ValueError: ``x`` has another batch than the pieces before.
        """
        if x.requires_grad:
            raise RuntimeError("a stream computes without gradients; use module.step(x, state) to differentiate")
        self._check_piece(x)
        if self.takes_frames and x.dim() == 3 and x.shape[2] == 1:
            return self._frame(x[:, :, 0]).unsqueeze(2)
        return self._advance(x)

    def _check_piece(self, x: Tensor) -> None:
        """The first piece says how large the state is, of which type and where; the others must fit."""
        if self._like is None:
            if not self._started:
                self._load(self.module.initial_state(x))
                self._started = True
            self._like = empty_piece(x)
        elif x.shape[0] != self._like.shape[0]:
            raise ValueError(f"this stream has {self._like.shape[0]} rows, the input has {x.shape[0]}")

    @property
    def state(self) -> State | None:
        """A copy of the state as :meth:`CausalModule.step` would hold it: save it, resume from it later.

        None before the first piece.
        """
        return pytree.tree_map(lambda leaf: leaf.clone(), self._save()) if self._started else None

    @torch.no_grad()
    def reset_rows(self, rows: Tensor | list[int]) -> None:
        """Let the given rows start afresh, at a block boundary; see :meth:`CausalModule.reset_rows`.

        Raises:
            RuntimeError: a resumed stream that has not been given a piece yet cannot know what to begin with.
        """
        if self._like is not None:
            self._load(self.module.reset_rows(self._save(), rows, self._like))
        elif self._started:
            raise RuntimeError(
                "this stream was resumed and has not been given a piece yet; reset the rows of its state before: "
                "module.stream(module.reset_rows(state, rows, x))"
            )

    # A faster stream overrides these three, and perhaps _frame.
    def _load(self, state: State) -> None:
        self._state = pytree.tree_map(lambda leaf: leaf.detach().clone(), state)

    def _save(self) -> State:
        return self._state

    def _advance(self, x: Tensor) -> Tensor:
        y, self._state = self.module.step(x, self._state)
        return y

    def _frame(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Stateless(CausalModule):
    """A layer that looks at each frame alone, so that there is nothing to remember. A subclass gives ``forward``.

    Its output frame ``u`` reads input frame ``u``, and, on ``(time, frequency)``, the same frequency only; a layer
    that mixes the frequencies of a frame says so in a :attr:`field` of its own.
    """

    takes_frames: bool = False
    """Whether ``forward`` also works on single frames ``(batch, channels)``, without an axis of time. Streams of one
    frame at a time are then faster."""

    @property
    def field(self) -> Field:
        """Output ``u`` reads input ``u``."""
        return Field.identity()

    def initial_state(self, x: Tensor) -> State:
        """Nothing to remember."""
        return ()

    @abc.abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The layer, on any number of frames."""

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The layer on these frames, whatever came before."""
        return self(x), ()

    def stream(self, state: State | None = None) -> Stream:
        """A stream that has nothing to remember."""
        return StatelessStream(self, state)


class StatelessStream(Stream[Stateless]):
    """Applies the layer, to a piece or to a frame."""

    takes_frames = True

    def _load(self, state: State) -> None:
        pass

    def _save(self) -> State:
        return ()

    def _advance(self, x: Tensor) -> Tensor:
        return self.module(x)

    def _frame(self, x: Tensor) -> Tensor:
        return self._advance(x) if self.module.takes_frames else self._advance(x[:, :, None])[:, :, 0]
