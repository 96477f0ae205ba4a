"""matplotlib pictures: themed, described, deterministic, small, and true to their data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
import pytest

plt = pytest.importorskip("matplotlib", reason="needs matplotlib (the extra 'figures')")

import causalcnn_book as figures  # noqa: E402
from causalcnn_book import palette  # noqa: E402
from causalcnn_book.convolution import response_grid  # noqa: E402


@dataclass(frozen=True)
class Span:
    label: str
    start: int
    end: int


def _speech():
    samples = np.sin(np.arange(16_000) / 20) * np.hanning(16_000)
    mel = np.linspace(-90, 0, 80 * 100).reshape(80, 100)
    return samples, mel, [Span("SIL", 0, 4000), Span("AH", 4000, 9000), Span("N", 9000, 9010), Span("D", 9010, 16_000)]


def _all():
    samples, mel, spans = _speech()
    rng = np.random.default_rng(0)
    return {
        "wave": figures.wave(samples, alt="A hum."),
        "wave_and_mel": figures.wave_and_mel(samples, mel, phones=spans, words=spans[1:2], alt="A hum & its mel."),
        "heatmap": figures.heatmap(np.eye(5, 20), now=4, leaks=True, rate_hz=100, alt="A diagonal."),
        "heatmaps": figures.heatmaps({"a": rng.normal(size=(4, 9)), "b": -np.eye(4, 9)}, kind="signed", alt="Two."),
        "response_grid": response_grid(layers=(1,), dims=(1,)),
        "curves": figures.curves(
            {"x < y": [1, 10], "b": [2, 3]}, x_label="layers", y_label="frames", log=True, alt="Up."
        ),
        "voice_activity": figures.voice_activity({"A": [0, 1, 1], "B": [1, 0, 0]}, alt="Turns."),
        "codes": figures.codes(rng.integers(0, 512, (10, 30)), level="top", codebook=512, alt="Codes."),
    }


@pytest.fixture(scope="module")
def pictures():
    return _all()


def test_each_is_described_drawn_for_page_and_phone_and_well_formed(pictures):
    for name, picture in pictures.items():
        html = picture._repr_html_()
        assert len(picture.drawings) == 2, name
        assert html.count('role="img"') == 2
        assert "xlink" not in html
        assert "<metadata" not in html
        for drawing in picture.drawings.values():
            root = ElementTree.fromstring(drawing)
            assert root.get("aria-label") == picture.alt


def test_each_follows_the_theme(pictures):
    for name, picture in pictures.items():
        html = picture._repr_html_()
        assert "var(--cc-" in html, name
        bare = re.sub(r"<style>.*?</style>|var\([^)]*\)|base64,[^\"]*", "", html, flags=re.S)
        own = {*palette.LIGHT.values()} - {"#ffffff"}
        assert [color for color in own if color in bare] == [], name
        assert "DejaVu" not in html


def test_ids_differ_from_picture_to_picture_and_every_reference_is_met(pictures):
    seen = set()
    for picture in pictures.values():
        for drawing in picture.drawings.values():
            ids = set(re.findall(r'\bid="([^"]+)"', drawing))
            assert not ids & seen
            seen |= ids
            assert set(re.findall(r"(?:url\(#|href=\"#)([^\")]+)", drawing)) <= ids


def test_the_bytes_are_the_same_each_time_but_for_the_serial_number(pictures):
    for name, again in _all().items():
        first, second = (re.sub(r"ccp\d+-", "", p._repr_html_()) for p in (pictures[name], again))
        assert first == second, name


def test_they_are_small(pictures):
    for name, picture in pictures.items():
        assert len(picture._repr_html_()) < 120_000, name


def test_every_row_of_intervals_is_named():
    text = figures.confidence_intervals(
        {"add": (79.0, 0.5), "concat": (77.5, 1.2)},
        points={"add": [78.5, 79.5]},
        x_label="right, in %",
        alt="Two rows.",
    )._repr_html_()
    assert text.count("add") >= 2  # once for the page, once for the phone
    assert text.count("concat") >= 2


def test_a_finished_figure_becomes_one_drawing_and_is_closed():
    from matplotlib import pyplot

    with figures.style():
        figure, axes = pyplot.subplots(figsize=(7, 3))
        axes.plot([1, 2])
        picture = figures.show(figure, alt="A line.", caption="It goes <up>.")
    assert len(picture.drawings) == 1
    assert "&lt;up&gt;" in picture._repr_html_()
    assert not pyplot.fignum_exists(figure.number)


def test_a_picture_without_a_description_is_refused():
    with pytest.raises(ValueError, match="alt is empty"):
        figures.heatmap(np.eye(3), alt=" ")


def test_a_batch_is_refused_with_its_shape():
    with pytest.raises(ValueError, match=r"\(2, 3, 3\)"):
        figures.heatmap(np.zeros((2, 3, 3)), alt="x")


def test_a_tensor_with_a_gradient_can_be_drawn():
    import torch

    assert figures.heatmap(torch.ones(1, 3, 4, requires_grad=True), alt="Ones.").drawings


def test_labels_too_narrow_for_their_piece_of_time_are_left_out(pictures):
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", pictures["wave_and_mel"].drawings[700])
    assert "AH" in texts
    assert "D" in texts
    assert "N" not in texts
    assert "SIL" not in texts


def test_the_package_imports_nothing_heavy():
    import subprocess
    import sys

    code = "import sys, causalcnn_book; print([m for m in ('matplotlib', 'anywidget', 'librosa') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there_and_described():
    for name in figures.__all__:
        assert getattr(figures, name).__doc__, name
    with pytest.raises(AttributeError, match="cone_explorer"):
        figures.cone_explorer  # noqa: B018
