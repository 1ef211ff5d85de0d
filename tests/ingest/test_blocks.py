import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherewhen.errors import UserError
from wherewhen.ingest.blocks import agreement_range, split, suggest
from wherewhen.splits import EARTH_RADIUS_KM, blocks, distance_to_nearest

DEGREE = np.pi * EARTH_RADIUS_KM / 180


def places(count: int, extent_km: float, seed: int = 0) -> np.ndarray:
    """Points all over a square at the equator."""
    return np.random.default_rng(seed).uniform(0, extent_km / DEGREE, (count, 2))


def squares(place: np.ndarray, side_km: float, classes: int = 4) -> np.ndarray:
    """A random class for each square of land."""
    cell = np.floor(place * DEGREE / side_km).astype(int)
    of_cell = np.random.default_rng(1).integers(0, classes, (200, 200))
    found: np.ndarray = of_cell[cell[:, 0], cell[:, 1]]
    return found


@pytest.mark.parametrize("side", [3.0, 8.0])
def test_the_range_of_squares_of_one_class_is_about_their_side(side: float) -> None:
    # two points at distance d are in one square with probability (1 − d/s)² along an axis: a tenth is left near 0.7 s
    place = places(800, 80)
    found = agreement_range(place, squares(place, side))
    assert found is not None
    assert 0.5 * side < found < 1.4 * side


def test_where_labels_tell_nothing_the_side_is_a_guess() -> None:
    place = places(400, 80)
    assert agreement_range(place, np.zeros(400, int)) is None  # one class
    assert agreement_range(place[:5], np.arange(5)) is None  # few
    assert agreement_range(place[:1].repeat(50, 0), np.arange(50) % 2) is None  # one place
    side, why = suggest(place[:5], np.arange(5), 0.64)
    assert side == pytest.approx(8 * 0.64)
    assert "a guess" in why
    unrelated = np.random.default_rng(2).integers(0, 3, 400)
    assert suggest(place, unrelated, 4.0) == (4.0, suggest(place, unrelated, 4.0).why)  # never below a patch


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 100), st.floats(1, 30), st.sampled_from([0.0, 0.9]))
def test_parts_are_disjoint_blocks_with_a_gap(seed: int, side: float, gap: float) -> None:
    place = places(200, 60)
    labels = squares(place, 10)
    parts, used = split(place, labels, side, gap, 0.2, seed, least=0.5)
    assert used <= side
    train, val, test = (parts == name for name in ("train", "val", "test"))
    assert train.any()
    assert 0 < test.sum() <= 0.4 * len(place) or used < 1
    block = [tuple(row) for row in blocks(place, used)]
    in_test = {block[i] for i in np.flatnonzero(test)}
    assert not in_test & {block[i] for i in np.flatnonzero(train | val)}
    assert not {block[i] for i in np.flatnonzero(val)} & {block[i] for i in np.flatnonzero(train)}
    if gap:
        assert distance_to_nearest(place[train | val], place[test]).min() > gap
    again, _ = split(place, labels, side, gap, 0.2, seed, least=0.5)
    assert (again == parts).all()


def test_the_test_has_the_classes_of_all() -> None:
    place = places(300, 60)
    labels = (place[:, 0] > place[:, 0].mean()).astype(int)  # north and south
    parts, _ = split(place, labels, 12.0, 0.0, 0.25, 0, least=0.5)
    assert abs(labels[parts == "test"].mean() - labels.mean()) < 0.1


def test_blocks_are_halved_until_there_are_two() -> None:
    place = places(60, 10)
    parts, used = split(place, np.arange(60) % 2, 40.0, 0.0, 0.2, 0, least=0.3)
    assert used < 40
    assert {"train", "test"} <= set(parts)
    with pytest.raises(UserError, match="--block-km none"):
        split(place[:1].repeat(9, 0), np.arange(9) % 2, 40.0, 0.0, 0.2, 0, least=0.3)
