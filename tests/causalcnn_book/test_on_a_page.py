"""The figures on a page of their own, in Chromium, without a kernel and with every host blocked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from causalcnn_book import Explorer, palette
from causalcnn_book.autoencoders import LatentExplorer
from causalcnn_book.causality import ConeExplorer
from causalcnn_book.convolution import ResponseExplorer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOST = Path(__file__).parents[2] / "book" / "assets" / "figure-host.js"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += ["--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND"]

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (the extra 'dev')")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the path")


def _page(folder: Path, *figures: Explorer) -> str:
    """A page as MyST-NB writes it: each figure's HTML, the widgets' state, the host. Its address."""
    from ipywidgets import Widget

    state = json.dumps(Widget.get_manager_state()).replace("</", "<\\/")
    body = "".join(figure._repr_mimebundle_()[0]["text/html"] for figure in figures)
    (folder / "figure-host.js").write_text(HOST.read_text("utf-8"), "utf-8")
    (folder / "page.html").write_text(
        '<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8"><title>Figures</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{palette.css()}body{{background:var(--cc-paper);margin:0 auto;max-width:46rem;padding:0 1rem}}</style>"
        f'<main><h1 id="top">Figures</h1>{body}<h2 id="below">Below</h2></main>'
        f'<script type="application/vnd.jupyter.widget-state+json">{state}</script>'
        '<script defer src="figure-host.js"></script></html>',
        "utf-8",
    )
    return (folder / "page.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(params=[1280, 360])
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": request.param, "height": 900}, reduced_motion="reduce")
    tab = context.new_page()
    tab.failures, tab.requests = [], []
    tab.on("pageerror", lambda error: tab.failures.append(str(error)))
    tab.on("console", lambda said: said.type == "error" and tab.failures.append(said.text))
    tab.on("request", lambda asked: tab.requests.append(asked.url))
    yield tab
    assert tab.failures == []
    assert [url for url in tab.requests if not url.startswith(("file:", "blob:", "data:"))] == []
    context.close()


def _read(page: Any, key: str, figure: int = 0) -> int:
    return int(page.locator(".cc-host").nth(figure).locator(f'[data-read="{key}"]').get_attribute("data-value"))


def _open(page: Any, address: str) -> None:
    page.goto(address)
    page.wait_for_selector(".cc-host [data-ready]")


def _settle(page: Any) -> None:
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_sliders_move_by_keyboard_and_their_numbers_are_the_library_s(page, tmp_path):
    _open(page, _page(tmp_path, ConeExplorer(kernel_size=2, layers=3, doubling=True)))
    assert page.locator(".cc-static").count() == 0
    slider = page.locator('input[data-key="layers"]')
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.locator('input[data-key="kernel_size"]').focus()
    page.keyboard.press("End")
    _settle(page)
    field = ConeExplorer(kernel_size=7, layers=4, doubling=True).field
    assert slider.get_attribute("aria-valuetext") == "4"
    for key in ("size", "num_inputs", "holes", "lookahead", "stride"):
        assert _read(page, key) == getattr(field, key)


def test_sliders_move_by_mouse_and_the_switch_lets_the_future_in(page, tmp_path):
    _open(page, _page(tmp_path, ConeExplorer(kernel_size=3, layers=2)))
    box = page.locator('input[data-key="layers"]').bounding_box()
    page.mouse.click(box["x"] + box["width"] - 14, box["y"] + box["height"] / 2)
    page.locator('input[value="regular"]').check(force=True)
    _settle(page)
    field = ConeExplorer(kernel_size=3, layers=6, convention="regular").field
    assert (_read(page, "size"), _read(page, "lookahead")) == (field.size, field.lookahead) == (13, 6)
    assert "into the future: a leak" in page.locator(".cc-says").inner_text()
    assert page.locator(".cc-alarm").count() == 1


def test_an_output_and_an_input_are_chosen_by_arrow_keys_and_by_pointing(page, tmp_path):
    _open(page, _page(tmp_path, ConeExplorer(kernel_size=3, layers=2)))
    stage = page.locator(".cc-stage")
    stage.focus()
    page.keyboard.press("ArrowLeft")
    _settle(page)
    assert stage.get_attribute("aria-valuenow") == "-1"
    page.keyboard.press("ArrowDown")
    _settle(page)
    assert page.locator(".cc-says").inner_text().startswith("The chosen input is read by 5 outputs.")
    page.mouse.click(stage.bounding_box()["x"] + 150, stage.bounding_box()["y"] + 60)
    _settle(page)
    assert page.locator(".cc-says").inner_text().startswith("The chosen output reads 5 inputs")


def test_a_setting_is_in_the_address_and_comes_back_from_it(page, tmp_path):
    address = _page(tmp_path, ConeExplorer(layers=2), ResponseExplorer(), ConeExplorer(layers=1))
    _open(page, address)
    page.evaluate("location.hash = 'below'")
    for n in range(3):
        page.locator(".cc-host").nth(n).scroll_into_view_if_needed()
    page.wait_for_function("document.querySelectorAll('[data-ready]').length === 3")
    assert page.evaluate("location.hash") == "#below"
    length = page.evaluate("history.length")
    page.locator('input[data-key="layers"]').first.focus()
    page.keyboard.press("End")
    page.locator('.cc-host:nth-of-type(2) input[data-key="nonzero"]').check()
    page.wait_for_function("location.hash.includes('response')")  # the address follows a moment later
    assert page.evaluate("location.hash") == "#cone:layers=6&response:nonzero=1"
    assert page.evaluate("history.length") == length
    shared = address + "#cone:layers=5,kernel_size=999,convention=nonsense,caption=x&cone-2:layers=4&other:a=b&%E0"
    page.goto("about:blank")
    _open(page, shared)
    page.locator(".cc-host").nth(2).scroll_into_view_if_needed()
    page.wait_for_function("document.querySelectorAll('[data-ready]').length === 3")
    assert _read(page, "size") == ConeExplorer(layers=5, kernel_size=7).field.size
    assert _read(page, "size", 2) == ConeExplorer(layers=4).field.size


def test_the_response_explorer_finds_the_leak(page, tmp_path):
    _open(page, _page(tmp_path, ResponseExplorer(layers=2)))
    assert (_read(page, "leaked-regular"), _read(page, "leaked-strict")) == (2, 0)
    page.locator('input[data-key="kernel_size"]').focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    _settle(page)
    library = ResponseExplorer(layers=2, kernel_size=5).read()
    leaked = (library["regular"]["leaked"], library["strict"]["leaked"])
    assert (_read(page, "leaked-regular"), _read(page, "leaked-strict")) == leaked == (4, 0)
    page.locator('input[value="gradient"]').check(force=True)
    _settle(page)
    assert "from the future" in page.locator(".cc-says").inner_text()


def test_nothing_moves_when_a_figure_comes_alive_and_nothing_overflows(page, tmp_path):
    page.add_init_script(
        "window.moved = 0; new PerformanceObserver((list) => {"
        "for (const entry of list.getEntries()) window.moved += entry.value; })"
        ".observe({ type: 'layout-shift', buffered: true })"
    )
    _open(page, _page(tmp_path, ConeExplorer(), ResponseExplorer()))
    page.wait_for_timeout(300)
    assert page.evaluate("window.moved") < 0.02
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    short = page.evaluate("[...document.querySelectorAll('input,button')].filter((e) => e.offsetHeight < 24).length")
    assert short == 0


def test_a_place_on_the_map_sounds_without_a_gap_until_it_is_stopped_and_a_sentence_until_its_end(page, tmp_path):
    page.add_init_script(
        "window.heard = []; const start = AudioBufferSourceNode.prototype.start;"
        "AudioBufferSourceNode.prototype.start = function (at) { window.heard.push([at, "
        "Math.max(...this.buffer.getChannelData(0).map(Math.abs))]); start.call(this, at); }"
    )
    figure = LatentExplorer(source="whisper")
    _open(page, _page(tmp_path, figure))
    hold, walk = (page.locator(f'button[data-key="{key}"]') for key in ("hold", "walk"))
    hold.click()
    page.wait_for_function("heard.length > 30")
    assert (hold.inner_text(), walk.inner_text()) == ("Stop", "Play the sentence")
    hold.click()
    heard = page.evaluate("heard")
    assert all(0 < peak < 1 for _, peak in heard)
    assert sorted(at for at, _ in heard) == [at for at, _ in heard]
    page.evaluate("heard.length = 0")
    walk.click()
    assert (hold.inner_text(), walk.inner_text()) == ("Listen here", "Stop")
    page.wait_for_function("document.querySelector('[data-key=walk]').textContent !== 'Stop'")
    assert page.evaluate("heard.length") == len(figure.latent_map.path)


@pytest.mark.budget
def test_a_redraw_takes_less_than_a_frame(page, tmp_path):
    _open(
        page,
        _page(
            tmp_path,
            ConeExplorer(kernel_size=7, layers=6, dilation=2, doubling=True),
            ResponseExplorer(layers=6, dims=2),
        ),
    )
    took = page.evaluate(
        """() => {
          window.requestAnimationFrame = (draw) => draw();
          const best = [];  // of eight tries for each position: the machine may be busy with something else
          document.querySelectorAll('input[data-key="kernel_size"]').forEach((slider, which) => {
            const key = 7 * which;
            for (let n = 0; n < 56; n++) {
              slider.value = n % 7;
              const start = performance.now();
              slider.dispatchEvent(new Event("input", { bubbles: true }));
              document.body.getBoundingClientRect();
              best[key + (n % 7)] = Math.min(best[key + (n % 7)] ?? 1e9, performance.now() - start);
            }
          });
          return best.sort((a, b) => a - b)[Math.floor(best.length / 2)];
        }"""
    )
    print(f"redraw: {took:.1f} ms")
    assert took < 16


def test_without_javascript_the_true_picture_stays(browser, tmp_path):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(_page(tmp_path, ConeExplorer(kernel_size=3, layers=3)))
    assert tab.locator(".cc-static svg:visible").count() == 1
    assert "7 frames" in tab.locator(".cc-stats").inner_text()
    context.close()


def test_a_figure_without_a_still_picture_comes_alive(page, tmp_path, monkeypatch):
    monkeypatch.setattr(Explorer, "static", lambda self: "")
    _open(page, _page(tmp_path, ConeExplorer(kernel_size=3, layers=3)))
    assert page.locator(".cc-stage svg:visible").count() == 1
    assert _read(page, "size") == 7


def test_a_sound_follows_its_slider_while_it_plays_and_goes_on_from_where_it_was(page, tmp_path):
    pytest.importorskip("soundfile", reason="needs the extra 'speech'")
    from causalcnn.speech import UniformBins, player
    from causalcnn_book.discrete_spectrograms import BinsExplorer

    tones = [player(torch.sin(torch.arange(8 * 16_000) * 0.02 * bits) / 2) for bits in range(1, 9)]
    _open(page, _page(tmp_path, BinsExplorer.of(torch.rand(80, 9) * -50, UniformBins(-70.0, 20.0), tones, bits=3)))
    audio = page.locator(".cc-sound audio")
    assert audio.get_attribute("aria-label") == "Its sound in 8 bins, 8.0 seconds"
    seek = "(a) => new Promise((done) => { a.onseeked = done; a.currentTime = 4; })"
    audio.evaluate("(a) => { a.muted = true; return a.play(); }")
    audio.evaluate(seek)
    page.locator('input[data-key="bits"]').press("ArrowRight")
    page.wait_for_function("() => document.querySelector('.cc-sound audio').currentTime > 4")
    assert audio.get_attribute("aria-label") == "Its sound in 16 bins, 8.0 seconds"
    assert not audio.evaluate("(a) => a.paused")


def test_a_figure_goes_along_with_its_sound_and_the_sound_with_the_figure(page: Any, tmp_path: Path) -> None:
    pytest.importorskip("soundfile")
    from causalcnn_book.priors import FileExplorer

    costs = torch.arange(300.0) + 1
    samples = 0.01 * torch.sin(torch.arange(48_000) / 9)
    figure = FileExplorer.of({"a": costs}, samples=samples.numpy(), frame=150)
    _open(page, _page(tmp_path, figure))
    frame = '() => document.querySelector(".cc-host [data-read=frame]").dataset.value'
    audio = page.locator("audio")
    page.locator('input[data-key="frame"]').focus()
    for key in ("End", "ArrowLeft"):
        page.keyboard.press(key)
    page.wait_for_function(f"({frame})() == 299")
    assert audio.evaluate("(sound) => sound.currentTime") == pytest.approx(2.98)
    audio.evaluate("(sound) => { sound.currentTime = 0.5; return sound.play(); }")
    page.wait_for_function(f"({frame})() > 60 && ({frame})() < 290")
    says = page.locator(".cc-fig:has(audio) .cc-says")
    assert says.get_attribute("aria-live") == "off"
    audio.evaluate("(sound) => sound.pause()")
    _settle(page)
    assert says.get_attribute("aria-live") == "polite"
    seconds, now = audio.evaluate("(sound) => sound.currentTime"), int(page.evaluate(frame))
    assert abs(seconds * 100 - (now - 1)) <= 1
