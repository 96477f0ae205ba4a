"""The bins figure tells the truth: its bins and its picture are the library's, its numbers exact."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("anywidget")
pytest.importorskip("py_mini_racer")

from PIL import Image

from causalcnn.speech import UniformBins
from causalcnn.speech.playback import Player
from causalcnn_book.discrete_spectrograms.bins_explorer import MELS, BinsExplorer
from causalcnn_book.palette import energy

BINS = UniformBins(-73.4, 16.6)


def drawn(frames: int = 7, seed: int = 0, **more: Any) -> tuple[BinsExplorer, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = -90 + 120 * torch.rand(MELS, frames, generator=generator)
    return BinsExplorer.of(features, BINS, **more), features


def test_javascripts_indices_are_those_of_the_bins(engine: Any) -> None:
    script, (figure, features) = engine("bins_explorer"), drawn()
    for bits in range(1, 9):
        expected = BINS.coarser(bits).encode(features).T.flatten().tolist()
        assert script("bytesOf(text).map(l => coarser(l, bits))", text=figure.indices, bits=bits) == expected


def opened(address: str) -> Image.Image:
    """The picture that a page sees under an address."""
    return Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/bmp;base64,"))))


@pytest.mark.parametrize("length", range(7))
def test_javascript_reads_base64(engine: Any, length: int) -> None:
    data = bytes(range(250, 250 - length, -1))
    assert engine("bins_explorer")("bytesOf(text)", text=base64.b64encode(data).decode()) == list(data)


def test_what_it_reads_off_is_that_of_the_bins() -> None:
    figure, _ = drawn()
    for figure.bits in range(1, 9):
        coarse, read = BINS.coarser(figure.bits), figure.read()
        assert read["bins"] == 2**figure.bits
        assert read["step_db"] == pytest.approx(coarse.step_db, rel=1e-12)
        assert read["error_db"] == figure.errors[figure.bits - 1] / 100
        assert (read["frame_bits"], read["rate"]) == (80 * figure.bits, 8000 * figure.bits)
        said = [row["text"] for row in figure.draw()["readouts"]][:4]
        for text, value in zip(said[:2], (coarse.step_db, read["error_db"]), strict=True):
            assert float(text.removesuffix(" dB")) == pytest.approx(value, abs=0.005001)
        assert said[2:] == [f"{80 * figure.bits} bits", f"{8000 * figure.bits:,} bits"]


def test_states_are_counted_exactly(engine: Any) -> None:
    states = [engine("bins_explorer")("states(bits)", bits=bits) for bits in range(641)]
    assert states[640] == "4.56 × 10¹⁹²"  # as the note of 2019 says
    assert states[10] == "1.02 × 10³"
    for bits in range(1, 641):
        mantissa, _, power = states[bits].partition(" × 10")
        exponent = int(power.translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")))
        assert 1 <= float(mantissa) < 10
        assert abs(2**bits - round(100 * float(mantissa)) * 10**exponent / 100) <= 0.005001 * 10**exponent


@pytest.mark.parametrize(("frames", "bits"), [(7, 8), (4, 3), (1, 1)])
def test_the_bitmap_holds_the_centres_of_the_bins(engine: Any, frames: int, bits: int) -> None:
    figure, features = drawn(frames)
    picture = opened(
        engine("bins_explorer")("spectrogramBmp(bytesOf(t), frames, bits)", t=figure.indices, frames=frames, bits=bits)
    )
    assert picture.size == (frames, MELS)
    wide, indices = 256 >> bits, BINS.encode(features)
    for t in range(frames):
        for band in range(MELS):
            centre = int(indices[band, t]) // wide * wide + wide // 2
            assert picture.getpixel((t, MELS - 1 - band)) == centre


def test_the_bitmap_s_colours_lie_between_the_palettes(engine: Any) -> None:
    figure, _ = drawn()
    shades = opened(engine("bins_explorer")("spectrogramBmp(bytesOf(t), 7, 8)", t=figure.indices)).getpalette("RGB")
    own = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in energy(33)])
    places = np.arange(256) * 32 / 255
    between = np.stack([np.interp(places, np.arange(33), own[:, i]) for i in range(3)], axis=1)
    assert np.abs(np.reshape(shades, (256, 3)) - between).max() <= 0.5 + 1e-9


def test_figures_with_one_table_and_other_lengths_do_not_share_a_picture() -> None:
    table = base64.b64encode(bytes(range(240)) * 2).decode()
    long, short = BinsExplorer(indices=table, frames=6), BinsExplorer(indices=table, frames=3)
    widths = [opened(re.findall(r'href="([^"]+)"', figure.draw()["picture"])[0]).size[0] for figure in (long, short)]
    assert widths == [6, 3]


def test_its_error_is_that_of_encoding_and_decoding() -> None:
    figure, features = drawn(40)
    inside = features.clamp(BINS.low_db, BINS.high_db)
    for bits in range(1, 9):
        coarse = BINS.coarser(bits)
        error = (coarse.decode(coarse.encode(features)) - inside).square().mean().sqrt()
        assert abs(figure.errors[bits - 1] - 100 * error) <= 0.51


def test_nonsense_gets_a_state_that_can_be_drawn(engine: Any) -> None:
    assert engine("bins_explorer")("figure.settled({bits: 99, frame: 1000, frames: 7})") == {
        "bits": 8,
        "frame": 6,
        "frames": 7,
    }
    assert engine("bins_explorer")("figure.settled({bits: 'x', frame: -3, frames: 7})") == {
        "bits": 1,
        "frame": 0,
        "frames": 7,
    }


def test_the_player_is_there_only_with_sounds() -> None:
    silent, _ = drawn()
    assert silent.controls == ["bits", "frame"]
    sounds = [Player(f"{bits}", bytes([bits]), 2.2) for bits in range(1, 9)]
    figure, _ = drawn(sounds=sounds, bits=4)
    assert figure.controls == ["sound", "bits", "frame"]
    assert [base64.b64decode(sound) for sound in figure.sounds] == [bytes([bits]) for bits in range(1, 9)]
    assert "cc-place-sound" in figure.static()


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="bins have 4 bits"):
        BinsExplorer.of(torch.zeros(MELS, 3), BINS.coarser(4))
    with pytest.raises(ValueError, match="there are 1 sounds"):
        BinsExplorer.of(torch.zeros(MELS, 3), BINS, [Player("a", b"", 1.0)])
    with pytest.raises(ValueError, match=r"\(3, 80\); it must be \(80, frames\)"):
        BinsExplorer.of(torch.zeros(3, MELS), BINS)
