"""The figure of a file adds up: bits and bytes are those of numpy, and the file's those of its parts."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("anywidget")
pytest.importorskip("py_mini_racer")

from causalcnn.codec.container import Block, Header
from causalcnn_book.priors import FileExplorer

FRAMES, CELLS = 230, 6


@pytest.fixture(scope="module")
def bits() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    uniform = np.full((FRAMES, CELLS), 9.0)
    return {"9 bits a code": uniform, "counts": rng.gamma(6, 1, (FRAMES, CELLS)), "prior": rng.gamma(4, 1, FRAMES)}


def file_of(sizes: list[int], frames: list[int]) -> bytes:
    """A file whose blocks have so many words and frames."""
    header = Header(bytes(8), bytes(8), 16_000, 160 * sum(frames))
    blocks = [
        Block(i, n, bytes(4 * size)).pack(header.seed) for i, (size, n) in enumerate(zip(sizes, frames, strict=True))
    ]
    return header.pack() + b"".join(blocks)


def test_every_state_is_a_sum_of_numpy(engine: Any, bits: dict[str, np.ndarray]) -> None:
    file = file_of([30, 25, 9], [100, 100, 30])
    figure = FileExplorer.of(bits, num_cells=CELLS, file=file)
    state = {key: getattr(figure, key) for key in engine("file_explorer")("figure.traits")}
    per_frame = {name: (each.sum(1) if each.ndim == 2 else each).round(2) for name, each in bits.items()}
    ends = [0, *np.cumsum([100, 100, 30])]
    parts = np.cumsum([37, *(11 + 4 * words for words in (30, 25, 9))])
    for model, costs in enumerate(per_frame.values()):
        found = engine("file_explorer")(
            "upTo(0, frames(s) - 1).map((frame) => figure.read({...s, frame}))", s=state | {"model": model}
        )
        total = costs.cumsum()
        assert len(found) == FRAMES
        for frame, read in enumerate(found):
            assert read["frame_bits"] == costs[frame]
            assert read["bits_per_code"] == pytest.approx(total[frame] / ((frame + 1) * CELLS))
            assert read["share"] == pytest.approx(total[frame] / (9 * CELLS * (frame + 1)))
            assert read["bytes"] == math.ceil(round(total[frame], 6) / 8)
            assert read["final_bytes"] == math.ceil(round(total[-1], 6) / 8)
            assert read["kbit_per_second"] == pytest.approx(total[-1] / FRAMES / 10)
            assert read["written"] == parts[sum(frame + 1 >= end for end in ends) - 1]
            assert read["file_bytes"] == len(file)
            each = {one["name"]: (one["bits"], one["final"]) for one in read["models"]}
            for name, (so_far, final) in each.items():
                assert so_far == pytest.approx(per_frame[name][: frame + 1].sum())
                assert final == pytest.approx(per_frame[name].sum())


def test_the_bits_of_a_count_model_can_be_given_as_they_are() -> None:
    from causalcnn.models import Codes
    from causalcnn_book.priors import CONTEXTS, CountModel

    codes = Codes(torch.randint(0, 8, (1, 40, 2)), torch.randint(0, 8, (1, 40, 4)))
    model = CountModel(8, CONTEXTS["unigram"])
    model.fit([codes] * 20)
    top, bottom = model.bits(codes)
    figure = FileExplorer.of({"counts": np.concatenate([top, bottom], axis=1)}, num_cells=6, frame=39)
    assert figure.read()["models"][0]["bits"] == pytest.approx(top.sum() + bottom.sum(), abs=0.005 * 40)
    assert figure.controls == ["model", "frame", "play"]
    assert "file" not in figure.readouts


def test_with_a_sound_it_has_a_player_and_a_picture(bits: dict[str, np.ndarray]) -> None:
    pytest.importorskip("soundfile")
    samples = 0.1 * np.sin(np.arange(160 * FRAMES - 60) / 5)
    figure = FileExplorer.of(bits, num_cells=CELLS, samples=samples, title="A tone")
    assert figure.controls == ["sound", "model", "frame"]
    assert len(base64.b64decode(figure.cells)) == 80 * FRAMES
    assert figure.seconds == pytest.approx(2.3, abs=0.01)
    assert "<image" in figure.draw()["picture"]


@pytest.mark.parametrize(
    ("bits", "more", "match"),
    [
        ({}, {}, "at least one model"),
        ({"a": [1.0, 2.0], "b": [1.0]}, {}, "as many for each"),
        ({"a": [1.0, -2.0]}, {}, "not below 0"),
        ({"a": [1.0, np.nan]}, {}, "finite"),
        ({"a": np.ones((2, 2, 2))}, {}, r"\(2, 2, 2\) must be"),
        ({"a": np.ones(5)}, {"samples": np.zeros(1_000)}, r"are \(800,\), or less"),
        ({"a": np.ones(5)}, {"file": file_of([1], [4])}, "must be whole, and of 5 frames"),
        ({"a": np.ones(5)}, {"file": file_of([1], [5])[:-1]}, "must be whole"),
        ({"a": np.ones(5)}, {"file": b"RIFF"}, "must be whole"),
    ],
)
def test_what_does_not_belong_together_is_refused(bits: Any, more: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        FileExplorer.of(bits, **more)


def test_nonsense_gets_a_state_that_can_be_drawn() -> None:
    read = FileExplorer(frame=10**6, model=99).read()
    assert read == FileExplorer(frame=249, model=3).read()
    assert read["written"] == read["file_bytes"]
