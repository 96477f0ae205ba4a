"""How many bits does a sample of speech cost? Networks and what engineers had before them, in one table and one unit.

    causalcnn experiment bits-per-sample --out book/measurements/bits-per-sample.json

Every row prices the same 256 μ-law cells of the same samples of speakers that nobody has trained on: the distributions
of mixtures and of linear prediction are integrated over the cell. Real recordings are brought to the level of the
training speech, one gain for each speaker. Several processes can fill the table: each with other ``--rows`` and the
same ``--runs``, then one command with all rows writes it. A training that is stopped goes on where it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from causalcnn.models import LPWaveNet, Vocoder, VocoderConfig, WaveNet, WaveNetConfig, load_model, save_model
from causalcnn.speech import HOP_SAMPLES, RATE_HZ, EmbeddedSpeech, FeatureCorpus, SampleCorpus, evaluation_sounds
from causalcnn.training import train
from causalcnn_book.experiment import Experiment, Results, option, summary
from causalcnn_book.wavenet.linear_prediction import (
    CopySample,
    LinearPrediction,
    SampleHistogram,
    SamplePredictor,
    Uniform,
)

__all__ = ["BitsPerSample", "Task", "networks", "predictors", "score"]

ROWS = (
    "uniform", "histogram", "copy", "linear", "linear, mel 0", "linear, mel 1", "linear, mel 2", "linear, mel 3",
    "2 ms", "16 ms", "64 ms", "mixture", "mel",
)  # fmt: skip
"""The names of :func:`predictors` and :func:`networks`."""
MOST_LOOKAHEAD_FRAMES = 3
"""The last samples of a clip, whose frame is not complete with so much look-ahead, are priced in no row."""
ROWS_OF_A_STEP, SAMPLES_OF_A_ROW = 1, 8_000
LEARNING_RATE = 5e-3
"""In trainings of 150 steps 8e-3 was better than 3e-3, and 3e-3 than 1e-3; ten minutes are longer."""


def predictors() -> dict[str, SamplePredictor]:
    """Make the rows without a network; those from the mel have a look-ahead of 0 to 3 frames.

    Returns:
        Row → its model, which is fitted to nothing yet.
    """
    from_mel = {f"linear, mel {frames}": LinearPrediction(frames) for frames in range(MOST_LOOKAHEAD_FRAMES + 1)}
    return {
        "uniform": Uniform(),
        "histogram": SampleHistogram(),
        "copy": CopySample(),
        "linear": LinearPrediction(),
        **from_mel,
    }


def networks() -> dict[str, WaveNetConfig]:
    """List the rows of networks; each changes one thing of ``"16 ms"``, the row to compare with.

    Three read as far as their name says, with the same number of weights. Then there is a mixture of logistics in place
    of the 256 classes, and the log-mel frame beside each sample, with a look-ahead of one frame, which is the best for
    linear prediction.

    Returns:
        Row → its config.
    """
    base = WaveNetConfig(layers=8, skip_channels=64, head_channels=64, bias=True)
    sizes = {each: getattr(base, each) for each in ("layers", "skip_channels", "head_channels", "bias")}
    return {
        "2 ms": base.with_(layers=4, cycles=2),
        "16 ms": base,
        "64 ms": base.with_(layers=10, residual_channels=NARROW, gate_channels=NARROW),
        "mixture": base.with_(output="logistic-mixture-4"),
        "mel": VocoderConfig(**sizes, lookahead_frames=1),
    }


NARROW = 28
"""Channels of ten blocks that have as many weights as eight of 32 channels, to 3 % (a test counts them)."""


@dataclass(frozen=True)
class Task:
    """What every row is trained and scored on.

    Attributes:
        corpus: the sounds to train on.
        sets: the sounds to score on, by name.
        about: both in words.
    """

    corpus: SampleCorpus
    sets: Mapping[str, SampleCorpus]
    about: str

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
        source = EmbeddedSpeech("train", speakers=speakers, seconds=seconds)
        sets = evaluation_sounds(scored_seconds, level_db=FeatureCorpus.of(source).level_db)
        return cls(SampleCorpus.of(source), sets, f"{source!r}, scored on {scored_seconds:g} s of each set")


@torch.no_grad()
def log_probs(model: Any, samples: Tensor) -> Iterator[Tensor]:
    """Price the samples of a clip, a second after the other, so that a long one fits into memory.

    Args:
        model: a network in eval mode, or a predictor.
        samples: in −1 … 1 at 16,000 Hz, ``(time,)``.

    Yields:
        Log-probabilities in nats of the next samples, ``(some,)``.
    """
    if isinstance(model, SamplePredictor):
        yield model.log_prob(samples[None])[0]
        return
    if isinstance(model, LPWaveNet):
        yield from _log_probs_of_numbers(model, samples)
        return
    network = model.wavenet if isinstance(model, Vocoder) else model
    bins = network.to_bins(samples[None])
    state, start = None, 0
    for second in range(0, len(samples), RATE_HZ):
        if isinstance(model, Vocoder):
            piece = samples[None, None, second : second + RATE_HZ]
        else:
            piece = model.to_input(bins[:, second : second + RATE_HZ])
        parameters, state = model.step(piece, model.initial_state(piece) if state is None else state)
        end = start + parameters.shape[2]
        yield network.distribution.log_prob(parameters.movedim(1, -1), bins[:, start:end])[0]
        start = end


def _log_probs_of_numbers(model: LPWaveNet, samples: Tensor) -> Iterator[Tensor]:
    """The same of a model that reads numbers, not bins."""
    state, start = model.initial_state(samples[None, None]), 0
    for piece in samples[None, None].split(RATE_HZ, dim=2):
        gaussians, state = model.step(piece, state)
        yield model.cell_log_prob(gaussians, samples[None, start:])[0]
        start += gaussians.shape[2]


def score(model: Any, corpus: SampleCorpus) -> float:
    """Measure the bits per sample of a corpus, over the samples that every row can price.

    Args:
        model: a network in eval mode, or a predictor.
        corpus: the sounds to price.

    Returns:
        The mean over all samples, in bits.
    """
    total, count = 0.0, 0
    for samples in corpus:
        priced = HOP_SAMPLES * max(0, len(samples) // HOP_SAMPLES - MOST_LOOKAHEAD_FRAMES)
        total -= float(torch.cat(list(log_probs(model, samples)))[:priced].double().sum()) / math.log(2)
        count += priced
    return total / count


@dataclass
class BitsPerSample(Experiment):
    """How many bits does a sample of speech cost? Networks and what engineers had before them, in one unit.

    Rows are eight predictors without a network, which are counted or fitted once, and five WaveNets, each trained with
    three seeds on the same number of pieces, so that a busy machine changes no number. A training is about ten minutes
    of one core (nine for the mixture, twelve with mel), all are two and a half hours, half of it for two processes that
    share the rows. Trained networks are kept beside the finished rows.

    Attributes:
        name: the command's name.
        spread: that over the seeds.
        rows: the predictors and the networks.
        seeds: each draws weights and pieces anew.
        budget: how long each network is trained.

    Example:
        >>> from causalcnn_book.wavenet.bits_per_sample import BitsPerSample
        >>> BitsPerSample.rows[:4], BitsPerSample.rows[-5:]
        (('uniform', 'histogram', 'copy', 'linear'), ('2 ms', '16 ms', '64 ms', 'mixture', 'mel'))
        >>> BitsPerSample().seeds_of("linear", (0, 1, 2)), BitsPerSample().seeds_of("mel", (0, 1, 2))
        ((0,), (0, 1, 2))
    """

    name = "bits-per-sample"
    spread = (
        "networks: one value for each seed, of the weights and of the training pieces, and half of the 95 % interval"
    )
    rows = ROWS
    seeds = (0, 1, 2)

    budget: str = option("5000 steps", "of every network's training")

    @cached_property
    def task(self) -> Task:
        """What every row is trained and scored on."""
        return Task.usual()

    @override
    def seeds_of(self, row: str, seeds: Sequence[int]) -> Sequence[int]:
        """Measure the rows without a network once: nothing in them is random that matters.

        Args:
            row: one of :attr:`rows`.
            seeds: those that were asked for.

        Returns:
            All seeds for a network, the first for a predictor.
        """
        return seeds if row in networks() else seeds[:1]

    @override
    def measure(self, row: str, seed: int) -> dict[str, Any]:
        """Fit or train one row, and score it.

        Args:
            row: one of :attr:`rows`.
            seed: draws the weights and the pieces.

        Returns:
            ``bits`` a sample for each set, ``parameters``; for a network also ``steps``, ``seconds`` of its training,
            the ``config``, and the ``loss`` (means of a twentieth of the training).
        """
        if row in networks():
            return self._train_and_score(row, seed)
        model = predictors()[row]
        model.fit(self.task.corpus, seed=seed)
        return {"bits": self._scores(model), "parameters": sum(p.numel() for p in model.parameters())}

    def _train_and_score(self, row: str, seed: int) -> dict[str, Any]:
        config, task = networks()[row], self.task
        kept, checkpoint = (self.folder / f"{row.replace(' ', '-')}-{seed}{end}" for end in ("", ".resume.safetensors"))
        torch.manual_seed(seed)
        model = Vocoder(config) if isinstance(config, VocoderConfig) else WaveNet(config)
        history = train(
            model,
            lambda step, rank, world_size: task.corpus.batch(
                step, rows=ROWS_OF_A_STEP, samples=SAMPLES_OF_A_ROW, seed=seed
            ),
            self.budget,
            learning_rate=LEARNING_RATE,
            seed=seed,
            device="cpu",
            checkpoint=checkpoint,
            resume=True,
            settings={"task": task.about},
        )
        twentieth = max(1, history.steps // 20)
        losses = [history.loss[i : i + twentieth] for i in range(0, history.steps, twentieth)]
        about = {"row": row, "seed": seed, "budget": self.budget, "task": task.about}
        save_model(kept, model, about)
        found = {
            "bits": self._scores(load_model(kept)[0]),
            "parameters": sum(p.numel() for p in model.parameters()),
            "steps": history.steps,
            "seconds": round(history.seconds, 1),
            "config": asdict(config),
            "loss": [round(sum(part) / len(part), 4) for part in losses],
        }
        checkpoint.unlink()
        return found

    def _scores(self, model: Any) -> dict[str, float]:
        return {name: round(score(model, corpus), 4) for name, corpus in self.task.sets.items()}

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """Write for each row its bits on every set, and for networks how far they read and how they were trained.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            The ``unit``, what was ``trained_on``, the ``sets``, and ``rows``.
        """
        task = self.task
        return {
            "unit": "bits per sample of 256 μ-law cells, over all samples but the last three or four hops of a clip",
            "trained_on": {"task": task.about, "rows": ROWS_OF_A_STEP, "samples": SAMPLES_OF_A_ROW,
                           "learning_rate": LEARNING_RATE},
            "sets": {name: {"seconds": round(corpus.seconds, 1), "clips": len(corpus),
                            "speakers": len(corpus.speaker_names)} for name, corpus in task.sets.items()},
            "rows": {row: _row(row, list(found.values())) for row, found in results.items()},
        }  # fmt: skip


def _row(row: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    first = found[0]
    bits = {name: summary([each["bits"][name] for each in found]) for name in first["bits"]}
    if row not in networks():
        return {"parameters": first["parameters"], "bits": bits}
    field = WaveNet(networks()[row]).sample_field
    return {
        "parameters": first["parameters"],
        "past_samples": int(field.past),
        "past_ms": round(1000 * float(field.past) / RATE_HZ, 2),
        "config": first["config"],
        "bits": bits,
        "steps": [each["steps"] for each in found],
        "seconds": [each["seconds"] for each in found],
        "loss": [each["loss"] for each in found],
    }
