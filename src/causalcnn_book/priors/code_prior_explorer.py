"""The figure of a prior over codes: what it expects of one code, given all before it, and what the code then costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalcnn_book.explorer import Explorer, traitlets

__all__ = ["CodePriorExplorer"]

CONTROLS = {"shows": "choice", "frame": "slider", "cell": "slider", "temperature": "slider", "play": "buttons"}
READOUTS = ("price", "entropy", "rank", "half", "frame", "mean")
TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5)
RANKS = (1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64)
KEPT = 25
OFFSET = 2_048
LARGEST = OFFSET - 1
LETTERS = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)
MOST_LETTERS = 250_000
Floats = NDArray[np.float64]


class CodePriorExplorer(Explorer):
    """What a prior over codes expects: the distribution of one code, given all before it, and what the code costs.

    The codes of some frames are a picture over time. The reader chooses one, or lets frames arrive; below stands what
    each codeword would cost there, and the temperature changes it. Made by :meth:`of` from what a prior said; without
    it, it shows made-up codes.

    512 probabilities of each code are too many for a page. It carries those of 25 codewords, the one that came and the
    likeliest others, and what is left for all others together. How they share it is a product of two vectors of
    ``rank`` numbers, one for each codeword of a level and one for each code. ``off`` says by how much the price or the
    entropy of any code differs at most from what the prior said, at each temperature.

    :meth:`read` gives the place of the ``code`` among the sorted codewords, its ``price``, its ``rank`` from 1 (25 is
    that or more), the ``entropy``, ``half`` (how many of the likeliest codewords hold half of the probability),
    ``uniform`` (the price where all are alike), ``frame_bits`` of all codes of the frame at temperature 1, and
    ``mean_bits``, the mean price of all codes of the figure at this temperature: all prices in bits. Tests compare them
    with what the prior said.

    Args:
        **state: traits by their names, as for :class:`~causalcnn_book.Explorer`.

    Attributes:
        name: the figure's name in the page's address.
        frame: the frame of the chosen code, from 0.
        cell: which code of the frame, in the order in which they are predicted: top codes, then bottom codes, each from
            low to high.
        temperature: what logits are divided by, one of ``temperatures``.
        shows: whether colors of the picture are the ``"codes"``, or the ``"bits"`` that they cost at temperature 1.
        frames: how many there are.
        top_cells: top codes of a frame.
        bottom_cells: bottom codes of a frame.
        num_codes: codewords of each level.
        kept: how many probabilities are carried as they are, of each code.
        rank: numbers of each vector.
        steps: for top and bottom codes what a product of whole numbers is multiplied by, in nats.
        off: for each of ``temperatures`` the largest error of a price and that of an entropy, in bits.
        temperatures: those that can be chosen.
        mean_bits: for each of them the mean price of all codes, in bits.
        table: whole numbers, each two letters: vectors of the top codewords and of the bottom codewords, along the
            axis; of all codes, frame by frame, their vectors; the codewords that are kept, first the one that came;
            their prices in hundredths of a bit, less 2,048; the price of all others together.
        controls: controls on display, any of ``shows, frame, cell, temperature, play``; default: all.
        readouts: numbers on display, any of ``price, entropy, rank, half, frame, mean``; default: all.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Example:
        >>> import numpy as np
        >>> from causalcnn_book.priors import CodePriorExplorer
        >>> shares = np.array([1, 1, 2, 4]) / 8
        >>> figure = CodePriorExplorer.of(np.log(np.tile(shares, (5, 3, 1))), np.full((5, 3), 2), top_cells=1)
        >>> {key: round(figure.read()[key], 2) for key in ("price", "entropy", "rank")}
        {'price': 2, 'entropy': 1.75, 'rank': 2}
    """

    _module: ClassVar[str] = "priors/code_prior_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("prior").tag(sync=True)
    frame = traitlets.Int(16, min=0).tag(sync=True)
    cell = traitlets.Int(3, min=0).tag(sync=True)
    temperature = traitlets.Float(1.0).tag(sync=True)
    shows = traitlets.Enum(("codes", "bits"), "codes").tag(sync=True)
    frames = traitlets.Int(0).tag(sync=True)
    top_cells = traitlets.Int(0).tag(sync=True)
    bottom_cells = traitlets.Int(0).tag(sync=True)
    num_codes = traitlets.Int(0).tag(sync=True)
    kept = traitlets.Int(0).tag(sync=True)
    rank = traitlets.Int(0).tag(sync=True)
    steps = traitlets.List(traitlets.Float()).tag(sync=True)
    off = traitlets.List(traitlets.List(traitlets.Float())).tag(sync=True)
    temperatures = traitlets.List(traitlets.Float(), list(TEMPERATURES)).tag(sync=True)
    mean_bits = traitlets.List(traitlets.Float()).tag(sync=True)
    table = traitlets.Unicode("").tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), ["frame", "cell", "temperature", "shows"]).tag(sync=True)
    alt = traitlets.Unicode(
        "Two pictures of codes over time and frequency, top codes and bottom codes. What comes after the chosen code "
        "is hatched. Below them a bar for each codeword, the higher the likelier it was; the code that came is marked."
    ).tag(sync=True)

    def __init__(self, **state: Any) -> None:
        if "table" not in state:
            logits, codes = _drawn()
            state = _measured(logits, codes, 5, state.get("temperatures", TEMPERATURES), 0.25) | state
        super().__init__(**state)

    @classmethod
    def of(
        cls,
        logits: ArrayLike,
        codes: ArrayLike,
        *,
        top_cells: int,
        order: tuple[ArrayLike, ArrayLike] | None = None,
        temperatures: Sequence[float] = TEMPERATURES,
        within: float = 0.25,
        **state: Any,
    ) -> CodePriorExplorer:
        """Make the figure of what a prior said of some frames.

        Args:
            logits: of every codeword for each code, given all codes before it, in nats, ``(frames, cells, num_codes)``:
                log-probabilities, but for a constant. Cells are in the order of values of a
                :class:`~causalcnn.models.CodePrior`.
            codes: the codes that came, ``(frames, cells)``.
            top_cells: how many cells are those of top codes, the first ones.
            order: for top and bottom codewords the order in which to draw them, ``(num_codes,)`` each, as
                ``principal_order`` of ``causalcnn_book.autoencoders.flipped_codes`` finds it; by default that of their
                indices.
            temperatures: those that can be chosen, from the lowest to the highest.
            within: the largest error of a price or an entropy that is allowed, in bits. The smaller, the more numbers
                are carried. Most errors are far smaller.
            **state: traits of the figure, which come before those that are computed.

        Returns:
            The figure.

        Raises:
            ValueError: arrays of other shapes, codes or orders out of range, temperatures that are not above 0, or what
                cannot be carried ``within`` so many bits by 250,000 letters, which are enough for a page: give it fewer
                frames.
        """
        logits, codes = np.asarray(logits, np.float64).copy(), np.asarray(codes, np.int64).copy()
        if logits.ndim != 3 or codes.shape != logits.shape[:2] or not 0 < top_cells < logits.shape[1]:
            raise ValueError(
                f"logits {logits.shape}, codes {codes.shape} and {top_cells} top cells do not belong together; they "
                "must be (frames, cells, num_codes), (frames, cells), and from 1 to cells - 1"
            )
        size = logits.shape[2]
        if not 2 <= size <= OFFSET or not np.isfinite(logits).all() or codes.min() < 0 or codes.max() >= size:
            raise ValueError(f"there must be 2 to {OFFSET:,} codewords with finite logits, and codes among them")
        if not temperatures or min(temperatures) <= 0:
            raise ValueError(f"temperatures are {tuple(temperatures)}; all must be above 0")
        for level, each in zip((slice(None, top_cells), slice(top_cells, None)), order or (), strict=False):
            words = np.asarray(each)
            if words.shape != (size,) or (np.sort(words) != np.arange(size)).any():
                raise ValueError(f"an order must name each of the {size} codewords once")
            logits[:, level] = logits[:, level][..., words]
            codes[:, level] = np.argsort(words)[codes[:, level]]
        return cls(**_measured(logits, codes, top_cells, temperatures, within) | state)


def _measured(
    logits: Floats, codes: NDArray[np.int64], top_cells: int, temperatures: Sequence[float], within: float
) -> dict[str, Any]:
    """The traits of a figure, of as few numbers as are right ``within`` so many bits."""
    logs = _normalized(logits)
    frames, cells, size = logs.shape
    split = (slice(None, top_cells), slice(top_cells, None))
    levels = [_Level(logs[:, cells].reshape(-1, size), codes[:, cells].reshape(-1)) for cells in split]
    said = {t: [_said(level.logs, level.codes, t) for level in levels] for t in temperatures}

    def off(carried: list[Floats], temperature: float) -> list[float]:
        """The largest error of a price, and of an entropy."""
        worst = [0.0, 0.0]
        for each, level, exact in zip(carried, levels, said[temperature], strict=True):
            found = _said(each, level.codes, temperature)
            worst = [max(w, float(np.abs(a - b).max())) for w, a, b in zip(worst, found, exact, strict=True)]
        return worst

    for rank in RANKS:
        parts = [level.carried(rank) for level in levels]
        if all(max(off([p.logs for p in parts], t)) <= within for t in (min(temperatures), max(temperatures))):
            break
    each_level = [
        [getattr(p, name).reshape(frames, -1) for p in parts] for name in ("vectors", "kept", "prices", "rest")
    ]
    table = np.concatenate(
        [p.words.reshape(-1) for p in parts] + [np.concatenate(both, axis=1).reshape(-1) for both in each_level]
    )
    errors = [off([p.logs for p in parts], t) for t in temperatures]
    worst = max(max(pair) for pair in errors)
    if 2 * len(table) > MOST_LETTERS or worst > within:
        raise ValueError(
            f"{frames} frames with an error of {worst:.2f} bits are {2 * len(table):,} letters; a page should carry at "
            f"most {MOST_LETTERS:,}, and {within} bits are allowed: give the figure fewer frames, or allow more"
        )
    means = [float(np.concatenate([prices for prices, _ in said[t]]).mean()) for t in temperatures]
    return {
        "frames": frames,
        "top_cells": top_cells,
        "bottom_cells": cells - top_cells,
        "caption": f"Of each code the price is carried, and those of the {min(KEPT, size) - 1} likeliest others. "
        "The other codewords are drawn nearly as they are; ± is the largest error that this makes of any code.",
        "num_codes": size,
        "kept": min(KEPT, size),
        "rank": rank,
        "steps": [p.step for p in parts],
        "off": [[math.ceil(error * 1e4) / 1e4 for error in pair] for pair in errors],
        "temperatures": [float(t) for t in temperatures],
        "mean_bits": [round(mean, 4) for mean in means],
        "table": _letters(table),
    }


@dataclass(frozen=True)
class _Carried:
    """The whole numbers that the page gets of the codes of a level, and the log-probabilities that it makes of them."""

    words: NDArray[np.int64]
    vectors: NDArray[np.int64]
    step: float
    kept: NDArray[np.int64]
    prices: NDArray[np.int64]
    rest: NDArray[np.int64]
    logs: Floats


class _Level:
    """The log-probabilities of all codes of a level, ``(codes, num_codes)``, and which came."""

    def __init__(self, logs: Floats, codes: NDArray[np.int64]) -> None:
        self.logs, self.codes = logs, codes
        ranked = logs.copy()
        np.put_along_axis(ranked, codes[:, None], 1.0, 1)  # the one that came is the first
        self.kept = np.argsort(-ranked, axis=1, kind="stable")[:, :KEPT]
        self.others = np.ones(logs.shape, bool)
        np.put_along_axis(self.others, self.kept, False, 1)
        left, values, right = np.linalg.svd(logs - logs.mean(1, keepdims=True), full_matrices=False)
        self.words, self.vectors = right.T * np.sqrt(values), left * np.sqrt(values)

    def carried(self, rank: int) -> _Carried:
        """Carry vectors of so many numbers; where there are not so many, zeros, too."""
        words, vectors = (
            np.pad(x[:, :rank], ((0, 0), (0, max(0, rank - x.shape[1])))) for x in (self.words, self.vectors)
        )
        one, two = (max(float(np.abs(x).max()), 1e-9) / LARGEST for x in (words, vectors))
        words, vectors = np.round(words / one), np.round(vectors / two)
        prices = _hundredths(np.take_along_axis(self.logs, self.kept, 1))
        rest = _hundredths(_log_sum(self.logs, self.others))
        product = vectors @ words.T * (one * two)
        logs = product + (_nats(rest) - _log_sum(product, self.others))[:, None]
        np.put_along_axis(logs, self.kept, _nats(prices), 1)
        whole = (words.astype(np.int64), vectors.astype(np.int64))
        return _Carried(*whole, one * two, self.kept, prices, rest, logs)


def _log_sum(logs: Floats, where: NDArray[np.bool_]) -> Floats:
    """The log of the sum of what is ``where``, of each row; far below all where there is nothing."""
    found: Floats = np.log(np.where(where, np.exp(logs), 0).sum(1) + 1e-30)
    return found


def _hundredths(logs: Floats) -> NDArray[np.int64]:
    """Prices in hundredths of a bit, as far as letters reach."""
    return np.clip(np.round(-100 * logs / math.log(2)), 0, 2 * OFFSET - 1).astype(np.int64) - OFFSET


def _nats(hundredths: NDArray[np.int64]) -> Floats:
    return -(hundredths + OFFSET) / 100 * math.log(2)


def _normalized(logits: Floats) -> Floats:
    shifted = logits - logits.max(-1, keepdims=True)
    logs: Floats = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return logs


def _said(logits: Floats, codes: NDArray[np.int64], temperature: float) -> tuple[Floats, Floats]:
    """The price of each code and the entropy of its distribution, in bits, ``(codes,)`` each."""
    bits = -_normalized(logits / temperature) / math.log(2)
    return np.take_along_axis(bits, codes[..., None], -1)[..., 0], (bits * np.exp2(-bits)).sum(-1)


def _letters(numbers: NDArray[np.int64]) -> str:
    """Whole numbers of −2,048 … 2,047, each as two letters."""
    shifted = numbers + OFFSET
    return LETTERS[np.stack([shifted >> 6, shifted & 63], axis=1)].tobytes().decode("ascii")


def _drawn() -> tuple[Floats, NDArray[np.int64]]:
    """Made-up codes, top and bottom, that often stay as they were, and what a prior that knows it would say."""
    rng = np.random.default_rng(7)
    frames, cells, size = 40, 15, 64
    t, cell = np.arange(frames)[:, None, None], np.arange(cells)[None, :, None]
    angle = 2 * np.pi * (np.arange(size) / size - 0.5 - 0.3 * np.sin(t / 6 + cell / 3) * np.cos(cell * (0.5 + t / 80)))
    sure = np.where(t % 13 < 3, 1, 9)  # every 13 frames something begins that could not be known
    logits = sure * np.cos(angle) + 1.5 * np.cos(3 * angle)
    uniform = rng.random((frames, cells, 1))
    codes = (np.exp(_normalized(logits)).cumsum(-1) < uniform).sum(-1)
    return logits, np.minimum(codes, size - 1)
