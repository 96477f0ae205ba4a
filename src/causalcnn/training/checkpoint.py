"""Checkpoints to resume from: one file that holds everything, and is whole or not there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from causalcnn._files import CheckpointError, atomic_write, pack_tensors, read_tensors

__all__ = ["Checkpoint"]

FORMAT = "causalcnn training checkpoint 2"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training between two steps, as it is kept in a file. :func:`train` writes and reads it.

    Attributes:
        tensors: tensors of any shape by name: weights, moments of the optimizer, states of random generators, history.
        facts: what is no tensor, such as the steps made, the seconds and the evaluations, as values for JSON.
        settings: what must be the same when the training goes on, as values for JSON.

    Example:
        >>> import tempfile, torch
        >>> from pathlib import Path
        >>> from causalcnn.training import Checkpoint
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "run.safetensors"
        ...     Checkpoint({"model.weight": torch.ones(2)}, {"step": 100}, {"seed": 0}).write(path)
        ...     Checkpoint.read(path).facts
        {'step': 100}
    """

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]
    settings: Mapping[str, Any]

    def write(self, path: Path) -> None:
        """Write the file in place of the one before. At any moment the whole old file or the whole new one is there.

        Args:
            path: the file to write; its folder is made if it is missing.

        Raises:
            OSError: the disk is full, or the folder cannot be written; the old file is still there.
            ImportError: safetensors is not installed; the extra ``train`` brings it.
        """
        header = json.dumps({"format": FORMAT, "facts": self.facts, "settings": self.settings})
        data = pack_tensors(self.tensors, {"causalcnn": header, "sha256": _digest(self.tensors, header)})
        with atomic_write(path, sole_writer=True) as part:
            part.write_bytes(data)

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read what :meth:`write` wrote.

        Args:
            path: the file.

        Returns:
            The checkpoint.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: the file is cut off, damaged (it has a checksum), of another version, or no checkpoint.
            ImportError: safetensors is not installed; the extra ``train`` brings it.
        """
        tensors, metadata = read_tensors(path)
        try:
            header = json.loads(metadata["causalcnn"])
            known = header["format"] == FORMAT
        except (KeyError, TypeError, ValueError):
            known = False
        if not known:
            if "causalcnn" in metadata and "checkpoint" in metadata["causalcnn"]:
                raise CheckpointError(
                    f"{str(path)!r} was written by another version, and cannot be gone on from here; remove it and "
                    "train anew, or finish the training with the version that began it"
                )
            raise CheckpointError(
                f"{str(path)!r} holds tensors, but is no {FORMAT!r}; a finished model is read by load_model(path)"
            )
        if metadata.get("sha256", "") != _digest(tensors, metadata["causalcnn"]) and "sha256" in metadata:
            raise CheckpointError(
                f"{str(path)!r} is damaged: its content fails its checksum; copy it again, or remove it and train anew"
            )
        return cls(tensors, header["facts"], header["settings"])

    def require_same(self, settings: Mapping[str, Any], path: Path) -> None:
        """Refuse to go on with other settings, which would not give the numbers of an unbroken run.

        Args:
            settings: the settings of the training that is to go on.
            path: the file of this checkpoint, for the message.

        Raises:
            CheckpointError: a setting differs; the message names every difference.
        """
        now = json.loads(json.dumps(settings))
        differences = list(_differences(self.settings, now))
        if differences:
            raise CheckpointError(
                f"{str(path)!r} was written by another training and cannot go on with this one:\n  "
                + "\n  ".join(differences)
                + "\nGive the same settings; or start anew with another path, or after removing this file."
            )


def _digest(tensors: Mapping[str, Tensor], header: str) -> str:
    """The SHA-256 of all that a checkpoint says; safetensors has no checksum."""
    digest = hashlib.sha256(header.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
    return [] if json.dumps(old) == json.dumps(new) else [f"{name}: {old!s} there, {new!s} now"]
