"""Training on the labelled patches that a file names."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tasks.conftest import make_store, settings, write_config
from wherewhen.cli import main
from wherewhen.store import PatchStore


def command(folder: Path, store: Path, file: Path, **data: Any) -> list[str]:
    config = settings(store)
    config["data"] |= {"labels_per_class": None, "labelled_file": str(file), "validation": 0.0, **data}
    config["trainer"] |= {"max_steps": 4, "val_check_interval": 4}
    return ["--config", str(write_config(folder / "config.yaml", config)), "--run", str(folder / "run")]


def labelled(folder: Path) -> list[str]:
    return (folder / "run" / "labelled.csv").read_text(encoding="utf-8").splitlines()[1:]


@pytest.fixture
def named(store: Path, tmp_path: Path) -> Path:
    """A list of two training patches a class."""
    opened = PatchStore.open(store)
    rows = np.flatnonzero(opened.table["split"] == "train")
    chosen = [opened.table["id"].iloc[row] for c in range(3) for row in rows[opened.labels()[rows] == c][3:5]]
    (tmp_path / "named.txt").write_text("\n".join(chosen))
    return tmp_path / "named.txt"


def test_training_sees_these_labels_and_no_others(store: Path, named: Path, tmp_path: Path) -> None:
    words = command(tmp_path, store, named)
    assert main(["fit", *words]) == 0
    assert main(["test", *words]) == 0
    assert set(labelled(tmp_path)) == set(named.read_text().split())
    first = (tmp_path / "run" / "metrics.csv").read_bytes()
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    assert main(["fit", *command(drawn, store, named, labels_per_class=2, labelled_file=None)]) == 0
    assert (drawn / "run" / "metrics.csv").read_bytes() != first
    table = tmp_path / "table"  # what a run has used is a list again
    table.mkdir()
    assert main(["fit", *command(table, store, tmp_path / "run" / "labelled.csv")]) == 0
    assert (table / "run" / "metrics.csv").read_bytes() == first


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"labels_per_class": 2}, "labels_per_class and labelled_file are given; a label budget is one of them"),
        ({"label_share": 0.2}, "label_share and labelled_file are given"),
        ({"validation": 0.9}, "held out for validation; set data.validation to 0"),
        ({"labelled_file": "nowhere.csv"}, "there is no file nowhere.csv"),
        ({"labelled_file": "train.pkl"}, "is pickled"),
        ({"block_km": 300.0, "test_share": 0.7}, "outside the training part"),
    ],
)
def test_mistakes_are_named_before_training(
    store: Path, named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: dict[str, Any], message: str
) -> None:
    assert main(["fit", *command(tmp_path, store, named, **data)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_does_not_go_on_with_other_labels(
    store: Path, named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command(tmp_path, store, named)
    assert main(["fit", *words]) == 0
    before = labelled(tmp_path)
    named.write_text("\n".join(named.read_text().split()[1:]))
    assert main(["fit", *words]) == 2
    assert "holds a run with other labelled patches" in capsys.readouterr().err
    assert labelled(tmp_path) == before


def test_many_labels_take_a_list_too(tmp_path: Path) -> None:
    labels = (np.random.default_rng(0).random((60, 3)) < 0.4).astype(np.int64)
    store = make_store(tmp_path / "store", labels=labels).path
    (tmp_path / "named.csv").write_text("patch\n0\n1\n2\n3\n")
    words = command(tmp_path, store, tmp_path / "named.csv")
    words += ["--model.algorithm.threshold", "[0.95,0.7]"]
    assert main(["fit", *words]) == 0
    assert labelled(tmp_path) == ["0", "1", "2", "3"]
