"""The contract that every layer of causalcnn keeps, as a base class, and the stream that runs it piece by piece."""

from __future__ import annotations

import abc
import enum
import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from typing_extensions import override

from causalcnn.field import Field
from causalcnn.nn.hooks import HookedCall, has_forward_hooks, has_hooks, hooked_step, hooks_running, plain_step

__all__ = ["CausalModule", "Convention", "Stateless", "Stream"]

State = Any
"""A tensor, or any nesting of tuples, lists and dicts of tensors."""

Engine = Literal["torch", "compiled"]
"""What runs a stream; see :meth:`CausalModule.stream`."""


class Convention(enum.Enum):
    """Up to which input frame an output of a strided layer reads.

    The literature calls both of them "causal". At stride 1 they are the same.

    Attributes:
        STRICT: output ``u`` reads inputs up to frame ``u·stride`` (Keras, WaveNet, TCN).
        BLOCK: output ``u`` reads its whole block, up to frame ``(u+1)·stride − 1``, so that it is known only when
            the block is complete (EnCodec, Moshi, every STFT front end).

    Example:
        >>> from causalcnn.nn import Convention
        >>> Convention.BLOCK.lookahead(stride=4), Convention.STRICT.lookahead(stride=4)
        (3, 0)
    """

    STRICT = "strict"
    BLOCK = "block"

    @classmethod
    def of(cls, name: str | Convention) -> Convention:
        """Find the convention with this name.

        Args:
            name: ``"strict"``, ``"block"``, or a convention, which is returned as it is.

        Returns:
            The convention.

        Raises:
            ValueError: there is none with this name.
        """
        try:
            return cls(name)
        except ValueError:
            raise ValueError(f"convention is {name!r}; it must be 'strict' or 'block'") from None

    def lookahead(self, stride: int) -> int:
        """Count the input frames beyond ``u·stride`` that output ``u`` may read.

        Args:
            stride: input frames per output frame, ≥ 1.

        Returns:
            Input frames, which are 0 for ``STRICT`` and ``stride − 1`` for ``BLOCK``.
        """
        return stride - 1 if self is Convention.BLOCK else 0


def empty_piece(x: Tensor) -> Tensor:
    """No frames of ``x``, in memory of its own: only batch, channels, frequency, dtype and device are left."""
    return x.narrow(min(2, x.dim() - 1), 0, 0).clone()


Method = TypeVar("Method", bound=Callable[..., Any])


def without_gradients(method: Method) -> Method:
    """``torch.no_grad`` for what goes on from call to call: what it keeps can be used in every mode afterwards.

    Tensors that are made in ``torch.inference_mode`` cannot be written into outside of it.
    """

    @functools.wraps(method)
    def run(*arguments: Any, **named: Any) -> Any:
        if torch.is_inference_mode_enabled():
            with torch.inference_mode(False), torch.no_grad():
                return method(*arguments, **named)
        with torch.no_grad():
            return method(*arguments, **named)

    return run  # type: ignore[return-value]


