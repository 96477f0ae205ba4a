"""The first code cell of every chapter: as it stands in git, and as it is published."""

from __future__ import annotations

SETUP_ID = "setup"

# What a chapter has in git: no address, because the repository's address is known only when it is published.
_HEAD = """\
# Nothing to do where causalcnn is installed; the published notebook installs it in Colab and Binder.
from importlib.util import find_spec

if find_spec("causalcnn") is None:
    """
IN_GIT = (
    _HEAD + """raise ModuleNotFoundError("causalcnn is missing: run `make book`, or install it as its README says")"""
)


def published(requirement: str) -> str:
    """Return the set-up cell that installs ``requirement`` (a pip requirement) where causalcnn is missing."""
    if '"' in requirement or "\n" in requirement:
        raise ValueError(f"requirement {requirement!r} must be one line without double quotes")
    return f'{_HEAD}%pip install --quiet "{requirement}"'
