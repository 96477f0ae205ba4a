"""What ships keeps its codes, and files with the names of before 2026-11-29 are recognised and converted."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
import torch

pytest.importorskip("safetensors")

import convert_checkpoints
from causalcnn._files import pack_tensors, read_tensors, write_json
from causalcnn.models import CheckpointError, load_model, save_model
from causalcnn.models.model_io import MODELS, model_files

CHECKPOINTS = Path(__file__).resolve().parents[2] / "book" / "checkpoints"
CLEAR = 1e-3
"""A code counts where the second-best codeword is so much further away: floats differ between processors."""
DIGESTS = {
    "vqvae2-tiny": {
        "top": ([20, 22, 23, 44, 56, 58, 103, 126, 132, 134, 140, 151], "7c05b23eca9911bd"),
        "bottom": ([], "c4783896a2e52aff"),
    },
    "vqvae2-noncausal-tiny": {
        "top": ([9, 55, 75, 119, 125, 129, 139, 153], "78796182eab0df05"),
        "bottom": ([], "f30105884e7e47c5"),
    },
}
"""Of each level's codes: those too close to call, and the digest of all others."""


def patches() -> torch.Tensor:
    """Patches of a constant whole number of dB, the same to the bit everywhere: ``(1, 1, 16, 80)``."""
    coarse = torch.randint(-70, 10, (1, 1, 4, 20), generator=torch.Generator().manual_seed(1))
    return coarse.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3).float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", DIGESTS)
def test_the_shipped_codes_are_those_of_before(name: str, dtype: torch.dtype) -> None:
    model = load_model(CHECKPOINTS / name)[0].to(dtype)
    vectors: list[torch.Tensor] = []
    for part in (model.encoder_top, model.project_bottom):
        part.register_forward_hook(lambda _, __, output: vectors.append(output))
    codes = model.encode(patches().to(dtype))
    for level, before in zip(("top", "bottom"), vectors, strict=True):
        found = getattr(codes, level).flatten()
        near, digest = DIGESTS[name][level]
        clear = torch.ones(len(found), dtype=torch.bool)
        clear[near] = False
        codebook = getattr(model, f"quantize_{level}").codebook
        distances = torch.cdist(before[0].flatten(1).T.double(), codebook.double())
        best, second = distances.topk(2, largest=False).values[clear].T
        assert float((second - best).min()) > 0.99 * CLEAR
        assert hashlib.sha256(found[clear].numpy().astype("<i8").tobytes()).hexdigest()[:16] == digest


# --------------------------------------------------------------------------------- files with the names of before
NUMBERED = (
    "encoder_bottom", "encoder_top", "quantize_top", "hint",
    "project_bottom", "quantize_bottom", "upsample_top", "decoder",
)  # fmt: skip
OLD_FIELDS = {
    "vqvae2": {"num_codes": "codes"},
    "vqvae2-noncausal": {"num_codes": "codes"},
    "frame-generator": {
        "output": "law",
        "scheduled_sampling": "own_share",
        "embedding_size": "place",
        "context_bands": "glimpse",
    },
    "pixelcnn": {
        "output": "law",
        "scheduled_sampling": "own_share",
        "first_time_kernel": "first_kernel",
        "first_frequency_kernel": "first_lower",
        "time_dilations": "dilations",
        "frequency_dilations": "lower_dilations",
    },
    "melnet": {"output": "law", "scheduled_sampling": "own_share"},
}
OLD_KEYS = {
    "frame-generator": [(r"^band_embedding", "place"), (r"^to_rnn_state", "initial")],
    "pixelcnn": [
        (r"^time_input", "first_vertical"),
        (r"^frequency_input", "first_lower"),
        (r"^time_blocks", "vertical"),
        (r"^frequency_blocks", "lower"),
        (r"^conditions", "links"),
        (r"^band_embedding", "where"),
        (r"^head\.1", "last.1"),
        (r"^head\.3", "parameters_of"),
    ],
    "melnet": [
        (r"^time_input", "read_late"),
        (r"^frequency_input", "read_lower"),
        (r"^band_embedding", "where"),
        (r"^time_layers", "delayed"),
        (r"^mix_central", "tell"),
        (r"^frequency_layers\.(\d+)\.rnn", r"upward.\1.up"),
        (r"^frequency_layers", "upward"),
        (r"^head", "parameters_of"),
    ],
}


