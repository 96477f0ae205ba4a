"""The window explorer: which samples a frame of the front end reads, and when it is ready."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from causalcnn.field import Field
from causalcnn_book.explorer import Explorer, count, duration, plural, tidy, traitlets

__all__ = ["WindowExplorer"]

GUTTER, EDGE, TOP, MIDDLE, BOTTOM, HEIGHT = 54, 10, 56, 132, 208, 292
RATE_HZ, FIRST_MS, LAST_MS, LAST_HOP_MS = 16_000, -60, 200, 160
WINDOWS, HOPS = (160, 320, 400, 512, 640, 1024), (80, 160, 320)
CONTROLS = {"frame": "slider", "convention": "choice", "window_samples": "slider", "hop_samples": "slider"}
CONTROLS |= {"play": "buttons"}
READOUTS = ("reads", "lookahead", "ready", "age", "rate", "resolution")


def envelope(samples: Sequence[float], rate_hz: int = RATE_HZ) -> list[list[float]]:
    """The least and the greatest sample of each of the first 200 milliseconds, scaled to −1 … 1."""
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

    Args:
        frame: which frame, from 0.
        convention: ``"causal"`` or ``"centered"``, as in :class:`causalcnn.speech.LogMel`.
        window_samples: 160, 320, 400, 512, 640 or 1024.
        hop_samples: 80, 160 or 320.
        wave: smallest and largest value of the sound in each of its first 200 ms, −1 … 1; :func:`envelope` makes it.
        controls: any of ``frame, convention, window_samples, hop_samples, play``; default: all.
        readouts: any of ``reads, lookahead, ready, age, rate, resolution``; default: all.
        name: see :class:`Explorer`.
        caption: see :class:`Explorer`.
        alt: see :class:`Explorer`.

    Example:
        >>> WindowExplorer(frame=7, convention="centered").read()["lookahead"]
        160
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
        """From frames to samples, of the whole front end."""
        zeros = self.window_samples - self.hop_samples if self.convention == "causal" else self.window_samples // 2
        return Field.conv(self.window_samples, stride=self.hop_samples, padding=zeros).with_rate(RATE_HZ)

    @property
    def last_frame(self) -> int:
        """The last frame on the stage."""
        return LAST_HOP_MS * RATE_HZ // 1000 // self.hop_samples - 1

    def read(self) -> dict[str, Any]:
        """What the present frame reads, in samples.

        Returns:
            ``first`` and ``last`` sample; ``due``, the end of its hop; ``ready``, when it can be given out;
            ``centre`` of its window and its ``age`` then; ``lookahead`` past its hop; ``rate``, frames a
            second; ``resolution`` in Hz, the distance from a Hann window's peak to its first zero.
        """
        t = min(self.frame, self.last_frame)
        inputs = self.field.inputs_of(t)
        first, last, due = min(inputs), max(inputs), (t + 1) * self.hop_samples
        ready, centre = max(due, last + 1), first + self.window_samples // 2
        return {
            "first": first, "last": last, "due": due, "ready": ready, "centre": centre, "age": ready - centre,
            "lookahead": max(0, last + 1 - due), "rate": RATE_HZ // self.hop_samples,
            "resolution": 2 * RATE_HZ / self.window_samples,
        }  # fmt: skip

    # ----------------------------------------------------------- the static picture, as window_explorer.js draws it
    def picture(self, width: int, unique: str) -> tuple[str, int]:
        """See :meth:`Explorer.picture`."""
        f, right = self.read(), width - EDGE
        scale = (right - GUTTER) / (LAST_MS - FIRST_MS)

        def x(sample: float) -> float:
            return GUTTER + ((sample * 1000) / RATE_HZ - FIRST_MS) * scale

        now = x(f["due"])
        out = (
            f'<defs><pattern id="{unique}h" width="7" height="7" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><path class="cc-hatch" d="M0 0V7"/></pattern></defs>'
            f'<rect class="cc-closed" fill="url(#{unique}h)" x="{tidy(now)}" y="{TOP - 22}" '
            f'width="{tidy(right - now)}" height="{BOTTOM - TOP + 38}"/>'
        )
        out += self._sound(f, x, scale)
        split = min(f["last"] + 1, f["due"])
        out += f'<path class="cc-span cc-past" d="{self._hump(f["first"], split, f["first"], x)}"/>'
        if f["last"] >= f["due"]:
            out += f'<path class="cc-span cc-leak" d="{self._hump(split, f["last"] + 1, f["first"], x)}"/>'
        hop, t = self.hop_samples, min(self.frame, self.last_frame)
        cells = "".join(
            f"M{tidy(x(u * hop) + 1)} {BOTTOM + 24}H{tidy(x((u + 1) * hop) - 1)}"
            for u in range(self.last_frame + 1)
            if u != t
        )
        out += f'<path class="cc-dot cc-idle" stroke-width="7" style="stroke-linecap:butt" d="{cells}"/>'
        out += (
            '<path class="cc-dot cc-present" stroke-width="9" style="stroke-linecap:butt" '
            f'd="M{tidy(x(t * hop) + 1)} {BOTTOM + 24}H{tidy(now - 1)}"/>'
            f'<path class="cc-now" d="M{tidy(now)} {TOP - 22}V{BOTTOM + 30}"/>'
            f'<path class="cc-tick" d="M{tidy(x(f["centre"]))} {BOTTOM + 4}l-4 8h8z"/>'
        )
        return out + _labels(width, x, now, right, scale), HEIGHT

    def _sound(self, f: dict[str, Any], x: Any, scale: float) -> str:
        bars, half = {"idle": "", "past": "", "leak": ""}, MIDDLE - TOP - 14
        for ms, (low, high) in enumerate(self.wave):
            at = ms * RATE_HZ // 1000
            kind = ("leak" if at >= f["due"] else "past") if f["first"] <= at <= f["last"] else "idle"
            bars[kind] += f"M{tidy(x(at))} {tidy(MIDDLE - high * half - 0.5)}V{tidy(MIDDLE - low * half + 0.5)}"
        thick = tidy(max(1, scale * 0.7))
        return "".join(
            f'<path class="cc-dot cc-{kind}" stroke-width="{thick}" d="{path}"/>' for kind, path in bars.items() if path
        )

    def _hump(self, start: int, stop: int, first: int, x: Any) -> str:
        points = []
        for i in range(33):
            at = start + ((stop - start) * i) / 32
            turn = (2 * math.pi * (at - first)) / self.window_samples
            points.append(f"{tidy(x(at))} {tidy(BOTTOM - (BOTTOM - TOP) * 0.5 * (1 - math.cos(turn)))}")
        return f"M{'L'.join(points)}"

    def sentence(self) -> str:
        """See :meth:`Explorer.sentence`."""
        f = self.read()
        zeros = min(self.window_samples, max(0, -f["first"]))
        made = f" {plural(zeros, 'sample')} of them are zeros that nobody spoke." if zeros else ""
        reads = (
            f"Frame {min(self.frame, self.last_frame)} reads {plural(self.window_samples, 'sample')}, "
            f"from {duration(f['first'], RATE_HZ)} to {duration(f['last'] + 1, RATE_HZ)}"
        )
        if ahead := f["lookahead"]:
            return (
                f"{reads}: {plural(ahead, 'sample')} ({duration(ahead, RATE_HZ)}) past the end of its own hop, "
                f"a leak.{made}"
            )
        return f"{reads}, and none after its own hop, which ends at {duration(f['due'], RATE_HZ)}.{made}"

    def readout_rows(self) -> list[tuple[str, str, str, str]]:
        """See :meth:`Explorer.readout_rows`."""
        f = self.read()
        return [
            ("reads", "Reads the samples", f"{count(f['first'])} … {count(f['last'])}", ""),
            ("lookahead", "Past its own hop", plural(f["lookahead"], "sample"), duration(f["lookahead"], RATE_HZ)),
            ("ready", "Ready at", duration(f["ready"], RATE_HZ), ""),
            ("age", "Its middle is then old", duration(f["age"], RATE_HZ), ""),
            ("rate", "Frames a second", count(f["rate"]), ""),
            ("resolution", "Tells waves apart from", f"{tidy(f['resolution'])} Hz", ""),
        ]


def _labels(width: int, x: Any, now: float, right: float, scale: float) -> str:
    wide, here = width >= 560, min(max(now, GUTTER + 14), right - 14)
    out = f'<text class="cc-here" x="{tidy(here)}" y="24" text-anchor="middle">now</text>'
    if now - GUTTER > (180 if wide else 60):
        out += f'<text class="cc-said-past" x="{GUTTER}" y="24">{"past: may be used" if wide else "past"}</text>'
    if right - now > (180 if wide else 70):
        after = "future: not allowed" if wide else "future"
        out += f'<text class="cc-quiet" x="{tidy(right)}" y="24" text-anchor="end">{after}</text>'
    for name, y in (("sound", MIDDLE + 4), ("window", BOTTOM + 4), ("frames", BOTTOM + 28), ("ms", BOTTOM + 58)):
        out += f'<text class="cc-quiet" x="{GUTTER - 8}" y="{y}" text-anchor="end">{name}</text>'
    if wide:
        out += f'<text class="cc-quiet" x="{GUTTER - 8}" y="{BOTTOM + 75}" text-anchor="end">sample</text>'
    step = 20 if scale * 20 >= 44 else 50
    for ms in range(math.ceil(FIRST_MS / step) * step, LAST_MS + 1, step):
        at = x(ms * RATE_HZ / 1000)
        t = tidy(at)
        if at > right - 14 or at < GUTTER + 14:
            continue
        out += f'<path class="cc-tick" d="M{t} {BOTTOM + 38}v5"/>'
        out += f'<text class="cc-digits" x="{t}" y="{BOTTOM + 58}" text-anchor="middle">{count(ms)}</text>'
        if wide:
            sample = count(ms * RATE_HZ // 1000)
            out += f'<text class="cc-digits cc-quiet" x="{t}" y="{BOTTOM + 75}" text-anchor="middle">{sample}</text>'
    return out
