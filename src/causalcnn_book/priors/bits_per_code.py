"""How many bits does a code cost, given the codes before it? Counts and networks, in one table and one unit.

    causalcnn experiment code-prior --out book/measurements/code-prior.json

Every row prices the same codes of the shipped VQ-VAE-2, of speakers that nobody has trained on. Several processes can
fill the table: each with other ``--rows`` or ``--seeds`` and the same ``--runs``, then one command with all rows and
seeds writes it. A training that is stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from typing_extensions import override

from causalcnn.models import CausalVQVAE2, CodeCorpus, CodePrior, CodePriorConfig, load_model, save_model
from causalcnn.speech import FRAMES_PER_SECOND, EmbeddedSpeech, FeatureCorpus, evaluation_sets
from causalcnn.training import train
from causalcnn_book.experiment import Experiment, Results, by_seed, option, summary
from causalcnn_book.priors.count_models import CONTEXTS, CountModel
from causalcnn_book.priors.free_running import LAGS, PROMPT_FRAMES, FreeRuns, price

__all__ = ["BitsPerCode", "Task", "networks"]

ROWS = ("uniform", "unigram", "one neighbor", "two neighbors", "neighbor and top", "small", "larger")
SETS = ("embedded", "prompts", "librispeech")
"""What is scored. The recorded digits have nothing above 4,000 Hz, where a third of the codes are."""
JUDGE = "one neighbor"
ROWS_OF_A_STEP, FRAMES_OF_A_ROW = 1, 128
LEARNING_RATE = 6e-3
"""In trainings of one to two minutes, scored on validation speakers, 6e-3 was better than 3e-3, and in the same time
one piece a step was better than two, two better than four, and four than eight. Ten minutes are longer."""


def networks() -> dict[str, CodePriorConfig]:
    """List the rows of networks.

    Returns:
        Row → its config.
    """
    return {"small": CodePriorConfig.tiny(), "larger": CodePriorConfig.base()}


@dataclass(frozen=True)
class Task:
    """What every row is trained and scored on.

    Attributes:
        coder: the model that makes the codes.
        corpus: the codes of training speakers.
        sets: codes to score, by name.
        runs: the beginnings that networks continue.
        about: what this is, in words.
    """

    coder: CausalVQVAE2
    corpus: CodeCorpus
    sets: Mapping[str, CodeCorpus]
    runs: FreeRuns
    about: str

    @classmethod
    def usual(
        cls, coder: CausalVQVAE2, *, speakers: int = 40, seconds: float = 3600.0, scored_seconds: float = 120.0
    ) -> Task:
        """Make an hour of embedded speech to train on; unseen embedded speakers and what real speech there is to score.

        Args:
            coder: the model that makes the codes.
            speakers: how many there are to train on.
            seconds: seconds of their speech.
            scored_seconds: about how many seconds of each set are scored.

        Returns:
            The task.

        Raises:
            ImportError: the extra ``speech`` is not installed.
        """
        source = EmbeddedSpeech("train", speakers=speakers, seconds=seconds)
        features = FeatureCorpus.of(source)
        corpus = CodeCorpus.of(coder, features)
        unheard = evaluation_sets(scored_seconds, level_db=features.level_db)
        sets = {name: CodeCorpus.of(coder, unheard[name]) for name in SETS if name in unheard}
        judge = CountModel(coder.config.num_codes, CONTEXTS[JUDGE])
        judge.fit(corpus)
        runs = FreeRuns.of(coder, unheard["embedded"], features.level_db, judge)
        return cls(coder, corpus, sets, runs, f"codes of {source!r}, scored on {scored_seconds:g} s of each set")


def _means(per_clip: Sequence[tuple[Any, Any]]) -> dict[str, float]:
    """The mean bits of a top code, of a bottom code, and of all; and bits per second."""
    top, bottom = (sum(float(clip[level].sum()) for clip in per_clip) for level in (0, 1))
    frames = sum(len(clip[0]) for clip in per_clip)
    cells = [per_clip[0][level].shape[1] for level in (0, 1)]
    return {
        "top": round(top / (frames * cells[0]), 4),
        "bottom": round(bottom / (frames * cells[1]), 4),
        "all": round((top + bottom) / (frames * sum(cells)), 4),
        "per_second": round((top + bottom) / frames * FRAMES_PER_SECOND, 1),
    }


@dataclass
class BitsPerCode(Experiment):
    """How many bits does a code cost, given the codes before it? Counts and networks, in one table and one unit.

    Rows are five tables of counts, which are counted once, and two networks, each trained with three seeds on the same
    number of pieces, so that a busy machine changes no number. A training is about ten minutes of one core, all are an
    hour, half of it for two processes that share the rows. Trained networks are kept beside the finished rows.

    Attributes:
        name: the command's name.
        spread: that over the seeds.
        rows: the tables of counts and the networks.
        seeds: each draws weights, pieces and samples anew.
        coder: the model whose codes are priced.
        budget: how long the small network is trained.
        larger_budget: how long the larger network is trained.

    Example:
        >>> from causalcnn_book.priors.bits_per_code import BitsPerCode
        >>> BitsPerCode.rows[:2], BitsPerCode.rows[-2:]
        (('uniform', 'unigram'), ('small', 'larger'))
        >>> BitsPerCode().seeds_of("unigram", (0, 1, 2)), BitsPerCode().seeds_of("small", (0, 1, 2))
        ((0,), (0, 1, 2))
    """

    name = "code-prior"
    spread = (
        "networks: one value for each seed, of the weights and of the training pieces, and half of the 95 % interval"
    )
    rows = ROWS
    seeds = (0, 1, 2)

    coder: Path = option(Path("book/checkpoints/vqvae2-tiny"), "the model whose codes are priced")
    budget: str = option("7500 steps", "of the small network's training")
    larger_budget: str = option("2600 steps", "of the larger network's training")

    @cached_property
    def loaded(self) -> tuple[CausalVQVAE2, dict[str, Any]]:
        """The model that makes the codes, and its card."""
        return load_model(self.coder)

    @cached_property
    def task(self) -> Task:
        """What every row is trained and scored on."""
        return Task.usual(self.loaded[0])

    @override
    def settings(self, row: str, seed: int) -> dict[str, Any]:
        return {"coder": self.loaded[1]["sha256"]} | ({"budget": self._budget(row)} if row in networks() else {})

    def _budget(self, row: str) -> str:
        return self.larger_budget if row == "larger" else self.budget

    @override
    def seeds_of(self, row: str, seeds: Sequence[int]) -> Sequence[int]:
        """Measure the tables of counts once: nothing in them is random.

        Args:
            row: one of :attr:`rows`.
            seeds: those that were asked for.

        Returns:
            All seeds for a network, the first for a table of counts.
        """
        return seeds if row in networks() else seeds[:1]

    @override
    def measure(self, row: str, seed: int) -> dict[str, Any]:
        """Count or train one row, and score it.

        Args:
            row: one of :attr:`rows`.
            seed: draws the weights, the pieces and the samples.

        Returns:
            ``bits`` a code for each set, of ``top``, ``bottom`` and ``all`` codes, and ``per_second``. For counts also
            their ``strengths``; for a network ``parameters``, ``steps``, ``seconds`` of its training, the ``config``,
            the ``loss`` (means of a twentieth of the training), and what :meth:`FreeRuns.measure` returns.
        """
        if row in networks():
            return self._train_and_score(row, seed)
        task = self.task
        model = CountModel(task.coder.config.num_codes, CONTEXTS.get(row))
        model.fit(task.corpus)
        bits = {name: _means([model.bits(codes) for codes in corpus]) for name, corpus in task.sets.items()}
        return {"bits": bits, "strengths": model.strengths}

    def _train_and_score(self, row: str, seed: int) -> dict[str, Any]:
        task, kept = self.task, self.folder / f"{row}-{seed}"
        checkpoint = kept.with_name(f"{kept.name}.resume.safetensors")
        sizes = {name: getattr(task.coder.config, name) for name in ("top_cells", "bottom_cells", "num_codes")}
        config = networks()[row].with_(**sizes)
        torch.manual_seed(seed)
        model = CodePrior(config)
        model.start_from(task.coder)
        history = train(
            model,
            lambda step, rank, world_size: task.corpus.batch(
                step, rows=ROWS_OF_A_STEP, frames=FRAMES_OF_A_ROW, seed=seed
            ),
            self._budget(row),
            learning_rate=LEARNING_RATE,
            seed=seed,
            device="cpu",
            checkpoint=checkpoint,
            checkpoint_every="3 min",
            resume=True,
            settings={"task": task.about},
        )
        twentieth = max(1, history.steps // 20)
        losses = [history.loss[i : i + twentieth] for i in range(0, history.steps, twentieth)]
        about = {"row": row, "seed": seed, "budget": self._budget(row), "task": task.about}
        save_model(kept, model, about)
        model = load_model(kept)[0]
        found = {
            "bits": {name: _means([self._priced(model, codes) for codes in corpus])
                     for name, corpus in task.sets.items()},
            "parameters": sum(p.numel() for p in model.parameters()),
            "steps": history.steps,
            "seconds": round(history.seconds, 1),
            "config": asdict(config),
            "loss": [round(sum(part) / len(part), 4) for part in losses],
            "runs": task.runs.measure(model, seed),
        }  # fmt: skip
        checkpoint.unlink()
        return found

    def _priced(self, model: CodePrior, codes: Any) -> tuple[Any, Any]:
        top, bottom = model.split(price(model, codes).double())
        return top[0], bottom[0]

    @override
    def table(self, results: Results) -> dict[str, Any]:
        """Write for each row its bits on every set, and for networks how they were trained and what they write.

        Args:
            results: row → seed → what :meth:`measure` returned.

        Returns:
            The ``unit``, what was ``trained_on``, the ``sets``, ``free_running`` (what its windows are), and ``rows``.
        """
        task = self.task
        return {
            "unit": "bits per code, over all codes of all frames; per_second: bits per second of all codes together",
            "coder": {"name": self.coder.name, "sha256": self.loaded[1]["sha256"]},
            "trained_on": {"task": task.about, "rows": ROWS_OF_A_STEP, "frames": FRAMES_OF_A_ROW,
                           "learning_rate": LEARNING_RATE},
            "sets": {name: {"seconds": round(corpus.seconds, 1), "clips": len(corpus),
                            "speakers": len(corpus.speaker_names)} for name, corpus in task.sets.items()},
            "free_running": {"prompt_frames": PROMPT_FRAMES, "lags": list(LAGS), "rows": len(task.runs.true.top),
                             "judge": JUDGE,
                             "windows": "a lag's numbers are of the frames after the lag before it, up to it"},
            "rows": {row: _row(list(found.values())) for row, found in results.items()},
        }  # fmt: skip


def _row(found: list[dict[str, Any]]) -> dict[str, Any]:
    first = found[0]
    bits = {
        name: {level: summary([each["bits"][name][level] for each in found]) for level in levels}
        for name, levels in first["bits"].items()
    }
    if "parameters" not in first:
        return {"bits": bits, "strengths": first["strengths"]}
    numbered = dict(enumerate(found))
    return {
        "parameters": first["parameters"],
        "config": first["config"],
        "bits": bits,
        **{key: by_seed(numbered, key) for key in ("steps", "seconds", "loss", "runs")},
    }
