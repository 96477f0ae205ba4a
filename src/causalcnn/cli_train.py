"""``causalcnn train``: a model of the book, a corpus, a budget; out comes a model on disk with its card."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from causalcnn._files import check_writable
from causalcnn.models import (
    MODELS,
    CausalVQVAE2,
    CodeCorpus,
    CodePrior,
    IntegerCodePrior,
    LPWaveNet,
    Vocoder,
    WaveNet,
    load_model,
    save_model,
)
from causalcnn.models.model_io import model_files
from causalcnn.training import Budget, History, Interrupted, NonFiniteLoss, Runtime, train

__all__ = ["run_train"]

STOPPED, INTERRUPTED = 2, 130
HELD_OUT_BATCHES = 8
SAMPLE_MODELS = (WaveNet, Vocoder, LPWaveNet)
"""Models that read samples."""
CODE_MODELS = (CodePrior, IntegerCodePrior)
"""Models that read the codes of log-mel frames; the others read the frames."""


Parse = Callable[[list[str]], argparse.Namespace]


def run_train(options: argparse.Namespace, parse: Parse) -> int:
    """Carry out ``causalcnn train``.

    Args:
        options: what the parser of ``causalcnn.cli`` made of the command line.
        parse: that parser, for the command that stands in the card of a model that is there already.

    Returns:
        The exit code, 0 where the model was trained, 2 where that was not possible, 130 where it was interrupted.
    """
    try:
        _run(options, parse)
    except Interrupted as stop:
        print(f"causalcnn train: {stop}", file=sys.stderr)
        return INTERRUPTED
    except KeyboardInterrupt:
        print("causalcnn train: stopped at once; --resume goes on from the last checkpoint, if any", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError, ImportError, NonFiniteLoss) as problem:  # CheckpointError is a ValueError
        print(f"causalcnn train: {problem}", file=sys.stderr)
        return STOPPED
    return 0


def _run(options: argparse.Namespace, parse: Parse) -> None:
    budget = Budget.parse(options.budget)
    model_class, config = _configure(options)
    weights_file, card_file = model_files(options.out)
    checkpoint = weights_file.with_name(weights_file.stem + ".resume.safetensors")
    for file in (weights_file, card_file, checkpoint):
        check_writable(file)
    runtime = Runtime(options.device, options.precision)
    if options.rows < runtime.world_size or options.rows % runtime.world_size:
        raise ValueError(
            f"--rows is {options.rows}; it must be a multiple of the {runtime.world_size} processes that share it"
        )
    log: Callable[..., None] = print if runtime.is_main else lambda *words, **how: None
    reads_samples, reads_codes = (issubclass(model_class, some) for some in (SAMPLE_MODELS, CODE_MODELS))
    if options.vary and (reads_samples or reads_codes):
        what = "samples" if reads_samples else "codes"
        raise ValueError(f"--vary varies log-mel frames, and {options.model!r} reads {what}; leave it out")
    coder, codes_of = _load_coder(options, reads_codes)
    config = config if coder is None else _with_sizes_of(coder, config, options)
    if _is_finished(options, parse, weights_file, card_file, checkpoint):
        log(f"finished  {weights_file} is the model of this training already; nothing is left to do")
        return
    log(f"corpus    {options.corpus} (made now where it is new: an hour of speech takes half a minute)", flush=True)
    data = _load_data(options, reads_samples)
    if coder is not None:
        log("codes     of both corpora (made now where they are new: an hour of speech takes a minute)", flush=True)
        data = data.encoded_by(coder)
    config = _with_range_of(data.training, config, options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = model_class(config)
    if coder is not None and hasattr(model, "start_from"):  # the prior in integers has no codewords to start from
        model.start_from(coder)
    _log_settings(log, options, model, data, budget, runtime)
    history = train(
        model,
        _batches(options, data.training),
        budget,
        learning_rate=options.learning_rate,
        seed=options.seed,
        device=options.device,
        precision=options.precision,
        evaluate=None if data.held_out is None else _evaluation(options, data.held_out, runtime.device),
        checkpoint=checkpoint,
        checkpoint_every=options.checkpoint_every,
        resume=options.resume,
        settings={
            "corpus": data.description,
            "rows": options.rows,
            "frames": options.frames,
            "vary": options.vary,
            **codes_of,
        },
    )
    if not runtime.is_main:
        return
    kept = model.rounded() if isinstance(model, IntegerCodePrior) and model.config.rounded else model
    try:
        save_model(weights_file, kept, _card(options, budget, data, history) | codes_of)
    except OSError as error:
        if checkpoint.exists():
            raise OSError(
                f"{error}. The training is not lost: its checkpoint is {str(checkpoint)!r}. When there is room, "
                "give the same line with --resume"
            ) from error
        raise
    checkpoint.unlink(missing_ok=True)  # its work is done; until the model was safe it was the only copy
    log(f"model     {weights_file} ({weights_file.stat().st_size / 1e6:.2f} MB), card {card_file}")
    if history.waiting_fraction > 0.1:
        waited = f"{history.waiting_fraction:.0%}"
        log(f"note      the model waited for data {waited} of the time: larger --rows or --frames may help")
    log(f"use it    from causalcnn.models import load_model; model, card = load_model({str(options.out)!r})")


# ----------------------------------------------------------------------------------- what is there already
def _is_finished(
    options: argparse.Namespace, parse: Parse, weights_file: Path, card_file: Path, checkpoint: Path
) -> bool:
    """Whether this training has been finished before. A model is never overwritten, neither by it nor by another."""
    there = [file for file in (weights_file, card_file) if file.exists()]
    if not there or (options.resume and checkpoint.exists()):  # stopped while the model was written: it is made again
        return False
    way_out = "name another --out, or remove the files of the model"
    if not options.resume:
        raise FileExistsError(f"there is a model {str(there[0])!r}, which would be overwritten; {way_out}")
    if len(there) < 2:
        missing = card_file if weights_file.exists() else weights_file
        raise FileExistsError(f"there is {str(there[0])!r} without its {missing.name!r}, and no checkpoint; {way_out}")
    if differences := _differences_from(load_model(weights_file)[1], options, parse):
        raise FileExistsError(f"there is a model {str(there[0])!r} of another training ({differences}); {way_out}")
    return True


def _differences_from(card: Mapping[str, Any], options: argparse.Namespace, parse: Parse) -> str:
    """In what the command that made a model differs from this one, in words; ``""`` where it would make the same."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            made_by = parse(shlex.split(str(card.get("command", "")))[1:])
    except SystemExit:
        return "its card has no command that this version knows"
    free = {"arguments", "run", "out", "resume", "device", "checkpoint_every"}
    names = [name for name in vars(made_by) | vars(options) if name not in free]
    pairs = ((name, getattr(made_by, name, None), getattr(options, name, None)) for name in names)
    return ", ".join(f"{name}: {there} there, {now} now" for name, there, now in pairs if there != now)


