"""Frames in, samples out, live: the same for any cutting, no frame further ahead than declared, and good to hear."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalcnn import Field, audit, check_contract
from causalcnn.causality import Verdict
from causalcnn.nn import CausalModule, CausalSequential
from causalcnn.speech import LogMel, OnlineGriffinLim, griffin_lim, mel_filterbank, read_recording, synthesize
from causalcnn.speech.online_inversion import frame_magnitudes
from tests.fuzz import examples


def noise(frames=12, rows=2, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return -30 + 6 * torch.randn(rows, 80, frames, generator=generator, dtype=dtype)


@pytest.fixture(scope="module")
def said():
    return synthesize("She opened every window.", speaker=9002)


@pytest.fixture(scope="module")
def features(said):
    return LogMel()(said.tensor())


def to_the_end(features, lookahead, iterations=8):
    """All samples of a recording: its last frame goes on until its last hop is known."""
    more = features[:, :, -1:].expand(-1, -1, lookahead)
    return OnlineGriffinLim(lookahead, iterations)(torch.cat([features, more], dim=2))


# ------------------------------------------------------------------------------------------------------ the contract
class Late(CausalModule):
    """The same samples as late as they are known, silence before the first: so it reads nothing ahead."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    @property
    def field(self):
        return Field.all_past().then(Field.transposed(160, stride=160))

    def initial_state(self, x):
        return self.inner.initial_state(x), x.new_zeros(len(x), 1, self.inner.lookahead * 160)

    def step(self, x, state):
        y, inner = self.inner.step(x, state[0])
        waiting = torch.cat([state[1], y], dim=2)
        return waiting[:, :, : x.shape[2] * 160], (inner, waiting[:, :, x.shape[2] * 160 :].clone())

    def reset_rows(self, state, rows, x):
        return self.inner.reset_rows(state[0], rows, x), state[1]


def test_it_keeps_the_contract():
    report = check_contract(OnlineGriffinLim(0, 2), noise(6), measure=False)
    assert report.largest_difference == 0  # gradients, too
    check_contract(OnlineGriffinLim(0), noise(dtype=torch.float32), gradients=False, measure=False)


@pytest.mark.parametrize("lookahead", [1, 3, 5])
def test_with_a_look_ahead_it_keeps_the_contract_once_its_samples_come_late(lookahead):
    check_contract(Late(OnlineGriffinLim(lookahead, 2)), noise(), gradients=False, measure=False)
    check_contract(Late(OnlineGriffinLim(lookahead, 1)), noise(8), measure=False)


