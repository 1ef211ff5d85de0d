from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherewhen.assess.estimate import estimate

# Olofsson et al. (2014), table 8: deforestation, forest gain, stable forest, stable non-forest; pixels of 30 m
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])


def by_map_class(counts: np.ndarray) -> np.ndarray:
    """(K, K) counts -> (K, K, K) with the map's classes as strata."""
    layered: np.ndarray = np.eye(len(counts), dtype=int)[:, :, None] * counts[:, None, :]
    return layered


def olofsson(n: np.ndarray, area: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Equations 1–10, cell by cell."""
    q = len(n)
    w = area / area.sum()
    p = np.array([[w[i] * n[i, j] / n[i].sum() for j in range(q)] for i in range(q)])  # eq. 4
    overall = sum(p[j, j] for j in range(q))  # eq. 1
    user = np.array([p[i, i] / p[i].sum() for i in range(q)])  # eq. 2
    producer = np.array([p[j, j] / p[:, j].sum() if p[:, j].sum() else np.nan for j in range(q)])  # eq. 3
    v_overall = sum(w[i] ** 2 * user[i] * (1 - user[i]) / (n[i].sum() - 1) for i in range(q))  # eq. 5
    v_user = np.array([user[i] * (1 - user[i]) / (n[i].sum() - 1) for i in range(q)])  # eq. 6
    v_producer = np.zeros(q)
    for j in range(q):  # eq. 7
        total = sum(area[i] / n[i].sum() * n[i, j] for i in range(q))
        missed = sum(
            area[i] ** 2 * n[i, j] / n[i].sum() * (1 - n[i, j] / n[i].sum()) / (n[i].sum() - 1)
            for i in range(q)
            if i != j
        )
        own = area[j] ** 2 * (1 - producer[j]) ** 2 * user[j] * (1 - user[j]) / (n[j].sum() - 1)
        v_producer[j] = (own + producer[j] ** 2 * missed) / total**2 if total else np.nan
    share = p.sum(0)  # eq. 9
    v_share = [sum((w[i] * p[i, k] - p[i, k] ** 2) / (n[i].sum() - 1) for i in range(q)) for k in range(q)]  # eq. 10
    pairs = {"overall": (overall, v_overall), "user": (user, v_user), "producer": (producer, v_producer)}
    pairs["share"] = (share, np.array(v_share))
    return {name: (np.asarray(value), np.sqrt(np.maximum(variance, 0))) for name, (value, variance) in pairs.items()}


def stehman(
    strata: np.ndarray, mapped: np.ndarray, true: np.ndarray, area: np.ndarray, k: int
) -> dict[str, tuple[float, float]]:
    """Stehman (2014), point by point, about class k: stratum means of indicators, their variances and covariances."""
    questions = {
        "overall": (mapped == true, np.ones(len(true), bool)),
        "share": (true == k, np.ones(len(true), bool)),
        "user": ((mapped == k) & (true == k), mapped == k),
        "producer": ((mapped == k) & (true == k), true == k),
    }
    answers = {}
    for name, (y, x) in questions.items():
        total_y = sum(area[h] * y[strata == h].mean() for h in range(len(area)))
        total_x = sum(area[h] * x[strata == h].mean() for h in range(len(area)))
        if not total_x:
            answers[name] = (np.nan, np.nan)
            continue
        r, variance = total_y / total_x, 0.0
        for h in range(len(area)):
            both = np.cov(y[strata == h].astype(float), x[strata == h].astype(float), ddof=1)
            spread = both[0, 0] + r**2 * both[1, 1] - 2 * r * both[0, 1]
            variance += area[h] ** 2 * spread / (strata == h).sum()
        answers[name] = (r, np.sqrt(max(variance, 0)) / total_x)
    return answers


def test_the_example_of_olofsson() -> None:
    """Section 5.2 of the paper; ± are 95 %.

    Two half widths are printed otherwise there than eq. 7 gives them: producer's accuracy of forest gain (0.23) and of
    stable non-forest (0.01).
    """
    found = estimate(by_map_class(COUNTS), PIXELS)
    assert found.overall.value == pytest.approx(0.947, abs=5e-4)
    assert 1.96 * found.overall.error == pytest.approx(0.018, abs=5e-4)
    np.testing.assert_allclose(found.user.value, [0.88, 0.73, 0.93, 0.96], atol=0.005)
    np.testing.assert_allclose(1.96 * found.user.error, [0.07, 0.10, 0.04, 0.02], atol=0.005)
    np.testing.assert_allclose(found.producer.value, [0.75, 0.85, 0.93, 0.96], atol=0.005)
    np.testing.assert_allclose(1.96 * found.producer.error, [0.21, 0.254, 0.03, 0.018], atol=0.005)
    np.testing.assert_allclose(found.proportions[0], [0.0176, 0, 0.0013, 0.0011], atol=5e-5)
    np.testing.assert_allclose(found.proportions[3], [0.0040, 0.0020, 0.0179, 0.6212], atol=5e-5)
    hectares = PIXELS.sum() * 0.09
    np.testing.assert_allclose(found.share.value * hectares, [21_158, 11_686, 285_770, 581_386], atol=0.5)
    np.testing.assert_allclose(1.96 * found.share.error * hectares, [6158, 3756, 15_510, 16_282], atol=0.9)
    assert found.share.value[0] * PIXELS.sum() == pytest.approx(235_086, abs=1)
    assert 1.96 * found.share.error[0] * PIXELS.sum() == pytest.approx(68_418, abs=1)


def test_the_example_of_stehman() -> None:
    """International Journal of Remote Sensing 35: 4932–4936; strata A–D are not the map's classes."""
    strata = np.repeat(np.arange(4), 10)
    mapped = np.array([*"AAAAAAABBB", *"ABBBBBBBBB", *"BBCCCCCCBB", *"DDDDDDDDDD"])
    true = np.array([*"AAAAACBABC", *"ABBBBBAABB", *"CCCCCDDBBA", *"DDDDDDDCCB"])
    counts = np.zeros((4, 4, 4), int)
    np.add.at(counts, (strata, np.searchsorted([*"ABCD"], mapped), np.searchsorted([*"ABCD"], true)), 1)
    found = estimate(counts, np.array([40_000, 30_000, 20_000, 10_000]))
    assert found.share.value[[0, 2]] == pytest.approx([0.35, 0.20])
    assert found.overall.value == pytest.approx(0.63)
    assert found.user.value[1] == pytest.approx(0.574, abs=5e-4)
    assert found.producer.value[1] == pytest.approx(0.794, abs=5e-4)
    assert found.proportions[1, 2] == pytest.approx(0.08)
    assert found.share.error[[0, 2]] == pytest.approx([0.082, 0.064], abs=5e-4)
    assert found.overall.error == pytest.approx(0.085, abs=5e-4)
    assert found.user.error[1] == pytest.approx(0.125, abs=5e-4)
    assert found.producer.error[1] == pytest.approx(0.117, abs=5e-4)


matrices = st.integers(1, 5).flatmap(
    lambda k: st.tuples(
        st.lists(st.lists(st.integers(0, 20), min_size=k, max_size=k), min_size=k, max_size=k),
        st.lists(st.floats(0.1, 1e6), min_size=k, max_size=k),
    )
)


@given(matrices)
def test_with_the_maps_classes_as_strata_it_is_olofssons(case: tuple[list[list[int]], list[float]]) -> None:
    counts, area = np.array(case[0]), np.array(case[1])
    counts[:, 0] += 2  # every row two points
    found, truth = estimate(by_map_class(counts), area), olofsson(counts, area)
    for name, (value, error) in truth.items():
        np.testing.assert_allclose(getattr(found, name).value, value, atol=1e-12)
        np.testing.assert_allclose(getattr(found, name).error, error, atol=1e-7)


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 4))
def test_with_other_strata_it_is_stehmans(seed: int, strata: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    where = np.concatenate((np.repeat(np.arange(strata), 2), rng.integers(strata, size=20)))
    mapped, true = rng.integers(classes, size=(2, len(where)))
    area = rng.uniform(1, 100, strata)
    counts = np.zeros((strata, classes, classes), int)
    np.add.at(counts, (where, mapped, true), 1)
    found = estimate(counts, area)
    for k in range(classes):
        for name, (value, error) in stehman(where, mapped, true, area, k).items():
            ours = getattr(found, name)
            index = () if name == "overall" else k
            np.testing.assert_allclose(ours.value[index], value, atol=1e-12)
            np.testing.assert_allclose(ours.error[index], error, atol=1e-7)


@given(matrices, st.randoms(use_true_random=False))
def test_the_order_of_classes_and_the_unit_of_area_do_not_matter(
    case: tuple[list[list[int]], list[float]], random: Random
) -> None:
    counts, area = np.array(case[0]), np.array(case[1])
    counts[:, 0] += 2
    order = list(range(len(area)))
    random.shuffle(order)
    first = estimate(by_map_class(counts), area)
    second = estimate(by_map_class(counts[order][:, order]), area[order] * 7)
    np.testing.assert_allclose(first.proportions[order][:, order], second.proportions)
    for name in ("user", "producer", "share"):
        ours, others = getattr(first, name), getattr(second, name)
        np.testing.assert_allclose(ours.value[order], others.value, atol=1e-12)
        np.testing.assert_allclose(ours.error[order], others.error, atol=1e-7)
    assert first.share.value.sum() == pytest.approx(1)
    assert first.overall.value == pytest.approx(np.trace(first.proportions))


def test_what_the_sample_does_not_say_is_nan() -> None:
    counts = np.array([[5, 0, 0], [0, 5, 0]])  # nothing is class 2, and the map never says so
    found = estimate(np.stack([np.stack([counts[h] * (h == i) for i in range(3)]) for h in range(2)]), np.ones(2))
    assert np.isnan(found.user.value[2])
    assert np.isnan(found.producer.value[2])
    assert (found.share.value[2], found.share.low[2]) == (0, 0)
    assert (found.user.high[:2] == 1).all()


@pytest.mark.parametrize(("points", "area"), [(1, 1.0), (2, 0.0)])
def test_strata_of_one_point_or_without_area_are_refused(points: int, area: float) -> None:
    with pytest.raises(ValueError, match="two points and an area"):
        estimate(np.array([[[points]]]), np.array([area]))


def coverage(draws: int, points: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """How often the 95 % intervals of samples of a known map hold the truth."""
    rng = np.random.default_rng(seed)
    area = np.array([0.1, 0.3, 0.6])
    shares = np.array([[0.8, 0.15, 0.05], [0.1, 0.85, 0.05], [0.04, 0.06, 0.9]])  # of each map class, by truth
    joint = area[:, None] * shares
    truth = {"user": np.diag(shares), "producer": np.diag(joint) / joint.sum(0), "share": joint.sum(0)}
    truth["overall"] = np.trace(joint)
    hits = {name: np.zeros_like(value, float) for name, value in truth.items()}
    for _ in range(draws):
        found = estimate(by_map_class(rng.multinomial(points, shares)), area)
        for name, value in truth.items():
            interval = getattr(found, name)
            hits[name] = hits[name] + ((interval.low <= value) & (value <= interval.high))
    return {name: count / draws for name, count in hits.items()}


def check_coverage(draws: int, points: np.ndarray, low: float, high: float) -> None:
    for name, share in coverage(draws, points, seed=1).items():
        assert (low < share).all(), (name, share)
        assert (share < high).all(), (name, share)


def test_intervals_hold_the_truth_about_95_times_in_100() -> None:
    check_coverage(600, np.array([100, 150, 300]), 0.915, 0.98)  # the standard error of such a share is 0.009


@pytest.mark.slow
def test_intervals_of_many_points_hold_the_truth_95_times_in_100() -> None:
    check_coverage(20_000, np.array([1000, 1500, 3000]), 0.943, 0.957)
