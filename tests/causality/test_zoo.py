"""The zoo: every planted fault is found and named, alone and inside a deep network; no clean network is suspected."""

from __future__ import annotations

import math

import pytest
import torch

from causalcnn import LeakError, assert_causal, audit
from causalcnn.causality import CLEAN, FAULTS, Specimen, Verdict, deep

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


def names(specimens):
    return [specimen.name for specimen in specimens]


def frames_for(specimen: Specimen) -> int:
    return 800 if specimen.name == "CPC encoder" else 48


def judged_rightly(specimen: Specimen, *, inside: bool) -> None:
    module = deep(specimen) if inside else specimen.build()
    report = audit(module, specimen.example(frames_for(specimen)), convention=specimen.convention)
    said = str(report)
    assert report.verdict is specimen.verdict, said
    assert report.rows_mix == specimen.rows, said
    assert report.keeps_state == specimen.state, said
    expected = specimen.culprit
    if inside and expected is not None:
        expected = f"fault.{expected}" if expected else "fault"
    assert report.culprit == expected, said
    if not inside:
        assert report.lookahead == specimen.lookahead, said
        assert specimen.frames in (None, dict(report.frames)), said
    if specimen.verdict is Verdict.LOOKS_AHEAD and specimen.culprit is not None:
        assert bool(report.observed) != specimen.hidden, said
    assert report.passed == (not specimen.lookahead and not specimen.rows and not specimen.state)


@pytest.mark.parametrize("specimen", FAULTS, ids=names(FAULTS))
def test_every_fault_is_found_and_named_when_it_stands_alone(specimen):
    judged_rightly(specimen, inside=False)


@pytest.mark.parametrize("specimen", CLEAN, ids=names(CLEAN))
def test_no_clean_network_is_suspected(specimen):
    judged_rightly(specimen, inside=False)


QUICK_FAULTS = [specimen for specimen in FAULTS if specimen.name in QUICK]


@pytest.mark.parametrize("specimen", QUICK_FAULTS, ids=names(QUICK_FAULTS))
def test_a_fault_is_found_and_named_inside_a_deep_network(specimen):
    judged_rightly(specimen, inside=True)


@pytest.mark.slow
@pytest.mark.parametrize("specimen", FAULTS, ids=names(FAULTS))
def test_every_fault_is_found_and_named_inside_a_deep_network(specimen):
    judged_rightly(specimen, inside=True)


@pytest.mark.slow
@pytest.mark.parametrize("specimen", CLEAN, ids=names(CLEAN))
def test_no_clean_network_is_suspected_when_it_is_deep(specimen):
    judged_rightly(specimen, inside=True)


def test_the_zoo_holds_every_fault_that_it_promises():
    for fault in ISSUE:
        assert any(fault in specimen.name for specimen in FAULTS), fault


def test_two_faults_are_reported_by_the_first_of_them():
    faults = {specimen.name: specimen for specimen in FAULTS}
    first, second = (faults[name].build() for name in ("pad off by one", "group norm over time"))
    report = audit(torch.nn.Sequential(first, second), faults["pad off by one"].example())
    assert (report.lookahead, report.culprit) == (math.inf, "0.conv")


def test_assert_causal_raises_the_report():
    leaking = next(specimen for specimen in FAULTS if specimen.name == "zero-initialised convolution")
    with pytest.raises(LeakError, match="these weights hide it"):
        assert_causal(leaking.build(), leaking.example())
    clean = next(specimen for specimen in CLEAN if specimen.name == "residual block")
    assert assert_causal(clean.build(), clean.example()).passed
