"""However a training is stopped, its last checkpoint loads, and resumed it ends with the numbers of an unbroken one."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalcnn._files import pack_tensors, read_tensors
from causalcnn.training import Checkpoint, CheckpointError, Interrupted, NonFiniteLoss
from tests.fuzz import examples
from tests.training.toy import Batch, Toy, ToyConfig, batches
from tests.training.trainings import digest, slowly, training

ROOT = Path(__file__).resolve().parents[2]
STEPS = 30


@pytest.fixture(scope="module")
def unbroken() -> dict[str, Any]:
    """What a training gives that nobody stopped and that wrote no checkpoint."""
    model, history = training(None, STEPS)
    return {"loss": history.loss, "frames": history.frames, "digest": digest(model), "metrics": history.metrics}


def stopped_after(step: int) -> Any:
    """Batches that end in an error: the training dies as by an accident, between two checkpoints."""

    def make(number: int, rank: int, world_size: int) -> Batch:
        if number > step:
            raise RuntimeError("accident")
        return batches(number, rank, world_size)

    return make


@given(accidents=st.lists(st.integers(0, STEPS - 2), min_size=1, max_size=3).map(sorted))
@settings(max_examples=examples(8))
def test_accidents_change_no_number(
    accidents: list[int], tmp_path_factory: pytest.TempPathFactory, unbroken: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("run") / "run.safetensors"
    for step in accidents:
        with pytest.raises(RuntimeError, match="accident"):
            training(path, STEPS, batches=stopped_after(step), resume=True)
    model, history = training(path, STEPS, resume=True)
    assert history.loss == unbroken["loss"]
    assert history.metrics == unbroken["metrics"]
    assert history.frames == unbroken["frames"]
    assert digest(model) == unbroken["digest"]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_finished_training_has_nothing_left_to_do(tmp_path: Path, unbroken: dict[str, Any]) -> None:
    training(tmp_path / "run.safetensors", STEPS)
    model, history = training(tmp_path / "run.safetensors", STEPS, resume=True, batches=stopped_after(-1))
    assert history.loss == unbroken["loss"]
    assert digest(model) == unbroken["digest"]


def in_a_process(path: Path, *words: str, **how: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.training.trainings", str(path), str(STEPS), *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_to_the_same_numbers(tmp_path: Path, unbroken: dict[str, Any]) -> None:
    path = tmp_path / "run.safetensors"
    for kill in range(3):
        process = in_a_process(path, "slow")
        deadline = time.monotonic() + 300  # a machine under load takes its time to import
        before = path.stat().st_mtime_ns if path.exists() else 0
        while (not path.exists() or path.stat().st_mtime_ns == before) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(0.007 * kill)  # another moment each time
        process.kill()
        process.communicate()
        assert Checkpoint.read(path).facts["step"] > 0
    out, errors = in_a_process(path, "slow").communicate()
    found = json.loads(out) if out else pytest.fail(errors)
    assert found["loss"] == unbroken["loss"]
    assert found["digest"] == unbroken["digest"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_finishes_the_step_and_says_how_to_go_on(
    number: int, tmp_path: Path, unbroken: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.safetensors"

    def pressed(step: int, rank: int, world_size: int) -> Batch:
        if step == 12:
            os.kill(os.getpid(), number)
        return slowly(step, rank, world_size)

    handler = signal.getsignal(number)
    with pytest.raises(Interrupted, match=r"after step \d+; train again with resume=True") as stop:
        training(path, STEPS, batches=pressed, checkpoint_every="1 h")
    assert isinstance(stop.value, KeyboardInterrupt)
    assert signal.getsignal(number) == handler
    assert "once more stops at once" in capsys.readouterr().err
    assert 8 < stop.value.history.steps < STEPS
    assert Checkpoint.read(path).facts["step"] == stop.value.history.steps
    model, history = training(path, STEPS, resume=True)
    assert history.loss == unbroken["loss"]
    assert digest(model) == unbroken["digest"]


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"

    def hangs(step: int, rank: int, world_size: int) -> Batch:
        if step == 9:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)  # as torchrun passes it on: it is the same one
            time.sleep(1.2)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        return batches(step, rank, world_size)

    with pytest.raises(KeyboardInterrupt) as stop:
        training(path, STEPS, batches=hangs)
    assert not isinstance(stop.value, Interrupted)
    assert Checkpoint.read(path).facts["step"] == 7


def test_losses_that_are_read_a_step_late_as_on_a_gpu_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unbroken: dict[str, Any]
) -> None:
    monkeypatch.setattr("causalcnn.training.device.Runtime.sync_lag", 1)
    path = tmp_path / "run.safetensors"
    with pytest.raises(RuntimeError, match="accident"):
        training(path, STEPS, batches=stopped_after(17))
    model, history = training(path, STEPS, resume=True, evaluate=lambda model: {})
    assert history.loss == unbroken["loss"]
    assert history.metrics == unbroken["metrics"]
    assert digest(model) == unbroken["digest"]

    def poisoned(step: int, rank: int, world_size: int) -> Batch:
        batch = batches(step, rank, world_size)
        return Batch(batch.features * (torch.nan if step == 13 else 1.0), batch.mask)

    other = tmp_path / "other.safetensors"  # step 13 is the last before the checkpoint of step 14 would be written
    with pytest.raises(NonFiniteLoss, match=r"at step 13.*after step 7"):
        training(other, STEPS, batches=poisoned)
    assert Checkpoint.read(other).facts["step"] == 7


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_it_trains_in_bf16_and_resumes(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    with pytest.raises(RuntimeError, match="accident"):
        training(path, STEPS, batches=stopped_after(17), device="auto")
    model, history = training(path, STEPS, resume=True, device="auto")
    _, whole = training(None, STEPS, device="auto")
    assert next(model.parameters()).device.type == "cuda"
    assert history.precision == ("bf16" if torch.cuda.is_bf16_supported() else "fp32")
    assert history.loss == pytest.approx(whole.loss, rel=1e-3)


def test_without_a_checkpoint_an_interruption_says_so() -> None:
    def pressed(step: int, rank: int, world_size: int) -> Batch:
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return slowly(step, rank, world_size)

    with pytest.raises(Interrupted, match="no checkpoint was asked for"):
        training(None, STEPS, batches=pressed)


def test_outside_the_main_thread_it_trains_as_well(unbroken: dict[str, Any]) -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(training(None, STEPS)[1].loss))
    thread.start()
    thread.join()
    assert found == [unbroken["loss"]]


def full_after(bytes_: int) -> Any:
    """Runs in the child: no file may grow beyond this, as on a disk that is full."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))