class CausalModule(nn.Module, abc.ABC):
    """Base class of all networks that run over time and never read the future.

    Axis 2 of every input and output is time. The same network runs on a whole sequence (:meth:`forward`), on one
    piece after the other (:meth:`step`), and as a stream (:meth:`stream`); all three give the same outputs.

    A subclass defines :attr:`field`, :meth:`initial_state` and :meth:`step`; the rest follows. For a layer that
    remembers nothing, :class:`Stateless` is easier; for a model made of several layers, :class:`Composite`.
    :func:`causalcnn.check_contract` verifies that a module keeps this contract.

    Example:
        >>> import torch
        >>> from causalcnn.nn import CausalModule
        >>> from causalcnn import Field, check_contract
        >>> class Difference(CausalModule):  # each frame minus the one before it
        ...     @property
        ...     def field(self):
        ...         return Field.conv(kernel_size=2)
        ...
        ...     def initial_state(self, x):
        ...         return x.new_zeros(x.shape[0], x.shape[1], 1)
        ...
        ...     def step(self, x, state):
        ...         frames = torch.cat([state, x], dim=2)
        ...         return frames[:, :, 1:] - frames[:, :, :-1], frames[:, :, -1:].clone()
        >>> check_contract(Difference(), torch.randn(2, 3, 10)).largest_difference
        0.0
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if plain_step(cls) is cls.step:
            cls.step = hooked_step(cls.step)  # type: ignore[method-assign, assignment]

    @override
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not has_hooks(self) or torch.compiler.is_compiling():
            return super().__call__(*args, **kwargs)
        with hooks_running(self) as already:  # where a forward steps, and where a step calls its module
            return self.forward(*args, **kwargs) if already else super().__call__(*args, **kwargs)

    @property
    @abc.abstractmethod
    def field(self) -> Field:
        """Which inputs each output reads. It holds for any weights and is known before any data is seen."""

    @property
    def convention(self) -> Convention:
        """``BLOCK`` where an output reads ahead inside its block of inputs, else ``STRICT``."""
        block = self.field.lookahead > 0 and self.field.advance[0] > 1
        return Convention.BLOCK if block else Convention.STRICT

    @abc.abstractmethod
    def initial_state(self, x: Tensor) -> State:
        """Make the state before the first frame, as if only zeros had been read so far.

        Args:
            x: a piece of the input, ``(batch, channels, time[, frequency])``; no frames are needed. Only its batch
                size, channels, frequencies, dtype and device are used, not its values.

        Returns:
            The state that :meth:`step` begins with, a tensor or any nesting of tuples, lists and dicts of tensors.

        Raises:
            ValueError: ``x`` is no input of this module.
        """

    @abc.abstractmethod
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Continue from ``state`` with the next frames.

        There may be any number of frames, also none. In whatever way a sequence is cut into pieces, their outputs are
        those of the whole sequence. ``state`` itself is not changed, so that it can be kept and used again.

        Args:
            x: the next frames, ``(batch, channels, time[, frequency])``.
            state: as :meth:`initial_state` or the previous ``step`` returned it.

        Returns:
            The outputs that these frames complete, perhaps none, ``(batch, out_channels, out_time[, frequency])``;
            and the new state. Hooks of the module run around each step as around a call.

        Raises:
            ValueError: ``x`` is no input of this module, or ``state`` does not fit it.
        """

    def _begin(self, x: Tensor) -> tuple[State, Tensor]:
        """The initial state, and the output for ``x``, a piece without frames: it shows what an output looks like."""
        state = self.initial_state(x)
        return state, plain_step(type(self))(self, x, state)[0]

    def forward(self, x: Tensor) -> Tensor:
        """Run the module on a whole sequence.

        Args:
            x: the sequence, ``(batch, channels, time[, frequency])``.

        Returns:
            The output for the whole sequence, ``(batch, out_channels, out_time[, frequency])``. One ``step`` from the
            initial state gives the same.

        Raises:
            ValueError: ``x`` is no input of this module.
        """
        return plain_step(type(self))(self, x, self.initial_state(x))[0]  # the call has run the hooks

    def stream(self, state: State | None = None, *, engine: Engine = "torch") -> Stream:
        """Begin a stream: the fast form of :meth:`step`, for inference.

        Args:
            state: the state to go on from, as :attr:`Stream.state` or :meth:`step` returned it. By default the stream
                begins with the initial state.
            engine: what runs the stream. ``"torch"`` runs any module on any device. ``"compiled"`` runs a module of
                known layers on the CPU, many times faster for pieces of few frames: :mod:`causalcnn.engine`. It needs
                numba, which the extra ``speech`` brings; without it, there is a warning, and torch runs the stream. A
                stream that is begun by one can be continued by the other.

        Returns:
            The stream. It holds its own state; the one given is not changed. It may keep the weights and the hooks of
            now; after a change of them, begin a new one.

        Raises:
            ValueError: ``state`` is no state of this module, or there is no such engine. Most layers find out about the
                state when the stream gets its first piece, which is also when a compiled one raises
                :class:`causalcnn.engine.CannotCompile`.
        """
        if engine == "torch":
            stream = self._torch_stream(state)
            if has_forward_hooks(self):
                stream._run_hooks()
            return stream
        if engine == "compiled":
            return self._compiled_stream(state)
        raise ValueError(f"engine is {engine!r}; it must be 'torch' or 'compiled'")

    def _torch_stream(self, state: State | None) -> Stream:
        """The stream of torch; a layer that has a faster one than :class:`Stream` overrides this."""
        return Stream(self, state)

    def _compiled_stream(self, state: State | None) -> Stream:
        # By its name, because the engine knows the layers, and no layer the engine.
        return import_module("causalcnn.engine").open_stream(self, state)

    def reset_rows(self, state: State, rows: Tensor | list[int], x: Tensor) -> State:
        """Let some rows of a state start afresh, as when a new speaker takes over a row of the batch.

        All rows share the phase of a strided layer. So rows can be reset at a block boundary only, that is, when a
        multiple of the stride has been read.

        Args:
            state: as :meth:`step` returned it. It is not changed.
            rows: the rows to reset, as indices into the batch, ``(rows,)``.
            x: a piece of the input, ``(batch, channels, time[, frequency])``, as for :meth:`initial_state`.

        Returns:
            A new state, with the initial state in these rows and ``state`` in the others.

        Raises:
            ValueError: the state is in the middle of a block, or there is no such row.
        """
        leaves, spec = pytree.tree_flatten(state)
        rows = torch.as_tensor(rows)
        rows = rows if rows.numel() else rows.long()  # of no row, torch does not know that it is a whole number
        out = []
        for old, new in zip(leaves, pytree.tree_leaves(self.initial_state(x)), strict=True):
            if old.shape[2:] != new.shape[2:]:
                raise ValueError(
                    f"rows can be reset at a block boundary only: the stream is in the middle of a block of "
                    f"{self.field.advance[0]} frames (its history holds {old.shape[2]} frames, not {new.shape[2]})"
                )
            chosen = torch.zeros(old.shape[0], *(1,) * (old.dim() - 1), dtype=torch.bool, device=old.device)
            try:
                chosen[rows] = True
            except IndexError:
                raise ValueError(
                    f"rows are {rows.tolist()}; this state has {len(chosen)}: give whole numbers below that"
                ) from None
            out.append(torch.where(chosen, new.to(old), old))
        return pytree.tree_unflatten(out, spec)


