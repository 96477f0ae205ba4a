"""The stream that runs a compiled plan; its reference is the stream of torch, which it stands in for."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor
from torch.utils import _pytree as pytree
from typing_extensions import override

from causalcnn._extras import require
from causalcnn.engine.lowering import lower, refuse_autocast
from causalcnn.engine.machine import Machine, part_of
from causalcnn.engine.reuse import Made, made_of
from causalcnn.nn.base import CausalModule, Engine, State, Stream, without_gradients
from causalcnn.nn.compose import Composite

__all__ = ["CompiledStream", "compiled_or_none", "open_stream"]

Path = tuple[str, ...]


class CompiledStream(Stream[Any]):
    """A stream that runs a plan of its module in one compiled loop; ``module.stream(engine="compiled")`` makes one.

    It keeps all promises of :class:`Stream`. The first piece says how large everything is: then the module is lowered,
    with its weights of that moment. Its state is that of the module, so that a stream can be begun by one engine and
    continued by the other.

    Args:
        module: the module to run, in eval mode if it has layers that act differently in training.
        state: the state to go on from; by default the initial state.

    Raises:
        ImportError: numba is missing. Where a part of the module has no place in a plan, the first piece raises
            :class:`CannotCompile`.

    Example:
        >>> import torch
        >>> from causalcnn.nn import CausalConv1d
        >>> layer, x = CausalConv1d(4, 8, kernel_size=3), torch.randn(1, 4, 10)
        >>> stream = layer.stream(engine="compiled")
        >>> y = torch.cat([stream(x[:, :, :7]), stream(x[:, :, 7:])], dim=2)
        >>> torch.allclose(y, layer(x), atol=1e-5)
        True
    """

    def __init__(self, module: CausalModule, state: State | None = None) -> None:
        require("numba", extra="speech")
        self._machines: dict[str, Machine] = {}
        self._newest: dict[Path, tuple[Machine, int]] = {}  # who has moved a part on last, and its ring's number
        self._last: Machine | None = None
        self._kind: tuple[Any, ...] = ()  # what a frame must look like
        self._resumed = state is not None
        self._made: Made | None = None  # for the machine that the first piece needs beside the state
        self._lock = threading.RLock()  # of two first pieces at once, each would make a state and a machine
        super().__init__(module, state)

    @override
    @without_gradients
    def __call__(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            raise RuntimeError("a stream computes without gradients; use module.step(x, state) to differentiate")
        with self._lock:
            self._check_piece(x)
            return self._use("step", None, x)(x)[0]

    @override
    def _check_piece(self, x: Tensor) -> None:
        shape = x.shape
        kind = (len(shape), shape[:2], shape[3:], x.dtype)
        if kind == self._kind and self._like is not None:
            return
        if self._like is None and x.dim() not in (3, 4):
            raise ValueError(
                f"a piece has shape {tuple(x.shape)}; a compiled stream takes (batch, channels, time[, frequency])"
            )
        super()._check_piece(x)
        like = self._like
        assert like is not None
        self._kind = (like.dim(), like.shape[:2], like.shape[3:], like.dtype)
        if kind != self._kind:
            raise ValueError(
                f"this stream takes {like.dtype} of shape {(*like.shape[:2], 'time', *like.shape[3:])}; the input is "
                f"{x.dtype} of shape {tuple(shape)}"
            )

    @override
    def _initial(self, x: Tensor) -> State:
        self._made = made_of(self.module)
        return self._made.state(x, lambda: self._checked(self.module.initial_state(x)))

    def _use(self, name: str, wiring: Callable[..., Any] | None, *examples: Tensor) -> Machine:
        """The machine of a wiring, with the state of now; it is made when it is first used."""
        refuse_autocast()
        machine = self._machines.get(name)
        if machine is None:
            try:
                key = (type(self), name, *((x.dtype, *x.shape[:2], *x.shape[3:]) for x in examples))
                make = functools.partial(lower, self.module, *examples, wiring=wiring)
                made, self._made = self._made or made_of(self.module), None
                machine = made.machine(key, examples[0].shape[0], make, self._state)
                self._hand_over(machine)
            except Exception:
                if not self._machines:  # the next piece may be the right one
                    self._like, self._started = None, self._resumed
                raise
            self._machines[name] = machine
        elif machine is not self._last:
            self._hand_over(machine)
        return machine

    def _hand_over(self, machine: Machine) -> None:
        """Let a machine take over the parts that another one has moved on."""
        newest = {}
        for path, ring in machine.plan.rings():
            owner, number = self._newest.get(path) or (None, 0)
            if owner is None:
                if machine.start is not self._state:
                    machine.load_ring(ring, part_of(self._state, path))
            elif owner is not machine:
                machine.load_ring(ring, owner.ring(number))
            newest[path] = (machine, ring)
        self._newest |= newest
        self._last = machine

    @override
    def _load(self, state: State) -> None:
        if self._started:  # it may be somebody else's
            state = pytree.tree_map(lambda leaf: leaf.detach().clone(), self._checked(state))
        self._state, self._newest, self._last = state, {}, None

    def _checked(self, state: State) -> State:
        """The state, if it can be one of the module."""
        if isinstance(self.module, Composite):
            self.module._check_state(state)
        for leaf in pytree.tree_leaves(state):
            if not isinstance(leaf, Tensor):
                raise ValueError(f"the state holds a {type(leaf).__name__}; it must hold tensors only")
        return state

    @override
    @without_gradients
    def reset_rows(self, rows: Tensor | list[int]) -> None:
        with self._lock:
            super().reset_rows(rows)

    @override
    def _save(self) -> State:
        with self._lock:
            return self._saved(self._state, ())

    def _saved(self, state: State, path: Path) -> State:
        """The state, in which every part has the frames that its machine holds."""
        if path in self._newest:
            machine, number = self._newest[path]
            return machine.ring(number)
        if isinstance(state, dict):
            return {name: self._saved(part, (*path, name)) for name, part in state.items()}
        return state

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: they make machines and a lock of their own."""
        with self._lock:
            kept = self.__dict__ | {
                "_state": self.state,
                "_newest": {},
                "_last": None,
                "_machines": {},
                "_made": None,
                "_resumed": self._started,
            }
        del kept["_lock"]
        return kept

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.__dict__.update(kept, _lock=threading.RLock())


