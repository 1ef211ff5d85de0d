"""A leaderboard from end to end; the cells run in this process, because a new one takes seconds to start."""

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.tasks.conftest import make_store, settings, write_config
from tests.tasks.dense_stores import masked_store
from wherewhen.cli import main
from wherewhen.experiments import jobs, work
from wherewhen.experiments.cells import Cell
from wherewhen.files import alone

STUDENT, TEACHER = (
    Cell("store", "store", 2, "stssl_fixmatch", 1),
    Cell("store", "store", 2, "stssl_fixmatch-teacher", 1),
)

VIT = {"name": "ViT", "patch_size": 8, "width": 16, "depth": 1, "heads": 2, "stem": "convolutions"}


def in_this_process(
    all_jobs: Sequence[jobs.Job], workers: Sequence[jobs.Environment], on_done: Callable[[Path], None]
) -> list[jobs.Job]:
    failed = []
    for job in all_jobs:
        if work.main([str(folder) for folder in job.folders]):
            failed.append(job)
        for folder in job.folders:
            if (folder / "result.json").exists():
                on_done(folder)
    return failed


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "run", in_this_process)


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """FixMatch and ST-SSL, 4 steps."""
    folder = tmp_path / "configs"
    folder.mkdir()
    config = settings(Path("given by the leaderboard"))
    config["trainer"] |= {"max_steps": 4, "val_check_interval": 4}
    write_config(folder / "stssl_fixmatch.yaml", config)
    del config["model"]["teacher"]
    write_config(folder / "fixmatch.yaml", config)
    return folder


def board(tmp_path: Path, configs: Path, *words: str) -> int:
    call = ["--store", str(tmp_path / "store"), "--configs", str(configs), "--labels", "2", "--device", "cpu"]
    return main(["experiment", "leaderboard", "--out", str(tmp_path / "out"), *call, *words])


def cells(tmp_path: Path) -> dict[Path, int]:
    """Results by the time of their writing."""
    return {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("result.json")}