def test_a_full_disk_is_warned_about_and_costs_nothing(tmp_path: Path, unbroken: dict[str, Any]) -> None:
    path = tmp_path / "run.safetensors"
    with pytest.raises(RuntimeError, match="accident"):
        training(path, STEPS, batches=stopped_after(10))
    whole = path.read_bytes()
    out, errors = in_a_process(path, preexec_fn=full_after(1000)).communicate()
    assert "could not be written after step 14" in errors
    assert "The last good checkpoint is" in errors
    assert "after step 7" in errors
    assert json.loads(out)["loss"] == unbroken["loss"]  # the training itself went on to its end
    assert path.read_bytes() == whole
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_written_is_found_out_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(OSError, match="file"):
        training(tmp_path / "file" / "run.safetensors", STEPS, batches=stopped_after(-1))


def test_an_earlier_training_is_not_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    training(path, 3)
    whole = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"resume=True \(--resume\) goes on from it"):
        training(path, 3)
    assert path.read_bytes() == whole


def test_another_training_is_named_by_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.safetensors"
    training(path, 3, settings={"corpus": {"name": "a", "clips": 7}, "rows": 8})
    same: dict[str, Any] = {"resume": True, "settings": {"corpus": {"name": "a", "clips": 7}, "rows": 8}}
    for changed, words in (
        ({"seed": 3}, "seed: 0 there, 3 now"),
        ({"learning_rate": 1.0}, "learning_rate: 0.02 there, 1.0 now"),
        ({"settings": {"corpus": {"name": "b", "clips": 7}, "rows": 8}}, "corpus.name: a there, b now"),
        ({"settings": {"corpus": {"name": "a", "clips": 7}}}, "rows: 8 there, not given now"),
    ):
        with pytest.raises(CheckpointError, match=words):
            training(path, 3, **{**same, **changed})
    with pytest.raises(CheckpointError, match="budget: 3 steps there, 4 steps now"):
        training(path, 4, **same)
    monkeypatch.setattr("tests.training.trainings.Toy", lambda: Toy(ToyConfig(dropout=0.3)))
    with pytest.raises(CheckpointError, match=r"config.dropout: 0.2 there, 0.3 now"):
        training(path, 3, **same)


