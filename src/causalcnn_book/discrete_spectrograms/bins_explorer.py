"""The bins figure: a spectrogram as it is and in 2^b bins, one frame of it as 80 categories, and its sound."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from causalcnn_book.bitmap import spectrogram_bmp
from causalcnn_book.explorer import Explorer, count, duration, nice_step, plural, tidy, traitlets

if TYPE_CHECKING:
    from torch import Tensor

    from causalcnn.speech import Player, UniformBins

__all__ = ["BinsExplorer"]

LEFT, MARGIN, HEAD, PANEL, GAP, FRAME, FOOT = 58, 10, 26, 96, 34, 190, 46
RATE_HZ, MELS, MOST_BITS = 100, 80, 8
KEYS = ("bits", "frame", "frames", "indices", "low_db", "high_db", "errors")
CONTROLS = {"sound": "sound", "bits": "slider", "frame": "slider"}
READOUTS = ("width", "error", "frame", "rate", "states")
RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


class BinsExplorer(Explorer):
    """A spectrogram beside itself in 2, 4, … 256 bins, one of its frames as 80 categories, and how it sounds.

    Made by :meth:`of` from features and bins.

    Args:
        bits: 1 … 8.
        frame: which frame is drawn below.
        frames: how many there are.
        indices: their bin indices of 8 bits, frame after frame from the low bands up, as base64.
        low_db: where the range of the bins begins.
        high_db: where it ends.
        errors: for 1 … 8 bits, the root mean squared error in 1/100 dB.
        sounds: for 1 … 8 bits an MP3 as base64; none: no player.
        seconds: how long they are.
        controls: any of ``sound, bits, frame``; default: all.
        readouts: any of ``width, error, frame, rate, states``.
        name: see :class:`Explorer`.
        caption: see :class:`Explorer`.
        alt: see :class:`Explorer`.
    """

    _module: ClassVar[str] = "discrete_spectrograms/bins_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("bins").tag(sync=True)
    bits = traitlets.Int(3, min=1, max=MOST_BITS).tag(sync=True)
    frame = traitlets.Int(0, min=0).tag(sync=True)
    frames = traitlets.Int(4, min=1).tag(sync=True)
    indices = traitlets.Unicode(base64.b64encode(bytes(4 * MELS)).decode()).tag(sync=True)
    low_db = traitlets.Float(-70.0).tag(sync=True)
    high_db = traitlets.Float(20.0).tag(sync=True)
    errors = traitlets.List(traitlets.Int(), [0] * MOST_BITS).tag(sync=True)
    sounds = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    seconds = traitlets.Float(0.0).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), ["bits", "frame"]).tag(sync=True)
    alt = traitlets.Unicode(
        "Two spectrograms, one as it is and one in few bins, like a poster. Below, one frame: a curve over the 80 "
        "bands, and for each band the bin that the curve is in, as a block."
    ).tag(sync=True)

    @classmethod
    def of(cls, features: Tensor, bins: UniformBins, sounds: Sequence[Player] = (), **state: Any) -> BinsExplorer:
        """The figure of a recording.

        Args:
            features: ``(80, frames)`` in dB.
            bins: of 8 bits.
            sounds: players for 1 … 8 bits, see :func:`causalcnn.speech.player`, or none.
            state: other arguments of the class.

        Raises:
            ValueError: bins or sounds that are not for 8 bits; features of another shape.
        """
        if bins.bits != MOST_BITS or len(sounds) not in (0, MOST_BITS):
            raise ValueError(f"bins have {bins.bits} bits, and there are {len(sounds)} sounds; both must be 8")
        if features.dim() != 2 or features.shape[0] != MELS:
            raise ValueError(f"the features have the shape {tuple(features.shape)}; it must be (80, frames)")
        errors = []
        for bits in range(1, MOST_BITS + 1):
            coarse = bins.coarser(bits)
            square = (coarse.decode(coarse.encode(features)) - features.clamp(bins.low_db, bins.high_db)).square()
            errors.append(round(100 * math.sqrt(float(square.double().mean()))))
        return cls(
            **{
                "frames": features.shape[1],
                "indices": base64.b64encode(bytes(bins.encode(features).T.flatten().tolist())).decode("ascii"),
                "low_db": bins.low_db,
                "high_db": bins.high_db,
                "errors": errors,
                "sounds": [base64.b64encode(sound.mp3).decode("ascii") for sound in sounds],
                "seconds": sounds[0].seconds if sounds else 0.0,
                "controls": [name for name in CONTROLS if sounds or name != "sound"],
            }
            | state
        )

    @property
    def table(self) -> bytes:
        """The bin indices of 8 bits, frame after frame."""
        return base64.b64decode(self.indices)

    def read(self) -> dict[str, Any]:
        """What the present state comes to: ``bins``, ``step_db``, ``frame_bits``, ``rate``, ``states`` as text."""
        bits = self.bits
        return {
            "bins": 2**bits,
            "step_db": (self.high_db - self.low_db) / 2**bits,
            "error_db": self.errors[bits - 1] / 100,
            "frame_bits": MELS * bits,
            "rate": MELS * bits * RATE_HZ,
            "states": states(MELS * bits),
        }

    # ----------------------------------------------------------- the static picture, as bins_explorer.js draws it
    def picture(self, width: int, unique: str) -> tuple[str, int]:
        """See :meth:`Explorer.picture`."""
        right, wide, at = width - MARGIN, width >= 560, min(self.frame, self.frames - 1)
        second = HEAD + PANEL + GAP
        dx, table = (right - LEFT) / self.frames, self.table
        out = ""
        for bits, y in ((MOST_BITS, HEAD), (self.bits, second)):
            title = "as it is" if y == HEAD else f"in {count(2**bits)} bins"
            out += (
                f'<text class="cc-title" x="{LEFT}" y="{y - 8}">{title}</text>'
                f'<image x="{LEFT}" y="{y}" width="{tidy(right - LEFT)}" height="{PANEL}" preserveAspectRatio="none" '
                f'style="image-rendering:pixelated" href="{spectrogram_bmp(table, self.frames, bits)}"/>'
                f'<text class="cc-quiet" x="{LEFT - 8}" y="{y + PANEL // 2 + 4}" text-anchor="end">bands</text>'
                f'<path class="cc-now cc-bright" d="M{tidy(LEFT + (at + 0.5) * dx)} {y}v{PANEL}"/>'
            )
        step = nice_step(dx, 60)
        for t in range(0, self.frames, step):
            x = tidy(LEFT + t * dx)
            out += (
                f'<path class="cc-tick" d="M{x} {second + PANEL}v5"/>'
                f'<text class="cc-digits cc-quiet" x="{x}" y="{second + PANEL + 19}" text-anchor="middle">'
                f"{duration(t, RATE_HZ)}</text>"
            )
        top = second + PANEL + GAP + GAP
        return out + self._frame(table[at * MELS : (at + 1) * MELS], right, top, wide), top + FRAME + FOOT

    def _frame(self, indices: bytes, right: int, top: int, wide: bool) -> str:
        each, shift, bits = (right - LEFT) / MELS, MOST_BITS - self.bits, self.bits
        high, at = FRAME / 2**bits, min(self.frame, self.frames - 1)
        said = f"the frame at {duration(at, RATE_HZ)}"
        out = f'<text class="cc-title" x="{LEFT}" y="{top - 10}">{said}{": a bin for each band" if wide else ""}</text>'
        for n in range(2**bits + 1 if bits <= 5 else 0):
            y = tidy(top + n * high)
            out += f'<path class="cc-tick" style="stroke:var(--cc-grid)" d="M{LEFT} {y}H{tidy(right)}"/>'
        path, thick = "", max(2.0, high)
        for band, index in enumerate(indices):
            y = top + FRAME - ((index >> shift) + 0.5) * high
            path += f"M{tidy(LEFT + band * each + 0.4)} {tidy(y)}h{tidy(max(1.0, each - 0.8))}"
        out += f'<path class="cc-span cc-past" style="stroke-width:{tidy(thick)};opacity:.55" d="{path}"/>'
        line = "L".join(
            f"{tidy(LEFT + (band + 0.5) * each)} {tidy(top + FRAME * (1 - (index + 0.5) / 256))}"
            for band, index in enumerate(indices)
        )
        out += f'<path class="cc-now" d="M{line}"/>'
        for db in range(math.ceil(self.low_db / 20) * 20, math.floor(self.high_db) + 1, 20):
            y = tidy(top + FRAME * (1 - (db - self.low_db) / (self.high_db - self.low_db)))
            out += (
                f'<path class="cc-tick" d="M{LEFT - 5} {y}h5"/>'
                f'<text class="cc-digits cc-quiet" x="{LEFT - 9}" y="{y}" dy="4" text-anchor="end">{count(db)}</text>'
            )
        for band in (1, 20, 40, 60, 80):
            out += (
                f'<text class="cc-digits cc-quiet" x="{tidy(LEFT + (band - 0.5) * each)}" y="{top + FRAME + 18}" '
                f'text-anchor="middle">{band}</text>'
            )
        return out + (
            f'<text class="cc-quiet" x="{LEFT - 9}" y="{top - 10}" text-anchor="end">dB</text>'
            f'<text class="cc-quiet" x="{tidy((LEFT + right) / 2)}" y="{top + FRAME + 37}" text-anchor="middle">'
            "mel band, from low to high</text>"
        )

    def sentence(self) -> str:
        """See :meth:`Explorer.sentence`."""
        now = self.read()
        width = hundredths(now["step_db"])
        return (
            f"With {plural(self.bits, 'bit')} a value is one of {now['bins']} bins, each {width} dB wide. "
            f"What comes back is off by {hundredths(now['error_db'])} dB."
        )

    def readout_rows(self) -> list[tuple[str, str, str, str]]:
        """See :meth:`Explorer.readout_rows`."""
        now = self.read()
        return [
            ("width", "A bin", f"{hundredths(now['step_db'])} dB", ""),
            ("error", "Error, rms", f"{hundredths(now['error_db'])} dB", ""),
            ("frame", "A frame", f"{count(now['frame_bits'])} bits", ""),
            ("rate", "A second", f"{count(now['rate'])} bits", ""),
            ("states", "States of a frame", now["states"], f"2{str(now['frame_bits']).translate(RAISED)}"),
        ]


def hundredths(value: float) -> str:
    """Two decimals, rounded as JavaScript rounds."""
    n = math.floor(value * 100 + 0.5)
    return f"{n // 100}.{n % 100:02}"


def states(bits: int) -> str:
    """2 to the power of ``bits`` with three digits: ``4.56 × 10¹⁹²`` for 640."""
    digits = str(2**bits)
    power, head = len(digits) - 1, int(digits[:4].ljust(4, "0"))
    head = (head + 5) // 10
    if head == 1000:
        head, power = 100, power + 1
    return f"{head // 100}.{head % 100:02} × 10{str(power).translate(RAISED)}"