Result = TypeVar("Result")


def compiled_or_none(engine: Engine, make: Callable[[], Result]) -> Result | None:
    """Make what a compiled engine needs, or nothing for torch and, with a warning that says so once, without numba.

    Args:
        engine: ``"torch"`` or ``"compiled"``.
        make: makes it.

    Returns:
        What ``make`` returned, or None, where torch is to be used.

    Raises:
        ImportError: numba is there, but something that it needs is not.
        ValueError: there is no such engine.
    """
    if engine == "torch":
        return None
    if engine != "compiled":
        raise ValueError(f"engine is {engine!r}; it must be 'torch' or 'compiled'")
    try:
        require("numba", extra="speech")
        return make()
    except ImportError as error:
        if error.name != "numba":
            raise
        _warn(str(error))
        return None


def open_stream(module: CausalModule, state: State | None, kind: Callable[..., Stream[Any]] = CompiledStream) -> Any:
    """Begin a compiled stream, or where numba is missing one of torch, with a warning that says so once.

    Args:
        module: the module to run.
        state: the state to go on from, or None.
        kind: the class of the stream.

    Returns:
        The stream.
    """
    return compiled_or_none("compiled", functools.partial(kind, module, state)) or module.stream(state)


@functools.cache
def _warn(missing: str) -> None:
    warnings.warn(f"what should be compiled is run by torch: {missing}", stacklevel=4)
