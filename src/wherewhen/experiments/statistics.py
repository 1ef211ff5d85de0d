"""How sure a mean and a difference are.

Notation: R replicates, that is pairs of store and seed.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

DRAWS, LEVEL = 2000, 0.95
NORMAL_WIDTH = 2 * float(stats.norm.ppf((1 + LEVEL) / 2))  # of a 95 % interval, in standard errors


class Gain(NamedTuple):
    """Mean of A − B over the replicates that both have, with its 95 % interval (NaN for a single replicate)."""

    mean: float
    low: float
    high: float
    replicates: int


def mean_interval(scores: np.ndarray, errors: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean score, over replicates and over the test patches in each.

    A draw takes R replicates with replacement, and of each its test patches with replacement: the score of many patches
    so drawn is normal around the replicate's own, so no patch needs to be drawn again.

    Args:
        scores: (R,) of the replicates.
        errors: (R,) standard errors over their test patches.
        seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(scores), size=(DRAWS, len(scores)))
    means = rng.normal(scores[chosen], errors[chosen]).mean(1)
    low, high = np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def paired_gain(ours: Mapping[Any, float], theirs: Mapping[Any, float]) -> Gain | None:
    """Mean difference over common replicates with Student's t interval; None where they have none in common.

    Args:
        ours: Replicate -> figure of A.
        theirs: Replicate -> figure of B.
    """
    difference = np.array([ours[key] - theirs[key] for key in ours if key in theirs])
    count = len(difference)
    if not count:
        return None
    mean = float(difference.mean())
    if count == 1:
        return Gain(mean, float("nan"), float("nan"), 1)
    half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1) * difference.std(ddof=1) / count**0.5)
    return Gain(mean, mean - half, mean + half, count)
