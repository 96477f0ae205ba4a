"""The μ-law figure: a sentence in 4 … 256 bins, equally wide or narrow around silence, by eye and by ear."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any, ClassVar

from causalcnn_book.explorer import Explorer, traitlets

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MuLawExplorer"]

BITS = range(2, 9)
FRAME = 320
"""Samples of a piece whose level is measured: 20 ms at 16,000 Hz."""
DRAWN = 160
"""Samples of a piece that is drawn: the first 10 ms of it."""
CONTROLS = {"sound": "sound", "bits": "slider", "law": "choice"}
READOUTS = ("narrowest", "widest", "rate", "snr", "quiet_snr")
NOTHING: dict[str, list[float]] = {"mu": [0.0] * len(BITS), "uniform": [0.0] * len(BITS)}
NO_SOUNDS: dict[str, list[str]] = {"mu": [], "uniform": []}


class MuLawExplorer(Explorer):
    """A sentence whose samples are in 4 … 256 bins: a loud piece and a quiet one, the error, and how it sounds.

    The reader turns the bits of a sample up and down, and changes between bins of μ-law, narrow around silence,
    and equally wide ones. Made by :meth:`of` from samples.

    :meth:`read` gives the number of ``bins``; the widths of the ``narrowest`` bin, at silence, and of the ``widest``,
    at full scale; the ratio of signal to error of the sentence, ``snr_db``, and of the quieter half of its pieces that
    are not silent, ``quiet_snr_db``, both in dB; and the ``rate`` in bits a second. Tests compare them with
    :func:`causalcnn.speech.mu_law_encode`.

    Attributes:
        name: the figure's name in the page's address.
        bits: bits of a sample, 2 … 8.
        law: ``"mu"`` or ``"uniform"``.
        loud: samples of the loudest 20 ms, in 1/32,768 of full scale.
        quiet: the same of a quiet piece.
        snr_db: for each law, for 2 … 8 bits, signal to error of the sentence, in dB.
        quiet_snr_db: the same of its quieter half.
        sounds: for each law, for 2 … 8 bits, an MP3 as base64; none: no player.
        seconds: how long each of the sounds is, in seconds.
        controls: controls on display, any of ``sound, bits, law``; default: all.
        readouts: numbers on display, any of ``narrowest, widest, rate, snr, quiet_snr``; default: all.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Example:
        >>> import torch
        >>> from causalcnn_book.wavenet import MuLawExplorer
        >>> tone = 0.5 * torch.sin(torch.arange(3200) * 0.1)
        >>> figure = MuLawExplorer.of(tone, bits=8, sounds=False)
        >>> round(figure.read()["snr_db"]), round(1 / figure.read()["narrowest"])
        (37, 5760)
    """

    _module: ClassVar[str] = "wavenet/mu_law_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("mu-law").tag(sync=True)
    bits = traitlets.Int(4, min=BITS[0], max=BITS[-1]).tag(sync=True)
    law = traitlets.Enum(("mu", "uniform"), "mu").tag(sync=True)
    loud = traitlets.List(traitlets.Int(), [0] * DRAWN).tag(sync=True)
    quiet = traitlets.List(traitlets.Int(), [0] * DRAWN).tag(sync=True)
    snr_db = traitlets.Dict(default_value=NOTHING).tag(sync=True)
    quiet_snr_db = traitlets.Dict(default_value=NOTHING).tag(sync=True)
    sounds = traitlets.Dict(default_value=NO_SOUNDS).tag(sync=True)
    seconds = traitlets.Float(0.0).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), ["bits", "law"]).tag(sync=True)
    alt = traitlets.Unicode(
        "Two pieces of a sentence as curves, one of a vowel and one of a quiet moment, enlarged. Beside each curve the "
        "steps that its bins leave of it; thin lines are the edges of the bins."
    ).tag(sync=True)

    @classmethod
    def of(cls, samples: Tensor, *, sounds: bool = True, **state: Any) -> MuLawExplorer:
        """Make the figure of a sentence.

        Args:
            samples: at 16,000 Hz in −1 … 1, at least 640 of them, ``(samples,)``.
            sounds: whether it can be heard, which needs the extra ``speech``.
            **state: traits of the figure, which come before those that are computed.

        Returns:
            The figure, with a player where ``sounds`` are wanted.

        Raises:
            ValueError: samples of another shape, too few, silent, or outside −1 … 1.
        """
        from causalcnn.speech import player

        if samples.dim() != 1 or len(samples) < 2 * FRAME or not samples.any():
            raise ValueError(f"the samples have the shape {tuple(samples.shape)}; it must be one sentence, (samples,)")
        pieces = samples.unfold(0, FRAME, FRAME).double()
        level = pieces.square().mean(1)
        order = [int(i) for i in level.argsort() if level[i] > 1e-6 * level.max()]  # from quiet to loud, no silence
        quiet_half = order[: max(1, len(order) // 2)]
        snr: dict[str, list[float]] = {"mu": [], "uniform": []}
        quiet_snr: dict[str, list[float]] = {"mu": [], "uniform": []}
        mp3: dict[str, list[str]] = {"mu": [], "uniform": []}
        for law in ("mu", "uniform"):
            for bits in BITS:
                back = in_bins(samples, bits, law)
                error = (back.unfold(0, FRAME, FRAME).double() - pieces).square().mean(1)
                snr[law].append(_ratio_db(level.sum(), error.sum()))
                quiet_snr[law].append(_ratio_db(level[quiet_half].sum(), error[quiet_half].sum()))
                if sounds:
                    mp3[law].append(base64.b64encode(player(back).mp3).decode("ascii"))
        computed = {
            "loud": _whole(pieces[order[-1]]),
            "quiet": _whole(pieces[order[len(order) // 8]]),
            "snr_db": snr,
            "quiet_snr_db": quiet_snr,
            "sounds": mp3,
            "seconds": len(samples) / 16_000 if sounds else 0.0,
            "controls": [name for name in CONTROLS if sounds or name != "sound"],
        }
        return cls(**computed | state)


def in_bins(samples: Tensor, bits: int, law: str) -> Tensor:
    """Give what is left of samples in ``2**bits`` bins.

    Args:
        samples: in −1 … 1, of any shape.
        bits: 1 … 16.
        law: ``"mu"``, or ``"uniform"``: bins of equal width.

    Returns:
        The centres of the bins, float32, the shape of ``samples``.
    """
    from causalcnn.speech import mu_law_decode, mu_law_encode

    if law == "mu":
        return mu_law_decode(mu_law_encode(samples, bits), bits)
    half = 2 ** (bits - 1)
    return (((samples.double() + 1) * half).floor().clamp(0, 2 * half - 1).add(0.5) / half - 1).float()


def _ratio_db(signal: Tensor, error: Tensor) -> float:
    return round(10 * math.log10(float(signal) / max(float(error), 1e-30)), 2)


def _whole(piece: Tensor) -> list[int]:
    return (piece[:DRAWN] * 32_768).round().long().clamp(-32_768, 32_767).tolist()
