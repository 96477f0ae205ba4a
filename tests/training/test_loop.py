"""The loop trains, says what happened, disturbs nobody, and refuses what cannot work."""

from __future__ import annotations

import math
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from causalcnn import VectorQuantizer
from causalcnn.speech import SampleBatch
from causalcnn.training import Budget, NonFiniteLoss, lr_factor, minimize, train
from tests.training.toy import Batch, Toy, batches


def quiet(model: nn.Module, budget: str = "10 steps", **given: Any) -> Any:
    return train(model, given.pop("batches", batches), budget, **{"device": "cpu", "progress": False, **given})


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def same(first: nn.Module, second: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


def test_a_model_learns_and_the_history_says_how() -> None:
    model = Toy()
    history = quiet(model, "80 steps", learning_rate=0.05)
    assert statistics.fmean(history.loss[-10:]) < 0.5 * history.loss[0]
    assert history.steps == len(history.metrics["gradient norm"]) == len(history.metrics["real"]) == 80
    assert set(history.metrics["real"]) == {0.75}
    assert history.frames == 80 * 8 * 12  # real frames only: the padding is masked
    assert not model.training
    assert history.precision == "fp32"
    assert history.device.startswith("CPU")
    assert 0 <= history.waiting_fraction < 1
    assert history.seconds > 0


def test_the_same_seed_gives_the_same_numbers_and_another_one_others() -> None:
    first, second, third = Toy(), Toy(), Toy()
    losses = [quiet(first, seed=1).loss, quiet(second, seed=1).loss, quiet(third, seed=2).loss]
    assert losses[0] == losses[1] != losses[2]
    assert same(first, second)
    assert not same(first, third)


def test_the_random_numbers_of_the_caller_are_left_alone() -> None:
    model = Toy()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    quiet(model)
    assert torch.equal(torch.rand(3), expected)


def test_evaluating_changes_no_number_of_the_training() -> None:
    seen: list[bool] = []

    def evaluate(model: nn.Module) -> dict[str, float]:
        seen.append(model.training or torch.is_grad_enabled())
        return {"draw": float(torch.rand(()))}

    watched, alone = Toy(), Toy()
    history = quiet(watched, "20 steps", evaluate=evaluate, evaluations=4)
    assert history.loss == quiet(alone, "20 steps").loss
    assert same(watched, alone)
    assert [found["step"] for found in history.evaluations] == [5, 10, 15, 20]
    assert not any(seen)


def test_a_budget_in_seconds_ends_in_time() -> None:
    began = time.perf_counter()
    history = quiet(Toy(), "0.3 s")
    assert 0.3 <= history.seconds < 1.5
    assert time.perf_counter() - began < 5
    assert history.steps > 3
    assert history.metrics["learning rate"][-1] < 0.3 * max(history.metrics["learning rate"])


def test_the_rate_rises_in_a_line_and_falls_to_nothing() -> None:
    assert [lr_factor(share, 0.1) for share in (0, 0.05, 0.1)] == [0, 0.5, 1]
    assert lr_factor(0.55, 0.1) == pytest.approx(0.5)
    assert lr_factor(1.0, 0.1) == 0
    assert lr_factor(0, 0.0) == 1
    history = quiet(Toy(), "40 steps", learning_rate=0.02, warmup=0.25)
    assert min(history.metrics["learning rate"]) > 0  # no step is wasted
    assert max(history.metrics["learning rate"]) == pytest.approx(0.02, rel=0.01)


def test_a_long_gradient_is_shortened() -> None:
    model = Toy()
    before = weights(model)
    history = quiet(model, "1 step", learning_rate=1e-3, clip=1e-9)
    moved = max(
        float((a - b).abs().max()) for a, b in zip(weights(model), before, strict=True) if a.is_floating_point()
    )
    assert history.metrics["gradient norm"][0] > 0.1  # as it was before clipping
    assert moved < 1e-3  # Adam divides by its length, but not by less than 1e-8


def test_weights_decay_and_biases_do_not() -> None:
    class Still(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix, self.bias = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))

        def loss(self, batch: Any) -> torch.Tensor:
            return 0.0 * (self.matrix.sum() + self.bias.sum())

    model = Still()
    quiet(model, "5 steps", weight_decay=0.5, learning_rate=0.1)
    assert float(model.matrix.detach().max()) < 1
    assert torch.equal(model.bias.detach(), torch.ones(2))


