"""What a value's neighbours tell: counted right, and priced so that more knowledge and a truer shape cost less."""

from __future__ import annotations

import pytest
import torch

from causalcnn.models import get_distribution
from causalcnn.speech import EmbeddedSpeech, FeatureCorpus
from causalcnn_book.likelihood.neighbors import contexts, fit_log_probs, neighbor_values, prices


def test_neighbours_are_one_frame_before_and_one_band_below() -> None:
    bins = torch.arange(12).view(3, 4)  # (mels, time)
    here, before, below = neighbor_values(bins)
    assert here.tolist() == [5, 6, 7, 9, 10, 11]
    assert (here - before).unique().tolist() == [1]
    assert (here - below).unique().tolist() == [4]


def test_contexts_count_every_value_once_where_it_belongs() -> None:
    bins = torch.randint(0, 256, (5, 40), generator=torch.Generator().manual_seed(0))
    table = contexts(bins)
    assert table.shape == (64, 256)
    assert int(table.sum()) == 4 * 39
    obvious = torch.zeros(64, 256, dtype=torch.int64)
    for f in range(1, 5):
        for t in range(1, 40):
            obvious[bins[f, t - 1] // 32 * 8 + bins[f - 1, t] // 32, bins[f, t]] += 1
    assert torch.equal(table, obvious)


def test_a_distribution_is_fitted_by_its_price() -> None:
    bins = torch.arange(256.0)
    lumps = torch.stack(
        [
            (-(((bins - m) / 9) ** 2) / 2).exp() + a * (-(((bins - 200) / 5) ** 2) / 2).exp()
            for m, a in ((60, 0), (90, 1))
        ]
    )
    histograms = (lumps / lumps.sum(1, keepdim=True)).double()
    entropy = torch.special.entr(histograms).sum(1)
    price = {}
    for name in ("gaussian", "gaussian-mixture-1", "gaussian-mixture-4"):
        logs = fit_log_probs(get_distribution(name), histograms, torch.tensor([0.5, 0.5]), steps=400)
        price[name] = -(histograms * logs).sum(1) - entropy
        assert torch.allclose(logs.exp().sum(1), torch.ones(2).double(), atol=1e-4)
    assert price["gaussian-mixture-4"].max() < 0.01
    assert price["gaussian-mixture-1"][0] < 0.01 < 0.5 < price["gaussian-mixture-1"][1]
    assert price["gaussian"][0] > 0.3  # its spread must do for the second, too


def test_more_knowledge_costs_less_on_unheard_speakers() -> None:
    pytest.importorskip("espeakng_loader", reason="needs the extra 'speech'")
    train = FeatureCorpus.of(EmbeddedSpeech("train", speakers=2, seconds=12), cache=False)
    test = FeatureCorpus.of(EmbeddedSpeech("test", speakers=2, seconds=8), cache=False)
    found = prices(train, test, steps=40)
    given = {name: row["mean"] for name, row in found["given"].items()}
    # So little speech fills neither the 1,024 contexts of both nor those of the bands.
    assert given["eighths"] < min(given["before"], given["below"])
    assert max(given["before"], given["below"], given["both"]) < given["nothing"] < 8
    distributions = {name: row["mean"] for name, row in found["distributions"].items()}
    assert max(distributions.values()) < given["nothing"]
    with pytest.raises(ValueError, match="in both corpora"):
        prices(train, train)
