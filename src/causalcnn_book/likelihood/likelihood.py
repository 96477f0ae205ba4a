"""How many bits does a value of a spectrogram cost? Models of the next frame in one table, in one unit.

    causalcnn experiment likelihood --out book/measurements/likelihood.json

Every model is trained on the same pieces of embedded speech, varied as by other microphones and rooms, for the same
number of steps, and scored in bits per value of the same 8-bit grid, on speakers that nobody has trained on and
nothing was tuned on. Real recordings are brought to the level of the training speech, one gain for each speaker;
digits that were recorded at 8 kHz are scored below 4 kHz. Several processes can fill the table: each
with other ``--rows`` and the same ``--runs``, then one command with all rows writes it.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from causalcnn.field import Field
from causalcnn.models import (
    MODELS,
    AutoregressiveConfig,
    FrameGenerator,
    MelNet,
    PixelCNN,
    SpectrogramModel,
    save_model,
)
from causalcnn.models.frame_generator import FrameGeneratorConfig
from causalcnn.models.melnet import MelNetConfig
from causalcnn.models.pixelcnn import PixelCNNConfig
from causalcnn.nn.base import State
from causalcnn.speech import (
    EVALUATION_MAX_HZ,
    Batch,
    EmbeddedSpeech,
    FeatureCorpus,
    UniformBins,
    augment,
    bands_below,
    evaluation_sets,
    speech_mask,
)
from causalcnn.training import train
from causalcnn_book.experiment import Experiment, Results, by_seed, option

__all__ = ["Copy", "Histogram", "Likelihood", "Task", "models", "score", "train_and_score"]

ROWS = (
    "histogram", "copy", "logistics", "gaussian", "gaussians", "categorical-4", "categorical-6", "categorical-8", "2d",
    "dilation 3", "stacks", "no glimpse", "own samples", "pixelcnn", "melnet",
)  # fmt: skip
"""The names of :func:`models`, which takes a moment to make them."""
STEPS, BATCH_ROWS, FRAMES = 400, 8, 64
LEARNING_RATE = 3e-3


class _Baseline(SpectrogramModel):
    """What is common to the baselines, which read one earlier frame or none: there are no stacks."""

    Config: ClassVar[type[AutoregressiveConfig]] = AutoregressiveConfig

    @property
    @override
    def field(self) -> Field:
        """The frame before, at the same frequency, where it is read at all."""
        return Field.product(Field.window([-1]), Field.identity(axis="frequency"))

    @override
    def initial_time_state(self, x: Tensor) -> State:
        return ()

    @override
    def time_stack(self, earlier: Tensor, state: State) -> tuple[Tensor, State]:
        return earlier, ()


class Histogram(_Baseline):
    """One distribution for each band, whatever came before: 256 logits for each, the same for every frame.

    Args:
        config: its grid; the output is ``"categorical-8"`` in any case.

    Attributes:
        name: the model's name.

    Example:
        >>> import math
        >>> import torch
        >>> from causalcnn.models.autoregressive import AutoregressiveConfig
        >>> from causalcnn_book.likelihood.likelihood import Histogram
        >>> model = Histogram(AutoregressiveConfig(low_db=-70.0, high_db=20.0))
        >>> bits = -model.log_prob(torch.zeros(1, 3, 80, dtype=torch.int64)).detach() / math.log(2)
        >>> bits.shape, round(float(bits.mean()), 4)  # untrained, all bins are alike
        (torch.Size([1, 3, 80]), 8.0)
    """

    name: ClassVar[str] = "histogram"

    def __init__(self, config: AutoregressiveConfig) -> None:
        super().__init__(config.with_(output="categorical-8"))
        self.logits = nn.Parameter(torch.zeros(config.mels, self.distribution.size))

    @override
    def frequency_stack(self, x: Tensor, condition: Tensor) -> Tensor:
        return self.logits.T[:, None].expand(len(x), -1, x.shape[2], -1)


class Copy(_Baseline):
    """The last frame again, give or take: a logistic bell around the last value, one learned spread for each band.

    Args:
        config: its grid; the output is ``"logistic-mixture-1"`` in any case.

    Attributes:
        name: the model's name.

    Example:
        >>> from causalcnn.models.autoregressive import AutoregressiveConfig
        >>> from causalcnn_book.likelihood.likelihood import Copy
        >>> model = Copy(AutoregressiveConfig(low_db=-70.0, high_db=20.0))
        >>> int(model.field.axis("time").past), sum(parameter.numel() for parameter in model.parameters())
        (1, 80)
    """

    name: ClassVar[str] = "copy"

    def __init__(self, config: AutoregressiveConfig) -> None:
        super().__init__(config.with_(output="logistic-mixture-1"))
        self.spread = nn.Parameter(torch.full((config.mels,), -2.0))

    @override
    def frequency_stack(self, x: Tensor, condition: Tensor) -> Tensor:
        last = condition[:, 0]  # (batch, time, mels)
        return torch.stack([torch.zeros_like(last), last, self.spread.expand_as(last)], 1)


def models(bins: UniformBins) -> dict[str, SpectrogramModel]:
    """Make the rows of the table, untrained; each changes one thing of ``"logistics"``, the row to compare with.

    Args:
        bins: the range of values that all of them have.

    Returns:
        Row → its model, with random weights.
    """
    grid: dict[str, Any] = {"low_db": bins.low_db, "high_db": bins.high_db}
    base = FrameGeneratorConfig.tiny().with_(**grid)
    flat = base.with_(encoder="2d", channels=CHANNELS_2D)
    rows: dict[str, SpectrogramModel] = {
        "histogram": Histogram(AutoregressiveConfig(**grid)),
        "copy": Copy(AutoregressiveConfig(**grid)),
        "logistics": FrameGenerator(base),
        "gaussian": FrameGenerator(base.with_(output="gaussian")),
        "gaussians": FrameGenerator(base.with_(output="gaussian-mixture-4")),
        "categorical-4": FrameGenerator(base.with_(output="categorical-4")),
        "categorical-6": FrameGenerator(base.with_(output="categorical-6")),
        "categorical-8": FrameGenerator(base.with_(output="categorical-8")),
        "2d": FrameGenerator(flat),
        "dilation 3": FrameGenerator(base.with_(dilations=(3,))),
        "stacks": FrameGenerator(base.with_(dilations=(1, 3), channels=CHANNELS_TWO_STACKS)),
        "no glimpse": FrameGenerator(base.with_(context_bands=0)),
        "own samples": FrameGenerator(base.with_(scheduled_sampling=0.25)),
        "pixelcnn": PixelCNN(PixelCNNConfig.tiny().with_(**grid)),
        "melnet": MelNet(MelNetConfig.tiny().with_(**grid)),
    }
    return rows


CHANNELS_2D, CHANNELS_TWO_STACKS = 33, 44
"""So that these have as many parameters as the 1D encoder with one stack, to 3 % (a test counts them)."""


@dataclass(frozen=True)
class Task:
    """What every row is trained and scored on.

    Attributes:
        corpus: the speech to train on.
        bins: the range of its values.
        sets: the speech to score on, by name.
    """

    corpus: FeatureCorpus
    bins: UniformBins
    sets: Mapping[str, FeatureCorpus]

    @classmethod
    def usual(cls, *, speakers: int = 40, seconds: float = 3600.0, scored_seconds: float = 120.0) -> Task:
        """Make an hour of embedded speech to train on; unseen embedded speakers and what real speech there is to score.

        Args:
            speakers: how many there are to train on.
            seconds: seconds of their speech.
            scored_seconds: about how many seconds of each set are scored.

        Returns:
            The task.

        Raises:
            ImportError: the extra ``speech`` is not installed.
        """
        corpus = FeatureCorpus.of(EmbeddedSpeech("train", speakers=speakers, seconds=seconds))
        sets = evaluation_sets(scored_seconds, level_db=corpus.level_db)
        return cls(corpus, UniformBins.fitted(corpus), sets)

    def batch(self, step: int, seed: int, rows: int = BATCH_ROWS, frames: int = FRAMES) -> Batch:
        """Make the training batch of a step.

        Args:
            step: the training step, counted from 0.
            seed: that of the training.
            rows: pieces in the batch.
            frames: frames of a piece.

        Returns:
            The batch, varied as by other microphones and rooms.
        """
        return augment(self.corpus.batch(step, rows=rows, frames=frames, seed=seed), step=step, seed=seed)


@torch.no_grad()
def score(model: SpectrogramModel, corpus: FeatureCorpus, *, bands: int = 80) -> dict[str, float]:
    """Measure the bits per value of a corpus, over all real frames and over those that speak.

    Args:
        model: a model in eval mode.
        corpus: the speech that it is scored on.
        bands: how many of the lowest mel bands count.

    Returns:
        ``bits`` a value over all frames, and ``speaking``, the same over those that speak.
    """
    total, spoken, frames, spoken_frames = 0.0, 0.0, 0, 0
    for batch in corpus.in_batches(4):
        bits = -model.log_prob(model.to_bins(batch.features))[:, :, :bands].double().mean(2) / math.log(2)
        speaks = speech_mask(batch.features, batch.mask)
        total += float(bits[batch.mask].sum())
        spoken += float(bits[speaks].sum())
        frames += int(batch.mask.sum())
        spoken_frames += int(speaks.sum())
    return {"bits": total / frames, "speaking": spoken / spoken_frames}


def train_and_score(
    name: str, seed: int, task: Task, *, steps: int = STEPS, progress: bool = False
) -> tuple[dict[str, Any], SpectrogramModel]:
    """Train one row with one seed, and score it on every set.

    Args:
        name: the row's name.
        seed: draws the weights and the batches.
        task: what it is trained and scored on.
        steps: training steps.
        progress: whether to show a progress bar (the extra ``train``).

    Returns:
        What is kept of it, that is ``row``, ``seed``, ``model``, ``config``, ``parameters``, ``steps``, the ``loss`` in
        bits a value (means of 20 steps), ``bits`` and ``speaking`` for each set; and the model, in eval mode.

    Raises:
        KeyError: there is no such row.
    """
    torch.manual_seed(seed)
    model = models(task.bins)[name]
    history = train(
        model,
        lambda step, rank, world_size: task.batch(step, seed),
        f"{steps} steps",
        learning_rate=10 * LEARNING_RATE if isinstance(model, _Baseline) else LEARNING_RATE,
        seed=seed,
        device="cpu",
        progress=progress,
    )
    scores = {key: score(model, corpus, bands=bands_below(EVALUATION_MAX_HZ[key])) for key, corpus in task.sets.items()}
    found = {
        "row": name,
        "seed": seed,
        "model": model.name,
        "config": asdict(model.config),
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": steps,
        "loss": [round(sum(history.loss[i : i + 20]) / 20, 4) for i in range(0, len(history.loss), 20)],
        "bits": {key: round(found["bits"], 4) for key, found in scores.items()},
        "speaking": {key: round(found["speaking"], 4) for key, found in scores.items()},
    }
    return found, model


def costs(task: Task, *, rounds: int = 5) -> dict[str, float]:
    """Measure a training step of every row, on one thread: the processor's own time, medians, rows in turn.

    Args:
        task: its first batch is used.
        rounds: how often each is measured, after one that does not count.

    Returns:
        Row → milliseconds, forward and backward.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    batch = task.batch(0, 0)
    rows = {name: model.train() for name, model in models(task.bins).items()}
    taken: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(rounds + 1):
        for name, model in rows.items():
            began = time.process_time()
            model.loss(batch)[0].backward()
            taken[name].append(1000 * (time.process_time() - began))
    torch.set_num_threads(threads)
    return {name: round(statistics.median(values[1:]), 1) for name, values in taken.items()}


