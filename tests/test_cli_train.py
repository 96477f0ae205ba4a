"""The command, as a newcomer meets it: what it says, what it leaves, and how it fails."""

from __future__ import annotations

import dataclasses
import errno
import json
import random
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from causalcnn import cli_train
from causalcnn._files import atomic_write
from causalcnn.cli import main, make_parser
from causalcnn.models import load_model
from causalcnn.training import Interrupted, loop
from causalcnn_book.wavenet.bits_per_sample import BitsPerSample, networks

CHECKPOINTS = Path(__file__).resolve().parents[1] / "book" / "checkpoints"
SMALL = ["--rows", "2", "--frames", "16", "--set", "channels=8", "--set", "num_codes=16", "--set", "code_dim=8"]
SPEECH = ["--seconds-of-speech", "6", "--speakers", "2"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("espeakng_loader", reason="needs the extra speech")
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _a_folder_to_work_in(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAUSALCNN_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)


def train(*words: str, model: str = "vqvae2", speech: list[str] = SPEECH) -> int:
    return main(
        ["train", model, "--device", "cpu", "--budget", "3 steps", "--out", "made/first", *SMALL, *speech, *words]
    )


def test_it_trains_and_says_what_with_and_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train() == 0
    said = capsys.readouterr().out
    for words in ("2 speakers", "other speakers", "parameters", "frames", "CPU", "3 steps", "made/first.safetensors"):
        assert words in said
    model, card = load_model("made/first")
    assert model.config.channels == 8
    assert card["command"].startswith("causalcnn train vqvae2 --device cpu")
    assert card["training"]["steps"] == 3
    assert card["corpus"]["speakers"] == 2
    assert card["metrics"]["held_out"]["step"] == 3
    assert card["metrics"]["training"]["loss"] > 0
    assert len(card["loss_curve"]) == 3
    assert sorted(file.name for file in (tmp_path / "made").iterdir()) == ["first.json", "first.safetensors"]


def weights(out: str) -> str:
    """The checksum of the weights that stand in a card."""
    return json.loads(Path(f"{out}.json").read_text())["sha256"]


def test_the_same_command_gives_the_same_weights(tmp_path: Path) -> None:
    for out, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert train("--vary", "--seed", seed, "--out", out) == 0
    assert weights("a") == weights("b") != weights("c")


def test_a_finished_model_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train()
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in Path("made").iterdir()}
    for words, code, message in (
        ((), 2, "there is a model 'made/first.safetensors', which would be overwritten; name another --out"),
        (("--resume",), 0, "first.safetensors is the model of this training already"),
        (("--resume", "--checkpoint-every", "1 steps"), 0, "nothing is left to do"),
        (("--resume", "--budget", "6 steps"), 2, "of another training (budget: 3 steps there, 6 steps now)"),
        (("--resume", "--seed", "1"), 2, "seed: 0 there, 1 now"),
        (("--resume", "--set", "num_codes=32"), 2, "changes: "),
    ):
        capsys.readouterr()
        assert train(*words) == code, words
        said = capsys.readouterr()
        assert message in said.out + said.err
        assert {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in Path("made").iterdir()} == before
    Path("made/first.json").unlink()  # somebody's weights: they are not ours to overwrite
    assert train("--resume") == 2
    assert "without its 'first.json'" in capsys.readouterr().err


def test_a_disk_that_is_full_at_the_end_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, *rest: Any) -> None:
        with atomic_write(path):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(cli_train, "save_model", full)
        assert train() == 2
    said = capsys.readouterr().err
    for words in ("cannot write 'made/first.safetensors': No space", "first.resume.safetensors", "--resume"):
        assert words in said
    assert [file.name for file in Path("made").iterdir()] == ["first.resume.safetensors"]
    assert train("--resume") == 0
    train("--out", "unbroken")
    assert weights("made/first") == weights("unbroken")


def test_interrupted_it_says_how_to_go_on_and_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = loop._loop

    def stopped(state: Any, *rest: Any) -> Any:
        whole(state, *rest)
        raise Interrupted("interrupted after step 3; use --resume", state.history)

    train("--out", "unbroken")
    monkeypatch.setattr(loop, "_loop", stopped)
    assert train() == 130
    assert "--resume" in capsys.readouterr().err
    assert (tmp_path / "made" / "first.resume.safetensors").exists()
    monkeypatch.setattr(loop, "_loop", whole)
    assert train() == 2  # not unasked
    assert "--resume" in capsys.readouterr().err
    assert train("--resume", "--seed", "7") == 2
    assert "seed: 0 there, 7 now" in capsys.readouterr().err
    assert train("--resume") == 0
    assert weights("made/first") == weights("unbroken")
    assert not (tmp_path / "made" / "first.resume.safetensors").exists()


