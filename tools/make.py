"""The commands of this repository, also where there is no make.

    python tools/make.py book|test|serve|lint|bench|clean

Each may be the first command in a fresh clone: it makes the environment when there is none (tools/bootstrap.py).
Standard library only, and readable by any Python.
"""

from __future__ import print_function

import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import bootstrap

ROOT = bootstrap.ROOT
QUICK = "not slow and not page and not budget and not release"
CACHES = ("_build", ".pytest_cache", ".hypothesis", ".mypy_cache", ".ruff_cache", "dist")


def run(*arguments):
    """Run a Python program in the environment; return its exit status."""
    environment = dict(os.environ, PYTHONUTF8="1")
    return subprocess.call([bootstrap.ensure()] + list(arguments), cwd=ROOT, env=environment)


def book():
    """Execute what changed, build the pages, say where they are."""
    return run(os.path.join("tools", "build_book.py"))


def test():
    """Execute the chapters with nbmake, then run the tests of the library and of the book."""
    status = run(os.path.join("tools", "build_book.py"), "--execute")
    return run("-m", "pytest", "-m", QUICK, "-n", "auto", "--dist", "loadfile", "-q", "tests") or status


def serve():
    """Show the built book; build it first when it is not there."""
    if not os.path.exists(os.path.join(ROOT, "_build", "html", "index.html")):
        status = book()
        if status:
            return status
    print("The book is at http://127.0.0.1:8000/  (Ctrl-C ends it)")
    sys.stdout.flush()
    try:
        return run("-m", "http.server", "8000", "--bind", "127.0.0.1", "--directory", os.path.join("_build", "html"))
    except KeyboardInterrupt:
        return 0


def lint():
    """Check style, types and docstrings of the Python, and style and types of the JavaScript."""
    paths = ["src", "tests", "tools", "benchmarks"]
    python = [run("-m", "ruff", "check", "."), run("-m", "ruff", "format", "--check", *paths), run("-m", "mypy")]
    return max(python + [run(os.path.join("tools", name)) for name in ("docstrings.py", "javascript.py")])


def bench():
    """Run the benchmarks, each a table."""
    folder = os.path.join(ROOT, "benchmarks")
    names = sorted(name for name in os.listdir(folder) if name.endswith(".py") and not name.startswith("_"))
    if not names:
        print("There is no benchmark yet.")
    return max([run(os.path.join("benchmarks", name)) for name in names] or [0])


def clean():
    """Remove what was built and cached; the environment stays."""
    for name in CACHES:
        shutil.rmtree(os.path.join(ROOT, name), ignore_errors=True)
    return 0


COMMANDS = {"book": book, "test": test, "serve": serve, "lint": lint, "bench": bench, "clean": clean}

if __name__ == "__main__":
    chosen = sys.argv[1:]
    if len(chosen) != 1 or chosen[0] not in COMMANDS:
        bootstrap.fail("usage: python tools/make.py " + "|".join(sorted(COMMANDS)))
    sys.exit(COMMANDS[chosen[0]]())
