"""One training loop for every model: from batches and a loss to weights, on whatever the machine has."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from causalcnn.training.budget import Budget
from causalcnn.training.history import History
from causalcnn.training.machine import Device, Machine, Precision
from causalcnn.training.optimization import OptimConfig
from causalcnn.training.prefetch import prefetched
from causalcnn.training.progress import Progress, duration
from causalcnn.training.run import Batches, Loss, Run
from causalcnn.training.stopping import Interrupted, interruptible

__all__ = ["train"]

Evaluate = Callable[[Any], Mapping[str, float]]


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
    """Train ``model`` in place, with Adam, a rate that rises and falls once, and gradients of bounded length.

    The next batches are made in a thread while the model works. Started by ``torchrun`` or ``accelerate launch`` it is
    one of several processes: each asks for its own batches, gradients are averaged, the first writes and speaks. The
    random numbers of the caller are left alone.

    Args:
        model: ends on the device, in eval mode.
        batches: (step, rank, world) → batch, a pure function: this is what makes a resumed training exact. A batch has
            ``.to(device)`` and perhaps ``.mask`` (real frames), or is a nesting of tensors.
        budget: ``"500 steps"``, ``"20 min"``, or a :class:`Budget`.
        loss: (model, batch) → loss, or (loss, metrics); default ``model.loss(batch)``.
        learning_rate, warmup, weight_decay, clip, seed: see :class:`~causalcnn.training.OptimConfig`.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``. precision: ``"auto"`` is bf16 where CUDA computes in it,
            else fp32; a CPU without bf16 units refuses it.
        evaluate: model in eval mode → numbers; called ``evaluations`` times on the way, the last time at the end.
        checkpoint: a file (``.safetensors``) from which the training can be resumed, rewritten every
            ``checkpoint_every``, when it is interrupted, and at the end.
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
        CheckpointError: the checkpoint is damaged, or of another training. FileExistsError: there is a checkpoint,
            and ``resume`` is False. Warns where a checkpoint cannot be written, and goes on: the old one stays.

    Example:
        >>> history = train(model, corpus_batches, "200 steps", checkpoint="run.safetensors")    # doctest: +SKIP
    """
    budget, every = Budget.of(budget), Budget.of(checkpoint_every)
    plan = OptimConfig(learning_rate, warmup, weight_decay, clip, seed)
    if evaluations < 1:
        raise ValueError(f"evaluations is {evaluations}; at least the one at the end. For none, give no evaluate")
    path = None if checkpoint is None else Path(checkpoint).expanduser()
    machine = Machine(device, precision)
    before = machine.random_state()
    try:
        torch.manual_seed(seed)
        run = Run(model, loss, machine, budget, plan, path, settings or {})
        goes_on = path is not None and _there(path, machine, resume)
        if goes_on:
            run.load()
        with interruptible() as asked:
            return _loop(run, batches, asked.is_set, evaluate, evaluations, every, progress and machine.is_first)
    finally:
        model.eval()
        machine.set_random_state(before)


def _loop(
    run: Run,
    batches: Batches,
    interrupted: Callable[[], bool],
    evaluate: Evaluate | None,
    evaluations: int,
    every: Budget,
    shown: bool,
) -> History:
    history, machine = run.history, run.machine
    waited, began = history.waiting_seconds, time.perf_counter() - history.seconds
    line = Progress(shown)
    run.model.train()
    try:
        with prefetched(lambda s: batches(s, machine.rank, machine.world), machine.device, first=run.step) as data:
            while not run.spent and not run.interrupted:
                batch, frames = data.take()
                run.advance(batch, frames, lambda: time.perf_counter() - began, interrupted)
                history.waiting_seconds = waited + data.waiting_seconds
                line.update(_share(run), _line(run))
                if evaluate is not None and _share(run) * evaluations >= len(history.evaluations) + 1:
                    _evaluate(run, evaluate)
                if run.path and every.spent(run.step - run.tried_step, history.seconds - run.tried_seconds):
                    run.save()
            run.read()
            # On a GPU the clock is read a step late, so the budget may end between two looks at it.
            if evaluate is not None and run.spent and not _evaluated(run):
                _evaluate(run, evaluate)
        if machine.world == 1:
            history.seconds = max(history.seconds, time.perf_counter() - began)
        saved = run.step == run.saved_step or run.save()
        line.update(_share(run), _line(run), last=True)
    finally:
        line.close()
    if run.interrupted and not run.spent:
        raise Interrupted(_how_to_go_on(run, saved), history)
    return history


def _evaluated(run: Run) -> bool:
    return bool(run.history.evaluations) and run.history.evaluations[-1]["step"] == run.step


def _evaluate(run: Run, evaluate: Evaluate) -> None:
    """Look at the model without disturbing it: whether it is evaluated changes no number of the training."""
    run.read()
    state = run.machine.random_state()
    run.model.eval()
    with torch.no_grad():
        found = {name: float(value) for name, value in evaluate(run.model).items()}
    run.model.train()
    run.machine.set_random_state(state)
    run.history.evaluations.append({"step": run.step, **found})


def _share(run: Run) -> float:
    return run.budget.share(run.step, run.history.seconds)


def _line(run: Run) -> str:
    history = run.history
    steps = f"{run.step}" if run.budget.steps is None else f"{run.step} of {run.budget.steps}"
    recent = statistics.fmean(history.loss[-20:]) if history.loss else float("nan")
    share = _share(run)
    left = f", {duration(history.seconds * (1 - share) / share)} left" if 0 < share < 1 else ""
    return (
        f"step {steps}, loss {recent:.4g}, {history.frames_per_second:,.0f} frames/s, {duration(history.seconds)}{left}"
    )


def _there(path: Path, machine: Machine, resume: bool) -> bool:
    """Whether there is a checkpoint to go on from; that its folder can be written is found out now, not in an hour."""
    found = machine.gather(path.exists())
    if any(found) != all(found):
        raise FileNotFoundError(
            f"{str(path)!r} is seen by some processes only; all need the same file system to resume"
        )
    if found[0] and not resume:
        raise FileExistsError(
            f"there is a checkpoint {str(path)!r} of an earlier training: resume=True (--resume) goes on from it; "
            "to start anew remove it, or name another"
        )
    if machine.is_first:
        path.parent.mkdir(parents=True, exist_ok=True)
        trial = path.with_name(path.name + ".part")
        trial.touch()
        trial.unlink()
    return found[0]


def _how_to_go_on(run: Run, saved: bool) -> str:
    done = f"interrupted after step {run.step}"
    if run.path is None:
        return f"{done}; no checkpoint was asked for, so only the model in memory has what was learnt"
    if not saved:
        return f"{done}; its checkpoint could not be written, {str(run.path)!r} is of step {run.saved_step}"
    return f"{done}; train again with resume=True (--resume) and the same settings to go on from {str(run.path)!r}"
