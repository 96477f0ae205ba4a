"""What a training runs on: one device or several processes, and the precision that pays there."""

from __future__ import annotations

import platform
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from causalcnn._extras import require

__all__ = ["Device", "Machine", "Precision"]

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16"]


class Machine:
    """The device and the processes of a training, found by Hugging Face Accelerate.

    Args:
        device: ``"auto"`` takes a GPU where there is one.
        precision: ``"auto"`` is fp32, and bf16 autocast on a CUDA device with bf16 units. On a CPU it is always fp32:
            without bf16 units autocast is 11 to 33 times slower there.
    Raises:
        ValueError: a device that is not there, or a precision that it cannot compute in.
    """

    def __init__(self, device: Device = "auto", precision: Precision = "auto") -> None:
        available = {
            "auto": True,
            "cpu": True,
            "cuda": torch.cuda.is_available(),
            "mps": torch.backends.mps.is_available(),
        }
        if device not in available:
            raise ValueError(f"device is {device!r}; it is one of {', '.join(available)}")
        if not available[device]:
            raise ValueError(f"device is {device!r}, and torch finds none on this machine; 'auto' takes what there is")
        gpu = "cpu" if device == "cpu" else "cuda" if available["cuda"] else "mps" if available["mps"] else "cpu"
        self.precision = _precision(precision, gpu)
        accelerate = require("accelerate", extra="train")
        # Accelerate keeps one state for the whole process and refuses a second precision; each training has its own.
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        require("accelerate.state", extra="train").AcceleratorState._reset_state(not distributed)
        self._accelerator: Any = accelerate.Accelerator(
            mixed_precision="bf16" if self.precision == "bf16" else "no",
            cpu=gpu == "cpu",  # with "auto" on a machine without a GPU, Accelerate would leave the processes unjoined
            # Buffers are not sent from process to process at every step: a quantiser adds its statistics up itself.
            kwargs_handlers=[accelerate.DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
        self.device: torch.device = self._accelerator.device
        self.rank: int = self._accelerator.process_index
        self.world: int = self._accelerator.num_processes

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    @property
    def lag(self) -> int:
        """How many steps behind losses are read: on a GPU one, so that reading does not stop its queue."""
        return 0 if self.device.type == "cpu" else 1

    def __str__(self) -> str:
        name = {"cuda": lambda: torch.cuda.get_device_name(self.device), "mps": lambda: "Apple GPU"}
        threads = torch.get_num_threads()
        cpu = f"CPU ({platform.machine()}), {threads} thread" + "s" * (threads != 1)
        return name.get(self.device.type, lambda: cpu)() + (f", {self.world} processes" if self.world > 1 else "")

    def prepare(self, objective: nn.Module) -> nn.Module:
        """``objective`` on the device, in the precision, and with gradients averaged over the processes."""
        objective.to(self.device)
        if self.world > 1:  # DDP sends the parameters of the first process, and with them we send its buffers
            for buffer in objective.buffers():
                torch.distributed.broadcast(buffer, 0)
        with (
            warnings.catch_warnings()
        ):  # torch 2.13 renames the setting; Accelerate knows the old name, as does torch 2.6
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")
            return self._accelerator.prepare_model(objective)

    def sum(self, values: Tensor) -> Tensor:
        """``values`` summed over the processes."""
        if self.world > 1:
            torch.distributed.all_reduce(values)
        return values

    def gather(self, value: Any) -> list[Any]:
        """The value of every process, in order of rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(values, value)
        return values

    # ------------------------------------------------------------------------------------- random numbers
    def random_state(self) -> dict[str, Tensor]:
        """The generators of torch, on the CPU and on the device."""
        state = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        elif self.device.type == "mps":
            state["mps"] = torch.mps.get_rng_state()
        return state

    def set_random_state(self, state: dict[str, Tensor]) -> None:
        """Continue as :meth:`random_state` was."""
        torch.set_rng_state(state["cpu"])
        if self.device.type == "cuda" and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.device)
        elif self.device.type == "mps" and "mps" in state:
            torch.mps.set_rng_state(state["mps"])


def _precision(asked: Precision, device: str) -> Literal["fp32", "bf16"]:
    if asked not in ("auto", "fp32", "bf16"):
        raise ValueError(f"precision is {asked!r}; it is one of auto, fp32, bf16")
    if asked == "auto":
        return "bf16" if device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if asked == "bf16" and device == "cpu" and not _cpu_has_bf16():
        raise ValueError(
            "precision is 'bf16', and this CPU has no bf16 units: it would be 11 to 33 times slower; "
            "use 'fp32' (which 'auto' takes here)"
        )
    return asked


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies in bf16: AVX512-BF16 or AMX on x86, BF16 on ARM."""
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None), getattr(torch.cpu, "_is_amx_tile_supported", None)
    if any(ask is not None and ask() for ask in known):
        return True
    listed = Path("/proc/cpuinfo")
    return platform.machine() in ("aarch64", "arm64") and listed.is_file() and " bf16" in listed.read_text("utf8")
