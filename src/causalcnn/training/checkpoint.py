"""Checkpoints to resume from: one file that holds everything, and is whole or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from causalcnn._files import CheckpointError, atomic_write, pack_tensors, read_tensors

__all__ = ["Checkpoint"]

FORMAT = "causalcnn training checkpoint 2"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training between two steps.

    Attributes:
        tensors: weights, optimizer moments, random numbers and history, by name.
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
        data = pack_tensors(self.tensors, {"causalcnn": json.dumps(header)})
        with atomic_write(path, sole_writer=True) as part:
            part.write_bytes(data)

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
            if "causalcnn" in metadata and "checkpoint" in metadata["causalcnn"]:
                raise CheckpointError(
                    f"{str(path)!r} was written by another version, and cannot be gone on from here; remove it and "
                    "train anew, or finish the training with the version that began it"
                ) from None
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
