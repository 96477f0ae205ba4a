"""``causalcnn audit`` and ``causalcnn receptive-field``: what a network of the user's own reads.

Whatever goes wrong in the user's code ends in one line and the exit code 2: 1 is kept for a leak that was found.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["UsageError", "load_network", "parse_shape", "run_audit", "run_receptive_field"]

CAUSAL, FOUND, STOPPED = 0, 1, 2


class UsageError(Exception):
    """Something in the command line cannot be used; the message says what and why."""


def run_audit(options: argparse.Namespace) -> int:
    """Carry out ``causalcnn audit``.

    Args:
        options: what the parser of ``causalcnn.cli`` made of the command line.

    Returns:
        The exit code: 0 for a causal network, 1 for one that leaks, 2 where that is unknown.

    Raises:
        UsageError: the network cannot be made, or not be run on such an example.
    """
    from causalcnn.causality import Verdict, audit

    network, example = _network(options), _example(options)
    report = _tried(
        f"the network cannot be audited on an input of shape {tuple(example.shape)}",
        lambda: audit(
            network,
            example,
            mode=options.mode,
            convention=options.convention,
            time_axis=options.time_axis,
            output_time_axis=options.output_time_axis,
            timeout_s=options.timeout,
        ),
    )
    if report.problem.startswith("the network fails on the example"):
        raise UsageError(f"{report.problem} (of shape {tuple(example.shape)})")
    _say(str(report))
    if report.passed:
        return CAUSAL
    found = report.verdict is Verdict.LOOKS_AHEAD or report.rows_mix or report.keeps_state
    return FOUND if found else STOPPED


def run_receptive_field(options: argparse.Namespace) -> int:
    """Carry out ``causalcnn receptive-field``.

    Args:
        options: what the parser of ``causalcnn.cli`` made of the command line.

    Returns:
        The exit code, 0 where the field was found.

    Raises:
        UsageError: the network cannot be made, or has no field that could be found.
    """
    from causalcnn.causality import receptive_field

    network, example = _network(options), None if options.example is None else _example(options)
    field = _tried(
        "its field cannot be given",
        lambda: receptive_field(
            network,
            example,
            axis=options.axis,
            time_axis=options.time_axis,
            output_time_axis=options.output_time_axis,
        ),
    )
    _say(f"{type(network).__name__} {field}")
    return 0


def parse_shape(example: str, *, axes: int = 3) -> tuple[int, ...]:
    """Read the shape that ``--example`` names.

    Args:
        example: numbers with commas between them.
        axes: how many there must be at least.

    Returns:
        The shape.

    Raises:
        UsageError: it is none.
    """
    try:
        shape = tuple(int(n) for n in example.split(","))
    except ValueError:
        raise UsageError(f"--example is {example!r}; it must be numbers such as 1,8,64") from None
    if len(shape) < axes or min(shape) < 1:
        names = "batch,time or batch,channels,time" if axes < 3 else "batch,channels,time"
        raise UsageError(f"--example is {example!r}; it must be {names}, each at least 1")
    return shape


def load_network(place: str) -> Any:
    """Find the network named ``package.module:name``, made if it has to be.

    Args:
        place: the name; modules of the working directory count too.

    Returns:
        The network, a ``torch.nn.Module``.

    Raises:
        UsageError: there is none, or it cannot be made; the message holds the error of the user's code.
    """
    from torch import nn

    path, _, name = place.rpartition(":")
    if not path or not name:
        raise UsageError(f"{place!r} names no network; write package.module:name")
    if path.endswith(".py") or os.sep in path or path.startswith("."):
        stem = os.path.basename(path).removesuffix(".py")
        raise UsageError(f"{path!r} is a file; write the name of a module, {stem}:{name}, and start where the file is")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    found: Any = _tried(f"cannot import {path!r}", lambda: importlib.import_module(path))
    for part in name.split("."):
        if not _tried(f"cannot read {part!r}", lambda part=part, found=found: hasattr(found, part)):  # type: ignore[misc]
            raise UsageError(f"{path!r} has no {name!r}")
        found = getattr(found, part)
    if not isinstance(found, nn.Module) and callable(found):
        found = _tried(f"{place!r}, called without arguments, makes no network", found)
    if not isinstance(found, nn.Module):
        raise UsageError(f"{place!r} is a {type(found).__name__}, not a torch.nn.Module or something that makes one")
    return found


def _network(options: argparse.Namespace) -> Any:
    network = load_network(options.network)
    return _tried("eval() fails", network.eval) if options.eval else network


def _example(options: argparse.Namespace) -> Any:
    """Make the input that the command line describes: noise, or whole numbers."""
    import torch

    shape, generator = parse_shape(options.example, axes=2), torch.Generator().manual_seed(0)
    if options.tokens is None:
        return torch.randn(shape, generator=generator)
    if options.tokens < 2:
        raise UsageError(f"--tokens is {options.tokens}; there must be at least 2")
    return torch.randint(options.tokens, shape, generator=generator)


def _tried(what: str, run: Callable[[], Any]) -> Any:
    """Run what the user wrote; any error of it becomes one line."""
    try:
        return run()
    except (Exception, SystemExit) as error:
        lines = str(error).strip().splitlines() or [""]
        kind = "" if type(error).__name__ in ("CannotTrace", "NoPeriodicField") else f"{type(error).__name__}: "
        raise UsageError(f"{what}: {kind}{lines[0]}") from error


def _say(text: str) -> None:
    """Print; that the reader has left, as ``head`` does, changes nothing about the answer."""
    try:
        print(text, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise UsageError(f"the answer cannot be written: {error}") from error