def test_a_loss_of_ones_own_and_plain_tensors_will_do() -> None:
    layer = nn.Linear(3, 1)
    x = torch.randn(5, 3)
    history = quiet(
        layer,
        "30 steps",
        batches=lambda step, rank, world_size: (x, x.sum(1, keepdim=True)),
        loss=lambda model, pair: nn.functional.mse_loss(model(pair[0]), pair[1]),
        learning_rate=0.05,
    )
    assert history.loss[-1] < history.loss[0]
    assert history.frames == 0


def test_batches_are_made_ahead_by_another_thread_in_order() -> None:
    made: list[tuple[int, str]] = []

    def watched(step: int, rank: int, world_size: int) -> Batch:
        made.append((step, threading.current_thread().name))
        return batches(step, rank, world_size)

    quiet(Toy(), "6 steps", batches=watched)
    assert [step for step, _ in made][:6] == list(range(6))
    assert threading.main_thread().name not in {name for _, name in made}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_waiting_for_data_is_seen() -> None:
    def slow(step: int, rank: int, world_size: int) -> Batch:
        time.sleep(0.02)
        return batches(step, rank, world_size)

    assert quiet(Toy(), "10 steps", batches=slow).waiting_fraction > 0.5


def test_what_goes_wrong_while_a_batch_is_made_is_raised_as_it_is() -> None:
    def broken(step: int, rank: int, world_size: int) -> Batch:
        if step == 3:
            raise KeyError("clip 7 is gone")
        return batches(step, rank, world_size)

    with pytest.raises(KeyError, match="clip 7 is gone"):
        quiet(Toy(), batches=broken)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def poisoned(at: int, value: float = math.nan) -> Any:
    def make(step: int, rank: int, world_size: int) -> Batch:
        batch = batches(step, rank, world_size)
        return Batch(batch.features * (value if step == at else 1.0), batch.mask)

    return make


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_training_before_it_spoils_a_weight(value: float) -> None:
    model, unbroken = Toy(), Toy()
    with pytest.raises(NonFiniteLoss, match=r"at step 4: the training stops.*batches\(4, rank, world_size\)"):
        quiet(model, batches=poisoned(4, value))
    assert all(torch.isfinite(value).all() for value in weights(model))
    with pytest.raises(NonFiniteLoss):
        quiet(unbroken, batches=poisoned(0))
    assert all(torch.equal(a, b) for a, b in zip(unbroken.parameters(), Toy().parameters(), strict=True))


def test_a_gradient_that_is_no_number_stops_it_too() -> None:
    class Steep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def loss(self, batch: Any) -> torch.Tensor:
            return self.weight.sqrt().sum()

    with pytest.raises(NonFiniteLoss, match=r"the loss is 0, its gradient (inf|nan) at step 0"):
        quiet(Steep())


def test_what_cannot_be_trained_is_refused_in_words() -> None:
    with pytest.raises(TypeError, match=r"Linear has no method loss\(batch\)"):
        quiet(nn.Linear(1, 1))
    with pytest.raises(ValueError, match="nothing to train"):
        quiet(nn.ReLU(), loss=lambda model, batch: batch)
    with pytest.raises(ValueError, match=r"the loss is \(8, 4, 16\); it must be a tensor with one value"):
        quiet(Toy(), loss=lambda model, batch: model(batch.features))
    with pytest.raises(ValueError, match=r"the metric 'each' has shape \(8, 4, 16\)"):
        quiet(Toy(), loss=lambda model, batch: (model(batch.features).sum(), {"each": batch.features}))
    for name, value in (("learning_rate", 0.0), ("warmup", 1.0), ("clip", -1.0), ("weight_decay", -0.1)):
        with pytest.raises(ValueError, match=f"{name} is {value}"):
            quiet(Toy(), **{name: value})
    with pytest.raises(ValueError, match="evaluations is 0"):
        quiet(Toy(), evaluations=0)


def test_devices_and_precisions_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="'tpu'; it is one of auto, cpu, cuda, mps"):
        quiet(Toy(), device="tpu")
    with pytest.raises(ValueError, match="'fp16'; it is one of"):
        quiet(Toy(), precision="fp16")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="'cuda', and torch finds none"):
            quiet(Toy(), device="cuda")


def test_a_cpu_without_bf16_units_never_computes_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from causalcnn.training import device as devices

    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: False)
    assert quiet(Toy(), precision="auto").precision == "fp32"
    with pytest.raises(ValueError, match="no bf16 units: it would be 11 to 33 times slower"):
        quiet(Toy(), precision="bf16")
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: True)
    assert quiet(Toy(), precision="auto").precision == "fp32"
    dtypes: list[torch.dtype] = []

    def loss(model: nn.Module, batch: Batch) -> torch.Tensor:
        y = model(batch.features)
        dtypes.append(y.dtype)
        return y.float().square().mean()

    assert quiet(Toy(), "2 steps", precision="bf16", loss=loss).precision == "bf16"
    assert set(dtypes) == {torch.bfloat16}
    dtypes.clear()
    quiet(Toy(), "2 steps", loss=loss)  # one training's precision is not the next one's
    assert set(dtypes) == {torch.float32}


