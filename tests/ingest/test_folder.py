import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from wherewhen import splits
from wherewhen.cli import main
from wherewhen.errors import UserError
from wherewhen.ingest.folder import prepare
from wherewhen.maps import UNKNOWN
from wherewhen.store import PatchStore

gpd = pytest.importorskip("geopandas")
pytest.importorskip("rasterio")

from shapely.geometry import Point, Polygon, box  # noqa: E402

from tests.scene_fakes import LEFT, TOP, UTM32, UTM33, plane, write, write_bands, write_safe  # noqa: E402

NAMES = ("B02", "B03", "B04")
SHAPE = (320, 480)  # of the western scene: 5 × 7 patches of 64 and a half one


def at(row: float, column: float, side: float = 10) -> tuple[float, float]:
    """x and y of a place in pixels of the western scene."""
    return LEFT + side * column, TOP - side * row


def area(top: float, left: float, bottom: float, right: float) -> Polygon:
    return box(*at(bottom, left), *at(top, right))


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """A western scene with all bands in a file, and one further east in another zone with a file a band."""
    folder = tmp_path / "imagery"
    west = np.stack([plane(SHAPE, 1000 + 100 * band) for band in range(3)])
    west[:, 256:, :64] = 0  # a corner without data
    write(folder / "west_20200701T101010.tif", west, names=NAMES)
    write_bands(folder / "east", "east_20210801_", {"B02": (10, 900), "B03": (10, 950), "B04": (20, 990)}, (128, 128))
    for path in sorted((folder / "east").glob("*.tif")):
        import rasterio

        with rasterio.open(path) as raster:
            pixels, side = raster.read(), raster.transform.a
        write(path, pixels, crs=UTM33, side=side, left=700_000)
    return folder


def points(path: Path, places: list[tuple[float, float, str]], **columns: Any) -> Path:
    """Points of (row, column, class) of the western scene, in degrees."""
    frame = gpd.GeoDataFrame(
        {"cover": [name for *_, name in places], **columns},
        geometry=[Point(*at(r, c)) for r, c, _ in places],
        crs=UTM32,
    )
    frame.to_crs("EPSG:4326").to_file(path)
    return path


def spread(count: int = 24) -> list[tuple[float, float, str]]:
    """Points all over the western scene, in two classes."""
    rng = np.random.default_rng(3)
    rows, columns = rng.integers(0, SHAPE[0], count), rng.integers(64, SHAPE[1], count)
    return [
        (float(r) + 0.5, float(c) + 0.5, ("crop", "wood")[i % 2])
        for i, (r, c) in enumerate(zip(rows, columns, strict=True))
    ]


def run(scenes: Path, labels: Path, out: Path, **options: Any) -> PatchStore:
    usual: dict[str, Any] = {"class_column": "cover", "sensor": "sentinel2_l2a", "bands": NAMES}
    return prepare([scenes], out, labels_file=labels, **usual | options)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# -- maps -----------------------------------------------------------------------------------------