def test_a_prior_in_integers_learns_the_codes_of_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert train() == 0
    sizes = ["--set", "channels=8"]
    words = ["train", "integer-code-prior", "--device", "cpu", "--budget", "3 steps", "--rows", "2", "--frames", "16"]
    assert main([*words, *sizes, *SPEECH, "--codes-of", "made/first", "--out", "made/prior"]) == 0
    assert "reads 3 frames (30 ms)" in capsys.readouterr().out
    model, card = load_model("made/prior")
    assert model.config.num_codes == 16
    assert card["codes_of"] == {"name": "first", "sha256": load_model("made/first")[1]["sha256"]}
    assert 3 < card["metrics"]["held_out"]["bits"] < 6
    assert Path("made/prior.safetensors").stat().st_size < 40_000  # whole numbers of 8 bits
    assert main([*words, *sizes, *SPEECH, "--codes-of", "made/first", "--out", "made/prior", "--vary"]) == 2
    assert "'integer-code-prior' reads codes" in capsys.readouterr().err
    assert train("--codes-of", "made/first") == 2
    assert "'vqvae2' does not; leave it out" in capsys.readouterr().err


def test_a_folder_of_recordings_is_a_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import soundfile

    draw = np.random.default_rng(0)
    for who in ("ann", "bob"):
        (tmp_path / "mine" / who).mkdir(parents=True)
        soundfile.write(tmp_path / "mine" / who / "one.wav", draw.normal(0, 0.1, 8000).astype(np.float32), 16_000)
    assert train("--corpus", "mine", speech=[]) == 0
    said = capsys.readouterr().out
    assert "folder 'mine': 1 clips" in said
    assert "1 other speaker" in said
    assert load_model("made/first")[1]["corpus"]["held_out"]["speakers"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--budget", "500"], "'500' is no budget: it has no unit"),
        (["--set", "colour=3"], "'colour=3' changes nothing; write NAME=VALUE"),
        (["--set", "channels=7"], "channels is 7; it must be even"),
        (["--set", "decay=a"], "decay=a: '<=' not supported"),
        (["--out", "."], "'.' names no file; write FOLDER/NAME"),
        (["--preset", "huge"], "no preset 'huge'; try tiny or base"),
        (["--corpus", "nowhere"], "'nowhere'; it is embedded, fsdd, or a folder"),
        (["--corpus", "."], "--speakers and --seconds-of-speech are for --corpus embedded"),
        (["--rows", "0"], "--rows is 0"),
        (["--learning-rate", "-1"], "learning_rate is -1"),
        (["--speakers", "0"], "speakers is 0"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(*words) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert "Traceback" not in errors
    assert not Path("made/first.safetensors").exists()


@pytest.mark.parametrize("taken", ["first.json", "first.resume.safetensors"])
def test_every_file_that_will_be_written_is_tried_before_the_work(
    taken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("made", taken).mkdir(parents=True)
    assert train() == 2
    said = capsys.readouterr()
    assert "it is a folder; name a file in it" in said.err
    assert "corpus" not in said.out


def test_an_unknown_model_lists_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert train(model="which") == 2
    assert "no model is called 'which'; there are vqvae2, vqvae2-noncausal" in capsys.readouterr().err


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = capsys.readouterr().out
    assert 'causalcnn train vqvae2 --budget "5 min"' in said
    assert "--resume" in said
    assert "torchrun" in said


def test_a_model_of_levels_learns_its_range() -> None:
    words = ["train", "frame-generator", "--device", "cpu", "--budget", "2 steps", "--rows", "2", "--frames", "8",
             "--set", "channels=8", "--set", "hidden=8", *SPEECH]  # fmt: skip
    assert main([*words, "--out", "made/learned"]) == 0
    assert main([*words, "--set", "low_db=-90", "--out", "made/given"]) == 0
    learned, given = (load_model(f"made/{name}")[0].config for name in ("learned", "given"))
    assert (given.low_db, given.high_db) == (-90, 20)
    assert learned.high_db != 20
    assert learned.high_db - learned.low_db == pytest.approx(90)


SAMPLES = ["--rows", "2", "--frames", "4", "--set", "layers=3", "--set", "skip_channels=4", *SPEECH]


@pytest.mark.parametrize("model", ["wavenet", "vocoder"])
def test_a_model_of_samples_trains_and_goes_on_after_an_interrupt(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", model, "--device", "cpu", "--budget", "3 steps", *SAMPLES, "--out", "made/sound"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "2 pieces of 0.04 s in a step" in said
    assert "8 frames (0.5 ms) of past; never looks ahead" in said or model == "vocoder"
    made, card = load_model("made/sound")
    assert (made.name, made.config.layers, made.config.skip_channels) == (model, 3, 4)
    assert card["corpus"]["speakers"] == 2
    assert card["metrics"]["held_out"]["bits"] == card["metrics"]["held_out"]["loss"]
    assert 0 < card["metrics"]["training"]["bits"] < 10
    assert len(card["loss_curve"]) == 3
    whole = loop._loop

    def stopped(state: Any, batches: Any, stop_requested: Any, *rest: Any) -> Any:
        return whole(state, batches, lambda: True, *rest)

    words += ["--out", "made/again"]
    monkeypatch.setattr(loop, "_loop", stopped)
    assert main(words) == 130
    assert "interrupted after step 1" in capsys.readouterr().err
    assert Path("made/again.resume.safetensors").exists()
    monkeypatch.setattr(loop, "_loop", whole)
    assert main([*words, "--resume"]) == 0
    assert load_model("made/again")[1]["sha256"] == card["sha256"]
    assert not Path("made/again.resume.safetensors").exists()


def test_samples_are_not_varied(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "wavenet", "--budget", "1 steps", "--vary", "--out", "made/x"]) == 2
    assert "--vary varies log-mel frames, and 'wavenet' reads samples" in capsys.readouterr().err


@pytest.mark.parametrize("card_file", sorted(CHECKPOINTS.glob("*.json")), ids=lambda file: file.stem)
def test_the_command_of_a_shipped_card_makes_a_model_of_its_config(card_file: Path) -> None:
    card = json.loads(card_file.read_text("utf8"))
    program, *words = shlex.split(card["command"])
    options = make_parser().parse_args(words)
    assert program == "causalcnn"
    if options.command == "experiment":  # one of the networks that an experiment trains
        experiment = BitsPerSample()
        assert words[1] == experiment.name
        row, seed = words[words.index("--rows") + 1], words[words.index("--seeds") + 1]
        assert dataclasses.asdict(networks()[row]) == card["config"]
        assert (int(seed), experiment.budget) == (card["seed"], card["budget"])
        return
    assert options.command == "train"
    assert (options.preset, options.seed, options.rows) == (card["preset"], card["seed"], card["rows"])
    config = json.loads(json.dumps(dataclasses.asdict(cli_train._configure(options)[1])))
    learned = {"low_db", "high_db"} & set(config)
    assert config | {name: card["config"][name] for name in learned} == card["config"]


# ------------------------------------------------------------------------------------------------ codes
PRIOR = ["train", "code-prior", "--device", "cpu", "--budget", "3 steps", "--rows", "2", "--frames", "16"]
NARROW = ["--set", "channels=4", "--set", "hidden=4", *SPEECH]


def test_a_prior_learns_the_codes_of_a_model_and_its_card_says_whose(capsys: pytest.CaptureFixture[str]) -> None:
    assert train() == 0
    coder, coders_card = load_model("made/first")
    assert main([*PRIOR, *NARROW, "--codes-of", "made/first", "--out", "made/prior"]) == 0
    said = capsys.readouterr().out
    assert "16 frames (160 ms) of past; never looks ahead" in said
    prior, card = load_model("made/prior")
    assert prior.config.num_codes == coder.config.num_codes == 16
    assert card["codes_of"] == {"name": "first", "sha256": coders_card["sha256"]}
    assert card["metrics"]["held_out"]["bits"] == card["metrics"]["held_out"]["loss"]
    assert 0 < card["metrics"]["training"]["bits_top"] < 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--codes-of is missing: whose codes?"),
        (["--codes-of", "made/nothing"], "there are no weights"),
        (["--codes-of", str(CHECKPOINTS / "wavenet-small")], "a 'wavenet'; codes come from a 'vqvae2'"),
        (["--vary"], "--vary varies log-mel frames, and 'code-prior' reads codes"),
        (["--codes-of", str(CHECKPOINTS / "vqvae2-tiny"), "--set", "num_codes=16"], "--set num_codes is that of the"),
    ],
)
def test_codes_that_cannot_be_learned(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PRIOR, *NARROW, *words, "--out", "made/prior"]) == 2
    assert message in capsys.readouterr().err


