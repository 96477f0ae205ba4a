"""What does each level of the causal VQ-VAE-2 carry? One alone, both, and the tops of one voice on another's bottoms.

    causalcnn experiment levels --out book/measurements/levels.json

On speakers that the model has never met. An error is a share of the variance, as in
:mod:`causalcnn_book.causal_vqvae2.reconstruction`: 1 is what saying the mean frame all the time would cost.
The voice of a clip is found by its long-term mean spectrum, level removed: the nearest one among all speakers, each
known from its *other* clips. What is said is compared frame by frame with what the model makes of each of the two
donors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from causalcnn.models import CausalVQVAE2, Codes, load_model
from causalcnn.speech import EmbeddedSpeech, FeatureCorpus, speech_mask, to_1d, to_2d
from causalcnn_book.experiment import Experiment, Results, option, summary

__all__ = ["Levels", "entropy_bits", "error_of_levels", "flips", "influence", "swapped", "voice"]

LEVELS = ("both", "top", "bottom")
SHARE = 0.99
"""Of the squared gradient: how many frames hold so much of it?"""


def _clip(corpus: FeatureCorpus, which: int, floor_db: float) -> tuple[Tensor, Tensor]:
    """The frames ``(80, time)`` at the model's floor, and which of them speak."""
    features = corpus[which].float()
    return features.clamp(min=floor_db), speech_mask(features)


def _of_speaker(corpus: FeatureCorpus) -> dict[str, list[int]]:
    return {name: [i for i, c in enumerate(corpus.clips) if c.speaker == name] for name in corpus.speaker_names}


@torch.no_grad()
def error_of_levels(model: CausalVQVAE2, corpus: FeatureCorpus) -> dict[str, list[float]]:
    """Measure the squared error of both levels and of each alone, as a share of the variance.

    Alone means that in place of the other level the mean of its codebook stands at every cell.

    Args:
        model: a model in eval mode.
        corpus: the speech that it reconstructs.

    Returns:
        ``"both"``, ``"top"`` and ``"bottom"`` → one value a speaker, in the order of ``corpus.speaker_names``.
    """
    floor_db = model.config.floor_db
    out: dict[str, list[float]] = {level: [] for level in LEVELS}
    for clips in _of_speaker(corpus).values():
        squared, kept = dict.fromkeys(LEVELS, 0.0), []
        for i in clips:
            x, real = _clip(corpus, i, floor_db)
            codes = model.encode(x.T[None, None])
            kept.append(x[:, real].double())
            for level in LEVELS:
                y = to_1d(model.decode(codes, only=None if level == "both" else level))[0]  # type: ignore[arg-type]
                squared[level] += float((y - x)[:, real].double().square().sum())
        frames = torch.cat(kept, dim=1)
        whole = float((frames - frames.mean(1, keepdim=True)).square().sum())
        for level in LEVELS:
            out[level].append(squared[level] / whole)
    return out


def entropy_bits(codes: Tensor, num_codes: int) -> float:
    """Compute the empirical entropy of codes: what a coder that knows how frequent each is would send.

    Args:
        codes: whole numbers of any shape.
        num_codes: how many codewords there are.

    Returns:
        Bits a code.
    """
    share = torch.bincount(codes.flatten(), minlength=num_codes).double() / codes.numel()
    return float(torch.special.entr(share).sum() / math.log(2))


def voice(features: Tensor, real: Tensor) -> Tensor:
    """Compute the long-term mean spectrum of the speaking frames, its own mean removed.

    Args:
        features: ``(80, time)`` in dB.
        real: which frames speak, ``(time,)``.

    Returns:
        ``(80,)`` in dB.
    """
    mean = features[:, real].double().mean(1)
    return mean - mean.mean()


