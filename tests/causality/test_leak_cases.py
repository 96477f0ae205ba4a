"""Every planted leak is found and named, alone and inside a deep network; no causal network is suspected."""

from __future__ import annotations

import math

import pytest
import torch

from causalcnn import LeakError, assert_causal, audit
from causalcnn.causality import CAUSAL_CASES, LEAK_CASES, LeakCase, Verdict, embed_in_network

ISSUE = (
    "pad off by one", "dilation forgotten", "reflect padding", "batch norm in training", "group norm", "instance norm",
    "layer norm over time", "GRU in both directions", "centred STFT", "without a mask", "mask off by one",
    "trimmed on the left", "argmin after a leak", "closed gate", "zero-initialised", "max-pooling", "dead ReLUs",
    "masked convolution", "squeeze and excite", "state kept across rows",
)  # fmt: skip
QUICK = ("reflect padding", "closed gate", "argmin after a leak", "batch norm in training", "pad off by one")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def names(cases):
    return [case.name for case in cases]


def frames_for(case: LeakCase) -> int:
    return 800 if case.name == "CPC encoder" else 48


def judged_rightly(case: LeakCase, *, inside: bool) -> None:
    module = embed_in_network(case) if inside else case.build()
    report = audit(module, case.example(frames_for(case)), convention=case.convention)
    said = str(report)
    assert report.verdict is case.verdict, said
    assert report.rows_mix == case.rows, said
    assert report.keeps_state == case.state, said
    expected = case.culprit
    if inside and expected is not None:
        expected = f"middle.{expected}" if expected else "middle"
    assert report.culprit == expected, said
    if not inside:
        assert report.lookahead == case.lookahead, said
        assert case.frames in (None, dict(report.frames)), said
    if case.verdict is Verdict.LOOKS_AHEAD and case.culprit is not None:
        assert bool(report.observed) != case.hidden, said
    assert report.passed == (not case.lookahead and not case.rows and not case.state)


@pytest.mark.parametrize("case", LEAK_CASES, ids=names(LEAK_CASES))
def test_every_fault_is_found_and_named_when_it_stands_alone(case):
    judged_rightly(case, inside=False)


@pytest.mark.parametrize("case", CAUSAL_CASES, ids=names(CAUSAL_CASES))
def test_no_clean_network_is_suspected(case):
    judged_rightly(case, inside=False)


QUICK_FAULTS = [case for case in LEAK_CASES if case.name in QUICK]


@pytest.mark.parametrize("case", QUICK_FAULTS, ids=names(QUICK_FAULTS))
def test_a_fault_is_found_and_named_inside_a_deep_network(case):
    judged_rightly(case, inside=True)


@pytest.mark.slow
@pytest.mark.parametrize("case", LEAK_CASES, ids=names(LEAK_CASES))
def test_every_fault_is_found_and_named_inside_a_deep_network(case):
    judged_rightly(case, inside=True)


@pytest.mark.slow
@pytest.mark.parametrize("case", CAUSAL_CASES, ids=names(CAUSAL_CASES))
def test_no_clean_network_is_suspected_when_it_is_deep(case):
    judged_rightly(case, inside=True)


def test_there_is_a_case_for_every_fault_that_is_promised():
    for fault in ISSUE:
        assert any(fault in case.name for case in LEAK_CASES), fault


def test_two_faults_are_reported_by_the_first_of_them():
    faults = {case.name: case for case in LEAK_CASES}
    first, second = (faults[name].build() for name in ("pad off by one", "group norm over time"))
    report = audit(torch.nn.Sequential(first, second), faults["pad off by one"].example())
    assert (report.lookahead, report.culprit) == (math.inf, "0.conv")


def test_assert_causal_raises_the_report():
    leaking = next(case for case in LEAK_CASES if case.name == "zero-initialised convolution")
    with pytest.raises(LeakError, match="these weights hide it"):
        assert_causal(leaking.build(), leaking.example())
    clean = next(case for case in CAUSAL_CASES if case.name == "residual block")
    assert assert_causal(clean.build(), clean.example()).passed
