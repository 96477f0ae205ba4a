"""A causal model with two sides: a sender encodes frames, and a receiver decodes what was sent, each as a stream."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree
from typing_extensions import override

from causalcnn.engine import CompiledStream, open_stream
from causalcnn.nn.base import Engine, State, without_gradients
from causalcnn.nn.compose import Composite, CompositeStream, Run

__all__ = ["CompiledLatentStream", "LatentModel", "LatentStream"]

Parts = Mapping[str, Any]
"""The parts of a model by their names, or the streams of these parts."""


class LatentModel(Composite):
    """Base class of causal models that turn frames into something to send, the *latent*, and that into frames again.

    What the latent is, a subclass says: numbers, a distribution, codes. It is a tensor or a named tuple of tensors.
    The state of :meth:`step` is a dict from the name of each part to its state; it serves :meth:`encode_step` and
    :meth:`decode_step`, too.

    Shape:
        log-mel spectrograms in dB, ``(batch, 1, time, mels)`` → the same.

    Attributes:
        config: the settings of the subclass.

    Example:
        >>> import torch
        >>> from causalcnn.models import CausalVAE, LatentModel, VAEConfig
        >>> model = CausalVAE(VAEConfig(channels=8, residual_blocks=1)).eval()
        >>> isinstance(model, LatentModel)
        True
        >>> frame = torch.full((1, 1, 1, 80), -30.0)
        >>> posterior, state = model.encode_step(frame, model.initial_state(frame))
        >>> tuple(posterior.mean.shape)
        (1, 4, 1, 20)
    """

    config: Any

    # What a subclass defines. Parts that only look something up, such as quantizers, are taken from ``parts``.
    @abc.abstractmethod
    def _encode(self, x: Tensor, run: Run, parts: Parts | None = None) -> Any:
        """The latent of the next frames; it moves no codebook. With symbols it gives what a plan gives."""

    @abc.abstractmethod
    def _decode_latent(self, latent: Any, run: Run, parts: Parts | None = None) -> Tensor:
        """The frames that a latent stands for, if it is one of this model's."""

    @abc.abstractmethod
    def _check_latent(self, latent: Any) -> Any:
        """The latent, as this model makes them; ValueError where it is none."""

    @abc.abstractmethod
    def _decode_symbols(self, *latent: Any) -> Any:
        """What a plan does with the tensors of :meth:`_to_plan`, and ``run`` after them."""

    def _to_plan(self, latent: Any) -> list[Tensor]:
        """The tensors of a latent, each ``(batch, channels, time, cells)``."""
        return pytree.tree_leaves(latent)

    @abc.abstractmethod
    def _from_plan(self, found: Sequence[Tensor]) -> Any:
        """The latent from what a plan gives."""

    def _no_frames(self, latent: Any) -> Tensor:
        """An input without frames, of as many rows. It tells a receiver's stream the batch, the dtype, the device."""
        like = next(self.parameters())
        return like.new_empty(len(pytree.tree_leaves(latent)[0]), 1, 0, self.config.mels)

    # -------------------------------------------------------------------------------------------------- for users
    def encode_step(self, x: Tensor, state: State) -> tuple[Any, State]:
        """Compute the latent of the next frames: what a sender runs. It moves no codebook.

        Args:
            x: the next frames, log-mel in dB, ``(batch, 1, time, mels)``.
            state: the sender's state, as :meth:`initial_state` or ``encode_step`` returned it. It is not changed.

        Returns:
            What ``encode`` gives for these frames, and the new state.

        Raises:
            ValueError: an input of another shape or dtype, or a state without one of the parts.
        """
        new = dict(state)
        return self._encode(x, self.run_into(new)), new

    def decode_step(self, latent: Any, state: State) -> tuple[Tensor, State]:
        """Compute the next frames from their latent: what a receiver runs, with a state of its own.

        Args:
            latent: of the next frames, as :meth:`encode_step` makes it and ``decode`` takes it.
            state: the receiver's state, as :meth:`initial_state` or ``decode_step`` returned it. It is not changed.

        Returns:
            The frames in dB, ``(batch, 1, time, mels)``, and the new state.

        Raises:
            ValueError: a latent of another shape or dtype, or, on a CPU, codes that the codebook does not have; a
                state without one of the parts.
        """
        new = dict(state)
        return self._decode_latent(self._check_latent(latent), self.run_into(new)), new

    def stream(self, state: State | None = None, *, engine: Engine = "torch") -> LatentStream | CompiledLatentStream:
        """Begin a stream: the fast form of :meth:`step`, :meth:`encode_step` and :meth:`decode_step`, for inference.

        Args:
            state: the state to go on from, as :attr:`Stream.state` or :meth:`step` returned it. By default the stream
                begins with the initial state.
            engine: what runs the stream, ``"torch"`` or ``"compiled"``; see :meth:`CausalModule.stream`.

        Returns:
            The stream. Call it to reconstruct, or use its ``encode`` on one side and ``decode`` on the other.

        Raises:
            ValueError: ``state`` is no state of this model, or there is no such engine.
        """
        return super().stream(state, engine=engine)  # type: ignore[return-value]

    @override
    def _torch_stream(self, state: State | None) -> LatentStream:
        return LatentStream(self, state)

    @override
    def _compiled_stream(self, state: State | None) -> LatentStream | CompiledLatentStream:
        return open_stream(self, state, CompiledLatentStream)


