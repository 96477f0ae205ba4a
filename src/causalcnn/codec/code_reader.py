"""A file of codes that is decoded while its bytes arrive."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from causalcnn.codec.block_decoder import BlockDecoder, decode_blocks, words_of
from causalcnn.codec.code_file import ForeignCodeFile, check_header, frames_in_block
from causalcnn.codec.container import (
    BLOCK_FRAMES,
    CHECKSUM_BYTES,
    HEAD_BYTES,
    HEADER_BYTES,
    MAGIC,
    Block,
    Header,
    read_block,
    read_head,
)
from causalcnn.codec.frequencies import Frequencies
from causalcnn.codec.range_coder import WORD_BYTES, RangeDecoder

__all__ = ["CodeReader", "Frame"]


class Frame(NamedTuple):
    """The codes of a frame, as soon as they could be decoded.

    Attributes:
        number: of the frame, from 0, 100 a second.
        codes: int16, ``(cells,)``, top before bottom.

    Example:
        >>> import numpy as np
        >>> from causalcnn.codec import Frame
        >>> Frame(7, np.zeros(30, dtype=np.int16)).number
        7
    """

    number: int
    codes: NDArray[np.int16]


class CodeReader:
    """Decode a file of codes while its bytes arrive: a frame at most 8 bytes after the information of its own codes.

    So a frame is given before the checksum of its block has arrived. If the block then proves to be damaged, its frames
    are in ``damaged``, and what comes after it is decoded from the next whole block on. Frames that never came are
    those whose numbers are left out.

    Args:
        prior: that of the sender.
        model: the fingerprint of the model that the codes are to be decoded with.

    Attributes:
        header: what the header says, once it has arrived.
        damaged: of blocks that were given and then proved to be damaged the first frame, and the one after the last.

    Example:
        >>> import numpy as np, torch
        >>> from causalcnn.codec import CodeReader, Frequencies, pack_codes
        >>> from causalcnn.models import Codes, IntegerCodePrior, IntegerCodePriorConfig
        >>> config = IntegerCodePriorConfig(top_cells=2, bottom_cells=4, num_codes=8, channels=16)
        >>> prior = Frequencies(IntegerCodePrior(config))
        >>> codes = Codes(torch.zeros(1, 5, 2, dtype=torch.int64), torch.ones(1, 5, 4, dtype=torch.int64))
        >>> file = pack_codes(codes, prior, model=bytes(8)).data
        >>> reader = CodeReader(prior, model=bytes(8))
        >>> frames = [frame for n in range(len(file)) for frame in reader.feed(file[n : n + 1])]
        >>> [frame.number for frame in frames], frames[4].codes.tolist()
        ([0, 1, 2, 3, 4], [0, 0, 1, 1, 1, 1])
    """

    header: Header | None
    damaged: list[tuple[int, int]]

    def __init__(self, prior: Frequencies, *, model: bytes) -> None:
        self._prior, self._model = prior, model
        self.header, self.damaged = None, []
        self._buffer = bytearray()  # from the beginning of the present block on
        self._next = 0  # number of the block that should come
        self._searching = False  # for the next whole block, because the present one is not as it should be
        self._begin()

    def _begin(self) -> None:
        self._coder = RangeDecoder()
        self._decoder = BlockDecoder(self._prior, [self._coder])
        self._fed, self._given = 0, 0  # bytes of the payload, and frames of the block

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes of the file.

        Args:
            data: any number of them.

        Returns:
            The frames that can now be decoded.

        Raises:
            ForeignCodeFile: no file of codes, one of a newer version, model or prior, or one with a damaged header;
                :func:`read_codes` recovers the blocks of the last.
        """
        self._buffer += data
        if self.header is None:
            if not MAGIC.startswith(self._buffer[: len(MAGIC)]):
                raise ForeignCodeFile(f"this is no file of codes: it begins with {bytes(self._buffer[:4])!r}")
            if len(self._buffer) < HEADER_BYTES:
                return []
            self.header = check_header(bytes(self._buffer[:HEADER_BYTES]), self._prior, self._model)
            if self.header is None:
                raise ForeignCodeFile("the header of this file of codes is damaged; read it as a whole, by read_codes")
            del self._buffer[:HEADER_BYTES]
        frames: list[Frame] = []
        while self._search(frames) if self._searching else self._advance(frames):
            pass
        return frames

    def finish(self) -> list[Frame]:
        """Say that no more bytes come: frames of a block whose checksum has not arrived become damaged ones.

        Returns:
            The frames of whole blocks that lie behind such a block, which had claimed to be longer than it was.
        """
        frames: list[Frame] = []
        self._close_block()
        if self.header is not None:
            while self._search(frames):
                pass
        return frames

    def _close_block(self) -> None:
        """Forget the present block, whose frames were given and are not to be trusted."""
        if self._given:
            first = self._next * BLOCK_FRAMES
            self.damaged.append((first, first + self._given))
        self._begin()

    def _advance(self, frames: list[Frame]) -> bool:
        """Decode what is there of the present block; say whether there may be more to do."""
        assert self.header is not None
        if len(self._buffer) < HEAD_BYTES:
            return False
        head = read_head(self._buffer, 0)
        expected = frames_in_block(self._next, self.header.samples)
        if head is None or head[:2] != (self._next, expected):
            self._searching = True  # not the block that should come: only its checksum can say whether it is one
            return True
        size = head[2]
        here = min(len(self._buffer) - HEAD_BYTES, size)
        whole = here - here % WORD_BYTES
        self._coder.feed(words_of(self._buffer[HEAD_BYTES + self._fed : HEAD_BYTES + whole]), ended=here == size)
        self._fed = whole
        while self._given < expected and self._coder.ready and not self._decoder.corrupt[0]:
            codes = self._decoder.next_cell()
            if codes is not None and not self._decoder.corrupt[0]:
                frames.append(Frame(self._next * BLOCK_FRAMES + self._given, codes[0].astype(np.int16)))
                self._given += 1
        if len(self._buffer) < HEAD_BYTES + size + CHECKSUM_BYTES:
            return False
        if self._given == expected and read_block(self._buffer, 0, self.header.seed):
            del self._buffer[: HEAD_BYTES + size + CHECKSUM_BYTES]
            self._next += 1
            self._begin()
        else:
            self._searching = True
            self._close_block()
        return True

    def _search(self, frames: list[Frame]) -> bool:
        """Look for the next whole block; say whether one was found."""
        assert self.header is not None
        start, waits, waiting = 0, 0, False  # waits: from where on a block may begin that has not arrived as a whole
        while start + HEAD_BYTES <= len(self._buffer):
            head = read_head(self._buffer, start)
            if head is not None and head[0] >= self._next and head[1] == frames_in_block(head[0], self.header.samples):
                block = read_block(self._buffer, start, self.header.seed)
                if block is not None:
                    self._take(block, frames)
                    del self._buffer[: start + block.size]
                    self._searching = False
                    self._begin()
                    return True
                waiting = waiting or start + HEAD_BYTES + head[2] + CHECKSUM_BYTES > len(self._buffer)
            start += 1
            if not waiting:
                waits = start
        del self._buffer[:waits]
        return False

    def _take(self, block: Block, frames: list[Frame]) -> None:
        """Give the frames of a block that was found by its checksum."""
        codes = decode_blocks([block], self._prior)[0]
        if codes is not None:
            first = block.number * BLOCK_FRAMES
            frames += [Frame(first + number, one) for number, one in enumerate(codes)]
        self._next = block.number + 1
