"""The table of models of values: what its rows are, how they are scored, that it can be stopped and gone on with."""

import json
import math
from importlib.metadata import entry_points

import pytest
import torch

from causalcnn.cli import main
from causalcnn.models import AutoregressiveConfig
from causalcnn.speech import EmbeddedSpeech, FeatureCorpus, UniformBins
from causalcnn_book.likelihood import likelihood as discrete

BINS = UniformBins(-70.0, 20.0)


@pytest.fixture(scope="module")
def task():
    pytest.importorskip("espeakng_loader", reason="needs the extra speech")
    corpus = FeatureCorpus.of(EmbeddedSpeech("train", speakers=2, seconds=6), cache=False)
    other = FeatureCorpus.of(EmbeddedSpeech("validation", speakers=2, seconds=4), cache=False)
    return discrete.Task(corpus, UniformBins.fitted(corpus), {"embedded": other})


def test_the_rows_of_the_command_are_the_models():
    assert tuple(discrete.models(BINS)) == discrete.ROWS


def test_what_is_compared_has_as_many_parameters():
    rows = discrete.models(BINS)
    counts = {name: sum(p.numel() for p in model.parameters()) for name, model in rows.items()}
    for name in ("2d", "stacks", "dilation 3", "no glimpse", "own samples"):
        assert counts[name] == pytest.approx(counts["logistics"], rel=0.03)


def test_one_thing_differs():
    rows = discrete.models(BINS)
    base = rows["logistics"].config
    assert rows["dilation 3"].config == base.with_(dilations=(3,))
    assert rows["categorical-4"].config == base.with_(output="categorical-4")
    assert rows["own samples"].config == base.with_(scheduled_sampling=0.25)


@pytest.mark.parametrize("name", sorted(discrete.models(BINS)))
def test_no_row_reads_what_it_predicts(name):
    torch.manual_seed(0)
    model = discrete.models(BINS)[name].double().eval()
    x = torch.rand(1, 1, 7, 80, dtype=torch.float64) * 2 - 1
    said = model(x)
    for t, f in ((0, 0), (2, 0), (2, 41), (3, 79)):
        other = x.clone()
        other[0, 0, t, f] += 0.5
        moved = (model(other) - said).abs().amax(1)[0] > 0
        assert not moved[:t].any()
        assert not moved[t, : f + 1].any()
        assert name == "histogram" or moved.any()


def test_a_histogram_learns_the_frequencies_of_levels(task):
    """Its best bits are the entropy of the bins, so a score below that of what it was fitted to is a wrong score."""
    model = discrete.Histogram(AutoregressiveConfig(low_db=task.bins.low_db, high_db=task.bins.high_db)).eval()
    bins = torch.cat([model.to_bins(task.sets["embedded"][i][None])[0] for i in range(len(task.sets["embedded"]))])
    counts = torch.nn.functional.one_hot(bins, 256).sum(0).double()
    shares = counts / counts.sum(1, keepdim=True)
    entropy = float(-(shares * shares.clamp(min=1e-300).log2()).sum(1).mean())
    with torch.no_grad():
        model.logits.copy_(shares.clamp(min=1e-12).log())
    assert discrete.score(model, task.sets["embedded"])["bits"] == pytest.approx(entropy, abs=1e-3)
    untrained = discrete.Histogram(AutoregressiveConfig()).eval()
    assert discrete.score(untrained, task.sets["embedded"])["bits"] == pytest.approx(8, abs=1e-5)


def test_a_copy_is_centred_on_the_last_frame():
    model = discrete.Copy(AutoregressiveConfig()).eval()
    bins = torch.randint(110, 146, (1, 3, 80), generator=torch.Generator().manual_seed(0))
    mean = model.distribution.mean(model(model.to_input(bins)).movedim(1, -1))
    torch.testing.assert_close(mean[:, 1:], bins[:, :-1].float(), atol=2.0, rtol=0)


def test_bands_that_hold_nothing_do_not_count(task):
    model = discrete.models(task.bins)["copy"].eval()
    corpus = task.sets["embedded"]
    whole, part = discrete.score(model, corpus), discrete.score(model, corpus, bands=30)
    total, count = 0.0, 0
    for clip in range(len(corpus)):
        nats = model.log_prob(model.to_bins(corpus[clip][None]))[0, :, :30].detach()
        total, count = total - float(nats.double().sum()) / math.log(2), count + nats.numel()
    assert part["bits"] == pytest.approx(total / count, rel=1e-6)
    assert part["bits"] != whole["bits"]


def test_it_goes_on_where_it_was_stopped(task, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(discrete.Task, "usual", classmethod(lambda cls: task))
    file = tmp_path / "table.json"
    words = ["experiment", "likelihood", "--out", str(file), "--rows", "copy", "--steps", "2"]
    words += ["--runs", str(tmp_path / "runs"), "--seeds"]
    assert main([*words, "0"]) == 0
    first = json.loads(file.read_text())
    assert main([*words, "0", "1"]) == 0
    table = json.loads(file.read_text())
    assert list(table["rows"]) == ["copy"]
    assert table["rows"]["copy"]["seeds"] == [0, 1]
    assert table["rows"]["copy"]["bits"]["embedded"][0] == first["rows"]["copy"]["bits"]["embedded"][0]
    assert "copy, seed 1" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.part"))
    again, _ = discrete.train_and_score("copy", 0, task, steps=2)
    assert again["bits"]["embedded"] == first["rows"]["copy"]["bits"]["embedded"][0]


def test_the_command_knows_every_experiment(capsys):
    with pytest.raises(SystemExit):
        main(["experiment", "--help"])
    said = capsys.readouterr().out
    for name in entry_points(group="causalcnn.experiments").names:
        assert name in said
    with pytest.raises(SystemExit):
        main(["experiment", "nothing"])
    assert "invalid choice: 'nothing'" in capsys.readouterr().err


def test_an_unknown_row_is_refused(task, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(discrete.Task, "usual", classmethod(lambda cls: task))
    with pytest.raises(SystemExit):
        main(["experiment", "likelihood", "--out", str(tmp_path / "t.json"), "--rows", "wavenet"])
    assert "invalid choice: 'wavenet'" in capsys.readouterr().err