def test_points_become_pixels_of_masks(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = spread()
    store = run(scenes, points(tmp_path / "l.geojson", places), tmp_path / "s", unlabelled=10)
    assert store.classes == ("crop", "wood")
    assert (store.label_kind, store.shape, store.header.pixel_size) == ("none", (3, 64, 64), 10)
    masks, table = store.masks(np.arange(len(store))), store.table
    burnt = [
        (places, code) for places, code in zip(np.argwhere(masks != UNKNOWN), masks[masks != UNKNOWN], strict=True)
    ]
    found = set()
    for (patch, row, column), code in burnt:
        name = table["id"].iloc[patch]
        assert name.startswith("west")
        top, left = int(name.split("-r")[1][:5]), int(name.split("-c")[1])
        found.add((top + row + 0.5, left + column + 0.5, store.classes[code]))
    kept = {place for place in places if place in found}
    assert found == kept  # nothing else is burnt
    assert len(burnt) == len(found)  # and nothing twice, though the last patches of a row overlap
    assert len(found) >= len(places) - 6  # but for those in a gap, or without data
    assert table["split"].isin(["train", "val", "test"]).all()
    labelled = table["mask_shard"].notna()
    assert (table["split"][~labelled] == "train").all()
    assert set(table["split"][labelled]) >= {"train", "test"}
    out, err = capsys.readouterr()
    assert "2 scenes, bands B02, B03, B04" in out
    assert (
        "west_20200701T101010: 320 × 480 pixels of 10 m, EPSG:32632, 2020-07-01 10:10 (YYYYMMDDTHHMMSS in the name)"
        in out
    )
    assert "24 labels in" in out
    assert "split by blocks of" in out
    assert "Error" not in err


def test_pixels_place_and_time_are_those_of_the_scene(scenes: Path, tmp_path: Path) -> None:
    east = [place for place in spread(40) if place[1] > 250]  # far from the corner without data
    labels = points(tmp_path / "l.geojson", east)
    store = run(scenes, labels, tmp_path / "s", unlabelled=None, block_km=0.7)
    table = store.table
    west = np.stack([plane(SHAPE, 1000 + 100 * band) for band in range(3)])
    west[:, 256:, :64] = 0
    for row in range(len(store)):
        name = table["id"].iloc[row]
        top, left = int(name.split("-r")[1][:5]), int(name.split("-c")[1])
        if name.startswith("west"):
            np.testing.assert_array_equal(store.pixels(np.array([row]))[0], west[:, top : top + 64, left : left + 64])
            where = gpd.GeoSeries([Point(*at(top + 32, left + 32))], crs=UTM32).to_crs("EPSG:4326")[0]
            np.testing.assert_allclose(store.place()[row], (where.y, where.x), atol=1e-9)
            assert str(table["time"].iloc[row]) == "2020-07-01 10:10:10+00:00"
        else:
            assert str(table["time"].iloc[row]) == "2021-08-01 00:00:00+00:00"
            assert store.place()[row, 1] == pytest.approx(17.7, abs=0.1)
    skipped = dict(store.header.skipped)
    assert skipped["west_20200701T101010-r00256-c00000"] == "100% of it has no data"
    assert table["id"].str.startswith("east").sum() == 4


def test_polygons_are_burnt_where_pixel_centres_lie_in_them_and_unknown_where_two_classes_claim_a_pixel(
    scenes: Path, tmp_path: Path
) -> None:
    shapes = {
        "crop": [area(10, 70, 30, 100), area(100, 200, 200, 330)],
        "wood": [area(20, 90, 40, 110), area(220.2, 300.2, 220.6, 300.6)],  # the last smaller than a pixel
    }
    rows = [(name, shape) for name, some in shapes.items() for shape in some]
    frame = gpd.GeoDataFrame(rows, columns=["cover", "geometry"], crs=UTM32)
    frame.to_file(tmp_path / "l.gpkg")
    store = run(scenes, tmp_path / "l.gpkg", tmp_path / "s", unlabelled=0, block_km="none", max_nodata=1.0)
    truth = np.full(SHAPE, UNKNOWN)
    truth[10:30, 70:100] = truth[100:200, 200:330] = 0
    truth[20:40, 90:110] = truth[220, 300] = 1
    truth[20:30, 90:100] = UNKNOWN
    seen = np.full(SHAPE, UNKNOWN)
    for name, mask in zip(store.table["id"], store.masks(np.arange(len(store))), strict=True):
        top, left = int(name.split("-r")[1][:5]), int(name.split("-c")[1])
        here = np.s_[top : top + 64, left : left + 64]
        assert (mask[(seen[here] != UNKNOWN)] == UNKNOWN).all()  # no label pixel counts twice
        seen[here] = np.where(mask != UNKNOWN, mask, seen[here])
        truth_here = np.where(mask != UNKNOWN, mask, UNKNOWN)
        np.testing.assert_array_equal(truth_here[mask != UNKNOWN], truth[here][mask != UNKNOWN])
    lost = (truth != UNKNOWN) & (seen == UNKNOWN)  # in patches that overlap a test patch, which the split leaves out
    assert lost.sum() < (truth != UNKNOWN).sum() / 2


def test_a_label_where_the_last_patch_of_a_row_overlaps_its_neighbour_is_burnt_once(
    scenes: Path, tmp_path: Path
) -> None:
    places = [(10.5, 420.5, "crop"), (100.5, 440.5, "wood"), (200.5, 200.5, "crop"), (300.5, 100.5, "wood")]
    (west,) = scenes.glob("west*")
    labels = points(tmp_path / "l.geojson", places)
    store = run(west, labels, tmp_path / "s", block_km="none", unlabelled=0)
    assert len(store) == 4
    assert (store.masks(np.arange(4)) != UNKNOWN).sum() == 4


def test_unlabelled_patches_are_from_training_blocks_and_share_no_ground_with_the_test(
    scenes: Path, tmp_path: Path
) -> None:
    labels = points(tmp_path / "l.geojson", spread(40))
    store = run(scenes, labels, tmp_path / "s", size=16, block_km=0.7, unlabelled=None)
    known, split, place = store.table["mask_shard"].notna().to_numpy(), store.table["split"].to_numpy(), store.place()
    block = np.array([f"{row}/{column}" for row, column in splits.blocks(place, 0.7)])
    held = np.isin(split, ["test", "val"])
    assert set(split) == {"train", "val", "test"}
    assert not set(block[~known]) & set(block[held])
    assert splits.distance_to_nearest(place[split == "train"], place[split == "test"]).min() > 0.16 * np.sqrt(2)
    assert (~known).sum() > 100


def corners(store: PatchStore) -> np.ndarray:
    """(N, 2) first row and column of each patch on the grid."""
    return np.array([(int(name[-12:-7]), int(name[-5:])) for name in store.table["id"]])


@pytest.mark.parametrize("block_km", ["none", 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_no_patch_of_a_scene_shares_a_pixel_with_a_test_patch(
    scenes: Path, tmp_path: Path, seed: int, block_km: float | str
) -> None:
    (west,) = scenes.glob("west*")  # 7 patches and a half wide
    labels = points(tmp_path / "l.geojson", spread(60))
    store = run(west, labels, tmp_path / "s", seed=seed, block_km=block_km, unlabelled=None)
    where, test = corners(store), (store.table["split"] == "test").to_numpy()
    apart = np.abs(where[~test][:, None] - where[test]).max(-1)
    assert apart.min() >= 64
    assert (apart == 64).any()  # neighbours that only touch are kept


def test_a_scene_of_overlapping_patches_alone_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "small.tif", np.stack([plane((70, 70), 1000)] * 3), names=NAMES)
    labels = points(tmp_path / "l.geojson", [(2.5, 2.5, "crop"), (68.5, 68.5, "wood")])
    with pytest.raises(UserError, match="every labelled patch shares pixels with a test patch; take a smaller --size"):
        run(tmp_path / "small.tif", labels, tmp_path / "s", block_km="none")


def test_labels_of_every_patch_leave_none_without(scenes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "l.gdb"  # a folder of files
    halves = [area(0, 0, 320, 240), area(0, 240, 320, 480)]
    gpd.GeoDataFrame({"cover": ["crop", "wood"]}, geometry=halves, crs=UTM32).to_file(folder, driver="OpenFileGDB")
    store = prepare(
        [scenes / "west_20200701T101010.tif"],
        tmp_path / "s",
        labels_file=folder,
        class_column="cover",
        sensor="sentinel2_l2a",
        block_km=1.3,
    )
    assert store.table["mask_shard"].notna().all()
    assert "labels l.gdb, classes of cover" in store.header.provenance


def test_larger_points(scenes: Path, tmp_path: Path) -> None:
    places = [(10.5, 80.5, "crop"), (200.5, 300.5, "wood"), (100.5, 400.5, "wood")]
    labels = points(tmp_path / "l.geojson", places)
    store = run(scenes, labels, tmp_path / "s", point_pixels=3, block_km="none", unlabelled=0)
    assert {int((mask != UNKNOWN).sum()) for mask in store.masks(np.arange(len(store)))} == {9}


# -- patches --------------------------------------------------------------------------------------


def test_one_label_a_patch(scenes: Path, tmp_path: Path) -> None:
    places = spread()
    labels = points(tmp_path / "l.geojson", places, id=[f"p{number}" for number in range(len(places))])
    store = run(scenes, labels, tmp_path / "s", task="patch", size=32, unlabelled=20)
    assert (store.label_kind, store.has_masks, store.shape) == ("one", False, (3, 32, 32))
    known = store.labels() >= 0
    for row in np.flatnonzero(known):
        number = int(store.table["place"].iloc[row].removeprefix("p"))
        y, x, name = places[number]
        assert store.classes[store.labels()[row]] == name
        top = int(np.clip(np.floor(y) - 16, 0, SHAPE[0] - 32))
        left = int(np.clip(np.floor(x) - 16, 0, SHAPE[1] - 32))
        np.testing.assert_array_equal(
            store.pixels(np.array([row]))[0, 0], plane(SHAPE, 1000)[top : top + 32, left : left + 32]
        )
    split, place = store.table["split"].to_numpy(object), store.place()
    gap = splits.distance_to_nearest(place[split != "test"], place[split == "test"]).min()
    assert gap > 0.32 * np.sqrt(2)  # no two share a pixel
    assert known[split == "test"].all()
    assert (~known).sum() <= 20


def test_a_time_of_the_labels_counts_more(scenes: Path, tmp_path: Path) -> None:
    places = spread(12)
    days = ["2019-03-04" if number else None for number in range(len(places))]
    labels = points(tmp_path / "l.geojson", places, seen=days, id=list(range(12)))
    store = run(scenes, labels, tmp_path / "s", task="patch", time_column="seen", unlabelled=2, block_km="none")
    times = store.table.set_index("place")["time"].dt.strftime("%Y-%m-%d")
    assert {times.get("0", "2020-07-01")} == {"2020-07-01"}
    assert set(times[[name for name in times.index if name in map(str, range(1, 12))]]) == {"2019-03-04"}


def test_a_polygon_whose_middle_lies_outside_gives_a_patch_of_its_part_inside(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (west,) = scenes.glob("west*")
    shapes = [area(100, -900, 140, 100), area(10, 200, 50, 240), area(250, 300, 290, 340), area(0, 480, 40, 600)]
    frame = gpd.GeoDataFrame({"cover": ["crop", "wood", "crop", "wood"]}, geometry=shapes, crs=UTM32)
    frame.to_file(tmp_path / "l.gpkg")
    store = run(
        west, tmp_path / "l.gpkg", tmp_path / "s", task="patch", size=32, block_km="none", unlabelled=0, max_nodata=1.0
    )
    assert set(store.table["place"]) == {"0", "1", "2"}
    err = capsys.readouterr().err
    assert "1 labels lie outside every scene: 3" in err  # its edge is the scene's, and no pixel is in it


# -- the build ------------------------------------------------------------------------------------


def test_workers_and_reruns_make_no_difference(scenes: Path, tmp_path: Path) -> None:
    labels = points(tmp_path / "l.geojson", spread())
    stores = [run(scenes, labels, tmp_path / f"s{workers}", workers=workers, size=16) for workers in (1, 2)]
    assert contents(stores[0].path) == contents(stores[1].path)
    assert len(run(scenes, labels, tmp_path / "s1", size=16)) == len(stores[0])  # finished: opened
    with pytest.raises(UserError, match="holds another store"):
        run(scenes, labels, tmp_path / "s1", size=16, seed=1)


def test_clouds_are_left_out(tmp_path: Path) -> None:
    write_safe(tmp_path, "S2A_MSIL2A_20220701T101031_N0400_R022_T32TQM_X", (128, 128))
    labels = points(
        tmp_path / "l.geojson", [(5.5, 5.5, "a"), (40.5, 40.5, "b"), (100.5, 20.5, "a"), (100.5, 100.5, "b")]
    )
    store = prepare(
        [tmp_path], tmp_path / "s", labels_file=labels, class_column="cover", size=8, max_cloud=0.2, block_km="none"
    )
    assert [band.offset for band in store.bands] == [-1000] * 3
    assert (
        dict(store.header.skipped)["S2A_MSIL2A_20220701T101031_N0400_R022_T32TQM_X-r00000-c00000"]
        == "100% of it is under clouds"
    )


def test_the_verb(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels, out = points(tmp_path / "l.geojson", spread()), tmp_path / "s"
    words = ["prepare", "folder", str(scenes / "west_20200701T101010.tif"), str(scenes / "east"), str(out)]
    words += ["--labels", str(labels), "--class-column", "cover", "--sensor", "sentinel2_l2a", "--workers", "1"]
    assert main([*words, "--unlabelled", "all", "--block-km", "1.5"]) == 0
    assert "split by blocks of 1.5 km (as asked for)" in capsys.readouterr().out
    header = json.loads((out / "store.json").read_text())
    assert "split by blocks of 1.5 km" in header["provenance"]
    assert main([*words, "--unlabelled", "some"]) == 2
    assert "--unlabelled 'some' is neither a number nor 'all'" in capsys.readouterr().err


# -- bad input ------------------------------------------------------------------------------------


def write_frame(path: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(path, index=False)
    return path


def outside(folder: Path) -> Path:
    return points(folder / "l.geojson", [(-5000, 0, "a"), (-6000, 0, "b")])


def one_place(folder: Path) -> Path:
    return points(folder / "l.geojson", [(10.5, 100.5, "a"), (11.5, 101.5, "b")])


BAD: dict[str, tuple[Callable[[Path], Path], dict[str, Any], str]] = {
    "outside": (outside, {}, "none of the 2 labels lies in a scene.*first 0, 1.*--labels-crs"),
    "one place": (one_place, {}, "no blocks of .* leave labels for both"),
    "one place at random": (one_place, {"block_km": "none"}, "one labelled place cannot be both"),
    "no such file": (lambda f: f / "none.geojson", {}, "none.geojson does not exist"),
    "size": (outside, {"size": 4}, "--size 4 is out of range"),
    "large size": (one_place, {"size": 400}, "less than a patch of 400 × 400"),
    "share": (outside, {"test_share": 1.0}, "--test-share 1.0 is out of range"),
    "nodata": (outside, {"max_nodata": 1.5}, "--max-nodata 1.5 is out of range"),
    "block": (outside, {"block_km": -2.0}, "--block-km -2.0 is out of range"),
    "endless block": (outside, {"block_km": float("inf")}, "--block-km inf is out of range"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told_before_anything_is_written(scenes: Path, tmp_path: Path, name: str) -> None:
    make, options, message = BAD[name]
    with pytest.raises(UserError, match=message):
        run(scenes, make(tmp_path), tmp_path / "s", **options)
    assert not (tmp_path / "s").exists()


def test_labels_outside_are_listed_and_bad_scenes_skipped(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(scenes / "north.tif", np.zeros((3, 70, 70), "uint16"), names=NAMES)
    labels = points(tmp_path / "l.geojson", [*spread(), (-9000, 0, "crop")])
    with pytest.raises(UserError, match=r"north\.tif: it has no data anywhere"):
        run(scenes, labels, tmp_path / "s")
    run(scenes, labels, tmp_path / "s", on_error="skip")
    err = capsys.readouterr().err
    assert "skipped scene north: it has no data anywhere" in err
    assert "1 labels lie outside every scene: 24" in err


def test_a_patch_that_cannot_be_read_stops_the_build_or_is_listed(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wherewhen.scenes import Scene

    labels, look = points(tmp_path / "l.geojson", spread()), Scene.look

    def broken(self: Scene, window: Any) -> Any:
        if self.name.startswith("east") and window[0] == 64 and window[2] == 64:
            raise ValueError("east.tif cannot be read: a strip is short")
        return look(self, window)

    monkeypatch.setattr(Scene, "look", broken)
    with pytest.raises(UserError, match=r"east\.tif cannot be read.*--on-error skip"):
        run(scenes, labels, tmp_path / "s", unlabelled=None)
    store = run(scenes, labels, tmp_path / "t", unlabelled=None, on_error="skip")
    assert ("east_20210801-r00064-c00064", "east.tif cannot be read: a strip is short") in store.header.skipped