ModuleT = TypeVar("ModuleT", bound=CausalModule)


class Stream(Generic[ModuleT]):
    """A running inference: call it with the next frames, and it returns the outputs that they complete.

    A stream holds its own state and computes without gradients. Its outputs are those of :meth:`CausalModule.step`.
    Make one with :meth:`CausalModule.stream`.

    Args:
        module: the module to run.
        state: the state to go on from; by default the initial state.

    Attributes:
        takes_frames: whether the stream has a faster way for a single frame, ``(batch, channels)``. Calls with one
            frame take it by themselves.

    Example:
        >>> import torch
        >>> from causalcnn.nn import CausalConv1d
        >>> layer, x = CausalConv1d(4, 8, kernel_size=3), torch.randn(1, 4, 10)
        >>> stream = layer.stream()
        >>> pieces = [stream(x[:, :, :7]), stream(x[:, :, 7:])]
        >>> torch.allclose(torch.cat(pieces, dim=2), layer(x), atol=1e-6)
        True
    """

    takes_frames = False

    _copies_input = False  # whether it neither keeps nor returns the memory that it is given, but reads it at once

    @without_gradients
    def __init__(self, module: ModuleT, state: State | None = None) -> None:
        self.module = module
        self._like: Tensor | None = None  # an empty piece: what a row that is reset begins with
        self._started = state is not None
        if state is not None:
            self._load(state)

    @without_gradients
    def __call__(self, x: Tensor) -> Tensor:
        """Read the next frames.

        Args:
            x: any number of frames, ``(batch, channels, time[, frequency])``.

        Returns:
            The outputs that these frames complete, perhaps none,
            ``(batch, out_channels, out_time[, frequency])``.

        Raises:
            RuntimeError: ``x`` requires gradients. A stream cannot give them; :meth:`CausalModule.step` can.
            ValueError: ``x`` is no input of the module, or has another batch size than the pieces before.
        """
        if x.requires_grad:
            raise RuntimeError("a stream computes without gradients; use module.step(x, state) to differentiate")
        self._check_piece(x)
        if self.takes_frames and x.dim() == 3 and x.shape[2] == 1:
            return self._frame(x[:, :, 0]).unsqueeze(2)
        return self._advance(x)

    def _check_piece(self, x: Tensor) -> None:
        """Make the state from the first piece, which says how large it is, its type and device; check the others."""
        if self._like is None:
            if not self._started:
                self._load(self._initial(x))
                self._started = True
            self._like = empty_piece(x)
        elif x.shape[0] != self._like.shape[0]:
            raise ValueError(f"this stream has {self._like.shape[0]} rows, the input has {x.shape[0]}")

    @property
    @without_gradients
    def state(self) -> State | None:
        """A copy of the state, as :meth:`CausalModule.step` would return it; None before the first piece.

        Save it, and go on from it later with ``module.stream(state)``.
        """
        return pytree.tree_map(lambda leaf: leaf.clone(), self._save()) if self._started else None

    @without_gradients
    def reset_rows(self, rows: Tensor | list[int]) -> None:
        """Let some rows of the batch start afresh, at a block boundary; see :meth:`CausalModule.reset_rows`.

        Args:
            rows: the rows to reset, as indices into the batch, ``(rows,)``.

        Raises:
            ValueError: the stream is in the middle of a block, or there is no such row.
            RuntimeError: the stream was resumed from a state and has not read a piece yet, so that it does not know
                what the rows would begin with.
        """
        if self._like is not None:
            self._load(self.module.reset_rows(self._save(), rows, self._like))
        elif self._started:
            raise RuntimeError(
                "this stream was resumed and has not been given a piece yet; reset the rows of its state before: "
                "module.stream(module.reset_rows(state, rows, x))"
            )

    def _reuse_output(self) -> None:
        """Allow the stream to write its next output over this one: whoever gets it reads it at once."""

    def _run_hooks(self) -> None:
        """Run the hooks of the module around each piece. What is remembered is the state, and no hook sees it."""
        self._advance, self._frame = HookedCall(self, "_advance"), HookedCall(self, "_frame")  # type: ignore[method-assign]
        self._reuse_output = Stream._reuse_output.__get__(self)  # type: ignore[method-assign]  # a hook may keep it
        self._copies_input = False

    def _initial(self, x: Tensor) -> State:
        """The state before a first piece like this one."""
        return self.module.initial_state(x)

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
    """Base class of layers that look at each frame alone, so that there is nothing to remember.

    A subclass defines ``forward``. Output frame ``u`` then reads input frame ``u``, and where there is an axis of
    frequency, the same frequency only. A layer that mixes the frequencies of a frame overrides :attr:`field`.

    Attributes:
        takes_frames: whether ``forward`` also accepts a single frame, ``(batch, channels)``, without an axis of time.
            Streams that get one frame at a time are then faster.

    Example:
        >>> import torch
        >>> from causalcnn import Stateless, check_contract
        >>> class Double(Stateless):
        ...     def forward(self, x):
        ...         return 2 * x
        >>> check_contract(Double(), torch.randn(2, 3, 10)).largest_difference
        0.0
    """

    takes_frames: bool = False

    @property
    @override
    def field(self) -> Field:
        return Field.identity()

    @override
    def initial_state(self, x: Tensor) -> State:
        return ()

    @abc.abstractmethod
    @override
    def forward(self, x: Tensor) -> Tensor: ...

    @override
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self(x), ()

    @override
    def _torch_stream(self, state: State | None) -> Stream:
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
