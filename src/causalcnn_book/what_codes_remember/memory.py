"""What do the codes of one frame remember, and what do they know of the next one?

From the codewords of one frame, (20 + 10) · 64 numbers or 270 bits, a probe must predict the log-mel frame k frames
earlier, for k inside the field of the codes and beyond it, and for frames that are still to come. Probes learn on
training speakers, are chosen on validation speakers, and are scored once on test speakers. What a past frame has in
common with the present one is no memory, so everything is repeated with frames in random order, where they have nothing
in common.

    causalcnn experiment memory --out book/measurements/memory.json
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from causalcnn.models import CausalVQVAE2, load_model
from causalcnn.speech import EmbeddedSpeech, FeatureCorpus
from causalcnn_book.causal_vqvae2.reconstruction import untrained
from causalcnn_book.experiment import OVER_SEEDS, Experiment, Results, option, summary
from causalcnn_book.what_codes_remember.linear_probe import LinearProbe, Moments, fit_linear, fit_network
from causalcnn_book.what_codes_remember.probe_inputs import (
    DIRECTIONS,
    MAX_AHEAD,
    MAX_BACK,
    Clips,
    PerLevelPCA,
    Representation,
    bits,
    build_inputs,
    field_frames,
    gather,
    probe_rows,
    vectors,
    window,
)

__all__ = ["BACK", "Memory", "horizon", "pictures", "probe_frames", "spread"]

BACK: tuple[int, ...] = (-MAX_AHEAD, -2, -1, *range(MAX_BACK + 1))
"""The frames that are predicted, counted back from the present one; −1 is the next frame."""
NOW = BACK.index(0)
"""The place of the present frame in :data:`BACK`."""
NETWORK_BACK = (-5, -2, -1, 0, 1, 2, 4, 6, 8, 10, 12, 14)
"""Those that the network predicts."""
NETWORKED = ("codes", "before", "untrained", "frame", "window")
"""What networks read, too: the codes, and the mel frames that they were made from."""
SHUFFLED_BACK = tuple(range(17))
SEVERAL, SEVERAL_DIRECTIONS = 4, 12
"""Where the codes of several frames are read: how many frames, and directions of each codeword."""


# --------------------------------------------------------------------------------------------------- probes
def probe_frames(
    inputs: Sequence[Sequence[Tensor]], clips: Sequence[Clips], back: Sequence[int] = BACK
) -> tuple[Tensor, LinearProbe, list[Moments]]:
    """Measure how well a linear probe predicts the frames of ``back`` from what stands for the present one.

    Args:
        inputs: what stands for the frames of train, validation and test clips, one ``(time, d)`` a clip.
        clips: these clips.
        back: the frames that are predicted, counted back from the present one.

    Returns:
        Squared error on the test clips as a share of their variance about the mean training frame,
        ``(len(back),)``; the probe; the moments that it comes from.

    Raises:
        ValueError: no frame of some clips can be predicted.
    """
    moments = [gather(rows, some, back) for rows, some in zip(inputs, clips, strict=True)]
    probe = fit_linear(moments[0], moments[1], groups=len(back))
    return probe.errors(moments[2]), probe, moments


def _errors_by_level(moments: Sequence[Moments], top: int, groups: int) -> dict[str, list[float]]:
    """The errors of probes that see the numbers of one level only: the first ``top`` ones, or the others."""
    found = {}
    for level, columns in (("top", slice(0, top)), ("bottom", slice(top, None))):
        train, validation, test = (m.part(columns) for m in moments)
        found[level] = fit_linear(train, validation, groups=groups).errors(test).tolist()
    return found


def _network_errors(
    probe: LinearProbe, inputs: Sequence[Sequence[Tensor]], clips: Sequence[Clips], seed: int
) -> Tensor:
    """The errors of a network that adds to a linear probe."""
    mels, groups = clips[0].features[0].shape[1], len(NETWORK_BACK)
    columns = torch.cat([torch.arange(mels) + BACK.index(k) * mels for k in NETWORK_BACK])
    linear = LinearProbe(probe.weight[:, columns].float(), probe.x_mean, probe.y_mean[columns], groups, probe.penalties)
    rows = [
        [torch.cat(part) for part in zip(*probe_rows(x, c, NETWORK_BACK), strict=True)]
        for x, c in zip(inputs, clips, strict=True)
    ]
    (train_x, train_y), (validation_x, validation_y), (x, y) = rows
    network, _ = fit_network(linear, (train_x, train_y), (validation_x, validation_y), seed=seed)
    with torch.no_grad():
        read = torch.cat([linear(some) + network(some) for some in x.split(4096)])
    return _variance_fraction(read, y, linear.y_mean, groups)


def _variance_fraction(read: Tensor, y: Tensor, mean: Tensor, groups: int) -> Tensor:
    """Squared error as a share of the variance of ``y`` about ``mean``, for each group of columns."""
    wrong = (read - y).double().square().sum(0).reshape(groups, -1).sum(1)
    return wrong / (y.double() - mean).square().sum(0).reshape(groups, -1).sum(1)


def _copied(clips: Clips, mean: Tensor) -> Tensor:
    """The error of predicting the present frame for every frame."""
    x, y = (torch.cat(part) for part in zip(*probe_rows(clips.features, clips, BACK), strict=True))
    return _variance_fraction(x.repeat(1, len(BACK)), y, mean, len(BACK))


@torch.no_grad()
def _decoded(model: CausalVQVAE2, clips: Clips, mean: Tensor) -> float:
    """The error of the model's own decoder at the present frame: it reads the codes of several frames."""
    pairs = zip(clips.features, clips.positions, strict=True)
    read, y = zip(*((model(clip[None, None])[0, 0][at], clip[at]) for clip, at in pairs), strict=True)
    return float(_variance_fraction(torch.cat(read), torch.cat(y), mean, 1))


