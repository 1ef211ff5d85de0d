import subprocess
import sys
from pathlib import Path

import pytest

from wherewhen.bands import Band, Sensor, load_sensor, semantic_groups, texture_groups
from wherewhen.errors import UserError

L2A = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")


def test_sensors_have_the_bands_that_they_should_have() -> None:
    l1c, l2a, rgb = (load_sensor(name) for name in ("sentinel2_l1c", "sentinel2_l2a", "rgb8"))
    assert tuple(band.name for band in l2a.bands) == L2A
    assert {band.name for band in l1c.bands} - set(L2A) == {"B10"}
    assert [(band.name, band.unit, band.scale, band.offset) for band in rgb.bands] == [
        ("red", "8-bit", 1, 0),
        ("green", "8-bit", 1, 0),
        ("blue", "8-bit", 1, 0),
    ]
    for band in l1c.bands + l2a.bands:
        assert (band.unit, band.scale, band.offset) == ("reflectance", 1e-4, 0)


def test_bands_lie_in_the_order_of_their_wavelengths() -> None:
    for name in ("sentinel2_l1c", "sentinel2_l2a"):
        centres = [band.wavelength for band in load_sensor(name).bands]
        assert centres == sorted(centres, key=float)  # type: ignore[arg-type]
    assert load_sensor("sentinel2_l2a").select(["B8A"])[0].wavelength == 864.7


@pytest.mark.parametrize(
    ("name", "count", "stored", "physical"),
    [
        ("landsat89_l2", 7, 18_639, 0.3126),  # USGS's own example of scale and offset
        ("hls_l30", 7, 2500, 0.25),
        ("hls_s30", 11, 2500, 0.25),
        ("planetscope4_sr", 4, 2500, 0.25),
        ("planetscope8_sr", 8, 2500, 0.25),
        ("naip", 4, 200, 200),
    ],
)
def test_other_sensors(name: str, count: int, stored: int, physical: float) -> None:
    sensor = load_sensor(name)
    assert len(sensor.bands) == count
    for band in sensor.bands:
        assert (stored + band.offset) * band.scale == pytest.approx(physical, abs=1e-4)
        assert band.unit == ("8-bit" if name == "naip" else "reflectance")
    centres = [band.wavelength for band in sensor.bands]
    assert name == "naip" or centres == sorted(centres, key=float)  # type: ignore[arg-type]


def test_select_keeps_the_order_asked_for() -> None:
    bands = load_sensor("sentinel2_l1c").select(["B04", "B8A", "B02"])
    assert [(band.name, band.resolution) for band in bands] == [("B04", 10), ("B8A", 20), ("B02", 10)]


@pytest.mark.parametrize(
    ("baseline", "offset"),
    [("02.14", 0), ("03.99", 0), ("04.00", -1000), ("05.11", -1000), ("N0400", None), ("10.00", -1000)],
)
def test_baselines_since_04_shift_the_numbers(baseline: str, offset: float | None) -> None:
    sensor = load_sensor("sentinel2_l1c")
    if offset is None:
        with pytest.raises(UserError, match=r"N0400.*04\.00"):
            sensor.at_baseline(baseline)
    else:
        assert {band.offset for band in sensor.at_baseline(baseline).bands} == {offset}


def test_with_offset_changes_the_offset_alone() -> None:
    sensor = load_sensor("sentinel2_l2a")
    shifted = sensor.with_offset(-1000)
    assert {band.offset for band in shifted.bands} == {-1000}
    assert shifted.with_offset(0) == sensor


@pytest.mark.parametrize(("table", "last"), [("readme_l1c", "B10"), ("readme_l2a", "B09")])
def test_semantic_groups(table: str, last: str) -> None:
    assert list(semantic_groups(table).values()) == [
        ("B04", "B03", "B02"),
        ("B08", "B04", "B03"),
        ("B12", "B11", "B04"),
        ("B11", "B8A", "B02"),
        ("B12", "B11", "B8A"),
        ("B01", "B05", "B06"),
        ("B07", "B08", last),
    ]
    sensor = load_sensor("sentinel2_l1c" if table.endswith("l1c") else "sentinel2_l2a")
    for group in semantic_groups(table).values():
        assert len(sensor.select(group)) == 3


@pytest.mark.parametrize("table", ["readme_l1c", "readme_l2a"])
def test_texture_groups(table: str) -> None:
    groups = texture_groups(table)
    assert list(groups.values()) == [
        ("B01", "B02", "B03"),
        ("B04", "B05", "B06"),
        ("B07", "B08", "B8A"),
        ("B09", "B11", "B12"),
    ]
    assert not groups.keys() & semantic_groups(table).keys()


OWN = """\
title: my camera
unit: reflectance
scale: 0.001
offset: 5
bands:
  - {name: a, wavelength: 500, resolution: 2.5}
  - {name: b, wavelength: null, resolution: 2.5, scale: 1}
"""


def test_a_sensor_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "camera.yaml"
    path.write_text(OWN)
    assert load_sensor(path) == Sensor(
        "camera",
        "my camera",
        (Band("a", 500, 2.5, "reflectance", 0.001, 5), Band("b", None, 2.5, "reflectance", 1, 5)),
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: my camera\n", "", r"camera\.yaml.*'title'.*add"),
        ("scale: 0.001\n", "", r"'scale' is missing"),
        ("name: b", "name: a", r"two bands named 'a'.*rename"),
        ("unit: reflectance", "unit: degrees", r"'degrees' is unknown.*reflectance"),
        ("resolution: 2.5}", "resolution: 2.5, colour: red}", r"'colour' is unknown"),
        ("scale: 0.001", "scale: small", r"camera\.yaml.*small"),
        ("scale: 0.001", "scale: 0", r"above 0"),
        ("bands:", "bands: 3\nothers:", r"camera\.yaml"),
        (OWN, "title: [", r"camera\.yaml is not valid YAML"),
        (OWN, "- a list", r"mapping"),
        (OWN, "title: t\nbands: []", r"no bands"),
    ],
)
def test_a_wrong_sensor_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "camera.yaml"
    path.write_text(OWN.replace(old, new))
    with pytest.raises(UserError, match=message):
        load_sensor(path)


def test_unknown_names_are_refused_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'landsat'.*rgb8, sentinel2_l1c"):
        load_sensor("landsat")
    with pytest.raises(UserError, match=r"no band 'B13'.*B01, B02"):
        load_sensor("sentinel2_l2a").select(["B13"])
    with pytest.raises(UserError, match=r"'own'.*readme_l1c"):
        semantic_groups("own")
    with pytest.raises(UserError, match=r"'own' is unknown.*readme_l1c, readme_l2a"):
        texture_groups("own")
    with pytest.raises(UserError, match=r"absent\.yaml does not exist"):
        load_sensor(tmp_path / "absent.yaml")


def test_bands_import_nothing_heavy() -> None:
    code = "import sys, wherewhen.bands; print([m for m in ('torch', 'numpy', 'pandas') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
