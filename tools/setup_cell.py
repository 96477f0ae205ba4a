"""The first code cell of every chapter: as it stands in git, and as it is published."""

from __future__ import annotations

from collections.abc import Sequence

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


_FETCH = """
# The measurements and trained models that this chapter reads, where the notebook came without them.
from os import replace
from pathlib import Path
from urllib.request import urlretrieve

for name in {files!r}:
    if not Path(name).exists():
        Path(name).parent.mkdir(exist_ok=True)
        urlretrieve("{address}" + name, name + ".part")
        replace(name + ".part", name)
"""


def published(requirement: str, files: Sequence[str] = (), address: str = "") -> str:
    """Return the set-up cell of a published notebook.

    Args:
        requirement: what pip installs where causalcnn is missing.
        files: what the notebook reads besides, as it names them. address: what stands before their names.
    """
    if '"' in requirement + address or "\n" in requirement + address:
        raise ValueError(f"requirement {requirement!r} must be one line without double quotes")
    cell = f'{_HEAD}%pip install --quiet "{requirement}"'
    return cell + _FETCH.format(files=list(files), address=address).rstrip() if files else cell
