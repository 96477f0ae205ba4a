"""The one law that every layer of causalcnn obeys, as a base class: whole = pieces, the past only, said beforehand."""

from __future__ import annotations

import abc
import enum
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from causalcnn.field import Field

__all__ = ["CausalModule", "Convention", "Stream"]

State = Any
"""A tensor, or any nesting of tuples, lists and dicts of tensors."""


class Convention(enum.Enum):
    """When a strided layer may speak. Both are called "causal" in the wild, so ours say which they are.

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


def refuse_other_bands(frequency: tuple[int, ...], bands: int) -> None:
    """A model of ``bands`` bands can leave the frequency axis unsaid; another one is an error."""
    if frequency not in ((), (bands,)):
        raise ValueError(f"the frequency axis is {frequency}; this model takes ({bands},)")


class CausalModule(nn.Module, abc.ABC):
    """A network over time (axis 2) that runs on a whole sequence, on pieces of it, and as a stream.

    A subclass gives :attr:`field`, :meth:`initial_state` and :meth:`step`; the rest follows. The law it
    must keep is verified by :func:`causalcnn.check_contract`.
    """

    @property
    @abc.abstractmethod
    def field(self) -> Field:
        """Which inputs an output reads, for any weights, known before any data is seen."""

    @property
    @abc.abstractmethod
    def convention(self) -> Convention:
        """Strict or block: when an output of this module may be known."""

    @abc.abstractmethod
    def initial_state(self, batch: int, *frequency: int) -> State:
        """The state before the first frame: a history of zeros.

        Args:
            batch: rows. frequency: cells of the frequency axis, for modules over ``(time, frequency)``.
        """

    @abc.abstractmethod
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Continue from ``state`` with any number of frames, also none. Pure: ``state`` is left as it was.

        Returns:
            The outputs that these frames complete (perhaps none), and the new state.
        """

    def forward(self, x: Tensor) -> Tensor:
        """A whole sequence: one step from the initial state."""
        return self.step(x, self.initial_state(x.shape[0], *x.shape[3:]))[0]

    def stream(self, batch: int, *frequency: int, state: State | None = None) -> Stream:
        """The fast form of :meth:`step` for inference; ``state`` resumes an earlier stream."""
        return Stream(self, batch, *frequency, state=state)

    def reset_rows(self, state: State, rows: Tensor | list[int]) -> State:
        """A new state in which the given rows start afresh (a new speaker takes over a row of the batch).

        Rows share the phase of a strided layer, so a row can only be reset at a block boundary, that is
        when a multiple of the stride has been read.

        Raises:
            ValueError: the stream is in the middle of a block.
        """
        leaves, spec = pytree.tree_flatten(state)
        if not leaves:
            return state
        batch = leaves[0].shape[0]
        frequency = leaves[0].shape[3:] if "frequency" in self.field.axes else ()
        fresh = pytree.tree_leaves(self.initial_state(batch, *frequency))
        chosen = torch.zeros(batch, dtype=torch.bool)
        chosen[torch.as_tensor(rows)] = True
        out = []
        for old, new in zip(leaves, fresh, strict=True):
            if old.shape[2:] != new.shape[2:]:
                raise ValueError(
                    f"rows can be reset at a block boundary only: the stream is in the middle of a block of "
                    f"{self.field.advance[0]} frames (its history holds {old.shape[2]} frames, not {new.shape[2]})"
                )
            mask = chosen.to(old.device).view(-1, *(1,) * (old.dim() - 1))
            out.append(torch.where(mask, new.to(old), old))
        return pytree.tree_unflatten(out, spec)


ModuleT = TypeVar("ModuleT", bound=CausalModule)


class Stream(Generic[ModuleT]):
    """A running inference: call it with the next frames, get the outputs that they complete.

    Holds its own state, computes without gradients, and equals :meth:`CausalModule.step`.

    Example:
        >>> stream = layer.stream(batch=1)          # doctest: +SKIP
        >>> for frame in microphone: codes = stream(frame)   # doctest: +SKIP
    """

    def __init__(self, module: ModuleT, batch: int, *frequency: int, state: State | None = None) -> None:
        self.module = module
        self.batch = batch
        self._load(module.initial_state(batch, *frequency) if state is None else state)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """The next frames in, the outputs that they complete out.

        Raises:
            RuntimeError: ``x`` asks for gradients; a stream cannot give them, ``step`` can.
        """
        if x.requires_grad:
            raise RuntimeError("a stream computes without gradients; use module.step(x, state) to differentiate")
        self._check_rows(x)
        if self.takes_frames and x.dim() == 3 and x.shape[2] == 1:
            return self._frame(x[:, :, 0]).unsqueeze(2)
        return self._advance(x)

    def _check_rows(self, x: Tensor) -> None:
        if x.shape[0] != self.batch:
            raise ValueError(f"this stream has {self.batch} rows, the input has {x.shape[0]}")

    @property
    def state(self) -> State:
        """A copy of the state as :meth:`CausalModule.step` would hold it: save it, resume from it later."""
        return pytree.tree_map(lambda leaf: leaf.clone(), self._save())

    @torch.no_grad()
    def reset_rows(self, rows: Tensor | list[int]) -> None:
        """Let the given rows start afresh, at a block boundary; see :meth:`CausalModule.reset_rows`."""
        self._load(self.module.reset_rows(self._save(), rows))

    takes_frames = False
    """Whether :meth:`_frame`, a shorter way for a single frame ``(batch, channels)``, is there."""

    def _frame(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    # A faster stream overrides these three.
    def _load(self, state: State) -> None:
        self._state = pytree.tree_map(lambda leaf: leaf.detach().clone(), state)

    def _save(self) -> State:
        return self._state

    def _advance(self, x: Tensor) -> Tensor:
        y, self._state = self.module.step(x, self._state)
        return y
