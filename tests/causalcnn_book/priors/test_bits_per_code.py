"""The table of bits per code: what its rows are, how they are scored, that it can be stopped and gone on with."""

import json
import math

import numpy as np
import pytest
import torch

from causalcnn.models import CausalVQVAE2, CodeCorpus, CodePrior, CodePriorConfig, VQVAE2Config, load_model, save_model
from causalcnn.speech import FeatureCorpus, Utterance
from causalcnn.training import loop
from causalcnn_book.priors import bits_per_code as bits
from causalcnn_book.priors import free_running
from causalcnn_book.priors.count_models import CONTEXTS, CountModel
from causalcnn_book.priors.free_running import FreeRuns, price
from tests.models.shared import lively

SMALL = CodePriorConfig(channels=4, hidden=2, embedding_size=2, num_codes=8)


def noise(frames, seed=0):
    samples = np.random.default_rng(seed).uniform(-0.3, 0.3, 160 * frames).astype(np.float32)
    return Utterance(samples, speaker=f"s{seed}")


@pytest.fixture
def coder(tmp_path):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = CausalVQVAE2(VQVAE2Config(channels=4, residual_channels=2, residual_blocks=1, code_dim=4, num_codes=8))
    with torch.no_grad():
        for seed in range(3):
            model(torch.randn(2, 1, 40, 80, generator=torch.Generator().manual_seed(seed)) * 10 - 30)
    save_model(tmp_path / "coder", model.eval())
    return tmp_path / "coder"


@pytest.fixture
def task(coder, monkeypatch):
    model = load_model(coder)[0]
    monkeypatch.setattr(free_running, "PROMPT_FRAMES", 5)
    monkeypatch.setattr(free_running, "LAGS", (2, 6))
    features = FeatureCorpus.of([noise(30, seed) for seed in range(12)], cache=False)
    unheard = FeatureCorpus.of([noise(20, 20), noise(12, 21)], cache=False)
    corpus, scored = (CodeCorpus.of(model, some, cache=False) for some in (features, unheard))
    monkeypatch.setattr(free_running.CodeCorpus, "of", lambda *_: scored)
    judge = CountModel(8, CONTEXTS[bits.JUDGE])
    judge.fit(corpus)
    runs = FreeRuns.of(model, unheard, -20.0, judge)
    task = bits.Task(model, corpus, {"one": scored}, runs, "noise")
    monkeypatch.setattr(bits.Task, "usual", classmethod(lambda cls, coder: task))
    monkeypatch.setattr(bits, "networks", lambda: {"small": SMALL, "larger": SMALL.with_(channels=6)})
    monkeypatch.setattr(bits, "FRAMES_OF_A_ROW", 16)
    return task


def test_the_rows_of_the_command_are_the_models():
    assert ("uniform", *CONTEXTS, *bits.networks()) == bits.ROWS


def test_a_clip_is_priced_in_pieces_as_in_one(monkeypatch):
    model = lively(CodePrior(SMALL)).eval()
    codes = model.split(torch.randint(0, 8, (2, 23, 30), generator=torch.Generator().manual_seed(0)))
    whole = model.log_prob(model.join(codes)).detach() / -math.log(2)
    monkeypatch.setattr(free_running, "_PIECE_FRAMES", 7)
    torch.testing.assert_close(price(model, codes), whole, atol=1e-4, rtol=1e-4)


def test_free_runs_begin_with_the_true_codes_and_are_measured_window_by_window(task):
    model = lively(CodePrior(SMALL)).eval()
    found = task.runs.measure(model, seed=0)
    for kind in ("true", "free"):
        assert {len(values) for values in found[kind].values()} == {2}
    assert found["temperatures"]["1.0"]["own_bits"] == found["free"]["own_bits"][-1]
    own = price(model, task.runs.true)[:, 5:7].mean()
    assert found["true"]["own_bits"][0] == pytest.approx(float(own), abs=1e-4)
    joined = model.join(task.runs.true)
    kept = (joined[:, 7:11] == joined[:, 6:10]).float().mean()
    assert found["true"]["kept"][1] == pytest.approx(float(kept), abs=1e-4)
    assert set(found["given_top"]) == {"drawn_db", "top_alone_db", "foreign_db"}
    assert found == task.runs.measure(model, seed=0)
    assert found["free"] != task.runs.measure(model, seed=1)["free"]


def test_it_measures_counts_and_networks_and_goes_on_where_it_was_stopped(coder, task, tmp_path, monkeypatch, capsys):
    file, runs = tmp_path / "table.json", tmp_path / "runs"
    main = bits.BitsPerCode.main
    words = ["--out", str(file), "--runs", str(runs), "--budget", "3 steps", "--coder", str(coder)]
    words += ["--rows", "uniform", "one neighbor", "small", "--seeds", "0"]
    assert main(words) == 0
    table = json.loads(file.read_text())
    assert list(table["rows"]) == ["uniform", "one neighbor", "small"]
    uniform = table["rows"]["uniform"]["bits"]["one"]
    assert [uniform[level]["by_seed"] for level in ("top", "bottom", "all", "per_second")] == [[3], [3], [3], [9000]]
    row = table["rows"]["small"]
    assert (row["steps"], len(row["runs"])) == ([3], 1)
    model, card = load_model(runs / "small-0")
    assert (card["row"], card["seed"], card["task"]) == ("small", 0, "noise")
    assert not list(runs.glob("*.resume.safetensors"))
    priced = torch.cat([price(model, codes)[0] for codes in task.sets["one"]])
    own = row["bits"]["one"]
    assert own["top"]["by_seed"][0] == pytest.approx(float(priced[:, :10].mean()), abs=1e-3)
    assert own["bottom"]["by_seed"][0] == pytest.approx(float(priced[:, 10:].mean()), abs=1e-3)
    assert own["all"]["by_seed"][0] == pytest.approx(float(priced.mean()), abs=1e-3)

    whole = loop._loop
    monkeypatch.setattr(loop, "_loop", lambda state, batches, stop, *rest: whole(state, batches, lambda: True, *rest))
    assert main([*words[:-1], "0", "1"]) == 130  # in the second seed of the network, after its first step
    assert list(runs.glob("*.resume.safetensors"))
    monkeypatch.setattr(loop, "_loop", whole)
    assert main([*words[:-1], "0", "1"]) == 0
    again = json.loads(file.read_text())
    assert again["rows"]["one neighbor"] == table["rows"]["one neighbor"]  # once, whatever seeds the networks have
    assert again["rows"]["small"]["bits"]["one"]["all"]["by_seed"][0] == own["all"]["by_seed"][0]
    assert "small, seed 1" in capsys.readouterr().out
