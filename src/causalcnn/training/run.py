"""The state of a running training, its single step, and how that state gets into a checkpoint and out again."""

from __future__ import annotations

import json
import math
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from causalcnn._files import CheckpointError
from causalcnn.nn.quantise import NotFinite
from causalcnn.training.budget import Budget
from causalcnn.training.checkpoint import Checkpoint
from causalcnn.training.history import History
from causalcnn.training.machine import Machine
from causalcnn.training.optimization import OptimConfig, lr_factor
from causalcnn.training.stopping import NonFiniteLoss

__all__ = ["Batches", "Loss", "Run"]

Batches = Callable[[int, int, int], Any]
"""(step, rank, world) → the batch of this step for this process: a pure function."""
Loss = Callable[[nn.Module, Any], Any]
"""(model, batch) → a scalar loss, or the loss and a dict of scalars to keep in the history."""


class Objective(nn.Module):
    """Model and loss as one module, because processes average the gradients of what *this* forward ran."""

    def __init__(self, model: nn.Module, loss: Loss | None) -> None:
        super().__init__()
        if loss is None and not callable(getattr(model, "loss", None)):
            raise TypeError(f"{type(model).__name__} has no method loss(batch); pass train(…, loss=function)")
        self.model, self._loss = model, loss

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Any]]:
        """The scalar loss, and what it reports beside itself."""
        found = self.model.loss(batch) if self._loss is None else self._loss(self.model, batch)  # type: ignore[operator]
        loss, metrics = found if isinstance(found, tuple) else (found, {})
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(f"the loss is {shape}; it must be a tensor with one value")
        return loss, dict(metrics)


class _Report(NamedTuple):
    """What one step measured: still on the device, and of this process and the others together."""

    step: int
    names: list[str]
    learning_rate: float
    values: Tensor


