import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import make_eurosat
from tests.tasks.conftest import settings, write_config
from wherewhen import demo
from wherewhen.cli import main


def toy_configs(folder: Path) -> Path:
    """The configurations of the demo, small enough for a test."""
    for kind in ("world", "eurosat/cpu"):
        (folder / kind).mkdir(parents=True)
        for method in demo.METHODS:
            config = settings(Path("given by the demo"))
            config["data"] |= {"image_size": 16, "labels_per_class": 1, "validation": 0.1}
            config["trainer"] |= {"max_steps": 4, "val_check_interval": 2}
            if method != "stssl_fixmatch":
                del config["model"]["teacher"]
            if method == "supervised":
                del config["model"]["algorithm"]
            write_config(folder / kind / f"{method}.yaml", config)
    return folder


@pytest.fixture(autouse=True)
def _toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = toy_configs(tmp_path / "configs")
    monkeypatch.setattr(demo, "config_folder", lambda: folder)


@pytest.mark.parametrize("kind", ["world", "eurosat"])
def test_the_demo_compares_three_methods_and_is_not_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    out = tmp_path / "out"
    words = ["demo", "--out", str(out), "--seeds", "0", "1"]
    if kind == "eurosat":
        fake = make_eurosat(tmp_path, per_class=5)
        words += ["--eurosat", str(fake.zip), "--locations", str(fake.locations)]
    monkeypatch.setattr(demo, "WORLD_PATCHES", 150)
    assert main(words) == 0
    shown = capsys.readouterr().out
    table = (out / "table.md").read_text(encoding="utf-8")
    assert table in shown + "\n"
    assert ("Synthetic world" in table) == (kind == "world")
    assert all(f"| {name} | " in table for name in demo.METHODS.values())
    assert " ± " in table
    rows = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert len(rows) == 6
    for row in rows:
        test = json.loads((out / row["run"] / "test.json").read_text(encoding="utf-8"))
        assert row["accuracy"] == test["accuracy"]
    for name in ("comparison.png", "examples.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    before = (out / "table.md").read_bytes()
    assert main(words) == 0
    assert (out / "table.md").read_bytes() == before


def test_eurosat_and_its_places_belong_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--eurosat", "EuroSAT_RGB.zip"]) == 2
    assert "--locations" in capsys.readouterr().err


def test_the_table_says_means_and_deviations() -> None:
    same: dict[str, Any] = {
        "labels": 40,
        "images": 7,
        "balanced_accuracy": 40.0,
        "calibration_error": 0.1,
        "seconds": 10.0,
    }
    rows = [
        same | {"method": m, "seed": s, "accuracy": 50.0 + 2 * s, "accepted": None if m == "supervised" else 0.5}
        for m in demo.METHODS
        for s in (0, 1)
    ]
    lines = demo.table("eurosat", rows).splitlines()
    assert lines[0].startswith("EuroSAT RGB, split of the literature: 7 test images, 40 labels, seed 0, 1")
    assert lines[4] == "| supervised | 51.0 ± 1.4 | 40.0 ± 0.0 | 0.100 |  | 10 |"
    assert lines[5].endswith("| 50 % | 10 |")


def test_the_configurations_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert (demo.config_folder() / "eurosat" / "cpu" / "fixmatch.yaml").is_file()
