"""The front end: its table, librosa's numbers, the contract of the layers, its field measured in samples."""

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalcnn.causality.contract import ContractError, check_contract
from causalcnn.nn import CausalConv1d, CausalSequential
from causalcnn.speech import (
    FRAMES_PER_SECOND,
    HOP_SAMPLES,
    MELS,
    RATE_HZ,
    WINDOW_SAMPLES,
    LogMel,
    frame_center_seconds,
    mel_filterbank,
    num_frames,
    synthesize,
    to_1d,
    to_2d,
)
from tests.fuzz import examples


def librosa_decibels(samples):
    power = librosa.feature.melspectrogram(
        y=samples, sr=16000, n_fft=1024, win_length=640, hop_length=160, window="hann", center=True,
        n_mels=80, fmin=50, fmax=8000, power=2.0,
    )  # fmt: skip
    return 10 * np.log10(np.maximum(power, 1e-10))


@pytest.fixture(scope="module")
def speech():
    return synthesize("The train leaves at seven.", speaker=1).samples


def test_the_table_is_the_one_of_the_design():
    assert (RATE_HZ, WINDOW_SAMPLES, HOP_SAMPLES, FRAMES_PER_SECOND, MELS) == (16000, 640, 160, 100, 80)


def test_the_filterbank_is_slaneys():
    theirs = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=80, fmin=50, fmax=8000, dtype=np.float64)
    np.testing.assert_allclose(mel_filterbank().numpy(), theirs, rtol=1e-12, atol=1e-15)
    assert (theirs.sum(1) > 0).all()


def test_centred_is_librosas(speech):
    samples = speech.astype(np.float64)
    ours = LogMel("centered")(torch.from_numpy(samples)[None])[0].numpy()
    assert ours.shape == (80, num_frames(len(samples), "centered"))
    np.testing.assert_allclose(ours, librosa_decibels(samples), atol=1e-4)


def test_causal_is_centred_one_frame_later(speech):
    """Frame t of the causal setting sees the samples of the centred frame t−1: 10 ms is what causality costs."""
    samples = torch.from_numpy(speech.astype(np.float64))[None]
    causal, centered = LogMel()(samples), LogMel("centered")(samples)
    torch.testing.assert_close(causal[:, :, 1:], centered[:, :, : causal.shape[2] - 1], atol=1e-9, rtol=0)
    assert frame_center_seconds(1) == frame_center_seconds(0, "centered") == 0
    assert frame_center_seconds(0) == -0.01


