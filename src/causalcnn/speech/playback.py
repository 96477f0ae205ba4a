"""A small player for pages: the sound is compressed, as loud as it is, and loaded only when somebody presses play."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalcnn._extras import require
from causalcnn.speech.front_end import RATE_HZ
from causalcnn.speech.utterance import Utterance

MP3_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""The rates that an MP3 can hold, in samples a second."""

_FIGURE = "margin:.6rem 0;max-width:30rem;display:block"
_ROW = "display:flex;flex-wrap:wrap;align-items:flex-end;gap:.2rem 1.5rem;margin:.4rem 0"
_CELL = "margin:.3rem 0;flex:1 1 15rem;min-width:0;max-width:30rem"
_TITLE = "font-size:.95em;margin:0 0 .25rem;text-align:left"


@dataclass(frozen=True)
class Player:
    """A sound in a page: show it as the last value of a cell. :func:`~causalcnn.speech.player` makes one.

    Attributes:
        title: what the reader sees above it and a screen reader says.
        mp3: the compressed sound.
        seconds: its duration, in seconds.
        source: where the sound comes from, with its licence; shown below the title.

    Example:
        >>> import numpy as np
        >>> from causalcnn.speech import player
        >>> tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(8_000) / 16_000)
        >>> sound = player(tone, title="A tone of 440 Hz")
        >>> sound.title, sound.seconds
        ('A tone of 440 Hz', 0.5)
    """

    title: str
    mp3: bytes
    seconds: float
    source: str = ""

    @property
    def page_bytes(self) -> int:
        """What this player adds to a page, in bytes."""
        return len(self._repr_html_().encode())

    def __repr__(self) -> str:
        return f"<sound {self.title!r}: {self.seconds:.1f} s, {self.page_bytes / 1000:.1f} kB>"

    def _repr_html_(self) -> str:
        return f'<figure class="causalcnn-sound" style="{_FIGURE}">{self.inner_html()}</figure>'

    def inner_html(self) -> str:
        """Write title and controls as HTML, without the frame around them."""
        title = html.escape(self.title)
        # The browser knows the duration only after the first press, so it is written out.
        known = _length(self.seconds, "s", "ms") + (f" · {self.source}" if self.source else "")
        data = base64.b64encode(self.mp3).decode("ascii")
        return (
            f'<figcaption style="{_TITLE}">{title}<br>'
            f"<small>{html.escape(known)}</small></figcaption>"
            f'<audio controls preload="none" style="width:100%" '
            f'aria-label="{html.escape(self.title, quote=True)}, {_length(self.seconds, "seconds", "milliseconds")}" '
            f'src="data:audio/mpeg;base64,{data}"></audio>'
        )


def _length(seconds: float, long: str, short: str) -> str:
    """Write a duration in seconds, or in milliseconds where it is short."""
    return f"{seconds:.1f} {long}" if seconds >= 0.5 else f"{1000 * seconds:.0f} {short}"


@dataclass(frozen=True)
class Players:
    """Sounds side by side, for comparing by ear; one below the other on a narrow page.

    Attributes:
        sounds: the players.

    Example:
        >>> import numpy as np
        >>> from causalcnn.speech import players
        >>> tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(8_000) / 16_000)
        >>> [sound.title for sound in players({"A tone": tone, "half as loud": tone / 2}).sounds]
        ['A tone', 'half as loud']
    """

    sounds: tuple[Player, ...]

    @property
    def page_bytes(self) -> int:
        """What these players add to a page, in bytes."""
        return len(self._repr_html_().encode())

    def __repr__(self) -> str:
        return "<sounds " + ", ".join(repr(sound) for sound in self.sounds) + ">"

    def _repr_html_(self) -> str:
        cells = (f'<figure style="{_CELL}">{sound.inner_html()}</figure>' for sound in self.sounds)
        group = 'class="causalcnn-sounds" role="group" aria-label="Sounds to compare"'
        return f'<div {group} style="{_ROW}">{"".join(cells)}</div>'


