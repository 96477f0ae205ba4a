"""The table of reconstructions: 0 for a perfect model, 1 for the mean frame, nothing learned from the test."""

import json
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("espeakng_loader")
pytest.importorskip("safetensors")

from causalcnn.models import VQVAE2, CausalVQVAE2, VQVAE2Config, save_model
from causalcnn.speech import EmbeddedSpeech, FeatureCorpus, speech_mask
from causalcnn_book.causal_vqvae2 import reconstruction
from causalcnn_book.causal_vqvae2.reconstruction import score, untrained, variance

SMALL = VQVAE2Config(channels=4, residual_channels=2, residual_blocks=1, code_dim=4, num_codes=8)


@pytest.fixture(scope="module")
def corpus():
    return FeatureCorpus.of(EmbeddedSpeech("test", speakers=2, seconds=4))


class Says:
    """A model that says what ``answer`` makes of the input; its codes are all code 3."""

    training = False
    config = SMALL

    def __init__(self, answer):
        self.answer = answer

    def reconstruct(self, x):
        def level(cells):
            return SimpleNamespace(indices=torch.full((1, x.shape[2], cells), 3))

        return self.answer(x), level(10), level(20)


def test_a_perfect_model_scores_0_and_the_mean_frame_1(corpus):
    perfect = score(Says(lambda x: x), corpus)
    assert perfect.error == 0
    assert perfect.usage == (1 / 8, 1 / 8)
    assert perfect.perplexity == pytest.approx((1, 1))
    assert perfect.entropy_bits == pytest.approx((0, 0))
    counted = torch.cat([corpus[i].clamp(min=SMALL.floor_db)[:, speech_mask(corpus[i])] for i in range(len(corpus))], 1)
    mean = counted.mean(1)
    found = score(Says(lambda x: mean.expand_as(x)), corpus)
    assert found.error == pytest.approx(1, rel=1e-5)
    assert found.frames == counted.shape[1]


def test_only_the_low_bands_count_where_it_is_said(corpus):
    def wrong_above(x):
        y = x.clone()
        y[..., 40:] += 100
        return y

    assert score(Says(wrong_above), corpus, bands=40).error == 0
    assert score(Says(wrong_above), corpus, bands=41).error > 1
    assert variance(corpus, 40, -70.0)[1] == variance(corpus, 80, -70.0)[1]


def test_it_does_not_learn_from_the_test(corpus):
    with pytest.raises(ValueError, match=r"eval\(\)"):
        score(CausalVQVAE2(SMALL), corpus)
    model = untrained(CausalVQVAE2(SMALL), corpus)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    score(model, corpus)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_the_table_is_written(tmp_path, monkeypatch, corpus):
    monkeypatch.setattr(reconstruction, "evaluation_sets", lambda seconds: {"embedded": corpus, "digits": corpus})
    torch.manual_seed(0)
    for name, model in (("vqvae2-tiny", CausalVQVAE2(SMALL)), ("vqvae2-noncausal-tiny", VQVAE2(SMALL))):
        save_model(tmp_path / name, model, {"steps": 0})
    reconstruction.Reconstruction.main(["--out", str(tmp_path / "table.json"), "--checkpoints", str(tmp_path)])
    table = json.loads((tmp_path / "table.json").read_text("utf8"))
    assert [(row["set"], row["model"]) for row in table["rows"]] == [
        (name, model)
        for name in ("embedded", "digits")
        for model in ("mean frame", "causal", "non-causal", "untrained")
    ]
    bands = {row["set"]: row["bands"] for row in table["rows"]}
    assert bands["embedded"] == 80
    assert 40 < bands["digits"] < 70
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
