"""How far does a frame generator drift from speech when it reads what it wrote? Frame by frame after a prompt.

    causalcnn experiment likelihood --rows logistics "own samples" --runs runs --out likelihood.json
    causalcnn experiment exposure-bias --out book/measurements/exposure-bias.json

Models trained on the truth alone, and models that read some of their own samples in training, of the same size and
budget and the same seeds, continue real speech of unseen speakers; so does the shipped model, which was trained for
longer. Beside what they write *freely* stands what they write *one frame ahead*, each frame given the true past, and
the speech itself. Three kinds of measures, none of which a generator was trained on:

- two judges price every frame: the shipped model, and a linear one that was fitted by least squares;
- the distance of the cloud of frames from that of other speech, in dB a band;
- what a frame is like: its level, how much of it is silence, the contrast between its bands, the step from the
  frame before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from causalcnn.models import FrameGenerator, SpectrogramModel, load_model
from causalcnn.speech import EVALUATION_MAX_HZ, EmbeddedSpeech, FeatureCorpus, bands_below
from causalcnn_book.experiment import Experiment, Results, half_interval, option
from causalcnn_book.frame_generator.drift_metrics import (
    SILENT_BELOW_DB,
    LinearJudge,
    continuations,
    distance_db,
    frame_statistics,
    one_frame_ahead,
)
from causalcnn_book.likelihood.likelihood import Task, score

__all__ = ["ExposureBias", "Prompts", "combine_seeds", "measure_model", "measure_speech", "over_temperatures"]

LAGS = (1, 2, 5, 10, 20, 50, 100, 200)
PROMPT_FRAMES = 40
TEMPERATURES = (0.25, 0.5, 0.7, 0.85, 1.0, 1.15)
TRAININGS = {"teacher forcing": "logistics", "own samples": "own-samples"}


@dataclass(frozen=True)
class Prompts:
    """What everything is measured on.

    Attributes:
        bins: ``(rows, prompt + frames, mels)``.
        speakers: who speaks each row.
        other: other clips of the same speakers, ``(rows, prompt + frames, mels)``.
        level_db: the level of training speech, in dB.
        judge: the linear one.
        decibels: a function from bins ``(rows, time, mels)`` to dB, ``(rows, mels, time)``.
    """

    bins: Tensor
    speakers: list[str]
    other: Tensor
    level_db: float
    judge: LinearJudge
    decibels: Callable[[Tensor], Tensor]


def _windows() -> list[slice]:
    return [slice(a, b) for a, b in zip((0, *LAGS[:-1]), LAGS, strict=True)]


def _by_window(prompts: Prompts, bins: Tensor, before: Tensor) -> dict[str, Any]:
    """What frames are like, and how far from speech, window by window; ``before`` is the frame before each."""
    lists: dict[str, Any] = {}
    for window in _windows():
        now, last, other = (
            prompts.decibels(x[:, window]).transpose(1, 2) for x in (bins, before, prompts.other[:, PROMPT_FRAMES:])
        )
        found = frame_statistics(now, last, prompts.level_db)
        for name, values in found.items():
            mean, half = _interval(values.mean(1), prompts.speakers)
            lists.setdefault(name, []).append(round(mean, 3))
            lists.setdefault(name + "_half", []).append(round(half, 3))
        lists.setdefault("level_spread_db", []).append(round(float(found["level_db"].std()), 3))
        distance = distance_db(now.flatten(0, 1), other.flatten(0, 1))
        lists.setdefault("distance_db", []).append(round(distance, 3))
    return lists


def _priced(prompts: Prompts, bits: Tensor, name: str) -> dict[str, Any]:
    """Bits ``(rows, frames)``, window by window."""
    found = [_interval(bits[:, window].mean(1), prompts.speakers) for window in _windows()]
    return {name: [round(mean, 3) for mean, _ in found], f"{name}_half": [round(half, 3) for _, half in found]}


def combine_seeds(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Put tables of several trainings together: means, and for each the least and the most.

    Args:
        tables: name → one number for each window, of each training.

    Returns:
        For each name, but those that end in ``_half``, the means, and under ``…_range`` the least and the most.

    Example:
        >>> from causalcnn_book.frame_generator.exposure_bias import combine_seeds
        >>> combine_seeds([{"level_db": [1.0, 2.0]}, {"level_db": [3.0, 2.0]}])
        {'level_db': [2.0, 2.0], 'level_db_range': [[1.0, 3.0], [2.0, 2.0]]}
    """
    joined: dict[str, Any] = {}
    for key in tables[0]:
        if key.endswith("_half"):
            continue
        columns = list(zip(*(table[key] for table in tables), strict=True))
        joined[key] = [round(sum(column) / len(column), 3) for column in columns]
        joined[f"{key}_range"] = [[min(column), max(column)] for column in columns]
    return joined


