"""No test of speech touches the network or the user's cache; recordings come from CAUSALCNN_DATA or are skipped."""

import os
from pathlib import Path

import pytest

DATA = os.environ.get("CAUSALCNN_DATA")


@pytest.fixture(autouse=True)
def _own_cache_and_no_network(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("CAUSALCNN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("CAUSALCNN_OFFLINE", "1")
    monkeypatch.delenv("CAUSALCNN_DATA", raising=False)


@pytest.fixture
def recordings(monkeypatch):
    """The folder of real recordings, with CAUSALCNN_DATA set to it."""
    if not DATA:
        pytest.skip("CAUSALCNN_DATA is not set: it names the folder of real recordings")
    monkeypatch.setenv("CAUSALCNN_DATA", DATA)
    return Path(DATA)
