"""Bring model files of before 2026-11-29 up to date: weights and config fields got new names, no number changes.

python tools/convert_checkpoints.py book/checkpoints/*.safetensors
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from causalcnn._files import CheckpointError, atomic_write, pack_tensors, read_tensors, write_json
from causalcnn.models.model_io import MODELS, _config, model_files

VQVAE2 = {"codes": "num_codes"}
AUTOREGRESSIVE = {"law": "output", "own_share": "scheduled_sampling"}
CONFIGS = {
    "vqvae2": VQVAE2,
    "vqvae2-noncausal": VQVAE2,
    "frame-generator": {**AUTOREGRESSIVE, "place": "embedding_size", "glimpse": "context_bands"},
    "pixelcnn": {
        **AUTOREGRESSIVE,
        "first_kernel": "first_time_kernel",
        "first_lower": "first_frequency_kernel",
        "dilations": "time_dilations",
        "lower_dilations": "frequency_dilations",
    },
    "melnet": AUTOREGRESSIVE,
}
"""Model → field of its config, before → now."""

PARTS = (
    "encoder_bottom", "encoder_top", "quantize_top", "hint",
    "project_bottom", "quantize_bottom", "upsample_top", "decoder",
)  # fmt: skip
"""Of the VQ-VAE-2, in the order in which they were numbered."""

KEYS: dict[str, list[tuple[str, str]]] = {
    "vqvae2": [
        *((rf"^parts\.{i}\.parts\.0\.", f"{PARTS[i]}.") for i in (4, 6)),  # these two are one layer
        *((rf"^parts\.{i}\.", f"{name}.") for i, name in enumerate(PARTS)),
    ],
    "vqvae2-noncausal": [
        *((rf"^parts\.{i}\.0\.", f"{PARTS[i]}.") for i in (4, 6)),
        *((rf"^parts\.{i}\.", f"{name}.") for i, name in enumerate(PARTS)),
    ],
    "frame-generator": [
        (r"^place$", "band_embedding"),
        (r"^initial\.", "to_rnn_state."),
        (r"^law\.", "distribution."),
        (r"^encoder\.parts\.0\.parts\.", "encoder.network.branches."),
    ],
    "pixelcnn": [
        (r"^where$", "band_embedding"),
        (r"^law\.", "distribution."),
        (r"^first_vertical\.", "time_input."),
        (r"^first_lower\.", "frequency_input."),
        (r"^vertical\.(\d+)\.parts\.0\.parts\.", r"time_blocks.\1.body."),
        (r"^lower\.", "frequency_blocks."),
        (r"^links\.", "conditions."),
        (r"^last\.1\.", "head.1."),
        (r"^parameters_of\.", "head.3."),
    ],
    "melnet": [
        (r"^where$", "band_embedding"),
        (r"^law\.", "distribution."),
        (r"^read_late\.", "time_input."),
        (r"^read_lower\.", "frequency_input."),
        (r"^delayed\.", "time_layers."),
        (r"^tell\.", "mix_central."),
        (r"^upward\.(\d+)\.up\.", r"frequency_layers.\1.rnn."),
        (r"^upward\.", "frequency_layers."),
        (r"^parameters_of\.", "head."),
    ],
}
"""Model → patterns in the names of its weights, and what stands there now, one after the other."""

LAYERS = [
    (r"\.parts\.(\d+)\.parts\.0\.parts\.", r".\1.body."),  # a layer of a residual block's body
    (r"\.parts\.(\d+)\.", r".\1."),
]
"""The same for the layers of a CausalSequential, in all models."""


def new_config(name: str, config: dict[str, Any]) -> dict[str, Any]:
    """The config of a card with the names of today."""
    config = {CONFIGS[name].get(field, field): value for field, value in config.items()}
    if "output" in config:
        config["output"] = re.sub(r"^(logistic|gaussian)s-", r"\1-mixture-", config["output"])
    return config


def new_key(name: str, key: str) -> str:
    """The name of today for a weight."""
    for before, now in KEYS[name] + LAYERS:
        key = re.sub(before, now, key)
    return key


def convert(path: Path) -> bool:
    """Rewrite a model's weights and card where they have names of before.

    Returns:
        Whether they had.

    Raises:
        CheckpointError: the two files do not belong together, or the config does not fit even so.
        RuntimeError: the weights do not fit even so.
    """
    weights_file, card_file = model_files(path)
    card = json.loads(card_file.read_text("utf8"))
    if card["sha256"] != hashlib.sha256(weights_file.read_bytes()).hexdigest():
        raise CheckpointError(f"{str(card_file)!r} is the card of other weights than {str(weights_file)!r}")
    name, (tensors, metadata) = card["model"], read_tensors(weights_file)
    renamed: dict[str, Tensor] = {new_key(name, key): tensor for key, tensor in tensors.items()}
    config = new_config(name, card["config"])
    if renamed.keys() == tensors.keys() and config == card["config"]:
        return False
    card["config"] = config
    MODELS[name](_config(MODELS[name], card, card_file)).load_state_dict(renamed)
    data = pack_tensors(renamed, metadata)
    with atomic_write(weights_file) as part:
        part.write_bytes(data)
    write_json(card_file, {**card, "sha256": hashlib.sha256(data).hexdigest()})
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("paths", nargs="+", type=Path, help="files of models, .safetensors or .json")
    for path in sorted({model_files(path)[0] for path in parser.parse_args().paths}):
        print(f"{path}: {'converted' if convert(path) else 'is up to date'}")


if __name__ == "__main__":
    main()