@pytest.mark.parametrize("length", [0, 1, 159, 160, 161, 319, 640, 1000])
def test_the_number_of_frames(length):
    x = torch.randn(2, length)
    assert LogMel()(x).shape == (2, 80, length // 160) == (2, 80, num_frames(length))
    assert LogMel("centered")(x).shape == (2, 80, length // 160 + 1) == (2, 80, num_frames(length, "centered"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_keeps_the_contract_of_the_layers(dtype):
    report = check_contract(LogMel(window="ones").to(dtype), torch.randn(2, 1, 1300, dtype=dtype))
    assert report.field.size == 640
    assert report.field.lookahead == 159


@given(st.lists(st.integers(0, 700), min_size=1, max_size=12), st.sampled_from(["torch", "compiled"]))
@settings(max_examples=examples(25))
def test_any_pieces_give_the_whole(pieces, engine):
    x = torch.randn(1, sum(pieces), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    front_end = LogMel()
    stream, state, stepped, streamed = front_end.stream(engine=engine), front_end.initial_state(x), [], []
    for piece in torch.split(x, pieces, dim=1):
        y, state = front_end.step(piece, state)
        stepped.append(y)
        streamed.append(stream(piece))
    torch.testing.assert_close(stream.state, state, rtol=0, atol=0)
    whole = front_end(x)
    torch.testing.assert_close(torch.cat(stepped, 2), whole, rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(torch.cat(streamed, 2), whole, rtol=1e-12, atol=1e-10)


def test_compiled_in_single_precision_it_is_as_exact_as_torch(speech):
    x = torch.from_numpy(speech)[None]
    front_end = LogMel()
    exact = front_end(x.double())
    ours, theirs = front_end.stream(engine="compiled")(x), front_end(x)
    assert (ours - exact).abs().max() <= 2 * (theirs - exact).abs().max() + 1e-4


def test_a_compiled_front_end_refuses_what_the_layer_refuses():
    with pytest.raises(ValueError, match="stereo"):
        LogMel().stream(engine="compiled")(torch.zeros(1, 2, 160))
    with pytest.raises(ValueError, match="cannot be streamed"):
        LogMel("centered").stream(engine="compiled")(torch.zeros(1, 160))


@pytest.mark.parametrize(("alignment", "first", "last"), [("causal", -480, 159), ("centered", -320, 319)])
def test_the_declared_field_is_the_measured_one_in_samples(alignment, first, last):
    for window, hidden in (("ones", 0), ("hann", 1)):  # a periodic Hann window begins with a zero
        front_end = LogMel(alignment, window=window)
        x = torch.randn(1, 2000, dtype=torch.float64).requires_grad_()
        y = front_end(x)
        for frame in range(4, 9):
            (gradient,) = torch.autograd.grad(y[0, :, frame].sum(), x, retain_graph=True)
            read = set(gradient[0].nonzero().ravel().tolist())
            declared = set(front_end.field.inputs_of(frame))
            assert declared == set(range(frame * 160 + first, frame * 160 + last + 1))
            assert read == set(sorted(declared)[hidden:])


def test_the_centred_setting_looks_ahead_and_says_so():
    front_end = LogMel("centered")
    assert front_end.field.lookahead - LogMel().field.lookahead == 160
    x = torch.zeros(1, 1000)
    for use in (lambda: front_end.initial_state(x), lambda: front_end.stream()(x), lambda: front_end.convention):
        with pytest.raises(ValueError, match="160 samples past its own hop"):
            use()
    with pytest.raises((ContractError, ValueError)):
        check_contract(front_end, torch.randn(2, 1, 1000))


def test_silence_is_the_floor_and_zeros_are_not_minus_infinity():
    assert (LogMel()(torch.zeros(1, 3200)) == -100).all()


def test_a_tone_lands_in_its_band():
    t = torch.arange(16000, dtype=torch.float64) / 16000
    loudest = LogMel()(torch.sin(2 * torch.pi * 1000 * t)[None])[0, :, 50].argmax()
    assert mel_filterbank()[loudest].argmax() * 16000 / 1024 == pytest.approx(1000, abs=40)


def test_nothing_is_left_in_a_checkpoint():
    assert LogMel().state_dict() == {}


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.zeros(16000), r"x\[None\]"),
        (torch.zeros(1, 2, 16000), "stereo"),
        (torch.zeros(1, 16000, dtype=torch.int16), "32768"),
        (torch.zeros(1, 16000, dtype=torch.bfloat16), "bfloat16"),
    ],
)
def test_wrong_samples_are_refused(x, words):
    with pytest.raises(ValueError, match=words):
        LogMel()(x)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="'causal' or 'centered'"):
        LogMel("center")
    with pytest.raises(ValueError, match="'hann' or 'ones'"):
        LogMel(window="hamming")


def test_to_2d_and_back():
    x = torch.randn(3, 80, 7)
    assert to_2d(x).shape == (3, 1, 7, 80)
    assert torch.equal(to_1d(to_2d(x)), x)
    assert to_2d(x)[1, 0, 4, 9] == x[1, 9, 4]
    with pytest.raises(ValueError, match="batch, mels, time"):
        to_2d(x[0])
    with pytest.raises(ValueError, match="batch, 1, time, mels"):
        to_1d(x)


def test_autocast_does_not_coarsen_it(speech):
    x = torch.from_numpy(speech)[None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(LogMel()(x), LogMel()(x))
        inside = LogMel()(x)
    assert torch.equal(inside, LogMel()(x))


def test_from_sample_to_feature_one_field(speech):
    """A front end and an encoder are one causal network: its field is in samples, and no later sample matters."""
    system = CausalSequential(
        LogMel(), CausalConv1d(80, 16, 3), torch.nn.ReLU(), CausalConv1d(16, 8, 3, dilation=2)
    ).double()
    assert system.field.size == 640 + 6 * 160
    assert system.field.lookahead == 159
    x = torch.from_numpy(speech.astype(np.float64))[None]
    before = system(x)
    for sample in (8000, 8159, 8160):
        changed = x.clone()
        changed[:, sample:] += torch.randn_like(changed[:, sample:])
        moved = (system(changed) != before).any(1)[0].nonzero().ravel()
        assert moved.min() == sample // 160  # the frame whose hop it lies in, and none before
