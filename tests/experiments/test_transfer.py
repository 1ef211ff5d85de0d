"""SACo's table at toy size: pre-trainings, three tasks from each, a table; what is finished is not run again."""

import csv
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.test_leaderboard import in_this_process
from tests.tasks.conftest import write_config
from tests.tasks.dense_stores import change_store
from tests.tasks.test_configs import ROOT, read
from wherewhen.cli import main
from wherewhen.experiments import jobs
from wherewhen.ingest import world

TOY: dict[str, Any] = {"max_steps": 2, "accelerator": "cpu"}
ROWS = ("scratch", "moco_v2")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command line of a table of two rows."""
    home = tmp_path_factory.mktemp("transfer")
    store = world.prepare(home / "store", patches=80, visits=2, periods=2).path
    for folder in ("pretrain", "tasks"):
        (home / folder).mkdir()
    for row in ROWS[1:]:
        config = read(ROOT / "pretrain" / f"{row}.yaml")
        config["model"]["queue"] = 16
        config["data"] |= {"batch_size": 4}
        config["trainer"] |= TOY
        write_config(home / "pretrain" / f"{row}.yaml", config | {"save_every": 2, "probe": str(store)})
    for task in ("classify", "segment", "change"):
        config = read(ROOT / "downstream" / f"{task}.yaml")
        config["data"] |= {"labelled_batch": 4}
        config["data"] |= {"label_share": 0.5} if "label_share" in config["data"] else {"labels_per_class": 1}
        config["trainer"] |= TOY
        config["trainer"].pop("val_check_interval")
        write_config(home / "tasks" / f"{task}.yaml", config)
    where = ["--places", str(store), "--store", str(store), "--configs", str(home / "pretrain")]
    where += ["--tasks", str(home / "tasks"), "--rows", *ROWS, "--seeds", "1", "--workers", "1", "--device", "cpu"]
    return ["experiment", "transfer", *where, "--out", str(home / "out")]


def test_the_table_is_made_once_and_from_every_pretraining(words: list[str]) -> None:
    out = Path(words[-1])
    assert main(words) == 0
    with (out / "transfer.csv").open() as file:
        cells = list(csv.DictReader(file))
    assert len(cells) == 2 * 3 + 1
    found = {(cell["store"], cell["row"]): cell for cell in cells}
    for row in ROWS:
        assert 0 <= float(found["classify", row]["accuracy"]) <= 100
        assert 0 <= float(found["segment", row]["miou"]) <= 100
        assert 0 <= float(found["change", row]["f1"]) <= 100
    assert float(found["pretrain", "moco_v2"]["knn"]) > 0
    text = (out / "transfer.md").read_text(encoding="utf-8")
    assert "| MoCo v2 |" in text
    assert "MoCo v2 − from scratch, mIoU" in text
    assert (out / "transfer.png").stat().st_size > 10_000
    began = out / "cells" / "segment" / "store" / "labels-own" / "moco_v2" / "seed-1" / "config.yaml"
    assert "encoder.safetensors" in began.read_text(encoding="utf-8")

    before = {path: path.stat().st_mtime_ns for path in out.glob("cells/**/result.json")}
    assert main(words) == 0
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("cells/**/result.json")}


def test_a_finished_cell_of_other_settings_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    config = Path(words[words.index("--tasks") + 1]) / "change.yaml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("learning_rate: 0.0005", "learning_rate: 0.0004"), encoding="utf-8")
    assert config.read_text(encoding="utf-8") != text
    try:
        assert main(words) == 2
    finally:
        config.write_text(text, encoding="utf-8")
    assert "holds the result of other settings" in capsys.readouterr().err


def test_a_store_without_labels_can_be_asked_for_change_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "run", in_this_process)
    change_store(tmp_path / "store")
    config = read(ROOT / "pretrain" / "moco_v2.yaml")
    config["model"]["queue"] = 16
    config["data"] |= {"batch_size": 4, "splits": None}
    config["trainer"] |= TOY
    (tmp_path / "pretrain").mkdir()
    write_config(tmp_path / "pretrain" / "moco_v2.yaml", config | {"save_every": 2})
    config = read(ROOT / "downstream" / "change.yaml")
    config["data"] |= {"labelled_batch": 4}
    config["trainer"] |= TOY
    config["trainer"].pop("val_check_interval")
    (tmp_path / "tasks").mkdir()
    write_config(tmp_path / "tasks" / "change.yaml", config)
    where = ["--places", str(tmp_path / "store"), "--store", str(tmp_path / "store"), "--seeds", "1", "--workers", "1"]
    where += ["--configs", str(tmp_path / "pretrain"), "--tasks", str(tmp_path / "tasks"), "--device", "cpu"]
    assert main(["experiment", "transfer", *where, "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "transfer.md").read_text(encoding="utf-8")
    assert text.startswith("| pre-training | change precision | recall | F1 | seconds of pre-training |")
    rows = [line.split(" |")[0] for line in text.splitlines()[2:4]]
    assert rows == ["| from scratch", "| MoCo v2"]  # and no other: no configuration says what they are


def test_a_folder_without_tasks_is_refused(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = words.index("--tasks") + 1
    assert main([*words[:at], str(tmp_path), *words[at + 1 : -1], str(tmp_path / "out")]) == 2
    assert "holds none of classify, segment, change" in capsys.readouterr().err


def test_a_store_without_what_a_task_learns_is_refused_before_any_training(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = world.prepare(tmp_path / "alone", patches=20).path
    at = words.index("--store") + 1
    assert main([*words[:at], str(alone), *words[at + 1 : -1], str(tmp_path / "out")]) == 2
    assert "has no pairs of images with a change mask" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment", "transfer", "--out", str(tmp_path / "out")]) == 2
    assert "--places, --store, --configs and --tasks are missing" in capsys.readouterr().err
