"""The command ``causalcnn``: one word for each thing that is done from a shell."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any

from causalcnn.cli_train import add_train

__all__ = ["main"]

FOUND, USAGE = 1, 2
"""Exit codes beside 0: a leak was found; unknown, or the command could not be carried out."""


class _UsageError(Exception):
    """Something in the command line cannot be used; the message says what and why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        arguments: what follows ``causalcnn``; default: the arguments of this process.

    Returns:
        The exit code. 0: it went well. 2: it could not be carried out. Others: see each subcommand.
    """
    options = make_parser().parse_args(arguments)
    options.arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return options.run(options)
    except _UsageError as problem:
        print(f"causalcnn {options.command}: {problem}", file=sys.stderr)
        return USAGE


def make_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands; ``run`` of what it parses carries the subcommand out."""
    parser = argparse.ArgumentParser(prog="causalcnn", description="Networks over time that can prove what they see.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    _add_audit(commands)
    add_train(commands)
    _add_experiment(commands)
    return parser


# ---------------------------------------------------------------------- audit
def _add_audit(commands: Any) -> None:
    parser = commands.add_parser(
        "audit",
        help="does a network read the future?",
        description="Audit a network: what it could read of the future, what its weights do, and where it leaks first.",
        epilog="Exit code 0: causal. 1: looks ahead, mixes rows or keeps state. 2: unknown, or a usage error.",
    )
    parser.add_argument("network", help="package.module:name, where name is a module, or makes one when called")
    parser.add_argument("--example", required=True, metavar="1,8,64", help="shape: batch,channels,time[,frequency]")
    parser.add_argument("--mode", choices=("exact", "numerical"), default="exact")
    parser.add_argument("--convention", choices=("strict", "block"), help="default: what the network declares")
    parser.add_argument("--time-axis", type=int, default=2, metavar="AXIS")
    parser.add_argument("--eval", action="store_true", help="put the network into eval mode first")
    parser.set_defaults(run=_audit)


def _audit(options: argparse.Namespace) -> int:
    from causalcnn.causality import Verdict, audit

    network = _load(options.network)
    try:
        shape = tuple(int(n) for n in options.example.split(","))
    except ValueError:
        raise _UsageError(f"--example is {options.example!r}; it must be numbers such as 1,8,64") from None
    if len(shape) < 3 or min(shape) < 1:
        raise _UsageError(f"--example is {options.example!r}; it must be batch,channels,time, each at least 1")
    if options.eval:
        network.eval()
    try:
        report = audit(network, shape, mode=options.mode, convention=options.convention, time_axis=options.time_axis)
    except (ValueError, RuntimeError, IndexError) as problem:
        raise _UsageError(f"the network cannot be audited on an input of shape {shape}: {problem}") from problem
    print(report)
    if report.passed:
        return 0
    return USAGE if report.verdict is Verdict.UNKNOWN and not report.rows_mix and not report.keeps_state else FOUND


def _load(place: str) -> Any:
    """The module named ``package.module:name``, made if it has to be; the working directory counts as a place."""
    from torch import nn

    path, colon, name = place.partition(":")
    if not colon or not name:
        raise _UsageError(f"{place!r} names no network; write package.module:name")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(path)
    except ImportError as problem:
        raise _UsageError(f"cannot import {path!r}: {problem}") from problem
    for part in name.split("."):
        if not hasattr(found, part):
            raise _UsageError(f"{path!r} has no {name!r}")
        found = getattr(found, part)
    if not isinstance(found, nn.Module) and callable(found):
        found = found()
    if not isinstance(found, nn.Module):
        raise _UsageError(f"{place!r} is a {type(found).__name__}, not a torch.nn.Module or something that makes one")
    return found


# ---------------------------------------------------------------- experiment
EXPERIMENTS = "causalcnn.experiments"
"""The group of entry points under which packages register experiments, as the book does."""
BOOK_EXTRA = "the experiments and what they need come with the extra 'book': python -m pip install 'causalcnn[book]'"


def _add_experiment(commands: Any) -> None:
    names = sorted(entry_points(group=EXPERIMENTS).names)
    parser = commands.add_parser(
        "experiment",
        help="make a table of the book anew",
        description="Make a table of the book anew. What follows the name goes to the experiment itself: add --help.",
        epilog=f"experiments: {', '.join(names)}" if names else f"none is installed; {BOOK_EXTRA}",
    )
    parser.add_argument("name", choices=names or None, metavar="NAME", help="see below")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="…", help="arguments of the experiment")
    parser.set_defaults(run=_experiment)


def _experiment(options: argparse.Namespace) -> int:
    registered = list(entry_points(group=EXPERIMENTS, name=options.name))
    if not registered:
        raise _UsageError(f"no experiment is installed; {BOOK_EXTRA}")
    try:
        return registered[0].load()(options.rest) or 0
    except ImportError as problem:
        raise _UsageError(f"{options.name!r} cannot run: {problem}; {BOOK_EXTRA}") from problem
