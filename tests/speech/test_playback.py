"""The player: the level that the samples have, small, silent until it is pressed, with a name."""

import base64
import io
import re

import numpy as np
import pytest
import soundfile
import torch

from causalcnn.speech import player, players, synthesize

TONE = (np.sin(2 * np.pi * 440 * np.arange(16000) / 16000) * 0.5).astype(np.float32)


def decoded(html):
    data = base64.b64decode(re.search(r"base64,([^\"]+)", html)[1])
    return soundfile.read(io.BytesIO(data))


@pytest.mark.parametrize("level", [1.0, 0.1, 0.003])
def test_nothing_is_normalised(level):
    samples, rate_hz = decoded(player(TONE * level)._repr_html_())
    assert rate_hz == 16000
    assert np.sqrt(np.mean(samples[2000:14000] ** 2)) == pytest.approx(0.5 * level / np.sqrt(2), rel=0.03)


def test_an_utterance_brings_its_title_and_source():
    said = synthesize("Hello <there> & you.", speaker=1)
    html = player(said)._repr_html_()
    assert "Hello &lt;there&gt; &amp; you." in html
    assert "<there>" not in html
    assert "espeak-ng" in html
    assert f"{said.seconds:.1f} seconds" in html


def test_it_waits_for_the_reader_and_has_a_name():
    html = player(TONE, title='An "A"')._repr_html_()
    assert 'preload="none"' in html
    assert 'aria-label="An &quot;A&quot;, 1.0 seconds"' in html
    assert "<audio controls" in html
    assert "autoplay" not in html


def test_three_seconds_are_small():
    said = synthesize("The train leaves at seven, and we are still looking.", speaker=1).excerpt(0, 3)
    shown = player(said)
    assert len(shown.mp3) < 16_000
    assert shown.page_bytes < 24_000
    assert f"{shown.page_bytes / 1000:.1f} kB" in repr(shown)


def test_side_by_side():
    said = synthesize("Good morning.", speaker=1)
    both = players({"as it was": said, "half as loud": said.samples / 2})
    html = both._repr_html_()
    assert html.count("<audio") == 2
    assert html.index("as it was") < html.index("half as loud")
    assert both.page_bytes == len(html.encode())
    assert len(players([player(TONE), said]).sounds) == 2


def test_tensors_play_too():
    tensor = torch.from_numpy(TONE)[None].requires_grad_()
    assert player(tensor).mp3 == player(TONE).mp3


@pytest.mark.parametrize(
    ("samples", "rate_hz", "words"),
    [
        (TONE * 3, 16000, r"reach 1\.500 and would clip.*samples / 1\.5"),
        (TONE[:0], 16000, "no samples"),
        (np.stack([TONE, TONE]), 16000, "mono"),
        (np.r_[TONE, np.float32(np.nan)], 16000, "1 of 16001 samples are NaN"),
        ((TONE * 32767).astype(np.int16), 16000, "samples / 32768"),
        (TONE, 12345, "resample"),
    ],
)
def test_what_cannot_be_played_as_it_is_is_refused(samples, rate_hz, words):
    with pytest.raises(ValueError, match=words):
        player(samples, rate_hz)


def test_a_contradicting_rate_and_an_empty_list_are_refused():
    with pytest.raises(ValueError, match="leave it out"):
        player(synthesize("Hello."), 8000)
    with pytest.raises(ValueError, match="list is empty"):
        players([])
