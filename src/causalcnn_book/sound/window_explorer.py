"""The window explorer: which samples a frame of the front end reads, and when it is ready."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from causalcnn.field import Field
from causalcnn_book.explorer import Explorer, traitlets

__all__ = ["WindowExplorer"]

RATE_HZ, LAST_MS = 16_000, 200
WINDOWS, HOPS = (160, 320, 400, 512, 640, 1024), (80, 160, 320)
CONTROLS = {"frame": "slider", "convention": "choice", "window_samples": "slider", "hop_samples": "slider"}
CONTROLS |= {"play": "buttons"}
READOUTS = ("reads", "lookahead", "ready", "age", "rate", "resolution")


def envelope(samples: Sequence[float], rate_hz: int = RATE_HZ) -> list[list[float]]:
    """Draw the envelope of a sound: the least and the greatest sample of each of the first 200 milliseconds.

    Args:
        samples: at least one millisecond of them.
        rate_hz: samples a second (Hz), a multiple of 1000.

    Returns:
        For each millisecond ``[least, greatest]``, scaled so that the loudest sample is −1 or 1.

    Example:
        >>> from causalcnn_book.sound import envelope
        >>> envelope([0.0] * 16 + [0.25, -0.5] * 8)
        [[0.0, 0.0], [-1.0, 0.5]]
    """
    each = rate_hz // 1000
    pieces = [samples[ms * each : (ms + 1) * each] for ms in range(LAST_MS)]
    pairs = [[float(min(piece)), float(max(piece))] for piece in pieces if len(piece)]
    loudest = max((max(abs(low), abs(high)) for low, high in pairs), default=0.0) or 1.0
    return [[round(low / loudest, 2), round(high / loudest, 2)] for low, high in pairs]


def _tone() -> list[list[float]]:
    """A sound that begins after 80 ms and fades."""
    loud = [0.0 if ms < 80 else 0.9 * math.exp(-(ms - 80) / 60) * (0.7 + 0.3 * math.cos(ms)) for ms in range(LAST_MS)]
    return [[-round(level, 2), round(level, 2)] for level in loud]


class WindowExplorer(Explorer):
    """One frame of a front end: the samples that it reads, and those that have not been spoken yet.

    The reader chooses a frame, the convention, the window and the hop. Samples after the end of the frame's own hop lie
    in the hatched future; where the window reads them, they have the alarm colour.

    :meth:`read` gives in samples the ``first`` and the ``last`` that the frame reads; ``due``, the end of its hop;
    ``ready``, when it can be given out; the ``centre`` of its window and its ``age`` then; its ``lookahead`` past its
    hop. And the ``rate``, frames a second, and the ``resolution`` in Hz, the distance from a Hann window's peak to its
    first zero. Tests compare them with :attr:`field` and with the gradient of :class:`causalcnn.speech.LogMel`.

    Attributes:
        name: the figure's name in the page's address.
        frame: the frame's number, 0 … 31.
        convention: ``"causal"`` or ``"centered"``, as in :class:`causalcnn.speech.LogMel`.
        window_samples: the length of the window in samples: 160, 320, 400, 512, 640 or 1024.
        hop_samples: samples from one frame to the next: 80, 160 or 320.
        wave: smallest and largest value of the sound in each of its first 200 ms, −1 … 1; :func:`envelope` makes it.
        controls: controls on display, any of ``frame, convention, window_samples, hop_samples, play``; default: all.
        readouts: numbers on display, any of ``reads, lookahead, ready, age, rate, resolution``; default: all.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Example:
        >>> from causalcnn.speech import LogMel
        >>> from causalcnn_book.sound import WindowExplorer
        >>> figure = WindowExplorer(frame=7, convention="centered")
        >>> hop, field = figure.hop_samples, LogMel("centered").field
        >>> figure.read()["lookahead"], int(field.lookahead) - (hop - 1)
        (160, 160)
    """

    _module: ClassVar[str] = "sound/window_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("window").tag(sync=True)
    frame = traitlets.Int(7, min=0, max=31).tag(sync=True)
    convention = traitlets.Enum(("causal", "centered"), "centered").tag(sync=True)
    window_samples = traitlets.Enum(WINDOWS, 640).tag(sync=True)
    hop_samples = traitlets.Enum(HOPS, 160).tag(sync=True)
    wave = traitlets.List(default_value=_tone()).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), list(CONTROLS)[:-1]).tag(sync=True)
    alt = traitlets.Unicode(
        "A sound over time, above it the window of one frame as a hump. The samples under the window are coloured; "
        "those after the end of the frame's own hop lie in the hatched future."
    ).tag(sync=True)

    @property
    def field(self) -> Field:
        """The field of the whole front end, from frames to samples."""
        zeros = self.window_samples - self.hop_samples if self.convention == "causal" else self.window_samples // 2
        return Field.conv(self.window_samples, stride=self.hop_samples, padding=zeros).with_rate(RATE_HZ)