# ------------------------------------------------------------------------------------------------ model
def _configure(options: argparse.Namespace) -> tuple[Any, Any]:
    """The class of the model, and its config: a preset with the changes of ``--set``."""
    if options.model not in MODELS:
        raise ValueError(f"no model is called {options.model!r}; there are {', '.join(MODELS)}")
    model_class: Any = MODELS[options.model]
    config_class, preset = model_class.Config, options.preset
    make = getattr(config_class, preset, None)
    config = make() if callable(make) and not preset.startswith("_") else None
    if not isinstance(config, config_class):
        raise ValueError(f"{options.model!r} has no preset {preset!r}; try tiny or base")
    known = {field.name for field in dataclasses.fields(config_class)}
    changes = {}
    for change in options.changes:
        name, equals, value = change.partition("=")
        if not equals or name not in known:
            raise ValueError(
                f"--set {change!r} changes nothing; write NAME=VALUE, NAME one of {', '.join(sorted(known))}"
            )
        try:
            changes[name] = json.loads(value)
        except ValueError:
            changes[name] = value
    try:
        config = dataclasses.replace(config, **changes)
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            model_class(config)  # before the corpus is made, which may take longer than the reader's patience
    except (TypeError, AttributeError) as problem:
        raise ValueError(f"--set {' '.join(options.changes)}: {problem}") from problem
    return model_class, config