class LatentStream(CompositeStream):
    """A running :class:`LatentModel`. :meth:`LatentModel.stream` makes one.

    Call it with the next frames to reconstruct them. A sender calls :meth:`encode` and a receiver, with a stream of its
    own, :meth:`decode`. No codebook moves, also in training.

    Attributes:
        module: the model.

    Example:
        >>> import torch
        >>> from causalcnn.models import CausalVQVAE2, VQVAE2Config
        >>> model = CausalVQVAE2(VQVAE2Config(channels=8, residual_blocks=1, code_dim=4, num_codes=16)).eval()
        >>> sender, receiver = model.stream(), model.stream()
        >>> tuple(receiver.decode(sender.encode(torch.full((1, 1, 1, 80), -30.0))).shape)
        (1, 1, 1, 80)
    """

    module: LatentModel

    @without_gradients
    def encode(self, x: Tensor) -> Any:
        """Compute the latent of the next frames.

        Args:
            x: the next frames, log-mel in dB, ``(batch, 1, time, mels)``.

        Returns:
            What ``encode`` of the model gives for these frames.

        Raises:
            ValueError: an input of another shape or dtype, or of another batch size than the pieces before.
        """
        self._check_piece(x)
        return self.module._encode(x, self.run, self._streams)

    @without_gradients
    def decode(self, latent: Any) -> Tensor:
        """Compute the next frames from their latent.

        Args:
            latent: of the next frames, as ``decode`` of the model takes it.

        Returns:
            The frames in dB, ``(batch, 1, time, mels)``.

        Raises:
            ValueError: a latent of another shape or dtype, or of another batch size than the pieces before; on a CPU,
                codes that the codebook does not have.
        """
        model = self.module
        latent = model._check_latent(latent)
        self._check_piece(model._no_frames(latent))  # a stream makes its state from its first piece of input
        return model._decode_latent(latent, self.run, self._streams)


class CompiledLatentStream(CompiledStream):
    """A running :class:`LatentModel`, compiled; ``model.stream(engine="compiled")`` makes one.

    It does what :class:`LatentStream` does. Each of the three ways to use it has a plan of its own; where one of them
    has moved a part of the state on, the others go on from there.

    Attributes:
        module: the model.

    Example:
        >>> import torch
        >>> from causalcnn.models import CausalVQVAE2, VQVAE2Config
        >>> model = CausalVQVAE2(VQVAE2Config(channels=8, residual_blocks=1, code_dim=4, num_codes=16)).eval()
        >>> sender, receiver = model.stream(engine="compiled"), model.stream(engine="compiled")
        >>> tuple(receiver.decode(sender.encode(torch.full((1, 1, 1, 80), -30.0))).shape)
        (1, 1, 1, 80)
    """

    module: LatentModel

    @without_gradients
    def encode(self, x: Tensor) -> Any:
        """Compute the latent of the next frames.

        Args:
            x: the next frames, log-mel in dB, ``(batch, 1, time, mels)``.

        Returns:
            What ``encode`` of the model gives for these frames.

        Raises:
            ValueError: an input of another shape or dtype, or of another batch size than the pieces before.
        """
        with self._lock:
            self._check_piece(x)
            found = self._use("encode", self.module._encode, x)(x)
        return self.module._from_plan(found)

    @without_gradients
    def decode(self, latent: Any) -> Tensor:
        """Compute the next frames from their latent.

        Args:
            latent: of the next frames, as ``decode`` of the model takes it.

        Returns:
            The frames in dB, ``(batch, 1, time, mels)``.

        Raises:
            ValueError: a latent of another shape or dtype, or of another batch size than the pieces before; codes that
                the codebook does not have.
        """
        model = self.module
        latent = model._check_latent(latent)
        inputs = model._to_plan(latent)
        with self._lock:
            if self._like is None or len(inputs[0]) != len(self._like):  # as LatentStream.decode
                self._check_piece(model._no_frames(latent))
            return self._use("decode", model._decode_symbols, *inputs)(*inputs)[0]
