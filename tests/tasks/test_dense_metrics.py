"""Metrics of pixels against scikit-learn's, with pixels that nobody knows."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    jaccard_score,
    precision_recall_fscore_support,
)

from wherewhen.semi import UNKNOWN
from wherewhen.tasks.dense import DenseEvaluation, class_table, confusions
from wherewhen.tasks.facts import LabelKind


def random_maps(classes: int, seed: int, count: int = 7, side: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Truth with void, and predictions that are right every second time."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(UNKNOWN, classes, (count, side, side))
    predicted = np.where(rng.random(truth.shape) < 0.5, truth, rng.integers(0, classes, truth.shape)).clip(0)
    return truth, predicted


def evaluation(truth: np.ndarray, predicted: np.ndarray, kind: LabelKind, classes: int, batch: int) -> DenseEvaluation:
    found = DenseEvaluation(kind, [f"c{i}" for i in range(classes)], keep=True)
    for start in range(0, len(truth), batch):
        y, said = (torch.from_numpy(part[start : start + batch]) for part in (truth, predicted))
        logits = 5 * torch.nn.functional.one_hot(said, classes).float() + 0.1 * torch.rand(*said.shape, classes)
        found.add(logits.flatten(0, 2), y)
    return found


@pytest.mark.parametrize("batch", [1, 3, 7])
@pytest.mark.parametrize("seed", range(3))
def test_masks_as_scikit_learn(seed: int, batch: int) -> None:
    truth, predicted = random_maps(5, seed)
    truth[truth == 3] = 1  # a class that is predicted and never there
    found = evaluation(truth, predicted, "mask", 5, batch)
    known = truth != UNKNOWN
    y, said, shown = truth[known], predicted[known], np.unique(truth[known])
    assert found.metrics() == pytest.approx(
        {
            "overall_accuracy": 100 * accuracy_score(y, said),
            "miou": 100 * jaccard_score(y, said, labels=shown, average="macro"),
            "balanced_accuracy": 100 * balanced_accuracy_score(y[said >= 0], said),
        }
    )
    np.testing.assert_array_equal(found.confusion().numpy(), confusion_matrix(y, said, labels=range(5)))
    table = class_table(found.confusion(), found.classes).iloc[shown]
    precision, recall, f1, support = precision_recall_fscore_support(y, said, labels=shown, zero_division=0.0)
    np.testing.assert_allclose(table["iou"], 100 * jaccard_score(y, said, labels=shown, average=None))
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        np.testing.assert_allclose(table[name], 100 * values)
    assert table["pixels"].tolist() == support.tolist()
    assert found.report()["classes_left_out"] == ["c3"]
    np.testing.assert_array_equal(torch.cat(found.maps).numpy(), predicted)


@pytest.mark.parametrize("seed", range(3))
def test_change_as_scikit_learn(seed: int) -> None:
    truth, predicted = random_maps(2, seed)
    found = evaluation(truth, predicted, "change", 2, 3).metrics()
    known = truth != UNKNOWN
    y, said = truth[known], predicted[known]
    precision, recall, f1, _ = precision_recall_fscore_support(y, said, average="binary")
    iou, right = jaccard_score(y, said), accuracy_score(y, said)
    truth_of = {"f1": f1, "precision": precision, "recall": recall, "iou": iou, "overall_accuracy": right}
    assert found == pytest.approx({name: 100 * value for name, value in truth_of.items()})


def test_nothing_is_said_of_what_nobody_knows() -> None:
    nothing = np.full((3, 4, 4), UNKNOWN)
    for kind in ("mask", "change"):
        report = evaluation(nothing, np.zeros_like(nothing), kind, 2, 2).report()
        assert report == {"images": 3, "classes_left_out": ["c0", "c1"]}


def test_change_that_is_never_there_or_never_seen() -> None:
    none, some = np.zeros((3, 4, 4), dtype=np.int64), np.ones((3, 4, 4), dtype=np.int64)
    assert evaluation(none, some, "change", 2, 3).metrics() == {"precision": 0.0, "overall_accuracy": 0.0}
    unseen = evaluation(some, none, "change", 2, 3).metrics()
    assert unseen == {"f1": 0.0, "precision": 0.0, "recall": 0.0, "iou": 0.0, "overall_accuracy": 0.0}


def test_intervals_are_those_of_a_slow_bootstrap_over_images() -> None:
    truth, predicted = random_maps(4, 0, count=12)
    found = evaluation(truth, predicted, "mask", 4, 5)
    rng, drawn = np.random.default_rng(1), []
    for _ in range(2000):
        images = rng.integers(12, size=12)
        again = evaluation(truth[images], predicted[images], "mask", 4, 12)
        drawn.append(again.metrics()["miou"])
    low, high = np.quantile(drawn, (0.025, 0.975))
    assert found.intervals()["miou"] == pytest.approx((low, high), abs=0.5)
    assert found.intervals().keys() == found.metrics().keys()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(2, 6), st.integers(0, 1000))
def test_counts_are_a_loops(count: int, classes: int, seed: int) -> None:
    truth, predicted = random_maps(classes, seed, count, side=3)
    slow = np.zeros((count, classes, classes), dtype=np.int64)
    for image, row, column in np.ndindex(*truth.shape):
        if truth[image, row, column] != UNKNOWN:
            slow[image, truth[image, row, column], predicted[image, row, column]] += 1
    fast = confusions(torch.from_numpy(predicted), torch.from_numpy(truth), classes)
    np.testing.assert_array_equal(fast.numpy(), slow)


def test_maps_that_are_too_many_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wherewhen.tasks.dense.MAPS_BYTES", 100)
    truth, predicted = random_maps(3, 0)
    assert not evaluation(truth, predicted, "mask", 3, 2).keep
    assert evaluation(truth[:2], predicted[:2], "mask", 3, 2).keep
