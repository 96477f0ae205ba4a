"""``causalcnn encode`` and ``causalcnn decode``: sound to a file of codes, and back."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable

from causalcnn._extras import require
from causalcnn._files import atomic_write, check_writable
from causalcnn.codec import CodeFile, DamagedCodeFile, SpeechCodec
from causalcnn.speech import HOP_SAMPLES, RATE_HZ, read_recording

__all__ = ["run_decode", "run_encode"]

STOPPED = 2


def run_encode(options: argparse.Namespace) -> int:
    """Carry out ``causalcnn encode``.

    Args:
        options: what the parser of ``causalcnn.cli`` made of the command line.

    Returns:
        The exit code, 0 where the file was written, 2 where that was not possible.
    """
    return _carry_out(_encode, options)


def run_decode(options: argparse.Namespace) -> int:
    """Carry out ``causalcnn decode``.

    Args:
        options: what the parser of ``causalcnn.cli`` made of the command line.

    Returns:
        The exit code, 0 where the sound was written, 2 where that was not possible.
    """
    return _carry_out(_decode, options)


def _carry_out(command: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> int:
    try:
        command(options)
    except DamagedCodeFile as problem:
        more = "; --recover writes it, with silence for what is lost" if problem.recovered.pieces else ""
        print(f"causalcnn {options.command}: {problem}{more}. Nothing was written", file=sys.stderr)
        return STOPPED
    except (ValueError, OSError, ImportError) as problem:
        print(f"causalcnn {options.command}: {problem}", file=sys.stderr)
        return STOPPED
    return 0


def _encode(options: argparse.Namespace) -> None:
    check_writable(options.out)
    require("constriction", extra="codec")  # before the work, not after it
    sound = read_recording(options.sound)
    codec = SpeechCodec.load(options.codec, options.prior)
    packed = codec.write(options.out, sound.samples)
    frames = -(-len(sound.samples) // HOP_SAMPLES)
    codes, seconds = frames * codec.prior.config.cells, len(sound.samples) / RATE_HZ
    print(f"sound     {seconds:.2f} s, {frames} frames, {codes} codes")
    print(f"codes     {packed.bits / codes:.2f} bits each by the prior, of {codec.prior.config.num_codes} codes")
    size = len(packed.data)
    print(f"written   {options.out}: {size} bytes, {8 * size / seconds / 1000:.1f} kbit/s; by the prior ", end="")
    print(f"{packed.bits / 8:.0f} bytes")


def _decode(options: argparse.Namespace) -> None:
    check_writable(options.out)
    soundfile = require("soundfile", extra="speech")
    codec = SpeechCodec.load(options.codec, options.prior)
    found = _read(codec, options)
    samples = codec.sound_of(found)
    sound = io.BytesIO()  # a full disk is no OSError where soundfile finds it
    soundfile.write(sound, samples, RATE_HZ, format="WAV", subtype="PCM_16")
    with atomic_write(options.out) as part:
        part.write_bytes(sound.getbuffer())
    print(f"written   {options.out}: {len(samples) / RATE_HZ:.2f} s of sound")


def _read(codec: SpeechCodec, options: argparse.Namespace) -> CodeFile:
    try:
        return codec.read(options.codes)
    except DamagedCodeFile as problem:
        if not options.recover or not problem.recovered.pieces:
            raise
        print(f"causalcnn decode: {problem}; the rest is silent", file=sys.stderr)
        return problem.recovered
