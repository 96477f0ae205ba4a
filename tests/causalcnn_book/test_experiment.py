"""The harness of the experiments: nothing measured is lost, nothing half is written, nothing foreign is mixed in."""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from scipy import stats

from causalcnn_book import experiment as harness
from causalcnn_book.experiment import Experiment, Results, ResumeError, half_interval, option, summary

ROOT = Path(__file__).resolve().parents[2]
MEASUREMENTS = sorted((ROOT / "book" / "measurements").glob("*.json"))
CARDS = sorted((ROOT / "book" / "checkpoints").glob("*.json"))


@harness.dataclass
class Toy(Experiment):
    """Numbers that are drawn. More is not said in --help."""

    name = "toy"
    spread = "none"
    rows = ("one", "two, with a comma", "thrée")
    seeds = (0, 1)

    scale: float = option(1.0, "of the numbers")
    steps: int = option(3, "how many, or 100 %")
    quiet: bool = option(False, "a switch")

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"--steps is {self.steps}; it must be 1 or more")
        self.measured: list[tuple[str, int]] = []
        self.interrupt_after = 99

    def measure(self, row: str, seed: int) -> dict[str, Any]:
        if len(self.measured) == self.interrupt_after:
            raise KeyboardInterrupt
        self.measured.append((row, seed))
        draw = torch.Generator().manual_seed(seed + len(row))
        return {"numbers": (self.scale * torch.randn(self.steps, generator=draw)).tolist(), "row": (row,)}

    def table(self, results: Results) -> dict[str, Any]:
        return {"rows": {row: list(found.values()) for row, found in results.items()}, "seeds_there": len(results)}

    def tables_beside(self, results: Results) -> dict[str, dict[str, Any]]:
        return {"more": {"first": next(iter(results.values()))}}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("done", range(6))
def test_an_interrupted_run_goes_on_to_the_same_file(tmp_path: Path, done: int) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    Toy().run(whole / "toy.json")
    first = Toy()
    first.interrupt_after = done
    with pytest.raises(KeyboardInterrupt):
        first.run(broken / "toy.json")
    assert not (broken / "toy.json").exists()
    assert len(list((broken / "toy.json.runs").glob("*.run.json"))) == done
    second = Toy()
    second.run(broken / "toy.json")
    assert first.measured + second.measured == [(row, seed) for row in Toy.rows for seed in Toy.seeds]
    assert files(broken) == files(whole)
    assert set(files(whole)) == {"toy.json", "toy-more.json"}


def test_every_finished_row_is_whole_while_the_next_one_is_measured(tmp_path: Path) -> None:
    class Watched(Toy):
        def measure(self, row: str, seed: int) -> dict[str, Any]:
            found = sorted(tmp_path.rglob("*.*"))
            assert len([json.loads(path.read_text("utf8")) for path in found if path.suffix == ".json"]) == len(
                self.measured
            )
            assert not list(tmp_path.rglob("*.part"))
            return super().measure(row, seed)

    Watched().run(tmp_path / "toy.json")


def test_a_failure_while_the_table_is_written_leaves_the_old_table(tmp_path: Path, monkeypatch: Any) -> None:
    out = tmp_path / "toy.json"
    out.write_text("the old one")
    monkeypatch.setattr(Toy, "table", lambda self, results: {"not": object()})
    with pytest.raises(TypeError, match="not JSON serializable"):
        Toy().run(out)
    assert out.read_text() == "the old one"
    assert {path.name for path in tmp_path.iterdir()} == {"toy.json", "toy.json.runs"}
    monkeypatch.undo()
    again = Toy()
    again.run(out)
    assert again.measured == []


def test_other_settings_are_refused_before_the_work(tmp_path: Path) -> None:
    first = Toy(scale=2.0)
    first.interrupt_after = 3
    with pytest.raises(KeyboardInterrupt):
        first.run(tmp_path / "toy.json")
    second = Toy(scale=3.0)
    with pytest.raises(ResumeError, match=r"other settings: scale is 2\.0 there and 3\.0 here"):
        second.run(tmp_path / "toy.json")
    assert second.measured == []
    # A row that was never measured has nothing to disagree with.
    second.run(tmp_path / "toy.json", rows=("thrée",), seeds=(1,), runs=tmp_path / "others")


