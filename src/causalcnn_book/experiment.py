"""One harness for every experiment of the book: rows and seeds, a command that can be stopped and resumed, a table."""

from __future__ import annotations

import argparse
import json
import math
import platform
import re
import shlex
import statistics
import sys
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from causalcnn._extras import require
from causalcnn._files import check_writable, write_json
from causalcnn.speech import EmbeddedSpeech, FeatureCorpus

__all__ = ["OVER_SEEDS", "Experiment", "Results", "ResumeError", "half_interval", "option", "refuse_shared", "summary"]

Results = dict[str, dict[int, Any]]
"""What was measured, by row and seed."""

OVER_SEEDS = "half of the 95 % interval of the mean over seeds, Student's t"
INTERRUPTED, USAGE = 130, 2
"""Exit codes beside 0."""


class ResumeError(ValueError):
    """What is kept of an earlier run was measured with other settings."""


def option(default: Any, help: str) -> Any:
    """Declare a field of an experiment that becomes an option of its command, and a setting of its table.

    Args:
        default: its value where none is given; its type is the option's. ``False`` makes a switch.
        help: what ``--help`` says.

    Returns:
        A field for the body of a dataclass.
    """
    return field(default=default, metadata={"help": help})


@dataclass
class Experiment(ABC):
    """A table of the book: how each row is measured with each seed, and what is written of it.

    A subclass is a dataclass whose fields are made by :func:`option`. Its method :meth:`main` is registered in
    ``pyproject.toml`` under the entry point ``causalcnn.experiments``; ``causalcnn experiment NAME`` runs it. The first
    line of its docstring is the command's description. Corpora and models are cached properties, so that a command with
    a wrong option does not make them.

    Attributes:
        name: the command's name.
        spread: what the table says about its uncertainty.
        rows: what is measured, by name.
        seeds: those with which each row is measured.
        prerequisite: a command whose result this one reads, if any; it becomes a part of ``command``.
        folder: where the finished rows are kept while it runs; what is put there beside them is kept with them.

    Example:
        >>> from dataclasses import dataclass
        >>> from tempfile import TemporaryDirectory
        >>> from causalcnn_book.experiment import Experiment, option
        >>> @dataclass
        ... class Powers(Experiment):
        ...     name, spread, rows, seeds = "powers", "each seed's value", ("two", "three"), (0, 1)
        ...     exponent: int = option(2, "of the row's number")
        ...     def measure(self, row, seed):
        ...         return {"two": 2, "three": 3}[row] ** self.exponent + seed
        ...     def table(self, results):
        ...         return {"values": {row: list(found.values()) for row, found in results.items()}}
        >>> with TemporaryDirectory() as folder:
        ...     table = Powers(exponent=3).run(f"{folder}/powers.json")
        [1/4] powers: two, seed 0 8
        [2/4] powers: two, seed 1 9
        [3/4] powers: three, seed 0 27
        [4/4] powers: three, seed 1 28
        >>> table["values"]
        {'two': [8, 9], 'three': [27, 28]}
    """

    name: ClassVar[str]
    spread: ClassVar[str]
    rows: ClassVar[Sequence[str]] = ("all",)
    seeds: ClassVar[Sequence[int]] = (0,)
    prerequisite: ClassVar[str] = ""
    folder: Path = field(init=False, repr=False)

    @abstractmethod
    def measure(self, row: str, seed: int) -> Any:
        """Measure one row with one seed. The result may not depend on what was measured before.

        Args:
            row: one of :attr:`rows`.
            seed: decides about everything that is drawn at random.

        Returns:
            The result, made of what goes into JSON. A subclass says what is in it.
        """

    @abstractmethod
    def table(self, results: Results) -> dict[str, Any]:
        """Arrange all results as what is written.

        Args:
            results: row → seed → what :meth:`measure` returned, as it comes back from JSON.

        Returns:
            What is written beside ``command``, ``device``, ``seeds`` and ``spread``; it goes into JSON.
        """

    def tables_beside(self, results: Results) -> dict[str, dict[str, Any]]:
        """Arrange what is written into further files beside the table; by default there are none.

        Args:
            results: row → seed → what :meth:`measure` returned, as it comes back from JSON.

        Returns:
            What is added to the name of the table's file → what is written there, as for :meth:`table`.
        """
        return {}

    def seeds_of(self, row: str, seeds: Sequence[int]) -> Sequence[int]:
        """Choose with which seeds a row is measured; by default with all that were asked for.

        Args:
            row: one of :attr:`rows`.
            seeds: those that were asked for.

        Returns:
            Some of them, or others in their place.
        """
        return seeds

    def settings(self, row: str, seed: int) -> dict[str, Any]:
        """List what must be the same where a measured row is used again: the options, unless there is more.

        Args:
            row: one of :attr:`rows`.
            seed: the seed with which it is measured.

        Returns:
            Name → value, kept beside the row's result.
        """
        return {each.name: getattr(self, each.name) for each in _options(self)}

    def run(
        self,
        out: str | Path,
        *,
        rows: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
        runs: str | Path | None = None,
        command: str = "",
    ) -> dict[str, Any]:
        """Measure what is not measured yet, on one thread, and write the table: whole, or not at all.

        Every row and seed is kept in a folder as soon as it is done. After an interrupt the same call goes on from
        there, to the same file as without the interrupt.

        Args:
            out: the JSON file to write.
            rows: some of :attr:`rows`; default: all.
            seeds: default: :attr:`seeds`.
            runs: the folder of the finished rows. It stays, so that several processes can fill one table, and that
                other experiments can read it. Default: beside ``out``, and removed when the table is written.
            command: what the table says about how it was made.

        Returns:
            The table.

        Raises:
            OSError: ``out`` cannot be written; nothing was measured.
            ResumeError: the folder holds rows of other settings, or a damaged one; nothing was measured.
        """
        out, seeds = Path(out), list(self.seeds if seeds is None else seeds)
        check_writable(out)
        self.folder = Path(runs) if runs else out.with_name(f"{out.name}.runs")
        check_writable(self.folder / "row.run.json")
        plan = [(row, seed) for row in rows or self.rows for seed in self.seeds_of(row, seeds)]
        kept = [_Run(self, row, seed) for row, seed in plan]
        results: Results = {}
        with _one_thread():
            for number, run in enumerate(kept, 1):
                results.setdefault(run.row, {})[run.seed] = result = run.result()
                where = f"[{number}/{len(kept)}] {self.name}: {run.row}, seed {run.seed}"
                print(where, textwrap.shorten(json.dumps(result, ensure_ascii=False), 90), flush=True)
            header = {"command": command, "device": device(), "seeds": seeds, "spread": self.spread}
            table, beside = header | self.table(results), self.tables_beside(results)
        write_json(out, table)
        for suffix, more in beside.items():
            write_json(out.with_name(f"{out.stem}-{suffix}.json"), header | more)
        if not runs:  # what this table was made of goes; whatever else lies there is not ours to remove
            for run in kept:
                run.file.unlink()
            with suppress(OSError):
                self.folder.rmdir()
        return table

    @classmethod
    def parser(cls) -> argparse.ArgumentParser:
        """Make the parser of the command's options: those of every experiment, and one for each :func:`option`."""
        parser = argparse.ArgumentParser(
            prog=f"causalcnn experiment {cls.name}",
            description=(cls.__doc__ or "").split("\n")[0],
            epilog="Interrupted? The same command goes on with what is missing.",
        )
        parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the JSON file to write")
        parser.add_argument(
            "--runs", type=Path, metavar="FOLDER",
            help="keep every finished row here, for good; default: beside FILE, until the table is written",
        )  # fmt: skip
        if len(cls.rows) > 1:
            parser.add_argument(
                "--rows", nargs="+", choices=cls.rows, metavar="ROW",
                help=f"only these rows of {', '.join(cls.rows)}".replace("%", "%%"),
            )  # fmt: skip
        if len(cls.seeds) > 1:
            parser.add_argument("--seeds", type=int, nargs="+", metavar="N", help=f"default: {_words(cls.seeds)}")
        for each in _options(cls):
            about, flag = each.metadata["help"].replace("%", "%%"), "--" + each.name.replace("_", "-")
            if each.default is False:
                parser.add_argument(flag, action="store_true", help=about)
            else:
                parser.add_argument(
                    flag, type=type(each.default), default=each.default, help=f"{about}; default: {each.default}"
                )
        return parser

    @classmethod
    def from_options(cls, given: argparse.Namespace) -> Self:
        """Make the experiment of a parsed command line.

        Args:
            given: the options that :meth:`parser` has parsed.

        Returns:
            The experiment, which has measured nothing yet.

        Raises:
            ValueError: a value that a subclass refuses.
        """
        return cls(**{each.name: getattr(given, each.name) for each in _options(cls)})

    @classmethod
    def main(cls, arguments: Sequence[str]) -> int:
        """Run the command.

        Args:
            arguments: the words of the command line after ``causalcnn experiment NAME``.

        Returns:
            The exit code, which is 0; 2 where a file cannot be written or kept rows have other settings; 130 after an
            interrupt.

        Raises:
            SystemExit: an option that the parser refuses, or ``--help``.
        """
        parser = cls.parser()
        given = parser.parse_args(arguments)
        command = shlex.join(["causalcnn", "experiment", cls.name, *arguments])
        if cls.prerequisite:
            command = f"{cls.prerequisite}; {command}"
        chosen = {key: getattr(given, key, None) for key in ("rows", "seeds", "runs")}
        try:
            experiment = cls.from_options(given)
        except ValueError as problem:
            parser.error(str(problem))
        try:
            experiment.run(given.out, **chosen, command=command)
        except (OSError, ResumeError) as problem:
            print(f"{parser.prog}: {problem}", file=sys.stderr)
            return USAGE
        except KeyboardInterrupt:
            print(f"{parser.prog}: interrupted; the same command goes on with what is missing", file=sys.stderr)
            return INTERRUPTED
        return 0


