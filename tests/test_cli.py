"""The command stands on its own: it works with torch and numpy alone, and says what else an experiment needs."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

import causalcnn
from causalcnn import cli
from causalcnn.speech import SOURCES

LIBRARY = Path(cli.__file__).parent
EXTRAS = {
    "causalcnn_book",
    "anywidget",
    "constriction",
    "espeakng_loader",
    "ipywidgets",
    "IPython",
    "lazy_loader",
    "librosa",
    "matplotlib",
    "numba",
    "pooch",
    "safetensors",
    "scipy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "soundfile",
    "tqdm",
    "traitlets",
}
ALONE = f"""
import sys
from importlib.machinery import PathFinder

found = PathFinder.find_spec
PathFinder.find_spec = lambda name, *place: None if name.partition(".")[0] in {EXTRAS} else found(name, *place)
from causalcnn.cli import main
sys.exit(main(sys.argv[1:]))
"""


def alone(*words: str) -> subprocess.CompletedProcess[str]:
    """The command where only torch, numpy and causalcnn are installed: no book, and nothing that an extra brings."""
    command = [sys.executable, "-c", ALONE, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_audit_needs_torch_and_numpy_only() -> None:
    done = alone("audit", "torch.nn:Identity", "--example", "1,2,8")
    assert done.returncode == 0, done.stderr
    assert "causal" in done.stdout


def test_an_experiment_without_the_book_names_the_extra() -> None:
    done = alone("experiment", "dilation", "--help")
    assert done.returncode == 2
    assert "No module named 'causalcnn_book'" in done.stderr
    assert "pip install 'causalcnn[book]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_training_without_its_extra_names_it_before_the_work(tmp_path: Path) -> None:
    done = alone("train", "vqvae2", "--out", str(tmp_path / "model"))
    assert done.returncode == 2
    assert "pip install 'causalcnn[" in done.stderr
    assert "Traceback" not in done.stderr


def test_where_no_experiment_is_registered_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "entry_points", lambda **selection: EntryPoints())
    assert cli.main(["experiment", "dilation"]) == 2
    errors = capsys.readouterr().err
    assert "no experiment is installed" in errors
    assert "pip install 'causalcnn[book]'" in errors


def test_an_experiment_gets_what_follows_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    here = EntryPoints([EntryPoint("echo", f"{__name__}:echo", cli.EXPERIMENTS)])
    monkeypatch.setattr(cli, "entry_points", lambda **selection: here.select(**selection))
    assert cli.main(["experiment", "echo", "--out", "table.json"]) == 0
    assert heard == [["--out", "table.json"]]


def test_download_lists_what_there_is_and_gives_a_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CAUSALCNN_OFFLINE", "1")
    monkeypatch.setenv("CAUSALCNN_CACHE", str(tmp_path))
    monkeypatch.delenv("CAUSALCNN_DATA", raising=False)
    assert cli.main(["download"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == len(SOURCES)
    assert any("libri1" in line and "0.1 MB" in line and "CC BY 4.0" in line for line in listed)
    assert cli.main(["download", "typo"]) == 2
    assert "no source is called 'typo'; there are libri1" in capsys.readouterr().err
    assert cli.main(["download", "ljspeech"]) == 2
    assert "2748.6 MB) is not on this machine and cannot be downloaded" in capsys.readouterr().err
    archive = tmp_path / SOURCES["free-spoken-digits"].name
    archive.mkdir()
    assert cli.main(["download", "free-spoken-digits"]) == 0
    assert capsys.readouterr().out.strip() == str(archive)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(["--version"])
    assert done.value.code == 0
    assert capsys.readouterr().out.strip() == f"causalcnn {causalcnn.__version__}"


heard: list[list[str]] = []


def echo(arguments: list[str]) -> None:
    heard.append(arguments)


def test_the_library_does_not_import_the_book() -> None:
    for file in LIBRARY.rglob("*.py"):
        tree = ast.parse(file.read_text("utf8"))
        names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        names += [str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)]  # for importlib
        assert not [name for name in names if name.partition(".")[0] == "causalcnn_book"], file


def test_models_and_training_know_nothing_of_each_other() -> None:
    """The command brings them together."""
    for package, other in (("models", "training"), ("training", "models"), ("training", "speech")):
        for file in (LIBRARY / package).glob("*.py"):
            assert f"causalcnn.{other} import" not in file.read_text("utf8"), file
            assert f"from causalcnn.{other}." not in file.read_text("utf8"), file
