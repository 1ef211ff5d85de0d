"""The student needs the image alone: nothing that `test` writes depends on place and time."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.tasks.conftest import settings, write_config
from wherewhen.cli import main
from wherewhen.store import PatchStore

WRITTEN = ("test.json", "test_classes.csv", "test_predictions.csv", "confusion.csv", "confusion.png")


def permuted(arrays: dict[str, np.ndarray]) -> None:
    order = np.random.default_rng(0).permutation(len(arrays["place"]))
    arrays["place"], arrays["time"] = arrays["place"][order], arrays["time"][order]


def nonsense(arrays: dict[str, np.ndarray]) -> None:
    arrays["place"][:] = (-89.0, 179.0)
    arrays["time"][:] = np.datetime64("1901-01-01", "ns")


def removed(arrays: dict[str, np.ndarray]) -> None:
    arrays["place"][:] = np.nan
    arrays["time"][:] = np.datetime64("NaT", "ns")


def rewritten(source: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    """The same store at the same path, with other metadata."""
    store = PatchStore.open(source)
    arrays = {name: values.copy() for name, values in store.to_arrays().items()}
    change(arrays)
    header, pixels = store.header, arrays.pop("pixels")
    shutil.rmtree(source)
    PatchStore.from_arrays(source, pixels, bands=header.bands, classes=header.classes, **arrays)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [permuted, nonsense, removed], ids=lambda f: f.__name__)
def test_what_test_writes_is_byte_equal_under_false_metadata(
    store: Path, tmp_path: Path, change: Callable[[dict[str, np.ndarray]], None]
) -> None:
    ours = settings(store)
    del ours["trainer"]["logger"]  # with the logger that a user gets
    config = write_config(tmp_path / "config.yaml", ours)
    words = ["--config", str(config), "--run", str(tmp_path / "run")]
    assert main(["fit", *words]) == 0
    assert main(["test", *words]) == 0
    before = contents(tmp_path / "run")
    assert set(WRITTEN) <= {path.name for path in before}
    rewritten(store, change)
    assert main(["test", *words]) == 0
    assert contents(tmp_path / "run") == before
    assert len((tmp_path / "run" / "test_predictions.csv").read_text(encoding="utf-8").splitlines()) == 1 + 18


def contents(run: Path) -> dict[Path, bytes]:
    """Every file of a run."""
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