def _options(experiment: Experiment | type[Experiment]) -> list[Field[Any]]:
    return [each for each in fields(experiment) if "help" in each.metadata]


class _Run:
    """One row with one seed, in a file of its own."""

    def __init__(self, experiment: Experiment, row: str, seed: int) -> None:
        self.experiment, self.row, self.seed = experiment, row, seed
        stem = re.sub(r"[^\w.]+", "-", row)
        self.file = experiment.folder / f"{stem}-{seed}.run.json"
        of = {"experiment": experiment.name, "row": row, "seed": seed, **experiment.settings(row, seed)}
        self.of = json.loads(json.dumps(of, default=str))
        self.kept: dict[str, Any] = {}
        if self.file.exists():
            try:
                self.kept = json.loads(self.file.read_text("utf8"))
                self.kept["of"], self.kept["result"]
            except (ValueError, KeyError, TypeError) as problem:
                raise ResumeError(f"{str(self.file)!r} is damaged ({problem}); remove it") from problem
        if self.kept and self.kept["of"] != self.of:
            there, here = self.kept["of"], self.of
            differences = "; ".join(
                f"{key} is {there.get(key)} there and {here.get(key)} here"
                for key in {**there, **here}
                if there.get(key) != here.get(key)
            )
            raise ResumeError(
                f"{str(self.file)!r} was measured with other settings: {differences}. "
                "Give the same settings, or another --runs, or remove that folder."
            )

    def result(self) -> Any:
        """What is kept, or what is measured now and then kept; either way as it comes back from JSON."""
        if not self.kept:
            self.kept = json.loads(json.dumps({"of": self.of, "result": self.experiment.measure(self.row, self.seed)}))
            write_json(self.file, self.kept)
        return self.kept["result"]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums are added in the same order on every machine, and small networks only wait for more threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def device() -> str:
    """Describe the machine that a table was measured on: processor, threads, version of torch."""
    threads = torch.get_num_threads()
    return f"CPU ({platform.machine()}), {threads} thread{'s' * (threads > 1)}, torch {torch.__version__.split('+')[0]}"


def _words(numbers: Iterable[int]) -> str:
    return " ".join(map(str, numbers))


# ------------------------------------------------------------------------------------------- what many need
def half_interval(values: Sequence[float]) -> float | None:
    """Compute half of the 95 % interval of the mean by Student's t.

    Args:
        values: independent measurements of the same thing, one a seed for example.

    Returns:
        In the unit of the values; None for fewer than two.

    Raises:
        ImportError: scipy is not installed.

    Example:
        >>> from causalcnn_book.experiment import half_interval
        >>> round(half_interval([1.0, 2.0, 3.0]), 3)
        2.484
    """
    if len(values) < 2:
        return None
    quantile = float(require("scipy.stats", extra="book").t.ppf(0.975, len(values) - 1))
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


def summary(values: Sequence[float], digits: int = 4, *, by: str = "seed") -> dict[str, Any]:
    """Sum up measurements: their mean, half of the 95 % interval of the mean, and the values themselves.

    Args:
        values: one or more measurements of the same thing.
        digits: digits after the point that everything is rounded to.
        by: what there is one value of: ``"seed"``, ``"speaker"``.

    Returns:
        ``mean``, ``half_interval`` (None for one value) and ``by_seed`` (or ``by_speaker``).

    Raises:
        ImportError: scipy is not installed.

    Example:
        >>> from causalcnn_book.experiment import summary
        >>> summary([1.0, 2.0, 3.0])
        {'mean': 2.0, 'half_interval': 2.4841, 'by_seed': [1.0, 2.0, 3.0]}
    """
    half = half_interval(values)
    return {
        "mean": round(statistics.mean(values), digits),
        "half_interval": None if half is None else round(half, digits),
        f"by_{by}": [round(value, digits) for value in values],
    }


def refuse_shared(train: EmbeddedSpeech | FeatureCorpus, test: EmbeddedSpeech | FeatureCorpus) -> None:
    """Refuse two corpora that have a speaker in common.

    Args:
        train: the speech that is learned from.
        test: the speech that is tested on.

    Raises:
        ValueError: a speaker is in both.
    """
    if shared := set(train.speaker_names) & set(test.speaker_names):
        raise ValueError(f"the speakers {sorted(shared)} are in both corpora; a test needs voices that are new")


def by_seed(results: Mapping[int, Any], key: str) -> list[Any]:
    """Pick one number of a row's results, for every seed.

    Args:
        results: seed → result.
        key: the name of the number.

    Returns:
        The numbers, in the order of the seeds.
    """
    return [result[key] for result in results.values()]