def test_a_curve_and_the_last_values_are_means() -> None:
    history = quiet(Toy(), "25 steps")
    assert history.last(5)["loss"] == pytest.approx(statistics.fmean(history.loss[-5:]))
    curve = history.curve(points=10)
    assert curve[0] == (3, pytest.approx(statistics.fmean(history.loss[:3])))
    assert curve[-1][0] == 25
    assert len(curve) == 9


def test_a_metric_that_comes_late_is_not_a_number_before() -> None:
    from causalcnn.training import History

    history = History()
    history.append(1.0, {})
    history.append(2.0, {"late": 3.0})
    history.append(3.0, {})
    assert [str(value) for value in history.metrics["late"]] == ["nan", "3.0", "nan"]
    assert Budget.of("3 steps").is_finished(history.steps, 0.0)


def test_what_a_layer_refuses_is_told_with_its_step() -> None:
    class Coded(Toy):
        def __init__(self) -> None:
            super().__init__()
            self.quantizer = VectorQuantizer(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.wide(self.quantizer(self.narrow(x)))

    def broken(step: int, rank: int, world_size: int) -> Batch:
        batch = batches(step, rank, world_size)
        return Batch(batch.features * (torch.nan if step == 3 else 1.0), batch.mask)

    with pytest.raises(NonFiniteLoss, match=r"vectors that are NaN(.|\n)*step 3"):
        quiet(Coded(), batches=broken)


def test_without_a_checkpoint_nothing_is_gathered_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "causalcnn.training.train_state.TrainState.save",
        lambda state: pytest.fail("saved") if state.step < 10 else False,
    )
    quiet(Toy(), checkpoint_every="2 steps")


def test_a_setting_that_no_checkpoint_can_keep_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'corpus' is .*x.*str"):
        quiet(Toy(), checkpoint=tmp_path / "run.safetensors", settings={"corpus": Path("/x")})
    assert not list(tmp_path.iterdir())
    quiet(Toy(), settings={"corpus": Path("/x")})  # nothing has to keep it


def test_the_last_evaluation_comes_also_where_the_clock_is_read_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: the budget is found to be spent while a checkpoint is written."""
    monkeypatch.setattr("causalcnn.training.device.Runtime.sync_lag", 1)
    now = iter(range(10**6))
    monkeypatch.setattr("causalcnn.training.loop.time.perf_counter", lambda: 0.05 * next(now))
    for seconds in ("1 s", "1.1 s", "1.2 s", "1.3 s"):
        history = quiet(Toy(), seconds, evaluate=lambda model: {}, evaluations=2)
        assert history.evaluations[-1]["step"] == history.steps


def test_the_line_says_what_it_counts(capsys: pytest.CaptureFixture[str]) -> None:
    def sounds(step: int, rank: int, world_size: int) -> SampleBatch:
        return SampleBatch(torch.ones(2, 8), torch.ones(2, 8, dtype=torch.bool), torch.zeros(2, dtype=torch.int64))

    quiet(Toy(), "2 steps", progress=True)
    assert " frames/s" in capsys.readouterr().err
    quiet(nn.Linear(8, 1), "2 steps", batches=sounds, loss=lambda model, x: model(x.samples).mean(), progress=True)
    assert " samples/s" in capsys.readouterr().err


def test_the_bare_loop_does_what_one_writes_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    def problem() -> tuple[nn.Linear, torch.optim.Optimizer, Any]:
        layer = nn.Linear(3, 1)
        nn.init.constant_(layer.weight, 0.5)
        nn.init.zeros_(layer.bias)
        optimizer = torch.optim.Adam(layer.parameters(), 0.1)
        return layer, optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)

    x = torch.randn(5, 8, 3)
    by_hand, optimizer, scheduler = problem()
    expected = []
    for step in range(5):
        optimizer.zero_grad()
        loss = by_hand(x[step]).square().mean()
        loss.backward()
        optimizer.step()
        scheduler.step()
        expected.append(loss.item())
    layer, optimizer, scheduler = problem()
    found = minimize(lambda step: layer(x[step]).square().mean(), optimizer, 5, scheduler=scheduler, progress=True)
    assert found == expected
    assert torch.equal(layer.weight, by_hand.weight)
    assert "step 5 of 5" in capsys.readouterr().err
