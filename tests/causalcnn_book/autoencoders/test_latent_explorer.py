"""The latent figure tells the truth: what it shows and what it makes sound is what Python makes of the same map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("anywidget")
pytest.importorskip("py_mini_racer")
pytest.importorskip("librosa")

from causalcnn.speech import synthesize
from causalcnn_book.autoencoders import CLASSES, FrameVAE, LatentExplorer, LatentMap

DATA = ("spectra", "filters", "voiced", "points", "path")
numbers = st.integers(-120, 120).map(lambda n: n / 40)


@pytest.fixture(scope="module")
def figure() -> LatentExplorer:
    said = [synthesize("She sells fresh fish by the cold sea shore.", speaker=speaker) for speaker in (1, 2)]
    return LatentExplorer.of(FrameVAE.trained(said, steps=100), said, said[0])


def state_of(figure: LatentExplorer, **more: Any) -> dict[str, Any]:
    return {key: getattr(figure, key) for key in (*DATA, "x", "y", "step", "pitch", "source")} | more


@pytest.fixture(scope="module")
def ask(engine: Any, figure: LatentExplorer) -> Any:
    """What the module makes of an expression; the state `s` is the figure's with other values in it."""
    script = engine("latent_explorer")
    script.v8.eval(f"var held = {__import__('json').dumps(state_of(figure))};")
    return lambda expression, **more: script(f"((s) => {expression})(figure.settled({{...held, ...more}}))", more=more)


@given(x=numbers, y=numbers)
def test_at_every_place_it_reads_the_map(ask: Any, figure: LatentExplorer, x: float, y: float) -> None:
    found, expected = ask("figure.read(s)", x=x, y=y), figure.latent_map
    np.testing.assert_allclose(found["spectrum"], expected.spectrum(x, y), atol=1e-9)
    weights, size, voiced = expected.filter(x, y)
    np.testing.assert_allclose(found["weights"], weights, atol=1e-9)
    assert found["size"] == pytest.approx(size, rel=1e-9)
    assert (found["voiced"] >= 0.5) == voiced
    assert found["level_db"] == max(found["spectrum"])
    gaps = np.square(expected.points[:, :2] - (x, y)).sum(1)
    near = expected.points[np.argsort(gaps, kind="stable")[:15], 2].astype(int)
    assert found["around"] == list(CLASSES)[np.bincount(near, minlength=5).argmax()]


@given(
    places=st.lists(st.tuples(numbers, numbers), min_size=1, max_size=6),
    pitch=st.sampled_from((80, 120, 150, 290, 300)),
    source=st.sampled_from(("around", "voice", "whisper")),
)
def test_a_walk_sounds_as_in_python(
    ask: Any, figure: LatentExplorer, places: list[tuple[float, float]], pitch: int, source: str
) -> None:
    places = [place for place in places for _ in range(3)]
    walk = f"(() => {{ const next = speaker(); return {[list(p) for p in places]}.flatMap((p) => next(s, p)); }})()"
    found = ask(walk, pitch=pitch, source=source)
    expected = figure.latent_map.sound(places, pitch_hz=pitch, source=source)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(found).max() < 1


def test_what_it_carries_is_the_map_but_for_rounding() -> None:
    drawn, carried = LatentMap.drawn(), LatentExplorer().latent_map
    assert np.abs(drawn.spectra - carried.spectra).max() <= 0.25
    assert np.abs(drawn.reflections - carried.reflections).max() <= 2e-5
    assert np.abs(drawn.error_db - carried.error_db).max() <= 0.01
    assert np.abs(drawn.path - carried.path).max() <= 0.0126
    assert (drawn.points[:, 2] == carried.points[:, 2]).all()


def test_it_begins_where_the_sentence_is_loudest_and_stays_on_its_path(ask: Any, figure: LatentExplorer) -> None:
    path = figure.latent_map.path
    assert (figure.x, figure.y) == tuple(path[figure.step])
    for step in (0, 7, len(path) - 1):
        assert ask(f"onWalk(s, {step})") == {"step": step, "x": path[step, 0], "y": path[step, 1]}


@pytest.mark.parametrize("width", [330, 700])
def test_the_pointer_finds_every_corner_of_the_map_and_every_frame(
    ask: Any, figure: LatentExplorer, width: int
) -> None:
    for x, y in ((-3, -3), (3, 3), (1, -2)):
        place = f"((l) => placeAt(s, LEFT + ({x} + 3) / 6 * l.side, HEAD + (3 - {y}) / 6 * l.side, {width}))"
        found = ask(f"{place}(layout({width}))")
        assert (found["x"], found["y"]) == pytest.approx((x, y))
    frames = len(figure.latent_map.path)
    for step in (0, 11, frames - 1):
        at = f"((l) => placeAt(s, l.beside + l.across * ({step} + 0.5) / {frames}, l.strip + 9, {width}))"
        assert ask(f"{at}(layout({width}))")["step"] == step
    assert ask(f"placeAt(s, 1, 1, {width}) ?? null") is None


def test_arrows_move_the_point(ask: Any) -> None:
    assert ask("figure.settled({...s, ...declaration.press(s, 700, false).ArrowUp}).y", y=0.5) == 0.6
    assert ask("figure.settled({...s, ...declaration.press(s, 700, true).ArrowLeft}).x", x=-2.8) == -3


def test_nonsense_gets_a_state_that_can_be_drawn(ask: Any) -> None:
    found = ask("({...s, spectra: 0})", x=99, y="so", step=-4, pitch=7, source="so")
    assert (found["x"], found["y"], found["step"], found["pitch"], found["source"]) == (3, 0, 0, 80, "around")
    assert ask("figure.view({...s, points: '', path: ''}, 330, 'i').picture.includes('NaN')") is False


def test_it_is_light_enough_for_a_page(figure: LatentExplorer) -> None:
    assert sum(len(getattr(figure, key)) for key in DATA) < 80_000
    assert "fricatives" in figure.draw()["picture"]
