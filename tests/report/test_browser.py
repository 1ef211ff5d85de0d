"""The page in a real browser: it is drawn without an error and without network, it answers mouse and keyboard."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("altair", reason="the extra `report` is not installed")
pytest.importorskip("selenium", reason="selenium is not installed")

from tests.report.runs import browser, finished, opened, wait
from tests.tasks.conftest import make_store
from wherewhen.cli import main

# what the arrow of a mouse finds: the page's place of the n-th patch that a map shows
PLACE = """
const [name, n, role = "test"] = arguments;
const view = reportViews[name], box = document.querySelector(`#chart-${name} canvas`);
box.scrollIntoView({block: "center", behavior: "instant"});
const datum = view.data("patches").filter((d) => d.role === role)[n], corner = box.getBoundingClientRect();
const [x, y] = view.origin().map((n) => n + view.padding().left);
const at = [x + view.scale("x")(datum.longitude), y + view.scale("y")(datum.latitude)];
return [corner.left + at[0], corner.top + at[1], datum.id];
"""
THUMBNAIL = """
const c = document.querySelector("#tip canvas");
return c ? [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data.slice(0, 4096)] : [];
"""
DOMAIN = "return reportViews[arguments[0]].scale('x').domain()"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, the first with what an analysis of its teacher leaves."""
    tmp = tmp_path_factory.mktemp("report")
    place = np.stack(np.meshgrid(np.linspace(40, 60, 10), np.linspace(0, 20, 15)), axis=-1).reshape(-1, 2)
    store = make_store(tmp / "store", 150, place=place).path
    runs = [finished(tmp / name, store, seed) for seed, name in enumerate(("first", "second"))]
    grid = pd.DataFrame(
        [(0.1 * lat % 1, lat, lon) for lat in range(5) for lon in range(5)], columns=["water", "lat", "lon"]
    )
    grid.to_csv(runs[0] / "prior_places.csv", index=False)
    pd.DataFrame({"water": [0.1, 0.4], "day": [1, 200]}).to_csv(runs[0] / "prior_days.csv", index=False)
    out = tmp / "report.html"
    assert main(["report", *map(str, runs), "--out", str(out)]) == 0
    return out


def charts_where(driver: Any, condition: str) -> list[str]:
    """Ids of the charts `c` of which this is true."""
    charts = "[...document.querySelectorAll('.chart')]"
    found: list[str] = driver.execute_script(f"return {charts}.filter((c) => {condition}).map((c) => c.id)")
    return found


def move_to(driver: Any, x: float, y: float, kind: str = "mouseMoved", **more: Any) -> None:
    driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y} | more)


def rests(driver: Any) -> bool:
    """Whether the page has stopped scrolling."""
    before = driver.execute_script("return scrollY")
    time.sleep(0.3)
    return bool(driver.execute_script("return scrollY") == before)


def focused(driver: Any, name: str) -> None:
    driver.execute_script("document.getElementById(`chart-${arguments[0]}`).focus({preventScroll: true})", name)


