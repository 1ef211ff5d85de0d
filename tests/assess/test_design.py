from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer

from tests.assess.generated import CLASSES, DEGREES, UTM, frame, patches, write_map
from wherewhen.assess import maps
from wherewhen.assess.compare import compare
from wherewhen.assess.design import Drawn, allocate, as_geojson, draw, expected, expected_error, sample_size
from wherewhen.assess.maps import ClassMap
from wherewhen.errors import UserError

# Olofsson et al. (2014), section 5.1 and tables 4–6
WEIGHTS = np.array([0.020, 0.015, 0.320, 0.645])
EXPECTED = np.array([0.70, 0.60, 0.90, 0.95])
MANY = np.full(4, 10**9)


def test_the_sample_size_of_olofsson() -> None:
    assert sample_size(WEIGHTS, EXPECTED, 0.01, 10_000_000) == 641
    assert sample_size(WEIGHTS, EXPECTED, 0.01, 1000) < 641


def test_one_expectation_gives_points_in_proportion_and_a_minimum() -> None:
    same = np.full(4, 0.8)
    assert allocate(1000, WEIGHTS, same, 0, MANY).tolist() == [20, 15, 320, 645]
    assert allocate(640, WEIGHTS, same, 75, MANY).tolist() == [75, 75, 162, 328]  # the rest by area, 490 of it
    assert allocate(640, WEIGHTS, same, 75, np.array([10, 10**9, 10**9, 10**9])).tolist()[:2] == [10, 75]


@given(
    st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.05, 0.95), st.integers(1, 300)), min_size=1, max_size=6),
    st.data(),
)
def test_every_allocation_keeps_its_bounds_and_its_total(
    strata: list[tuple[float, float, int]], data: st.DataObject
) -> None:
    weights, accuracies, pixels = (np.array(part) for part in zip(*strata, strict=True))
    minimum = data.draw(st.integers(0, 60))
    least = np.minimum(minimum, pixels)
    total = data.draw(st.integers(int(least.sum()), int(pixels.sum())))
    points = allocate(total, weights / weights.sum(), accuracies, minimum, pixels)
    assert points.sum() == total
    assert (points >= least).all()
    assert (points <= pixels).all()


def test_no_other_allocation_promises_a_smaller_error() -> None:
    weights, accuracies = np.array([0.2, 0.3, 0.5]), np.array([0.6, 0.9, 0.8])
    ours = allocate(40, weights, accuracies, 2, MANY[:3])
    others = [np.array([i, j, 40 - i - j]) for i, j in product(range(2, 36), repeat=2) if 40 - i - j >= 2]
    best = min(expected_error(weights, accuracies, other) for other in others)
    assert expected_error(weights, accuracies, ours) == pytest.approx(best, rel=2e-3)


def test_totals_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"100 points are too few for 50 in each of 4 classes; ask for 200"):
        allocate(100, WEIGHTS, EXPECTED, 50, MANY)
    with pytest.raises(UserError, match="50 points are more than the 40 pixels"):
        allocate(50, WEIGHTS, EXPECTED, 2, np.full(4, 10))


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["0.8"], [0.8, 0.8, 0.8]),
        (["forest=0.95"], [0.8, 0.95, 0.8]),
        (["field=0.6", "0.9"], [0.9, 0.9, 0.6]),
    ],
)
def test_expectations(words: list[str], values: list[float]) -> None:
    assert expected(words, CLASSES).tolist() == values


