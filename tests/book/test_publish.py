"""Publishing on a made-up address: every launch link is well-formed, and the set-up cell installs a wheel."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

import build_book
import chapter
import offline_book
import publish
import setup_cell

ADDRESS = "https://github.com/made-up/causal-book"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy that the publishing job would push, made from the tree plus one skeleton chapter."""
    out = tmp_path_factory.mktemp("publish") / "launch"
    publish.publish(build_book.ROOT, out, ADDRESS + ".git", "launch")
    return out


def setup_source(notebook: dict[str, Any]) -> str:
    return next("".join(c["source"]) for c in notebook["cells"] if c.get("id") == setup_cell.SETUP_ID)


def test_git_holds_no_address() -> None:
    config = (build_book.ROOT / "_config.yml").read_text("utf8")
    assert "github.com" not in config
    assert "repository:" not in config
    for path in sorted((build_book.ROOT / "book").glob("*.ipynb")):
        assert "git+http" not in path.read_text("utf8"), path.name


def test_every_chapter_gets_the_address(published: Path) -> None:
    for path in sorted((published / "book").glob("*.ipynb")):
        notebook = json.loads(path.read_text("utf8"))
        if any(c.get("id") == setup_cell.SETUP_ID for c in notebook["cells"]):
            assert f"git+{ADDRESS}@launch" in setup_source(notebook)
            assert (
                setup_source(json.loads((build_book.ROOT / "book" / path.name).read_text("utf8"))) == setup_cell.IN_GIT
            )
    config = yaml.safe_load((published / "_config.yml").read_text("utf8"))
    assert config["repository"] == {"url": ADDRESS, "branch": "launch", "path_to_book": ""}
    assert config["sphinx"]["config"]["book_repository"] == ADDRESS


def test_the_setup_cell_fetches_what_the_chapter_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Colab opens the notebook alone: measurements and models come from beside it, once, whole."""
    chapters = [json.loads(path.read_text("utf8")) for path in sorted((build_book.ROOT / "book").glob("*.ipynb"))]
    named = {file for notebook in chapters for file in publish.files_read(notebook)}
    assert "checkpoints/vqvae2-tiny.safetensors" in named
    assert all((build_book.ROOT / "book" / file).is_file() for file in named)

    there = tmp_path / "there"
    (there / "measurements").mkdir(parents=True)
    (there / "measurements" / "one.json").write_text("{}", "utf8")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    cell = setup_cell.published("causalcnn", ["measurements/one.json"], there.as_uri() + "/")
    for _ in range(2):
        exec(compile(cell.replace("%pip", "pass  # %pip"), "cell", "exec"), {})
    assert [path.name for path in (here / "measurements").iterdir()] == ["one.json"]
    assert setup_cell.published("causalcnn").count("\n") == 4


def test_launch_links_are_well_formed() -> None:
    urls = offline_book.launch_urls(ADDRESS, "launch", "book/causality")
    for url in urls.values():
        assert re.fullmatch(r"https://[\w.]+(?:/[\w.-]+)+(?:\?urlpath=[\w./-]+)?", url), url
    assert urls["Colab"].endswith("/github/made-up/causal-book/blob/launch/book/causality.ipynb")
    assert urls["Binder"].startswith("https://mybinder.org/v2/gh/made-up/causal-book/launch?urlpath=")


@pytest.mark.parametrize(
    ("repository", "branch"),
    [("https://example.com/a/b", "launch"), ("git@github.com:a/b", "launch"), ("https://github.com/a", "launch"),
     (ADDRESS, "feature/x"), (ADDRESS, "")],
)  # fmt: skip
def test_an_address_that_colab_cannot_open_is_refused(repository: str, branch: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        publish.publish(build_book.ROOT, tmp_path / "x", repository, branch)


def test_a_changed_setup_cell_is_refused() -> None:
    notebook = chapter.pack(chapter.skeleton("Trial"))
    for cell in notebook["cells"]:
        if cell["id"] == setup_cell.SETUP_ID:
            cell["source"] = ["print('mine')"]
    with pytest.raises(ValueError, match="set-up cell"):
        publish.fill_notebook(notebook, "causalcnn")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the distribution."""
    wheels = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q"]
    subprocess.run([*pip, "--no-build-isolation", "--no-deps", "-w", str(wheels), str(build_book.ROOT)], check=True)
    [built] = wheels.glob("causalcnn-*.whl")
    return built


def test_the_wheel_carries_all_of_both_packages(wheel: Path) -> None:
    source = build_book.ROOT / "src"
    kept = {
        path.relative_to(source).as_posix()
        for package in ("causalcnn", "causalcnn_book")
        for path in (source / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {path.rpartition(".")[2] for path in kept} >= {"py", "js", "css", "pyi", "typed"}
    with zipfile.ZipFile(wheel) as file:
        missing = sorted(kept - set(file.namelist()))
    assert not missing, f"the wheel lacks {missing}"
    for package in ("causalcnn", "causalcnn_book"):
        assert f"{package}/py.typed" in kept


def test_the_setup_cell_installs_a_wheel_where_the_library_is_missing(wheel: Path, tmp_path: Path) -> None:
    """The published cell runs in a fresh environment that has everything but causalcnn, with no network."""
    notebook = chapter.pack(chapter.skeleton("Trial"))
    assert publish.fill_notebook(notebook, f"causalcnn @ {wheel.as_uri()}")

    fresh = tmp_path / "fresh"
    venv.create(fresh, with_pip=True)
    python = fresh / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    [site] = [p for p in fresh.rglob("site-packages") if p.is_dir()]
    # The dependencies come from this environment; a path in a .pth file brings no editable install with it.
    import numpy

    (site / "dependencies.pth").write_text(str(Path(numpy.__file__).parent.parent), "utf8")
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "IPYTHONDIR": str(tmp_path / "ipython")}
    for name in ("VIRTUAL_ENV", "PYTHONPATH"):
        environment.pop(name, None)
    cell = tmp_path / "cell.ipy"
    cell.write_text(setup_source(notebook) + "\nimport causalcnn, sys\nprint(causalcnn.__file__)\n", "utf8")
    outside = tmp_path / "outside"
    outside.mkdir()
    result = subprocess.run(
        [str(python), "-m", "IPython", str(cell)],
        cwd=outside,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert str(site) in result.stdout, result.stdout + result.stderr
