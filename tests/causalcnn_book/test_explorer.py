"""The base of the figures: its engine outlives an event loop, and without one the figures are live all the same."""

from __future__ import annotations

import asyncio
import html
import importlib
import pkgutil
import sys

import pytest

pytest.importorskip("anywidget")

import causalcnn_book
from causalcnn_book import Explorer, explorer
from causalcnn_book.causality import ConeExplorer

for found in pkgutil.walk_packages(causalcnn_book.__path__, "causalcnn_book."):
    if found.name.endswith("_explorer"):
        importlib.import_module(found.name)


@pytest.mark.parametrize("figure_class", Explorer.__subclasses__(), ids=lambda c: c.__name__)
def test_every_explorer_draws_says_and_counts_by_its_module(figure_class: type[Explorer]) -> None:
    pytest.importorskip("py_mini_racer")
    figure = figure_class()
    view = figure.draw()
    assert set(view) >= {"picture", "height", "sentence", "readouts"}
    assert figure.read()
    assert {row["key"].split("-")[0] for row in view["readouts"]} == set(figure._readouts)
    assert set(explorer._engine(figure._module)("figure.traits")) <= set(figure.trait_names())
    still = figure.static()
    assert still.count("<svg") >= 2
    assert html.escape(figure.alt) in still


def test_an_engine_started_inside_an_event_loop_outlives_it() -> None:
    pytest.importorskip("py_mini_racer")

    async def start():
        engine = explorer._engine.__wrapped__("causality/cone_explorer")
        return engine, engine("HEIGHT")

    engine, height = asyncio.run(start())
    assert engine("HEIGHT") == height


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if mini-racer were not installed."""
    monkeypatch.setattr(explorer, "_engine", explorer._engine.__wrapped__)  # one that was started is not seen
    monkeypatch.setitem(sys.modules, "py_mini_racer", None)


@pytest.mark.usefixtures("no_engine")
def test_without_mini_racer_the_alternative_text_stands_for_the_picture() -> None:
    figure = ConeExplorer(alt="A cone of <inputs>.")
    assert figure.static() == '<div class="cc-fig"><p class="cc-says">A cone of &lt;inputs&gt;.</p></div>'


@pytest.mark.usefixtures("no_engine")
def test_without_mini_racer_the_widget_is_whole() -> None:
    figure = ConeExplorer(layers=2)
    data, _ = figure._repr_mimebundle_()
    assert data[explorer.VIEW]["model_id"] == figure.model_id
    assert figure.model_id in data["text/html"]
    assert figure.alt in data["text/html"]
    assert "<svg" not in data["text/html"]
    assert figure.get_state()["_esm"] == explorer.module("causality/cone_explorer")


@pytest.mark.usefixtures("no_engine")
@pytest.mark.parametrize("ask", [ConeExplorer.read, ConeExplorer.draw])
def test_without_mini_racer_numbers_and_pictures_say_what_is_missing(ask) -> None:
    with pytest.raises(ImportError, match=r"comes with the extra 'book'"):
        ask(ConeExplorer())
