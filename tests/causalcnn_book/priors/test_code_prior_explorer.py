"""The figure of a prior tells the truth: it prices as the prior does, at every temperature, as closely as it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("anywidget")
pytest.importorskip("py_mini_racer")

from causalcnn.models import CodePrior, CodePriorConfig, Codes
from causalcnn_book.priors import CodePriorExplorer
from causalcnn_book.priors.code_prior_explorer import TEMPERATURES, _drawn

FRAMES, TOP, CELLS, SIZE = 6, 2, 6, 48


@pytest.fixture(scope="module")
def said() -> tuple[np.ndarray, np.ndarray]:
    """Logits of a network with many channels, and codes drawn from them."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(FRAMES, CELLS, SIZE)) + 3
    gumbel = -np.log(-np.log(rng.random(logits.shape)))
    return logits, (logits + gumbel).argmax(-1)


def exactly(logits: np.ndarray, codes: np.ndarray, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Price and entropy in bits by torch."""
    law = torch.distributions.Categorical(logits=torch.from_numpy(logits) / temperature)
    return -law.log_prob(torch.from_numpy(codes)) / np.log(2), law.entropy() / np.log(2)


def asked(engine: Any, figure: CodePriorExplorer) -> np.ndarray:
    """Price, entropy, rank, half, bits of the frame and mean in every state of the figure."""
    state = {key: getattr(figure, key) for key in engine("code_prior_explorer")("figure.traits")}
    cells = figure.top_cells + figure.bottom_cells
    found = engine("code_prior_explorer")(
        "s.temperatures.flatMap((temperature) => upTo(0, s.frames - 1).flatMap((frame) => upTo(0, cells - 1).map((cell)"
        " => { const r = figure.read({...s, temperature, frame, cell});"
        " return [r.price, r.entropy, r.rank, r.half, r.frame_bits, r.mean_bits, r.code]; })))",
        s=state,
        cells=cells,
    )
    return np.reshape(found, (len(figure.temperatures), figure.frames, cells, 7))


def test_every_state_is_as_close_to_the_prior_as_the_figure_says(engine: Any, said: Any) -> None:
    logits, codes = said
    figure = CodePriorExplorer.of(logits, codes, top_cells=TOP)
    assert np.max(figure.off) <= 0.25
    found = asked(engine, figure)
    for place, temperature in enumerate(TEMPERATURES):
        price, entropy = exactly(logits, codes, temperature)
        np.testing.assert_allclose(found[place, ..., 0], price, rtol=0, atol=figure.off[place][0] + 1e-9)
        np.testing.assert_allclose(found[place, ..., 1], entropy, rtol=0, atol=figure.off[place][1] + 1e-9)
        np.testing.assert_allclose(found[place, ..., 5], float(price.mean()), rtol=0, atol=1e-4)
        assert (found[place, ..., 6] == codes).all()
    at_one = exactly(logits, codes, 1.0)[0].sum(1)
    np.testing.assert_allclose(found[..., 0, 4], np.broadcast_to(at_one, found.shape[:2]), rtol=0, atol=0.005 * CELLS)


def test_ranks_and_halves_are_those_of_numpy(engine: Any) -> None:
    figure = CodePriorExplorer()
    logits, codes = _drawn()
    found = asked(engine, figure)[TEMPERATURES.index(1.0)]
    shares = torch.from_numpy(logits).softmax(-1)
    ordered = shares.sort(-1, descending=True).values
    half = (ordered.cumsum(-1) < 0.5).sum(-1).numpy() + 1
    rank = (shares > shares.gather(-1, torch.from_numpy(codes)[..., None])).sum(-1).numpy() + 1
    assert (found[..., 2] == np.minimum(rank, figure.kept)).mean() > 0.97  # prices are rounded, so some are alike
    assert np.abs(found[..., 2] - np.minimum(rank, figure.kept)).max() <= 1
    assert np.abs(found[..., 3] - half)[half < figure.kept].max() <= 1


def test_it_prices_as_a_network_does() -> None:
    torch.manual_seed(0)
    config = CodePriorConfig(top_cells=2, bottom_cells=4, num_codes=32, channels=6, hidden=4, embedding_size=4)
    model = CodePrior(config).eval()
    codes = Codes(torch.randint(0, 32, (1, 9, 2)), torch.randint(0, 32, (1, 9, 4)))
    bins = model.join(codes)
    with torch.no_grad():
        logits = model(model.to_input(bins))[0].permute(1, 2, 0)
        bits = -model.log_prob(bins)[0] / np.log(2)
    for frame, cell in ((0, 0), (4, 1), (8, 5)):
        read = CodePriorExplorer.of(logits, bins[0], top_cells=2, frame=frame, cell=cell).read()
        assert read["price"] == pytest.approx(float(bits[frame, cell]), abs=0.02)
        assert read["frame_bits"] == pytest.approx(float(bits[frame].sum()), abs=0.04)


def test_another_order_moves_codewords_and_changes_no_price(said: Any) -> None:
    logits, codes = said
    order = (np.arange(SIZE)[::-1], np.roll(np.arange(SIZE), 5))
    for cell, place in ((0, SIZE - 1 - codes[2, 0]), (3, (codes[2, 3] + 5) % SIZE)):
        plain, sorted_ = (
            CodePriorExplorer.of(logits, codes, top_cells=TOP, frame=2, cell=cell, order=each).read()
            for each in (None, order)
        )
        assert sorted_["code"] == place
        assert sorted_["price"] == pytest.approx(plain["price"], abs=0.02)


def test_a_second_of_the_books_codes_is_light_enough_or_refused() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(36, 30, 49)) @ (rng.normal(size=(49, 512)) / np.arange(1, 50)[:, None]) * 2
    codes = rng.integers(0, 512, (36, 30))
    figure = CodePriorExplorer.of(logits, codes, top_cells=10, temperatures=(1.0,))
    assert len(figure.table) <= 250_000
    with pytest.raises(ValueError, match="fewer frames"):
        CodePriorExplorer.of(np.tile(logits, (2, 1, 1)), np.tile(codes, (2, 1)), top_cells=10, temperatures=(1.0,))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"codes": np.zeros((FRAMES, CELLS - 1), int)}, "belong together"),
        ({"top_cells": CELLS}, "belong together"),
        ({"codes": np.full((FRAMES, CELLS), SIZE)}, "codes among them"),
        ({"logits": np.full((FRAMES, CELLS, SIZE), -np.inf)}, "finite"),
        ({"temperatures": (0.0, 1.0)}, "above 0"),
        ({"order": (np.arange(SIZE), np.zeros(SIZE, int))}, "name each"),
    ],
)
def test_what_does_not_belong_together_is_refused(said: Any, change: dict[str, Any], match: str) -> None:
    given = {"logits": said[0], "codes": said[1], "top_cells": TOP} | change
    with pytest.raises(ValueError, match=match):
        CodePriorExplorer.of(given.pop("logits"), given.pop("codes"), **given)


def test_nonsense_gets_a_state_that_can_be_drawn() -> None:
    figure = CodePriorExplorer(frame=999, cell=999, temperature=0.93)
    read, last = figure.read(), CodePriorExplorer(frame=39, cell=14, temperature=0.9).read()
    assert read == last
    assert "NaN" not in figure.draw(330)["picture"]