@torch.no_grad()
def swapped(model: CausalVQVAE2, corpus: FeatureCorpus) -> dict[str, Any]:
    """Put tops of one speaker on bottoms of another: whose voice is it, and who says what?

    Every ordered pair of speakers, the first clip of each, cut to the shorter.

    Args:
        model: a model in eval mode.
        corpus: at least two clips of each speaker, because a voice is known from the other clips.

    Returns:
        ``pairs`` and ``speakers``, how many there are; and as shares of them ``voice_found`` (speakers whose recording,
        and whose reconstruction, is found to be theirs), ``voice_after_swap`` (pairs whose voice is that of the
        bottoms, of the tops, of neither), ``voice_nearer_to_bottoms`` and ``frames_nearer_to_bottoms`` (pairs).
    """
    floor_db = model.config.floor_db
    voices = {
        name: [(i, voice(*_clip(corpus, i, floor_db))) for i in clips] for name, clips in _of_speaker(corpus).items()
    }

    def found(spectrum: Tensor, without: Sequence[int]) -> str:
        known = {name: torch.stack([v for i, v in all_ if i not in without]).mean(0) for name, all_ in voices.items()}
        return min(known, key=lambda name: float((known[name] - spectrum).square().sum()))

    first = {name: clips[0] for name, clips in _of_speaker(corpus).items()}
    pieces = {name: _clip(corpus, i, floor_db) for name, i in first.items()}
    codes = {name: model.encode(x.T[None, None]) for name, (x, _) in pieces.items()}
    right = {"recording": 0, "reconstruction": 0}
    for name, (x, real) in pieces.items():
        right["recording"] += found(voice(x, real), [first[name]]) == name
        right["reconstruction"] += found(voice(to_1d(model.decode(codes[name]))[0], real), [first[name]]) == name
    whose = {"bottoms": 0, "tops": 0, "neither": 0}
    nearer = {"voice": 0, "frames": 0}
    pairs = list(permutations(first, 2))
    for low, high in pairs:
        time = min(codes[low].top.shape[1], codes[high].top.shape[1])
        real = (pieces[low][1][:time] & pieces[high][1][:time]).clone()
        y = to_1d(model.decode(Codes(codes[high].top[:, :time], codes[low].bottom[:, :time])))[0]
        spectrum, without = voice(y, real), [first[low], first[high]]
        name = found(spectrum, without)
        whose["bottoms" if name == low else "tops" if name == high else "neither"] += 1
        away = {n: torch.stack([v for i, v in voices[n] if i not in without]).mean(0) - spectrum for n in (low, high)}
        nearer["voice"] += bool(away[low].square().sum() < away[high].square().sum())
        whole = {n: to_1d(model.decode(Codes(*(c[:, :time] for c in codes[n]))))[0] for n in (low, high)}
        apart = {n: float((y - whole[n])[:, real].square().mean()) for n in (low, high)}
        nearer["frames"] += apart[low] < apart[high]
    return {
        "pairs": len(pairs),
        "speakers": len(first),
        "voice_found": {key: count / len(first) for key, count in right.items()},
        "voice_after_swap": {key: count / len(pairs) for key, count in whose.items()},
        "voice_nearer_to_bottoms": nearer["voice"] / len(pairs),
        "frames_nearer_to_bottoms": nearer["frames"] / len(pairs),
    }


@torch.no_grad()
def flips(model: CausalVQVAE2, corpus: FeatureCorpus, *, rows: int = 8) -> dict[str, Any]:
    """Compare frame by frame in float32 with the whole recording at once: how many codes are others?

    Args:
        model: a model in eval mode.
        corpus: at least ``rows`` clips.
        rows: how many clips are streamed side by side, each cut to the shortest of them.

    Returns:
        ``codes`` and ``flipped``, each ``"top"`` and ``"bottom"`` → how many.
    """
    time = min(clip.frames for clip in corpus.clips[:rows])
    x = torch.stack([corpus[i][:, :time].T for i in range(rows)])[:, None]
    whole, stream = model.encode(x), model.stream()
    live = [stream.encode(x[:, :, t : t + 1]) for t in range(time)]
    other = [int((a != torch.cat(b, dim=1)).sum()) for a, b in zip(whole, zip(*live, strict=True), strict=True)]
    return {
        "codes": {"top": whole.top.numel(), "bottom": whole.bottom.numel()},
        "flipped": dict(zip(("top", "bottom"), other, strict=True)),
    }