def _load_coder(options: argparse.Namespace, reads_codes: bool) -> tuple[CausalVQVAE2 | None, dict[str, Any]]:
    """The VQ-VAE-2 whose codes are learned, where the model reads codes; and what a card says of it."""
    path = options.codes_of
    if not reads_codes:
        if path is not None:
            raise ValueError(
                f"--codes-of is for a model that reads codes, and {options.model!r} does not; leave it out"
            )
        return None, {}
    if path is None:
        raise ValueError(
            "--codes-of is missing: whose codes? Name a trained vqvae2, such as book/checkpoints/vqvae2-tiny"
        )
    coder, card = load_model(path)
    if not isinstance(coder, CausalVQVAE2):
        raise ValueError(f"--codes-of is {str(path)!r}, a {card['model']!r}; codes come from a 'vqvae2'")
    return coder, {"codes_of": {"name": model_files(path)[0].stem, "sha256": card["sha256"]}}


def _with_sizes_of(coder: CausalVQVAE2, config: Any, options: argparse.Namespace) -> Any:
    """The config of a prior with as many codes as the coder makes."""
    sizes = {name: getattr(coder.config, name) for name in ("top_cells", "bottom_cells", "num_codes")}
    given = {change.partition("=")[0] for change in options.changes}
    if wrong := [name for name in sizes if name in given and getattr(config, name) != sizes[name]]:
        raise ValueError(f"--set {wrong[0]} is that of the codes, {sizes[wrong[0]]}; leave it out")
    return dataclasses.replace(config, **sizes)


def _with_range_of(corpus: Any, config: Any, options: argparse.Namespace) -> Any:
    """The config of a model of bins with the range of its training corpus, unless the range was given."""
    given = {change.partition("=")[0] for change in options.changes}
    if not hasattr(config, "low_db") or given & {"low_db", "high_db"}:
        return config
    from causalcnn.speech import UniformBins

    bins = UniformBins.fitted(corpus)
    return dataclasses.replace(config, low_db=bins.low_db, high_db=bins.high_db)


# ------------------------------------------------------------------------------------------------- data
@dataclass(frozen=True)
class Data:
    """The corpora of a training.

    Attributes:
        training: the corpus to train on.
        held_out: a corpus of speakers that are never trained on, if there are any.
        description: both corpora in words and numbers, for the card.
    """

    training: Any
    held_out: Any | None
    description: dict[str, Any]

    def encoded_by(self, coder: CausalVQVAE2) -> Data:
        """The codes of both corpora."""
        held_out = None if self.held_out is None else CodeCorpus.of(coder, self.held_out)
        return dataclasses.replace(self, training=CodeCorpus.of(coder, self.training), held_out=held_out)


