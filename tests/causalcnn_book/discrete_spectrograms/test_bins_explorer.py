"""The bins figure tells the truth: its bins are the library's, its picture Python's, its numbers exact."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
import torch

pytest.importorskip("anywidget")

from causalcnn.speech import UniformBins
from causalcnn.speech.playback import Player
from causalcnn_book.bitmap import shades, spectrogram_bmp
from causalcnn_book.discrete_spectrograms.bins_explorer import KEYS, MELS, BinsExplorer, hundredths, states
from causalcnn_book.palette import energy

BINS = UniformBins(-73.4, 16.6)


def drawn(frames: int = 7, seed: int = 0, **more: Any) -> tuple[BinsExplorer, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = -90 + 120 * torch.rand(MELS, frames, generator=generator)
    return BinsExplorer.of(features, BINS, **more), features


def state(figure: BinsExplorer) -> dict[str, Any]:
    return {key: getattr(figure, key) for key in KEYS}


def test_javascript_draws_and_says_what_python_does(engine: Any) -> None:
    script, (figure, _) = engine("bins_explorer"), drawn()
    for figure.bits in range(1, 9):
        for figure.frame in (0, 6):
            s = state(figure)
            for width in (700, 330):
                assert script("drawPicture(s, width)", s=s, width=width) == figure.picture(width, "x")[0]
                assert script("HEIGHT") == figure.picture(width, "x")[1]
            assert script("sentence(s)", s=s) == figure.sentence()
            assert script("readState(s)", s=s) == figure.read()
            live = [(c["key"], c["label"], c["text"], c["note"]) for c in script("readouts(s)", s=s)]
            assert live == figure.readout_rows()


def test_javascripts_indices_are_those_of_the_bins(engine: Any) -> None:
    script, (figure, features) = engine("bins_explorer"), drawn()
    for bits in range(1, 9):
        expected = BINS.coarser(bits).encode(features).T.flatten().tolist()
        assert script("bytesOf(text).map(l => coarser(l, bits))", text=figure.indices, bits=bits) == expected


@pytest.mark.parametrize("length", range(7))
def test_javascript_reads_base64(engine: Any, length: int) -> None:
    data = bytes(range(250, 250 - length, -1))
    assert engine("bins_explorer")("bytesOf(text)", text=base64.b64encode(data).decode()) == list(data)


def test_states_are_counted_exactly(engine: Any) -> None:
    assert states(640) == "4.56 × 10¹⁹²"  # as the note of 2019 says
    assert states(10) == "1.02 × 10³"
    for bits in range(1, 641):
        assert engine("bins_explorer")("states(bits)", bits=bits) == states(bits)
        mantissa, _, power = states(bits).partition(" × 10")
        exponent = int(power.translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")))
        assert abs(2**bits - round(100 * float(mantissa)) * 10**exponent / 100) <= 0.005001 * 10**exponent


@pytest.mark.parametrize(("frames", "bits"), [(7, 8), (4, 3), (1, 1)])
def test_the_bitmap_holds_the_centres_of_the_bins(engine: Any, frames: int, bits: int) -> None:
    figure, _ = drawn(frames)
    table, address = figure.table, spectrogram_bmp(figure.table, frames, bits)
    assert (
        engine("bins_explorer")("spectrogramBmp(bytesOf(t), frames, bits)", t=figure.indices, frames=frames, bits=bits)
        == address
    )
    data = base64.b64decode(address.partition(",")[2])
    size, _, start = struct.unpack_from("<3I", data, 2)
    assert (data[:2], size, start) == (b"BM", len(data), 54 + 4 * 256)
    wide, width = -(-frames // 4) * 4, 256 >> bits
    for t in range(frames):
        for band in range(MELS):
            assert data[start + band * wide + t] == table[t * MELS + band] // width * width + width // 2


def test_the_shades_are_the_palettes() -> None:
    assert len(shades()) == 256
    ends = [tuple(int(energy(33)[i][j : j + 2], 16) for j in (1, 3, 5)) for i in (0, -1)]
    assert [shades()[0], shades()[-1]] == ends


def test_its_error_is_that_of_encoding_and_decoding() -> None:
    figure, features = drawn(40)
    inside = features.clamp(BINS.low_db, BINS.high_db)
    for bits in range(1, 9):
        coarse = BINS.coarser(bits)
        error = (coarse.decode(coarse.encode(features)) - inside).square().mean().sqrt()
        assert abs(figure.errors[bits - 1] - 100 * error) <= 0.51


def test_nonsense_gets_a_state_that_can_be_drawn(engine: Any) -> None:
    assert engine("bins_explorer")("settled({bits: 99, frame: 1000, frames: 7})") == {
        "bits": 8,
        "frame": 6,
        "frames": 7,
    }
    assert engine("bins_explorer")("settled({bits: 'x', frame: -3, frames: 7})") == {
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


def test_hundredths_round_as_javascript_does(engine: Any) -> None:
    for value in (0.0, 0.345, 0.3515625, 5.625, 44.99999, 12.995):
        assert engine("bins_explorer")("hundredths(v)", v=value) == hundredths(value)
