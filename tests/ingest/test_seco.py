from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from wherewhen import prepare as verb
from wherewhen.errors import UserError
from wherewhen.ingest import seco_plan
from wherewhen.ingest.rasters import resize
from wherewhen.ingest.seco import prepare
from wherewhen.ingest.seco_plan import acquired, plan_places
from wherewhen.store import PatchStore

rasterio = pytest.importorskip("rasterio")

L1C = {"B1": 6, "B2": 1, "B3": 1, "B4": 1, "B5": 2, "B6": 2, "B7": 2, "B8": 1, "B8A": 2, "B9": 6, "B10": 6, "B11": 2}
L1C["B12"] = 2
L2A = {band: step for band, step in L1C.items() if band != "B10"}
SUMMER = "20200604T054639_20200604T054831_T43RCP"
WINTER = "20201215T054639_20201215T054831_T43RCP"
SPRING = "20210402T054639_20210402T054831_T43RCP"
PLACES = {"000000": [SPRING, SUMMER, WINTER], "000001": [SUMMER, WINTER], "000002": [WINTER]}
LEFT, TOP, SIDE = 73.29, 30.47, 1e-4
FULL = 36  # pixels of 10 m


def numbers(place: str, date: str, band: str) -> np.ndarray:
    """What the fake's TIFF of a band holds."""
    side = FULL // L1C[band]
    seed = [*f"{place}/{date}/{band}".encode()]
    return np.random.default_rng(seed).integers(1, 9000, (side, side), np.uint16)