@dataclass
class Likelihood(Experiment):
    """How many bits does a value of a spectrogram cost? Models of the next frame in one table, in one unit.

    Rows are two baselines and thirteen networks, each trained with three seeds on the same batches, 45 trainings of 400
    steps in all, and scored on speakers and recordings that nobody trained on; there is one value for each seed. By the
    milliseconds a step of the recorded table, forward and backward alone take 83 minutes on one thread. Several
    processes can share the rows. Trained networks are kept beside the finished rows.

    Attributes:
        name: the command's name.
        spread: that over the seeds.
        rows: the names of :func:`models`.
        seeds: each draws weights and batches anew.
        steps: training steps of each model.

    Example:
        >>> from causalcnn_book.likelihood.likelihood import Likelihood
        >>> len(Likelihood.rows), Likelihood.rows[:3]
        (15, ('histogram', 'copy', 'logistics'))
        >>> Likelihood(steps=10).settings("copy", seed=0)
        {'steps': 10}
    """

    name = "likelihood"
    spread = "one value for each seed, of the weights and of the training batches"
    rows = ROWS
    seeds = (0, 1, 2)

    steps: int = option(STEPS, "of every training")

    @cached_property
    def task(self) -> Task:
        """What every row is trained and scored on."""
        return Task.usual()

    @override
    def measure(self, row: str, seed: int) -> dict[str, Any]:
        """Train one model and score it. It is kept beside the finished rows, for those who want to hear it.

        Args:
            row: one of :attr:`rows`.
            seed: draws the weights and the batches.

        Returns:
            What :func:`train_and_score` keeps of it.
        """
        found, model = train_and_score(row, seed, self.task, steps=self.steps, progress=True)
        if model.name in MODELS:  # baselines are not worth a file
            about = {"row": row, "seed": seed, "steps": self.steps}
            save_model(self.folder / f"{row.replace(' ', '-')}-{seed}", model, about)
        return found

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """Write for each row lists over seeds, and what a step of its training costs.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            The ``unit``, what ``cost`` means, the ``bins``, what was ``trained_on``, the ``sets``, and ``rows``.
        """
        task, cost = self.task, costs(self.task)
        return {
            "unit": "bits per value of the 8-bit grid, over all real frames; speaking: over frames that are no silence",
            "cost": "milliseconds_a_step: forward and backward of a batch, CPU time, one thread, median of 5",
            "bins": asdict(task.bins),
            "trained_on": {"corpus": repr(task.corpus), "rows": BATCH_ROWS, "frames": FRAMES, "rate": LEARNING_RATE},
            "sets": {key: {"frames": corpus.frames, "speakers": len(corpus.speaker_names),
                           "bands": bands_below(EVALUATION_MAX_HZ[key])} for key, corpus in task.sets.items()},
            "uniform": 8.0,
            "rows": {row: _row(found, cost[row]) for row, found in results.items()},
        }  # fmt: skip


def _row(found: Mapping[int, Any], cost: float) -> dict[str, Any]:
    first = next(iter(found.values()))
    return {
        **{key: first[key] for key in ("model", "config", "parameters", "steps")},
        "milliseconds_a_step": cost,
        "seeds": list(found),
        "loss": by_seed(found, "loss"),
        **{kind: {key: [each[kind][key] for each in found.values()] for key in first[kind]}
           for kind in ("bits", "speaking")},
    }  # fmt: skip
