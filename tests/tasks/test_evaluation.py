import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.tasks.test_metrics import many, one
from wherewhen.semi import UNKNOWN
from wherewhen.tasks.evaluation import HEADLINE, Evaluation

CLASSES = ("bog, peat", "field", "forest", "river", "town")


def evaluation(kind: Any, y: np.ndarray, p: np.ndarray, batches: int = 3) -> Evaluation:
    """Of canonical logits with these probabilities, added in batches."""
    chance = torch.from_numpy(p).double()
    logits = chance.log() if kind == "one" else torch.stack((torch.zeros_like(chance), chance.logit()), -1)
    made = Evaluation(kind, CLASSES)
    for some, labels in zip(logits.chunk(batches), torch.from_numpy(y).chunk(batches), strict=True):
        made.add(some, labels)
    return made


def example(kind: Any) -> Evaluation:
    p, y = one() if kind == "one" else many(classes=5, unknown=0.1)
    y[::20] = UNKNOWN
    return evaluation(kind, y, p.clip(0.01, 0.99))


def ids(count: int = 200) -> list[str]:
    return [f"patch, {i}" for i in range(count)]


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("kind", ["one", "many"])
def test_the_files_say_the_same_as_the_metrics(kind: Any, tmp_path: Path) -> None:
    made = example(kind)
    report = made.write(tmp_path, ids())
    assert json.loads((tmp_path / "test.json").read_text(encoding="utf-8")) == report
    assert made.metrics().items() <= report.items()
    low, high = report[f"{HEADLINE[kind]}_interval"]
    assert low < report[HEADLINE[kind]] < high
    assert report["images"] == 200
    assert report["classes_left_out"] == []
    table = pd.read_csv(tmp_path / "test_classes.csv", index_col="class")
    assert list(table.index) == list(CLASSES)
    assert table["support"].sum() == int((made.decisions().truth == 1).sum())
    mean = {"one": ("balanced_accuracy", "recall"), "many": ("map_macro", "average_precision")}[kind]
    assert table[mean[1]].mean() == pytest.approx(report[mean[0]], abs=1e-3)


def test_the_confusion_matrix_as_a_table(tmp_path: Path) -> None:
    made = example("one")
    made.write(tmp_path, ids())
    head, *lines = rows(tmp_path / "confusion.csv")
    assert head == ["", *CLASSES]
    assert [line[0] for line in lines] == list(CLASSES)
    counts = np.array([line[1:] for line in lines]).astype(int)
    p, y = made.all()
    for truth, guess in np.ndindex(5, 5):
        assert counts[truth, guess] == ((y == truth) & (p.argmax(1) == guess)).sum()
    assert counts.sum() == 190


def test_predictions_are_a_row_an_image(tmp_path: Path) -> None:
    for kind in ("one", "many"):
        made = example(kind)
        made.write(tmp_path, ids())
        head, *lines = rows(tmp_path / "test_predictions.csv")
        assert [line[0] for line in lines] == ids()
        p, y = made.all()
        if kind == "one":
            assert head == ["id", "label", "prediction", "probability"]
            assert [line[1] for line in lines] == [CLASSES[i] if i >= 0 else "" for i in y]
            assert [line[2] for line in lines] == [CLASSES[i] for i in p.argmax(1)]
            np.testing.assert_allclose([float(line[3]) for line in lines], p.max(1).values, atol=1e-6)
        else:
            assert head == ["id", *CLASSES]
            np.testing.assert_allclose(np.array([line[1:] for line in lines]).astype(float), p, atol=1e-6)


@pytest.mark.parametrize("kind", ["one", "many"])
def test_a_class_that_no_image_shows_is_named_and_leaves_no_nan(kind: Any, tmp_path: Path) -> None:
    p, y = one() if kind == "one" else many(classes=5)
    if kind == "one":
        y = np.where(y == 3, UNKNOWN, y)
    else:
        y[:, 3] = 0
    report = evaluation(kind, y, p.clip(0.01, 0.99)).write(tmp_path, ids())
    assert report["classes_left_out"] == ["river"]
    json.dumps(report, allow_nan=False)
    assert rows(tmp_path / "test_classes.csv")[4] == ["river", "0", "", "", ""]


@pytest.mark.parametrize("kind", ["one", "many"])
def test_without_a_known_label_there_are_predictions_and_no_metrics(kind: Any, tmp_path: Path) -> None:
    p, y = one() if kind == "one" else many(classes=5)
    report = evaluation(kind, np.full_like(y, UNKNOWN), p.clip(0.01, 0.99)).write(tmp_path, ids())
    assert report == {"images": 200, "classes_left_out": list(CLASSES)}
    assert len(rows(tmp_path / "test_predictions.csv")) == 201


@pytest.mark.parametrize("kind", ["one", "many"])
def test_equal_predictions_give_equal_bytes(kind: Any, tmp_path: Path) -> None:
    for name, batches in (("a", 1), ("b", 7)):
        p, y = one() if kind == "one" else many(classes=5)
        evaluation(kind, y, p.clip(0.01, 0.99), batches).write(tmp_path / name, ids())
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert {"test.json", "test_classes.csv", "test_predictions.csv"} <= set(files)
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
