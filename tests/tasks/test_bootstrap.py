from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from tests.tasks.test_metrics import decide, many, one
from wherewhen.semi import UNKNOWN
from wherewhen.tasks.bootstrap import (
    AT_ONCE,
    Ranking,
    average_precision,
    intervals,
    many_label_figures,
    one_label_figures,
    resamples,
)
from wherewhen.tasks.metrics import metrics


def weights_of(images: int, draws: int = 4) -> torch.Tensor:
    return torch.cat(list(resamples(images, draws, seed=3)), dim=1)


@pytest.mark.parametrize("unknown", [0.0, 0.3])
def test_every_draw_is_scored_as_scikit_learn_scores_the_drawn_images(unknown: float) -> None:
    p, y = many(unknown=unknown, images=80)
    y[:, 2] = y[:, 2].clip(max=0)  # nobody shows this class; its false alarms count in the micro mean
    weights = weights_of(80)
    ours = many_label_figures(decide("many", p, y))(weights)
    for draw, weight in enumerate(weights.T.int().numpy()):
        rows = np.repeat(np.arange(80), weight)
        drawn, truth = p[rows], y[rows]
        known = [truth[:, c] != UNKNOWN for c in range(6)]
        shown = [c for c in range(6) if (truth[:, c] == 1).any()]
        parts = [(truth[known[c], c], drawn[known[c], c]) for c in shown]
        every = truth != UNKNOWN
        theirs = {
            "map_macro": np.mean([sk.average_precision_score(*part) for part in parts]),
            "map_micro": sk.average_precision_score(truth[every], drawn[every]),
            "f1_macro": np.mean([sk.f1_score(t, q >= 0.5) for t, q in parts]),
            "f1_micro": sk.f1_score(truth[every], drawn[every] >= 0.5),
        }
        for name, value in theirs.items():
            assert ours[name][draw].item() == pytest.approx(100 * value, abs=1e-3)


def test_every_draw_of_one_label_is_scored_likewise() -> None:
    p, y = one(images=60)
    weights = weights_of(60)
    ours = one_label_figures(decide("one", p, y))(weights)
    for draw, weight in enumerate(weights.T.int().numpy()):
        rows = np.repeat(np.arange(60), weight)
        assert ours["accuracy"][draw].item() == pytest.approx(100 * (p.argmax(1) == y)[rows].mean(), abs=1e-3)
        balanced = sk.balanced_accuracy_score(y[rows], p.argmax(1)[rows])
        assert ours["balanced_accuracy"][draw].item() == pytest.approx(100 * balanced, abs=1e-3)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), count=st.integers(1, 12))
def test_average_precision_with_ties_and_weights(data: st.DataObject, count: int) -> None:
    lists = st.lists(st.integers(0, 3), min_size=count, max_size=count)
    score, truth, weight = (np.array(data.draw(lists)) for _ in range(3))
    truth = truth > 1
    if not (truth & (weight > 0)).any():
        return
    ranking = Ranking.of(torch.from_numpy(score), torch.from_numpy(truth), torch.arange(count))
    ours = average_precision(ranking, torch.from_numpy(weight.astype(np.float32))[:, None])
    theirs = sk.average_precision_score(truth, score, sample_weight=weight)
    assert ours.item() == pytest.approx(100 * theirs, abs=1e-3)


def test_a_draw_is_as_many_images_with_replacement() -> None:
    weights = weights_of(30, AT_ONCE + 7)
    assert weights.shape == (30, AT_ONCE + 7)
    assert (weights.sum(0) == 30).all()
    assert weights.mean(1).std() < 0.3
    assert (weights == 0).float().mean().item() == pytest.approx((1 - 1 / 30) ** 30, abs=0.03)


def test_the_interval_of_an_accuracy_is_the_binomials() -> None:
    y = np.zeros(400, dtype=np.int64)
    p = np.where(np.arange(400)[:, None] < 280, (0.9, 0.1), (0.2, 0.8)).astype(np.float32)
    low, high = intervals("one", decide("one", p, y), draws=4000)["accuracy"]
    assert (low, high) == pytest.approx(stats.binom(400, 0.7).ppf((0.025, 0.975)) / 4, abs=0.4)


@pytest.mark.parametrize("kind", ["one", "many"])
def test_intervals_hold_their_metric_and_depend_on_nothing_but_the_predictions(kind: Any) -> None:
    decisions = decide(kind, *(one() if kind == "one" else many(unknown=0.1)))
    values, ranges = metrics(kind, decisions), intervals(kind, decisions)
    assert set(ranges) == set(values) - {"calibration_error", "cross_entropy"}
    for name, (low, high) in ranges.items():
        assert low < values[name] < high
    assert intervals(kind, decisions) == ranges
    assert intervals(kind, decisions, seed=1) != ranges


def test_a_class_that_few_draws_show_gives_no_nan() -> None:
    p, y = many(images=30)
    y[:, 0], y[:, 1] = 0, 0
    y[0, 1] = 1  # absent from a third of the draws
    assert np.isfinite(list(intervals("many", decide("many", p, y)).values())).all()
    p, y = p[:3, :1], np.array([[1], [0], [0]])  # the only class is absent from a third of the draws
    assert np.isfinite(list(intervals("many", decide("many", p, y)).values())).all()
    assert intervals("many", decide("many", p, np.zeros_like(y))) == {}