# ------------------------------------------------------------------------------------------------ the table
def _draw(seed: int, seconds: float, floor_db: float) -> list[Clips]:
    """Train, validation and test clips: the same speakers for every seed, other sentences."""
    sets = (("train", 40, 1.0), ("validation", 10, 0.2), ("test", 20, 0.4))
    return [
        Clips.of(FeatureCorpus.of(EmbeddedSpeech(split, speakers, max(6.0, share * seconds), 100 + seed)), floor_db)  # type: ignore[arg-type]
        for split, speakers, share in sets
    ]


def _measure_seed(model: CausalVQVAE2, fresh: CausalVQVAE2, seed: int, seconds: float, network: bool) -> dict[str, Any]:
    """All errors of one draw of sentences, and the pictures."""
    clips = _draw(seed, seconds, model.config.floor_db)
    found: dict[str, dict[str, list[float]]] = {"linear": {}, "network": {}, "shuffled": {}, "lost": {}}
    representations, probes, top = build_inputs(model, fresh, clips[0]), {}, model.config.top_cells
    for name, representation in representations.items():
        inputs = [[representation(x) for x in some.features] for some in clips]
        errors, probes[name], moments = probe_frames(inputs, clips)
        found["linear"][name] = errors.tolist()
        if name == "codes":
            found["linear"] |= _errors_by_level(moments, top * DIRECTIONS, len(BACK))
        if network and name in NETWORKED:
            found["network"][name] = _network_errors(probes[name], inputs, clips, seed).tolist()
        if hasattr(representation, "pca"):
            found["lost"][name] = representation.pca.lost
        print(f"{name}: now {errors[NOW]:.3f}, next {errors[NOW - 1]:.3f}", flush=True)
    some = torch.cat([vectors(model, x)[0] for x in clips[0].features[: len(clips[0].features) // 4]])
    pca = PerLevelPCA(some, top, SEVERAL_DIRECTIONS)
    inputs = [[window(pca(vectors(model, x)[0]), SEVERAL) for x in c.features] for c in clips]
    found["linear"]["several"] = probe_frames(inputs, clips)[0].tolist()
    mean = probes["frame"].y_mean
    found["linear"]["copy"] = _copied(clips[2], mean).tolist()
    found["decoder"] = {"now": [_decoded(model, clips[2], mean.reshape(len(BACK), -1)[NOW])]}
    mixed = [c.shuffled(seed) for c in clips]
    for name in ("codes", "before", "untrained"):
        inputs = [[representations[name](x) for x in c.features] for c in mixed]
        errors, _, moments = probe_frames(inputs, mixed, SHUFFLED_BACK)
        found["shuffled"][name] = errors.tolist()
        if name == "codes":
            found["shuffled"] |= _errors_by_level(moments, top * DIRECTIONS, len(SHUFFLED_BACK))
        print(f"shuffled {name}", flush=True)
    return {"errors": found, "pictures": pictures(representations, probes, clips[2])}


def spread(runs: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Sum up errors over seeds.

    Args:
        runs: for each seed the error of each predicted frame.

    Returns:
        For each predicted frame ``mean`` and ``half_interval`` (half of the 95 % interval of the mean), and
        ``by_seed``, the errors themselves.

    Raises:
        ImportError: scipy is not installed.
    """
    columns = [summary(column) for column in zip(*runs, strict=True)]
    return {
        "mean": [column["mean"] for column in columns],
        "half_interval": [column["half_interval"] for column in columns],
        "by_seed": [[round(error, 4) for error in run] for run in runs],
    }


def horizon(errors: Sequence[float], max_error: float) -> int:
    """Count how far back the error stays at or below a limit.

    Args:
        errors: the error of the present frame, of the one before it, and so on.
        max_error: the limit.

    Returns:
        How many frames back, the present one counted as 0; −1 for none.

    Example:
        >>> from causalcnn_book.what_codes_remember.memory import horizon
        >>> horizon([0.1, 0.2, 0.6, 0.3], max_error=0.5), horizon([0.7], max_error=0.5)
        (1, -1)
    """
    good = [error <= max_error for error in errors]
    return (good.index(False) if False in good else len(good)) - 1


@dataclass
class Memory(Experiment):
    """What do the codes of one frame remember, and what do they know of the next one?

    There is one row, measured with three seeds that draw other sentences; the spread is that over the seeds. Probes,
    linear ones and networks of one hidden layer, predict frames from the codes and from what they are compared with.
    They learn on 40 speakers, are chosen on 10 and scored on 20 others. How long it takes is not on record.

    Attributes:
        name: the command's name.
        spread: half of the 95 % interval of the mean over seeds.
        seeds: each draws other sentences, and the networks' weights.
        checkpoint: the model whose codes are read.
        seconds: seconds of speech that the probes are trained on.
        no_network: linear probes only.

    Example:
        >>> from causalcnn_book.what_codes_remember import BACK, NOW
        >>> from causalcnn_book.what_codes_remember.memory import Memory
        >>> Memory.rows, Memory.seeds
        (('all',), (0, 1, 2))
        >>> BACK[0], BACK[NOW], BACK[-1]  # from five frames ahead to twenty back
        (-5, 0, 20)
    """

    name = "memory"
    spread = f"{OVER_SEEDS}; a seed draws other sentences"
    seeds = (0, 1, 2)

    checkpoint: Path = option(Path("book/checkpoints/vqvae2-tiny"), "the model")
    seconds: float = option(300.0, "of training speech for the probes")
    no_network: bool = option(False, "linear probes only")

    @cached_property
    def trained(self) -> tuple[CausalVQVAE2, dict[str, Any]]:
        """The model, and its card."""
        model, card = load_model(self.checkpoint)
        if not isinstance(model, CausalVQVAE2):
            raise TypeError(f"{self.checkpoint} holds a {card['model']!r}; this asks the causal model, 'vqvae2'")
        return model, card

    @cached_property
    def untrained(self) -> CausalVQVAE2:
        """The same architecture with fresh weights."""
        return untrained(self.trained[0], FeatureCorpus.of(EmbeddedSpeech("train", speakers=8, seconds=120)))

    @override
    def settings(self, row: str, seed: int) -> dict[str, Any]:
        return super().settings(row, seed) | {"sha256": self.trained[1]["sha256"]}

    @override
    def measure(self, row: str, seed: int) -> dict[str, Any]:
        """Measure all errors with one draw of sentences.

        Args:
            row: ``"all"``, the only one.
            seed: draws the sentences and the networks' weights.

        Returns:
            ``errors``, by kind (linear probes, networks, shuffled frames and so on) and by what is read, one for each
            predicted frame, as shares of the variance; and ``pictures``, what :func:`pictures` gives.
        """
        return _measure_seed(self.trained[0], self.untrained, seed, self.seconds, not self.no_network)

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """Write for each representation the errors frame by frame, and how far back it reads.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            ``what``, ``settings``, the ``field`` of top and bottom in frames, which frames are predicted, the errors by
            kind and name with mean, interval and values by seed, the ``horizon`` of each name in frames, and the
            ``model``.
        """
        (model, card), found = self.trained, [each["errors"] for each in results["all"].values()]
        top, bottom = field_frames(model)
        errors = {kind: {name: spread([each[kind][name] for each in found]) for name in found[0][kind]}
                  for kind in found[0]}  # fmt: skip
        past = {name: line["mean"][NOW:] for name, line in errors["linear"].items()}
        return {
            "what": "squared error of the frame k frames back, read from what stands for one frame, as a share of the "
            "variance about the mean training frame; embedded speech, unheard speakers, speaking frames",
            "settings": {
                "seconds": self.seconds,
                "numbers": 3 * model.config.mels // 8 * model.config.code_dim,
                "bits": bits(model),
                "directions": DIRECTIONS,
                "several": SEVERAL,
                "several_directions": SEVERAL_DIRECTIONS,
            },
            "field": {"top": top, "bottom": bottom},
            "back": list(BACK),
            "network_back": list(NETWORK_BACK),
            "shuffled_back": list(SHUFFLED_BACK),
            **errors,
            "horizon": {name: {str(m): horizon(line, m) for m in (0.1, 0.25, 0.5)} for name, line in past.items()},
            "model": _about(card),
        }

    @override
    def tables_beside(self, results: Results) -> dict[str, dict[str, Any]]:
        """Write the pictures of :func:`pictures`, of the first seed.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            ``"pictures"`` → the model and the pictures.
        """
        first = next(iter(results["all"].values()))
        return {"pictures": {"model": _about(self.trained[1]), **first["pictures"]}}


def _about(card: dict[str, Any]) -> dict[str, Any]:
    return {key: card[key] for key in ("model", "config", "sha256")}


# -------------------------------------------------------------------------------------------- the pictures
PICTURED, BANDS, LEVELS, LATEST = 60, 40, 64, 18
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def pictures(
    representations: dict[str, Representation], probes: dict[str, LinearProbe], clips: Clips
) -> dict[str, Any]:
    """Draw one clip as it was, and as probes predict it from what stands for the frame k frames later, k = 0 … 18.

    Two mel bands make one row, and a level is one of 64, written as one letter: a picture is a text, column by
    column, from the low bands up.

    Args:
        representations: name → what stands for the frames of a clip, see :func:`build_inputs`.
        probes: name → the probe that reads it; of ``codes``, ``untrained`` and ``fixed`` at least.
        clips: one of them is drawn, the first that is long enough.

    Returns:
        ``frames`` and ``bands`` of the pictures, ``low_db`` and ``high_db`` of their levels, the picture of the
        ``truth``, and ``readings``: name → a picture for each k.

    Raises:
        StopIteration: no clip is long enough.
    """
    need = MAX_BACK + PICTURED + LATEST + MAX_AHEAD
    clip = next(x for x in clips.features if len(x) >= need + 20)
    start, mels = MAX_BACK + 10, clip.shape[1]
    truth = clip[start : start + PICTURED]
    low, high = float(truth.min()), float(truth.max())

    def text(frames: Tensor) -> str:
        rows = frames.reshape(len(frames), BANDS, -1).mean(2)
        levels = ((rows - low) / (high - low) * (LEVELS - 1)).round().clamp(0, LEVELS - 1).int()
        return "".join(LETTERS[level] for level in levels.flatten().tolist())

    readings: dict[str, list[str]] = {}
    for name in ("codes", "untrained", "fixed"):
        found = probes[name](representations[name](clip)).reshape(len(clip), len(BACK), mels)
        readings[name] = [text(found[start + k : start + k + PICTURED, BACK.index(k)]) for k in range(LATEST + 1)]
    return {"frames": PICTURED, "bands": BANDS, "low_db": round(low, 1), "high_db": round(high, 1),
            "truth": text(truth), "readings": readings}  # fmt: skip
