"""From sound to a ``.ccn`` file and back: the model that makes codes, the prior, and Griffin–Lim."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from causalcnn._files import CheckpointError
from causalcnn.codec.code_file import CodeFile, PackedCodes, read_codes, write_codes
from causalcnn.codec.frequencies import Frequencies
from causalcnn.models import CausalVQVAE2, CodeDecoder, CodeEncoder, Codes, IntegerCodePrior, load_model
from causalcnn.nn import CausalSequential
from causalcnn.speech import HOP_SAMPLES, RATE_HZ, LogMel, OnlineGriffinLim

__all__ = ["CHECKPOINTS", "SpeechCodec", "model_fingerprint"]

CHECKPOINTS = Path("book/checkpoints")
"""Where the models that ship are, in a clone of causalcnn's repository."""
MODEL, PRIOR = "vqvae2-tiny", "integer-code-prior"
PIECE_SAMPLES = 10 * RATE_HZ
"""Sound is encoded and decoded in pieces, so that an hour needs no more memory than a minute."""
LOOKAHEAD = 3
"""Frames that the phases wait for; see :class:`~causalcnn.speech.OnlineGriffinLim`."""


def model_fingerprint(model: CausalVQVAE2) -> bytes:
    """Compute what tells a model that makes codes from others: 8 bytes of a digest of its config and weights.

    Args:
        model: the model, on any device, in any precision.

    Returns:
        The 8 bytes.

    Example:
        >>> from causalcnn.codec import model_fingerprint
        >>> from causalcnn.models import CausalVQVAE2
        >>> len(model_fingerprint(CausalVQVAE2()))
        8
    """
    digest = hashlib.sha256(repr(sorted(asdict(model.config).items())).encode())
    for name, value in sorted(model.state_dict().items()):
        whole = value.detach().cpu().double().numpy().astype("<f8")
        digest.update(f"{name} {whole.shape}".encode() + whole.tobytes())
    return digest.digest()[:8]


