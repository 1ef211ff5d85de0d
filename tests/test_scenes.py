import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherewhen.bands import load_sensor
from wherewhen.errors import UserError
from wherewhen.scenes import Scene, Window, find
from wherewhen.scenes.clouds import cloudy
from wherewhen.scenes.files import key
from wherewhen.scenes.when import time_of

rasterio = pytest.importorskip("rasterio")

from tests.scene_fakes import UTM32, UTM33, plane, write, write_bands, write_safe  # noqa: E402

L2A = "sentinel2_l2a"
NAMES = ("B02", "B03", "B04", "B08")


def four(shape: tuple[int, int] = (40, 50), start: int = 1000, dtype: str = "uint16") -> np.ndarray:
    return np.stack([plane(shape, start + 500 * band, dtype) for band in range(4)])


def read_all(scene: Scene) -> np.ndarray:
    return scene.read(scene.whole)


# -- bands of one file ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "sensor", "bands", "found", "order"),
    [
        (NAMES, L2A, None, NAMES, (0, 1, 2, 3)),
        (("b8", "B4", "B3", "B2"), L2A, None, NAMES, (3, 2, 1, 0)),  # as the sensor counts them
        (NAMES, L2A, ("B08", "b2"), ("B08", "B02"), (3, 0)),
        ((), L2A, ("B04", "B03", "B02", "B08"), ("B04", "B03", "B02", "B08"), (0, 1, 2, 3)),
        ((), "naip", None, ("red", "green", "blue", "nir"), (0, 1, 2, 3)),
        ((), "planetscope4_sr", None, ("blue", "green", "red", "nir"), (0, 1, 2, 3)),
        (("blue", "green_i", "yellow", "Red Edge"), None, None, ("blue", "green_i", "yellow", "rededge"), (0, 1, 2, 3)),
        (
            ("B01", "B09", "B10", "B11"),
            None,
            None,
            ("B01", "B09", "B10", "B11"),
            (0, 1, 2, 3),
        ),  # Level-1C alone has B10
    ],
)
def test_bands_are_found_by_description_by_option_or_by_the_sensors_order(
    tmp_path: Path, names: tuple[str, ...], sensor: str, bands: Any, found: tuple[str, ...], order: tuple[int, ...]
) -> None:
    pixels = four(dtype="uint8" if sensor == "naip" else "uint16")
    write(tmp_path / "a.tif", pixels, names=names)
    (scene,) = find([tmp_path], sensor, bands)
    assert tuple(band.name for band in scene.bands) == found
    np.testing.assert_array_equal(read_all(scene), pixels[list(order)])
    assert scene.dtype == pixels.dtype
    assert scene.read((3, 4, 5, 6)).shape == (len(found), 5, 6)
    np.testing.assert_array_equal(scene.read((3, 4, 5, 6)), pixels[list(order), 3:8, 4:10])


