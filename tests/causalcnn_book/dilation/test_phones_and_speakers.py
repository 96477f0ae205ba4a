"""The experiment of the chapter on dilation: equal networks, a fair score, a table that fits its code."""

import json
from pathlib import Path

import pytest
import torch

from causalcnn_book.dilation.phones_and_speakers import SETTINGS, TASKS, Recordings, accuracy, stack, train

TABLE = Path(__file__).resolve().parents[3] / "book" / "measurements" / "dilation.json"


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_networks_differ_in_what_they_read_and_in_nothing_else():
    networks = [stack(dilations, 5) for dilations in SETTINGS.values()]
    assert [network.field.size for network in networks] == [13, 25, 127]
    assert [network.field.lookahead for network in networks] == [0, 0, 0]
    assert len({parameters(network) for network in networks}) == 1


def two_tones(frames: int = 120) -> Recordings:
    """Two speakers who differ in every frame, the second half of each in silence."""
    features = tuple(torch.full((80, frames), value) for value in (-1.0, 1.0))
    spoken = torch.arange(frames) < frames // 2
    speaker = tuple(torch.where(spoken, number, -1) for number in (0, 1))
    return Recordings(features, speaker, speaker, rate_hz=20)


def test_what_can_be_told_apart_is_learnt_and_silence_is_not_scored():
    torch.set_num_threads(1)
    data = two_tones()
    network, losses = train(data, "speaker", (1, 1), steps=30)
    assert losses[-1] < losses[0] / 4
    assert accuracy(network, data, "speaker") == 1.0


def test_the_same_seed_gives_the_same_network():
    torch.set_num_threads(1)
    first, second = (train(two_tones(), "speaker", (1,), steps=3, seed=1)[0] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_an_unknown_task_is_refused_by_name():
    with pytest.raises(ValueError, match="'pitch'; it is one of phone, speaker"):
        two_tones().targets("pitch")


def test_the_committed_table_fits_the_code():
    table = json.loads(TABLE.read_text("utf8"))
    assert {"device", "seeds", "spread", "command"} <= set(table)
    assert {(row["task"], row["setting"]) for row in table["rows"]} == {(t, s) for t in TASKS for s in SETTINGS}
    for row in table["rows"]:
        assert row["frames"] == stack(SETTINGS[row["setting"]], 2).field.size
        assert len(row["each"]) == len(table["seeds"])
        assert max(row["each"]) - min(row["each"]) == pytest.approx(row["spread"], abs=0.011)
