"""One thread and a fixed hypothesis profile: the same tests, the same numbers, everywhere."""

from __future__ import annotations

import os
import zlib

import pytest
from hypothesis import HealthCheck, settings

from tests.fuzz import examples

settings.register_profile(
    "fixed",
    derandomize=True,
    deadline=None,
    max_examples=examples(60),
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
settings.load_profile("fixed")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("CAUSALCNN_RULES_RAISE", "1")  # a rule that fails is a fault, and no answer


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed():
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)


def seventh_of(name: str) -> int:
    """Return to which of seven parts of a long run a test belongs; the same everywhere."""
    return zlib.crc32(name.encode()) % 7


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seventh", type=int, metavar="0…6", help="run only this seventh of the tests, chosen by name")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seventh = config.getoption("--seventh")
    if seventh is None:
        return
    chosen = [item for item in items if seventh_of(item.nodeid) == seventh]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen
