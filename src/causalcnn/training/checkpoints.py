"""Checkpoints to resume from: one file that holds everything, and is whole or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from causalcnn._extras import require

__all__ = ["Checkpoint", "CheckpointError", "write_json", "write_whole"]

FORMAT = "causalcnn training checkpoint 1"


class CheckpointError(ValueError):
    """A file cannot be used as a checkpoint or as a model; the message names it, why, and the way out."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training between two steps.

    Attributes:
        tensors: weights, optimiser moments, random numbers and history, by name.
        facts: what is no tensor: steps done, seconds, evaluations (must go into JSON).
        settings: what must be the same when the training goes on, as text or numbers.
    """

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]
    settings: Mapping[str, Any]

    def write(self, path: Path) -> None:
        """Write the file, in the place of the last one: a reader finds the old or the new, whole.

        Raises:
            OSError: the disk is full, or the folder cannot be written; the old file is still there.
        """
        header = {"format": FORMAT, "facts": self.facts, "settings": self.settings}
        save = require("safetensors.torch", extra="train").save
        # Copies, because two names may share memory (tied weights), and safetensors refuses that.
        tensors = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in
                   self.tensors.items()}  # fmt: skip
        write_whole(path, save(tensors, {"causalcnn": json.dumps(header)}))

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read what :meth:`write` wrote.

        Raises:
            FileNotFoundError: there is none.
            CheckpointError: it is cut off, damaged, or something else.
        """
        tensors, metadata = read_tensors(path)
        try:
            header = json.loads(metadata["causalcnn"])
            if header["format"] != FORMAT:
                raise KeyError
        except (KeyError, TypeError, ValueError):
            raise CheckpointError(
                f"{str(path)!r} holds tensors, but is no {FORMAT!r}; a finished model is read by load_model(path)"
            ) from None
        return cls(tensors, header["facts"], header["settings"])

    def require_same(self, settings: Mapping[str, Any], path: Path) -> None:
        """That a training with ``settings`` may go on from here.

        Raises:
            CheckpointError: it would not give the numbers of an unbroken run; the message names every difference.
        """
        now = json.loads(json.dumps(settings))
        differences = list(_differences(self.settings, now))
        if differences:
            raise CheckpointError(
                f"{str(path)!r} was written by another training and cannot go on with this one:\n  "
                + "\n  ".join(differences)
                + "\nGive the same settings; or start anew with another path, or after removing this file."
            )


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in [*old, *(key for key in new if key not in old)]:
            inner = f"{name}.{key}" if name else str(key)
            if key not in new or key not in old:
                found.append(f"{inner}: {old.get(key, 'not given')!s} there, {new.get(key, 'not given')!s} now")
            else:
                found += _differences(old[key], new[key], inner)
        return found
    return [] if old == new else [f"{name}: {old!s} there, {new!s} now"]


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, and its metadata.

    Raises:
        FileNotFoundError: there is none. CheckpointError: it is cut off, damaged, or no safetensors file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r} (looked from {Path.cwd()})")
    safetensors = require("safetensors", extra="train")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"{str(path)!r} ({path.stat().st_size} bytes) is no safetensors file, or is damaged or cut off ({error}); "
            "copy it again, or remove it and train anew"
        ) from None


def write_json(path: Path, table: Mapping[str, Any]) -> None:
    """Write a table as JSON that can be read and compared line by line, whole or not at all."""
    write_whole(path, (json.dumps(table, indent=1, ensure_ascii=False) + "\n").encode())


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears complete or not at all, also when the machine stops in between.

    A name of its own for the unfinished file, always the same one: what a killed process left is overwritten.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
