"""The table of phones: equal parameters, the fields that it prints, unheard speakers."""

from __future__ import annotations

import json

import pytest
import torch

pytest.importorskip("espeakng_loader")

from causalcnn import check_contract
from causalcnn.speech import PHONES, EmbeddedSpeech
from causalcnn_book.encoders.phones import ROWS, PhoneData, Phones, build, fit, num_parameters, score, widths
from causalcnn_book.experiment import refuse_shared


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def known():
    return PhoneData.of(EmbeddedSpeech("train", speakers=4, seconds=12))


@pytest.mark.parametrize("name", ROWS)
def test_every_row_has_nearly_the_same_number_of_parameters(name):
    network = build(ROWS[name], *widths(ROWS[name], 20_000))
    assert abs(num_parameters(network) - 20_000) <= 0.02 * 20_000


@pytest.mark.parametrize(
    ("name", "size", "holes"),
    [("one_frame", 1, 0), ("dilation_1", 9, 0), ("dilation_3", 25, 16), ("add", 25, 10), ("concat", 25, 10),
     ("every_layer", 25, 2), ("four_stacks", 49, 21), ("two_dimensional", 9, 0)],
)  # fmt: skip
def test_every_row_reads_what_the_table_says(name, size, holes):
    field = build(ROWS[name], 3, 3).field
    assert (field.size, field.holes, field.lookahead) == (size, holes, 0)


def test_the_network_in_two_dimensions_keeps_the_law():
    torch.manual_seed(0)
    encoder, _, head = build(ROWS["two_dimensional"], 2, 2).double()
    report = check_contract(encoder, torch.randn(2, 80, 12, dtype=torch.float64))
    assert report.field.size == 9
    assert head.field.size == 1


def test_labels_belong_to_the_frames(known):
    for features, labels in zip(known.features, known.labels, strict=True):
        assert features.shape == (80, len(labels))
    frames = torch.cat(known.features, 1)
    assert frames.mean(1).abs().max() < 1e-3
    assert (frames.std(1) - 1).abs().max() < 1e-3
    unheard = PhoneData.of(EmbeddedSpeech("test", speakers=1, seconds=3), like=known)
    assert torch.equal(unheard.mean, known.mean)


def test_pieces_hold_the_frames_of_one_utterance_and_ignore_the_filling(known):
    x, y = known.crops(3, 2000, torch.Generator().manual_seed(0))
    for piece, labels in zip(x, y, strict=True):
        length = int((labels >= 0).sum())
        assert any(torch.equal(piece[:, :length], features) for features in known.features)
        assert piece[:, length:].abs().max() == 0


def test_training_learns_and_can_be_repeated(known):
    def trained():
        torch.manual_seed(0)
        network = build(ROWS["add"], 8, 8)
        return network, fit(network, known, steps=30, seed=3, crops=4, frames=60)

    network, losses = trained()
    assert losses[-1] < 0.9 * losses[0]
    assert losses == trained()[1]
    accuracy, bits = score(network, known)
    assert 0 < accuracy < 1
    assert 0 < bits < torch.log2(torch.tensor(len(PHONES)))


def test_the_table_is_written(tmp_path):
    experiment = Phones(parameters=4000, steps=2)
    experiment.corpora = (
        EmbeddedSpeech("train", speakers=2, seconds=4),
        EmbeddedSpeech("test", speakers=2, seconds=4),
    )
    out = tmp_path / "phones.json"
    table = experiment.run(out, rows=("dilation_1",), seeds=(0, 1))
    assert json.loads(out.read_text("utf8")) == table
    row = table["rows"]["dilation_1"]
    assert len(row["accuracy"]["by_seed"]) == 2
    assert row["field"] == {"size": 9, "taps": 9, "holes": 0}
    assert [path.name for path in tmp_path.iterdir()] == ["phones.json"]


def test_a_speaker_in_both_corpora_is_refused():
    heard = EmbeddedSpeech("train", speakers=2, seconds=4)
    with pytest.raises(ValueError, match=r"s0000.*both corpora"):
        refuse_shared(heard, heard)
