"""The experiment of one sentence: every model that is shown gives frames back, and the figure takes what is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("anywidget")
pytest.importorskip("espeakng_loader", reason="needs the extra speech")

from causalcnn.models import MODELS, save_model
from causalcnn.speech import EmbeddedSpeech, FeatureCorpus
from causalcnn_book.autoencoders import RateExplorer, from_bins
from causalcnn_book.autoencoders.rate_distortion import MODEL_OF, RateDistortion, networks
from causalcnn_book.autoencoders.rate_sentence import SHOWN, RateSentence
from causalcnn_book.autoencoders.task import Task, clips_of

SMALL = {"channels": 4, "residual_channels": 2, "code_dim": 2}


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RateSentence:
    corpus = FeatureCorpus.of(EmbeddedSpeech("train", speakers=2, seconds=4), cache=False)
    task = Task(corpus, clips_of(corpus), {}, {}, "a few seconds")
    monkeypatch.setattr(Task, "usual", classmethod(lambda cls: task))
    for row, config in networks().items():
        torch.manual_seed(0)
        model = MODELS[MODEL_OF[type(config)]](config.with_(**SMALL))
        save_model(tmp_path / f"{row.replace(' ', '-')}-0", model.eval(), {})
    torch.manual_seed(0)
    save_model(tmp_path / "codec", MODELS["vqvae2"](networks()["vq 2 levels"].with_(**SMALL)).eval(), {})
    point = {"embedded": {"rmse_db": {"mean": 3.0}, "bits_per_second": {"unigram": {"mean": 2000.0}}}}
    rows = {row: {"points": dict.fromkeys(labels, point)} for row, labels in SHOWN.items()}
    (tmp_path / "table.json").write_text(json.dumps({"rows": rows}), "utf8")
    return RateSentence(models=tmp_path, coder=tmp_path / "codec", measured=tmp_path / "table.json")


def test_what_is_shown_is_in_the_table() -> None:
    assert set(SHOWN) < set(RateDistortion.rows)


def test_the_figure_takes_what_is_written(experiment: RateSentence, tmp_path: Path) -> None:
    table = experiment.run(tmp_path / "sentence.json")
    assert len(table["models"]) == sum(map(len, SHOWN.values()))
    families = {model["family"] for model in table["models"]}
    assert families == {"VAE, rounded", "codes", "two levels", "codec, prior", "autoencoder", "components"}
    figure = RateExplorer.of(table["frames"], table["models"], sounds=False)
    assert figure.read()["rate"] == 2000
    components = [model for model in table["models"] if model["family"] == "components"]
    errors = [(from_bins(model["frames"]) - from_bins(table["frames"])) ** 2 for model in components]
    assert errors[0].mean() < errors[1].mean()
