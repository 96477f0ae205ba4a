"""A damaged plan is refused, or at least stays within its memory: what is compiled believes what it is told."""

from __future__ import annotations

import copy
import json
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalcnn import CausalConv1d
from causalcnn.engine import Plan, lower
from causalcnn.engine import machine as machine_module
from causalcnn.engine.check import check_plan
from causalcnn.engine.machine import Machine
from causalcnn.nn import CausalMaxPool1d, CausalSequential, FrameNorm, Parallel, Residual
from tests.engine.networks import random_network
from tests.fuzz import examples

pytest.importorskip("numba")

GUARD = 4096


def places(tree, path=()):
    """Every number of a nesting of lists and dicts, by the way to it."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        if isinstance(value, int | float):
            yield (*path, key)
        yield from places(value, (*path, key))


def damaged(plan: Plan, dice: random.Random) -> Plan:
    """The plan with one number changed, or one array of another shape."""
    structure = json.loads(json.dumps(plan._structure()))
    arrays = {f"{n}.{name}": torch.from_numpy(a) for n, op in enumerate(plan.ops) for name, a in op.arrays.items()}
    if arrays and dice.random() < 0.2:
        name = dice.choice(sorted(arrays))
        arrays[name] = dice.choice([arrays[name][..., :-1], arrays[name][None], arrays[name][:-1]]).contiguous()
    else:
        *way, last = dice.choice([place for place in places(structure) if place != ("version",)])
        inner = structure
        for key in way:
            inner = inner[key]
        inner[last] += dice.choice([-1, 1, -2, 2, 5, 100, -inner[last], 2**45, 0.5])
    return Plan._from(structure, arrays, "damaged")


@given(seed=st.integers(0, 10**6))
@settings(max_examples=examples(150))
def test_a_damaged_plan_touches_nothing_but_its_own_memory(seed):
    dice = random.Random(seed)
    network, empty = random_network(seed, quantized=True)
    plan = damaged(lower(network, empty), dice)
    guarded, written = [], []

    def aligned(numbers, dtype):
        room = np.full(numbers + 2 * GUARD, np.nan, dtype)
        room[GUARD:-GUARD] = 0
        guarded.append(room)
        return room[GUARD:-GUARD]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine_module, "_aligned", aligned)
        try:
            machine = Machine(plan, 2)
        except (ValueError, MemoryError):
            return
    run = machine._run

    def guarded_run(*arguments):
        *before, ys, length, inputs, tick = arguments
        written.append(np.full(len(ys) + GUARD, np.nan, ys.dtype))
        return run(*before, written[0][:-GUARD], length, inputs, tick)

    machine._run = guarded_run
    try:
        machine(torch.randn(2, plan.registers[0].channels, 7, *empty.shape[3:]))
    except (ValueError, RuntimeError):
        return
    assert np.isnan(written[0][-GUARD:]).all()
    for room in guarded:
        assert np.isnan(room[:GUARD]).all()
        assert np.isnan(room[-GUARD:]).all()


LAYERS = [
    CausalConv1d(2, 2, 3), CausalMaxPool1d(2), FrameNorm(2), Parallel(CausalConv1d(2, 2, 1), torch.nn.Tanh()),
    Residual(torch.nn.ReLU(), CausalConv1d(2, 2, 1)),
]  # fmt: skip


def one(change):
    plan = copy.deepcopy(lower(CausalSequential(*LAYERS), torch.zeros(1, 2, 0)))
    change(plan)
    return plan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.ops[0].settings.pop("held"), r"operation 0 of the plan, linear: .*"),
        (lambda p: p.ops[0].settings["products"][0].update(out_channel=1), r"writes channels beyond"),
        (lambda p: p.ops[0].settings["products"][0].update(out_cell=1), r"writes a cell beyond"),
        (lambda p: p.ops[0].settings["products"][0]["taps"].append([0, 0]), r"taps do not fit"),
        (lambda p: p.ops[1].settings.update(delays=[2]), r"operation 1 of the plan, pool: a delay is too long"),
        (lambda p: p.ops[1].settings.update(stride=0), r"0 is no size"),
        (lambda p: p.ops[2].arrays.update(weight=np.ones(1)), r"operation 2 of the plan, norm: "),
        (lambda p: p.ops[2].arrays.pop("bias"), r"operation 2 of the plan, norm: KeyError"),
        (lambda p: p.registers.__setitem__(2, p.registers[2]._replace(channels=1)), r"operation 1 .*other sizes"),
        (lambda p: p.outputs.__setitem__(0, p.outputs[0]._replace(register=99)), r"outputs of the plan"),
        (lambda p: p.ops[-1].settings["products"][0].update(plus=0), r"adds an input that there is not"),
        (lambda p: p.ops[-1].settings["products"][0].update(plus=2), r"adds an input that there is not"),
        (lambda p: p.ops[-1].settings["enter"].update(function="cosine"), r"no function 'cosine'"),
        (lambda p: p.ops[-1].settings["enter"].update(kind="gate"), r"adds an input that there is not"),
        (lambda p: p.ops[-1].settings["enter"].update(kind="choose"), r"it has not two inputs"),
        (lambda p: p.state.update({"0": 2}), r"state of the plan: it names an operation without one"),
        (lambda p: p.registers.append(p.registers[0]), r"the plan: it has another number of registers"),
    ],
)
def test_what_is_wrong_with_a_plan_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        check_plan(one(change))


def test_a_file_without_all_of_a_plan_is_damaged(tmp_path, monkeypatch):
    plan = lower(CausalSequential(*LAYERS), torch.zeros(1, 2, 0))
    structure = plan._structure()
    for key in structure:
        monkeypatch.setattr(Plan, "_structure", lambda self, key=key: {k: v for k, v in structure.items() if k != key})
        plan.save(tmp_path / "plan")
        with pytest.raises(ValueError, match="is damaged"):
            Plan.load(tmp_path / "plan")