class SpeechCodec:
    """Speech in files of codes: a causal VQ-VAE-2, and a prior over its codes that is the same on every machine.

    What is portable are the codes: the same file gives the same ones everywhere. The model computes in floating point,
    so on another machine it may give another code here and there for the same sound, and sound that differs by a
    rounding for the same codes.

    Args:
        model: the trained model.
        prior: the trained prior.

    Attributes:
        model: as given.
        prior: the frequencies that it gives.

    Raises:
        ValueError: the prior is one for other numbers of codes than the model has.

    Example:
        >>> import torch
        >>> from causalcnn.codec import SpeechCodec
        >>> from causalcnn.models import CausalVQVAE2, IntegerCodePrior
        >>> codec = SpeechCodec(CausalVQVAE2(), IntegerCodePrior())
        >>> codes = codec.encode(torch.zeros(1000))  # 6 hops of 160 samples, and a part of one
        >>> codes.top.shape, codec.decode(codes).shape
        (torch.Size([1, 7, 10]), (1120,))
    """

    model: CausalVQVAE2
    prior: Frequencies

    def __init__(self, model: CausalVQVAE2, prior: IntegerCodePrior) -> None:
        self.model, self.prior = model.eval(), Frequencies(prior)
        sizes = [(c.top_cells, c.bottom_cells, c.num_codes) for c in (model.config, prior.config)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"the model has {sizes[0]} top cells, bottom cells and codewords, the prior {sizes[1]}: "
                "train a prior on the codes of this model"
            )

    @classmethod
    def load(cls, model: str | Path | None = None, prior: str | Path | None = None) -> Self:
        """Load a model and its prior from files.

        Args:
            model: the path of the model; by default ``vqvae2-tiny`` of the repository.
            prior: the path of the prior; by default ``integer-code-prior`` of the repository.

        Returns:
            The codec.

        Raises:
            FileNotFoundError: a file is missing; where it is one of the repository, the message says where to get it.
            CheckpointError: a file is damaged, or is of another model.
            ValueError: the two do not belong together.
        """
        coder, _ = load_model(shipped(MODEL) if model is None else model)
        if not isinstance(coder, CausalVQVAE2):
            raise CheckpointError(f"{str(model)!r} is a model {coder.name!r}; a 'vqvae2' is wanted here")
        found, _ = load_model(shipped(PRIOR) if prior is None else prior)
        if not isinstance(found, IntegerCodePrior):
            raise CheckpointError(f"{str(prior)!r} is a model {found.name!r}; a {PRIOR!r} is wanted here")
        return cls(coder, found)

    @cached_property
    def fingerprint(self) -> bytes:
        """The 8 bytes that tell the model from others."""
        return model_fingerprint(self.model)

    @torch.no_grad()
    def encode(self, samples: Tensor | NDArray[np.floating]) -> Codes:
        """Turn sound into codes.

        Args:
            samples: at 16,000 Hz, in −1 … 1, ``(samples,)``. The last hop is filled with silence.

        Returns:
            The codes, top ``(1, frames, top_cells)``, a frame for each hop of 160 samples begun.

        Raises:
            ValueError: samples of another shape, or not finite.
        """
        sound = torch.as_tensor(samples, dtype=torch.float32)
        if sound.dim() != 1 or not torch.isfinite(sound).all():
            raise ValueError(f"sound has shape {tuple(sound.shape)}; a codec takes finite samples of one, (samples,)")
        sound = nn.functional.pad(sound, (0, -len(sound) % HOP_SAMPLES))
        stream = CausalSequential(LogMel(), CodeEncoder(self.model)).eval().stream()
        c = self.model.config
        found = [stream(piece[None, None])[0].T for piece in sound.split(PIECE_SAMPLES) if len(piece)]
        joined = torch.cat([torch.empty(0, c.top_cells + c.bottom_cells, dtype=torch.int64), *found])[None]
        return Codes(joined[:, :, : c.top_cells], joined[:, :, c.top_cells :])

    @torch.no_grad()
    def decode(self, codes: Codes) -> NDArray[np.float32]:
        """Turn codes into sound.

        Args:
            codes: of one recording, top ``(1, frames, top_cells)``.

        Returns:
            160 samples a frame at 16,000 Hz, ``(samples,)``, not clipped.

        Raises:
            ValueError: codes of another shape, or that the model does not have.
        """
        joined = torch.cat(codes, dim=2).transpose(1, 2)  # (1, cells, frames)
        frames = joined.shape[2]
        if not frames:
            return np.zeros(0, dtype=np.float32)
        joined = torch.cat([joined, joined[:, :, -1:].expand(-1, -1, LOOKAHEAD)], dim=2)
        stream = CausalSequential(CodeDecoder(self.model), OnlineGriffinLim(LOOKAHEAD)).eval().stream()
        pieces = [stream(piece)[0, 0] for piece in joined.split(PIECE_SAMPLES // HOP_SAMPLES, dim=2)]
        return torch.cat(pieces).numpy()

    def sound_of(self, file: CodeFile) -> NDArray[np.float32]:
        """Turn what was read of a file into sound, as long as the recording; what is lost is silent.

        Args:
            file: what was read, whole or recovered.

        Returns:
            Samples at 16,000 Hz, ``(samples,)``. A loss at the end is left out.
        """
        parts, at = [], 0
        for first, piece in file.pieces:
            parts.append(np.zeros((first - at) * HOP_SAMPLES, dtype=np.float32))
            parts.append(self.decode(file.codes_of(piece)))
            at = first + len(piece)
        return np.concatenate([np.zeros(0, dtype=np.float32), *parts])[: file.samples]

    def write(self, path: str | Path, samples: Tensor | NDArray[np.floating]) -> PackedCodes:
        """Write sound to a file of codes, which appears whole or not at all.

        Args:
            path: the file, which is replaced if it is there.
            samples: at 16,000 Hz, ``(samples,)``.

        Returns:
            What was written, and the information of the codes in bits.

        Raises:
            ValueError: samples of another shape, or not finite.
            OSError: the file cannot be written.
            ImportError: the extra ``codec`` is not installed.
        """
        return write_codes(path, self.encode(samples), self.prior, model=self.fingerprint, samples=len(samples))

    def read(self, path: str | Path) -> CodeFile:
        """Read a file of codes.

        Args:
            path: the file.

        Returns:
            Its codes, all of them.

        Raises:
            FileNotFoundError: there is no such file.
            OSError: it cannot be read.
            ForeignCodeFile: no file of codes; one of a newer version; one of another model or prior.
            DamagedCodeFile: the file is truncated or altered. Its ``recovered`` is all that could be read.
        """
        return read_codes(path, self.prior, model=self.fingerprint)


def shipped(name: str) -> Path:
    """Find a model that ships: in the working directory, or in the clone that causalcnn is installed from."""
    clone = Path(__file__).resolve().parents[3]
    for root in (Path(), clone):
        if (root / CHECKPOINTS / f"{name}.safetensors").is_file():
            return root / CHECKPOINTS / name
    raise FileNotFoundError(
        f"there is no model {str(CHECKPOINTS / name)!r} (looked from {Path.cwd()} and in {clone}). It is in the "
        "repository of causalcnn, not in what pip installs: run the command in a clone, or name the models by --codec "
        "PATH and --prior PATH, such as your own from causalcnn train"
    )
