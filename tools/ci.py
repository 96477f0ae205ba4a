"""What a landing and a release must pass, in stages, each with its seconds and its tests.

    python3 tools/ci.py landing              every stage of a landing, and a seventh of the release's long proofs
    python3 tools/ci.py release [STAGE …]    everything, or some stages; what passed for this commit is not run again
    python3 tools/ci.py release --list       the stages, and which of them this commit has passed

The seventh is chosen by the commit's hash, so that the long proofs are really run, a part of them each time. A stage of
the release ends within an hour. Standard library only: this installs what everything else needs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import bootstrap
import javascript

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "_build" / "ci" / "release.json"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FUZZ = "25"
"""How many times as many examples as usual the long fuzz gives to each property."""
LIMIT_SECONDS = 3600
COLD_SECONDS = 1200
"""What the whole book, executed and built from nothing, may take."""


@dataclass
class Result:
    """What one stage came to."""

    name: str
    seconds: float = 0.0
    passed: bool = True
    tests: dict[str, int] = field(default_factory=dict)


# ------------------------------------------------------------------------------------------------------- running
def run(result: Result, command: Sequence[str], **environment: str) -> None:
    """Run a command, show what it prints, count its tests; a failure, or more than an hour, fails the stage."""
    print("$", " ".join([*(f"{k}={v}" for k, v in environment.items()), *command]), flush=True)
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf8",
        errors="replace",
    )
    clock = threading.Timer(LIMIT_SECONDS, process.kill)
    clock.start()
    last = ""
    for line in process.stdout or ():
        print(line, end="", flush=True)
        last = line if re.search(r"\d (passed|failed|skipped|error)", line) and " in " in line else last
    status = process.wait()
    clock.cancel()
    for number, kind in re.findall(r"(\d+) (passed|failed|skipped|xfailed|xpassed|errors?)", last):
        result.tests[kind] = result.tests.get(kind, 0) + int(number)
    nothing = status == 5 and "--seventh" in command  # pytest: no test was left, and in a seventh that may be
    if status and not nothing:
        result.passed = False
        print(f"=== FAILED ({status}) after {time.perf_counter() - started:.0f} s: {' '.join(command)}", flush=True)


def make(result: Result, target: str) -> None:
    """Run a target as a reader does."""
    run(result, ["make", target] if shutil.which("make") else [sys.executable, "tools/make.py", target])


def pytest(result: Result, marks: str, *options: str, workers: str = "auto", **environment: str) -> None:
    """Run the tests that carry these marks."""
    parallel = [] if workers == "0" else ["-n", workers]
    run(
        result,
        [bootstrap.venv_python(), "-m", "pytest", "-q", *parallel, *options, "-m", marks, "tests"],
        **environment,
    )


def commit() -> str:
    """Return the hash of the commit; where there is no git, or the tree is not as committed, one of the sources."""
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    state = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False)
    if git.returncode == 0 and not state.stdout.strip():
        return git.stdout.strip()
    digest = hashlib.sha1(git.stdout.encode())
    for folder in ("src", "tests", "tools", "book"):
        for path in sorted(p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts):
            digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


# --------------------------------------------------------------------------------------------------------- stages
def environment(result: Result) -> None:
    """A Chromium, node, the npm packages, .venv, and in it the compiled loop of streams."""
    missing = [] if any(map(shutil.which, CHROMIUM)) else ["chromium"]
    missing += [] if shutil.which("node") and shutil.which("npm") else ["nodejs", "npm"]
    if missing and shutil.which("apt-get"):
        root = [] if getattr(os, "geteuid", lambda: 1)() == 0 else ["sudo"]
        run(Result(""), [*root, "apt-get", "update", "-q"])
        words = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
        run(Result(""), [*root, "env", "DEBIAN_FRONTEND=noninteractive", *words])
    if not javascript.installed():
        print("Could not install the npm packages: the tests that need them say that they skip.", flush=True)
    run(result, [sys.executable, "tools/bootstrap.py"])
    run(result, [bootstrap.venv_python(), "-m", "causalcnn.engine"])  # once, before many workers need it


def lint(result: Result) -> None:
    """Style and types."""
    make(result, "lint")


def book(result: Result) -> None:
    """Every chapter executed once, and the HTML without a warning; a second time there is nothing to execute."""
    started = time.perf_counter()
    make(result, "book")
    if time.perf_counter() - started > COLD_SECONDS:
        result.passed = False
        print(f"=== FAILED: the book took more than the {COLD_SECONDS} s that everything may take", flush=True)
    make(result, "book")


def test(result: Result) -> None:
    """What `make test` runs; the chapters were executed by the book."""
    make(result, "test")


def oldest(result: Result) -> None:
    """The core on the oldest torch that pyproject.toml promises."""
    folder = javascript.CACHE / "causalcnn-ci" / "torch-2.6"
    python = str(folder / "bin" / "python")
    check = [python, "-c", "import torch; assert torch.__version__.startswith('2.6')"]
    if not os.path.exists(python) or subprocess.run(check, capture_output=True, check=False).returncode:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        # The CPU build: on Linux the other one brings gigabytes of GPU libraries with it.
        words = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        build = "torch==2.6.0" if sys.platform == "darwin" else "torch==2.6.0+cpu"
        if subprocess.run([*words, build], capture_output=True, check=False, timeout=900).returncode:
            print("SKIPPED: torch 2.6.0 for the CPU cannot be had here, so the oldest promised torch is not tested.")
            return
        run(result, [*words, "numpy>=1.26", "pytest", "hypothesis", "typing-extensions"])
    words = [python, "-m", "pytest", "-q", "-m", "not slow and not page and not budget and not release"]
    run(result, [*words, "tests/nn", "tests/causality"], PYTHONPATH=os.pathsep.join(["src", "tools"]))


def slow(result: Result) -> None:
    """Proofs that take long."""
    pytest(result, "slow and not release")


def pages(result: Result) -> None:
    """The built pages in a browser."""
    pytest(result, "page and not release")


def budgets(result: Result) -> None:
    """Seconds of the chapters, and Lighthouse on three pages."""
    pytest(result, "budget and not release", "-s", "-rxfE", workers="0")


def graphs(result: Result, *options: str) -> None:
    """Thousands of random networks against the oracle, and the largest grids."""
    pytest(result, "slow and release", *options)


def fuzz(result: Result, *options: str) -> None:
    """Every property with many times as many examples."""
    pytest(result, "hypothesis and not release", *options, CAUSALCNN_FUZZ=FUZZ)


def views(result: Result, *options: str) -> None:
    """Every page in every width and theme, with axe, and what else a landing leaves out in the browser."""
    pytest(result, "page and release", *options)


def lighthouse(result: Result, *options: str) -> None:
    """Every page in Lighthouse, as a phone and as a desktop."""
    pytest(result, "budget and release", "-s", "-rxfE", *options, workers="0")


def house(result: Result) -> None:
    """What a landing runs of the library and the book, without its browser."""
    for part in (lint, book, test, oldest, slow):
        print(f"--- {part.__name__}: {(part.__doc__ or '').strip()}")
        part(result)


def browser(result: Result) -> None:
    """What a landing runs of the built pages."""
    for part in (pages, budgets):
        part(result)


LONG = (graphs, fuzz, views, lighthouse)
LANDING = (environment, lint, book, test, oldest, slow, pages, budgets)
RELEASE = (house, graphs, fuzz, browser, views, lighthouse)
NEED_PAGES = (browser, views, lighthouse)


def seventh(result: Result) -> None:
    """The seventh of the release's long proofs that this commit's hash chooses."""
    chosen = str(int(commit(), 16) % 7)
    for part in LONG:
        part(result, "--seventh", chosen)


# --------------------------------------------------------------------------------------------------------- report
def stage(function: Callable[[Result], None]) -> Result:
    """Run one stage under the clock."""
    print(f"\n=== {function.__name__}: {(function.__doc__ or '').strip()}", flush=True)
    result = Result(function.__name__)
    started = time.perf_counter()
    function(result)
    result.seconds = time.perf_counter() - started
    return result


def table(results: Sequence[Result]) -> str:
    """Return seconds and tests of each stage as lines of text."""
    kinds = ("passed", "skipped", "xfailed", "failed")
    whole = Result("all", sum(r.seconds for r in results), all(r.passed for r in results))
    whole.tests = {kind: sum(r.tests.get(kind, 0) for r in results) for kind in kinds}
    lines = ["", f"{'stage':14}{'seconds':>9}" + "".join(f"{kind:>9}" for kind in kinds)]
    for r in (*results, whole):
        counts = "".join(f"{r.tests.get(kind, 0) or '–':>9}" for kind in kinds)
        lines.append(f"{r.name:14}{r.seconds:9.0f}{counts}" + ("" if r.passed else "  FAILED"))
    return "\n".join(lines)


def remember(record: dict[str, dict[str, object]], result: Result) -> None:
    """Keep what a stage came to; the file is whole at any time."""
    record[result.name] = asdict(result)
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    new = RECORD.with_suffix(".new")
    new.write_text(json.dumps({"commit": commit(), "stages": record}, indent=1), "utf8")
    os.replace(new, RECORD)


def known() -> dict[str, dict[str, object]]:
    """Return what the stages came to for this commit."""
    try:
        kept = json.loads(RECORD.read_text("utf8"))
        return dict(kept["stages"]) if kept["commit"] == commit() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def landing() -> list[Result]:
    """Run every stage of a landing."""
    return [stage(one) for one in (*LANDING, seventh)]


def release(names: Sequence[str]) -> list[Result]:
    """Run the stages of the release that this commit has not passed yet, or those that are named."""
    stages = {one.__name__: one for one in RELEASE}
    record = known()
    wanted = [one for name, one in stages.items() if (name in names or not names)]
    pending = [one for one in wanted if not record.get(one.__name__, {}).get("passed")]
    if pending:
        made = stage(environment)
        if made.passed and any(one in NEED_PAGES for one in pending) and house not in pending:
            make(made, "book")
        if not made.passed:
            return [made]
    for one in pending:
        remember(record, stage(one))
    return [Result(**record[one.__name__]) for one in wanted]  # type: ignore[arg-type]


def main() -> int:
    """Run what was asked for, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("landing", "release"))
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=", ".join(one.__name__ for one in RELEASE))
    parser.add_argument("--list", action="store_true", help="say what there is, run nothing")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.stages) - {one.__name__ for one in RELEASE})
    if unknown or (arguments.what == "landing" and arguments.stages):
        parser.error(f"no stage of the {arguments.what}: {', '.join(unknown or arguments.stages)}")
    if arguments.list:
        passed = known()
        for one in RELEASE if arguments.what == "release" else (*LANDING, seventh):
            mark = "passed" if passed.get(one.__name__, {}).get("passed") else ""
            print(f"{one.__name__:12}{mark:8}{(one.__doc__ or '').strip()}")
        return 0
    os.environ.setdefault("CAUSALCNN_NODE", str(javascript.NODE))
    recordings = ROOT.parent / "shared" / "real"
    if "CAUSALCNN_DATA" not in os.environ and recordings.is_dir():  # real recordings beside the checkout
        os.environ["CAUSALCNN_DATA"] = str(recordings)
    results = landing() if arguments.what == "landing" else release(arguments.stages)
    print(table(results))
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