@pytest.mark.parametrize(
    ("word", "message"), [("1", "inside"), ("much", "inside"), ("forst=0.9", "no class 'forst'; its classes are water")]
)
def test_expectations_that_are_none(word: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        expected([word], CLASSES)


def points_of(*counts: int) -> np.ndarray:
    return np.array([*counts, *[0] * (256 - len(counts))])


@pytest.mark.parametrize("system", [UTM, DEGREES])
def test_the_sample_is_distinct_pixels_of_each_class_and_the_seed_decides(
    tmp_path: Path, system: tuple[str, tuple[float, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = patches((90, 70), [0.1, 0.3, 0.6])
    values[:, 0] = 255
    raster = ClassMap(write_map(tmp_path / "map.tif", values, system))
    first = draw(raster, points_of(40, 0, 60), seed=3)
    assert (values[first.rows, first.columns] == first.classes).all()
    assert np.bincount(first.classes).tolist() == [40, 0, 60]
    assert len(set(zip(first.rows, first.columns, strict=True))) == 100
    assert (np.diff(first.classes) != 0).sum() > 10  # not one class after the other
    for strip in (1, 500, 10**6):
        monkeypatch.setattr(maps, "_PIXELS", strip)
        for one, other in zip(first, draw(raster, points_of(40, 0, 60), seed=3), strict=True):
            np.testing.assert_array_equal(one, other)
    assert (draw(raster, points_of(40, 0, 60), seed=4).rows != first.rows).any()


def test_a_class_can_be_drawn_whole(tmp_path: Path) -> None:
    values = np.ones((30, 30), np.uint8)
    values[3, 4:9] = 0
    drawn = draw(ClassMap(write_map(tmp_path / "map.tif", values)), points_of(5, 10), seed=0)
    assert sorted(drawn.columns[drawn.classes == 0]) == [4, 5, 6, 7, 8]


def test_pixels_are_drawn_as_often_as_they_are_large(tmp_path: Path) -> None:
    raster = ClassMap(write_map(tmp_path / "map.tif", np.zeros((600, 40), np.uint8), DEGREES))  # from 68° to 38° north
    rows = np.concatenate([draw(raster, points_of(100), seed).rows for seed in range(100)])
    seen = np.bincount(rows // 100, minlength=6)
    area = raster.cells.area(0, 600).reshape(6, 100).sum(1)
    wanted = area / area.sum() * len(rows)
    assert area[-1] > 1.8 * area[0]
    assert ((seen - wanted) ** 2 / wanted).sum() < 20.5  # χ² with 5 degrees of freedom, p = 0.001


def test_the_geojson_holds_the_middles_of_the_pixels(tmp_path: Path) -> None:
    raster = ClassMap(write_map(tmp_path / "map.tif", patches((90, 70), [0.1, 0.3, 0.6])))
    drawn = Drawn(np.array([0, 89]), np.array([0, 69]), np.array([2, 1]))
    features = as_geojson(raster, drawn)["features"]
    assert isinstance(features, list)
    assert [feature["properties"] for feature in features] == [
        {"id": 1, "stratum": "field", "class": ""},
        {"id": 2, "stratum": "forest", "class": ""},
    ]
    onto = Transformer.from_crs("EPSG:4326", UTM[0], always_xy=True)
    x, y = onto.transform(*np.transpose([feature["geometry"]["coordinates"] for feature in features]))
    np.testing.assert_allclose(x, [400_015, 402_085], atol=1e-3)
    np.testing.assert_allclose(y, [5_599_985, 5_597_315], atol=1e-3)


def drawn_again_and_again(
    path: Path, system: tuple[str, tuple[float, ...]], draws: int, low: float, atol: float
) -> None:
    """From the map to the interval: where the map errs more in the north, only true areas give the right answer."""
    values = patches((400, 80), [0.15, 0.35, 0.5])
    raster = ClassMap(write_map(path, values, system))
    rng = np.random.default_rng(0)
    wrong = rng.random(values.shape) < np.linspace(0.7, 0.02, 400)[:, None]
    truth = np.where(wrong, (values + rng.integers(1, 3, values.shape)) % 3, values)
    area = np.broadcast_to(raster.cells.area(0, 400), values.shape)
    shares = np.array([area[truth == k].sum() for k in range(3)]) / area.sum()
    correct = area[truth == values].sum() / area.sum()
    a, _, c, _, e, f = raster.grid.transform
    hits, means = np.zeros(4), np.zeros(4)
    for seed in range(draws):
        rows, columns, _ = draw(raster, points_of(100, 150, 250), seed)
        names = [CLASSES[k] for k in truth[rows, columns]]
        found = compare(raster, frame(c + a * (columns + 0.5), f + e * (rows + 0.5), names)).found
        for i, (estimate, value) in enumerate([(found.overall, correct), *((found.share, v) for v in shares)]):
            at = () if i == 0 else i - 1
            hits[i] += estimate.low[at] <= value <= estimate.high[at]
            means[i] += estimate.value[at] / draws
    assert (hits / draws > low).all(), hits
    assert hits.sum() < 4 * draws  # intervals that always hold the truth are too wide
    np.testing.assert_allclose(means, [correct, *shares], atol=atol)
    if system == DEGREES:  # where pixels count alike, the answer is another
        assert abs((truth == values).mean() - correct) > 2 * atol


def test_drawn_again_and_again_the_intervals_hold_the_truth(tmp_path: Path) -> None:
    drawn_again_and_again(tmp_path / "map.tif", DEGREES, draws=40, low=0.82, atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("system", [UTM, DEGREES])
def test_drawn_very_often_the_intervals_hold_the_truth(tmp_path: Path, system: tuple[str, tuple[float, ...]]) -> None:
    drawn_again_and_again(tmp_path / "map.tif", system, draws=600, low=0.92, atol=0.003)
