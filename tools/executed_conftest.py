"""Copied to ``_build/executed/conftest.py``: nbmake leaves folders named ``_build`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbmake.pytest_items import NotebookFile


def pytest_collect_file(file_path: Path, parent: Any) -> Any:
    """Collect the executed copies of the chapters."""
    if file_path.suffix == ".ipynb" and parent.config.option.nbmake and "_build" in file_path.parts:
        return NotebookFile.from_parent(parent, path=file_path)
    return None
