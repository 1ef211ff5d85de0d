import numpy as np
import pytest

from wherewhen.experiments.statistics import mean_interval, paired_gain


def slow_interval(right: list[np.ndarray], draws: int = 4000) -> tuple[float, float]:
    """Draw replicates, and in each its patches, one by one."""
    rng = np.random.default_rng(1)
    means = []
    for _ in range(draws):
        shares = []
        for _ in right:
            patches = right[rng.integers(len(right))]
            shares.append(rng.choice(patches, len(patches)).mean())
        means.append(100 * np.mean(shares))
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


@pytest.mark.parametrize("shares", [(0.4, 0.5, 0.7), (0.9,), (0.2, 0.2)])
def test_the_interval_is_that_of_patches_drawn_one_by_one(shares: tuple[float, ...]) -> None:
    right = [np.arange(60 + 20 * i) < share * (60 + 20 * i) for i, share in enumerate(shares)]
    p, count = np.array([r.mean() for r in right]), np.array([len(r) for r in right])
    scores, errors = 100 * p, 100 * np.sqrt(p * (1 - p) / count)
    assert mean_interval(scores, errors) == pytest.approx(slow_interval(right), abs=1.2)
    assert mean_interval(scores, errors) == mean_interval(scores, errors)


@pytest.mark.parametrize(("count", "quantile"), [(2, 12.706), (3, 4.303), (5, 2.776), (31, 2.042)])
def test_the_gain_has_the_t_interval_of_the_tables(count: int, quantile: float) -> None:
    theirs = {("world", seed): 50.0 for seed in range(count)}
    ours = {("world", seed): 50.0 + seed for seed in range(count)}
    gain = paired_gain(ours, theirs | {("elsewhere", 0): 0.0})
    assert gain is not None
    error = np.std(np.arange(count), ddof=1) / np.sqrt(count)
    assert gain.mean == pytest.approx((count - 1) / 2)
    assert (gain.mean - gain.low) / error == pytest.approx(quantile, abs=6e-4)
    assert gain.high - gain.mean == pytest.approx(gain.mean - gain.low)
    assert gain.replicates == count


def test_one_replicate_has_no_interval_and_none_no_gain() -> None:
    gain = paired_gain({1: 3.0}, {1: 1.0, 2: 9.0})
    assert gain is not None
    assert gain.mean == 2
    assert np.isnan(gain.low)
    assert paired_gain({1: 3.0}, {2: 1.0}) is None
