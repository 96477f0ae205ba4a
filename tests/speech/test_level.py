"""Levels: a gain moves them by as much, silence does not count, and the running one knows the past only."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalcnn import Field, audit, check_contract
from causalcnn.causality import Verdict
from causalcnn.speech import RunningLevel, frame_level_db, speech_level_db, speech_mask
from tests.fuzz import examples


def speech(frames=300, seed=0, level=-30.0):
    """Frames around a level, with pauses of digital silence."""
    generator = torch.Generator().manual_seed(seed)
    x = level + 6 * torch.randn(2, 80, frames, generator=generator, dtype=torch.float64)
    x[:, :, frames // 2 : frames // 2 + frames // 5] = -100
    return x


# ------------------------------------------------------------------------------------ level of a clip
def test_the_level_of_a_frame_is_its_mean_power():
    x = torch.full((1, 80, 2), -20.0)
    x[0, ::2, 1] = -100  # half of the bands cut off: half the power
    torch.testing.assert_close(frame_level_db(x)[0], torch.tensor([-20.0, -20 - 10 * math.log10(2)]))


@given(st.floats(-40, 20))
def test_a_gain_moves_the_level_by_as_much(gain):
    x = speech()
    torch.testing.assert_close(speech_level_db(x + gain), speech_level_db(x) + gain, rtol=0, atol=1e-9)


def test_nothing_has_the_level_of_silence():
    assert speech_level_db(torch.zeros(2, 80, 0)).tolist() == [-100, -100]
    assert speech_level_db(torch.zeros(1, 80, 3), torch.zeros(1, 3, dtype=torch.bool)).tolist() == [-100]


def test_a_knock_hardly_moves_the_level():
    x = speech()
    knock = x.clone()
    knock[:, :, 7] = 0
    assert (speech_level_db(knock) - speech_level_db(x)).abs().max() < 0.5


def test_silence_and_padding_do_not_count():
    x = speech()
    loud = speech_mask(x)
    assert torch.equal(loud[0], x[0, 0] > -99)
    torch.testing.assert_close(speech_level_db(x), speech_level_db(x[:, :, loud[0]]))
    mask = torch.ones(2, 300, dtype=torch.bool)
    mask[:, 200:] = False
    padded = x.clone()
    padded[:, :, 200:] = 50
    torch.testing.assert_close(speech_level_db(padded, mask), speech_level_db(x[:, :, :200]))
    assert not speech_mask(padded, mask)[:, 200:].any()


def test_speaking_is_within_40_db_of_the_loudest():
    x = torch.tensor([-10.0, -49.9, -50.1, -100.0]).expand(80, 4)
    assert speech_mask(x).tolist() == [True, True, False, False]
    assert speech_mask(x, below_db=100).all()
    assert speech_mask(x[:, :0]).shape == (0,)
    with pytest.raises(ValueError, match="below_db is 0"):
        speech_mask(x, below_db=0)


# ------------------------------------------------------------------------------------ the running level
@given(st.integers(2, 16), st.sampled_from([1, 4, 128]), st.sampled_from([0.05, 3.0]))
@settings(max_examples=examples(6))
def test_running_level_keeps_the_contract(frames, block, seconds):
    layer = RunningLevel(-15, seconds=seconds)
    layer._BLOCK = block
    assert layer.field == Field.all_past()
    check_contract(layer, speech(frames, level=-30).clamp(min=-50))
    check_contract(RunningLevel(-15), speech(frames).float(), measure=False)


def test_running_level_in_pauses_keeps_the_contract_but_for_gradients_of_silence():
    """A quiet frame can move the level by being loud, which its gradient does not show: so nothing is measured."""
    check_contract(RunningLevel(-15, seconds=0.5), speech(150), measure=False)


def test_the_audit_certifies_it():
    assert audit(RunningLevel(-15), speech(24)).verdict is Verdict.CAUSAL


def reference(x, to_db, seconds):
    """Frame by frame, as one would say it: for one row."""
    peak, total, count, out = to_db - 20, 0.0, 0.0, []
    keep = math.exp(-1 / (100 * seconds))
    for frame in x.T:
        level = 10 * math.log10(max((10 ** (frame / 10)).mean().item(), 1e-10))
        peak = max(level, peak - 0.02, to_db - 20)
        if level >= peak - 30:
            total, count = keep * total + 10 ** (0.03 * level), keep * count + 1
        gain = (to_db - math.log10(total / count) / 0.03) * count / (count + 5) if count else 0.0
        out.append(frame + gain)
    return torch.stack(out, dim=1)


@pytest.mark.parametrize("level", [-60.0, -30.0, 5.0])
def test_it_equals_the_slow_and_obvious_one(level):
    x = speech(300, level=level)
    torch.testing.assert_close(RunningLevel(-15)(x)[1], reference(x[1], -15, 3.0), rtol=0, atol=1e-9)


def test_it_brings_quiet_and_loud_speech_to_the_same_level():
    for level in (-45.0, -15.0, 10.0):
        y = RunningLevel(-15)(speech(600, level=level))[:, :, 100:]
        torch.testing.assert_close(speech_level_db(y), torch.full((2,), -15.0, dtype=y.dtype), rtol=0, atol=1.0)


def test_silence_at_the_start_gets_no_gain_and_a_pause_keeps_the_gain():
    silence, quiet = torch.full((1, 80, 200), -100.0), torch.full((1, 80, 300), -35.0)
    y = RunningLevel(-15)(torch.cat([silence, quiet, silence + 20, quiet], dim=2))[0, 0]
    assert (y[:200] == -100).all()
    gain = y[200:500] + 35
    assert gain[0] == pytest.approx(20 / 6, abs=1e-3)
    assert (gain.diff() > 0).all()
    assert gain[45] == pytest.approx(18, abs=0.3)
    torch.testing.assert_close(y[500:700] + 80, gain[-1].expand(200))  # noise is not drawn up
    assert y[700] + 35 == pytest.approx(float(gain[-1]), abs=0.1)


def test_a_knock_deafens_it_for_a_while_only():
    x = torch.full((1, 80, 2000), -30.0)
    x[:, :, 50] = 25
    y = RunningLevel(-15)(x)[0, 0]
    assert y[49] > -17
    assert y[60] < -24
    assert y[-1] == pytest.approx(-15, abs=1)


def test_a_broken_frame_stays_broken_and_moves_no_other():
    x = speech(50)
    broken = x.clone()
    broken[0, 3, 20] = math.nan
    broken[1, 3, 21] = math.inf
    y, state = RunningLevel(-15).step(broken, RunningLevel(-15).initial_state(broken))
    assert torch.isfinite(state).all()
    bad = ~torch.isfinite(y)
    assert bad.nonzero().tolist() == [[0, 3, 20], [1, 3, 21]]


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="to_db is nan"):
        RunningLevel(math.nan)
    with pytest.raises(ValueError, match="seconds is 0"):
        RunningLevel(-15, seconds=0)
    with pytest.raises(ValueError, match=r"shape \(2, 80\)"):
        RunningLevel(-15)(torch.zeros(2, 80))