def _interval(rows: Tensor, speakers: Sequence[str]) -> tuple[float, float]:
    """The mean over speakers, and half of its 95 % interval."""
    means = [float(rows[[s == each for s in speakers]].mean()) for each in sorted(set(speakers))]
    return sum(means) / len(means), half_interval(means) or 0.0


@torch.no_grad()
def _network_bits(model: SpectrogramModel, bins: Tensor) -> Tensor:
    """What a network charges for the frames after the prompt, ``(rows, frames)``."""
    parts = [-model.log_prob(some).mean(2)[:, PROMPT_FRAMES:] / math.log(2) for some in bins.split(8)]
    return torch.cat(parts)


def _linear_ahead(prompts: Prompts, drawn: Tensor) -> Tensor:
    """The linear judge's bits for frames that were drawn given the true past, ``(rows, frames)``."""
    judge, true = prompts.judge, prompts.bins
    windows = true.unfold(1, judge.frames, 1)[:, PROMPT_FRAMES - judge.frames : -1]  # (rows, frames, mels, 6)
    both = torch.cat([windows.transpose(2, 3), drawn[:, :, None]], 2)
    return judge.bits(both.flatten(0, 1)).view(drawn.shape[:2])


@torch.no_grad()
def _network_ahead(model: SpectrogramModel, prompts: Prompts, drawn: Tensor, every: int = 20) -> Tensor:
    """The same for a network, for some of the frames only, as each needs a past of its own: ``(rows,)``."""
    past = int(model.field.axis("time").past or 0)
    total = []
    for t in range(0, drawn.shape[1], every):
        at = PROMPT_FRAMES + t
        bins = torch.cat([prompts.bins[:, at - past : at], drawn[:, t : t + 1]], 1)
        total.append(-model.log_prob(bins)[:, -1].mean(1) / math.log(2))
    return torch.stack(total, 1).mean(1)


def measure_speech(judge: SpectrogramModel, prompts: Prompts) -> dict[str, Any]:
    """Measure the speech itself.

    Args:
        judge: the network that prices it, in eval mode.
        prompts: the speech.

    Returns:
        Name → one number for each window; under ``…_half`` half of its interval over the speakers.
    """
    true, first = prompts.bins, PROMPT_FRAMES
    found = _by_window(prompts, true[:, first:], true[:, first - 1 : -1])
    found |= _priced(prompts, prompts.judge.bits(true[:, first - prompts.judge.frames :]), "linear_bits")
    return found | _priced(prompts, _network_bits(judge, true), "network_bits")


