"""Make the environment: .venv with the pins of requirements.txt and the package itself.

Standard library only, and readable by any Python, so that a Python that is too old is told so in words.
A second run does nothing: a stamp in the environment remembers what was installed.
"""

from __future__ import print_function

import hashlib
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, "causalcnn-stamp.txt")
OLDEST = (3, 11)
NEWER = ("python3.14", "python3.13", "python3.12", "python3.11")


def fail(*lines):
    """End with a message of what is wrong and what to do."""
    sys.stderr.write("\n" + "\n".join(lines) + "\n\n")
    sys.exit(1)


def venv_python():
    """Return the path of the environment's own Python."""
    if os.name == "nt":
        return os.path.join(VENV, "Scripts", "python.exe")
    return os.path.join(VENV, "bin", "python")


def answers(command, code):
    """Say whether a Python exists, starts, and runs the code without error."""
    try:
        with open(os.devnull, "w") as silence:
            return subprocess.call(command + ["-c", code], stdout=silence, stderr=silence) == 0
    except OSError:
        return False


def new_enough_python():
    """Return the command of a Python that is new enough and can make environments, or end with a message."""
    check = "import sys; sys.exit(sys.version_info < (%d, %d))" % OLDEST
    tools = "import venv, ensurepip"
    good = [[name] for name in [sys.executable] + list(NEWER) if name and answers([name], check)]
    for command in good:
        if answers(command, tools):
            return command
    if good:
        version = "%d.%d" % sys.version_info[:2]
        fail(
            "This Python (%s, %s) has no complete venv module, so no environment can be made." % (version, good[0][0]),
            "On Debian and Ubuntu: sudo apt install python%s-venv   (or python3-venv); then run this again." % version,
            "Elsewhere: install Python from python.org, which has it.",
        )
    return fail(
        "causalcnn needs Python %d.%d or newer; this is %d.%d (%s)."
        % (OLDEST + tuple(sys.version_info[:2]) + (sys.executable,)),
        "Install a newer one (python.org, your package manager), or name it: make book PYTHON=/path/to/python3.12",
    )


def wanted():
    """Return what the environment should hold, in two hashes: the pins, and the package's own metadata."""
    hashes = []
    for name in ("requirements.txt", "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as file:
            hashes.append(hashlib.sha256(file.read()).hexdigest())
    return hashes + [ROOT]


def installed():
    """Return what the stamp says was installed, or nothing."""
    try:
        with open(STAMP) as file:
            return file.read().split("\n")
    except (IOError, OSError):
        return []


def pip(*arguments):
    """Install with the environment's own pip, or end with a message."""
    command = [venv_python(), "-m", "pip", "install", "--disable-pip-version-check"] + list(arguments)
    if subprocess.call(command, cwd=ROOT) != 0:
        fail(
            "pip could not install what is needed (see above).",
            "The first installation needs a network and about 3 GB of disk; run the same command again to go on.",
        )


def ensure():
    """Make the environment if it is missing or out of date, and return the path of its Python."""
    want, have = wanted(), installed()
    alive = answers([venv_python()], "import sys; sys.exit(sys.version_info < (%d, %d))" % OLDEST)
    if alive and have == want:
        return venv_python()
    if not alive:
        print("Making the environment in .venv …" if sys.version_info[0] > 2 else "Making the environment")
        sys.stdout.flush()
        command = new_enough_python() + ["-m", "venv", "--clear", VENV]
        if subprocess.call(command) != 0:
            fail("The environment could not be made in %s (see above)." % VENV)
        have = []
    print("Installing the pins of requirements.txt and causalcnn itself; the first time this takes some minutes.")
    sys.stdout.flush()
    if have[:1] != want[:1]:
        pip("--quiet", "-r", "requirements.txt")
    pip("--quiet", "--no-deps", "--editable", ".")
    temporary = STAMP + ".new"
    with open(temporary, "w") as file:
        file.write("\n".join(want))
    os.replace(temporary, STAMP) if hasattr(os, "replace") else os.rename(temporary, STAMP)
    return venv_python()


if __name__ == "__main__":
    print(ensure())
