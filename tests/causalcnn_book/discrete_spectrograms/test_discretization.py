"""The table of the bins: small runs of what it measures, and what the committed one must say."""

import itertools
import json
import math
from pathlib import Path

import pytest
import torch

from causalcnn.models import VQVAE2Config
from causalcnn.speech import EmbeddedSpeech, FeatureCorpus, RunningBins, UniformBins
from causalcnn_book.discrete_spectrograms import discretization

pytest.importorskip("espeakng_loader", reason="needs the extra 'speech'")
ROOT = Path(__file__).parents[3]
TABLE = ROOT / "book" / "measurements" / "discretization.json"


@pytest.fixture(scope="module")
def corpus() -> FeatureCorpus:
    return FeatureCorpus.of(EmbeddedSpeech("validation", speakers=2, seconds=4), cache=False)


def test_the_error_is_that_of_the_values_that_count(corpus: FeatureCorpus) -> None:
    assert discretization.error_db(lambda x: x, corpus, -70) == 0
    assert discretization.error_db(lambda x: x + 2, corpus, -1e9) == pytest.approx(2, abs=1e-4)
    assert discretization.error_db(lambda x: x.clamp(min=-70), corpus, -70) == 0
    low = discretization.error_db(lambda x: x.clamp(min=-50), corpus, -70)
    assert 0 < low <= 20
    moved = discretization.error_db(lambda x: x.clamp(min=-30), corpus, -70, gain_db=20)
    assert moved == pytest.approx(low, abs=1e-4)


def test_fine_bins_lose_a_step_over_the_root_of_twelve(corpus: FeatureCorpus) -> None:
    bins = UniformBins(-70, 30, 6)
    error = discretization.error_db(lambda x: bins.decode(bins.encode(x)), corpus, -70)
    assert error == pytest.approx(bins.step_db / math.sqrt(12), rel=0.05)


def test_the_entropy_is_at_most_that_of_one_histogram_and_of_the_bits(corpus: FeatureCorpus) -> None:
    found = discretization.entropies(UniformBins(-70, 20, 5), corpus, {"embedded": corpus})
    assert found["histogram of each band"] <= found["one histogram"] <= 5
    assert found["with their own"]["embedded"] == found["histogram of each band"]
    # sending with slightly smoothed frequencies costs slightly more
    assert 0 < found["sent with these"]["embedded"] - found["histogram of each band"] < 0.3


def test_a_bang_moves_bins_before_it_under_its_own_range_only(corpus: FeatureCorpus) -> None:
    found = discretization.moved_by_a_bang(corpus)
    assert found["minmax"]["share_moved"] > 0.5
    assert found["fixed"]["share_moved"] == found["running"]["share_moved"] == 0


def test_catching_up_takes_the_jump_over_the_rise() -> None:
    running = RunningBins(UniformBins(-70, 20))
    assert [discretization.frames_cut_off(running, jump) for jump in (10, 20, 40)] == [2, 4, 7]


def test_the_measured_table_is_whole(corpus: FeatureCorpus, tmp_path: Path) -> None:
    experiment = discretization.Discretization(model=ROOT / "book" / "checkpoints" / "vqvae2-tiny")
    experiment.train, experiment.sets = corpus, {"embedded": corpus}
    table = experiment.run(tmp_path / "table.json")
    assert set(table) == set(json.loads(TABLE.read_text("utf8")))
    assert set(table["rms_error_db"]["embedded"]) == {"fixed", "running", "minmax"}
    assert all(len(errors) == 8 for errors in table["rms_error_db"]["embedded"].values())


@pytest.mark.skipif(not TABLE.exists(), reason="the measurements are not here")
def test_the_committed_table_says_what_the_chapter_leans_on() -> None:
    table = json.loads(TABLE.read_text("utf8"))
    assert {"embedded", "prompts"} <= set(table["rms_error_db"])
    for ways in table["rms_error_db"].values():
        for errors in ways.values():
            assert errors == sorted(errors, reverse=True)
    halved = table["rms_error_db"]["embedded"]["fixed"]
    assert all(a / b == pytest.approx(2, rel=0.03) for a, b in itertools.pairwise(halved[1:]))
    span = table["range"]["high_db"] - table["range"]["low_db"]
    assert table["range"]["step_db"] == pytest.approx(span / 256, abs=1e-4)
    assert torch.tensor(table["gains_db"]).tolist() == list(discretization.GAINS_DB)
    for found in table["bang"].values():
        assert found["fixed"]["share_moved"] == found["running"]["share_moved"] == 0 < found["minmax"]["share_moved"]


def test_codes_and_bins_are_measured_in_the_same_frames_above_the_same_floor(corpus: FeatureCorpus) -> None:
    class Keeps(torch.nn.Module):  # a codec that loses what lies below its floor, and nothing else
        config = VQVAE2Config.tiny()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.clamp(min=self.config.floor_db)

    bins = UniformBins(-73.4, 16.6)
    found = discretization.against_codes(Keeps(), corpus, bins)  # type: ignore[arg-type]
    assert found["codes"] == 0
    assert found["4 bits"] / found["5 bits"] == pytest.approx(2, rel=0.05)
