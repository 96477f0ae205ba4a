"""The temperature figure: how speech went on, how a model lets it go on at each temperature, and how that sounds."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from causalcnn_book.bitmap import spectrogram_bmp
from causalcnn_book.explorer import Explorer, count, duration, nice_step, tidy, traitlets

if TYPE_CHECKING:
    from torch import Tensor

    from causalcnn.speech import Player

__all__ = ["TemperatureExplorer"]

LEFT, MARGIN, HEAD, PANEL, GAP, FOOT = 58, 10, 26, 118, 36, 44
RATE_HZ, MELS = 100, 80
CONTROLS = {"sound": "sound", "temperature": "slider"}
STATISTICS = {"step": "Step to the next frame", "contrast": "Contrast of the bands", "level": "Moves of the level"}


class TemperatureExplorer(Explorer):
    """A recording and below it what a model wrote after its first frames, at a temperature that can be turned.

    Made by :meth:`of` from levels.

    Args:
        temperature: which one is shown, in hundredths; the nearest there is.
        temperatures: that were drawn, in hundredths, rising.
        prompt: frames that were given.
        levels: as base64, frame after frame from the low bands up: the prompt, its true continuation, then the
            continuation at each temperature.
        step_db: the width of a level.
        sounds: for each temperature an MP3 as base64; none: no player.
        seconds: how long they are.
        controls: any of ``sound, temperature``; default: all.
        readouts: any of ``step, contrast, level``.
        name: see :class:`Explorer`.
        caption: see :class:`Explorer`.
        alt: see :class:`Explorer`.
    """

    _module: ClassVar[str] = "frame_generator/temperature_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = tuple(STATISTICS)

    name = traitlets.Unicode("temperature").tag(sync=True)
    temperature = traitlets.Int(100).tag(sync=True)
    temperatures = traitlets.List(traitlets.Int(), [50, 100]).tag(sync=True)
    prompt = traitlets.Int(1, min=1).tag(sync=True)
    levels = traitlets.Unicode(base64.b64encode(bytes(4 * MELS)).decode()).tag(sync=True)
    step_db = traitlets.Float(0.35).tag(sync=True)
    sounds = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    seconds = traitlets.Float(0.0).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(STATISTICS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), ["temperature"]).tag(sync=True)
    alt = traitlets.Unicode(
        "Two mel spectrograms that begin with the same given frames. The upper one goes on as it was said, the lower "
        "one as a model wrote it at the chosen temperature."
    ).tag(sync=True)

    @classmethod
    def of(
        cls,
        said: Tensor,
        written: Mapping[float, Tensor],
        *,
        prompt: int,
        step_db: float,
        sounds: Sequence[Player] = (),
        **state: Any,
    ) -> TemperatureExplorer:
        """The figure of one recording.

        Args:
            said: levels ``(frames, 80)`` of the recording.
            prompt: how many of its frames were given.
            written: temperature → levels ``(frames − prompt, 80)``.
            step_db: the width of a level.
            sounds: players, one for each temperature, or none.
            state: other arguments of the class.

        Raises:
            ValueError: shapes or sounds that do not belong together.
        """
        frames = len(said) - prompt
        wrong = [t for t, levels in written.items() if tuple(levels.shape) != (frames, MELS)]
        if said.dim() != 2 or said.shape[1] != MELS or not written or wrong:
            shapes = {t: tuple(levels.shape) for t, levels in written.items()}
            raise ValueError(
                f"said has the shape {tuple(said.shape)}, {prompt} frames of it given; written {shapes}; "
                "they must be (frames, 80) and (frames − prompt, 80)"
            )
        if len(sounds) not in (0, len(written)):
            raise ValueError(
                f"there are {len(sounds)} sounds and {len(written)} temperatures; give one for each, or none"
            )
        order = sorted(written)
        data = [said.flatten().tolist(), *(written[t].flatten().tolist() for t in order)]
        return cls(
            **{
                "temperatures": [round(100 * t) for t in order],
                "prompt": prompt,
                "levels": base64.b64encode(b"".join(bytes(piece) for piece in data)).decode("ascii"),
                "step_db": step_db,
                "sounds": [base64.b64encode(sound.mp3).decode("ascii") for sound in sounds],
                "seconds": sounds[0].seconds if sounds else 0.0,
                "controls": [name for name in CONTROLS if sounds or name != "sound"],
            }
            | state
        )

    @property
    def place(self) -> int:
        """Which of the temperatures is shown: the nearest to the one asked for."""
        return min(range(len(self.temperatures)), key=lambda i: (abs(self.temperatures[i] - self.temperature), i))

    def _pieces(self) -> tuple[bytes, list[bytes]]:
        data, given = base64.b64decode(self.levels), self.prompt * MELS
        each = (len(data) - given) // (1 + len(self.temperatures))
        return data[:given], [data[at : at + each] for at in range(given, len(data), each)]

    def read(self) -> dict[str, Any]:
        """What is shown: ``temperature``, and in dB what the ``written`` frames and those of ``speech`` are like."""
        prompt, pieces = self._pieces()
        written, speech = (
            frame_statistics(piece, prompt, self.step_db) for piece in (pieces[1 + self.place], pieces[0])
        )
        return {"temperature": self.temperatures[self.place] / 100, "written": written, "speech": speech}

    def picture(self, width: int, unique: str) -> tuple[str, int]:
        """See :meth:`Explorer.picture`."""
        right, second = width - MARGIN, HEAD + PANEL + GAP
        prompt, pieces = self._pieces()
        frames = (len(prompt) + len(pieces[0])) // MELS
        dx = (right - LEFT) / frames
        edge, out = tidy(LEFT + self.prompt * dx), ""
        chosen = f"at temperature {self.temperatures[self.place] / 100:.2f}"
        for i, y, title in ((0, HEAD, "as it was said"), (1 + self.place, second, chosen)):
            out += (
                f'<text class="cc-title" x="{edge}" y="{y - 8}">{title}</text>'
                f'<text class="cc-quiet" x="{LEFT}" y="{y - 8}">given</text>'
                f'<image x="{LEFT}" y="{y}" width="{tidy(right - LEFT)}" height="{PANEL}" preserveAspectRatio="none" '
                f'style="image-rendering:pixelated" href="{spectrogram_bmp(prompt + pieces[i], frames, 8)}"/>'
                f'<text class="cc-quiet" x="{LEFT - 8}" y="{y + PANEL // 2 + 4}" text-anchor="end">bands</text>'
                f'<path class="cc-now cc-bright" d="M{edge} {y}v{PANEL}"/>'
            )
        for t in range(0, frames, nice_step(dx, 60)):
            x = tidy(LEFT + t * dx)
            out += (
                f'<path class="cc-tick" d="M{x} {second + PANEL}v5"/>'
                f'<text class="cc-digits cc-quiet" x="{x}" y="{second + PANEL + 19}" text-anchor="middle">'
                f"{duration(t, RATE_HZ)}</text>"
            )
        return out, second + PANEL + FOOT

    def sentence(self) -> str:
        """See :meth:`Explorer.sentence`."""
        now = self.read()
        return (
            f"At temperature {now['temperature']:.2f} a frame is {tenths(now['written']['step'])} dB away from the one "
            f"before it; in this piece of speech it is {tenths(now['speech']['step'])} dB."
        )

    def readout_rows(self) -> list[tuple[str, str, str, str]]:
        """See :meth:`Explorer.readout_rows`."""
        now = self.read()
        return [
            (key, label, f"{tenths(now['written'][key])} dB", f"speech {tenths(now['speech'][key])}")
            for key, label in STATISTICS.items()
        ]


def frame_statistics(levels: bytes, before: bytes, step_db: float) -> dict[str, float]:
    """What frames are like, in dB: the step from frame to frame, the contrast of the bands, the level's deviation."""
    rows = [levels[at : at + MELS] for at in range(0, len(levels), MELS)]
    pairs = zip([before[-MELS:], *rows], rows, strict=False)
    steps = sum((b - a) ** 2 for last, row in pairs for a, b in zip(last, row, strict=True))
    sums, frames = [sum(row) for row in rows], len(rows)
    within = sum(MELS * sum(x * x for x in row) - total * total for row, total in zip(rows, sums, strict=True))
    across = frames * sum(total * total for total in sums) - sum(sums) ** 2
    return {
        "step": step_db * math.sqrt(steps / (frames * MELS)),
        "contrast": step_db * math.sqrt(within / (frames * MELS * MELS)),
        "level": step_db * math.sqrt(across / (frames * frames)) / MELS,
    }


def tenths(value: float) -> str:
    """One decimal, rounded as JavaScript rounds."""
    n = math.floor(value * 10 + 0.5)
    return f"{count(n // 10)}.{n % 10}"