def influence(model: CausalVQVAE2, x: Tensor, *, draws: int = 4, seed: int = 0) -> dict[str, list[dict[str, Any]]]:
    """Measure how strongly each code of a model answers to each value that it reads, straight through the quantisers.

    The root of the mean squared gradient of a codeword's numbers, over the clips, with random signs: an estimate of
    the Jacobian's norm. The codes are those of the clips' last frame.

    Args:
        model: a model in eval mode.
        x: ``(clips, 1, time, 80)`` in dB, at least as long as the bottom codes' field.
        draws: how often signs are drawn.
        seed: draws the signs.

    Returns:
        ``"top"`` and ``"bottom"`` → for each code ``table``, a digit 0 … 9 for each age and band (age after age,
        0 where nothing is read, 9 the largest, by the root of its size); ``by_age``: the shares of the square, the
        present first; and ``within``: the last frames that hold 99 % of it. A ``HierarchyExplorer`` shows it.

    Raises:
        ValueError: the clips have another shape, or are too short.

    Example:
        >>> import torch
        >>> from causalcnn.models import CausalVQVAE2, VQVAE2Config
        >>> from causalcnn_book.causal_vqvae2 import influence
        >>> small = VQVAE2Config.tiny().with_(channels=4, residual_channels=2, code_dim=2, num_codes=4)
        >>> found = influence(CausalVQVAE2(small).eval(), torch.zeros(1, 1, 13, 80), draws=1)
        >>> {level: (len(codes), len(codes[0]["by_age"])) for level, codes in found.items()}
        {'top': (10, 9), 'bottom': (20, 13)}
    """
    sizes = {"top": int(model.top_field.axis("time").size), "bottom": int(model.bottom_field.axis("time").size)}
    if x.dim() != 4 or x.shape[2] < sizes["bottom"]:
        raise ValueError(
            f"the clips have the shape {tuple(x.shape)}; give (clips, 1, time, 80), at least {sizes['bottom']} frames"
        )
    generator = torch.Generator().manual_seed(seed)
    squares: dict[str, NDArray[np.float64]] = {}
    for level, cells in (("top", model.config.top_cells), ("bottom", model.config.bottom_cells)):
        cell = torch.arange(cells).repeat_interleave(len(x))
        rows = x[:, :, -sizes[level] :].repeat(cells, 1, 1, 1).requires_grad_()
        _, *found = model.reconstruct(rows)
        values = found[level == "bottom"].values
        words = values[torch.arange(len(rows)), :, -1, cell]
        total = torch.zeros(cells, sizes[level], x.shape[3], dtype=torch.float64)
        for _ in range(draws):
            signs = torch.randint(0, 2, words.shape, generator=generator) * 2 - 1
            (gradient,) = torch.autograd.grad((words * signs).sum(), rows, retain_graph=True)
            total += gradient[:, 0].double().square().unflatten(0, (cells, len(x))).mean(1)
        squares[level] = total.flip(1).numpy()
    return {level: [_digits(one) for one in found] for level, found in squares.items()}


def _digits(square: NDArray[np.float64]) -> dict[str, Any]:
    strength = (square / (square.max() or 1.0)) ** 0.25  # the root of the gradient's size: faint ones are seen, too
    digits = np.where(square > 0, np.minimum(9, 1 + np.floor(9 * strength)), 0).astype(int)
    by_age = square.sum(1) / (square.sum() or 1.0)
    within = min(len(by_age), int(np.searchsorted(np.cumsum(by_age), SHARE)) + 1)
    return {
        "table": "".join(map(str, digits.ravel())),
        "by_age": [round(float(s), 5) for s in by_age],
        "within": within,
    }


def _influence_by_age(model: CausalVQVAE2, corpus: FeatureCorpus) -> dict[str, Any]:
    """The squared gradient by age, the mean over the codes of a level, and the frames that hold 99 % of it."""
    clips = corpus.batch(0, rows=8, frames=32).features
    out = {}
    for level, codes in influence(model, to_2d(clips)).items():
        shares = np.mean([code["by_age"] for code in codes], axis=0)
        within = [code["within"] for code in codes]
        out[level] = {"by_age": [round(float(s), 4) for s in shares], "within": [min(within), max(within)]}
    return out


