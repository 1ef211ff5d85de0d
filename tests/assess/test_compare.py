from pathlib import Path

import numpy as np
import pytest

from tests.assess.generated import CLASSES, DEGREES, UTM, frame, patches, write_map
from wherewhen.assess.compare import Comparison, compare
from wherewhen.assess.estimate import estimate
from wherewhen.assess.maps import ClassMap, tally
from wherewhen.errors import UserError

SHAPE = (64, 72)
SHARES = [0.15, 0.35, 0.5]


def centres(raster: ClassMap, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, _, c, _, e, f = raster.grid.transform
    return c + a * (columns + 0.5), f + e * (rows + 0.5)


def a_map(folder: Path, system: tuple[str, tuple[float, ...]] = UTM) -> ClassMap:
    return ClassMap(write_map(folder / "map.tif", patches(SHAPE, SHARES), system))


@pytest.mark.parametrize("system", [UTM, DEGREES])
def test_every_pixel_right_gives_the_maps_own_areas(tmp_path: Path, system: tuple[str, tuple[float, ...]]) -> None:
    raster = a_map(tmp_path, system)
    values = patches(SHAPE, SHARES)
    rows, columns = np.indices(SHAPE).reshape(2, -1)
    result = compare(raster, frame(*centres(raster, rows, columns), [CLASSES[k] for k in values.ravel()]))
    assert result.found.overall.value == 1
    np.testing.assert_array_equal(result.counts, np.diag(np.bincount(values.ravel())))
    np.testing.assert_allclose(result.found.share.value * result.area, result.mapped)
    area = np.broadcast_to(raster.cells.area(0, SHAPE[0]), SHAPE)
    np.testing.assert_allclose(result.mapped, [area[values == k].sum() for k in range(3)])
    if system == DEGREES:  # in the south, of which a share of pixels knows nothing
        assert abs(result.mapped / result.area - np.bincount(values.ravel()) / values.size).max() > 1e-4


def test_points_that_cannot_count_are_listed(tmp_path: Path) -> None:
    values = patches(SHAPE, SHARES)
    values[0] = 255
    raster = ClassMap(write_map(tmp_path / "map.tif", values))
    x, y = centres(raster, np.array([0, 5, 5, 6, 7, 8, 9, 9, 900]), np.array([3, 5, 5, 6, 7, 8, 9, 9, 1]))
    x[3] = np.inf
    names = [CLASSES[2]] * 9
    result = compare(raster, frame(x, y, [*names[:4], None, names[5], None, *names[7:]]))
    assert dict(zip(result.left_out["point"], result.left_out["reason"], strict=True)) == {
        "1": "where the map has no data",
        "3": "at the place of an earlier point",
        "4": "without a place that the map's system knows",
        "5": "without a class",
        "7": "without a class",
        "9": "outside the map",
    }
    assert result.points == 3


def test_strata_with_fewer_than_two_points_are_left_out_of_everything(tmp_path: Path) -> None:
    raster = a_map(tmp_path)
    values = patches(SHAPE, SHARES)
    rows, columns = np.concatenate([np.argwhere(values == k)[:n] for k, n in ((0, 1), (1, 40), (2, 60))]).T
    result = compare(raster, frame(*centres(raster, rows, columns), ["water", *["forest"] * 30, *["field"] * 70]))
    assert result.strata[["stratum", "points", "used"]].to_numpy().tolist() == [
        ["water", 1, False],
        ["forest", 40, True],
        ["field", 60, True],
    ]
    area = tally(raster, raster).area.diagonal()
    assert result.area == pytest.approx(area[1:3].sum())
    assert result.classes == ("forest", "field")
    np.testing.assert_array_equal(result.counts, [[30, 10], [0, 60]])
    assert result.points == 100


def test_a_class_that_only_the_reference_shows_has_an_area(tmp_path: Path) -> None:
    raster = ClassMap(write_map(tmp_path / "map.tif", patches(SHAPE, SHARES)), [*CLASSES, "snow", "unseen"])
    rows, columns = np.indices((20, 20)).reshape(2, -1)
    names = ["snow" if i % 10 == 0 else CLASSES[k] for i, k in enumerate(patches(SHAPE, SHARES)[rows, columns])]
    result = compare(raster, frame(*centres(raster, rows, columns), names))
    assert result.classes == (*CLASSES, "snow")
    assert result.mapped[3] == 0
    assert np.isnan(result.found.user.value[3])
    assert result.found.producer.value[3] == 0
    assert 0.05 < result.found.share.value[3] < 0.2


def drawn_within(folder: Path) -> tuple[ClassMap, ClassMap, np.ndarray, np.ndarray]:
    """A map, another that served as strata, and pixels drawn within the strata: many more in the rare one."""
    strata = patches(SHAPE, [0.1, 0.4, 0.5], seed=1)
    old = ClassMap(write_map(folder / "old.tif", strata, classes=["change", "north", "south"]))
    rng = np.random.default_rng(0)
    picked = [rng.choice(np.flatnonzero(strata == h), n, replace=False) for h, n in enumerate((120, 100, 100))]
    rows, columns = np.divmod(np.concatenate(picked), SHAPE[1])
    return a_map(folder), old, rows, columns


def test_points_drawn_within_another_maps_classes(tmp_path: Path) -> None:
    raster, old, rows, columns = drawn_within(tmp_path)
    values, strata = patches(SHAPE, SHARES), patches(SHAPE, [0.1, 0.4, 0.5], seed=1)
    true = np.where(np.arange(len(rows)) % 4 == 0, (values[rows, columns] + 1) % 3, values[rows, columns])
    names = [CLASSES[k] for k in true]
    given = [old.classes[h] for h in strata[rows, columns]]
    result = compare(raster, frame(*centres(raster, rows, columns), names, given), old)
    counts = np.zeros((3, 3, 3), int)
    np.add.at(counts, (strata[rows, columns], values[rows, columns], true), 1)
    truth = estimate(counts, tally(old, raster).area.sum(1)[:3])
    for name in ("user", "producer", "share", "overall"):
        np.testing.assert_allclose(getattr(result.found, name), getattr(truth, name))
    assert result.strata["stratum"].tolist() == list(old.classes)
    with pytest.raises(UserError, match=r"320 points say another stratum .*--strata"):
        compare(raster, frame(*centres(raster, rows, columns), names, given))


def test_strata_on_another_grid_are_refused(tmp_path: Path) -> None:
    raster, _, rows, columns = drawn_within(tmp_path)
    smaller = ClassMap(write_map(tmp_path / "small.tif", patches((8, 8), SHARES)))
    with pytest.raises(UserError, match=r"different grids.*gdalwarp"):
        compare(raster, frame(*centres(raster, rows, columns), ["water"] * len(rows)), smaller)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["forst", "water", "water"], r"1 classes .*'forst' \(did you mean 'forest'\?\); the map's are water, forest"),
        (["Forest", "water", "water"], r"'Forest' \(did you mean 'forest'\?\)"),
        (["Forest", "forest", "water"], "'Forest' and 'forest', which differ at most by case"),
        ([None, None, None], "none of the 3 points can be used, the first is without a class"),
        (["water", None, None], "lie in as many strata"),
    ],
)
def test_references_that_cannot_be_used(tmp_path: Path, names: list[str | None], message: str) -> None:
    raster = a_map(tmp_path)
    with pytest.raises(UserError, match=message):
        compare(raster, frame(*centres(raster, np.arange(3), np.arange(3)), names))


def test_numbers_are_names_where_a_map_has_none(tmp_path: Path) -> None:
    raster = ClassMap(write_map(tmp_path / "map.tif", patches(SHAPE, SHARES), classes=None))
    rows, columns = np.indices((20, 20)).reshape(2, -1)
    names = [str(k) for k in patches(SHAPE, SHARES)[rows, columns]]
    result: Comparison = compare(raster, frame(*centres(raster, rows, columns), names))
    assert result.classes == ("0", "1", "2")
    with pytest.raises(UserError, match="'forest'; the map's are 0 to 254"):
        compare(raster, frame(*centres(raster, rows[:1], columns[:1]), ["forest"]))
