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
"""A pure function of step, rank and world size that returns the batch of this step for this process."""
Evaluate = Callable[[Any], Mapping[str, float]]
"""A function of the model in eval mode that returns numbers by name."""


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
    """Train a model in place.

    The weights are moved by Adam, with a learning rate that rises once and falls, and gradients of bounded norm; see
    :class:`OptimConfig`. A thread makes the next batches while the model works. The random numbers of the caller are
    left alone.

    Started by ``torchrun``, this is one of several processes. Each makes its own batches, gradients are averaged over
    them, and the first process writes the files and prints.

    Args:
        model: the model. It ends on the device, in eval mode.
        batches: a function of ``(step, rank, world_size)`` that returns the batch of this step for this process. It
            must be pure, because this makes a resumed training exact. A batch has a method ``to(device)`` and perhaps
            an attribute ``mask`` (real frames), or is a nesting of tuples, lists and dicts of tensors.
        budget: how long to train, such as ``"500 steps"``, ``"20 min"``, or a :class:`Budget`.
        loss: a function of ``(model, batch)`` that returns the loss, a scalar, or a pair of the loss and a dict of
            metrics, scalars by name. By default ``model.loss(batch)``.
        learning_rate: the highest learning rate, above 0.
        warmup: the fraction of the budget in which the learning rate rises, at least 0 and below 1.
        weight_decay: weight decay of matrices and kernels, ≥ 0.
        clip: the largest norm of the gradient, above 0.
        seed: seed of all that is random except the batches.
        device: ``"auto"`` (a GPU where there is one), ``"cpu"``, ``"cuda"`` or ``"mps"``.
        precision: ``"auto"`` (bf16 on a CUDA device that has it, else fp32), ``"fp32"`` or ``"bf16"``.
        evaluate: a function of the model in eval mode that returns numbers by name, for the history.
        evaluations: how many times ``evaluate`` is called, evenly over the budget, the last time at the end; ≥ 1.
        checkpoint: a file (``.safetensors``) from which the training can be resumed. It is written every
            ``checkpoint_every``, when the training is interrupted, and at its end.
        checkpoint_every: steps or a time, as for ``budget``.
        resume: whether to go on from ``checkpoint``; where there is none, the training starts anew. With a budget in
            steps, on the same CPU with the same number of threads, a resumed training gives exactly the numbers of an
            unbroken one; on a GPU the same up to rounding.
        settings: what else must be the same when the training is resumed, such as the corpus, as numbers and text.
        progress: whether to show one line of progress.

    Returns:
        The history from the first step on, also of a training that was resumed.

    Raises:
        NonFiniteLoss: the loss, its gradient or a weight became NaN or infinite; the message names the step.
        Interrupted: somebody pressed Ctrl-C; the step was finished and the checkpoint written. It is a
            ``KeyboardInterrupt``.
        ValueError: an argument is out of range, the device or the precision is not there, the model has nothing to
            train, or the loss is no scalar.
        TypeError: a budget is neither a text nor a :class:`Budget`; or no loss is given, and the model has no method
            ``loss``.
        CheckpointError: the checkpoint is damaged, or of another training.
        FileExistsError: there is a checkpoint, and ``resume`` is False.
        FileNotFoundError: only some of the processes see the checkpoint.
        OSError: the folder of the checkpoint cannot be written. If a later checkpoint does not fit on the disk, a
            warning says so, and the one before it stays.
        ImportError: something that the extra ``train`` brings is not installed.

    Example:
        >>> import torch
        >>> from causalcnn.nn import CausalConv1d
        >>> from causalcnn.training import train
        >>> model, x = CausalConv1d(1, 1, kernel_size=2), torch.linspace(-1, 1, 32).reshape(1, 1, 32)
        >>> def previous_frame(model, batch):
        ...     return (model(batch)[..., 1:] - batch[..., :-1]).square().mean()
        >>> history = train(model, lambda step, rank, world_size: x, "50 steps", loss=previous_frame,
        ...                 learning_rate=0.1, device="cpu", progress=False)
        >>> history.steps, history.loss[-1] < history.loss[0]
        (50, True)
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
    unit, line = "frames", Progress(progress and runtime.is_main)

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
                unit = "samples" if hasattr(batch, "samples") else "frames"
                line.update(state.fraction, _describe(state, unit))
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
        line.update(state.fraction, _describe(state, unit), last=True)
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


def _describe(state: TrainState, unit: str) -> str:
    """The text of the progress line; ``unit`` is what the batches have over time."""
    history, fraction = state.history, state.fraction
    steps = f"{state.step}" if state.budget.steps is None else f"{state.step} of {state.budget.steps}"
    recent = statistics.fmean(history.loss[-20:]) if history.loss else float("nan")
    left = f", {duration(history.seconds * (1 - fraction) / fraction)} left" if 0 < fraction < 1 else ""
    rate, passed = f"{history.frames_per_second:,.0f} {unit}/s", duration(history.seconds)
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