@dataclass
class Levels(Experiment):
    """What does each level of the causal VQ-VAE-2 carry? One alone, both, and the tops of one voice under another.

    Rows are the parts of the table: the error of each level alone and of both, as a share of the variance; the entropy
    of its codes; what becomes of a voice when tops and bottoms are swapped; codes that are others frame by frame; and
    how strongly codes answer to earlier frames. There is one seed, because nothing is drawn: the speakers are the
    spread. Nothing is trained. How long it takes is not on record.

    Attributes:
        name: the command's name.
        spread: that over the speakers.
        rows: the parts of the table.
        model: the checkpoint that is measured, trained once.
        speakers: how many of the embedded test speakers, 2 to 8; the model has met none of them.
        seconds: seconds of their speech, all together.

    Raises:
        ValueError: fewer than 2 or more than 8 speakers.

    Example:
        >>> from causalcnn_book.causal_vqvae2.levels import Levels
        >>> Levels.rows
        ('error', 'entropy', 'swap', 'frame_by_frame', 'influence')
        >>> Levels(speakers=9)
        Traceback (most recent call last):
        ValueError: --speakers is 9; voices are swapped between 2 to 8 of them
    """

    name = "levels"
    spread = "95 % interval of the mean over the speakers; the model was trained once"
    rows = ("error", "entropy", "swap", "frame_by_frame", "influence")

    model: Path = option(Path("book/checkpoints/vqvae2-tiny"), "what to measure")
    speakers: int = option(8, "of the embedded test speech, 2 to 8")
    seconds: float = option(100.0, "of it")

    def __post_init__(self) -> None:
        if not 2 <= self.speakers <= 8:
            raise ValueError(f"--speakers is {self.speakers}; voices are swapped between 2 to 8 of them")

    @cached_property
    def loaded(self) -> tuple[CausalVQVAE2, dict[str, Any]]:
        """The model, and its card."""
        return load_model(self.model)

    @cached_property
    def source(self) -> EmbeddedSpeech:
        """Speakers that the model has never met."""
        return EmbeddedSpeech("test", speakers=self.speakers, seconds=self.seconds)

    @override
    def settings(self, row: str, seed: int) -> dict[str, Any]:
        return super().settings(row, seed) | {"sha256": self.loaded[1]["sha256"]}

    @override
    def measure(self, row: str, seed: int) -> dict[str, Any]:
        """Measure one part of the table.

        Args:
            row: the part's name.
            seed: without a meaning here.

        Returns:
            What :func:`error_of_levels` gives, summed up over the speakers; bits of the codes of each level, of one and
            of a second; or what :func:`swapped`, :func:`flips` or :func:`influence` give.
        """
        model, corpus = self.loaded[0], FeatureCorpus.of(self.source)
        measures: dict[str, Callable[[CausalVQVAE2, FeatureCorpus], dict[str, Any]]] = {
            "error": lambda *both: {k: summary(v, by="speaker") for k, v in error_of_levels(*both).items()},
            "entropy": _entropies,
            "swap": swapped,
            "frame_by_frame": flips,
            "influence": _influence_by_age,
        }
        return measures[row](model, corpus)

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """Put the parts one after the other.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            ``data``, the model's ``sha256``, and the parts by their names; those of ``entropy`` are ``entropy_bits``
            and ``bits_per_second``.
        """
        table = {"data": repr(self.source), "sha256": self.loaded[1]["sha256"]}
        for row, found in results.items():
            table |= found[0] if row == "entropy" else {row: found[0]}
        return table


def _entropies(model: CausalVQVAE2, corpus: FeatureCorpus) -> dict[str, Any]:
    """Bits of a code, and of the codes of a second, at each level."""
    codes = [model.encode(corpus[i].T[None, None])._asdict() for i in range(len(corpus))]
    used = {level: torch.cat([c[level].flatten() for c in codes]) for level in ("top", "bottom")}
    bits = {level: entropy_bits(values, model.config.num_codes) for level, values in used.items()}
    cells = {"top": model.config.top_cells, "bottom": model.config.bottom_cells}
    return {
        "entropy_bits": {level: round(value, 3) for level, value in bits.items()},
        "bits_per_second": {level: round(100 * cells[level] * bits[level]) for level in bits},
    }
