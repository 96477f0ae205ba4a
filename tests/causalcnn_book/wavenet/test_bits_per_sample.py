"""The table of bits per sample: what its rows are, how they are scored, that it can be stopped and gone on with."""

import json
import math

import numpy as np
import pytest
import torch

from causalcnn.models import Vocoder, VocoderConfig, WaveNet, load_model
from causalcnn.speech import SampleCorpus, Utterance
from causalcnn.training import loop
from causalcnn_book.wavenet import bits_per_sample as bits
from tests.models.shared import lively


def noise(samples, seed=0):
    return Utterance(np.random.default_rng(seed).uniform(-0.3, 0.3, samples).astype(np.float32), speaker=f"s{seed}")


@pytest.fixture
def task(monkeypatch):
    torch.set_num_threads(1)
    small = SampleCorpus.of([noise(9_000), noise(5_000, 1)])
    task = bits.Task(
        small, {"one": SampleCorpus.of([noise(1_700, 2)]), "two": SampleCorpus.of([noise(700, 3)])}, "noise"
    )
    monkeypatch.setattr(bits.Task, "usual", classmethod(lambda cls: task))
    monkeypatch.setattr(bits, "SAMPLES_OF_A_ROW", 500)
    return task


def made(config):
    return Vocoder(config) if isinstance(config, VocoderConfig) else WaveNet(config)


def test_the_rows_of_the_command_are_the_models():
    assert (*bits.predictors(), *bits.networks()) == bits.ROWS


def test_how_far_they_read_and_how_large_they_are():
    rows = {name: made(config) for name, config in bits.networks().items()}
    past = {name: WaveNet(config).sample_field.past / 16 for name, config in bits.networks().items()}
    assert past == {"2 ms": 31 / 16, "16 ms": 16, "64 ms": 64, "mixture": 16, "mel": 16}
    weights = {name: sum(p.numel() for p in model.parameters()) for name, model in rows.items()}
    assert weights["2 ms"] == weights["16 ms"] == pytest.approx(weights["64 ms"], rel=0.03)


def test_one_thing_differs():
    rows = bits.networks()
    base = rows["16 ms"]
    assert rows["2 ms"] == base.with_(layers=4, cycles=2)
    assert rows["mixture"] == base.with_(output="logistic-mixture-4")
    for name in ("kernel_size", "layers", "cycles", "residual_channels", "skip_channels", "head_channels", "bias"):
        assert getattr(rows["mel"], name) == getattr(base, name)


@pytest.mark.parametrize("frames", [None, 0, 3])
def test_a_clip_is_priced_in_pieces_as_in_one(frames):
    sizes = {"layers": 3, "skip_channels": 4, "head_channels": 4}
    model = made(bits.WaveNetConfig(**sizes) if frames is None else VocoderConfig(**sizes, lookahead_frames=frames))
    model = lively(model).eval()
    x = torch.from_numpy(noise(40_123).samples)
    pieces = torch.cat(list(bits.log_probs(model, x)))
    whole = model.log_prob(model.to_bins(x[None]) if frames is None else x[None]).detach()[0]
    assert len(pieces) == len(whole)
    torch.testing.assert_close(pieces, whole, atol=2e-4, rtol=1e-4)


def test_every_row_prices_the_same_samples():
    corpus = SampleCorpus.of([noise(3_333), noise(100, 1), noise(900, 2)])
    priced = 160 * (20 - 3) + 160 * (5 - 3)
    assert bits.score(bits.Uniform(), corpus) == pytest.approx(8)

    class Counted(bits.Uniform):
        def log_prob(self, samples):
            """A nat for each sample, and a thousand for those that are not to be counted."""
            known = 160 * max(0, samples.shape[1] // 160 - 3)
            return torch.where(torch.arange(samples.shape[1]) < known, -1.0, -1_000.0)[None]

    assert bits.score(Counted(), corpus) == pytest.approx(1 / math.log(2))
    assert priced == 3_040


def test_it_measures_predictors_and_networks_and_goes_on_where_it_was_stopped(task, tmp_path, monkeypatch, capsys):
    file, runs = tmp_path / "table.json", tmp_path / "runs"
    main = bits.BitsPerSample.main
    words = ["--out", str(file), "--runs", str(runs), "--budget", "3 steps"]
    words += ["--rows", "uniform", "linear", "mel", "--seeds", "0"]
    assert main(words) == 0
    table = json.loads(file.read_text())
    assert list(table["rows"]) == ["uniform", "linear", "mel"]
    assert table["rows"]["uniform"]["bits"]["one"]["by_seed"] == [8.0]
    assert table["rows"]["mel"]["steps"] == [3]
    assert table["rows"]["mel"]["past_ms"] == 16
    assert table["sets"]["two"]["clips"] == 1
    model, card = load_model(runs / "mel-0")
    assert (card["row"], card["seed"], card["task"]) == ("mel", 0, "noise")
    assert not list(runs.glob("*.resume.safetensors"))
    own = round(bits.score(model, task.sets["two"]), 4)
    assert table["rows"]["mel"]["bits"]["two"]["by_seed"] == [own]

    whole = loop._loop
    monkeypatch.setattr(loop, "_loop", lambda state, batches, stop, *rest: whole(state, batches, lambda: True, *rest))
    assert main([*words[:-1], "0", "1"]) == 130  # in the second seed of the network, after its first step
    assert list(runs.glob("*.resume.safetensors"))
    monkeypatch.setattr(loop, "_loop", whole)
    assert main([*words[:-1], "0", "1"]) == 0
    again = json.loads(file.read_text())
    assert again["rows"]["linear"] == table["rows"]["linear"]  # once, whatever seeds the networks have
    assert again["rows"]["mel"]["bits"]["two"]["by_seed"][0] == own
    unbroken = bits.BitsPerSample(budget="3 steps")
    unbroken.folder = tmp_path
    assert unbroken.measure("mel", 1)["bits"]["two"] == again["rows"]["mel"]["bits"]["two"]["by_seed"][1]
    assert "mel, seed 1" in capsys.readouterr().out
