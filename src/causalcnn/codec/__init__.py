"""Speech in files: codes of a VQ-VAE-2, entropy-coded by a prior in integers, so that every machine reads the same.

:class:`SpeechCodec` goes from sound to a file and back; :func:`write_codes` and :func:`read_codes` do so with codes;
:class:`CodeReader` decodes while the bytes arrive. Writing takes the extra ``codec``, reading does not.

A file has a header of 37 bytes and a block for each second: 11 bytes, and the words of the range coder. Of speech this
is about 1 % more than the likelihood by the prior; of digital silence, which has hardly any information, several times
as much.
"""

from causalcnn.codec.code_file import (
    CodeFile,
    DamagedCodeFile,
    ForeignCodeFile,
    PackedCodes,
    pack_codes,
    read_codes,
    unpack_codes,
    write_codes,
)
from causalcnn.codec.code_reader import CodeReader, Frame
from causalcnn.codec.frequencies import Frequencies
from causalcnn.codec.speech_codec import SpeechCodec, model_fingerprint

__all__ = [
    "CodeFile",
    "CodeReader",
    "DamagedCodeFile",
    "ForeignCodeFile",
    "Frame",
    "Frequencies",
    "PackedCodes",
    "SpeechCodec",
    "model_fingerprint",
    "pack_codes",
    "read_codes",
    "unpack_codes",
    "write_codes",
]
