"""What changes during a training: its single step, and how its state gets into a checkpoint and out again."""

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
from causalcnn.nn.quantize import NotFinite
from causalcnn.training.budget import Budget
from causalcnn.training.checkpoint import Checkpoint
from causalcnn.training.device import Runtime
from causalcnn.training.history import History
from causalcnn.training.interrupt import NonFiniteLoss
from causalcnn.training.optimization import OptimConfig, lr_factor

__all__ = ["Loss", "TrainState"]

Loss = Callable[[nn.Module, Any], Any]
"""A function of model and batch that returns a scalar loss, or the loss and a dict of scalars for the history."""

HISTORY_FIELDS = ("evaluations", "seconds", "waiting_seconds", "frames")
"""What a checkpoint keeps of the history beside its curves."""


class Objective(nn.Module):
    """Model and loss as one module, because processes average the gradients of what *this* forward ran."""

    def __init__(self, model: nn.Module, loss: Loss | None) -> None:
        super().__init__()
        if loss is None and not callable(getattr(model, "loss", None)):
            raise TypeError(f"{type(model).__name__} has no method loss(batch); pass train(…, loss=function)")
        self.model, self._loss = model, loss

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Any]]:
        """The scalar loss, and the metrics that it reports beside itself."""
        result = self.model.loss(batch) if self._loss is None else self._loss(self.model, batch)  # type: ignore[operator]
        loss, metrics = result if isinstance(result, tuple) else (result, {})
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(f"the loss is {shape}; it must be a tensor with one value")
        return loss, dict(metrics)


class _Report(NamedTuple):
    """What one step measured: still on the device, and summed over the processes."""

    step: int
    metric_names: list[str]
    learning_rate: float
    values: Tensor  # loss, gradient norm, metrics, then: frames, interrupted, seconds