class Run:
    """A training between its first step and its last.

    Args:
        model: trained in place. loss: see :func:`causalcnn.training.train`. machine: what it runs on.
        budget, plan: how long, and how. checkpoint: the file to write, if any. given: further settings that a
            resumed training must share.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss | None,
        machine: Machine,
        budget: Budget,
        plan: OptimConfig,
        checkpoint: Path | None,
        given: Mapping[str, Any],
    ) -> None:
        self.model, self.machine, self.budget, self.plan, self.path = model, machine, budget, plan, checkpoint
        self._objective = machine.prepare(Objective(model, loss))
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        if not self._parameters:
            raise ValueError(f"{type(model).__name__} has no parameter that asks for gradients: nothing to train")
        self._optimiser = plan.optimizer(self._parameters)
        self.history = History(device=str(machine), precision=machine.precision, processes=machine.world)
        self.step, self.saved_step, self.interrupted = 0, 0, False
        self.tried_step, self.tried_seconds = 0, 0.0  # to save, whether or not the disk took it
        self._pending: deque[_Report] = deque()
        config = getattr(model, "config", None)
        self.settings = {
            "model": getattr(model, "name", type(model).__name__),
            "config": asdict(config) if is_dataclass(config) and not isinstance(config, type) else None,
            "budget": str(budget),
            **asdict(plan),
            "precision": machine.precision,
            "processes": machine.world,
            **given,
        }
        for name, value in self.settings.items() if checkpoint else ():
            try:
                json.dumps(value)
            except TypeError as error:
                raise ValueError(
                    f"the setting {name!r} is {value!r}, which a checkpoint cannot keep ({error}); "
                    "give numbers and text, such as str(…) of it"
                ) from None

    @property
    def spent(self) -> bool:
        """Whether the budget is."""
        return self.budget.spent(self.step, self.history.seconds)

    # ------------------------------------------------------------------------------------------- one step
    def advance(self, batch: Any, frames: int, clock: Callable[[], float], interrupted: Callable[[], bool]) -> None:
        """One update of the weights.

        Args:
            batch: for the loss. frames: real ones in it. clock: seconds of training up to now. interrupted: whether
                somebody asks this process to stop; the processes tell each other.
        Raises:
            NonFiniteLoss: the loss or the length of its gradient is not a finite number.
        """
        steps = self.budget.steps  # the middle of the step: neither the first nor the last has the rate 0
        share = (self.step + 0.5) / steps if steps else self.budget.share(self.step, self.history.seconds)
        learning_rate = self.plan.learning_rate * lr_factor(share, self.plan.warmup)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate
        try:
            loss, metrics = self._objective(batch)
        except NotFinite as error:  # a layer that refuses such numbers finds them before the loss does
            raise NonFiniteLoss(f"{error}. This was step {self.step}: the training stops. {self._last()}") from None
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._parameters, self.plan.clip)
        told = [frames, float(interrupted()), clock() if self.machine.is_first else 0.0]
        self._pending.append(self._report(loss, norm, metrics, learning_rate, told))
        self.read(self.machine.lag)
        self._optimiser.step()
        self._optimiser.zero_grad()
        self.step += 1

    def _report(
        self, loss: Tensor, norm: Tensor, metrics: Mapping[str, Any], learning_rate: float, told: list[float]
    ) -> _Report:
        device = self.machine.device
        precise = torch.float32 if device.type == "mps" else torch.float64
        values = [torch.as_tensor(v, device=device).detach().to(precise) for v in (loss, norm, *metrics.values())]
        for name, value in zip(metrics, values[2:], strict=True):
            if value.numel() != 1:
                raise ValueError(f"the metric {name!r} has shape {tuple(value.shape)}; the loss reports single numbers")
        together = torch.cat([*(v.reshape(1) for v in values), torch.tensor(told, dtype=precise, device=device)])
        return _Report(self.step, list(metrics), learning_rate, self.machine.sum(together))

    def read(self, lag: int = 0) -> None:
        """Write what the last steps measured into the history, but for the latest ``lag`` of them."""
        while len(self._pending) > lag:
            report = self._pending.popleft()
            *measured, frames, interrupted, self.history.seconds = report.values.tolist()
            loss, norm, *rest = (value / self.machine.world for value in measured)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                what = (
                    f"the loss is {loss}" if not math.isfinite(loss) else f"the loss is {loss:.6g}, its gradient {norm}"
                )
                raise NonFiniteLoss(
                    f"{what} at step {report.step}: the training stops. {self._last()} The batch of that step is "
                    f"batches({report.step}, rank, world); if it is sound, lower the learning rate "
                    f"({self.plan.learning_rate:g}) or clip shorter ({self.plan.clip:g})"
                )
            metrics = dict(zip(report.names, rest, strict=True))
            self.history.append(loss, {**metrics, "gradient norm": norm, "learning rate": report.learning_rate})
            self.history.frames += int(frames)
            self.interrupted = self.interrupted or interrupted > 0

    def _last(self) -> str:
        if self.path is None:
            return "There is no checkpoint, because none was asked for."
        if not self.saved_step:
            return "There is no checkpoint yet."
        return f"The last good checkpoint is {str(self.path)!r}, after step {self.saved_step}."

    # ---------------------------------------------------------------------------------------- checkpoints
    def save(self) -> bool:
        """Write the checkpoint, if there is to be one. Whether it was written: a full disk is warned about only.

        All processes learn whether it was, and go on alike.

        Raises:
            NonFiniteLoss: a weight is not finite; the file is left as it was.
        """
        self.read()
        if self.path is None:
            return False
        self.tried_step, self.tried_seconds = self.step, self.history.seconds
        states = self.machine.gather(self.machine.random_state())
        weights = self.model.state_dict()
        for name, value in self.model.named_parameters():
            if not torch.isfinite(value).all():
                raise NonFiniteLoss(f"{name} is not finite after step {self.step}: the training stops. {self._last()}")
        tensors = {f"model.{name}": value for name, value in weights.items()}
        for number, state in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": value for name, value in state.items()}
        for rank, state in enumerate(states):
            tensors |= {f"random.{rank}.{name}": value for name, value in state.items()}
        curves = {"loss": self.history.loss, **{f"metric.{k}": v for k, v in self.history.metrics.items()}}
        tensors |= {f"history.{name}": torch.tensor(values, dtype=torch.float64) for name, values in curves.items()}
        kept = ("evaluations", "seconds", "waiting_seconds", "frames", "device")
        facts = {"step": self.step, "torch": torch.__version__, **{name: getattr(self.history, name) for name in kept}}
        failed: OSError | None = None
        try:
            if self.machine.is_first:
                Checkpoint(tensors, facts, self.settings).write(self.path)
        except OSError as error:
            failed = error
            warnings.warn(
                f"the checkpoint {str(self.path)!r} could not be written after step {self.step} ({error}). "
                f"{self._last()} The training goes on and tries again; make room",
                stacklevel=2,
            )
        if any(self.machine.gather(failed is not None)):
            return False
        self.saved_step = self.step
        return True

    def load(self) -> None:
        """Go on from the checkpoint.

        Raises:
            CheckpointError: it is damaged, or was written by another training; nothing is changed then.
        """
        assert self.path is not None
        saved = Checkpoint.read(self.path)
        saved.require_same(self.settings, self.path)
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimiser": {}, "random": {}, "history": {}}
        for name, tensor in saved.tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self._require_its_weights(parts["model"])
        self.model.load_state_dict(parts["model"])
        optimiser = self._optimiser.state_dict()
        for name, tensor in parts["optimiser"].items():
            number, _, moment = name.partition(".")
            optimiser["state"].setdefault(int(number), {})[moment] = tensor
        self._optimiser.load_state_dict(optimiser)
        mine = f"{self.machine.rank}."
        self.machine.set_random_state(
            {name.removeprefix(mine): value for name, value in parts["random"].items() if name.startswith(mine)}
        )
        facts = dict(saved.facts)
        self.step = self.saved_step = int(facts.pop("step"))
        if (facts["torch"], facts["device"]) != (torch.__version__, self.history.device):
            there = f"{facts['device']}, torch {facts['torch']}"
            warnings.warn(
                f"{str(self.path)!r} was written on {there}, this is {self.history.device}, torch {torch.__version__}: "
                "the training goes on, but not to the last digit as it would have there",
                stacklevel=2,
            )
        for name in ("evaluations", "seconds", "waiting_seconds", "frames"):
            setattr(self.history, name, facts[name])
        self.tried_step, self.tried_seconds = self.step, self.history.seconds
        for name, values in parts["history"].items():
            if name == "loss":
                self.history.loss = values.tolist()
            else:
                self.history.metrics[name.removeprefix("metric.")] = values.tolist()

    def _require_its_weights(self, saved: Mapping[str, Tensor]) -> None:
        """Before a single one is copied: load_state_dict copies those that fit, and then complains of the others."""
        mine, theirs = ({name: tuple(w.shape) for name, w in of.items()} for of in (self.model.state_dict(), saved))
        other = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
        if other:
            name = other[0]
            raise CheckpointError(
                f"{str(self.path)!r} holds other weights than this model: {name!r} is {theirs.get(name, 'not there')} "
                f"in the file and {mine.get(name, 'not there')} here"
                + (f", and {len(other) - 1} more differ" if len(other) > 1 else "")
            )