def measure_model(
    model: SpectrogramModel, judge: SpectrogramModel, prompts: Prompts, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure what a model writes one frame ahead, and what it writes freely.

    Args:
        model: a model in eval mode.
        judge: the network that prices what it writes, in eval mode.
        prompts: the speech that it continues.
        seed: the same seed draws the same values.

    Returns:
        For both ways, name → one number for each window, as for :func:`measure_speech`; one frame ahead the network's
        price is one number for all frames, ``network_bits_of_all``.
    """
    true, first = prompts.bins, PROMPT_FRAMES
    drawn = torch.stack([one_frame_ahead(model, row, first, seed=seed) for row in true])
    ahead = _by_window(prompts, drawn, true[:, first - 1 : -1]) | _priced(
        prompts, _linear_ahead(prompts, drawn), "linear_bits"
    )
    priced = _interval(_network_ahead(judge, prompts, drawn), prompts.speakers)
    ahead["network_bits_of_all"] = [round(number, 3) for number in priced[:1]]
    drawn = model.generate(true.shape[1] - first, rows=len(true), prompt=true[:, :first], seed=seed)
    whole = torch.cat([true[:, :first], drawn], 1)
    free = _by_window(prompts, drawn, whole[:, first - 1 : -1])
    free |= _priced(prompts, prompts.judge.bits(whole[:, first - prompts.judge.frames :]), "linear_bits")
    return ahead, free | _priced(prompts, _network_bits(judge, whole), "network_bits")


def over_temperatures(model: SpectrogramModel, prompts: Prompts) -> list[dict[str, Any]]:
    """Measure the last 100 frames of free runs at each temperature, one seed, and those of the speech.

    Args:
        model: a model in eval mode.
        prompts: the speech that it continues.

    Returns:
        A row for each, with ``temperature``, ``distance_db`` from other speech, and what the frames are like.
    """
    true, found = prompts.bins, []
    frames = true.shape[1] - PROMPT_FRAMES
    sets = {str(t): model.generate(frames, rows=len(true), prompt=true[:, :PROMPT_FRAMES], seed=0, temperature=t)
            for t in TEMPERATURES}  # fmt: skip
    for name, bins in {**sets, "speech": true[:, PROMPT_FRAMES:]}.items():
        late, last = (prompts.decibels(x).transpose(1, 2) for x in (bins[:, 100:], bins[:, 99:-1]))
        other = prompts.decibels(prompts.other[:, -100:]).transpose(1, 2)
        row: dict[str, Any] = {"temperature": name, "distance_db": distance_db(late.flatten(0, 1), other.flatten(0, 1))}
        values = frame_statistics(late, last, prompts.level_db)
        row |= {key: float(value.mean()) for key, value in values.items()}
        row["level_spread_db"] = float(values["level_db"].std())
        found.append({key: value if isinstance(value, str) else round(value, 3) for key, value in row.items()})
    return found


@dataclass
class ExposureBias(Experiment):
    """How far does a frame generator drift from speech when it reads what it wrote? Frame by frame after a prompt.

    Rows are the speech itself; the shipped model; models of two trainings, on the truth alone and with some of their
    own samples; the shipped model at six temperatures; and its price on held-out speech. The two trainings have three
    seeds each, everything else one; least and most over the trainings are given, and half of the 95 % interval over
    speakers. It trains nothing: the six models come from ``causalcnn experiment likelihood``. How long it takes is not
    on record.

    Attributes:
        name: the command's name.
        spread: that over trainings, and that over speakers.
        rows: what is measured.
        seeds: those of the trainings; each also draws frames.
        prerequisite: the command that trains the six models.
        models: the folder that it filled.
        shipped: the checkpoint of the longer trained model.
        per_speaker: prompts of each of the 20 speakers.

    Example:
        >>> from causalcnn_book.frame_generator.exposure_bias import ExposureBias
        >>> ExposureBias.rows
        ('speech', 'shipped', 'teacher forcing', 'own samples', 'temperatures', 'held-out')
        >>> experiment = ExposureBias()
        >>> experiment.seeds_of("own samples", (0, 1, 2)), experiment.seeds_of("shipped", (0, 1, 2))
        ((0, 1, 2), (0,))
    """

    name = "exposure-bias"
    spread = (
        "_range: least and most over trainings, each with draws of its own; "
        "_half: half of the 95 % interval over speakers, Student's t"
    )
    rows = ("speech", "shipped", *TRAININGS, "temperatures", "held-out")
    seeds = (0, 1, 2)
    prerequisite = 'causalcnn experiment likelihood --rows logistics "own samples" --runs runs --out likelihood.json'

    models: Path = option(Path("runs"), "the folder that `causalcnn experiment likelihood --runs` filled")
    shipped: Path = option(Path("book/checkpoints/frame-generator-tiny"), "the longer trained model")
    per_speaker: int = option(2, "prompts of each of the 20 speakers")

    @override
    def seeds_of(self, row: str, seeds: Sequence[int]) -> Sequence[int]:
        return seeds if row in TRAININGS else (0,)

    @override
    def settings(self, row: str, seed: int) -> dict[str, Any]:
        more = {"judge": self.judge[1]["sha256"]}
        if row in TRAININGS:
            more["sha256"] = self.training(row, seed)[1]["sha256"]
        return super().settings(row, seed) | more

    @cached_property
    def judge(self) -> tuple[FrameGenerator, dict[str, Any]]:
        """The shipped model, and its card."""
        model, card = load_model(self.shipped)
        return model.eval(), card

    def training(self, row: str, seed: int) -> tuple[FrameGenerator, dict[str, Any]]:
        """Load one of the models to compare, and its card.

        Args:
            row: ``"teacher forcing"`` or ``"own samples"``.
            seed: that of its training.

        Returns:
            The model in eval mode, and its card.

        Raises:
            FileNotFoundError: it is not in the folder.
            KeyError: another row.
        """
        model, card = load_model(self.models / f"{TRAININGS[row]}-{seed}")
        return model.eval(), card

    @cached_property
    def task(self) -> Task:
        """What the models were trained and scored on."""
        return Task.usual()

    @cached_property
    def judge_part(self) -> FeatureCorpus:
        """The speech that the linear judge is fitted on."""
        return self.task.corpus.subset(900)

    @cached_property
    def prompts(self) -> Prompts:
        """What everything is measured on."""
        model = self.judge[0]
        unseen = FeatureCorpus.of(EmbeddedSpeech("test", speakers=20, seconds=1200))
        bins, speakers = continuations(unseen, model, per_speaker=2 * self.per_speaker)
        judge = LinearJudge.fitted(model.to_bins(clip[None])[0] for clip in self.judge_part)
        return Prompts(
            bins[0::2], speakers[0::2], bins[1::2], self.task.corpus.level_db, judge,
            lambda x: model.uniform_bins.decode(x).transpose(1, 2),
        )  # fmt: skip

    @override
    def measure(self, row: str, seed: int) -> Any:
        """Measure the speech, a model (one frame ahead, and freely), or the shipped model alone.

        Args:
            row: one of :attr:`rows`.
            seed: that of the training; it also draws frames.

        Returns:
            What :func:`measure_speech`, :func:`measure_model` or :func:`over_temperatures` give, or for each held-out
            set the bits of a value.
        """
        model = self.judge[0]
        if row == "speech":
            return measure_speech(model, self.prompts)
        if row == "temperatures":
            return over_temperatures(model, self.prompts)
        if row == "held-out":
            return {
                key: score(model, corpus, bands=bands_below(EVALUATION_MAX_HZ[key]))
                for key, corpus in self.task.sets.items()
            }
        return measure_model(self.training(row, seed)[0] if row in TRAININGS else model, model, self.prompts, seed)

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """Write the measures window by window, the shipped model at several temperatures and on held-out speech.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            How the ``shipped`` model was made, the ``prompts``, the ``lags`` (frames after the prompt) that end the
            windows, ``measures``, and, where they were measured, ``temperatures`` and ``held_out``.
        """
        measures: dict[str, Any] = {}
        for row in results:
            if row == "speech":
                measures[row] = results[row][0]
            elif row == "shipped":
                measures["shipped, one ahead"], measures["shipped, free"] = results[row][0]
            elif row in TRAININGS:
                for kind, tables in zip(("one ahead", "free"), zip(*results[row].values(), strict=True), strict=True):
                    measures[f"{row}, {kind}"] = combine_seeds(tables)
        card, prompts = self.judge[1], self.prompts
        table = {
            "shipped": {key: card[key] for key in ("command", "seed", "training") if key in card},
            "prompts": {
                "rows": len(prompts.bins), "speakers": len(set(prompts.speakers)), "frames": PROMPT_FRAMES,
                "linear_judge": {"frames": prompts.judge.frames, "seconds": round(self.judge_part.seconds)},
                "silent_below_db": SILENT_BELOW_DB,
            },
            "lags": list(LAGS),
            "windows": "a lag's numbers are of the frames after the lag before it, up to it",
            "measures": measures,
        }  # fmt: skip
        if "temperatures" in results:
            table["temperatures"] = results["temperatures"][0]
        if "held-out" in results:
            held_out = results["held-out"][0]
            table["held_out"] = {
                key: {kind: round(v, 4) for kind, v in found.items()} for key, found in held_out.items()
            }
        return table