def _load_data(options: argparse.Namespace, reads_samples: bool) -> Data:
    from causalcnn.speech import AudioFolder, EmbeddedSpeech, FeatureCorpus, SampleCorpus, SpokenDigits

    corpus: Any = SampleCorpus if reads_samples else FeatureCorpus
    if options.corpus == "embedded":
        voices = 40 if options.speakers is None else options.speakers
        seconds = 3600.0 if options.seconds_of_speech is None else options.seconds_of_speech
        source = EmbeddedSpeech("train", speakers=voices, seconds=seconds, seed=0)
        other = EmbeddedSpeech("validation", speakers=10, seconds=min(120.0, max(20.0, seconds / 10)), seed=0)
        return _describe(corpus.of(source), corpus.of(other), repr(source))
    folder = Path(options.corpus).expanduser()
    if options.corpus != "fsdd" and not folder.is_dir():
        raise ValueError(f"--corpus is {options.corpus!r}; it is embedded, fsdd, or a folder, and there is none here")
    if options.speakers is not None or options.seconds_of_speech is not None:
        raise ValueError("--speakers and --seconds-of-speech are for --corpus embedded; a recorded corpus has its own")
    recorded: Any = SpokenDigits() if options.corpus == "fsdd" else AudioFolder(folder, on_bad="skip")
    whole = corpus.of(recorded)
    name = "Free Spoken Digit Dataset" if options.corpus == "fsdd" else f"folder {folder.name!r}"
    speakers = whole.speaker_names
    if len(speakers) < 2:
        return _describe(whole, None, name)
    apart = speakers[-max(1, len(speakers) // 10) :]  # the last tenth, at least one: never trained on
    return _describe(whole.select_speakers(speakers[: -len(apart)]), whole.select_speakers(apart), name)


def _describe(training: Any, held_out: Any | None, name: str) -> Data:
    def size(corpus: Any) -> dict[str, Any]:
        known = {
            "clips": len(corpus),
            "seconds": round(corpus.seconds, 1),
            "speakers": len(corpus.speaker_names),
        }
        return known | ({"level_db": round(corpus.level_db, 2)} if hasattr(corpus, "level_db") else {})

    held = None if held_out is None else size(held_out)
    return Data(training, held_out, {"name": name, **size(training), "held_out": held})


def _piece(corpus: Any, step: int, frames: int, **how: int) -> Any:
    """A batch of pieces of so many frames, in the unit that the corpus counts in."""
    from causalcnn.speech import HOP_SAMPLES, SampleCorpus

    if isinstance(corpus, SampleCorpus):
        return corpus.batch(step, samples=frames * HOP_SAMPLES, **how)
    return corpus.batch(step, frames=frames, **how)


def _batches(options: argparse.Namespace, corpus: Any) -> Callable[[int, int, int], Any]:
    from causalcnn.speech import augment

    def batches(step: int, rank: int, world_size: int) -> Any:
        rows = options.rows // world_size
        batch = _piece(corpus, step, options.frames, rows=rows, seed=options.seed, rank=rank, world_size=world_size)
        return augment(batch, seed=options.seed, step=step, rank=rank) if options.vary else batch

    return batches


def _evaluation(options: argparse.Namespace, corpus: Any, device: Any) -> Callable[[Any], dict[str, float]]:
    """A function that measures the loss and its metrics on pieces of other speakers, the same pieces each time."""
    pieces = [_piece(corpus, i, options.frames, rows=options.rows, seed=1) for i in range(HELD_OUT_BATCHES)]

    def evaluate(model: Any) -> dict[str, float]:
        sums: dict[str, float] = {}
        for piece in pieces:
            loss, metrics = model.loss(piece.to(device))
            for name, value in {"loss": loss, **metrics}.items():
                sums[name] = sums.get(name, 0.0) + float(value) / len(pieces)
        return sums

    return evaluate


# ----------------------------------------------------------------------------------------------- report
def _log_settings(
    log: Callable[..., None], options: argparse.Namespace, model: Any, data: Data, budget: Budget, runtime: Runtime
) -> None:
    size = data.description
    log(f"          {size['name']}: {size['clips']} clips, {size['seconds']:.0f} s, {size['speakers']} speakers")
    if held := size["held_out"]:
        log(f"held out  {held['clips']} clips, {held['seconds']:.0f} s, {held['speakers']} other speakers")
    else:
        log("held out  nothing: the corpus has one speaker only, so how it does on others is not seen")
    log(f"model     {model.name}, preset {options.preset}, {sum(p.numel() for p in model.parameters()):,} parameters")
    field, rate_hz = getattr(model, "field", None), 16_000 if isinstance(model, SAMPLE_MODELS) else 100
    said = "not causal: reads the future, too" if field is None else field.axis("time").with_rate(rate_hz)
    log(f"field     {said}")
    log(f"device    {runtime}, {runtime.precision}")
    log(f"budget    {budget}, {options.rows} pieces of {options.frames / 100:g} s in a step", flush=True)


def _card(options: argparse.Namespace, budget: Budget, data: Data, history: History) -> dict[str, Any]:
    metrics = {"training": _rounded(history.last())}
    if history.evaluations:
        metrics["held_out"] = _rounded(history.evaluations[-1])
    return {
        "command": shlex.join(["causalcnn", *options.arguments]),
        "preset": options.preset,
        "corpus": data.description,
        "seed": options.seed,
        "budget": str(budget),
        "rows": options.rows,
        "frames_of_a_row": options.frames,
        "learning_rate": options.learning_rate,
        "vary": options.vary,
        "training": history.summary(),
        "metrics": metrics,
        "loss_curve": [[step, round(loss, 5)] for step, loss in history.curve("loss", 60)],
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value if isinstance(value, int) else float(f"{value:.5g}") for name, value in values.items()}
