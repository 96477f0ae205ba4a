"""The table of files: what is counted is what lies on the disk, and rows whose program is missing say so."""

import shutil

import numpy as np
import pytest
import torch

pytest.importorskip("constriction")
pytest.importorskip("pystoi")
pytest.importorskip("soundfile")

from causalcnn.codec import SpeechCodec, pack_codes
from causalcnn.models import CausalVQVAE2, IntegerCodePrior, IntegerCodePriorConfig, VQVAE2Config, save_model
from causalcnn.speech import SampleCorpus, Utterance
from causalcnn_book.priors import CodeFiles
from causalcnn_book.priors.code_files import OPUS_KBPS

CONFIG = VQVAE2Config(channels=4, residual_channels=2, residual_blocks=1, code_dim=4, num_codes=16)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """Two clips, one of them too short to be scored, and models of random weights."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    model = CausalVQVAE2(CONFIG)
    small = {"num_codes": 16, "channels": 8}
    prior = IntegerCodePrior(IntegerCodePriorConfig(**small))
    twin = IntegerCodePrior(IntegerCodePriorConfig(**small, rounded=False))
    twin.load_state_dict(prior.state_dict())
    save_model(folder / "model", model)
    save_model(folder / "prior", prior.rounded())
    save_model(folder / "twin", twin)
    found = CodeFiles(model=folder / "model", prior=folder / "prior", twin=str(folder / "twin"))
    draw = np.random.default_rng(0)
    swell = 0.1 * np.sin(np.arange(35_000) / 3000) ** 2
    clips = [(draw.normal(0, 1, 35_000) * swell).astype(np.float32), draw.normal(0, 0.1, 8_000).astype(np.float32)]
    found.__dict__["sets"] = {"embedded": SampleCorpus.of([Utterance(clip, speaker="a") for clip in clips])}
    return found


def test_a_file_of_codes_is_measured_with_all_that_it_is_compared_by(experiment):
    found = experiment.measure("codes", 0)["embedded"]
    codec = SpeechCodec.load(experiment.model, experiment.prior)
    whole = torch.cat([clip[: len(clip) // 160 * 160] for clip in experiment.sets["embedded"]]).numpy()
    packed = pack_codes(codec.encode(whole), codec.prior, model=codec.fingerprint)
    assert found["bytes"] == len(packed.data)
    assert found["likelihood_bytes"] == packed.bits / 8
    assert found["seconds"] == len(whole) / 16_000
    assert len(found["stoi"]) == 1
    assert found["bits_per_code"] == pytest.approx(4, abs=0.3)
    assert found["bits_per_code_of_twin"] == pytest.approx(found["bits_per_code"], abs=0.1)
    assert found["bits_per_code_without_blocks"] == pytest.approx(found["bits_per_code"], abs=0.1)
    assert found["codes_that_float64_changes"] < 0.01


def test_flac_loses_nothing_and_opus_comes_near_the_rate_that_was_asked_for(experiment):
    flac = experiment.measure("flac", 0)["embedded"]
    assert flac["stoi"][0] > 0.999
    assert 30_000 < flac["bytes"] < 86_000
    opus = experiment.measure("opus 6", 0)
    if shutil.which("opusenc"):
        assert 3 < opus["embedded"]["bytes"] * 8e-3 / opus["embedded"]["seconds"] < 12
    else:
        assert "opusenc" in opus["missing"]


def test_the_table_says_rates_and_what_is_missing(experiment):
    measured = {"bytes": 4000, "seconds": 2.0, "stoi": [0.5, 0.7, 0.9], "bits_per_code": 5.123456}
    frames = {"bytes": None, "seconds": 2.0, "stoi": [0.9]}
    results = {
        "codes": {0: {"embedded": measured}},
        "frames": {0: {"embedded": frames}},
        **{f"opus {kbps}": {0: {"missing": "opusenc"}} for kbps in OPUS_KBPS},
    }
    table = experiment.table(results)
    assert table["rows"]["codes"]["embedded"] == {
        "kbit_per_second": 16.0,
        "stoi": {"median": 0.7, "quartiles": [0.6, 0.8]},
        "bytes": 4000,
        "bits_per_code": 5.123,
    }
    assert "kbit_per_second" not in table["rows"]["frames"]["embedded"]
    assert table["rows"]["opus 6"] == {"missing": "opusenc"}
    assert table["sets"]["embedded"]["clips"] == 2
