"""What the table on collapse is made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from causalcnn.nn import VectorQuantizer
from causalcnn_book.vector_quantisation.collapse import VARIANTS, learn, score

TABLE = Path(__file__).parents[3] / "book" / "measurements" / "collapse.json"


@pytest.fixture(scope="module")
def clusters() -> torch.Tensor:
    """Frames on sixteen well separated places of 80 dimensions, ``(1, 80, 4000)``."""
    draw = torch.Generator().manual_seed(0)
    places = 10 * torch.randn(16, 80, generator=draw)
    return (places[torch.arange(4000) % 16] + 0.1 * torch.randn(4000, 80, generator=draw)).T[None]


def test_a_codebook_learns_its_clusters_and_is_scored_on_them(clusters: torch.Tensor) -> None:
    torch.manual_seed(0)
    found = score(learn(VectorQuantizer(16, 80, decay=0.5), clusters, steps=20, frames=500), clusters)
    assert found["error"] < 0.2
    assert 12 <= found["used"] <= 16
    assert found["entropy_bits"] == pytest.approx(torch.tensor(found["perplexity"]).log2().item(), abs=1e-4)
    assert found["same_as_before"] < 0.2


def test_the_same_seed_learns_the_same_codebook(clusters: torch.Tensor) -> None:
    books = []
    for _ in range(2):
        torch.manual_seed(1)
        books.append(learn(VARIANTS["random_restart"][1](16), clusters, steps=5, seed=3, frames=200).codebook)
    assert torch.equal(*books)


def test_one_codeword_leaves_all_of_the_variance(clusters: torch.Tensor) -> None:
    found = score(learn(VectorQuantizer(1, 80), clusters, steps=1, frames=4000), clusters)
    assert found["error"] == pytest.approx(1, abs=0.02)
    assert found["perplexity"] == pytest.approx(1)


def test_the_committed_table_says_that_the_repairs_repair() -> None:
    rows = json.loads(TABLE.read_text("utf8"))["rows"]
    assert rows["random_512"]["used"]["mean"] < 30
    for name in ("random_restart", "kmeans", "kmeans_restart"):
        assert rows[f"{name}_512"]["used"]["mean"] > 400
        assert rows[f"{name}_512"]["error"]["mean"] < rows["random_512"]["error"]["mean"] / 1.5