def old_key(name: str, key: str) -> str:
    """What a weight was called before 2026-11-29."""
    if name in ("vqvae2", "frame-generator"):
        key = re.sub(r"^(encoder\w*|hint|decoder)\.(\d+)\.", r"\1.parts.\2.", key)
    if name != "vqvae2-noncausal":
        key = re.sub(r"\.body\.(\d+)\.", r".parts.0.parts.\1.", key)
    if name in OLD_KEYS:
        return next((re.sub(now, before, key) for now, before in OLD_KEYS[name] if re.match(now, key)), key)
    part, rest = key.split(".", 1)
    if part in ("project_bottom", "upsample_top"):  # a chain of one layer then
        rest = f"parts.0.{rest}" if name == "vqvae2" else f"0.{rest}"
    return f"parts.{NUMBERED.index(part)}.{rest}"


def with_old_names(path: Path, name: str) -> Path:
    """A model's files as they were written before 2026-11-29."""
    torch.manual_seed(0)
    weights_file = save_model(path, MODELS[name](MODELS[name].Config.tiny()), {"seed": 7})
    tensors, metadata = read_tensors(weights_file)
    data = pack_tensors({old_key(name, key): tensor for key, tensor in tensors.items()}, metadata)
    weights_file.write_bytes(data)
    card = json.loads(model_files(path)[1].read_text("utf8"))
    config = {OLD_FIELDS[name].get(field, field): value for field, value in card["config"].items()}
    if "law" in config:
        config["law"] = config["law"].replace("-mixture", "s")
    write_json(model_files(path)[1], {**card, "config": config, "sha256": hashlib.sha256(data).hexdigest()})
    return path


@pytest.mark.parametrize("name", OLD_FIELDS)
def test_a_file_with_old_names_names_the_converter_and_is_converted(name: str, tmp_path: Path) -> None:
    path = with_old_names(tmp_path / "old-0.1", name)
    with pytest.raises(CheckpointError, match=r"in its config(.|\n)*python tools/convert_checkpoints\.py"):
        load_model(path)
    assert convert_checkpoints.convert(path)
    model, card = load_model(path)
    torch.manual_seed(0)
    expected = MODELS[name](MODELS[name].Config.tiny())
    assert model.config == expected.config
    assert card["seed"] == 7
    assert all(torch.equal(value, expected.state_dict()[key]) for key, value in model.state_dict().items())
    assert not convert_checkpoints.convert(path), "it is up to date now"


def test_old_weights_beside_a_new_card_name_the_converter(tmp_path: Path) -> None:
    path = with_old_names(tmp_path / "old", "vqvae2")
    card = json.loads(model_files(path)[1].read_text("utf8"))
    card["config"]["num_codes"] = card["config"].pop("codes")
    write_json(model_files(path)[1], card)
    with pytest.raises(CheckpointError, match=r"encoder_bottom(.|\n)*python tools/convert_checkpoints\.py"):
        load_model(path)


def test_the_converter_leaves_files_alone_that_do_not_belong_together(tmp_path: Path) -> None:
    path = with_old_names(tmp_path / "old", "vqvae2")
    weights_file, card_file = model_files(path)
    weights_file.write_bytes(weights_file.read_bytes() + b" ")
    before = weights_file.read_bytes(), card_file.read_bytes()
    with pytest.raises(CheckpointError, match="card of other weights"):
        convert_checkpoints.convert(path)
    assert (weights_file.read_bytes(), card_file.read_bytes()) == before


@pytest.mark.parametrize("name", ["vqvae2-tiny", "vqvae2-noncausal-tiny", "frame-generator-tiny"])
def test_what_ships_is_up_to_date(name: str, tmp_path: Path) -> None:
    for file in model_files(CHECKPOINTS / name):
        shutil.copy(file, tmp_path)
    assert not convert_checkpoints.convert(tmp_path / name)
