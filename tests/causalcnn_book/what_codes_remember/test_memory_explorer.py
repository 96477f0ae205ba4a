"""The memory figure tells the truth: its pictures are those that were measured, and its numbers the table's."""

from __future__ import annotations

import base64
import json
import math
import random
import struct
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("anywidget")

from causalcnn_book.palette import energy
from causalcnn_book.what_codes_remember.memory import LETTERS
from causalcnn_book.what_codes_remember.memory_explorer import FURTHEST, SOURCES, MemoryExplorer

TABLE = Path(__file__).parents[3] / "book" / "measurements" / "memory.json"


def drawn(seed: int, **more: Any) -> MemoryExplorer:
    draw = random.Random(seed)

    def picture() -> str:
        return "".join(draw.choices(LETTERS, k=2400))

    return MemoryExplorer(
        truth=picture(),
        readings={name: [picture() for _ in range(FURTHEST + 1)] for name in SOURCES},
        errors={name: [draw.randrange(0, 1300) for _ in range(FURTHEST + 1)] for name in SOURCES},
        half_widths={name: [draw.randrange(0, 60) for _ in range(FURTHEST + 1)] for name in SOURCES},
        **more,
    )


@pytest.mark.parametrize("source", SOURCES)
def test_the_numbers_are_those_of_the_chosen_code_and_frame(source: str) -> None:
    figure = drawn(0, source=source)
    for figure.back in range(FURTHEST + 1):
        read, shown = figure.read(), figure.draw(330)
        assert (read["error"], read["half_width"]) == (
            figure.errors[source][figure.back],
            figure.half_widths[source][figure.back],
        )
        assert f"{read['error'] / 1000:.3f}" in shown["sentence"]
        assert [one["text"] for one in shown["readouts"]][::2] == [f"{read['error'] / 1000:.3f}", read["read_by"]]


@pytest.mark.parametrize("source", SOURCES)
def test_both_pictures_are_those_that_were_measured(engine: Any, source: str) -> None:
    figure, address = drawn(0, source=source), "lettersAsBitmap(text, 60, 40)"
    for figure.back in (0, 7, FURTHEST):
        picture = figure.draw(700)["picture"]
        for text in (figure.truth, figure.readings[source][figure.back]):
            assert picture.count(engine("memory_explorer")(address, text=text)) == 1


@pytest.mark.parametrize(("frames", "bands"), [(60, 40), (7, 3), (1, 1)])
def test_the_bitmap_holds_the_levels(engine: Any, frames: int, bands: int) -> None:
    text = "".join(random.Random(frames).choices(LETTERS, k=frames * bands))
    expression = "lettersAsBitmap(text, frames, bands)"
    address = engine("memory_explorer")(expression, text=text, frames=frames, bands=bands)
    data = base64.b64decode(address.partition(",")[2])
    size, _, start = struct.unpack_from("<3I", data, 2)
    assert (data[:2], size, start) == (b"BM", len(data), 54 + 4 * 33)
    assert struct.unpack_from("<2I2H", data, 18) == (frames, bands, 1, 8)
    assert [data[54 + 4 * i : 57 + 4 * i][::-1].hex() for i in range(33)] == [c[1:] for c in energy(33)]
    wide = math.ceil(frames / 4) * 4
    for t in range(frames):
        for band in range(bands):
            level = LETTERS.index(text[t * bands + band])
            assert data[start + band * wide + t] == math.floor(level * 32 / 63 + 0.5)


def test_nonsense_gets_a_state_that_can_be_drawn(engine: Any) -> None:
    assert engine("memory_explorer")("figure.settled({back: 99, source: 'x'})") == {
        "back": FURTHEST,
        "source": "codes",
    }


def test_who_reads_a_frame_changes_at_the_edges_of_the_fields() -> None:
    figure, who = MemoryExplorer(top=9, bottom=13), []
    for figure.back in range(FURTHEST + 1):
        who.append(figure.read()["read_by"])
    assert who == ["top and bottom"] * 9 + ["bottom only"] * 4 + ["none"] * 6


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"memory\.json.*causalcnn experiment memory"):
        MemoryExplorer(tmp_path / "memory.json")


def test_lines_over_the_past_put_the_present_at_the_right() -> None:
    pytest.importorskip("matplotlib")
    from causalcnn_book import palette
    from causalcnn_book.what_codes_remember import curves_over_lag

    picture = curves_over_lag(
        {"a": [0, 0.5, 1], "b": [0, 0.2]},
        half_widths={"a": [0.1, None, 0.1]},
        edges={"top": 2},
        y_label="error",
        alt="Up.",
    )
    html = picture._repr_html_()
    assert len(picture.drawings) == 2
    assert html.count("edge of top") == 2
    assert palette.LIGHT["top"] in html
    wide = picture.drawings[max(picture.drawings)]
    ticks = [wide.index(f">{label}<") for label in ("−2", "−1", "0")]
    assert ticks == sorted(ticks)


@pytest.mark.skipif(not TABLE.exists(), reason="the measurements are not here")
def test_the_books_figure_shows_the_measured_numbers() -> None:
    figure, table = MemoryExplorer(TABLE), json.loads(TABLE.read_text("utf8"))
    for figure.source in SOURCES:
        for figure.back in range(FURTHEST + 1):
            at = table["back"].index(figure.back)
            mean = table["linear"][figure.source]["mean"][at]
            error = figure.read()["error"]
            assert abs(error / 1000 - mean) <= 0.0005 + 1e-9
            assert figure.draw()["readouts"][0]["text"] == f"{error // 1000}.{error % 1000:03}"
    assert len(json.dumps(figure.readings)) <= 150_000
    assert (figure.top, figure.bottom) == (table["field"]["top"], table["field"]["bottom"])