def test_a_leaderboard_compares_controls_and_is_not_done_twice(
    store: Path, configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert board(tmp_path, configs, "--controls", "--seeds", "1") == 0
    out = tmp_path / "out"
    text = (out / "leaderboard.md").read_text(encoding="utf-8")
    shown = capsys.readouterr().out
    assert text in shown
    assert "15/15" in shown
    for row in ("colour and gradient", "FixMatch + ST-SSL (student) |", "(teacher: sees place", "place and time alone"):
        assert row in text
    assert "| FixMatch + ST-SSL (student) − FixMatch |" in text
    assert "(student), permuted metadata − FixMatch |" in text
    assert text.count("centre pixel alone") == 1  # the better of two
    assert "experiment leaderboard --out" in text
    assert (out / "leaderboard.png").read_bytes().startswith(b"\x89PNG")
    with (out / "leaderboard.csv").open(encoding="utf-8") as file:
        lines = {line["row"]: line for line in csv.DictReader(file)}
    assert len(lines) == 15
    assert lines["centre_pixel_forest"]["labels"] == ""
    student, far = lines["stssl_fixmatch"], lines["stssl_fixmatch-student-far"]
    for name in ("accuracy", "accuracy_interval", "cross_entropy", "calibration_error"):
        assert student[name] == far[name]
    assert lines["stssl_fixmatch-teacher"]["cross_entropy"] != lines["stssl_fixmatch-teacher-far"]["cross_entropy"]
    assert float(student["flops"]) > float(lines["fixmatch"]["flops"]) > 0
    assert float(student["seconds"]) > 0
    assert student["steps"] == "4"
    run = json.loads((STUDENT.folder(out) / "test.json").read_text(encoding="utf-8"))
    assert float(student["accuracy"]) == run["accuracy"]
    chosen = [
        (c.folder(out) / "labelled.csv").read_bytes() for c in (STUDENT, Cell("store", "store", 2, "fixmatch", 1))
    ]
    assert chosen[0] == chosen[1]

    before = cells(tmp_path)
    (TEACHER.folder(out) / "result.json").unlink()
    assert board(tmp_path, configs, "--controls", "--seeds", "1") == 0
    after = cells(tmp_path)
    assert [path.parent for path, time in after.items() if before[path] != time] == [TEACHER.folder(out)]
    with alone(out):  # as another leaderboard would be
        assert board(tmp_path, configs) == 2
    assert "another run is at work" in capsys.readouterr().err
    shutil.rmtree(store)
    shutil.rmtree(configs)
    assert main(["experiment", "leaderboard", "--report-only", "--out", str(out)]) == 0
    assert (out / "leaderboard.md").read_text(encoding="utf-8") == text


def test_blocks_and_budgets_of_ones_own_have_their_tables(store: Path, configs: Path, tmp_path: Path) -> None:
    config = settings(Path("x"), algorithm=None, teacher=None)
    config["data"]["labels_per_class"] = None
    config["trainer"] |= {"max_steps": 2, "val_check_interval": 2}
    write_config(configs / "all_labels.yaml", config)
    words = ("--splits", "store", "blocks", "--block-km", "200", "--labels", "1", "2", "--seeds", "1", "2")
    assert board(tmp_path, configs, *words, "--rows", "all_labels", "place_neighbour") == 0
    text = (tmp_path / "out" / "leaderboard.md").read_text(encoding="utf-8")
    assert "## The store's own split\n\n34 training patches, 18 test patches." in text
    assert "## Blocks of 200 km, gap 5 km" in text
    assert text.count("### 1 label a class") == text.count("| image model, all labels |") == 2
    assert len(cells(tmp_path)) == 2 * 2 * 3  # splits, seeds; two budgets and one of its own


def test_a_failing_cell_does_not_keep_the_others(
    store: Path, configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = settings(Path("x"), encoder={"name": "ViT", "patch_size": 5})
    write_config(configs / "a_broken.yaml", broken)
    rows = ("--rows", "a_broken", "a_broken-teacher", "place_neighbour", "--seeds", "1", "2")
    assert board(tmp_path, configs, *rows) == 1
    assert "patch size 5" in capsys.readouterr().out
    text = (tmp_path / "out" / "leaderboard.md").read_text(encoding="utf-8")
    assert "| a_broken | – (0 of 2) |" in text
    (tmp_path / "out" / "cells/store/store/labels-2/place_neighbour/seed-2/result.json").unlink()
    assert main(["experiment", "leaderboard", "--report-only", "--out", str(tmp_path / "out")]) == 0
    assert "(1 of 2)" in (tmp_path / "out" / "leaderboard.md").read_text(encoding="utf-8")


def test_a_result_of_other_settings_is_refused_by_its_folder(
    store: Path, configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--rows", "place_neighbour", "--seeds", "1")
    assert board(tmp_path, configs, *words) == 0
    shutil.move(store, tmp_path / "moved")
    shutil.move(tmp_path / "moved", store)
    assert board(tmp_path, configs, *words) == 0
    shutil.rmtree(store)
    make_store(store, seed=1)
    assert board(tmp_path, configs, *words) == 2
    error = capsys.readouterr().err
    assert str(Cell("store", "store", 2, "place_neighbour", 1).folder(tmp_path / "out")) in error
    assert "remove that folder" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rows", "mixmatch"], "no row 'mixmatch'"),
        (["--labels", "2", "99"], "99 labels a class"),
        (["--workers", "0"], "--workers is 0"),
        (["--splits", "blocks", "--gap-km", "9000"], "smaller"),
        (["--configs", "nowhere"], "nowhere holds no configuration"),
        (["--store", "nowhere"], "nowhere is not a folder"),
        (["--report-only"], "plan.json"),
    ],
)
def test_mistakes_are_named_before_anything_runs(
    store: Path,
    configs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    assert board(tmp_path, configs, *words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "plan.json").exists()


def test_stores_that_cannot_be_compared_are_refused(
    store: Path, configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_store(tmp_path / "other" / "store").path
    assert board(tmp_path, configs, "--store", str(store), str(other)) == 2
    assert "one name" in capsys.readouterr().err
    many = make_store(tmp_path / "many", labels=np.ones((60, 3), dtype=np.int64)).path
    assert board(tmp_path, configs, "--store", str(many)) == 2
    assert "'colour_statistics' is for one label a patch" in capsys.readouterr().err
    assert board(tmp_path, configs, "--store", str(store), str(many)) == 2
    assert "differ in their kind of label" in capsys.readouterr().err


def test_bad_yaml_is_named(store: Path, configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (configs / "bad.yaml").write_text("{", encoding="utf-8")
    assert board(tmp_path, configs) == 2
    assert "bad.yaml is not valid YAML" in capsys.readouterr().err


@pytest.mark.slow
def test_a_worker_is_a_process_of_its_own(
    store: Path, configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert board(tmp_path, configs, "--rows", "place_neighbour", "fixmatch", "--seeds", "1") == 0
    assert len(cells(tmp_path)) == 2


def test_masks_are_compared_by_intersection_over_union(tmp_path: Path, configs: Path) -> None:
    masked_store(tmp_path / "store")
    for path in configs.glob("*.yaml"):
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        config["model"] |= {"encoder": VIT, "decoder": {"name": "UNet", "width": 8}}
        config["data"] |= {"target": "mask", "labels_per_class": None, "label_share": 0.5}
        write_config(path, config)
    call = ["experiment", "algorithms", "--store", str(tmp_path / "store"), "--configs", str(configs)]
    assert main([*call, "--labels", "0.5", "--seeds", "1", "--device", "cpu", "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "algorithms.md").read_text(encoding="utf-8")
    assert "| method | mIoU (%) | overall accuracy (%) | labels |" in text  # the paper has none of masks
    assert "### 50 % of the labels" in text
    with (tmp_path / "out" / "algorithms.csv").open() as file:
        assert all(0 < float(line["miou"]) < 100 for line in csv.DictReader(file))


def test_rows_for_labels_of_patches_are_refused_where_masks_are_learnt(
    tmp_path: Path, configs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masked_store(tmp_path / "store")
    for path in configs.glob("*.yaml"):
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        config["data"]["target"] = "mask"
        write_config(path, config)
    assert board(tmp_path, configs) == 2
    assert "has masks; choose with --rows" in capsys.readouterr().err
