import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.assess.generated import CLASSES, DEGREES, UTM, patches, write_map
from wherewhen.assess import maps
from wherewhen.assess.maps import ClassMap, refuse_twins, strips, tally
from wherewhen.errors import UserError

VALUES = np.array([[0, 1, 2], [255, 1, 1]], np.uint8)


@pytest.mark.parametrize(
    ("tags", "given", "classes", "named"),
    [
        ({"classes": json.dumps(["a", "b", "c"])}, None, ("a", "b", "c"), True),
        ({"CLASS_0": "a", "CLASS_1": "b", "CLASS_2": "c"}, None, ("a", "b", "c"), True),
        ({"classes": json.dumps(["a", "b", "c"])}, ["x", "y", "z"], ("x", "y", "z"), True),
        ({}, ["x", "y", "z"], ("x", "y", "z"), True),
        ({}, None, tuple(map(str, range(255))), False),
    ],
)
def test_names_come_from_the_call_the_tags_or_the_numbers(
    tmp_path: Path, tags: dict[str, str], given: Sequence[str] | None, classes: tuple[str, ...], named: bool
) -> None:
    raster = ClassMap(write_map(tmp_path / "map.tif", VALUES, classes=None, tags=tags), given)
    assert raster.classes == classes
    assert raster.named is named


def test_what_is_no_map_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no picture")
    write_map(tmp_path / "float.tif", VALUES.astype(np.float32))
    write_map(tmp_path / "tag.tif", VALUES, classes=None, tags={"classes": "a, b"})
    write_map(tmp_path / "twins.tif", VALUES, classes=["Forest", "forest", "c"])
    for name, message in (
        ("absent", "cannot read .*absent.tif"),
        ("text", "cannot read .*text.tif"),
        ("float", "1 bands of float32.*gdal_translate"),
        ("tag", "no JSON list.*--classes"),
        ("twins", "'Forest' and 'forest', which differ at most by case"),
    ):
        with pytest.raises(UserError, match=message):
            ClassMap(tmp_path / f"{name}.tif")


def test_a_class_without_a_name_is_refused(tmp_path: Path) -> None:
    raster = ClassMap(write_map(tmp_path / "map.tif", VALUES, classes=["a", "b"]))
    with pytest.raises(UserError, match=r"holds class 2, but names only 2 classes.*--classes"):
        tally(raster, raster)


def test_the_files_own_nodata_is_no_class(tmp_path: Path) -> None:
    raster = ClassMap(write_map(tmp_path / "map.tif", VALUES, classes=None, nodata=0))
    assert raster.at(np.array([0, 0, 1]), np.array([0, 2, 0])).tolist() == [255, 2, 255]
    assert np.flatnonzero(tally(raster, raster).pixels.sum(1)).tolist() == [1, 2]


def test_a_map_of_nothing_and_a_broken_one(tmp_path: Path) -> None:
    empty = ClassMap(write_map(tmp_path / "empty.tif", np.full((4, 4), 255, np.uint8)))
    with pytest.raises(UserError, match="no pixel with a class"):
        tally(empty, empty)
    noise = np.random.default_rng(0).integers(0, 3, (600, 600), dtype=np.uint8)
    path = write_map(tmp_path / "broken.tif", noise)
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(UserError, match=r"cannot read .*broken\.tif"):
        [0 for _ in strips(ClassMap(path))]


def test_points_and_their_pixels(tmp_path: Path) -> None:
    raster = ClassMap(write_map(tmp_path / "map.tif", VALUES))
    left, top = UTM[1][2], UTM[1][5]
    x = np.array([left, left + 89.9, left - 0.1, left + 45, np.inf, left + 1e12])
    y = np.array([top, top - 0.1, top - 5, top - 59, top, top])
    rows, columns = raster.pixel(x, y)
    assert list(zip(rows[:4], columns[:4], strict=True)) == [(0, 0), (0, 2), (0, -1), (1, 1)]
    assert raster.at(rows, columns).tolist() == [0, 2, 255, 1, 255, 255]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(1, 40), st.integers(1, 30), st.integers(1, 200), st.sampled_from([UTM, DEGREES]), st.integers(0, 99))
def test_the_tally_of_strips_is_that_of_the_whole(
    tmp_path: Path, height: int, width: int, strip: int, system: tuple[str, tuple[float, ...]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values, other = rng.choice([0, 1, 2, 255], (2, height, width)).astype(np.uint8)
    values[0, 0] = other[0, 0] = 1
    first = ClassMap(write_map(tmp_path / "first.tif", values, system))
    second = ClassMap(write_map(tmp_path / "second.tif", other, system))
    area = np.broadcast_to(first.cells.area(0, height), values.shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maps, "_PIXELS", strip)
        one, two = tally(first, first), tally(second, first)
    for i in (0, 1, 2):
        assert one.pixels[i, i] == (values == i).sum()
        assert one.area[i, i] == pytest.approx(area[values == i].sum())
        for j in (0, 1, 2):
            both = (other == i) & (values == j)
            assert two.pixels[i, j] == both.sum()
            assert two.area[i, j] == pytest.approx(area[both].sum())
    assert one.pixels.sum() == (values != 255).sum()
    assert two.pixels.sum() == ((values != 255) & (other != 255)).sum()


def test_names_that_differ_by_case() -> None:
    refuse_twins(["a", "b"], "they")
    with pytest.raises(UserError, match="they hold 'straße' and 'STRASSE'"):
        refuse_twins(["a", "straße", "STRASSE"], "they")


PEAK = """
import resource, sys
import numpy as np
from wherewhen.assess.design import draw
from wherewhen.assess.maps import ClassMap, tally
raster = ClassMap(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = tally(raster, raster)
drawn = draw(raster, np.where(found.pixels.sum(1) > 0, 100, 0), seed=0)
print(found.pixels.sum(), len(drawn.rows), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("system", [UTM, DEGREES])
def test_a_large_map_is_never_held_in_memory(tmp_path: Path, system: tuple[str, tuple[float, ...]]) -> None:
    side = 20_000
    crs, (a, _, c, _, _, f) = system
    scale = 1.0 if crs == UTM[0] else 0.01
    path = write_map(
        tmp_path / "map.tif",
        np.tile(patches((side, 800), [0.1, 0.3, 0.6]), side // 800),
        (crs, (a * scale, 0, c, 0, -a * scale, f)),
    )
    out = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True).stdout
    pixels, points, mebibytes = map(float, out.split())
    assert (pixels, points) == (side**2, 100 * len(CLASSES))
    assert mebibytes < 300  # a byte a pixel would be 381
