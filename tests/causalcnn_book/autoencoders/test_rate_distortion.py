"""The experiment of rate and distortion, on a few steps and seconds: its rows, its points, that it goes on."""

import json
import math

import pytest
import torch

from causalcnn.models import (
    MODELS,
    CausalVAE,
    CodePrior,
    CodePriorConfig,
    VAEConfig,
    VQVAE2Config,
    load_model,
    save_model,
)
from causalcnn.speech import EmbeddedSpeech, FeatureCorpus, SampleCorpus
from causalcnn.training import loop
from causalcnn_book.autoencoders import rate_distortion as rd
from causalcnn_book.autoencoders.coders import CodeCoder, ComponentCoder, NumberCoder, VAECoder
from causalcnn_book.autoencoders.pricing import PrincipalComponents
from causalcnn_book.autoencoders.task import Task, clips_of, heard

SMALL = {"channels": 4, "residual_channels": 2, "code_dim": 2}


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    pytest.importorskip("espeakng_loader", reason="needs the extra speech")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAUSALCNN_CACHE", str(tmp_path_factory.mktemp("cache")))
        source, other = (EmbeddedSpeech(part, speakers=2, seconds=8) for part in ("train", "test"))
        corpus, scored = FeatureCorpus.of(source, cache=False), FeatureCorpus.of(other, cache=False)
        sounds = heard(SampleCorpus.of(other))[:1]
    return Task(corpus, clips_of(corpus), {"embedded": clips_of(scored)}, {"embedded": sounds}, "a few seconds")


@pytest.fixture
def experiment(task, monkeypatch, tmp_path):
    torch.set_num_threads(1)
    monkeypatch.setattr(Task, "usual", classmethod(lambda cls: task))
    small = {row: config.with_(**SMALL) for row, config in rd.networks().items()}
    monkeypatch.setattr(rd, "networks", lambda: small)
    monkeypatch.setattr(rd, "FRAMES_OF_A_ROW", 32)
    save_model(tmp_path / "codec", made("vqvae2", num_codes=8), {})
    sizes = VQVAE2Config.tiny()
    config = CodePriorConfig(sizes.top_cells, sizes.bottom_cells, 8, channels=4, hidden=4)
    save_model(tmp_path / "prior", CodePrior(config).eval(), {})
    return rd.RateDistortion(budget="3 steps", coder=tmp_path / "codec", prior=tmp_path / "prior")


def test_only_the_bottleneck_differs():
    configs = rd.networks()
    assert set(rd.ROWS) == {*configs, "pca", "gaussian", "codec"}
    for name in ("channels", "residual_channels", "residual_blocks", "kernel_size", "mels", "floor_db", "spread_db"):
        assert len({getattr(config, name) for config in configs.values()}) == 1, name
    assert all(type(config) is MODELS[rd.MODEL_OF[type(config)]].Config for config in configs.values())


def test_a_few_rows_from_training_to_table(experiment, tmp_path):
    rows = ["autoencoder", "vae 1", "vq 16", "vq 2 levels", "pca", "gaussian", "codec"]
    table = experiment.run(tmp_path / "table.json", rows=rows, seeds=[0], runs=tmp_path / "runs")
    assert json.loads((tmp_path / "table.json").read_text("utf8")) == json.loads(json.dumps(table))
    points = {row: table["rows"][row]["points"] for row in rows}
    assert list(points["autoencoder"]) == ["unrounded", "step 0.25", "step 0.5", "step 1", "step 2", "step 4"]
    assert list(points["vae 1"]) == ["unrounded", "drawn", "rounded 1", "rounded 2"]
    assert points["pca"]["unrounded"]["embedded"]["rmse_db"]["mean"] < 0.01
    steps = [points["pca"][f"step {step:g} dB"]["embedded"] for step in rd.STEPS_DB]
    for name, sign in (("rmse_db", 1), ("bits_per_second", -1)):
        values = [sign * (one[name] if name == "rmse_db" else one[name]["unigram"])["mean"] for one in steps]
        assert values == sorted(values), name
    assert points["vae 1"]["drawn"]["embedded"]["bits_per_second"].keys() == {"kl"}
    codes = points["vq 2 levels"]["codes"]["embedded"]
    assert codes["bits_per_second"]["fixed"]["mean"] == 27_000
    assert 0 < codes["bits_per_second"]["unigram"]["mean"] < 27_000
    codec = points["codec"]["codes"]["embedded"]["bits_per_second"]
    assert codec["fixed"]["mean"] == 9_000
    assert codec["prior"]["mean"] == pytest.approx(9_000, rel=0.1)  # untrained: nearly 3 bits for each code
    assert math.isfinite(codes["stoi"]["mean"])
    assert table["hull"]["embedded"]["sent"]
    assert "kl_nats" in table["rows"]["vae 1"]
    model, card = load_model(tmp_path / "runs" / "vae-1-0")
    assert isinstance(model, CausalVAE)
    assert card["row"] == "vae 1"


