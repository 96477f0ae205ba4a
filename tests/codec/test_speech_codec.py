"""From sound to a file and back: by the shipped models, in Python and by the command, for every clip of real speech."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("constriction")
pytest.importorskip("soundfile")
pytest.importorskip("safetensors")

from causalcnn.cli import main
from causalcnn.codec import SpeechCodec, model_fingerprint, pack_codes, write_codes
from causalcnn.codec import speech_codec as module
from causalcnn.models import (
    CausalVQVAE2,
    CheckpointError,
    CodeDecoder,
    IntegerCodePrior,
    IntegerCodePriorConfig,
    VQVAE2Config,
    save_model,
)
from causalcnn.speech import EmbeddedSpeech, LogMel, OnlineGriffinLim, SpokenDigits, read_recording, to_2d
from causalcnn.speech.downloads import is_local
from causalcnn.speech.environment import data_folder
from tests.codec.small import assert_frames_come_in_time

CLONE = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def codec():
    return SpeechCodec.load(CLONE / module.CHECKPOINTS / module.MODEL, CLONE / module.CHECKPOINTS / module.PRIOR)


@pytest.fixture(scope="module")
def small():
    """A codec of random weights, for what does not depend on them."""
    torch.manual_seed(0)
    config = VQVAE2Config(channels=4, residual_channels=2, residual_blocks=1, code_dim=4, num_codes=16)
    return SpeechCodec(CausalVQVAE2(config), IntegerCodePrior(IntegerCodePriorConfig(num_codes=16, channels=8)))


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def write_wav(path, samples, rate_hz=16_000):
    import soundfile

    soundfile.write(path, samples, rate_hz)
    return str(path)


# ---------------------------------------------------------------------------------------------------- codes and sound
def test_codes_are_those_of_the_model_and_do_not_depend_on_pieces(small, monkeypatch):
    sound = torch.from_numpy(noise(5000))
    whole = small.model.encode(to_2d(LogMel()(torch.nn.functional.pad(sound, (0, 120))[None])))
    monkeypatch.setattr(module, "PIECE_SAMPLES", 1600)
    codes = small.encode(sound)
    assert codes.top.shape == (1, 32, 10)
    flips = sum(int((a != b).sum()) for a, b in zip(codes, whole, strict=True))
    assert flips <= 1, "rounding flips hardly a code"


def test_sound_is_what_the_decoder_and_griffin_lim_make_whatever_the_pieces(small, monkeypatch):
    codes = small.encode(noise(4800))
    joined = torch.cat(codes, dim=2).transpose(1, 2)
    joined = torch.cat([joined, joined[:, :, -1:].expand(-1, -1, 3)], dim=2)
    with torch.no_grad():
        expected = OnlineGriffinLim(3)(CodeDecoder(small.model)(joined))[0, 0].numpy()
    assert small.decode(codes).shape == (4800,)
    assert np.allclose(small.decode(codes), expected, atol=1e-4)
    monkeypatch.setattr(module, "PIECE_SAMPLES", 1600)
    assert np.allclose(small.decode(codes), expected, atol=1e-2)


def test_no_sound_is_a_file_too(small, tmp_path):
    packed = small.write(tmp_path / "none.ccn", np.zeros(0))
    assert (len(packed.data), packed.bits) == (37, 0)
    found = small.read(tmp_path / "none.ccn")
    assert (found.pieces, found.samples) == ((), 0)
    assert small.sound_of(found).shape == (0,)


def test_sound_has_the_length_of_the_recording_and_silence_where_a_second_is_lost(small, tmp_path):
    packed = small.write(tmp_path / "noise.ccn", noise(40_001))
    found = small.read(tmp_path / "noise.ccn")
    assert small.sound_of(found).shape == (40_001,)
    altered = bytearray(packed.data)
    altered[len(packed.data) // 2] ^= 1
    (tmp_path / "noise.ccn").write_bytes(altered)
    with pytest.raises(ValueError, match="the seconds 1–2 are missing") as caught:
        small.read(tmp_path / "noise.ccn")
    sound = small.sound_of(caught.value.recovered)
    assert sound.shape == (40_001,)
    assert not sound[16_000:32_000].any()
    assert abs(sound[:16_000]).max() > 0


@pytest.mark.parametrize("wrong", [np.zeros((2, 100)), np.array([0.0, np.nan]), np.array([np.inf])])
def test_what_is_no_sound(small, wrong):
    with pytest.raises(ValueError, match="takes finite samples of one"):
        small.encode(wrong)


def test_model_and_prior_must_belong_together(small):
    with pytest.raises(ValueError, match=r"the model has \(10, 20, 16\) .* the prior \(10, 20, 512\)"):
        SpeechCodec(small.model, IntegerCodePrior())


def test_a_model_has_a_fingerprint_that_precision_does_not_change_and_weights_do(small):
    before = model_fingerprint(small.model)
    twin = CausalVQVAE2(small.model.config)
    twin.load_state_dict(small.model.state_dict())
    assert model_fingerprint(twin.double()) == before == small.fingerprint
    with torch.no_grad():
        twin.project_bottom.bias[0] += 1e-6
    assert model_fingerprint(twin) != before


# ------------------------------------------------------------------------------------------------------- the commands
@pytest.fixture
def models(small, tmp_path):
    save_model(tmp_path / "model", small.model)
    prior = IntegerCodePrior(small.prior.config)
    save_model(tmp_path / "prior", prior.rounded())
    return ["--codec", str(tmp_path / "model"), "--prior", str(tmp_path / "prior")]


def test_the_commands_write_a_file_and_sound_of_the_same_length(models, tmp_path, capsys):
    sound = write_wav(tmp_path / "speech.wav", noise(20_000))
    assert main(["encode", sound, str(tmp_path / "out" / "a.ccn"), *models]) == 0
    said = capsys.readouterr().out
    assert "1.25 s, 125 frames, 3750 codes" in said
    assert f"{(tmp_path / 'out' / 'a.ccn').stat().st_size} bytes" in said
    assert main(["decode", str(tmp_path / "out" / "a.ccn"), str(tmp_path / "back.wav"), *models]) == 0
    assert len(read_recording(tmp_path / "back.wav").samples) == 20_000
    assert not list(tmp_path.rglob("*.part"))


def test_a_damaged_file_is_decoded_only_if_one_asks_for_it(models, tmp_path, capsys):
    sound = write_wav(tmp_path / "speech.wav", noise(40_000))
    file, back = tmp_path / "a.ccn", tmp_path / "back.wav"
    main(["encode", sound, str(file), *models])
    file.write_bytes(file.read_bytes()[:-7])
    assert main(["decode", str(file), str(back), *models]) == 2
    said = capsys.readouterr().err
    assert "the seconds 2–2.5 are missing" in said
    assert "--recover" in said
    assert not back.exists()
    assert main(["decode", str(file), str(back), "--recover", *models]) == 0
    assert "the rest is silent" in capsys.readouterr().err
    assert len(read_recording(back).samples) == 32_000


def test_what_cannot_be_encoded_or_decoded_is_said_and_leaves_nothing(models, tmp_path, capsys):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.ccn").write_text("no codes")
    good = write_wav(tmp_path / "speech.wav", noise(2000))
    cases = [
        (["encode", str(tmp_path / "empty.wav"), "new.ccn", *models], "is empty"),
        (["encode", str(tmp_path / "none.wav"), "new.ccn", *models], "there is no file"),
        (["encode", good, str(tmp_path), *models], "it is a folder"),
        (["encode", good, "new.ccn", "--codec", models[3], "--prior", models[3]], "a 'vqvae2' is wanted here"),
        (["encode", good, "new.ccn", "--codec", models[1], "--prior", models[1]], "a 'integer-code-prior' is wanted"),
        (["decode", str(tmp_path / "text.ccn"), "new.wav", *models], "no file of codes: it begins with b'no c'"),
        (["decode", str(tmp_path / "text.ccn"), "new.wav", "--recover", *models], "no file of codes"),
        (["decode", str(tmp_path / "none.ccn"), "new.wav", *models], "there is no file"),
    ]
    for words, message in cases:
        assert main([str(tmp_path / word) if word.startswith("new.") else word for word in words]) == 2
        assert message in capsys.readouterr().err, words
        assert not list(tmp_path.glob("new.*"))


def test_without_the_repository_the_error_says_where_the_models_are(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "a" / "b" / "c" / "codec.py"))
    sound = write_wav(tmp_path / "speech.wav", noise(2000))
    assert main(["encode", sound, "new.ccn"]) == 2
    assert "in the repository of causalcnn, not in what pip installs" in capsys.readouterr().err


def test_without_constriction_nothing_is_written_and_files_can_be_read(models, tmp_path, monkeypatch, capsys):
    sound, file = write_wav(tmp_path / "speech.wav", noise(2000)), tmp_path / "a.ccn"
    main(["encode", sound, str(file), *models])
    monkeypatch.setitem(__import__("sys").modules, "constriction", None)
    assert main(["encode", sound, str(tmp_path / "b.ccn"), *models]) == 2
    assert "causalcnn[codec]" in capsys.readouterr().err
    assert not (tmp_path / "b.ccn").exists()
    assert main(["decode", str(file), str(tmp_path / "back.wav"), *models]) == 0


def test_a_model_of_another_kind_is_refused(tmp_path, small):
    save_model(tmp_path / "model", small.model)
    with pytest.raises(CheckpointError, match="is a model 'vqvae2'; a 'integer-code-prior' is wanted here"):
        SpeechCodec.load(tmp_path / "model", tmp_path / "model")


# ------------------------------------------------------------------------------------- the shipped models, real speech
def clips():
    """Every recording of the folder, and every digit of the archive."""
    folder = data_folder()
    files = [path for suffix in ("flac", "ogg", "wav") for path in sorted(folder.rglob(f"*.{suffix}"))]
    yield from (lambda path=path: read_recording(path).samples for path in files)
    if is_local(SpokenDigits.NAME):
        yield from (lambda digit=digit: digit.samples for digit in SpokenDigits())


def assert_round_trip(codec, sound, file):
    """The codes come back, in pieces too, and the bytes are what the likelihood promises."""
    codes = codec.encode(sound)
    packed = write_codes(file, codes, codec.prior, model=codec.fingerprint, samples=len(sound))
    found = codec.read(file)
    assert torch.equal(found.codes.top, codes.top)
    assert torch.equal(found.codes.bottom, codes.bottom)
    assert found.samples == len(sound)
    if len(sound) > 10 * 16_000:
        assert len(packed.data) <= 1.02 * packed.bits / 8 + 64


recorded = pytest.mark.skipif(data_folder() is None, reason="CAUSALCNN_DATA names no folder of recordings")


@recorded
@pytest.mark.slow
def test_twenty_real_clips_round_trip(codec, tmp_path):
    every = list(clips())
    for sound in every[:: max(len(every) // 20, 1)][:20]:
        assert_round_trip(codec, sound(), tmp_path / "clip.ccn")


PARTS = 30


@recorded
@pytest.mark.slow
@pytest.mark.release
@pytest.mark.parametrize("part", range(PARTS))
def test_every_real_clip_round_trips(codec, tmp_path, part):
    for sound in list(clips())[part::PARTS]:
        assert_round_trip(codec, sound(), tmp_path / "clip.ccn")


@pytest.mark.slow
def test_bytes_are_those_of_the_likelihood_and_frames_come_in_time_for_new_voices(codec):
    speech = EmbeddedSpeech("test", speakers=5, seconds=15)
    sound = np.concatenate([said.samples for said in speech])
    codes = codec.encode(sound)
    packed = pack_codes(codes, codec.prior, model=codec.fingerprint)
    assert len(packed.data) <= 1.02 * packed.bits / 8 + 64
    assert_frames_come_in_time(packed.data, torch.cat(codes, dim=2)[0].numpy(), codec.prior, codec.fingerprint)
