"""Execute what changed and build the book: what is published is what was tested, run once.

    python tools/build_book.py            execute, build the HTML, check it, say where it is
    python tools/build_book.py --execute  only execute (the part of it that `make test` needs)

Chapters in git have no outputs. They are copied to ``_build/executed`` and run there with nbmake; a chapter whose
text, data and library have not changed since its last good run is not run again. The HTML is built from the
executed copies with execution switched off and every warning an error.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import yaml

import html_checks

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
EXECUTED = BUILD / "executed"
HTML = BUILD / "html"

TIMEOUT_SECONDS = 300
JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"


def pages(toc: Path = ROOT / "_toc.yml") -> list[str]:
    """Return the documents of the table of contents, in the order of the book, with their suffix."""
    content = yaml.safe_load(toc.read_text("utf8"))
    names = [content["root"]]
    for part in content.get("parts", [content]):
        for page in part.get("chapters", []):
            names += [each["file"] for each in (page, *page.get("sections", []))]
    found = []
    for name in names:
        files = [f"{name}{suffix}" for suffix in (".ipynb", ".md") if (toc.parent / f"{name}{suffix}").exists()]
        if len(files) != 1:
            raise SystemExit(f"_toc.yml names {name!r}: there must be one of {name}.ipynb and {name}.md, not {files}")
        found.append(files[0])
    return found


def notebooks() -> list[str]:
    """Return the chapters that are executed."""
    return [page for page in pages() if page.endswith(".ipynb")]


# ------------------------------------------------------------------------------------------------------- keys
def _digest(paths: list[Path], extra: str = "") -> str:
    digest = hashlib.sha256(extra.encode())
    for path in paths:
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def library_key() -> str:
    """Hash everything outside a chapter's own file on which its outputs depend."""
    files = [ROOT / "requirements.txt"]
    for folder in ("src/causalcnn", "src/causalcnn_book", "book/measurements", "book/checkpoints"):
        files += [p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    setting = json.dumps([sys.version, os.environ.get("CAUSALCNN_DATA", ""), os.environ.get("CAUSALCNN_OFFLINE", "")])
    return _digest(sorted(files), setting)


def chapter_key(chapter: str, library: str) -> str:
    """Hash a chapter's text together with the library's key."""
    return _digest([ROOT / chapter], library)


def _key_file(chapter: str) -> Path:
    return BUILD / "keys" / (Path(chapter).stem + ".json")


def last_good_run(chapter: str) -> tuple[str, float]:
    """Return the key of a chapter's last good run and its seconds, start of the kernel included; without one, nothing.

    On several cores chapters run side by side, so the seconds are those of a machine at work.
    """
    try:
        kept = json.loads(_key_file(chapter).read_text("utf8"))
        return str(kept["key"]), float(kept["seconds"])
    except (OSError, ValueError, KeyError):
        return "", math.nan


def _durations(report: Path) -> dict[str, float]:
    """Return the seconds of each chapter from pytest's report, by the chapter's stem; nothing of a run that was cut."""
    if not report.exists():
        return {}
    cases = ElementTree.parse(report).getroot().iter("testcase")
    return {Path(case.attrib["name"]).stem: float(case.attrib["time"]) for case in cases}


# -------------------------------------------------------------------------------------------------- execution
def mirror() -> None:
    """Make ``_build/executed`` what the tree is, except for the chapters, which keep their executed copies."""
    wanted = {Path("_toc.yml")} | {
        path.relative_to(ROOT)
        for path in (ROOT / "book").rglob("*")
        if path.is_file() and ".ipynb_checkpoints" not in path.parts
    }
    if EXECUTED.exists():
        for path in [p for p in EXECUTED.rglob("*") if p.is_file()]:
            if path.relative_to(EXECUTED) not in wanted and path.name not in ("_config.yml", "conftest.py"):
                path.unlink()
    for name in wanted:
        source, target = ROOT / name, EXECUTED / name
        if not source.exists() or (name.suffix == ".ipynb" and name.as_posix() in notebooks()):
            continue
        if not target.exists() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    shutil.copyfile(ROOT / "tools" / "executed_conftest.py", EXECUTED / "conftest.py")
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))
    config["execute"] = {"execute_notebooks": "off"}
    tools = os.path.relpath(ROOT / "tools", EXECUTED)
    config["sphinx"]["local_extensions"] = dict.fromkeys(config["sphinx"]["local_extensions"], tools)
    text = yaml.safe_dump(config, sort_keys=False)
    target = EXECUTED / "_config.yml"
    if not target.exists() or target.read_text("utf8") != text:
        target.write_text(text, "utf8")