def test_a_stopped_training_goes_on_to_the_same_numbers(experiment, tmp_path, monkeypatch):
    whole = experiment.run(tmp_path / "whole.json", rows=["vae 4"], seeds=[1])
    stops = iter([False, True])

    class Stopped:
        def is_set(self):
            return next(stops, False)

    class Signals:
        def __enter__(self):
            return Stopped()

        def __exit__(self, *_):
            return None

    with monkeypatch.context() as patch:
        patch.setattr(loop, "catch_signals", Signals)
        with pytest.raises(KeyboardInterrupt):
            experiment.run(tmp_path / "again.json", rows=["vae 4"], seeds=[1])
    again = experiment.run(tmp_path / "again.json", rows=["vae 4"], seeds=[1])
    for one in (whole, again):
        one["rows"]["vae 4"].pop("seconds")
    assert whole == again


# ------------------------------------------------------------------------------------------------------------ coders
def made(name, **changes):
    torch.manual_seed(0)
    model = MODELS[name](MODELS[name].Config.tiny().with_(**(SMALL | changes)))
    batch = torch.randn(1, 1, 40, 80) * 15 - 35
    model(batch)  # in training: a codebook starts
    return model.eval()


CODERS = {
    "autoencoder": lambda: NumberCoder(made("autoencoder"), [1.0]),
    "vae": lambda: VAECoder(made("vae"), [1.0], seed=3),
    "vqvae": lambda: CodeCoder(made("vqvae", num_codes=8)),
    "vqvae2": lambda: CodeCoder(made("vqvae2", num_codes=8)),
    "vqvae2 and prior": lambda: CodeCoder(
        made("vqvae2", num_codes=8), CodePrior(CodePriorConfig(num_codes=8, channels=4, hidden=4)).eval()
    ),
    "components": lambda: ComponentCoder(PrincipalComponents(torch.randn(500, 80)), [0.5]),
}


@pytest.mark.parametrize("name", CODERS)
@torch.no_grad()
def test_what_is_decoded_and_priced_is_causal_and_of_each_frame(name):
    """A point of the curve is a code that could run live: what comes later changes no frame and no price."""
    generator = torch.Generator().manual_seed(0)
    clips = [(torch.randn(1, 80, 30, generator=generator) * 15 - 35, torch.arange(30) > 4) for _ in range(3)]
    x = clips[0][0]
    changed = torch.cat([x[:, :, :20], x[:, :, 20:].flip(2)], 2)
    labels = set()
    for point in CODERS[name]().points(clips):
        labels.add(point.label)
        assert point.decoded(x).shape == x.shape
        torch.testing.assert_close(point.decoded(changed)[:, :, :20], point.decoded(x)[:, :, :20], rtol=0, atol=2e-4)
        for rate, bits in point.rates(x).items():
            assert bits.shape == (30,), rate
            assert bool((bits >= 0).all())
            torch.testing.assert_close(point.rates(changed)[rate][:20], bits[:20])
    assert len(labels) == {"vqvae": 1, "vqvae2": 1, "vqvae2 and prior": 1, "vae": 3}.get(name, 2)


@torch.no_grad()
def test_what_is_not_speech_is_not_fitted_to():
    loud, quiet = torch.full((1, 80, 10), -10.0), torch.full((1, 80, 10), -65.0)
    x, speaks = torch.cat([loud, quiet], 2), torch.arange(20) < 10
    coder = CodeCoder(made("vqvae", num_codes=8))
    (point,) = coder.points([(x, speaks)])
    (all_of_it,) = CodeCoder(coder.model).points([(x, torch.ones(20, dtype=torch.bool))])
    assert float(point.rates(loud)["unigram"].sum()) < float(all_of_it.rates(loud)["unigram"].sum())


@torch.no_grad()
def test_a_draw_costs_the_divergence():
    coder = VAECoder(made("vae"), [1.0], seed=3)
    x = torch.randn(1, 80, 12) * 15 - 35
    drawn = next(point for point in coder.points([(x, torch.ones(12, dtype=torch.bool))]) if point.label == "drawn")
    expected = coder.model.encode(x.transpose(1, 2)[None]).kl().sum() / math.log(2)
    assert float(drawn.rates(x)["kl"].sum()) == pytest.approx(float(expected), rel=1e-5)
    assert torch.equal(drawn.decoded(x), drawn.decoded(x))
    other = VAECoder(coder.model, [1.0], seed=4)
    again = next(point for point in other.points([(x, torch.ones(12, dtype=torch.bool))]) if point.label == "drawn")
    assert not torch.equal(drawn.decoded(x), again.decoded(x))


def test_the_sizes_of_two_levels_are_those_of_the_chapters_model():
    assert rd.networks()["vq 2 levels"] == VQVAE2Config.tiny()
    assert [config.beta for config in rd.networks().values() if isinstance(config, VAEConfig)] == list(rd.BETAS)
