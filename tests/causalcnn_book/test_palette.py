"""The palette keeps its promises: contrast on both themes, distance for colour-blind readers, even maps."""

from __future__ import annotations

import itertools
import math

import pytest

from causalcnn_book import palette

THEMES = {"light": palette.LIGHT, "dark": palette.DARK}
MEANINGS = ("past", "present", "leak", "skipped", "bottom", "top", "speaker_a", "speaker_b")
TOGETHER = [("past", "present", "leak", "skipped"), ("bottom", "top", "leak"), ("speaker_a", "speaker_b")]
EYES = {  # Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "deuteranope": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "protanope": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
}


def _linear(color):
    channels = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]


def _contrast(one, other):
    light = sorted(sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), _linear(x), strict=True)) for x in (one, other))
    return (light[1] + 0.05) / (light[0] + 0.05)


def _oklab(rgb):
    rgb = [max(0.0, c) for c in rgb]
    cones = ((0.4122214708, 0.5363325363, 0.0514459929), (0.2119034982, 0.6806995451, 0.1073969566))
    cones = (*cones, (0.0883024619, 0.2817188376, 0.6299787005))
    lms = [sum(w * c for w, c in zip(row, rgb, strict=True)) ** (1 / 3) for row in cones]
    out = ((0.2104542553, 0.793617785, -0.0040720468), (1.9779984951, -2.428592205, 0.4505937099))
    out = (*out, (0.0259040371, 0.7827717662, -0.808675766))
    return [sum(w * c for w, c in zip(row, lms, strict=True)) for row in out]


def _distance(one, other, eyes):
    seen = ([sum(m * c for m, c in zip(row, _linear(x), strict=True)) for row in EYES[eyes]] for x in (one, other))
    return 100 * math.dist(*(_oklab(rgb) for rgb in seen))


@pytest.mark.parametrize("theme", THEMES)
def test_every_meaning_can_be_read_as_text_and_every_mark_seen(theme):
    colors = THEMES[theme]
    for name in (*MEANINGS, "ink", "muted", "accent"):
        assert _contrast(colors[name], colors["paper"]) >= 4.5, name
    assert _contrast(colors["muted"], colors["raised"]) >= 4.5
    assert _contrast(colors["future"], colors["paper"]) >= 3
    assert _contrast(colors["paper"], colors["accent"]) >= 4.5  # what is written on a chosen button


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("theme", THEMES)
def test_colours_that_meet_are_told_apart_by_all_eyes(theme, eyes):
    colors = THEMES[theme]
    for group in TOGETHER:
        for one, other in itertools.combinations(group, 2):
            assert _distance(colors[one], colors[other], eyes) > 7, (one, other)
    for one, other in itertools.combinations(MEANINGS, 2):
        assert _distance(colors[one], colors[other], eyes) > 4, (one, other)


@pytest.mark.parametrize("table", [palette.energy(17), palette.alarm(9)], ids=["energy", "alarm"])
def test_maps_grow_lighter_in_even_steps(table):
    labs = [_oklab(_linear(color)) for color in table]
    assert all(a[0] < b[0] for a, b in itertools.pairwise(labs))
    steps = [math.dist(a, b) for a, b in itertools.pairwise(labs)]
    assert max(steps) < 1.5 * min(steps)


def test_zero_is_neutral_and_the_signs_are_told_apart_by_all_eyes():
    table = palette.diverging(65)
    _, a, b = _oklab(_linear(table[32]))
    assert math.hypot(a, b) < 0.01
    for eyes in EYES:
        assert _distance(table[8], table[56], eyes) > 15
    with pytest.raises(ValueError, match="odd"):
        palette.diverging(64)


def test_the_alarm_stands_out_from_all_energy_for_all_eyes():
    for eyes in EYES:
        nearest = min(_distance(a, e, eyes) for a in palette.alarm(9) for e in palette.energy(64))
        assert nearest > 5, eyes


def test_both_themes_name_the_same_colours_and_the_css_holds_them_all():
    assert set(palette.LIGHT) == set(palette.DARK) == set(palette.NAMES)
    css = palette.css()
    for name in palette.NAMES:
        assert css.count(f"--cc-{name.replace('_', '-')}:{palette.LIGHT[name]};") >= 1
        assert css.count(f"--cc-{name.replace('_', '-')}:{palette.DARK[name]};") >= 1
    assert css.count("{") == css.count("}")