def player(sound: Utterance | ArrayLike, rate_hz: int | None = None, title: str = "", source: str = "") -> Player:
    """Play a sound in the page, at the level that it has: nothing is normalised, a quiet sound stays quiet.

    Args:
        sound: an utterance, whose rate, title and source are known, or mono samples in −1 … 1, ``(samples,)`` or
            ``(1, samples)``, floating point; a tensor or an array.
        rate_hz: for plain samples, the rate in Hz, one that an MP3 can hold; default 16,000.
        title: what the reader sees and a screen reader says; default: the text of the utterance, if it has one.
        source: where the sound comes from, with its licence; default: the source of the utterance.

    Returns:
        An object that shows itself in Jupyter and on the built page. A second of sound takes about 5 kB of MP3, and a
        third more as text in the page.

    Raises:
        ValueError: samples that are not mono, not floating point, empty or not finite; samples beyond −1 … 1, which
            would clip as they are, and would lie about their level if they were scaled; a rate that an MP3 cannot hold,
            or another one than that of the utterance.
        ImportError: the extra ``speech`` is not installed.

    Example:
        >>> from causalcnn.speech import player, synthesize
        >>> player(synthesize("Good morning.", speaker=1)).title
        'Good morning.'
    """
    if isinstance(sound, Utterance):
        if rate_hz not in (None, sound.rate_hz):
            raise ValueError(f"rate_hz is {rate_hz}, and the utterance has {sound.rate_hz} Hz; leave it out")
        rate_hz, title, source = sound.rate_hz, title or sound.text, source or sound.source
        sound = sound.samples
    rate_hz = RATE_HZ if rate_hz is None else rate_hz
    samples = _playable(sound, rate_hz)
    return Player(title or "A recording", _mp3(samples, rate_hz), len(samples) / rate_hz, source)


def players(sounds: Sequence[Player | Utterance] | dict[str, Utterance | ArrayLike]) -> Players:
    """Put players side by side: the original and the result, for example.

    Args:
        sounds: players or utterances, or a dict from titles to utterances or to samples at 16,000 Hz, ``(samples,)``.

    Returns:
        An object that shows itself in Jupyter and on the built page.

    Raises:
        ValueError: no sounds; samples that :func:`player` refuses.
        ImportError: the extra ``speech`` is not installed.

    Example:
        >>> from causalcnn.speech import players, synthesize
        >>> said = synthesize("Good morning.", speaker=1)
        >>> len(players({"as it was": said, "half as loud": said.samples / 2}).sounds)
        2
    """
    if isinstance(sounds, dict):
        all_players = [player(sound, title=title) for title, sound in sounds.items()]
    else:
        all_players = [sound if isinstance(sound, Player) else player(sound) for sound in sounds]
    if not all_players:
        raise ValueError("there is nothing to play: the list is empty")
    return Players(tuple(all_players))


def _playable(sound: ArrayLike, rate_hz: int) -> NDArray[np.float32]:
    if hasattr(sound, "detach"):  # a tensor, perhaps on a GPU, perhaps with gradients
        sound = sound.detach().cpu().numpy()
    samples = np.asarray(sound)
    samples = samples[0] if samples.ndim == 2 and samples.shape[0] == 1 else samples
    if samples.ndim != 1:
        raise ValueError(f"a player takes mono samples (samples,); these have the shape {samples.shape}")
    if not np.issubdtype(samples.dtype, np.floating):
        raise ValueError(f"a player takes samples in −1 … 1, not {samples.dtype}; for int16: samples / 32768")
    if rate_hz not in MP3_RATES_HZ:
        raise ValueError(f"an MP3 holds {', '.join(map(str, MP3_RATES_HZ))} Hz, not {rate_hz}; resample first")
    if not len(samples):
        raise ValueError("there is nothing to play: no samples")
    if not np.isfinite(samples).all():
        raise ValueError(f"{int((~np.isfinite(samples)).sum())} of {len(samples)} samples are NaN or infinite")
    peak = float(np.abs(samples).max())
    if peak > 1:
        raise ValueError(
            f"the samples reach {peak:.3f} and would clip at 1; make them quieter yourself, "
            f"for example samples / {np.ceil(peak * 10) / 10:.1f}, and the level you choose is the level one hears"
        )
    return samples.astype(np.float32)


def _mp3(samples: NDArray[np.float32], rate_hz: int) -> bytes:
    soundfile = require("soundfile", extra="speech")
    buffer = io.BytesIO()
    # Variable bit rate, because at a constant one the encoder quietly turns the level down by 5 %.
    encoding = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "VARIABLE", "compression_level": 0.6}
    soundfile.write(buffer, samples, rate_hz, **encoding)
    return buffer.getvalue()
