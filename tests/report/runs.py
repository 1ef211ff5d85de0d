"""Folders as `wherewhen test` leaves them, without a training; and a browser."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tests.tasks.conftest import CLASSES
from wherewhen.bands import load_sensor
from wherewhen.files import write_json, write_text
from wherewhen.store import PatchStore
from wherewhen.tasks.evaluation import Evaluation

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
METRICS = """step,name,value
2,train/loss,2.5
2,train/accepted,0.25
2,train/believed,0.25
2,train/right,0.2
4,train/loss,1.5
4,train/accepted,0.5
4,train/believed,0.5
4,train/right,0.4
4,val/accuracy,62.5
"""


def logits_of(labels: np.ndarray, classes: int, seed: int, noise: float) -> torch.Tensor:
    """(N, C) that are right more often the less noise there is."""
    truth = np.eye(classes)[labels.clip(0)] * 2
    return torch.from_numpy(truth + np.random.default_rng(seed).normal(0, noise, truth.shape))


def finished(folder: Path, store: Path, seed: int = 0, noise: float = 1.0) -> Path:
    """A run on a store with one label a patch, whose predictions are made up."""
    opened = PatchStore.open(store)
    rows = np.flatnonzero(opened.table["split"] == "test")
    labels = opened.labels()[rows]
    evaluation = Evaluation("one", opened.classes)
    evaluation.add(logits_of(labels, len(opened.classes), seed, noise), torch.from_numpy(labels))
    folder.mkdir(parents=True)
    evaluation.write(folder, list(opened.table["id"].iloc[rows]))
    train = opened.table["id"][(opened.table["split"] == "train").to_numpy()].iloc[:6]
    write_text(folder / "labelled.csv", "\n".join(["id", *train]) + "\n")
    write_text(folder / "metrics.csv", METRICS)
    write_text(folder / "config.yaml", yaml.safe_dump({"model": {}, "data": {"store": str(store), "target": "patch"}}))
    write_json(folder / "timing.json", {"seconds": 3.25, "steps": 4})
    write_json(folder / "environment.json", {"python": "3.11", "packages": {"torch": "2"}, "command": "wherewhen fit"})
    return folder


def big_store(path: Path, test: int, size: int = 64) -> Path:
    """A store with that many test patches, each of which looks like none of the others."""
    rng = np.random.default_rng(0)
    count, spots = test + 200, 8
    labels = np.arange(count) % 3
    coarse = rng.integers(20, 235, (count, 3, spots, spots), np.uint8)
    pixels = coarse.repeat(size // spots, 2).repeat(size // spots, 3)
    pixels += rng.integers(0, 20, pixels.shape, np.uint8)
    split = np.array(["test"] * test + ["train"] * 200, dtype=object)
    place = np.column_stack((rng.uniform(40, 60, count), rng.uniform(0, 20, count)))
    time = np.datetime64("2020-01-01", "ns") + rng.integers(0, 365, count) * np.timedelta64(1, "D")
    known: dict[str, Any] = {"labels": labels, "split": split, "place": place, "time": time, "classes": CLASSES}
    return PatchStore.from_arrays(path, pixels, bands=load_sensor("rgb8").bands, **known).path


@contextmanager
def browser(width: int = 1200, height: int = 900, scheme: str = "light") -> Iterator[Any]:
    """A Chromium without a window; the test is skipped where there is none."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("chromium or chromedriver is not there: install Debian's packages chromium and chromium-driver")
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = Chrome(options=options, service=Service(DRIVER, env={**os.environ, "SE_OFFLINE": "true"}))
        try:
            driver.execute_cdp_cmd(
                "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            )
            yield driver
        finally:
            driver.quit()


def opened(driver: Any, page: Path, seconds: float = 120) -> None:
    """Open a page and wait until its charts are drawn."""
    driver.get("about:blank")
    driver.get_log("performance")  # of the browser's own first page
    driver.get(page.resolve().as_uri())
    wait(lambda: driver.execute_script("return document.body.dataset.drawn"), seconds)


def wait(question: Any, seconds: float = 20) -> Any:
    """Ask until the answer is true."""
    end = time.monotonic() + seconds
    while not (answer := question()):
        if time.monotonic() > end:
            raise AssertionError(f"still not after {seconds} s")
        time.sleep(0.1)
    return answer