def test_kept_rows_fill_a_larger_table_and_stay(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    Toy().run(tmp_path / "a.json", rows=("one",), seeds=(0,), runs=runs)
    more = Toy()
    more.run(tmp_path / "b.json", rows=("one",), seeds=(0, 5), runs=runs)
    assert more.measured == [("one", 5)]
    assert len(list(runs.iterdir())) == 2


@pytest.mark.parametrize("out", ["", "blocked/toy.json"])
def test_a_file_that_cannot_be_written_fails_before_the_work(tmp_path: Path, out: str, capsys: Any) -> None:
    (tmp_path / "blocked").write_text("a file where a folder should be")
    experiment = Toy()
    with pytest.raises(OSError, match=r"folder|directory|exists"):
        experiment.run(tmp_path / out)
    assert experiment.measured == []
    assert Toy.main(["--out", str(tmp_path / out)]) == 2
    assert "cannot write" in capsys.readouterr().err
    assert Toy.main(["--out", str(tmp_path / "toy.json"), "--runs", str(tmp_path / "blocked")]) == 2
    assert "cannot write" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"blocked"}


def test_the_folder_is_made(tmp_path: Path) -> None:
    Toy().run(tmp_path / "new" / "deep" / "toy.json")
    assert (tmp_path / "new" / "deep" / "toy.json").exists()