class TrainState:
    """A training between its first step and its last.

    Args:
        model: the model, which is trained in place.
        loss: the loss, as for :func:`causalcnn.training.train`.
        runtime: what the training runs on.
        budget: how long it takes.
        optim: how the weights are moved.
        checkpoint_path: the file to save to, if any.
        settings: further settings that must be the same when the training is resumed.

    Raises:
        TypeError: no loss is given, and the model has no method ``loss``.
        ValueError: no parameter asks for gradients, or a checkpoint cannot keep a setting.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss | None,
        runtime: Runtime,
        budget: Budget,
        optim: OptimConfig,
        checkpoint_path: Path | None,
        settings: Mapping[str, Any],
    ) -> None:
        self.model, self.runtime, self.budget, self.optim = model, runtime, budget, optim
        self.checkpoint_path = checkpoint_path
        self._objective = runtime.prepare(Objective(model, loss))
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        if not self._parameters:
            raise ValueError(f"{type(model).__name__} has no parameter that asks for gradients: nothing to train")
        self._optimizer = optim.optimizer(self._parameters)
        self.history = History(device=str(runtime), precision=runtime.precision, processes=runtime.world_size)
        self.step, self.saved_step, self.interrupted = 0, 0, False
        self.tried_step, self.tried_seconds = 0, 0.0  # the last attempt to save, whether or not the disk took it
        self._unread: deque[_Report] = deque()
        config = getattr(model, "config", None)
        self.settings = {
            "model": getattr(model, "name", type(model).__name__),
            "config": asdict(config) if is_dataclass(config) and not isinstance(config, type) else None,
            "budget": str(budget),
            **asdict(optim),
            "precision": runtime.precision,
            "processes": runtime.world_size,
            **settings,
        }
        if checkpoint_path is not None:
            _require_json(self.settings)

    @property
    def fraction(self) -> float:
        """The fraction of the budget that is used, from 0 to 1."""
        return self.budget.fraction(self.step, self.history.seconds)

    @property
    def is_finished(self) -> bool:
        """Whether the budget is used up."""
        return self.budget.is_finished(self.step, self.history.seconds)

    # ------------------------------------------------------------------------------------------- one step
    def train_step(
        self, batch: Any, frames: int, elapsed: Callable[[], float], stop_requested: Callable[[], bool]
    ) -> None:
        """Update the weights once.

        Args:
            batch: the batch, as the loss takes it.
            frames: number of real frames in it.
            elapsed: returns the seconds of training up to now.
            stop_requested: returns whether somebody asks this process to stop; all processes learn of it.

        Raises:
            NonFiniteLoss: the loss or the norm of its gradient is NaN or infinite.
            ValueError: the loss, or a metric beside it, is no tensor with one value.
        """
        steps = self.budget.steps  # the middle of the step: neither the first nor the last has the rate 0
        fraction = (self.step + 0.5) / steps if steps else self.fraction
        learning_rate = self.optim.learning_rate * lr_factor(fraction, self.optim.warmup)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        try:
            with self.runtime.autocast():
                loss, metrics = self._objective(batch)
        except NotFinite as error:  # a layer that refuses such numbers finds them before the loss does
            raise NonFiniteLoss(
                f"{error}. This was step {self.step}: the training stops. {self._last_checkpoint()}"
            ) from None
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._parameters, self.optim.clip)
        extra = [frames, float(stop_requested()), elapsed() if self.runtime.is_main else 0.0]
        self._unread.append(self._report(loss, norm, metrics, learning_rate, extra))
        self.read_reports(self.runtime.sync_lag)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.step += 1

    def _report(
        self, loss: Tensor, norm: Tensor, metrics: Mapping[str, Any], learning_rate: float, extra: list[float]
    ) -> _Report:
        device = self.runtime.device
        dtype = torch.float32 if device.type == "mps" else torch.float64
        values = [torch.as_tensor(v, device=device).detach().to(dtype) for v in (loss, norm, *metrics.values())]
        for name, value in zip(metrics, values[2:], strict=True):
            if value.numel() != 1:
                raise ValueError(f"the metric {name!r} has shape {tuple(value.shape)}; the loss reports single numbers")
        packed = torch.cat([*(v.reshape(1) for v in values), torch.tensor(extra, dtype=dtype, device=device)])
        return _Report(self.step, list(metrics), learning_rate, self.runtime.sum(packed))

    def read_reports(self, lag: int = 0) -> None:
        """Write what the last steps measured into the history.

        Args:
            lag: number of the latest steps that are left for later.

        Raises:
            NonFiniteLoss: the loss or the norm of its gradient is NaN or infinite.
        """
        while len(self._unread) > lag:
            report = self._unread.popleft()
            *measured, frames, interrupted, self.history.seconds = report.values.tolist()
            loss, norm, *rest = (value / self.runtime.world_size for value in measured)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                what = (
                    f"the loss is {loss}" if not math.isfinite(loss) else f"the loss is {loss:.6g}, its gradient {norm}"
                )
                raise NonFiniteLoss(
                    f"{what} at step {report.step}: the training stops. {self._last_checkpoint()} The batch of that "
                    f"step is batches({report.step}, rank, world_size); if it is sound, lower the learning rate "
                    f"({self.optim.learning_rate:g}) or clip shorter ({self.optim.clip:g})"
                )
            metrics = dict(zip(report.metric_names, rest, strict=True))
            self.history.append(loss, {**metrics, "gradient norm": norm, "learning rate": report.learning_rate})
            self.history.frames += int(frames)
            self.interrupted = self.interrupted or interrupted > 0

    def _last_checkpoint(self) -> str:
        if self.checkpoint_path is None:
            return "There is no checkpoint, because none was asked for."
        if not self.saved_step:
            return "There is no checkpoint yet."
        return f"The last good checkpoint is {str(self.checkpoint_path)!r}, after step {self.saved_step}."

    # ---------------------------------------------------------------------------------------- checkpoints
    def save(self) -> bool:
        """Write the checkpoint, if there is to be one. Of a full disk it only warns.

        Returns:
            Whether it was written, the same on all processes.

        Raises:
            NonFiniteLoss: a weight is NaN or infinite; the file is left as it was.
        """
        self.read_reports()
        if self.checkpoint_path is None:
            return False
        self.tried_step, self.tried_seconds = self.step, self.history.seconds
        random_states = self.runtime.gather(self.runtime.random_state())
        for name, value in self.model.named_parameters():
            if not torch.isfinite(value).all():
                raise NonFiniteLoss(
                    f"{name} is not finite after step {self.step}: the training stops. {self._last_checkpoint()}"
                )
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for number, moments in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
        for rank, state in enumerate(random_states):
            tensors |= {f"random.{rank}.{name}": value for name, value in state.items()}
        curves = {"loss": self.history.loss, **{f"metric.{k}": v for k, v in self.history.metrics.items()}}
        tensors |= {f"history.{name}": torch.tensor(values, dtype=torch.float64) for name, values in curves.items()}
        facts = {
            "step": self.step,
            "torch": torch.__version__,
            "device": self.history.device,
            **{name: getattr(self.history, name) for name in HISTORY_FIELDS},
        }
        failed = False
        try:
            if self.runtime.is_main:
                Checkpoint(tensors, facts, self.settings).write(self.checkpoint_path)
        except OSError as error:
            failed = True
            warnings.warn(
                f"the checkpoint {str(self.checkpoint_path)!r} could not be written after step {self.step} ({error}). "
                f"{self._last_checkpoint()} The training goes on and tries again; make room",
                stacklevel=2,
            )
        if any(self.runtime.gather(failed)):
            return False
        self.saved_step = self.step
        return True

    def load(self) -> None:
        """Go on from the checkpoint.

        Raises:
            CheckpointError: it is damaged, or was written by another training; then nothing is changed.
            FileNotFoundError: there is no checkpoint.
        """
        assert self.checkpoint_path is not None
        saved = Checkpoint.read(self.checkpoint_path)
        saved.require_same(self.settings, self.checkpoint_path)
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "random": {}, "history": {}}
        for name, tensor in saved.tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self._require_same_shapes(parts["model"])
        self.model.load_state_dict(parts["model"])
        optimizer = self._optimizer.state_dict()
        for name, tensor in parts["optimizer"].items():
            number, _, moment = name.partition(".")
            optimizer["state"].setdefault(int(number), {})[moment] = tensor
        self._optimizer.load_state_dict(optimizer)
        own = f"{self.runtime.rank}."
        self.runtime.set_random_state(
            {name.removeprefix(own): value for name, value in parts["random"].items() if name.startswith(own)}
        )
        facts = saved.facts
        self.step = self.saved_step = int(facts["step"])
        if (facts["torch"], facts["device"]) != (torch.__version__, self.history.device):
            warnings.warn(
                f"{str(self.checkpoint_path)!r} was written on {facts['device']}, torch {facts['torch']}, this is "
                f"{self.history.device}, torch {torch.__version__}: "
                "the training goes on, but not to the last digit as it would have there",
                stacklevel=2,
            )
        for name in HISTORY_FIELDS:
            setattr(self.history, name, facts[name])
        self.tried_step, self.tried_seconds = self.step, self.history.seconds
        self.history.loss = parts["history"].pop("loss").tolist()
        self.history.metrics = {
            name.removeprefix("metric."): values.tolist() for name, values in parts["history"].items()
        }

    def _require_same_shapes(self, saved: Mapping[str, Tensor]) -> None:
        """Check all weights before one is copied: load_state_dict copies those that fit, and then complains."""
        here, there = ({name: tuple(w.shape) for name, w in of.items()} for of in (self.model.state_dict(), saved))
        other = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
        if other:
            name = other[0]
            raise CheckpointError(
                f"{str(self.checkpoint_path)!r} holds other weights than this model: {name!r} is "
                f"{there.get(name, 'not there')} in the file and {here.get(name, 'not there')} here"
                + (f", and {len(other) - 1} more differ" if len(other) > 1 else "")
            )


def _require_json(settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        try:
            json.dumps(value)
        except TypeError as error:
            raise ValueError(
                f"the setting {name!r} is {value!r}, which a checkpoint cannot keep ({error}); "
                "give numbers and text, such as str(…) of it"
            ) from None
