"""One thread and a fixed hypothesis profile: the same tests, the same numbers, everywhere."""

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "fixed",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
settings.load_profile("fixed")
os.environ.setdefault("MPLBACKEND", "agg")


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed():
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