def test_the_command_says_how_it_was_called_and_on_what(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    assert Toy.main(["--out", "toy.json", "--rows", "two, with a comma", "one", "--seeds", "3", "--scale", "2"]) == 0
    assert torch.get_num_threads() == threads
    table = json.loads(Path("toy.json").read_text("utf8"))
    assert shlex.split(table["command"])[:5] == ["causalcnn", "experiment", "toy", "--out", "toy.json"]
    assert "'two, with a comma'" in table["command"]
    assert list(table)[:4] == ["command", "device", "seeds", "spread"]
    assert table["seeds"] == [3]
    assert table["spread"] == "none"
    assert re.fullmatch(r"CPU \(\w+\), 1 thread, torch [\d.]+\w*", table["device"])


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "the following arguments are required: --out"),
        (["toy.json"], "the following arguments are required: --out"),
        (["--out", "toy.json", "--rows", "four"], "invalid choice: 'four'"),
        (["--out", "toy.json", "--steps", "0"], "--steps is 0; it must be 1 or more"),
    ],
)
def test_a_wrong_command_is_refused(words: list[str], problem: str, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        Toy.main(words)
    assert problem in capsys.readouterr().err


def test_an_interrupt_is_an_exit_code(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(Toy, "measure", lambda self, row, seed: (_ for _ in ()).throw(KeyboardInterrupt))
    assert Toy.main(["--out", str(tmp_path / "toy.json")]) == 130
    assert "goes on" in capsys.readouterr().err


def test_the_help_names_options_rows_and_defaults() -> None:
    text = Toy.parser().format_help()
    for word in ("Numbers that are drawn.", "--runs", "two, with a comma", "default: 0 1", "100 %", "default: 1.0"):
        assert word in re.sub(r"\s+", " ", text)


# ------------------------------------------------------------------------------------------------ intervals
def test_the_interval_is_that_of_scipy() -> None:
    values = [1.0, 2.0, 4.0, 8.0, 9.5]
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert half_interval(values) == pytest.approx((high - low) / 2)
    assert half_interval([1.0]) is None
    assert summary(values, 2, by="speaker") == {
        "mean": 4.9, "half_interval": round((high - low) / 2, 2), "by_speaker": values,
    }  # fmt: skip


def summaries(table: Any) -> Iterator[dict[str, Any]]:
    if isinstance(table, dict) and {"mean", "half_interval"} <= set(table):
        yield table
    elif isinstance(table, dict | list):
        for each in table.values() if isinstance(table, dict) else table:
            yield from summaries(each)


@pytest.mark.parametrize("file", MEASUREMENTS, ids=lambda file: file.stem)
def test_committed_intervals_are_those_of_their_values(file: Path) -> None:
    for each in summaries(json.loads(file.read_text("utf8"))):
        (by,) = (values for key, values in each.items() if key.startswith("by_"))
        lists = isinstance(each["mean"], list)
        means, halves = (each[key] if lists else [each[key]] for key in ("mean", "half_interval"))
        for values, mean, half in zip(zip(*by, strict=True) if lists else [by], means, halves, strict=True):
            # The values are rounded; a unit in their last place may be lost.
            unit = 10.0 ** -max(len(repr(float(value)).partition(".")[2]) for value in values)
            assert mean == pytest.approx(sum(values) / len(values), abs=2 * unit)
            if half is not None:
                assert half == pytest.approx(half_interval(values), abs=2 * unit)


# ------------------------------------------------------------------------------------------------- commands
def experiments() -> dict[str, type[Experiment]]:
    registered = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]["entry-points"]
    found = {}
    for name, place in registered["causalcnn.experiments"].items():
        module, _, path = place.partition(":")
        kind, _, method = path.partition(".")
        assert method == "main"
        found[name] = getattr(import_module(module), kind)
    return found


def test_every_experiment_of_the_book_is_registered_by_its_name() -> None:
    for name, kind in experiments().items():
        assert issubclass(kind, Experiment)
        assert kind.name == name
        kind.parser().format_help()

    def below(kind: type[Experiment]) -> set[type[Experiment]]:
        return {kind}.union(*(below(each) for each in kind.__subclasses__()))

    ours = {each for each in below(Experiment) if each.__module__.startswith("causalcnn_book.")}
    assert ours - {Experiment} == set(experiments().values())


def commands() -> list[tuple[str, str]]:
    """Every command in a measurement or a card, also of the models that a measurement tells of."""
    found: list[tuple[str, str]] = []
    for file in (*MEASUREMENTS, *CARDS):
        texts = re.findall(r'"command": ("(?:[^"\\]|\\.)*")', file.read_text("utf8"))
        found += [(file.name, command.strip()) for text in texts for command in json.loads(text).split(";")]
    return found


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Parsed(Exception):
    """The parser accepted the words; what follows would be the work."""


@pytest.mark.parametrize(("file", "command"), commands())
def test_every_committed_command_exists_with_its_options(file: str, command: str, monkeypatch: Any) -> None:
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self: argparse.ArgumentParser, *words: Any) -> None:
        parse(self, *words)
        raise Parsed

    program, *words = shlex.split(command)
    if program == "python":
        monkeypatch.setattr("sys.argv", words)
        monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
        module = benchmark(Path(words[0]).stem)
        main, arguments = module.main, ()
    else:
        assert program == "causalcnn"
        kinds = experiments()
        if words[0] == "experiment":
            main, arguments = kinds[words[1]].main, (words[2:],)
        else:
            from causalcnn.cli import main

            arguments = (words,)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    with pytest.raises(Parsed):
        main(*arguments)


def test_what_lies_beside_the_rows_is_not_removed(tmp_path: Path) -> None:
    thesis = tmp_path / "toy.json.runs" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    Toy().run(tmp_path / "toy.json")
    assert thesis.read_text() == "years of work"
    assert {path.name for path in thesis.parent.iterdir()} == {"thesis.txt"}


def test_rows_that_this_table_does_not_ask_for_stay(tmp_path: Path) -> None:
    first = Toy()
    first.interrupt_after = 1
    with pytest.raises(KeyboardInterrupt):
        first.run(tmp_path / "toy.json")
    Toy().run(tmp_path / "toy.json", rows=Toy.rows[1:])
    last = Toy()
    last.run(tmp_path / "toy.json")
    assert first.measured[0] not in last.measured


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    first = Toy()
    first.interrupt_after = 1
    with pytest.raises(KeyboardInterrupt):
        first.run(tmp_path / "toy.json")
    (file,) = (tmp_path / "toy.json.runs").glob("*.run.json")
    file.write_text("")
    with pytest.raises(ResumeError, match=r"run\.json' is damaged .*remove it"):
        Toy().run(tmp_path / "toy.json")
