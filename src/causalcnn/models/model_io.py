"""Trained models on disk: a file of weights, and beside it a card that says what they are and how they were made."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from causalcnn import __version__
from causalcnn._files import CheckpointError, atomic_write, pack_tensors, read_tensors
from causalcnn.models.autoencoder import CausalAutoencoder
from causalcnn.models.code_prior import CodePrior
from causalcnn.models.frame_generator import FrameGenerator
from causalcnn.models.integer_code_prior import IntegerCodePrior
from causalcnn.models.lp_wavenet import LPWaveNet
from causalcnn.models.melnet import MelNet
from causalcnn.models.pixelcnn import PixelCNN
from causalcnn.models.vae import CausalVAE
from causalcnn.models.vocoder import Vocoder
from causalcnn.models.vqvae import CausalVQVAE
from causalcnn.models.vqvae2 import VQVAE2
from causalcnn.models.vqvae2_causal import CausalVQVAE2
from causalcnn.models.wavenet import WaveNet

__all__ = ["MODELS", "CheckpointError", "load_model", "model_files", "save_model"]

MODELS: dict[str, type] = {
    model.name: model
    for model in (
        CausalVQVAE2, VQVAE2, CausalAutoencoder, CausalVAE, CausalVQVAE,
        FrameGenerator, PixelCNN, MelNet, WaveNet, Vocoder, LPWaveNet, CodePrior, IntegerCodePrior,
    )
}  # fmt: skip
"""The classes of the models by the names that stand in cards, so that ``MODELS["pixelcnn"]`` is :class:`PixelCNN`.
Each has a ``config``, a :class:`ModelConfig` of the class ``Config``, and is built by ``cls(config)``."""

OLD_NAMES = (
    "If it was written before 2026-11-29, it has names of then: "
    "`python tools/convert_checkpoints.py FILE` in causalcnn's repository brings it up to date."
)


def model_files(path: str | Path) -> tuple[Path, Path]:
    """Find where the weights and the card of a model are.

    Args:
        path: of the model, with or without the ending ``.safetensors`` or ``.json``; ``~`` is the home folder.

    Returns:
        The path with the ending ``.safetensors``, and with the ending ``.json``.

    Raises:
        ValueError: ``path`` names a folder only, and no file in it.
    """
    path = Path(path).expanduser()
    stem = path.name.removesuffix(".safetensors").removesuffix(".json")
    if not stem:
        raise ValueError(f"{str(path)!r} names no file; write FOLDER/NAME, without an ending")
    return path.with_name(stem + ".safetensors"), path.with_name(stem + ".json")


def save_model(path: str | Path, model: nn.Module, card: Mapping[str, Any] | None = None) -> Path:
    """Write a model as ``path.safetensors`` and ``path.json``.

    Args:
        path: of the model, with or without either ending.
        model: one of ``causalcnn.models``, or another with a ``name`` and a ``config``, which is a frozen dataclass.
        card: what else to write into the card, for example corpus, seed, device, steps, metrics, and the command that
            made the model. What the model itself knows (name, config, number of parameters, versions, checksum) is
            written in any case.

    Returns:
        The file with the weights.

    Raises:
        TypeError: the model has no name or no config, so that it could not be built again.
        ValueError: ``path`` names no file, the card holds something that JSON does not, such as NaN, or a weight is
            not finite.
        OSError: the disk is full or the folder cannot be written. A file that was there before is still whole. If
            only the second file fails, :func:`load_model` says that the two do not belong together.

    Example:
        >>> import tempfile
        >>> from causalcnn.models import PixelCNN, PixelCNNConfig, load_model, save_model
        >>> model = PixelCNN(PixelCNNConfig(mels=8, channels=4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     weights = save_model(f"{folder}/small", model, {"corpus": "none", "steps": 0})
        ...     same, card = load_model(f"{folder}/small")
        >>> weights.name, same.config == model.config, card["steps"]
        ('small.safetensors', True, 0)
    """
    name, config = getattr(model, "name", None), getattr(model, "config", None)
    if not isinstance(name, str) or not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise TypeError(
            f"a {type(model).__name__} has no name and config (a dataclass) to make it again from; "
            "save model.state_dict() yourself"
        )
    for part, value in model.named_parameters():
        if not torch.isfinite(value).all():
            raise ValueError(f"{part} is not finite: such a model is not kept; see the last checkpoint of its training")
    weights_file, card_file = model_files(path)
    data = pack_tensors(model.state_dict(), {"model": name})
    known = {"model": name, "config": dataclasses.asdict(config)}
    whole = {
        **(known | dict(card or {}) | known),
        "parameters": sum(value.numel() for value in model.parameters()),
        "causalcnn": __version__,
        "torch": torch.__version__,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    try:
        text = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the card of {name!r} cannot be written as JSON: {error}") from None
    for target, content in ((weights_file, data), (card_file, f"{text}\n".encode())):
        with atomic_write(target) as temporary:
            temporary.write_bytes(content)
    return weights_file


def load_model(
    path: str | Path, device: torch.device | str | None = None, *, models: Mapping[str, type] | None = None
) -> tuple[Any, dict[str, Any]]:
    """Read a model that :func:`save_model` wrote.

    Args:
        path: of the model, with or without an ending.
        device: the device to put the model on; the CPU by default.
        models: the classes to choose from by name, if not ``MODELS``. ``cls(cls.Config(…))`` builds a model.

    Returns:
        The model in eval mode, and its card, which holds what :func:`save_model` was given and what it added.

    Raises:
        ValueError: ``path`` names a folder only, and no file in it.
        FileNotFoundError: the weights or the card are missing.
        CheckpointError: a file is damaged, cut off or of something else, the two do not belong together, the model
            is unknown, or its class has changed since.

    Example:
        >>> import tempfile
        >>> from causalcnn.models import MelNet, MelNetConfig, load_model, save_model
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = save_model(f"{folder}/model", MelNet(MelNetConfig(mels=8, channels=4, layers=1, central=4)))
        ...     model, card = load_model(path)
        >>> card["model"], card["config"]["mels"], model.training
        ('melnet', 8, False)
    """
    weights_file, card_file = model_files(path)
    for file, what in ((weights_file, "weights"), (card_file, "card")):
        if not file.is_file():
            raise FileNotFoundError(
                f"there are no {what} {str(file)!r} (looked from {Path.cwd()})"
                if what == "weights"
                else f"{str(weights_file)!r} has no card: {str(file)!r} belongs beside it, copy it too"
            )
    card = _card(card_file)
    tensors, _ = read_tensors(weights_file)
    if card.get("sha256") != hashlib.sha256(weights_file.read_bytes()).hexdigest():
        raise CheckpointError(
            f"{str(card_file)!r} is the card of other weights than {str(weights_file)!r} (its checksum differs): one "
            "of the two was changed or not copied; take both from the same place"
        )
    models = MODELS if models is None else models
    name = card["model"]
    if name not in models:
        raise CheckpointError(f"{str(card_file)!r} is a model {name!r}; this causalcnn knows {', '.join(models)}")
    model = models[name](_config(models[name], card, card_file))
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            f"{str(weights_file)!r} does not fit a {name!r} of its config: {error}\n{OLD_NAMES}"
        ) from None
    return model.to(device or "cpu").eval(), card


def _card(file: Path) -> dict[str, Any]:
    try:
        card = json.loads(file.read_text("utf8"))
    except ValueError as error:
        raise CheckpointError(f"{str(file)!r} is no JSON, or cut off ({error}); copy it again") from None
    if not isinstance(card, dict) or not isinstance(card.get("model"), str) or not isinstance(card.get("config"), dict):
        raise CheckpointError(f"{str(file)!r} is no card of a model: it has no 'model' and 'config'")
    return card


def _config(model: Any, card: dict[str, Any], file: Path) -> Any:
    config: Any = model.Config
    known = {part.name for part in dataclasses.fields(config)}
    if foreign := [name for name in card["config"] if name not in known]:
        raise CheckpointError(
            f"{str(file)!r} has {', '.join(map(repr, foreign))} in its config, and {config.__name__} has not: it was "
            f"written by causalcnn {card.get('causalcnn', '(unknown)')}; use that version, or train anew. {OLD_NAMES}"
        )
    try:
        return config(**{name: _tuples(value) for name, value in card["config"].items()})
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{str(file)!r} has a config that {config.__name__} refuses: {error}") from None


def _tuples(value: Any) -> Any:
    """The value with its lists turned into tuples: JSON has lists only, and a frozen config holds tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
