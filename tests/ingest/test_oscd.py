import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ingest.shifts import shift_of
from wherewhen import prepare as verb
from wherewhen.errors import UserError
from wherewhen.ingest.oscd import prepare
from wherewhen.ingest.oscd_city import BANDS, City, read_scene
from wherewhen.maps import UNKNOWN
from wherewhen.store import PatchStore

rasterio = pytest.importorskip("rasterio")

LEFT, TOP, SIDE = 12.0, 48.0, 1e-4
SHAPES = {"delft": (48, 60), "lyon": (48, 48), "quito": (60, 72), "turin": (48, 48)}
COARSE = {"B01": 6, "B05": 2, "B06": 2, "B07": 2, "B8A": 2, "B09": 6, "B10": 6, "B11": 2, "B12": 2}
NAMES = ("S2A_OPER_MSI_L1C_TL_EPA__20160706T155721_A000849_T30UWU_{}.tif", "T30UWU_20170621T110651_{}.tif")


def write(path: Path, pixels: np.ndarray, bounds: tuple[float, float, float, float] | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    form = {"driver": "GTiff", "count": 1, "height": pixels.shape[0], "width": pixels.shape[1], "dtype": pixels.dtype}
    if bounds is not None:
        form |= {"crs": "EPSG:4326"}
        form |= {"transform": rasterio.transform.from_bounds(*bounds, pixels.shape[1], pixels.shape[0])}
    with rasterio.open(path, "w", **form) as raster:
        raster.write(pixels, 1)


def ground(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Smooth numbers of a band at 10 m."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.asarray(1000 + 100 * seed + 7 * rows + 3 * columns, np.uint16)


def bounds_of(shape: tuple[int, int]) -> tuple[float, float, float, float]:
    return (LEFT, TOP - shape[0] * SIDE, LEFT + shape[1] * SIDE, TOP)


def write_city(source: Path, name: str, mask: bool) -> None:
    shape, folder = SHAPES[name], source / "images" / name
    for date, pattern in enumerate(NAMES, 1):
        for number, band in enumerate(BANDS):
            step = COARSE.get(band, 1)
            pixels = ground(shape, 20 * date + number)[step // 2 :: step, step // 2 :: step]
            write(folder / f"imgs_{date}" / pattern.format(band), pixels, bounds_of(shape))
    (folder / "dates.txt").write_text("date_1: 20160706\ndate_2: 20170621\n")
    if mask:
        change = np.ones(shape, np.uint8)
        change[4:20, 8:30] = 2
        write(source / "train_labels" / name / "cm" / f"{name}-cm.tif", change, None)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three masked cities and one without."""
    folder = tmp_path / "oscd"
    for name in SHAPES:
        write_city(folder, name, mask=name != "turin")
    (folder / "train.txt").write_text("delft,lyon,paris\n")
    (folder / "test.txt").write_text("quito,turin\n")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_tiles_of_both_dates_and_their_change(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = prepare(source, tmp_path / "s", size=24, workers=2)
    table = store.table
    assert store.shape == (13, 24, 24)
    assert tuple(band.name for band in store.bands) == BANDS
    counts = table["place"].str.split("-").str[0].value_counts().to_dict()
    assert counts == {"delft": 12, "lyon": 8, "quito": 18, "turin": 8}
    splits = {str(i).split("-")[0]: split for i, split in zip(table["id"], table["split"], strict=True)}
    assert splits == {"delft": "train", "lyon": "train", "quito": "test", "turin": "train"}
    assert "without mask, for pre-training only: turin" in capsys.readouterr().err
    assert set(table["time"].astype(str)) == {"2016-07-06 00:00:00+00:00", "2017-06-21 00:00:00+00:00"}
    assert (table.groupby("place")["time"].nunique() == 2).all()
    row = int(np.flatnonzero(table["id"] == "quito-r0024-c0048-2")[0])
    assert store.place()[row] == pytest.approx([TOP - 36 * SIDE, LEFT + 60 * SIDE])
    np.testing.assert_array_equal(store.pixels(np.array([row]))[0, 1], ground((60, 72), 41)[24:48, 48:72])
    # bilinear between the centres of a plane gives the plane; the fake's coarse numbers are those half a pixel further
    coarse, fine = store.pixels(np.array([row]))[0].astype(int), ground((60, 72), 40).astype(int)[24:48, 48:72]
    assert np.abs(coarse[0] - fine - 5)[:, :-3].max() <= 1  # B01; beyond its last centre the edge goes on
    assert np.abs(coarse[4] - (fine + 400) - 5)[:, :-1].max() <= 1


def test_targets_are_pairs_whose_masks_count_every_pixel_once(source: Path, tmp_path: Path) -> None:
    store = prepare(source, tmp_path / "s", size=24)
    targets = store.targets
    assert set(targets["kind"]) == {"change"}
    assert len(targets) == 6 + 4 + 9
    assert not targets["id"].str.startswith("turin").any()
    assert list(targets["members"].iloc[0]) == ["delft-r0000-c0000-1", "delft-r0000-c0000-2"]
    time = store.table.set_index("id")["time"]
    assert all(time[before] < time[after] for before, after in targets["members"])
    masks = store.target_masks(np.arange(len(targets)))
    assert set(np.unique(masks)) == {0, 1, UNKNOWN}
    for name in ("delft", "lyon", "quito"):
        mine = targets["id"].str.startswith(name).to_numpy()
        assert (masks[mine] != UNKNOWN).sum() == np.prod(SHAPES[name])
        assert (masks[mine] == 1).sum() == 16 * 22
    last = int(np.flatnonzero(targets["id"] == "delft-r0024-c0036-change")[0])  # moved inwards from column 48
    assert (masks[last][:, :12] == UNKNOWN).all()
    assert (masks[last][:, 12:] != UNKNOWN).all()


def test_workers_and_reruns_make_no_difference(source: Path, tmp_path: Path) -> None:
    stores = [prepare(source, tmp_path / f"s{workers}", size=16, workers=workers) for workers in (1, 2)]
    assert contents(stores[0].path) == contents(stores[1].path)
    assert len(prepare(source, tmp_path / "s1", size=16)) == len(stores[0])  # finished: opened
    with pytest.raises(UserError, match="holds another store"):
        prepare(source, tmp_path / "s1", size=16, resampling="nearest")


def test_a_second_date_of_another_size_is_scaled_onto_the_first(source: Path, tmp_path: Path) -> None:
    """As hongkong: the same ground in two rows and columns fewer."""
    rng = np.random.default_rng(0)
    scene = rng.integers(1000, 3000, (12, 12)).repeat(8, 0).repeat(8, 1).astype(np.uint16)  # 96 x 96, of 5 m
    for date, side in ((1, 48), (2, 46)):
        index = ((np.arange(side) + 0.5) * 96 / side).astype(int)
        for band in BANDS:
            pixels = scene[np.ix_(index, index)]
            write(
                source / "images" / "lyon" / f"imgs_{date}" / NAMES[date - 1].format(band), pixels, bounds_of((48, 48))
            )
    store = prepare(source, tmp_path / "s", size=48, test=["quito"])
    before, after = store.pixels(np.flatnonzero(store.table["id"].str.startswith("lyon")))[:, 1].astype(float)
    assert np.abs(shift_of(before, after)).max() < 0.2
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.9  # blocks with sharp edges, blurred by a pixel


def test_what_a_date_does_not_show_is_unknown(source: Path, tmp_path: Path) -> None:
    west, south, east, north = bounds_of((48, 48))
    for band in BANDS:  # date 2 begins 30 columns further east
        step = COARSE.get(band, 1)
        pixels = ground((48, 48), 5)[::step, ::step]
        moved = (west + 30 * SIDE, south, east + 30 * SIDE, north)
        write(source / "images" / "lyon" / "imgs_2" / NAMES[1].format(band), pixels, moved)
    store = prepare(source, tmp_path / "s", size=24, test=["quito"])
    mine = store.targets["id"].str.startswith("lyon").to_numpy()
    assert store.targets["id"][mine].tolist() == ["lyon-r0000-c0024-change", "lyon-r0024-c0024-change"]
    for mask in store.target_masks(np.flatnonzero(mine)):
        assert (mask[:, :6] == UNKNOWN).all()
        assert (mask[:, 6:] != UNKNOWN).all()
    row = np.flatnonzero(store.table["id"] == "lyon-r0000-c0024-2")
    assert (store.pixels(row)[0, 1, :, :6] == 0).all()
    assert store.table["id"].str.startswith("lyon").sum() == 4


def test_rectified_images_are_used_where_they_are(source: Path, tmp_path: Path) -> None:
    folder = source / "images" / "lyon"
    for date in (1, 2):
        for number, band in enumerate(BANDS):
            write(folder / f"imgs_{date}_rect" / f"{band}.tif", ground((48, 48), 50 * date + number), None)
    store = prepare(source, tmp_path / "s", size=48, test=["quito"])
    rows = np.flatnonzero(store.table["id"].str.startswith("lyon"))
    expected = [[ground((48, 48), 50 * date + number) for number in range(13)] for date in (1, 2)]
    np.testing.assert_array_equal(store.pixels(rows), expected)
    assert np.isnan(store.place()[rows]).all()  # these files know no place


def test_overlapping_tiles(source: Path, tmp_path: Path) -> None:
    store = prepare(source, tmp_path / "s", size=24, stride=12, test=["quito"])
    assert store.table["place"].str.startswith("lyon").sum() == 2 * 9
    masks = store.target_masks(np.flatnonzero(store.targets["id"].str.startswith("lyon")))
    assert (masks != UNKNOWN).all()  # 48 is a multiple of 12: no tile was moved


def test_cities_without_any_mask_are_for_pre_training(source: Path, tmp_path: Path) -> None:
    for name in ("train_labels", "images/delft", "images/quito"):
        shutil.rmtree(source / name)
    (source / "test.txt").unlink()
    store = prepare(source, tmp_path / "s", size=24)
    assert set(store.table["split"]) == {"train"}
    assert len(store) == 16
    assert not len(store.targets)


# -- splits ---------------------------------------------------------------------------------------


def test_cities_for_testing_by_name(source: Path, tmp_path: Path) -> None:
    (source / "train.txt").unlink()
    code = verb.main(
        ["oscd", str(source), str(tmp_path / "s"), "--test", "delft", "lyon", "--size", "24", "--workers", "1"]
    )
    assert code == 0
    table = PatchStore.open(tmp_path / "s").table
    assert set(table["place"][table["split"] == "test"].str.split("-").str[0]) == {"delft", "lyon"}


OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"test": ["turin"]}, "--test turin is no masked city in .*delft, lyon, quito"),
    ({"test": ["rome"]}, "--test rome is no masked city"),
    ({"size": 0}, "--size 0 is out of range"),
    ({"size": 16, "stride": 20}, "--stride 20 is out of range"),
    ({"size": 60}, r"delft: it has 48 × 60 pixels, less than a tile of 60 × 60"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_wrong_options(source: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare(source, tmp_path / "s", **options)
    assert not (tmp_path / "s").exists()


def test_wrong_sources(source: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, message in ((empty, "holds no city"), (tmp_path / "absent", "is no folder")):
        with pytest.raises(UserError, match=message):
            prepare(folder, tmp_path / "s")
    (source / "train.txt").write_text("lyon")
    with pytest.raises(UserError, match="city 'delft' is in neither official list"):
        prepare(source, tmp_path / "s")
    (source / "test.txt").unlink()
    with pytest.raises(UserError, match=r"has no test\.txt, the official list.*--test"):
        prepare(source, tmp_path / "s")
    shutil.copytree(source / "images" / "lyon", source / "more" / "lyon")
    with pytest.raises(UserError, match="city 'lyon' is there twice"):
        prepare(source, tmp_path / "s")


# -- damage ---------------------------------------------------------------------------------------


def break_tiff(source: Path) -> None:
    path = source / "images" / "lyon" / "imgs_2" / NAMES[1].format("B05")
    path.write_bytes(path.read_bytes()[:300])


def remove_band(source: Path) -> None:
    (source / "images" / "lyon" / "imgs_1" / NAMES[0].format("B10")).unlink()


def double_band(source: Path) -> None:
    folder = source / "images" / "lyon" / "imgs_1"
    shutil.copy(folder / NAMES[0].format("B10"), folder / "again_B10.tif")


def bad_date(source: Path) -> None:
    (source / "images" / "lyon" / "dates.txt").write_text("date_1: 20160706\ndate_2: 20171341\n")


def no_dates(source: Path) -> None:
    (source / "images" / "lyon" / "dates.txt").unlink()


def strange_mask(source: Path) -> None:
    write(source / "train_labels" / "lyon" / "cm" / "lyon-cm.tif", np.full((48, 48), 7, np.uint8), None)


def small_mask(source: Path) -> None:
    write(source / "train_labels" / "lyon" / "cm" / "lyon-cm.tif", np.ones((40, 48), np.uint8), None)


def no_mask(source: Path) -> None:
    (source / "train_labels" / "lyon" / "cm" / "lyon-cm.tif").unlink()


DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (break_tiff, r"imgs_2/T30UWU_20170621T110651_B05\.tif: "),
    (remove_band, "imgs_1 has no file of band B10"),
    (double_band, "imgs_1 has two files of band B10"),
    (bad_date, r"dates\.txt: it does not say date_1: 20160706"),
    (no_dates, r"dates\.txt: No such file"),
    (strange_mask, r"lyon-cm\.tif: it holds \[7\], not 1 for same and 2 for change"),
    (small_mask, r"lyon-cm\.tif: it has \(40, 48\) pixels, date 1 has \(48, 48\)"),
    (no_mask, r"lyon-cm\.tif: .*No such file"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_a_bad_city_is_one_error_and_loses_nothing_else(
    source: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(source)
    with pytest.raises(UserError, match=rf"images/lyon: {message}.*--on-error skip"):
        prepare(source, tmp_path / "s", size=24)
    assert not (tmp_path / "s").exists()
    store = prepare(source, tmp_path / "s", size=24, on_error="skip")
    ((identifier, reason),) = store.header.skipped
    assert identifier == "lyon"
    assert len(reason.splitlines()) == 1
    assert len(store) == 12 + 18 + 8
    assert len(store.targets) == 6 + 9


def test_masks_of_zero_and_one_are_understood(source: Path) -> None:
    mask = source / "train_labels" / "lyon" / "cm" / "lyon-cm.tif"
    coded = read_scene(City("lyon", source / "images" / "lyon", mask), "nearest").mask
    assert coded is not None
    write(mask, coded, None)
    np.testing.assert_array_equal(read_scene(City("lyon", source / "images" / "lyon", mask), "nearest").mask, coded)


# -- the real sample ------------------------------------------------------------------------------


def some_cities(real_data: Path, folder: Path, *names: str) -> Path:
    """The real sample with few cities, so that it is quick."""
    if not (real_data / "oscd").is_dir():
        pytest.skip(f"there is no {real_data / 'oscd'}")
    for name in names:
        for part in ("images", "train_labels"):
            (folder / part).mkdir(parents=True, exist_ok=True)
            if (real_data / "oscd" / part / name).is_dir():
                (folder / part / name).symlink_to(real_data / "oscd" / part / name)
    return folder


@pytest.mark.data
def test_the_real_cities_are_read_right(real_data: Path, tmp_path: Path) -> None:
    source = some_cities(real_data, tmp_path / "oscd", "hongkong", "mumbai", "paris", "rio")
    store = prepare(source, tmp_path / "s", test=["hongkong", "mumbai"])
    assert store.shape == (13, 96, 96)
    names = store.table["place"].str.split("-").str[0]
    assert set(names[store.table["split"] == "test"]) == {"hongkong", "mumbai"}
    days = store.table.groupby(names)["time"].agg(["min", "max"]).apply(lambda c: c.dt.strftime("%Y%m%d"))
    assert days.loc["hongkong"].tolist() == ["20160927", "20180323"]
    assert days.loc["mumbai"].tolist() == ["20151130", "20180319"]
    masks = store.target_masks(np.arange(len(store.targets)))
    targets = store.targets["id"].str.split("-").str[0]
    for name, same, change in (("hongkong", 361_921, 13_379), ("mumbai", 465_662, 12_244), ("paris", 158_662, 458)):
        mine = masks[(targets == name).to_numpy()]
        assert ((mine == 0).sum(), (mine == 1).sum()) == (same, change), name
    assert set(targets) == {"hongkong", "mumbai", "paris"}
    assert set(names) == {"hongkong", "mumbai", "paris", "rio"}
    lat, lon = store.place()[(names == "rio").to_numpy()].mean(0)
    assert (lat, lon) == (pytest.approx(-22.97, abs=0.02), pytest.approx(-43.38, abs=0.02))


@pytest.mark.data
def test_the_second_date_lies_on_the_first(real_data: Path, tmp_path: Path) -> None:
    source = some_cities(real_data, tmp_path / "oscd", "bordeaux", "hongkong", "mumbai", "paris")
    for folder in sorted((source / "images").iterdir()):
        scene = read_scene(City(folder.name, folder, None), "bilinear")
        before, after = scene.pixels[:, BANDS.index("B04")].astype(float)
        assert np.abs(shift_of(before, after)).max() < 1, folder.name
        coarse, fine = (scene.pixels[0, BANDS.index(band)].astype(float) for band in ("B8A", "B08"))
        assert np.abs(shift_of(fine, coarse)).max() < 0.25, folder.name
        assert scene.known.all()
