import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherewhen import splits
from wherewhen.errors import UserError

CLASSES = ("a", "b", "c")


def patches(count: int = 90) -> tuple[np.ndarray, list[str]]:
    return np.arange(count) % 3, [f"patch_{i}" for i in range(count)]


def test_a_seed_chooses_the_same_ids_on_any_machine() -> None:
    labels, ids = patches()
    chosen = splits.per_class(labels, ids, CLASSES, 2, seed=0)
    # written down once; BLAKE2b of "seed:id" decides, nothing else
    assert [ids[i] for i in chosen] == EXPECTED


EXPECTED = ["patch_10", "patch_24", "patch_42", "patch_46", "patch_53", "patch_89"]


@given(order=st.permutations(range(30)), count=st.integers(1, 5), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_table_does_not_matter(order: list[int], count: int, seed: int) -> None:
    labels, ids = patches(30)
    first = {ids[i] for i in splits.per_class(labels, ids, CLASSES, count, seed)}
    shuffled = [ids[i] for i in order]
    second = {shuffled[i] for i in splits.per_class(labels[order], shuffled, CLASSES, count, seed)}
    assert first == second


def test_a_larger_budget_contains_the_smaller_and_every_class_has_its_count() -> None:
    labels, ids = patches()
    small, large = (splits.per_class(labels, ids, CLASSES, n, 3) for n in (2, 7))
    assert set(small) <= set(large)
    assert np.bincount(labels[large]).tolist() == [7, 7, 7]
    assert set(small) != set(splits.per_class(labels, ids, CLASSES, 2, 4))


def test_a_budget_above_what_exists_is_refused_by_name() -> None:
    labels, ids = patches(8)  # three a, three b, two c
    with pytest.raises(UserError, match="'c' has 2"):
        splits.per_class(labels, ids, CLASSES, 3, 0)
    with pytest.raises(UserError, match="0 labels"):
        splits.per_class(labels, ids, CLASSES, 0, 0)


def test_stratified_shares_of_one_label() -> None:
    labels = np.repeat([0, 1, -1], [100, 7, 5])
    ids = [str(i) for i in range(len(labels))]
    chosen = splits.stratified(labels, ids, 0.1, 0)
    assert np.bincount(labels[chosen]).tolist() == [10, 1]  # at least one of each, none of the unknown
    with pytest.raises(UserError, match=r"1\.5"):
        splits.stratified(labels, ids, 1.5, 0)


def test_stratified_shares_of_many_labels_serve_every_class() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((400, 5)) < [0.5, 0.3, 0.1, 0.03, 0.01]).astype(int)
    chosen = splits.stratified(labels, [str(i) for i in range(400)], 0.1, 0)
    wanted = np.ceil(0.1 * labels.sum(0))
    assert (labels[chosen].sum(0) >= wanted).all()
    assert len(chosen) < 0.25 * 400


def test_hold_out_takes_the_share_and_is_nested() -> None:
    ids = [f"p{i}" for i in range(200)]
    small, large = splits.hold_out(ids, 0.1, 1), splits.hold_out(ids, 0.3, 1)
    assert (small.sum(), large.sum()) == (20, 60)
    assert large[small].all()


def test_distances_on_the_sphere() -> None:
    berlin, paris, next_door = [52.52, 13.405], [48.8566, 2.3522], [52.52, 13.4051]
    distance = splits.distance_to_nearest(np.array([berlin]), np.array([paris]))
    assert distance[0] == pytest.approx(877.5, abs=1)
    close = splits.distance_to_nearest(np.array([berlin]), np.array([paris, next_door]))
    assert close[0] == pytest.approx(6371e3 * np.radians(1e-4) * np.cos(np.radians(52.52)) / 1e3, rel=1e-4)
    assert np.isinf(splits.distance_to_nearest(np.array([berlin]), np.empty((0, 2)))).all()


def test_spatial_blocks_do_not_touch() -> None:
    rng = np.random.default_rng(0)
    place = np.column_stack((rng.uniform(45, 50, 3000), rng.uniform(5, 12, 3000)))
    train, test = splits.spatial_blocks(place, 0.2, block_km=50, gap_km=5, seed=0)
    assert not (train & test).any()
    assert 0.15 < test.mean() < 0.3
    assert splits.distance_to_nearest(place[train], place[test]).min() > 5
    again = splits.spatial_blocks(place, 0.2, block_km=50, gap_km=5, seed=0)
    assert (again[0] == train).all()
    block = splits.blocks(place, 50)
    in_test = {tuple(b) for b in block[test]}
    assert all(tuple(b) in in_test for b in block[test])
    assert not any(tuple(b) in in_test for b in block[train])


def test_spatial_blocks_need_places_and_room() -> None:
    place = np.array([[50.0, 8.0], [np.nan, np.nan]])
    with pytest.raises(UserError, match="1 patches have no place"):
        splits.spatial_blocks(place, 0.2, 10, 5, 0)
    with pytest.raises(UserError, match="smaller"):
        splits.spatial_blocks(np.full((5, 2), 50.0), 0.2, 10, 5, 0)


def test_a_region_is_a_box_on_the_globe() -> None:
    place = np.array([[50.0, 8.0], [39.0, -8.0], [53.0, -9.0], [0.0, 179.0], [0.0, -179.0]])
    assert splits.region(place, (36, -32, 72, -5)).tolist() == [False, True, True, False, False]
    assert splits.region(place, (-10, 170, 10, -170)).tolist() == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((72, -32, 36, -5), "is no box"),
        ((0, 0, 1), "is no box"),
        ((0, 0, 1, 1), "none of the 2 patches"),
        ((40, 0, 60, 20), "all of the 2 patches"),
    ],
)
def test_a_region_needs_patches_inside_and_outside(box: tuple[float, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        splits.region(np.array([[50.0, 8.0], [51.0, 8.0]]), box)
    with pytest.raises(UserError, match="1 patches have no place"):
        splits.region(np.array([[50.0, 8.0], [np.nan, np.nan]]), (40, 0, 60, 20))
