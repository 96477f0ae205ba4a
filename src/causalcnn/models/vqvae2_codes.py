"""The two sides of a :class:`CausalVQVAE2` as modules of their own: frames in and codes out, and back.

They keep the contract of every layer, so that a side can stand behind a front end, run as a stream, and be exported.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from causalcnn.engine import Builder, Register, Symbol, lowers
from causalcnn.field import Field
from causalcnn.models.vqvae2 import Codes
from causalcnn.models.vqvae2_causal import CausalVQVAE2
from causalcnn.nn.base import CausalModule, State, Stream
from causalcnn.speech import to_1d, to_2d

__all__ = ["CodeDecoder", "CodeEncoder"]

ENCODES, DECODES = ("encoder_bottom", "encoder_top", "hint", "project_bottom"), ("upsample_top", "decoder")
"""The parts of the model that one side runs; both have the codebooks."""


class CodeEncoder(CausalModule):
    """Turn log-mel frames into the codes of a VQ-VAE-2: what a sender runs.

    Args:
        model: the trained model, whose layers are used, not copied.

    Attributes:
        model: as given.

    Shape:
        log-mel in dB as the front end gives it, ``(batch, mels, time)`` → the top codes and, after them, the bottom
        codes of each frame, int64, ``(batch, mels/8 + mels/4, time)``.

    Example:
        >>> import torch
        >>> from causalcnn.models import CausalVQVAE2, CodeEncoder
        >>> from causalcnn.nn import CausalSequential
        >>> from causalcnn.speech import LogMel
        >>> chain = CausalSequential(LogMel(), CodeEncoder(CausalVQVAE2())).eval()
        >>> chain(torch.zeros(1, 1, 1600)).shape  # sound in, codes out
        torch.Size([1, 30, 10])
    """

    model: CausalVQVAE2

    def __init__(self, model: CausalVQVAE2) -> None:
        super().__init__()
        self.model = model

    @property
    @override
    def field(self) -> Field:
        return self.model.top_field.axis("time") | self.model.bottom_field.axis("time")

    @override
    def initial_state(self, x: Tensor) -> State:
        state = self.model.initial_state(to_2d(x))
        return {name: part for name, part in state.items() if name not in DECODES}

    @override
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        codes, new = self.model.encode_step(to_2d(x), state)
        return _join(codes), new

    @override
    def _torch_stream(self, state: State | None) -> Stream:
        return _EncoderStream(self, state)


class CodeDecoder(CausalModule):
    """Turn the codes of a :class:`CodeEncoder` into log-mel frames: what a receiver runs.

    Before an :class:`~causalcnn.speech.OnlineGriffinLim` in a :class:`~causalcnn.nn.CausalSequential` it turns codes
    into sound while they arrive.

    Args:
        model: the trained model, whose layers are used, not copied.

    Attributes:
        model: as given.

    Shape:
        codes, int64, ``(batch, mels/8 + mels/4, time)`` → log-mel in dB, ``(batch, mels, time)``.

    Example:
        >>> import torch
        >>> from causalcnn.models import CausalVQVAE2, CodeDecoder
        >>> CodeDecoder(CausalVQVAE2()).eval()(torch.zeros(1, 30, 7, dtype=torch.int64)).shape
        torch.Size([1, 80, 7])
    """

    model: CausalVQVAE2

    def __init__(self, model: CausalVQVAE2) -> None:
        super().__init__()
        self.model = model

    @property
    @override
    def field(self) -> Field:
        model = self.model
        top = model.upsample_top.field.axis("time")
        return (top | Field.identity()).then(model.decoder.field.axis("time"))

    @override
    def initial_state(self, x: Tensor) -> State:
        weight = self.model.project_bottom.weight
        state = self.model.initial_state(weight.new_empty(x.shape[0], 1, 0, self.model.config.mels))
        return {name: part for name, part in state.items() if name not in ENCODES}

    @override
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, new = self.model.decode_step(self._split(x), state)
        return to_1d(y), new

    @override
    def _torch_stream(self, state: State | None) -> Stream:
        return _DecoderStream(self, state)

    def _split(self, x: Tensor) -> Codes:
        """The codes as the model takes them."""
        config = self.model.config
        if x.dim() != 3 or x.shape[1] != config.top_cells + config.bottom_cells:
            raise ValueError(
                f"input has shape {tuple(x.shape)}; this model takes codes (batch, "
                f"{config.top_cells + config.bottom_cells}, time)"
            )
        return Codes(*x.transpose(1, 2).split([config.top_cells, config.bottom_cells], dim=2))


@lowers(CodeEncoder)
def _lower_encoder(layer: CodeEncoder, x: Symbol, builder: Builder) -> tuple[Symbol, Any]:
    model = layer.model
    if x.register != Register(model.config.mels):
        raise ValueError(f"input has shape {x.shape}; this model takes log-mel (batch, {model.config.mels}, time)")
    picture = builder.reshape(x, Register(1, model.config.mels))
    codes, state = builder.compose(model, model._encode, picture)
    return builder.concat([builder.reshape(one, Register(one.register.cells, integer=True)) for one in codes]), state


@lowers(CodeDecoder)
def _lower_decoder(layer: CodeDecoder, x: Symbol, builder: Builder) -> tuple[Symbol, Any]:
    config = layer.model.config
    if x.register != Register(config.top_cells + config.bottom_cells, integer=True):
        raise ValueError(f"input is {x.dtype} of shape {x.shape}; this model takes codes, as a CodeEncoder gives them")
    top, bottom = (
        builder.reshape(one, Register(1, one.shape[1], integer=True))
        for one in x.split([config.top_cells, config.bottom_cells], dim=1)
    )
    y, state = builder.compose(layer.model, layer.model._decode_symbols, top, bottom)
    return builder.reshape(y, Register(config.mels)), state


def _join(codes: Codes) -> Tensor:
    return torch.cat([codes.top, codes.bottom], dim=2).transpose(1, 2)


class _EncoderStream(Stream[CodeEncoder]):
    """The encoding half of the model's own stream."""

    def _load(self, state: State) -> None:
        self._model = self.module.model.stream(state)

    def _save(self) -> State:
        return self._model._save()

    def _advance(self, x: Tensor) -> Tensor:
        return _join(self._model.encode(to_2d(x)))


class _DecoderStream(Stream[CodeDecoder]):
    """The decoding half of the model's own stream."""

    def _load(self, state: State) -> None:
        self._model = self.module.model.stream(state)

    def _save(self) -> State:
        return self._model._save()

    def _advance(self, x: Tensor) -> Tensor:
        return to_1d(self._model.decode(self.module._split(x)))
