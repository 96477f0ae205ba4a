"""What the condition explorer says of a sample is what the layer and the front end do."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

pytest.importorskip("anywidget")
pytest.importorskip("py_mini_racer")

from causalcnn.models import MelCondition
from causalcnn.speech import LogMel
from causalcnn_book.vocoder import ConditionExplorer
from causalcnn_book.vocoder.condition_explorer import FIRST, LAST

SAMPLES = range(FIRST, LAST + 1)


def reads(engine: Any, lookahead: int) -> list[dict[str, float]]:
    """What the figure says of every sample."""
    return engine("condition_explorer")(
        "ns.map(n => figure.read({lookahead, sample: n}))", ns=list(SAMPLES), lookahead=lookahead
    )


@pytest.mark.parametrize("lookahead", range(4))
def test_a_sample_waits_for_the_last_that_its_condition_reads(engine: Any, lookahead: int) -> None:
    field = ConditionExplorer(lookahead=lookahead).field
    every = reads(engine, lookahead)
    for sample, read in zip(SAMPLES, every, strict=True):
        assert field.inputs_of(sample) == frozenset(range(int(read["first"]), int(read["last"]) + 1))
        assert read["latency"] == max(field.inputs_of(sample)) - sample
    assert {read["declared"] for read in every} == {field.lookahead} == {max(read["latency"] for read in every)}
    assert every[0]["declared"] / 16_000 == pytest.approx(field.latency())


@pytest.mark.parametrize("lookahead", range(4))
def test_the_frame_is_the_one_that_the_layer_puts_beside_the_sample(engine: Any, lookahead: int) -> None:
    x = torch.randn(1, 1, 1600, dtype=torch.float64).clamp(-1, 1)
    layer = MelCondition(lookahead)
    beside, condition = layer.upsample(LogMel()(x)), layer(x)
    for sample, read in zip(SAMPLES, reads(engine, lookahead), strict=True):
        assert read["hop"] == sample // 160
        assert torch.equal(condition[:, :, sample], beside[:, :, int(read["frame"]) * 160])


@pytest.mark.parametrize("lookahead", range(4))
def test_its_weights_are_what_the_front_end_makes_of_impulses(engine: Any, lookahead: int) -> None:
    impulses = 1e6 * torch.eye(640, dtype=torch.float64)  # so loud that none of them is lifted to the floor of −100 dB
    heard = 10 ** (LogMel()(impulses)[:, 40, 3] / 20)  # frame 3 reads the samples 0 … 639, each as loud as its weight
    heard[0] = 0  # but for the first one, whose weight is 0
    heard /= heard.sum()
    for sample, read in zip(SAMPLES, reads(engine, lookahead), strict=True):
        place = sample - int(read["first"])
        assert read["before"] == pytest.approx(float(heard[:place].sum()), abs=1e-9)
        assert read["after"] == pytest.approx(float(heard[place + 1 :].sum()), abs=1e-9)
        assert read["middle"] == int(heard.argmax()) - place


@pytest.mark.parametrize("width", [300, 330, 720, 920])
def test_every_state_can_be_drawn(engine: Any, width: int) -> None:
    for lookahead, sample in itertools.product(range(4), (FIRST, 639, 640, 720, LAST)):
        view = engine("condition_explorer")(
            "figure.view(s, width, 'a')", s={"lookahead": lookahead, "sample": sample}, width=width
        )
        assert "NaN" not in view["picture"]
        assert "undefined" not in view["picture"] + view["sentence"]


def test_nonsense_gets_a_state_that_can_be_drawn(engine: Any) -> None:
    settled = engine("condition_explorer")("figure.settled({lookahead: 'far', sample: 1e9})")
    assert settled == {"lookahead": 0, "sample": LAST}
