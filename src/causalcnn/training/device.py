"""What a training runs on: one device, or several processes that ``torchrun`` started, and the precision."""

from __future__ import annotations

import contextlib
import os
import platform
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["Device", "Precision", "Runtime", "cpu_has_bf16"]

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16"]


class Runtime:
    """The device, the precision and the processes of a training.

    In a process that ``torchrun`` started, making a runtime joins it with the others.

    Args:
        device: ``"cpu"``, ``"cuda"`` or ``"mps"``; ``"auto"`` takes a GPU where there is one.
        precision: ``"fp32"`` or ``"bf16"`` (autocast); ``"auto"`` is bf16 on a CUDA device with bf16 units, and fp32
            elsewhere. On a CPU without bf16 units, autocast would be 11 to 33 times slower.

    Attributes:
        device: the device of this process.
        precision: ``"fp32"`` or ``"bf16"``.
        rank: number of this process, from 0 on.
        world_size: number of processes that train together.

    Raises:
        ValueError: the device is not there, or cannot compute in this precision.

    Example:
        >>> from causalcnn.training import Runtime
        >>> runtime = Runtime("cpu")
        >>> runtime.device, runtime.precision, runtime.world_size, runtime.is_main
        (device(type='cpu'), 'fp32', 1, True)
    """

    device: torch.device
    precision: Literal["fp32", "bf16"]
    rank: int
    world_size: int

    def __init__(self, device: Device = "auto", precision: Precision = "auto") -> None:
        several = int(os.environ.get("WORLD_SIZE", 1)) > 1
        kind = _choose_device(device, several)
        self.precision = _choose_precision(precision, kind)
        if several and not dist.is_initialized():
            if kind == "cuda":
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
            dist.init_process_group("nccl" if kind == "cuda" else "gloo")
        joined = dist.is_available() and dist.is_initialized()
        self.rank, self.world_size = (dist.get_rank(), dist.get_world_size()) if joined else (0, 1)
        self.device = torch.device(kind, torch.cuda.current_device()) if kind == "cuda" else torch.device(kind)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    @property
    def sync_lag(self) -> int:
        """How many steps late the losses are read; on a GPU 1, so that reading them does not stop its queue."""
        return 0 if self.device.type == "cpu" else 1

    def __str__(self) -> str:
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
        elif self.device.type == "mps":
            name = "Apple GPU"
        else:
            threads = torch.get_num_threads()
            name = f"CPU ({platform.machine()}), {threads} thread" + "s" * (threads != 1)
        return name + (f", {self.world_size} processes" if self.world_size > 1 else "")

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Make the context in which a loss is computed.

        Returns:
            A context manager, which switches to bf16 where that is the precision.
        """
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def prepare(self, objective: nn.Module) -> nn.Module:
        """Make a module ready for training.

        Args:
            objective: the module, which is moved to the device in place.

        Returns:
            The module itself. With several processes, a module around it that averages the gradients over all of them;
            weights and buffers are then those of the first process.
        """
        objective.to(self.device)
        if self.world_size == 1:
            return objective
        for buffer in objective.buffers():  # DDP sends the parameters of the first process only
            dist.broadcast(buffer, 0)
        with warnings.catch_warnings():  # torch 2.13 renames the setting, and torch 2.6 knows the old name only
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")
            # Not at every step: a quantizer sums its statistics over the processes itself. Buckets that are built anew
            # after the first step would add up three numbers in another order then, and a run that is resumed has
            # another first step; those of a model with unused parameters stay.
            return DistributedDataParallel(
                objective, broadcast_buffers=False, find_unused_parameters=self.world_size > 2
            )

    def sum(self, values: Tensor) -> Tensor:
        """Sum a tensor over all processes.

        Args:
            values: a tensor of any shape, which is changed in place.

        Returns:
            The sums, which ``values`` now holds, in the shape of ``values``.
        """
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """Collect a value from each process.

        Args:
            value: the value of this process, which can be pickled.

        Returns:
            The values of all processes, in order of their rank.
        """
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    # ------------------------------------------------------------------------------------- random numbers
    def random_state(self) -> dict[str, Tensor]:
        """Read the state of torch's random number generators.

        Returns:
            The state of each generator, ``(bytes,)``, under ``"cpu"`` and, on a GPU, ``"cuda"`` or ``"mps"``.
        """
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        elif self.device.type == "mps":
            state["mps"] = torch.mps.get_rng_state()
        return state

    def set_random_state(self, state: dict[str, Tensor]) -> None:
        """Set torch's random number generators.

        Args:
            state: the state of each generator, ``(bytes,)``, as :meth:`random_state` returned it.
        """
        torch.set_rng_state(state["cpu"])
        if self.device.type == "cuda" and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.device)
        elif self.device.type == "mps" and "mps" in state:
            torch.mps.set_rng_state(state["mps"])


def _choose_device(name: str, several: bool) -> str:
    mps = torch.backends.mps.is_available() and not several  # gloo does not sum its tensors
    available = {"cuda": torch.cuda.is_available(), "mps": mps, "cpu": True}
    if name == "auto":
        return next(kind for kind, there in available.items() if there)
    if name not in available:
        raise ValueError(f"device is {name!r}; it is one of auto, cpu, cuda, mps")
    if not available[name]:
        raise ValueError(f"device is {name!r}, and torch finds none on this machine; 'auto' takes what there is")
    return name


def _choose_precision(name: Precision, device: str) -> Literal["fp32", "bf16"]:
    if name not in ("auto", "fp32", "bf16"):
        raise ValueError(f"precision is {name!r}; it is one of auto, fp32, bf16")
    if name == "auto":
        return "bf16" if device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if name == "bf16" and device == "cpu" and not cpu_has_bf16():
        raise ValueError(
            "precision is 'bf16', and this CPU has no bf16 units: it would be 11 to 33 times slower; "
            "use 'fp32' (which 'auto' takes here)"
        )
    return name


def cpu_has_bf16() -> bool:
    """Whether the CPU has units that multiply in bf16 (AVX512-BF16 or AMX on x86, BF16 on ARM)."""
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None), getattr(torch.cpu, "_is_amx_tile_supported", None)
    if any(ask is not None and ask() for ask in known):
        return True
    listed = Path("/proc/cpuinfo")
    return platform.machine() in ("aarch64", "arm64") and listed.is_file() and " bf16" in listed.read_text("utf8")