def write(path: Path, pixels: np.ndarray, side: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    form = {"driver": "GTiff", "count": 1, "height": len(pixels), "width": pixels.shape[1], "dtype": pixels.dtype}
    transform = rasterio.Affine(side, 0, LEFT, 0, -side, TOP)
    with rasterio.open(path, "w", crs="EPSG:4326", transform=transform, **form) as raster:
        raster.write(pixels, 1)


def make(root: Path, places: dict[str, list[str]] = PLACES, bands: dict[str, int] = L2A) -> Path:
    for place, dates in places.items():
        for date in dates:
            for band, step in bands.items():
                write(root / place / date / f"{band}.tif", numbers(place, date, band), SIDE * step)
            (root / place / date / "metadata.json").write_text("{}")
    return root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make(tmp_path / "in")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_places_and_dates_become_a_store(source: Path, tmp_path: Path) -> None:
    store = prepare(source, tmp_path / "s", bands="all", size=36)
    table = store.table
    assert store.shape == (12, 36, 36)
    assert [band.name for band in store.bands][:2] == ["B01", "B02"]
    expected = [f"{place}/{date}" for place, dates in PLACES.items() for date in sorted(dates)]
    assert table["id"].tolist() == expected
    assert table["place"].tolist() == ["000000"] * 3 + ["000001"] * 2 + ["000002"]
    assert table["time"].iloc[0] == pd.Timestamp("2020-06-04T05:46:39", tz="UTC")
    assert table["source"].tolist() == expected
    assert set(table["split"]) == {"train"}
    np.testing.assert_allclose(store.place(), [[TOP - 18 * SIDE, LEFT + 18 * SIDE]] * 6, atol=1e-9)
    pixels = store.pixels(np.array([1]))[0]
    np.testing.assert_array_equal(pixels[3], numbers("000000", WINTER, "B4"))
    for plane, band in ((0, "B1"), (8, "B8A"), (11, "B12")):
        band_on_grid = resize(numbers("000000", WINTER, band), (36, 36), "bilinear")
        np.testing.assert_array_equal(pixels[plane], band_on_grid)


def test_the_dates_of_a_place_are_a_series(source: Path, tmp_path: Path) -> None:
    store = prepare(source, tmp_path / "s", size=36)
    assert store.targets["kind"].tolist() == ["series"] * 3
    assert store.targets["id"].tolist() == list(PLACES)
    assert list(store.targets["members"].iloc[0]) == [f"000000/{date}" for date in (SUMMER, WINTER, SPRING)]


def test_workers_make_no_difference(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wherewhen.ingest.seco._SHARD_BYTES", 2 * 3 * 36**2 * 2)  # two images a shard
    stores = [prepare(source, tmp_path / f"s{workers}", size=36, workers=workers) for workers in (1, 2)]
    assert contents(stores[0].path) == contents(stores[1].path)
    assert len(list(stores[0].path.glob("pixels-*.npy"))) == 3


def test_rgb_and_the_middle_of_an_image(source: Path, tmp_path: Path) -> None:
    assert verb.main(["seco", str(source), str(tmp_path / "s"), "--size", "11", "--workers", "1"]) == 0
    store = PatchStore.open(tmp_path / "s")
    assert [band.name for band in store.bands] == ["B04", "B03", "B02"]
    np.testing.assert_array_equal(store.pixels(np.array([0]))[0, 2], numbers("000000", SUMMER, "B2")[12:23, 12:23])
    assert store.place()[0] == pytest.approx([TOP - 17.5 * SIDE, LEFT + 17.5 * SIDE])


def test_coarse_bands_by_repetition(source: Path, tmp_path: Path) -> None:
    store = prepare(source, tmp_path / "s", bands="B05,B02", size=36, resampling="nearest")
    repeated = numbers("000000", SUMMER, "B5").repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(store.pixels(np.array([0]))[0, 0], repeated)


def test_bands_of_20_m_alone_still_take_the_grid_of_10_m(source: Path, tmp_path: Path) -> None:
    assert prepare(source, tmp_path / "s", bands="B11", size=36).shape == (1, 36, 36)


@pytest.mark.parametrize(("bands", "level", "planes"), [(L1C, None, 13), (L2A, None, 12), (L1C, "L2A", 12)])
def test_the_level_is_found_or_told(tmp_path: Path, bands: dict[str, int], level: Any, planes: int) -> None:
    make(tmp_path / "in", {"0": [SUMMER]}, bands)
    store = prepare(tmp_path / "in", tmp_path / "s", bands="all", size=36, level=level)
    assert store.shape[0] == planes
    assert f"Sentinel-2 {level or ('L1C' if planes == 13 else 'L2A')}" in store.header.provenance


def test_bands_may_be_written_with_two_digits(source: Path, tmp_path: Path) -> None:
    for path in source.rglob("B?.tif"):
        path.rename(path.with_name(f"B0{path.name[1:]}"))
    assert len(prepare(source, tmp_path / "s", bands="all", size=36)) == 6


def test_places_with_few_dates_are_left_out_and_told(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = prepare(source, tmp_path / "s", size=36, min_dates=3)
    assert set(store.table["place"]) == {"000000"}
    assert "note: 2 places with fewer than 3 dates are left out" in capsys.readouterr().err
    with pytest.raises(UserError, match="the plan has no patches"):
        prepare(source, tmp_path / "t", size=36, min_dates=4)


def test_places_may_lie_one_folder_deeper(tmp_path: Path) -> None:
    make(tmp_path / "in" / "seasonal_contrast_100k", {"0": [SUMMER]})
    assert len(prepare(tmp_path / "in", tmp_path / "s", size=36)) == 1
    make(tmp_path / "in" / "again", {"0": [SUMMER]})
    with pytest.raises(
        UserError, match=r"holds places in .*again and .*seasonal_contrast_100k; give the folder of one"
    ):
        prepare(tmp_path / "in", tmp_path / "t", size=36)


NAMES = [
    (SUMMER, datetime(2020, 6, 4, 5, 46, 39, tzinfo=UTC)),
    ("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP", datetime(2017, 6, 13, 10, 10, 31, tzinfo=UTC)),
    ("20200604T054639", datetime(2020, 6, 4, 5, 46, 39, tzinfo=UTC)),
    ("20200604", datetime(2020, 6, 4, tzinfo=UTC)),
    ("2020-06-04", datetime(2020, 6, 4, tzinfo=UTC)),
    ("summer", None),
    ("0", None),
    ("123456789", None),
    ("T43RCP_20200604", None),
]


@pytest.mark.parametrize(("name", "time"), NAMES)
def test_names_that_tell_a_time(name: str, time: datetime | None) -> None:
    assert acquired(name) == time


@pytest.mark.parametrize("name", ["20201304T054639_x", "20200230", "20200604T996039"])
def test_names_that_look_like_a_date_but_are_none(name: str) -> None:
    with pytest.raises(ValueError, match=r"its name holds .*, which is no date"):
        acquired(name)


def test_unknown_dates_stay_unknown(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source / "000000" / SUMMER).rename(source / "000000" / "0-first")
    store = prepare(source, tmp_path / "s", size=36)
    assert "the names of 1 folders tell no date" in capsys.readouterr().err
    assert store.table["time"].isna().sum() == 1
    assert list(store.targets["members"].iloc[0])[-1] == "000000/0-first"  # after those with a date


def test_numbers_of_2022_are_pointed_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "in", {"0": ["20220125T054639", "20220124T054639"]})
    prepare(tmp_path / "in", tmp_path / "s", size=36)
    assert "note: 1 images are of 2022-01-25 or later" in capsys.readouterr().err


def test_a_plan_opens_no_image(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seco_plan, "_CHUNK", 2)  # several batches
    for path in source.rglob("*.tif"):
        path.write_bytes(b"")
    plan = plan_places(source, 1)
    assert plan["id"].tolist() == sorted(plan["id"])
    assert len(plan) == 6


# -- damage ---------------------------------------------------------------------------------------


def cut_short(folder: Path) -> None:
    path = folder / WINTER / "B5.tif"
    path.write_bytes(path.read_bytes()[:200])


def no_band(folder: Path) -> None:
    (folder / WINTER / "B12.tif").unlink()


def bad_date(folder: Path) -> None:
    (folder / WINTER).rename(folder / WINTER.replace("20201215", "20201315"))


def other_type(folder: Path) -> None:
    write(folder / WINTER / "B4.tif", np.zeros((36, 36), np.float32), SIDE)


def small(folder: Path) -> None:
    write(folder / WINTER / "B2.tif", np.zeros((20, 36), np.uint16), SIDE)


def no_fine_band(folder: Path) -> None:
    for band in ("B2", "B3", "B4", "B8"):
        (folder / WINTER / f"{band}.tif").unlink()


DAMAGES: list[tuple[Callable[[Path], None], str, str]] = [
    (cut_short, "all", r"B5\.tif: "),
    (no_band, "all", "band B12 is missing"),
    (bad_date, "all", "its name holds 20201315T054639, which is no date"),
    (other_type, "all", r"B4\.tif: it holds 1 bands of float32, not 1 of uint16"),
    (small, "all", "it has 20 × 36 pixels of 10 m, less than --size 36"),
    (no_fine_band, "B05", "it has none of the bands of 10 m"),
]


@pytest.mark.parametrize(("damage", "bands", "message"), DAMAGES)
def test_a_bad_image_is_one_error_and_loses_nothing_else(
    source: Path, tmp_path: Path, damage: Callable[[Path], None], bands: str, message: str
) -> None:
    damage(source / "000000")
    with pytest.raises(UserError, match=rf"000000/2020\S+: {message}.*--on-error skip"):
        prepare(source, tmp_path / "s", bands=bands, size=36)
    store = prepare(source, tmp_path / "s", bands=bands, size=36, on_error="skip")
    assert len(store) == 5
    ((_, reason),) = store.header.skipped
    assert len(reason.splitlines()) == 1
    assert list(store.targets["members"].iloc[0]) == [f"000000/{date}" for date in (SUMMER, SPRING)]
    assert len(store.targets) == 3


def test_a_place_without_any_good_image_has_no_series(source: Path, tmp_path: Path) -> None:
    (source / "000002" / WINTER / "B4.tif").unlink()
    store = prepare(source, tmp_path / "s", size=36, on_error="skip")
    assert store.targets["id"].tolist() == ["000000", "000001"]


OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"size": 0}, "--size 0 is out of range"),
    ({"min_dates": 0}, "--min-dates 0 is out of range"),
    ({"bands": "B10"}, "no band 'B10'"),
    ({"bands": "B02,B99"}, "no band 'B99'"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_wrong_options(source: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare(source, tmp_path / "s", **options)
    assert not (tmp_path / "s").exists()


def test_wrong_sources(tmp_path: Path) -> None:
    (tmp_path / "empty" / "0" / SUMMER).mkdir(parents=True)
    for folder, message in (("absent", "is no folder"), ("empty", r"holds no PLACE/TIMESTAMP/B2\.tif")):
        with pytest.raises(UserError, match=message):
            prepare(tmp_path / folder, tmp_path / "s")


# -- the real sample ------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize(("level", "folder", "planes", "second"), [("L2A", "s2a", 12, 13), ("L1C", "s2c", 13, 23)])
def test_the_real_place_is_read_right(
    real_data: Path, tmp_path: Path, level: str, folder: str, planes: int, second: int
) -> None:
    source = real_data / "ssl4eo_s12"
    if not source.is_dir():
        pytest.skip(f"there is no {source}")
    store = prepare(source / folder, tmp_path / "s", bands="all")
    assert store.shape == (planes, 264, 264)
    assert f"Sentinel-2 {level}" in store.header.provenance
    assert store.table["place"].tolist() == ["0000200"] * 2
    days = store.table["time"].dt.strftime("%Y-%m-%d %H:%M:%S").tolist()
    assert days == ["2020-06-04 05:46:39", f"2020-08-{second} 05:46:39"]
    assert store.place()[0] == pytest.approx([30.4640, 73.3059], abs=1e-4)
    path = source / folder / str(store.table["source"].iloc[0])
    with rasterio.open(path / "B8.tif") as raster:
        near_infrared = raster.read(1)
    names = [band.name for band in store.bands]
    pixels = store.pixels(np.array([0]))[0]
    np.testing.assert_array_equal(pixels[names.index("B08")], near_infrared)
    with rasterio.open(path / "B11.tif") as raster:
        np.testing.assert_array_equal(pixels[names.index("B11")], resize(raster.read(1), (264, 264), "bilinear"))
    similar = np.corrcoef(pixels[names.index("B8A")].ravel(), near_infrared.ravel())[0, 1]
    assert similar > 0.95  # half a pixel off, it would be less: see docs/datasets.md
    with pytest.raises(UserError, match=r"holds places in .*s2a and .*s2c"):
        prepare(source, tmp_path / "t")