def test_a_sensor_of_ones_own_as_the_docs_show_it(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "own-scenes.md").read_text(encoding="utf-8")
    (tmp_path / "drone.yaml").write_text(page.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    write(tmp_path / "a.tif", four()[:3], side=0.1)
    (scene,) = find([tmp_path], tmp_path / "drone.yaml")
    assert [band.name for band in scene.bands] == ["green", "red", "nir"]
    assert scene.sensor == "drone"
    assert scene.pixel_size == pytest.approx(0.1)


def test_a_band_tag_and_a_mask_band_of_the_same_file(tmp_path: Path) -> None:
    clouds = np.zeros((1, 40, 50), "uint16")
    clouds[0, :10, :20] = 9
    write(tmp_path / "a.tif", np.concatenate([four(), clouds]), names=(*NAMES, "SCL"))
    (scene,) = find([tmp_path / "a.tif"], L2A)
    assert tuple(band.name for band in scene.bands) == NAMES
    assert scene.mask_kind == "scl"
    np.testing.assert_array_equal(scene.valid(scene.whole), clouds[0] == 0)
    assert scene.look(scene.whole).seen.all()


# -- a file a band --------------------------------------------------------------------------------


def test_a_file_a_band_with_coarse_ones_brought_to_the_finest_grid(tmp_path: Path) -> None:
    bands = {"B02": (10, 1000), "B04": (10, 1200), "B11": (20, 2000), "SCL": (20, 0)}
    write_bands(tmp_path / "one", "T32_20200701_", bands, (40, 60))
    write(tmp_path / "one" / "T32_20200701_AOT.tif", plane((40, 60)))  # of no use, and left aside
    (scene,) = find([tmp_path], L2A)
    assert scene.name == "T32_20200701"
    assert [band.name for band in scene.bands] == ["B02", "B04", "B11"]
    assert (scene.grid.shape, scene.pixel_size) == ((40, 60), 10)
    assert scene.time == datetime(2020, 7, 1, tzinfo=UTC)
    assert scene.time_from == "YYYYMMDD in the name"
    pixels = read_all(scene).astype(int)
    np.testing.assert_array_equal(pixels[0], plane((40, 60), 1000))
    assert np.abs(pixels[2] - plane((40, 60), 2000))[1:-1, 1:-1].max() <= 1  # bilinear gives the plane back


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_window_is_the_part_of_the_whole(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp() / "windows"
    if not folder.exists():
        write_bands(folder, "", {"B02": (10, 1000), "B05": (20, 700), "B01": (60, 300)}, (60, 120))
        rng = np.random.default_rng(0).integers(1, 3000, (20, 20)).astype("uint16")
        write(folder / "B09.tif", rng, side=60, top=5_300_000, nodata=7)
        write(folder / "B09.tif", rng[:10], side=60, nodata=int(rng[4, 4]))
    (scene,) = find([folder], L2A)
    top, left = data.draw(st.integers(0, 59)), data.draw(st.integers(0, 119))
    window = Window(top, left, data.draw(st.integers(1, 60 - top)), data.draw(st.integers(1, 120 - left)))
    here = np.s_[..., top : top + window.height, left : left + window.width]
    whole, part = scene.look(scene.whole), scene.look(window)
    np.testing.assert_array_equal(part.pixels, whole.pixels[here])
    np.testing.assert_array_equal(part.seen, whole.seen[here])


def test_a_safe_folder(tmp_path: Path) -> None:
    write_safe(tmp_path, "S2A_MSIL2A_20220701T101031_N0400_R022_T32TQM_20220701T150000")
    (scene,) = find([tmp_path])
    assert scene.name.startswith("S2A_MSIL2A_20220701")
    assert [(band.name, band.offset) for band in scene.bands] == [("B02", -1000), ("B04", -1000), ("B8A", -1000)]
    assert scene.time == datetime(2022, 7, 1, 10, 10, 31, tzinfo=UTC)
    assert (scene.sensor, scene.mask_kind, scene.grid.shape) == (L2A, "scl", (60, 48))
    np.testing.assert_array_equal(read_all(scene)[0], plane((60, 48), 1500))  # of 10 m, though 20 m are there
    np.testing.assert_array_equal(~scene.valid(scene.whole), np.pad(np.ones((10, 12), bool), ((0, 50), (0, 36))))


def test_a_part_of_a_safe_folder_does_not_tell_the_offset_so_it_is_refused(tmp_path: Path) -> None:
    folder = write_safe(tmp_path, "S2A_MSIL2A_20220701T101031_N0400_R022_T32TQM_20220701T162344")
    for part in (folder / "GRANULE", next(folder.rglob("*B02_10m.jp2"))):
        with pytest.raises(UserError, match=r"a part of a product.*; give .*20220701T162344\.SAFE$"):
            find([part], L2A)


def test_hidden_files_beside_imagery_are_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", four(), names=NAMES)
    (tmp_path / "._a.tif").write_bytes(b"\0\5\26\7")  # a Mac's, on a drive of another file system
    assert [scene.name for scene in find(str(path.parent), L2A)] == ["a"]


def test_products_before_and_after_the_shift_get_one_offset(tmp_path: Path) -> None:
    for name in ("S2A_MSIL2A_20200701T101031_N0214_R022_T32TQM_X", "S2B_MSIL2A_20220701T101031_N0400_R022_T32TQM_X"):
        write_safe(tmp_path, name)
    before, after = find([tmp_path])
    assert before.bands == after.bands
    assert before.bands[0].offset == -1000
    np.testing.assert_array_equal(read_all(before), read_all(after) + 1000)  # the same numbers mean 0.1 more


def test_landsat_files_tell_their_sensor(tmp_path: Path) -> None:
    name = "LC08_L2SP_190024_20200701_20200822_02_T1"
    for number in range(1, 8):
        write(tmp_path / f"{name}_SR_B{number}.TIF", plane((20, 24), 8000 + number), side=30, nodata=0)
    quality = np.full((20, 24), 21824, "uint16")
    quality[:4], quality[4:6] = 22280, 21824 | 1 << 4  # cloud, shadow
    write(tmp_path / f"{name}_QA_PIXEL.TIF", quality, side=30)
    for other in ("SR_QA_AEROSOL", "ST_B10", "QA_RADSAT"):
        write(tmp_path / f"{name}_{other}.TIF", plane((20, 24)), side=30)
    (scene,) = find([tmp_path])
    assert (scene.sensor, scene.name, scene.time) == ("landsat89_l2", name, datetime(2020, 7, 1, tzinfo=UTC))
    assert [band.name for band in scene.bands] == [f"SR_B{number}" for number in range(1, 8)]
    assert scene.bands[0].scale * (18639 + scene.bands[0].offset) == pytest.approx(0.313, abs=1e-3)  # USGS's example
    np.testing.assert_array_equal(scene.valid(scene.whole), np.arange(20)[:, None].repeat(24, 1) >= 6)


def test_scenes_of_two_projections_and_resolutions(tmp_path: Path) -> None:
    write(tmp_path / "east.tif", four(), crs=UTM33, names=NAMES)
    write(tmp_path / "west.tif", four((30, 30)), crs=UTM32, side=20, names=NAMES)
    east, west = find([tmp_path], L2A)
    assert [(scene.name, scene.grid.crs, scene.pixel_size) for scene in (east, west)] == [
        ("east", UTM33, 10),
        ("west", UTM32, 20),
    ]
    degrees = write(tmp_path / "degrees.tif", four(), crs="EPSG:4326", side=1e-4, left=10, top=60, names=NAMES)
    assert find([degrees], L2A)[0].pixel_size == pytest.approx(11.12 * np.sqrt(0.5), rel=0.01)
    web = write(tmp_path / "web.tif", four(), crs="EPSG:3857", left=1_000_000, top=8_400_000, names=NAMES)  # 60° N
    assert find([web], L2A)[0].pixel_size == pytest.approx(10 / 2, rel=0.01)


def test_a_band_of_another_projection_is_brought_over(tmp_path: Path) -> None:
    write(tmp_path / "B02.tif", plane((60, 60)), names=())
    from rasterio.warp import transform

    (lon,), (lat,) = transform(UTM32, "EPSG:4326", [500_000.0], [5_300_000.0])
    write(
        tmp_path / "B03.tif",
        np.full((80, 80), 777, "uint16"),
        crs="EPSG:4326",
        side=2e-4,
        left=lon - 1e-3,
        top=lat + 1e-3,
    )
    (scene,) = find([tmp_path], L2A)
    assert (read_all(scene)[1] == 777).all()


# -- what the numbers are -------------------------------------------------------------------------


def test_no_data_is_a_declared_number_of_any_band_or_zero_in_all(tmp_path: Path) -> None:
    pixels = four(dtype="int16")
    pixels[2, 5, 5] = -9999  # one band
    pixels[1, 6, 6] = 0  # dark, but there
    pixels[:, 7, 7] = 0
    write(tmp_path / "a.tif", pixels, names=NAMES, nodata=-9999)
    (scene,) = find([tmp_path], L2A)
    look = scene.look(scene.whole)
    assert {tuple(pixel) for pixel in np.argwhere(~look.seen)} == {(5, 5), (7, 7)}
    assert (look.pixels[:, 5, 5] == 0).all()
    assert scene.nodata == -9999


def test_a_mask_of_the_file_counts_as_no_data(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", four(), names=NAMES)
    hidden = np.full((40, 50), 255, "uint8")
    hidden[:3] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as raster:
        raster.write_mask(hidden)
    (scene,) = find([tmp_path], L2A)
    np.testing.assert_array_equal(scene.look(scene.whole).seen, hidden > 0)


def test_reflectance_becomes_the_sensors_numbers_when_it_is_said_to_be_some(tmp_path: Path) -> None:
    numbers = four()
    shares = (numbers / 10000).astype("float32")
    shares[:, 0, 0] = np.nan
    write(tmp_path / "a.tif", shares, names=NAMES)
    (scene,) = find([tmp_path], L2A, physical=True)
    assert scene.dtype == "int16"
    look = scene.look(scene.whole)
    assert not look.seen[0, 0]
    np.testing.assert_array_equal(look.pixels[look.seen[None].repeat(4, 0)], numbers[look.seen[None].repeat(4, 0)])
    path = write(tmp_path / "b.tif", shares)
    (landsat,) = find([path], load_sensor("landsat89_l2"), ("SR_B2", "SR_B3", "SR_B4", "SR_B5"), physical=True)
    back = (landsat.read((1, 1, 20, 20)) + landsat.bands[0].offset) * landsat.bands[0].scale
    np.testing.assert_allclose(back, shares[:, 1:21, 1:21], atol=1.5e-5)


def test_digital_numbers_as_floats_are_taken(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", four().astype("float64") + 0.3, names=NAMES)
    (scene,) = find([tmp_path], L2A)
    np.testing.assert_array_equal(read_all(scene), four())


def test_scenes_are_plain_data(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", four(), names=NAMES)
    (scene,) = find([tmp_path], L2A)
    again = pickle.loads(pickle.dumps(scene))
    np.testing.assert_array_equal(read_all(again), read_all(scene))
    write(tmp_path / "a.tif", four(start=3000), names=NAMES)  # written again: the open file is not kept
    np.testing.assert_array_equal(read_all(again), four(start=3000))
    some = scene.as_bands(load_sensor(L2A).with_offset(-1000).select(["B08", "B02"]))
    np.testing.assert_array_equal(read_all(some), four(start=4000)[[3, 0]])
    with pytest.raises(UserError, match="a has no band B11"):
        scene.as_bands(load_sensor(L2A).select(["B11"]))


# -- bad input ------------------------------------------------------------------------------------


def cut_short(folder: Path) -> None:
    path = write(
        folder / "a.tif", np.random.default_rng(0).integers(1, 9000, (4, 300, 300)).astype("uint16"), names=NAMES
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_ground(folder: Path) -> None:
    write(folder / "B02.tif", plane((40, 40)))
    write(folder / "B03.tif", plane((40, 40)), left=600_000)


def twice(folder: Path) -> None:
    write(folder / "B02.tif", plane((40, 40)))
    write(folder / "B2.tif", plane((40, 40)))


def two_sets(folder: Path) -> None:
    write(folder / "a.tif", four(), names=NAMES)
    write(folder / "b.tif", four()[:3], names=NAMES[:3])


def sheared(folder: Path) -> None:
    write(folder / "a.tif", four(), names=NAMES, transform=rasterio.transform.Affine(10, 2, 5e5, 1, -10, 5e6))


BAD: dict[str, tuple[Callable[[Path], Any], dict[str, Any], str]] = {
    "no CRS": (
        lambda f: write(f / "a.tif", four(), crs=None, names=NAMES),
        {},
        "a.tif has no coordinate reference.*gdal_edit",
    ),
    "no place": (
        lambda f: write(f / "a.tif", four(), names=NAMES, transform=rasterio.transform.Affine.identity()),
        {},
        "has no geotransform",
    ),
    "sheared": (sheared, {}, "rotated or sheared.*gdalwarp"),
    "missing band": (
        lambda f: write(f / "a.tif", four(), names=NAMES),
        {"bands": ["B02", "B11"]},
        "band B11 is missing.*B02",
    ),
    "no such band": (lambda f: write(f / "a.tif", four(), names=NAMES), {"bands": ["B02", "B99"]}, "no band 'B99'"),
    "float reflectance": (
        lambda f: write(f / "a.tif", (four() / 1e4).astype("float32"), names=NAMES),
        {},
        "look like reflectance.*--physical",
    ),
    "numbers said to be reflectance": (
        lambda f: write(f / "a.tif", four(), names=NAMES),
        {"physical": True},
        "are no reflectance; leave out --physical",
    ),
    "a picture": (lambda f: write(f / "a.tif", four(dtype="uint8"), names=NAMES), {}, "8-bit numbers.*--sensor naip"),
    "not a picture": (
        lambda f: write(f / "a.tif", four()),
        {"sensor": "naip"},
        "uint16, but 8-bit numbers are expected",
    ),
    "zeros": (lambda f: write(f / "a.tif", np.zeros((4, 90, 90), "uint16"), names=NAMES), {}, "no data anywhere"),
    "no data": (
        lambda f: write(f / "a.tif", np.full((4, 90, 90), -9999, "int16"), names=NAMES, nodata=-9999),
        {},
        "no data anywhere",
    ),
    "truncated": (cut_short, {}, "a.tif.*cannot be read"),
    "no TIFF": (lambda f: (f / "a.tif").write_bytes(b"II*\0nonsense"), {}, "a.tif.*cannot be read.*again"),
    "wide type": (lambda f: write(f / "a.tif", four(dtype="int32"), names=NAMES), {}, "int32.*gdal_translate"),
    "nameless bands": (lambda f: write(f / "a.tif", four()), {}, "4 bands.*has 12; name all 4.*--bands"),
    "too many names": (lambda f: write(f / "a.tif", four()), {"bands": ["B02", "B03"]}, "4 bands.*--bands names 2"),
    "whose bands": (lambda f: write(f / "a.tif", four(), names=NAMES), {"sensor": None}, "may be of.*l2a.*--sensor"),
    "other ground": (other_ground, {}, "B03.tif covers other ground"),
    "a band twice": (twice, {}, "band b2 is there twice"),
    "two sets of bands": (two_sets, {}, "differ in bands B08.*--bands"),
    "no raster": (lambda f: None, {}, r"no raster \(.*\) in /.*; give the folder of imagery"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_imagery_is_told_with_the_remedy(tmp_path: Path, name: str) -> None:
    make, options, message = BAD[name]
    make(tmp_path)
    with pytest.raises(UserError, match=message):
        find([tmp_path], **{"sensor": L2A, **options})


def test_bad_scenes_can_be_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "a.tif", four(), crs=None, names=NAMES)
    write(tmp_path / "b.tif", four(), names=NAMES)
    assert [scene.name for scene in find([tmp_path], L2A, on_error="skip")] == ["b"]
    assert "skipped scene a: a.tif has no coordinate reference" in capsys.readouterr().err
    with pytest.raises(UserError, match="does not exist"):
        find([tmp_path / "nowhere"], L2A)


def test_windows_stay_inside(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", four(), names=NAMES)
    (scene,) = find([tmp_path], L2A)
    for window in ((-1, 0, 5, 5), (0, 46, 5, 5), (36, 0, 5, 5), (0, 0, 0, 5)):
        with pytest.raises(ValueError, match="is no window of a, which has 40 × 50"):
            scene.read(window)


# -- names and codes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "name", "time", "told"),
    [
        ({}, "S2A_MSIL2A_20200701T101031_N0214_T32TQM_20200701T111111", (2020, 7, 1, 10, 10, 31), "YYYYMMDDTHHMMSS"),
        ({}, "LC08_L2SP_190024_20200701_20200822_02_T1", (2020, 7, 1), "YYYYMMDD"),
        ({}, "HLS.S30.T10SEH.2021124T185911.v2.0", (2021, 5, 4, 18, 59, 11), "YYYYDDDTHHMMSS"),
        ({}, "20210601_101112_44_2440_3B_AnalyticMS_SR", (2021, 6, 1, 10, 11, 12), "YYYYMMDDTHHMMSS"),
        ({}, "m_3008718_sw_16_1_20130805", (2013, 8, 5), "YYYYMMDD"),
        ({}, "mosaic-2019-06-30", (2019, 6, 30), "YYYY-MM-DD"),
        ({}, "S2A_OPER_MSI_L1C_TL_MPS__20161130T130757_A007527_T31UDQ", None, ""),  # when it was processed
        ({}, "tile_20191332", None, ""),
        ({}, "site_20990101", None, ""),
        ({}, "forest", None, ""),
        ({"ACQUISITION_DATE": "2018-05-06"}, "x_20200701", (2018, 5, 6), "tag ACQUISITION_DATE"),
        ({"AcquisitionDateTime": "2018-05-06T07:08:09Z"}, "x", (2018, 5, 6, 7, 8, 9), "tag ACQUISITIONDATETIME"),
        ({"TIFFTAG_DATETIME": "2018:05:06 07:08:09"}, "x", (2018, 5, 6, 7, 8, 9), "tag TIFFTAG_DATETIME"),
        ({"TIFFTAG_DATETIME": "2018:05:06 07:08:09"}, "x_20200701", (2020, 7, 1), "YYYYMMDD"),  # often rewritten
        ({"TIFFTAG_DATETIME": "yesterday"}, "x", None, ""),
    ],
)  # fmt: skip
def test_times(tags: dict[str, str], name: str, time: tuple[int, ...] | None, told: str) -> None:
    found, source = time_of(tags, name)
    assert found == (None if time is None else datetime(*time, tzinfo=UTC))  # type: ignore[arg-type, misc]
    assert source.startswith(told)
    assert bool(source) == (time is not None)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("B2", "b02", True), ("SR_B4", "B4", True), ("Red Edge", "rededge", True), ("B8A", "B08", False),
     ("B1", "B10", False), ("B11", "B01", False), ("QA_PIXEL", "qapixel", True)],
)  # fmt: skip
def test_ways_of_writing_a_band(one: str, other: str, same: bool) -> None:
    assert (key(one) == key(other)) == same


@pytest.mark.parametrize(
    ("kind", "hidden", "shown"),
    [
        ("scl", (3, 8, 9, 10), (0, 1, 2, 4, 5, 6, 7, 11)),
        ("qapixel", (22280, 23888, 54596), (21824, 21952, 1)),  # USGS: cloud, shadow, cirrus; clear, water, fill
        ("fmask", (2, 4, 8), (0, 64, 255)),
        ("udm2", (0,), (1,)),
        ("qa60", (1024, 2048), (0,)),
        ("mine", (1, 200), (0,)),
    ],
)
def test_codes_of_clouds(kind: str, hidden: tuple[int, ...], shown: tuple[int, ...]) -> None:
    assert cloudy(kind, np.array(hidden, "uint16")).all()
    assert not cloudy(kind, np.array(shown, "uint16")).any()
