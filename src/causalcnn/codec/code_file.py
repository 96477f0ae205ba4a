"""Codes as the bytes of a ``.ccn`` file, and back: all that is whole, and a clear word about what is not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from causalcnn._files import atomic_write
from causalcnn.codec.block_decoder import decode_blocks, encode_block
from causalcnn.codec.container import BLOCK_FRAMES, HEADER_BYTES, MAGIC, VERSION, Block, Header, find_blocks
from causalcnn.codec.frequencies import Frequencies
from causalcnn.models import Codes
from causalcnn.models.integer_code_prior import IntegerCodePriorConfig
from causalcnn.speech import FRAMES_PER_SECOND, HOP_SAMPLES, RATE_HZ

__all__ = [
    "CodeFile",
    "DamagedCodeFile",
    "ForeignCodeFile",
    "PackedCodes",
    "check_header",
    "frames_in_block",
    "pack_codes",
    "read_codes",
    "unpack_codes",
    "write_codes",
]


@dataclass(frozen=True)
class PackedCodes:
    """A file of codes before it is written.

    Attributes:
        data: the bytes of the file.
        bits: the information of the codes by the prior, in bits: what a perfect coder would need for them.

    Example:
        >>> from causalcnn.codec import PackedCodes
        >>> PackedCodes(bytes(4), bits=30.5).data.hex()
        '00000000'
    """

    data: bytes
    bits: float


@dataclass(frozen=True)
class CodeFile:
    """What a file of codes holds.

    Attributes:
        pieces: for each run of frames that could be read the number of its first frame and its codes, int16
            ``(frames, cells)``; one piece where the file is whole.
        lost: for each run of frames that could not be read its first frame and the frame after its last.
        samples: the length of the sound in samples at ``rate_hz``; where the header is damaged, as far as was read.
        rate_hz: of the sound, in Hz.
        top_cells: how many codes of a frame are top codes.

    Example:
        >>> import numpy as np
        >>> from causalcnn.codec import CodeFile
        >>> CodeFile(((0, np.zeros((3, 30), dtype=np.int16)),), (), 480, 16_000, top_cells=10).codes.bottom.shape
        torch.Size([1, 3, 20])
    """

    pieces: tuple[tuple[int, NDArray[np.int16]], ...]
    lost: tuple[tuple[int, int], ...]
    samples: int
    rate_hz: int
    top_cells: int

    @property
    def codes(self) -> Codes:
        """All codes that could be read, one after the other, int64, top ``(1, frames, top_cells)``.

        Raises:
            ValueError: there are none.
        """
        if not self.pieces:
            raise ValueError("there are no codes in this file that could be read")
        return self.codes_of(np.concatenate([codes for _, codes in self.pieces]))

    def codes_of(self, piece: NDArray[np.int16]) -> Codes:
        """Turn the codes of a piece into what a model decodes.

        Args:
            piece: one of ``pieces``, without the number of its first frame, ``(frames, cells)``.

        Returns:
            The codes, int64, top ``(1, frames, top_cells)`` and bottom ``(1, frames, bottom_cells)``.
        """
        whole = torch.from_numpy(piece.astype(np.int64))[None]
        return Codes(whole[:, :, : self.top_cells], whole[:, :, self.top_cells :])


class ForeignCodeFile(ValueError):
    """A file that is no file of codes, or one of another version, model or prior; the message says which."""


class DamagedCodeFile(ValueError):
    """A file of codes is truncated or altered; the message says what is lost.

    Args:
        message: what is lost.
        recovered: all that could be read.
    """

    def __init__(self, message: str, recovered: CodeFile) -> None:
        super().__init__(message)
        self.recovered = recovered
        """All that could be read, each block as it was written."""


def frames_in_block(number: int, samples: int) -> int:
    """Count the frames of a block of a sound of so many samples; 0 where there is no such block."""
    return min(max(-(-samples // HOP_SAMPLES) - number * BLOCK_FRAMES, 0), BLOCK_FRAMES)


def pack_codes(codes: Codes, prior: Frequencies, *, model: bytes, samples: int | None = None) -> PackedCodes:
    """Turn codes into the bytes of a file.

    Args:
        codes: of one recording, top ``(1, frames, top_cells)`` and bottom ``(1, frames, bottom_cells)``.
        prior: how often each code is expected.
        model: 8 bytes, the fingerprint of the model that made the codes, see :func:`model_fingerprint`.
        samples: the length of the sound, which ends in the last frame; by default at its end.

    Returns:
        The bytes, and the information of the codes in bits.

    Raises:
        ValueError: codes of another shape or dtype, or that the prior does not know; a length that is not in the last
            frame; another number of bytes in ``model``.
        ImportError: the extra ``codec`` is not installed.
    """
    joined = _joined(codes, prior.config)
    samples = len(joined) * HOP_SAMPLES if samples is None else samples
    if -(-samples // HOP_SAMPLES) != len(joined):
        raise ValueError(
            f"samples is {samples}, and there are {len(joined)} frames of {HOP_SAMPLES} samples; the sound must end in "
            "the last of them"
        )
    if len(model) != len(prior.fingerprint):
        raise ValueError(f"model has {len(model)} bytes; a fingerprint has {len(prior.fingerprint)}")
    header = Header(model, prior.fingerprint, RATE_HZ, samples)
    parts, total = [header.pack()], 0.0
    for first in range(0, len(joined), BLOCK_FRAMES):
        block, bits = encode_block(first // BLOCK_FRAMES, joined[first : first + BLOCK_FRAMES], prior)
        parts.append(block.pack(header.seed))
        total += bits
    return PackedCodes(b"".join(parts), total)


def _joined(codes: Codes, config: IntegerCodePriorConfig) -> NDArray[np.int64]:
    """The codes of each frame in their order, ``(frames, cells)``."""
    shapes = [tuple(level.shape) for level in codes]
    frames = shapes[0][1] if len(shapes[0]) == 3 else -1
    if shapes != [(1, frames, config.top_cells), (1, frames, config.bottom_cells)]:
        raise ValueError(
            f"the codes have shapes {shapes[0]} and {shapes[1]}; a file takes those of one recording, "
            f"(1, frames, {config.top_cells}) and (1, frames, {config.bottom_cells})"
        )
    joined = torch.cat(codes, dim=2)[0]
    if joined.is_floating_point() or (joined.numel() and not 0 <= joined.min() <= joined.max() < config.num_codes):
        raise ValueError(f"a code must be an integer from 0 to {config.num_codes - 1}; these are not")
    return joined.cpu().numpy().astype(np.int64)


def unpack_codes(data: bytes, prior: Frequencies, *, model: bytes) -> CodeFile:
    """Read the codes from the bytes of a file.

    Args:
        data: the file.
        prior: that of the sender.
        model: the fingerprint of the model that the codes are to be decoded with, see :func:`model_fingerprint`.

    Returns:
        The codes, all of them.

    Raises:
        ForeignCodeFile: no file of codes; one of a newer version; one of another model or prior.
        DamagedCodeFile: the file is truncated or altered. Its ``recovered`` is all that could be read: every block that
            is whole, before the damage and after it.
    """
    header = check_header(data, prior, model)
    seed = Header(model, prior.fingerprint, RATE_HZ, 0).seed
    found = [
        block
        for block in find_blocks(data, HEADER_BYTES if header else 0, seed)
        if header is None or block.frames == frames_in_block(block.number, header.samples)
    ]
    decoded = zip(found, decode_blocks(found, prior), strict=True)
    blocks = [(block, codes) for block, codes in decoded if codes is not None]
    recovered = _arrange(blocks, header, prior.config.top_cells)
    extra = len(data) - HEADER_BYTES - sum(block.size for block, _ in blocks)
    if header is None and not blocks and not data.startswith(MAGIC):
        raise ForeignCodeFile(f"this is no file of codes: it begins with {data[:4]!r}, not with {MAGIC!r}")
    if header is None or recovered.lost or extra:
        raise DamagedCodeFile(_damage(header, recovered, len(blocks), extra), recovered)
    return recovered


def check_header(data: bytes, prior: Frequencies, model: bytes) -> Header | None:
    """Read the header, and refuse the file of another model or prior.

    Args:
        data: the beginning of a file.
        prior: the prior that is there.
        model: the fingerprint of the model that is there.

    Returns:
        The header; ``None`` where it is damaged, cut off or none.

    Raises:
        ForeignCodeFile: an empty file; one of a newer version, or of another model or prior.
    """
    if not data:
        raise ForeignCodeFile("this is no file of codes: it is empty (0 bytes)")
    header = Header.unpack(data)
    if header is None:
        return None
    if header.version != VERSION or header.rate_hz != RATE_HZ:
        raise ForeignCodeFile(
            f"this is a file of codes of version {header.version}, with {header.rate_hz} samples a second; this "
            f"causalcnn reads version {VERSION}, with {RATE_HZ}: take a newer one"
        )
    for what, written, given in (("model", header.model, model), ("prior", header.prior, prior.fingerprint)):
        if written != given:
            raise ForeignCodeFile(
                f"this file was written with another {what}, {written.hex()}; given is {given.hex()}: decode it with "
                f"the {what} that it was encoded with"
            )
    return header


def _arrange(blocks: list[tuple[Block, NDArray[np.int16]]], header: Header | None, top_cells: int) -> CodeFile:
    """The blocks that were read as runs of frames, and what is missing between them."""
    runs: list[tuple[int, list[NDArray[np.int16]]]] = []
    lost, at = [], 0
    for block, codes in blocks:
        first = block.number * BLOCK_FRAMES
        if first > at:
            lost.append((at, first))
        if first > at or not runs:
            runs.append((first, []))
        runs[-1][1].append(codes)
        at = first + block.frames
    samples = at * HOP_SAMPLES if header is None else header.samples
    frames = -(-samples // HOP_SAMPLES)
    if at < frames:
        lost.append((at, frames))
    pieces = tuple((first, np.concatenate(codes)) for first, codes in runs)
    return CodeFile(pieces, tuple(lost), samples, RATE_HZ, top_cells)


def _damage(header: Header | None, recovered: CodeFile, blocks: int, extra: int) -> str:
    """What is wrong with a file, in words."""
    said = []
    if header is None:
        said.append("its header is damaged, so how long it was is not known")
    if recovered.lost:
        seconds = [f"{first / FRAMES_PER_SECOND:g}–{stop / FRAMES_PER_SECOND:g}" for first, stop in recovered.lost]
        some = ", ".join(seconds[:8]) + (f" and {len(seconds) - 8} more" if len(seconds) > 8 else "")
        said.append(f"the seconds {some} are missing or damaged")
    if header is not None and not recovered.lost:
        said.append(f"nothing is lost, but {extra} bytes in it belong to no block")
    whole = "1 block of up to a second is whole" if blocks == 1 else f"{blocks} blocks of up to a second are whole"
    return f"this file of codes is truncated or altered: {'; '.join(said)}. {whole}"


def write_codes(
    path: str | Path, codes: Codes, prior: Frequencies, *, model: bytes, samples: int | None = None
) -> PackedCodes:
    """Write codes to a file, which appears whole or not at all.

    Args:
        path: the file, which is replaced if it is there.
        codes: of one recording, top ``(1, frames, top_cells)`` and bottom ``(1, frames, bottom_cells)``.
        prior: how often each code is expected.
        model: 8 bytes, the fingerprint of the model that made the codes, see :func:`model_fingerprint`.
        samples: the length of the sound, which ends in the last frame; by default at its end.

    Returns:
        What was written, and the information of the codes in bits.

    Raises:
        ValueError: as for :func:`pack_codes`.
        OSError: the file cannot be written; one that was there before is still whole.
        ImportError: the extra ``codec`` is not installed.
    """
    packed = pack_codes(codes, prior, model=model, samples=samples)
    with atomic_write(path) as part:
        part.write_bytes(packed.data)
    return packed


def read_codes(path: str | Path, prior: Frequencies, *, model: bytes) -> CodeFile:
    """Read the codes from a file.

    Args:
        path: the file.
        prior: that of the sender.
        model: the fingerprint of the model that the codes are to be decoded with, see :func:`model_fingerprint`.

    Returns:
        The codes, all of them.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read.
        ForeignCodeFile: no file of codes; one of a newer version; one of another model or prior.
        DamagedCodeFile: the file is truncated or altered. Its ``recovered`` is all that could be read.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r} (looked from {Path.cwd()})")
    try:
        return unpack_codes(path.read_bytes(), prior, model=model)
    except ForeignCodeFile as error:
        raise ForeignCodeFile(f"{str(path)!r}: {error}") from None
    except DamagedCodeFile as error:
        raise DamagedCodeFile(f"{str(path)!r}: {error}", error.recovered) from None