@pytest.mark.parametrize("lookahead", [0, 2])
def test_every_sample_reads_all_frames_that_the_field_declares_and_no_other(lookahead):
    layer, frames = OnlineGriffinLim(lookahead, 2), 5
    x = noise(frames, rows=1).requires_grad_()
    y = layer(x)[0, 0]
    for n in range(0, len(y), 53):
        (gradient,) = torch.autograd.grad(y[n], x, retain_graph=True)
        found = {t for t in range(frames) if gradient[0, :, t].any()}
        assert found == layer.field.inputs_of(n, within=range(frames)) == set(range(n // 160 + lookahead + 1))


@given(st.data(), st.integers(0, 5), st.integers(1, 3), st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=examples(10), deadline=None)
def test_any_cutting_gives_the_same_samples_bit_for_bit(data, lookahead, iterations, dtype):
    layer, x = OnlineGriffinLim(lookahead, iterations), noise(11, dtype=dtype)
    cuts = sorted(data.draw(st.lists(st.integers(0, 11), max_size=6)))
    stream, state, pieces, streamed = layer.stream(), layer.initial_state(x), [], []
    for start, end in zip([0, *cuts], [*cuts, 11], strict=True):
        y, state = layer.step(x[:, :, start:end], state)
        pieces.append(y)
        streamed.append(stream(x[:, :, start:end]))
    whole = layer(x)
    assert whole.shape == (2, 1, 160 * (11 - lookahead))
    assert torch.equal(torch.cat(pieces, dim=2), whole)
    assert torch.equal(torch.cat(streamed, dim=2), whole)


@pytest.mark.parametrize("lookahead", range(6))
def test_it_looks_as_far_ahead_as_it_says_and_no_further(features, lookahead):
    layer = OnlineGriffinLim(lookahead, 2)
    x = features[:, :, 20:50].double()
    before = layer(x)[0, 0].unflatten(0, (-1, 160))
    for frame in (lookahead + 3, 22):
        other = x.clone()
        other[:, :, frame:] = noise(30 - frame, rows=1)
        after = layer(other)[0, 0].unflatten(0, (-1, 160))
        assert torch.equal(after[: frame - lookahead], before[: frame - lookahead])
        one = x.clone()
        one[:, :, frame] += 3
        moved = (layer(one)[0, 0].unflatten(0, (-1, 160)) != before).any(1).nonzero().ravel()
        assert moved.min() == frame - lookahead


def test_the_audit_sees_no_future_without_a_look_ahead_and_finds_it_with_one():
    """It cannot follow the check of the values, so that without a look-ahead it knows what these frames show only."""
    report = audit(OnlineGriffinLim(0, 1), noise(4))
    assert report.verdict is Verdict.UNKNOWN
    assert report.observed == 0
    assert audit(OnlineGriffinLim(1, 1), noise(4)).verdict is Verdict.LOOKS_AHEAD


def test_from_microphone_to_sample_the_latency_is_that_of_the_composed_field(said):
    system = CausalSequential(LogMel(), OnlineGriffinLim(2, 2))
    assert system.field.lookahead == 2 * 160 + 159
    assert system.field.latency() == pytest.approx((2 * 160 + 159) / 16_000)
    x = said.tensor()[:, :8000].double()
    stream, front_end, known, frames = system.stream(), LogMel().stream(), [], []
    for piece in torch.split(x, 100, dim=1):
        known.append(stream(piece))
        frames.append(front_end(piece))
        given, heard = sum(y.shape[2] for y in known), 100 * len(known)
        assert given == max(0, heard // 160 - 2) * 160
    assert torch.equal(torch.cat(known, dim=2), OnlineGriffinLim(2, 2)(torch.cat(frames, dim=2)))


def test_a_row_that_is_reset_is_silent_until_it_has_seen_ahead():
    layer, x = OnlineGriffinLim(3, 2), noise(20)
    _, state = layer.step(x[:, :, :8], layer.initial_state(x))
    y, _ = layer.step(x[:, :, 8:], layer.reset_rows(state, [1], x))
    kept, _ = layer.step(x[:, :, 8:], state)
    assert torch.equal(y[0], kept[0])
    assert not y[1, :, :480].any()
    assert torch.equal(y[1, :, 480:], layer(x[:, :, 8:])[1])


# ---------------------------------------------------------------------------------------------------- the same sound
def reference(decibels, lookahead, iterations):
    """Say it frame by frame and hop by hop, for one recording ``(80, frames)``: the slow and obvious one."""
    window, frames = np.sin(np.pi * np.arange(640) / 640) ** 2, decibels.shape[1]
    filters = mel_filterbank().numpy()
    pulse = 1e-7 * np.exp(-1j * np.pi * np.arange(513) * 640 / 1024)
    samples = np.zeros(480 + frames * 160)  # 480 zeros before the recording
    magnitudes, sounds, given = [], [], 0  # given: hops
    for newest in range(frames):
        power = 10 ** (decibels[:, newest] / 10)
        spectrum = (power / filters.sum(1)) @ filters / np.maximum(filters.sum(0), 1e-30)
        for _ in range(15):
            spectrum *= (power / (filters @ spectrum)) @ filters / np.maximum(filters.sum(0), 1e-30)
        magnitudes.append(np.sqrt(spectrum))

        def listen(newest=newest, given=given):
            signal = samples.copy()
            for hop in range(given, newest + 1):
                total, weight = np.zeros(160), np.zeros(160)
                for frame in range(hop, min(hop + 4, len(sounds))):
                    quarter = slice((hop - frame + 3) * 160, (hop - frame + 4) * 160)
                    total += window[quarter] * sounds[frame][quarter]
                    weight += window[quarter] ** 2
                signal[480 + hop * 160 :][:160] = total / np.maximum(weight, 0.05)
            return signal

        def improve(frame, signal):
            spectrum = np.fft.rfft(signal[frame * 160 : frame * 160 + 640] * window, 1024) + pulse
            return np.fft.irfft(magnitudes[frame] * spectrum / np.abs(spectrum), 1024)[:640]

        sounds.append(improve(newest, listen()))
        for _ in range(iterations):
            signal = listen()
            for frame in range(max(0, newest - lookahead), newest + 1):
                sounds[frame] = improve(frame, signal)
        if newest >= lookahead:
            here = slice(480 + given * 160, 640 + given * 160)
            samples[here] = listen()[here]
            given += 1
    return samples[480 : 480 + given * 160]


@pytest.mark.parametrize(("lookahead", "iterations"), [(0, 3), (1, 2), (3, 4), (5, 2)])
def test_it_equals_the_slow_and_obvious_one(features, lookahead, iterations):
    x = features[:, :, 20:50].double()
    expected = reference(x[0].numpy(), lookahead, iterations)
    found = OnlineGriffinLim(lookahead, iterations)(x)[0, 0].numpy()
    assert np.abs(found - expected)[: 5 * 160].max() < 1e-9  # later, roundings have grown
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


class RTISI(OnlineGriffinLim):
    _FROZEN = 3


def test_phases_that_stay_open_come_closer_than_those_of_the_paper_at_the_same_delay(features):
    x = torch.cat([features, features[:, :, -1:].expand(-1, -1, 3)], dim=2)
    assert distance(OnlineGriffinLim(3)(x), features) < distance(RTISI(3)(x), features) - 0.1


def test_the_same_features_give_the_same_samples_whatever_the_seed(features):
    torch.manual_seed(1)
    first = OnlineGriffinLim()(features)
    torch.manual_seed(2)
    assert torch.equal(first, OnlineGriffinLim()(features))


def test_the_spread_bands_give_the_bands_again(features):
    power = frame_magnitudes(features[0].T.double()).square() @ mel_filterbank().T
    again = 10 * torch.log10(power.clamp(min=1e-10)).T
    loud = features[0] > features.max() - 60
    assert (again - features[0])[loud].abs().mean() < 0.1


def distance(samples, features, lag=0):
    """The mean difference of the loud cells in dB."""
    again = LogMel()(torch.as_tensor(samples).reshape(1, -1))[0]
    n = features.shape[2] - 8
    there = features[0, :, 4:n]
    return (again[:, 4 + lag : n + lag] - there).abs()[there > features.max() - 60].mean().item()


def test_it_comes_close_to_what_hears_the_whole_recording_and_stays_in_its_place(features):
    offline = distance(griffin_lim(features), features)
    magnitudes = frame_magnitudes(features[0].T)
    zero_phase = torch.fft.irfft(magnitudes.to(torch.complex64), n=1024).roll(320, 1)[:, :640]
    zero_phase = sum(
        torch.nn.functional.pad(
            frame * torch.hann_window(640) / 1.5, (160 * t, 160 * (features.shape[2] - t) + 480 - 640)
        )
        for t, frame in enumerate(zero_phase[:-1])
    )[480:]
    bad = distance(zero_phase, features)
    online = {lookahead: distance(to_the_end(features, lookahead), features) for lookahead in (1, 2, 3, 4)}
    assert online[3] < offline + 0.5
    assert online[2] < offline + 0.9
    assert online[1] < offline + 2
    assert offline < online[4] < online[3] < online[2] < online[1] < bad
    assert online[3] < bad / 2
    assert min(distance(to_the_end(features, 3), features, lag) for lag in (-2, -1, 1, 2)) > 2 * online[3]


def test_level_and_hop_boundaries_are_those_of_speech(said, features):
    original, found = said.samples.astype(np.float64), to_the_end(features, 3)[0, 0].double().numpy()
    original = original[: len(found)]
    assert abs(10 * math.log10((found**2).mean() / (original**2).mean())) < 0.5
    assert np.abs(found).max() < 1

    def jump(x):
        """The energy of the steps into the first sample of a hop, relative to that of all steps."""
        steps = np.diff(x, prepend=0).reshape(-1, 160) ** 2
        return steps[:, 0].mean() / steps.mean()

    assert jump(found) < 1.5  # 1 where a hop begins like any other sample


def test_silence_stays_silent_and_what_follows_it_is_heard():
    assert OnlineGriffinLim()(torch.full((1, 80, 20), -100.0)).abs().max() < 1e-9
    clicks = torch.zeros(1, 8000)
    clicks[0, 4000:4040] = 0.9
    back = OnlineGriffinLim()(LogMel()(clicks))[0, 0]
    centre = (torch.arange(len(back)) * back**2).sum() / (back**2).sum()
    assert centre.item() == pytest.approx(4020, abs=160)
    assert not back[:3360].any() or back[:3360].abs().max() < 1e-6


def test_a_real_prompt(recordings):
    spoken = read_recording(recordings / "arctic" / "arctic_a0009.wav")
    features = LogMel()(spoken.tensor())
    assert distance(to_the_end(features, 3), features) < distance(griffin_lim(features), features) + 0.5


# --------------------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.zeros(80, 5), r"shape \(80, 5\)"),
        (torch.zeros(1, 1, 5, 80), "to_1d"),
        (torch.zeros(1, 40, 5), "80, time"),
        (torch.zeros(1, 80, 5, dtype=torch.float16), "float16"),
        (torch.full((1, 80, 5), math.nan), "400 values"),
        (torch.full((1, 80, 5), -math.inf), "the first is -inf"),
    ],
)
def test_other_features_are_refused(x, words):
    with pytest.raises(ValueError, match=words):
        OnlineGriffinLim(0)(x)


def test_what_is_finite_stays_finite():
    for loud in (300.0, 1e30):
        assert OnlineGriffinLim(1, 2)(torch.full((1, 80, 8), loud)).isfinite().all()


def test_a_broken_frame_is_named_and_the_stream_goes_on():
    stream, x = OnlineGriffinLim(1, 2).stream(), noise(8)
    broken = x[:, :, 4:].clone()
    broken[1, 7, 2] = math.inf
    head = stream(x[:, :, :4])
    with pytest.raises(ValueError, match="inf in row 1, band 7, frame 2"):
        stream(broken)
    assert torch.equal(torch.cat([head, stream(x[:, :, 4:])], dim=2), OnlineGriffinLim(1, 2)(x))


def test_other_states_and_settings_are_refused():
    x = noise()
    with pytest.raises(ValueError, match="a look-ahead of 2"):
        OnlineGriffinLim(1).step(x, OnlineGriffinLim(2).initial_state(x))
    with pytest.raises(ValueError, match="1 rows"):
        OnlineGriffinLim(1).step(x, OnlineGriffinLim(1).initial_state(x[:1]))
    with pytest.raises(ValueError, match="lookahead"):
        OnlineGriffinLim(-1)
    with pytest.raises(ValueError, match="iterations"):
        OnlineGriffinLim(1, 0)