def test_other_weights_under_the_same_settings_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.safetensors"
    training(path, 3)

    def wider() -> Toy:
        model = Toy()
        model.narrow = torch.nn.Conv1d(4, 3, 3, padding=1)
        return model

    made: list[Toy] = []

    def kept() -> Toy:
        made.append(wider())
        return made[-1]

    monkeypatch.setattr("tests.training.trainings.Toy", kept)
    with pytest.raises(CheckpointError, match=r"holds other weights than this model(.|\n)*narrow.weight"):
        training(path, 3, resume=True)
    assert torch.equal(made[0].wide.weight, wider().wide.weight)  # it fits, and was not copied all the same


def test_damage_is_told_from_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    training(path, 3)
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[:-1], b"\xff" * 200, b"PK\x03\x04" + whole):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"is no safetensors file, or is damaged or cut off"):
            training(path, 3, resume=True)
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"holds tensors, but is no .* load_model\(path\)"):
        training(path, 3, resume=True)
    save_file({"weight": torch.zeros(1)}, path, {"causalcnn": '{"format": "causalcnn training checkpoint 1"}'})
    with pytest.raises(CheckpointError, match=r"written by another version.* train anew"):
        training(path, 3, resume=True)


@given(data=st.data())
@settings(max_examples=examples(25), deadline=None)
def test_whatever_byte_is_altered_a_checkpoint_is_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "altered.safetensors"
    if not path.exists():
        training(path, 3)
    whole = bytearray(path.read_bytes())
    where = data.draw(st.integers(0, len(whole) - 1))
    whole[where] ^= data.draw(st.integers(1, 255))
    altered = path.with_name("altered-byte.safetensors")
    altered.write_bytes(whole)
    try:
        read = Checkpoint.read(altered)
    except CheckpointError as refused:
        message = str(refused)
    else:  # a letter of the checksum's own name
        same, message = Checkpoint.read(path), str(altered)
        assert (read.facts, read.settings) == (same.facts, same.settings)
        assert all(torch.equal(read.tensors[name], value) for name, value in same.tensors.items())
    assert str(altered) in message


def test_a_checkpoint_from_before_there_were_checksums_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    training(path, 3)
    tensors, metadata = read_tensors(path)
    path.write_bytes(pack_tensors(tensors, {"causalcnn": metadata["causalcnn"]}))
    training(path, 3, resume=True)


def test_a_setting_that_is_not_a_number_is_the_same_setting(tmp_path: Path) -> None:
    path, kept = tmp_path / "run.safetensors", {"floor": float("nan"), "of": {"x": [1.0, float("nan")]}}
    training(path, 3, settings=kept)
    training(path, 3, settings=kept, resume=True)
    with pytest.raises(CheckpointError, match=r"floor: nan there, 0\.0 now"):
        training(path, 3, settings={**kept, "floor": 0.0}, resume=True)


def test_weights_that_are_no_numbers_never_replace_a_good_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"

    def spoil(model: Toy, batch: Batch) -> Any:
        if int(model.seen) == 9:
            with torch.no_grad():
                model.narrow.bias[0] = torch.nan
        return model.loss(Batch(batch.features, batch.mask)) if int(model.seen) < 9 else model.wide.bias.square().sum()

    with pytest.raises(NonFiniteLoss, match=r"narrow.bias is not finite after step 14.* after step 7") as stop:
        training(path, STEPS, loss=spoil)
    assert str(path) in str(stop.value)
    assert Checkpoint.read(path).facts["step"] == 7


def test_another_machine_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    with pytest.raises(RuntimeError, match="accident"):
        training(path, STEPS, batches=stopped_after(10))
    saved = Checkpoint.read(path)
    Checkpoint(saved.tensors, {**saved.facts, "device": "Abacus"}, saved.settings).write(path)
    with pytest.warns(UserWarning, match="written on Abacus.*not to the last digit"):
        training(path, STEPS, resume=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training(path, STEPS, resume=True)