def press(driver: Any, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        text = {"text": key} if len(key) == 1 and kind == "keyDown" else {}
        driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": kind, "key": key} | text)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_chart_is_drawn_without_a_word_or_a_request(page: Path, scheme: str) -> None:
    with browser(scheme=scheme) as driver:
        opened(driver, page)
        assert driver.execute_script("return document.body.dataset.drawn") == scheme
        assert charts_where(driver, "!c.querySelector('svg, canvas')") == []
        count = driver.execute_script("return document.querySelectorAll('.chart').length")
        assert count == len(driver.execute_script("return Object.keys(reportViews)")) > 10
        assert charts_where(driver, "!(c.getAttribute('aria-label') || '').includes('. ')") == []
        assert [entry["message"] for entry in driver.get_log("browser")] == []
        messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        light = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (light == "rgb(255, 255, 255)") == (scheme == "light")


def test_hovering_shows_the_patch(page: Path) -> None:
    with browser() as driver:
        opened(driver, page)
        for name in ("samples", "errors1"):
            x, y, patch = driver.execute_script(PLACE, name, 7)
            move_to(driver, x - 40, y)
            move_to(driver, x, y)
            tip = wait(
                lambda: driver.execute_script(
                    "const t = document.getElementById('tip'); return t.hidden ? '' : t.innerText"
                )
            )
            assert f"patch {patch}" in tip
            assert "truth" in tip
            assert "first" in tip
            assert "second" in tip
            assert len(set(driver.execute_script(THUMBNAIL))) > 10  # a picture, not an empty field
            press(driver, "Escape")
            assert driver.execute_script("return document.getElementById('tip').hidden")


def test_hovering_shows_labelled_patches_where_few_are_tested(tmp_path: Path) -> None:
    place = np.stack(np.meshgrid(np.linspace(40, 60, 6), np.linspace(0, 20, 10)), axis=-1).reshape(-1, 2)
    run, out = finished(tmp_path / "run", make_store(tmp_path / "store", place=place).path), tmp_path / "report.html"
    assert main(["report", str(run), "--out", str(out)]) == 0
    with browser() as driver:
        opened(driver, out)
        x, y, patch = driver.execute_script(PLACE, "samples", 3, "labelled")
        move_to(driver, x - 40, y)
        move_to(driver, x, y)
        assert len(set(wait(lambda: driver.execute_script(THUMBNAIL)))) > 10
        assert f"patch {patch}" in driver.execute_script("return document.getElementById('tip').innerText")


def test_maps_are_moved_by_wheel_mouse_keys_and_buttons(page: Path) -> None:
    with browser() as driver:
        opened(driver, page)
        x, y, _ = driver.execute_script(PLACE, "samples", 0)
        whole = driver.execute_script(DOMAIN, "samples")

        def width() -> float:
            low, high = driver.execute_script(DOMAIN, "samples")
            return float(high - low)

        full = width()
        before = driver.execute_script("return scrollY")
        move_to(driver, x, y, "mouseWheel", deltaX=0, deltaY=-200)
        wait(lambda: driver.execute_script("return scrollY") != before)  # not chosen: the page scrolls
        wait(lambda: rests(driver))
        assert width() == full
        x, y, _ = driver.execute_script(PLACE, "samples", 0)
        focused(driver, "samples")
        move_to(driver, x, y)
        move_to(driver, x, y, "mouseWheel", deltaX=0, deltaY=-200)
        wait(lambda: width() < full)
        press(driver, "0")
        wait(lambda: width() == pytest.approx(full))
        press(driver, "+")
        wait(lambda: width() == pytest.approx(0.7 * full))
        low = driver.execute_script(DOMAIN, "samples")[0]
        press(driver, "ArrowRight")
        wait(lambda: driver.execute_script(DOMAIN, "samples")[0] == pytest.approx(low + 0.15 * 0.7 * full))
        low = driver.execute_script(DOMAIN, "samples")[0]
        button: dict[str, Any] = {"button": "left", "buttons": 1, "clickCount": 1}
        move_to(driver, x, y, "mousePressed", **button)
        move_to(driver, x + 60, y, **button)
        move_to(driver, x + 60, y, "mouseReleased", **button)
        wait(lambda: driver.execute_script(DOMAIN, "samples")[0] < low)
        for name, label in (("samples", "Show all of Samples"), ("prior0-0", "Show all of water")):
            driver.execute_script("document.querySelector(`[data-of='${arguments[0]}'] [data-do=in]`).click()", name)
            driver.execute_script("document.querySelector(`[aria-label='${arguments[0]}']`).click()", label)
        wait(lambda: driver.execute_script(DOMAIN, "samples") == pytest.approx(whole))


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_the_page_is_as_wide_as_the_screen(page: Path, width: int) -> None:
    with browser() as driver:
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        opened(driver, page)
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        assert charts_where(driver, "c.scrollWidth > c.clientWidth + 2") == []


def test_printed_it_is_dark_on_white(page: Path) -> None:
    with browser(scheme="dark") as driver:
        opened(driver, page)
        driver.execute_script("dispatchEvent(new Event('beforeprint'))")
        wait(lambda: driver.execute_script("return document.body.dataset.drawn") == "paper", 60)
        printed = driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
        assert len(printed["data"]) > 50_000
        assert [entry["message"] for entry in driver.get_log("browser")] == []
