"""One training loop for every model: from batches and a loss to weights, on whatever the machine has."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from causalcnn._extras import require
from causalcnn._files import check_writable
from causalcnn.training.budget import Budget
from causalcnn.training.device import Device, Precision, Runtime
from causalcnn.training.history import History
from causalcnn.training.interrupt import Interrupted, catch_signals
from causalcnn.training.optimization import OptimConfig
from causalcnn.training.prefetch import Prefetcher
from causalcnn.training.progress import Progress, duration
from causalcnn.training.train_state import Loss, TrainState

__all__ = ["train"]

Batches = Callable[[int, int, int], Any]
"""(step, rank, world_size) → the batch of this step for this process: a pure function."""
Evaluate = Callable[[Any], Mapping[str, float]]
"""Model in eval mode → numbers by name."""


def train(
    model: nn.Module,
    batches: Batches,
    budget: Budget | str,
    *,
    loss: Loss | None = None,
    learning_rate: float = 1e-3,
    warmup: float = 0.05,
    weight_decay: float = 0.0,
    clip: float = 1.0,
    seed: int = 0,
    device: Device = "auto",
    precision: Precision = "auto",
    evaluate: Evaluate | None = None,
    evaluations: int = 10,
    checkpoint: str | Path | None = None,
    checkpoint_every: Budget | str = "1 min",
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> History:
    """Train ``model`` in place: Adam, a learning rate that rises and falls once, gradients of bounded norm.

    The next batches are made in a thread while the model works. Started by ``torchrun``, it is one of several
    processes: each makes its own batches, gradients are averaged over them, and the first process writes and prints.
    The random numbers of the caller are left alone.

    Args:
        model: ends on the device, in eval mode.
        batches: (step, rank, world_size) → batch, a pure function: this is what makes a resumed training exact. A
            batch has ``.to(device)`` and perhaps ``.mask`` (real frames), or is a nesting of tensors.
        budget: ``"500 steps"``, ``"20 min"``, or a :class:`Budget`.
        loss: (model, batch) → loss, or (loss, metrics); default ``model.loss(batch)``.
        learning_rate: the highest; see :class:`~causalcnn.training.OptimConfig`.
        warmup: the fraction of the budget in which the learning rate rises.
        weight_decay: of matrices and kernels.
        clip: the largest norm of a gradient.
        seed: of everything random but the batches.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        precision: ``"auto"`` is bf16 where CUDA computes in it, else fp32; a CPU without bf16 units refuses it.
        evaluate: model in eval mode → numbers.
        evaluations: how often ``evaluate`` is called on the way, the last time at the end.
        checkpoint: a file (``.safetensors``) from which the training can be resumed, rewritten every
            ``checkpoint_every``, when it is interrupted, and at the end.
        checkpoint_every: steps or a time, as a budget.
        resume: go on from ``checkpoint``; start anew where it is not there. To exactly the numbers of an unbroken run,
            for a budget in steps, on the same CPU with the same number of threads; a GPU adds in an order of its own,
            so there to within rounding.
        settings: what else must be the same when it is resumed, such as the corpus; numbers and text.
        progress: show one line.

    Returns:
        The history, from the first step on, also when the training was resumed.

    Raises:
        NonFiniteLoss: the loss or its gradient became NaN or infinite. The message names the step.
        Interrupted: (a ``KeyboardInterrupt``) somebody pressed Ctrl-C; the step was finished, the checkpoint written.
        CheckpointError: the checkpoint is damaged, or of another training.
        FileExistsError: there is a checkpoint, and ``resume`` is False.
        OSError: the folder of the checkpoint cannot be written. A checkpoint that later does not fit on the disk is
            warned about only; the one before it stays.

    Example:
        >>> history = train(model, corpus_batches, "200 steps", checkpoint="run.safetensors")    # doctest: +SKIP
    """
    budget, every = Budget.of(budget), Budget.of(checkpoint_every)
    optim = OptimConfig(learning_rate, warmup, weight_decay, clip, seed)
    if evaluations < 1:
        raise ValueError(f"evaluations is {evaluations}; at least the one at the end. For none, give no evaluate")
    path = None if checkpoint is None else Path(checkpoint).expanduser()
    runtime = Runtime(device, precision)
    random_state = runtime.random_state()
    try:
        torch.manual_seed(seed)
        state = TrainState(model, loss, runtime, budget, optim, path, settings or {})
        if path is not None and _has_checkpoint(path, runtime, resume):
            state.load()
        with catch_signals() as stop_requested:
            return _loop(state, batches, stop_requested.is_set, evaluate, evaluations, every, progress)
    finally:
        model.eval()
        runtime.set_random_state(random_state)


def _loop(
    state: TrainState,
    batches: Batches,
    stop_requested: Callable[[], bool],
    evaluate: Evaluate | None,
    evaluations: int,
    every: Budget,
    progress: bool,
) -> History:
    history, runtime = state.history, state.runtime
    waited, began = history.waiting_seconds, time.perf_counter() - history.seconds
    line = Progress(progress and runtime.is_main)

    def make_batch(step: int) -> Any:
        return batches(step, runtime.rank, runtime.world_size)

    def elapsed() -> float:
        return time.perf_counter() - began

    state.model.train()
    try:
        with Prefetcher(make_batch, runtime.device, first=state.step) as data:
            while not state.is_finished and not state.interrupted:
                batch, frames = data.next()
                state.train_step(batch, frames, elapsed, stop_requested)
                history.waiting_seconds = waited + data.waiting_seconds
                line.update(state.fraction, _describe(state))
                if evaluate is not None and state.fraction * evaluations >= len(history.evaluations) + 1:
                    _evaluate(state, evaluate)
                since_save = state.step - state.tried_step, history.seconds - state.tried_seconds
                if state.checkpoint_path is not None and every.is_finished(*since_save):
                    state.save()
            state.read_reports()
            # On a GPU the clock is read a step late, so the budget may end between two looks at it.
            if evaluate is not None and state.is_finished and not _is_evaluated(state):
                _evaluate(state, evaluate)
        if runtime.world_size == 1:
            history.seconds = max(history.seconds, elapsed())
        saved = state.step == state.saved_step or state.save()
        line.update(state.fraction, _describe(state), last=True)
    finally:
        line.close()
    if state.interrupted and not state.is_finished:
        raise Interrupted(_how_to_resume(state, saved), history)
    return history


def _is_evaluated(state: TrainState) -> bool:
    evaluations = state.history.evaluations
    return bool(evaluations) and evaluations[-1]["step"] == state.step


def _evaluate(state: TrainState, evaluate: Evaluate) -> None:
    """Look at the model without disturbing it: whether it is evaluated changes no number of the training."""
    state.read_reports()
    random_state = state.runtime.random_state()
    state.model.eval()
    with torch.no_grad():
        values = {name: float(value) for name, value in evaluate(state.model).items()}
    state.model.train()
    state.runtime.set_random_state(random_state)
    state.history.evaluations.append({"step": state.step, **values})


def _describe(state: TrainState) -> str:
    """The text of the progress line."""
    history, fraction = state.history, state.fraction
    steps = f"{state.step}" if state.budget.steps is None else f"{state.step} of {state.budget.steps}"
    recent = statistics.fmean(history.loss[-20:]) if history.loss else float("nan")
    left = f", {duration(history.seconds * (1 - fraction) / fraction)} left" if 0 < fraction < 1 else ""
    rate, passed = f"{history.frames_per_second:,.0f} frames/s", duration(history.seconds)
    return f"step {steps}, loss {recent:.4g}, {rate}, {passed}{left}"


def _has_checkpoint(path: Path, runtime: Runtime, resume: bool) -> bool:
    """Whether there is a checkpoint to go on from; that one can be written is found out now, not in an hour."""
    require("safetensors", extra="train")
    found = runtime.gather(path.exists())
    if any(found) != all(found):
        raise FileNotFoundError(
            f"{str(path)!r} is seen by some processes only; all need the same file system to resume"
        )
    if found[0] and not resume:
        raise FileExistsError(
            f"there is a checkpoint {str(path)!r} of an earlier training: resume=True (--resume) goes on from it; "
            "to start anew remove it, or name another"
        )
    if runtime.is_main:
        check_writable(path)
    return found[0]


def _how_to_resume(state: TrainState, saved: bool) -> str:
    done, path = f"interrupted after step {state.step}", state.checkpoint_path
    if path is None:
        return f"{done}; no checkpoint was asked for, so only the model in memory has what was learnt"
    if not saved:
        return f"{done}; its checkpoint could not be written, {str(path)!r} is of step {state.saved_step}"
    return f"{done}; train again with resume=True (--resume) and the same settings to go on from {str(path)!r}"