def test_codes_are_of_no_use_to_other_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--codes-of", "made/first") == 2
    assert "--codes-of is for a model that reads codes, and 'vqvae2' does not" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------------- killed at random
def in_a_process(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "causalcnn", "train", "vqvae2", "--device", "cpu", "--budget", "60 steps"]
    command += ["--checkpoint-every", "2 steps", "--resume", *SMALL, *SPEECH, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_at_random_and_started_again_it_ends_with_the_same_model() -> None:
    """A loop that starts a killed training again, and once more when it is finished."""
    _, errors = (unbroken := in_a_process("--out", "unbroken")).communicate()
    assert unbroken.returncode == 0, errors
    draw, checkpoint = random.Random(0), Path("killed.resume.safetensors")
    for _ in range(4):
        process = in_a_process("--out", "killed")
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before) and process.poll() is None:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.3))
        process.kill()
        process.communicate()
    said, errors = (finished := in_a_process("--out", "killed")).communicate()
    assert finished.returncode == 0, errors
    assert weights("killed") == weights("unbroken")
    said, errors = (once_more := in_a_process("--out", "killed")).communicate()
    assert (once_more.returncode, errors) == (0, "")
    assert "nothing is left to do" in said
    assert sorted(file.name for file in Path().glob("killed*")) == ["killed.json", "killed.safetensors"]