def failed(notebook: Path) -> bool:
    """Say whether an executed copy holds an error or a cell that did not run."""
    try:
        cells = json.loads(notebook.read_text("utf8"))["cells"]
    except (OSError, ValueError):
        return True
    code = [cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    return any(
        cell["execution_count"] is None or any(out["output_type"] == "error" for out in cell["outputs"])
        for cell in code
    )


def execute() -> int:
    """Run the chapters that changed; return the exit status of the test run (0 when nothing had to run)."""
    mirror()
    library = library_key()
    keys = {chapter: chapter_key(chapter, library) for chapter in notebooks()}
    pending = [c for c, key in keys.items() if last_good_run(c)[0] != key or not (EXECUTED / c).exists()]
    print(f"{len(keys) - len(pending)} of {len(keys)} chapters are as they were at their last good run.", flush=True)
    if not pending:
        return 0
    for chapter in pending:
        _key_file(chapter).unlink(missing_ok=True)
        (EXECUTED / chapter).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / chapter, EXECUTED / chapter)
    workers = min(len(pending), os.cpu_count() or 1, 4)
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    environment = {
        **os.environ,
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYTHONUTF8": "1",
        "OMP_NUM_THREADS": threads,
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "MPLBACKEND": os.environ.get("MPLBACKEND", "module://matplotlib_inline.backend_inline"),
    }
    command = [sys.executable, "-m", "pytest", "--nbmake", "--overwrite", f"--nbmake-timeout={TIMEOUT_SECONDS}"]
    command += ["-q", "-p", "no:cacheprovider", "--durations=0", "--durations-min=0.5"]
    command += ["-n", str(workers)] if workers > 1 else []
    report = BUILD / "execution.xml"
    report.unlink(missing_ok=True)
    command += [f"--junitxml={report}"]
    started = time.perf_counter()
    status = subprocess.run(
        [*command, *(str(EXECUTED / chapter) for chapter in pending)], cwd=ROOT, env=environment, check=False
    ).returncode
    took = _durations(report)
    for chapter in pending:
        if Path(chapter).stem in took and not failed(EXECUTED / chapter):
            _key_file(chapter).parent.mkdir(parents=True, exist_ok=True)
            kept = {"key": keys[chapter], "seconds": took[Path(chapter).stem]}
            _key_file(chapter).write_text(json.dumps(kept), "utf8")
    print(f"Executed {len(pending)} chapters in {time.perf_counter() - started:.0f} s.", flush=True)
    return status


# ------------------------------------------------------------------------------------------------------- HTML
def build() -> int:
    """Build the HTML from the executed copies; return the exit status."""
    command = [sys.executable, "-c", JUPYTER_BOOK, "build", str(EXECUTED), "--path-output", str(ROOT)]
    environment = {**os.environ, "PYTHONUTF8": "1", "JUPYTER_PREFER_ENV_PATH": "1"}
    # Sphinx repeats a warning only for pages that it reads again: after a failed build it must read them all.
    unclean = BUILD / ".html-unclean"
    if unclean.exists():
        shutil.rmtree(BUILD / ".doctrees", ignore_errors=True)
    BUILD.mkdir(parents=True, exist_ok=True)
    unclean.touch()
    started = time.perf_counter()
    status = subprocess.run([*command, "-W", "--keep-going", "-q"], cwd=ROOT, env=environment, check=False).returncode
    if status == 0:
        unclean.unlink()
    print(f"Built the HTML in {time.perf_counter() - started:.0f} s.", flush=True)
    return status


def main() -> int:
    """Execute, build, check."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--execute", action="store_true", help="only execute the chapters")
    arguments = parser.parse_args()
    status = execute()
    if status or arguments.execute:
        return status
    status = build()
    if status:
        print("The book was not built without warnings; see above.", file=sys.stderr)
        return status
    problems = html_checks.site_problems(HTML)
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    if problems:
        return 1
    print(f"\nThe book is at {(HTML / 'index.html').as_uri()}\nTo see it over http: make serve")
    return 0


if __name__ == "__main__":
    sys.exit(main())
