"""Bootstrap intervals of metrics: how much they would differ on another test set of the same kind.

Images are drawn with replacement, N of N, and weigh as often as they were drawn. So every metric is computed for many
draws at once, and images are sorted by probability once for all of them.

Notation: N images, C classes, D decisions (image and class), P of them positive, R draws.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wherewhen.semi import UNKNOWN
from wherewhen.tasks.facts import LabelKind
from wherewhen.tasks.metrics import Decisions

DRAWS, LEVEL = 1000, 0.95
AT_ONCE = 16  # draws: their weights of an image are one line of the processor's cache

Figures = dict[str, Tensor]  # name -> (R,) in %
Interval = tuple[float, float]


def intervals(kind: LabelKind, decisions: Decisions, draws: int = DRAWS, seed: int = 0) -> dict[str, Interval]:
    """Percentile intervals at `LEVEL` of metrics in %, by the name of the metric; none without a known label.

    A class that a draw lacks is left out of that draw's means over classes.

    Args:
        kind: One label gives `accuracy` and `balanced_accuracy`; many give `map_macro`, `map_micro`, `f1_macro` and
            `f1_micro`.
        decisions: Of the evaluated images.
        draws: How many.
        seed: Of the draws.
    """
    if not decisions.support.any():
        return {}
    figures = one_label_figures(decisions) if kind == "one" else many_label_figures(decisions)
    return intervals_of(figures, len(decisions.truth), draws, seed)


def intervals_of(
    figures: Callable[[Tensor], Figures], count: int, draws: int = DRAWS, seed: int = 0
) -> dict[str, Interval]:
    """Percentile intervals of the figures (R,) that weights (N, R) of `count` images give."""
    drawn: dict[str, list[Tensor]] = defaultdict(list)
    for weights in resamples(count, draws, seed):
        for name, values in figures(weights).items():
            drawn[name].append(values)
    return {name: percentiles(torch.cat(values)) for name, values in drawn.items()}


def percentiles(values: Tensor) -> Interval:
    """The middle `LEVEL` of (R,) values; NaN, from a draw that shows no class at all, is left out."""
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(values.double().numpy(), (tail, 1 - tail))
    return float(low), float(high)


def resamples(count: int, draws: int, seed: int) -> Iterator[Tensor]:
    """How often each of N images is in each draw, (N, r) float32, `AT_ONCE` draws or less at a time."""
    rng = np.random.default_rng(seed)
    for start in range(0, draws, AT_ONCE):
        chosen = rng.integers(count, size=(min(AT_ONCE, draws - start), count))
        counts = np.stack([np.bincount(images, minlength=count) for images in chosen], axis=1)
        yield torch.from_numpy(counts.astype(np.float32))


def one_label_figures(decisions: Decisions) -> Callable[[Tensor], Figures]:
    """Weights (N, R) -> accuracy and balanced accuracy."""
    truth = (decisions.truth == 1).float()
    hits = truth * decisions.predicted

    def figures(weights: Tensor) -> Figures:
        support, right = truth.T @ weights, hits.T @ weights  # (C, R)
        return {"accuracy": 100 * right.sum(0) / support.sum(0), "balanced_accuracy": mean(100 * right / support)}

    return figures


def many_label_figures(decisions: Decisions) -> Callable[[Tensor], Figures]:
    """Weights (N, R) -> mean average precision and F1, macro and micro."""
    known = decisions.truth != UNKNOWN
    truth, predicted = ((part == 1) & known for part in (decisions.truth, decisions.predicted))
    images = torch.arange(len(truth))[:, None].expand_as(truth)

    def ranking(which: Tensor) -> Ranking:
        return Ranking.of(decisions.probability[which], truth[which], images[which])

    shown = decisions.support.nonzero()[:, 0]
    rankings = [ranking(known & F.one_hot(c, truth.shape[1]).bool()) for c in shown]
    every = ranking(known)
    hits, guesses = (truth & predicted)[:, shown].float(), predicted.float()

    def figures(weights: Tensor) -> Figures:
        right, guessed, support = (part.T @ weights for part in (hits, guesses, truth.float()))  # (·, R)
        f1 = 200 * right / (guessed[shown] + support[shown])
        return {
            "map_macro": mean(torch.stack([average_precision(one, weights) for one in rankings])),
            "map_micro": average_precision(every, weights),
            "f1_macro": mean(f1.where(support[shown] > 0, torch.nan)),
            "f1_micro": 200 * right.sum(0) / (guessed.sum(0) + support.sum(0)),
        }

    return figures


def mean(values: Tensor) -> Tensor:
    """(C, R) -> (R,), over the classes that have one."""
    return values.nanmean(0)


class Ranking(NamedTuple):
    """Decisions from the surest on. Bag p ends where the p-th different probability of a positive decision does."""

    images: Tensor  # (≤ D,) image of each decision, as far as the last positive one
    bags: Tensor  # (≤ P,) where each bag of them starts
    positives: Tensor  # (P,) image of each positive decision
    positive_bags: Tensor  # (≤ P,) where each bag of those starts

    @classmethod
    def of(cls, probability: Tensor, truth: Tensor, image: Tensor) -> "Ranking":
        """(D,) each; at least one decision is positive."""
        order = probability.argsort(descending=True)
        _, tie, size = probability[order].unique_consecutive(return_inverse=True, return_counts=True)
        positive = truth[order].nonzero()[:, 0]
        reached, found = tie[positive].unique_consecutive(return_counts=True)
        ends = size.cumsum(0)[reached]
        starts, positive_starts = (F.pad(stops[:-1], (1, 0)) for stops in (ends, found.cumsum(0)))
        return cls(image[order[: ends[-1]]], starts, image[order[positive]], positive_starts)


def average_precision(ranking: Ranking, weights: Tensor) -> Tensor:
    """Weights (N, R) -> average precision (R,) in %: precision at each positive decision, averaged over these.

    Ties count at their common end, as in scikit-learn. NaN where no positive decision was drawn.
    """
    add = partial(F.embedding_bag, weight=weights, mode="sum")  # gathers rows of the weights and adds them up
    seen = add(ranking.images, offsets=ranking.bags).cumsum(0)  # (·, R) decisions at least as sure
    found = add(ranking.positives, offsets=ranking.positive_bags)
    right = found.cumsum(0)
    return 100 * (found * right / seen.clamp_min(1)).sum(0) / right[-1]
