from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from wherewhen.semi import UNKNOWN
from wherewhen.tasks.metrics import Decisions, class_table, metrics

Arrays = tuple[np.ndarray, np.ndarray]


def many(seed: int = 0, images: int = 200, classes: int = 6, unknown: float = 0.0) -> Arrays:
    """Probabilities with ties that know something, and labels of imbalanced classes."""
    rng = np.random.default_rng(seed)
    y = (rng.random((images, classes)) < np.linspace(0.05, 0.6, classes)).astype(np.int64)
    p = (0.3 * y + 0.7 * rng.random((images, classes))).round(2).astype(np.float32)
    y[rng.random(y.shape) < unknown] = UNKNOWN
    return p, y


def one(seed: int = 0, images: int = 200, classes: int = 5) -> Arrays:
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, images, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    logits = rng.normal(size=(images, classes)) + 1.5 * np.eye(classes)[y]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return p.astype(np.float32), y


def decide(kind: Any, p: np.ndarray, y: np.ndarray) -> Decisions:
    return Decisions.of(kind, torch.from_numpy(p), torch.from_numpy(y))


def scores(kind: Any, p: np.ndarray, y: np.ndarray) -> dict[str, float]:
    return metrics(kind, decide(kind, p, y))


def slow_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Sum over bins of share × |how often right − how sure|."""
    error = 0.0
    for lower, upper in zip(np.linspace(0, 1, bins + 1)[:-1], np.linspace(0, 1, bins + 1)[1:], strict=True):
        inside = (confidence >= lower) & ((confidence < upper) | (upper == 1))
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return error


@pytest.mark.parametrize("seed", range(3))
def test_many_labels_are_scored_as_scikit_learn_does(seed: int) -> None:
    p, y = many(seed)
    ours = scores("many", p, y)
    assert ours == pytest.approx(
        {
            "map_macro": 100 * sk.average_precision_score(y, p, average="macro"),
            "map_micro": 100 * sk.average_precision_score(y, p, average="micro"),
            "f1_macro": 100 * sk.f1_score(y, p >= 0.5, average="macro"),
            "f1_micro": 100 * sk.f1_score(y, p >= 0.5, average="micro"),
            "calibration_error": slow_calibration_error(p.ravel(), y.ravel()),
        },
        abs=1e-4,
    )


@pytest.mark.parametrize("seed", range(3))
def test_one_label_is_scored_as_scikit_learn_does(seed: int) -> None:
    p, y = one(seed)
    assert scores("one", p, y) == pytest.approx(
        {
            "accuracy": 100 * sk.accuracy_score(y, p.argmax(1)),
            "balanced_accuracy": 100 * sk.balanced_accuracy_score(y, p.argmax(1)),
            "calibration_error": slow_calibration_error(p.max(1), p.argmax(1) == y),
            "cross_entropy": sk.log_loss(y, p, labels=range(5)),
        },
        abs=1e-4,
    )
    table = class_table(decide("one", p, y), list("abcde"))
    assert table["support"].tolist() == np.bincount(y).tolist()
    for c in range(5):
        assert table["recall"].iloc[c] == pytest.approx(100 * (p.argmax(1) == c)[y == c].mean(), abs=1e-4)
        assert table["average_precision"].iloc[c] == pytest.approx(100 * sk.average_precision_score(y == c, p[:, c]))
    assert table["f1"].tolist() == pytest.approx(list(100 * sk.f1_score(y, p.argmax(1), average=None)), abs=1e-4)


def test_decisions_that_nobody_knows_are_left_out() -> None:
    p, y = many(unknown=0.4)
    ours, table = scores("many", p, y), class_table(decide("many", p, y), list("abcdef"))
    for c in range(6):
        known = y[:, c] != UNKNOWN
        truth, chance = y[known, c], p[known, c]
        assert table["support"].iloc[c] == truth.sum()
        assert table["average_precision"].iloc[c] == pytest.approx(100 * sk.average_precision_score(truth, chance))
        assert table["f1"].iloc[c] == pytest.approx(100 * sk.f1_score(truth, chance >= 0.5), abs=1e-4)
        assert table["recall"].iloc[c] == pytest.approx(100 * sk.recall_score(truth, chance >= 0.5), abs=1e-4)
    known = y != UNKNOWN
    assert ours["map_micro"] == pytest.approx(100 * sk.average_precision_score(y[known], p[known]))
    assert ours["calibration_error"] == pytest.approx(slow_calibration_error(p[known], y[known]), abs=1e-6)
    p, y = one()
    y[::3] = UNKNOWN
    assert scores("one", p, y) == pytest.approx(scores("one", p[y != UNKNOWN], y[y != UNKNOWN]))


@pytest.mark.parametrize("kind", ["one", "many"])
def test_a_class_that_no_image_shows_is_no_zero_and_no_nan(kind: Any) -> None:
    p, y = one() if kind == "one" else many()
    if kind == "one":
        p, y = p[y != 2], y[y != 2]
    else:
        y[:, 2] = 0
    ours, table = scores(kind, p, y), class_table(decide(kind, p, y), [str(c) for c in range(p.shape[1])])
    assert table["support"].iloc[2] == 0
    assert table.drop(columns="support").iloc[2].isna().all()
    assert table.drop(index="2").notna().all(axis=None)
    assert np.isfinite(list(ours.values())).all()
    others = [c for c in range(p.shape[1]) if c != 2]
    if kind == "one":
        assert ours["balanced_accuracy"] == pytest.approx(
            100 * sk.recall_score(y, p.argmax(1), labels=others, average="macro")
        )
    else:
        assert ours["map_macro"] == pytest.approx(100 * sk.average_precision_score(y[:, others], p[:, others]))
        assert ours["f1_macro"] == pytest.approx(100 * sk.f1_score(y[:, others], p[:, others] >= 0.5, average="macro"))
        guessed = p[:, 2] >= 0.5
        assert guessed.any()  # false alarms of the absent class count in the micro mean all the same
        assert ours["f1_micro"] == pytest.approx(100 * sk.f1_score(y, p >= 0.5, average="micro"), abs=1e-4)


def test_without_a_known_label_nothing_is_said() -> None:
    p, y = one()
    assert scores("one", p, np.full_like(y, UNKNOWN)) == {}
    p, y = many()
    assert scores("many", p, np.full_like(y, UNKNOWN)) == {}
    assert scores("many", p, np.zeros_like(y)) == {}


def test_the_threshold_belongs_to_the_positive_side() -> None:
    p, y = np.array([[0.5], [0.49]], dtype=np.float32), np.array([[1], [1]])
    assert decide("many", p, y).predicted.tolist() == [[1], [0]]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["one", "many"]))
def test_the_order_of_images_does_not_matter(seed: int, kind: Any) -> None:
    p, y = one(seed, 40) if kind == "one" else many(seed, 40, unknown=0.2)
    order = np.random.default_rng(seed).permutation(len(p))
    assert scores(kind, p[order], y[order]) == pytest.approx(scores(kind, p, y), abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_two_classes_are_one_binary_label(seed: int) -> None:
    p, y = many(seed, 60, 1)
    p = np.where(p == 0.5, 0.51, p).astype(np.float32)
    y[0] = 1
    two = class_table(decide("one", np.hstack((1 - p, p)), y[:, 0]), ["absent", "present"])
    alone = class_table(decide("many", p, y), ["present"])
    assert two.iloc[1].tolist() == pytest.approx(alone.iloc[0].tolist(), abs=1e-4)


def test_many_decisions_are_calibrated_without_rounding_away() -> None:
    """Sums in float32 are off by 3.5e-5 here, and ten times that on five million decisions."""
    p, y = np.full((500_000, 1), 0.01, dtype=np.float32), np.zeros((500_000, 1), dtype=np.int64)
    y[:5_000] = 1
    assert scores("many", p, y)["calibration_error"] == pytest.approx(0, abs=1e-8)
