"""A model on disk is the model, says how it was made, and is not taken for another or for whole when it is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from causalcnn.models import CheckpointError, load_model, save_model
from causalcnn.models.model_io import model_files
from tests.training.toy import MODELS, Toy, ToyConfig


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = Toy(ToyConfig(widths=(4, 2), dropout=0.1))
    model.seen += 7
    save_model(tmp_path / "toy-0.1", model, {"corpus": "noise", "seed": 3, "metrics": {"loss": 0.5}})
    return tmp_path / "toy-0.1"


def load(path: Path) -> tuple[Any, dict[str, Any]]:
    return load_model(path, models=MODELS)


def rewritten(path: Path, **changes: Any) -> None:
    card_file = model_files(path)[1]
    card_file.write_text(json.dumps({**json.loads(card_file.read_text()), **changes}))


def test_what_is_read_is_what_was_written(saved: Path) -> None:
    model, card = load(saved)
    assert model.config == ToyConfig(widths=(4, 2), dropout=0.1)
    assert int(model.seen) == 7
    assert not model.training
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), load(saved)[0].parameters(), strict=True))
    assert (card["model"], card["corpus"], card["seed"], card["metrics"]) == ("toy", "noise", 3, {"loss": 0.5})
    assert card["parameters"] == sum(value.numel() for value in model.parameters())
    assert {"causalcnn", "torch", "sha256"} <= set(card)
    assert sorted(file.name for file in saved.parent.iterdir()) == ["toy-0.1.json", "toy-0.1.safetensors"]


@pytest.mark.parametrize("ending", ["", ".json", ".safetensors"])
def test_either_file_names_the_model(saved: Path, ending: str) -> None:
    assert load(saved.with_name(saved.name + ending))[1]["seed"] == 3


def test_a_second_model_takes_the_place_of_the_first(saved: Path) -> None:
    save_model(saved, Toy(), {"seed": 4})
    model, card = load(saved)
    assert card["seed"] == 4
    assert model.config == ToyConfig()


def test_the_models_of_the_book_are_known_by_name(tmp_path: Path) -> None:
    from causalcnn.models import MODELS as BOOK

    for name, model in BOOK.items():
        made = model(model.Config.tiny())
        save_model(tmp_path / name, made)
        again, card = load_model(tmp_path / name)
        assert type(again) is model
        assert again.config == made.config
        assert card["model"] == name
        assert all(
            torch.equal(a, b) for a, b in zip(again.state_dict().values(), made.state_dict().values(), strict=True)
        )


def test_a_model_that_could_not_be_made_again_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a Linear has no name and config"):
        save_model(tmp_path / "x", nn.Linear(1, 1))
    model = Toy()
    model.narrow.bias.data[0] = torch.inf
    with pytest.raises(ValueError, match=r"narrow\.bias is not finite"):
        save_model(tmp_path / "x", model)
    with pytest.raises(ValueError, match="card of 'toy' cannot be written as JSON"):
        save_model(tmp_path / "x", Toy(), {"loss": float("nan")})
    with pytest.raises(ValueError, match="card of 'toy' cannot be written as JSON"):
        save_model(tmp_path / "x", Toy(), {"where": Path("x")})
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_named(saved: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no weights.*other"):
        load(saved.with_name("other"))
    model_files(saved)[1].unlink()
    with pytest.raises(FileNotFoundError, match=r"has no card.*toy-0.1.json"):
        load(saved)


def test_damage_and_mixtures_are_seen(saved: Path) -> None:
    weights_file, card_file = model_files(saved)
    weights, card = weights_file.read_bytes(), card_file.read_text()
    for damaged in (b"", weights[:50], weights[:-4], b"\x00" * 99):
        weights_file.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged or cut off"):
            load(saved)
    weights_file.write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))  # one bit, in the last weight
    with pytest.raises(CheckpointError, match="its checksum differs"):
        load(saved)
    weights_file.write_bytes(weights)
    for damaged_card in ("", card[:40], "[]", "{}", '{"model": 3, "config": {}}'):
        card_file.write_text(damaged_card)
        with pytest.raises(CheckpointError, match=r"is no JSON|is no card of a model"):
            load(saved)


def test_another_model_or_another_class_is_named(saved: Path) -> None:
    rewritten(saved, model="vocoder")
    with pytest.raises(CheckpointError, match="is a model 'vocoder'; this causalcnn knows toy"):
        load(saved)
    rewritten(saved, model="toy", config={"widths": [4, 2], "depth": 3})
    with pytest.raises(CheckpointError, match="'depth' in its config, and ToyConfig has not"):
        load(saved)
    rewritten(saved, config={"widths": [4, 2], "dropout": 2})
    with pytest.raises(CheckpointError, match="ToyConfig refuses: dropout is 2"):
        load(saved)
    rewritten(saved, config={"widths": [4, 3], "dropout": 0.1})
    with pytest.raises(CheckpointError, match=r"does not fit a 'toy' of its config(.|\n)*narrow.weight"):
        load(saved)


def test_a_disk_that_fills_up_leaves_the_old_model(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("causalcnn._files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(saved, Toy())
    monkeypatch.undo()
    assert load(saved)[1]["seed"] == 3
    assert len(list(saved.parent.iterdir())) == 2


def test_a_card_cannot_rename_the_model(tmp_path: Path) -> None:
    save_model(tmp_path / "toy", Toy(), {"model": "best", "config": None})
    assert load(tmp_path / "toy")[1]["model"] == "toy"
