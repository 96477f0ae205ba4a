"""Real speech through the front end and a causal encoder: field and causality, from sample to feature.

Runs where CAUSALCNN_DATA names the folder of recordings; skipped with that reason elsewhere.
"""

import numpy as np
import pytest
import torch

from causalcnn.nn import CausalConv1d, CausalSequential
from causalcnn.speech import (
    AudioFolder,
    LogMel,
    download,
    example_recording,
    player,
    read_recording,
    recording_or_embedded,
)


def encoder():
    torch.manual_seed(0)
    layers = []
    for dilation in (1, 2, 4):
        layers += [CausalConv1d(80 if dilation == 1 else 32, 32, 3, dilation=dilation), torch.nn.ReLU()]
    return CausalSequential(LogMel(), *layers).double().eval()


FRAMES_OF_PAST = 2 * (1 + 2 + 4)


def assert_causal_from_sample_to_feature(samples):
    """The declared field is in samples; a changed sample moves no frame before the one whose hop it is in."""
    system = encoder()
    field = system.field
    assert field.stride == 160
    assert field.size == 640 + FRAMES_OF_PAST * 160
    assert field.lookahead == 159
    assert max(field.inputs_of(40)) == 41 * 160 - 1
    assert min(field.inputs_of(40)) == (41 - FRAMES_OF_PAST) * 160 - 640
    x = torch.from_numpy(samples[:48000].astype(np.float64))[None]
    with torch.no_grad():
        before = system(x)
        for sample in (x.shape[1] // 3, x.shape[1] // 3 // 160 * 160, x.shape[1] - 200):
            future = x.clone()
            future[:, sample:] = future[:, sample:].flip(1) * -2 + 0.1
            after = system(future)
            assert torch.equal(after[:, :, : sample // 160], before[:, :, : sample // 160])
            assert not torch.equal(after, before)
            one = x.clone()
            one[:, sample] += 0.5
            moved = (system(one) != before).any(1)[0].nonzero().ravel()
            last = max(frame for frame in range(before.shape[2]) if field.reads(frame, sample))
            assert moved.min() >= sample // 160
            assert moved.max() <= last
        state, pieces = system.initial_state(x), []
        for piece in torch.split(x, 1234, dim=1):
            y, state = system.step(piece, state)
            pieces.append(y)
        torch.testing.assert_close(torch.cat(pieces, 2), before, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["libri1", "libri2", "libri3"])
def test_librispeech_clips(recordings, name):
    clip = example_recording(name)
    assert 13 < clip.seconds < 17
    assert "CC BY 4.0" in clip.source
    assert_causal_from_sample_to_feature(clip.samples)


def test_a_chapter_plays_the_real_clip_and_says_so(recordings, capsys):
    speech = recording_or_embedded("libri1")
    assert speech.speaker == "librispeech-5703"
    assert "A real recording: LibriSpeech" in capsys.readouterr().out
    assert "LibriSpeech" in player(speech.excerpt(0, 3))._repr_html_()


def test_prompts_as_a_folder_of_ones_own(recordings):
    prompts = AudioFolder(recordings / "prompts-en")
    assert len(prompts) > 450
    assert_causal_from_sample_to_feature(prompts[2].samples)
    front_end = LogMel()
    for utterance in prompts[::20]:
        features = front_end(utterance.tensor())
        assert features.shape == (1, 80, len(utterance) // 160)
        assert -100 <= features.min() < features.max() < 40
        assert features.std() > 5


def test_meetings_and_arctic_are_read(recordings):
    for file in (recordings / "ami" / "dev00.flac", recordings / "arctic" / "arctic_a0009.wav"):
        assert read_recording(file).rate_hz == 16000


def test_the_digits_are_unpacked_and_warned_about(recordings):
    digits = AudioFolder(download("free-spoken-digits"))
    assert len(digits) == 3000
    with pytest.warns(UserWarning, match="nothing above 4000 Hz"):
        digit = digits[0]
    features = LogMel()(digit.tensor())
    assert features.shape[2] == len(digit) // 160
    assert features[0, 70:].mean() < features[0, :40].mean() - 20
