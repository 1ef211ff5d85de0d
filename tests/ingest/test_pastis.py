import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wherewhen import prepare as verb
from wherewhen.errors import UserError
from wherewhen.ingest.pastis import BANDS, CLASSES, prepare
from wherewhen.maps import UNKNOWN
from wherewhen.store import PatchStore

pytest.importorskip("pyproj")

DAYS = {
    10000: [20180824, 20180905, 20181004],
    10001: [20180924, 20181004],
    10002: [20180828, 20180905],
    10005: [20190101],
}
FOLDS = {10000: 1, 10001: 4, 10002: 5, 10005: 3}
CORNER = (391504.7355450863, 6956805.915242429)


def feature(number: int) -> dict[str, Any]:
    x, y = CORNER[0] + 10 * number, CORNER[1]
    ring = [[x, y], [x + 1277.2, y - 98.7], [x + 1178.5, y - 1375.8], [x - 98.6, y - 1277.2], [x, y]]
    properties = {
        "ID_PATCH": number,
        "Fold": FOLDS[number],
        "TILE": "t30uxv",
        "dates-S2": {str(index): day for index, day in enumerate(DAYS[number])},
    }
    return {"type": "Feature", "properties": properties, "geometry": {"type": "MultiPolygon", "coordinates": [[ring]]}}


def series(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    return rng.integers(-500, 12_000, (len(DAYS[number]), 10, 128, 128), np.int16)


def crops(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 20, (3, 128, 128)).astype(np.uint8)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Four patches in the official layout."""
    folder = tmp_path / "PASTIS"
    for name in ("DATA_S2", "ANNOTATIONS"):
        (folder / name).mkdir(parents=True)
    write_metadata(folder, [feature(number) for number in DAYS])
    for number in DAYS:
        np.save(folder / "DATA_S2" / f"S2_{number}.npy", series(number))
        np.save(folder / "ANNOTATIONS" / f"TARGET_{number}.npy", crops(number))
    return folder


def write_metadata(folder: Path, features: list[dict[str, Any]]) -> None:
    (folder / "metadata.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def change_metadata(source: Path, number: int, change: Callable[[dict[str, Any]], None]) -> None:
    features = json.loads((source / "metadata.geojson").read_text())["features"]
    change(next(one for one in features if one["properties"]["ID_PATCH"] == number))
    write_metadata(source, features)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_date_nearest_to_a_day(source: Path, tmp_path: Path) -> None:
    store = prepare(source, tmp_path / "s")
    # 2018-09-01 lies four days from either date of 10002: the earlier counts
    assert store.table["id"].tolist() == ["10000-20180905", "10001-20180924", "10002-20180828", "10005-20190101"]
    assert store.table["split"].tolist() == ["train", "val", "test", "train"]
    assert str(store.table["time"].iloc[0]) == "2018-09-05 00:00:00+00:00"
    assert store.table["place"].tolist() == ["10000", "10001", "10002", "10005"]
    assert not len(store.targets)
    assert store.dtype == np.int16
    np.testing.assert_array_equal(store.pixels(np.array([0, 2])), [series(10000)[1], series(10002)[0]])
    assert store.pixels(np.array([0])).min() < 0
    assert tuple(band.name for band in store.bands) == BANDS
    assert {(band.unit, band.scale, band.offset) for band in store.bands} == {("reflectance", 1e-4, 0)}


def test_masks_are_crops_and_void_is_unknown(source: Path, tmp_path: Path) -> None:
    store = prepare(source, tmp_path / "s")
    assert len(CLASSES) == 19
    assert store.classes == CLASSES
    for row, number in enumerate(DAYS):
        mask = store.masks(np.array([row]))[0]
        truth = crops(number)[0]
        np.testing.assert_array_equal(mask == UNKNOWN, truth == 19)
        np.testing.assert_array_equal(mask[truth < 19], truth[truth < 19])


def test_the_whole_series(source: Path, tmp_path: Path) -> None:
    stores = [prepare(source, tmp_path / f"s{workers}", dates="all", workers=workers) for workers in (1, 2)]
    assert contents(stores[0].path) == contents(stores[1].path)
    store = stores[0]
    assert len(store) == 8
    np.testing.assert_array_equal(store.pixels(np.arange(3)), series(10000))
    assert (store.masks(np.arange(3)) == store.masks(np.array([0]))).all()
    assert store.targets["kind"].tolist() == ["series"] * 4
    assert store.targets["id"].tolist() == ["10000", "10001", "10002", "10005"]
    assert list(store.targets["members"].iloc[0]) == ["10000-20180824", "10000-20180905", "10000-20181004"]


def test_shards_may_cut_a_series(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = prepare(source, tmp_path / "whole", dates="all")
    monkeypatch.setattr("wherewhen.ingest.pastis._SHARD_SIZE", 2)
    cut = prepare(source, tmp_path / "cut", dates="all")
    np.testing.assert_array_equal(cut.pixels(np.arange(8)), whole.pixels(np.arange(8)))


def test_the_place_is_the_middle_of_the_outline(source: Path, tmp_path: Path) -> None:
    from pyproj import Transformer

    x, y = CORNER[0] + 10 * 10001 + (1277.2 + 1178.5 - 98.6) / 4, CORNER[1] - (98.7 + 1375.8 + 1277.2) / 4
    expected = Transformer.from_crs("EPSG:2154", "EPSG:4326").transform(x, y)
    assert prepare(source, tmp_path / "s").place()[1] == pytest.approx(expected, abs=1e-6)


SPLITS = [
    (1, ["test", "train", "val", "train"]),
    (4, ["train", "test", "train", "val"]),
    (2, ["val", "train", "train", "train"]),
]


@pytest.mark.parametrize(("test_fold", "parts"), SPLITS)
def test_folds(source: Path, tmp_path: Path, test_fold: int, parts: list[str]) -> None:
    assert prepare(source, tmp_path / "s", test_fold=test_fold).table["split"].tolist() == parts


def test_a_part_of_the_data_set_is_enough(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source / "DATA_S2" / "S2_10001.npy").unlink()
    assert len(prepare(source, tmp_path / "s")) == 3
    assert "note: 1 patches of the metadata are not in" in capsys.readouterr().err


def test_the_command_line(source: Path, tmp_path: Path) -> None:
    words = ["pastis", str(source), str(tmp_path / "s"), "--dates", "2018-10-01", "--test-fold", "1", "--workers", "1"]
    assert verb.main(words) == 0
    store = PatchStore.open(tmp_path / "s")
    assert store.table["id"].iloc[0] == "10000-20181004"
    assert "nearest to 2018-10-01" in store.header.provenance


# -- damage ---------------------------------------------------------------------------------------


def broken(source: Path) -> None:
    path = source / "DATA_S2" / "S2_10001.npy"
    path.write_bytes(path.read_bytes()[:5000])


def pickled(source: Path) -> None:
    array = np.empty((2, 10, 128, 128), object)
    np.save(source / "DATA_S2" / "S2_10001.npy", array, allow_pickle=True)


def one_date_less(source: Path) -> None:
    np.save(source / "DATA_S2" / "S2_10001.npy", series(10001)[:1])


def one_band_less(source: Path) -> None:
    np.save(source / "DATA_S2" / "S2_10001.npy", series(10001)[:, :9])


def floats(source: Path) -> None:
    np.save(source / "DATA_S2" / "S2_10001.npy", series(10001).astype(np.float32))


def wide(source: Path) -> None:
    np.save(source / "DATA_S2" / "S2_10001.npy", series(10001).astype(np.int32))


def no_target(source: Path) -> None:
    (source / "ANNOTATIONS" / "TARGET_10001.npy").unlink()


def strange_class(source: Path) -> None:
    target = crops(10001)
    target[0, 3, 4] = 20
    np.save(source / "ANNOTATIONS" / "TARGET_10001.npy", target)


def bad_date(source: Path) -> None:
    change_metadata(source, 10001, lambda one: one["properties"]["dates-S2"].update({"1": 20181304}))


def no_date(source: Path) -> None:
    change_metadata(source, 10001, lambda one: one["properties"].pop("dates-S2"))


def bad_fold(source: Path) -> None:
    change_metadata(source, 10001, lambda one: one["properties"].update({"Fold": 6}))


def no_outline(source: Path) -> None:
    change_metadata(source, 10001, lambda one: one["geometry"].update({"coordinates": []}))


DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (broken, r"S2_10001\.npy: "),
    (pickled, r"S2_10001\.npy: .*(allow_pickle|Python objects)"),
    (one_date_less, r"S2_10001\.npy: it holds int16 of shape \(1, 10, 128, 128\), not whole numbers of \(2, 10"),
    (one_band_less, r"S2_10001\.npy: it holds int16 of shape \(2, 9"),
    (floats, r"S2_10001\.npy: it holds float32"),
    (wide, r"S2_10001\.npy: it holds int32, not int16"),
    (no_target, r"TARGET_10001\.npy is missing"),
    (strange_class, r"TARGET_10001\.npy: it holds 0 to 20, classes are 0 to 19"),
    (bad_date, "its entry is wrong: dates-S2 holds 20181304, which is no day like 20180924"),
    (no_date, "its entry is wrong: 'dates-S2' is missing"),
    (bad_fold, "its entry is wrong: Fold 6 is not from 1 to 5"),
    (no_outline, "its entry is wrong: list index out of range"),
]


@pytest.mark.parametrize("dates", ["2018-09-01", "all"])
@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_a_bad_patch_is_one_error_and_loses_nothing_else(
    source: Path, tmp_path: Path, damage: Callable[[Path], None], message: str, dates: str
) -> None:
    damage(source)
    with pytest.raises(UserError, match=rf"patch 10001: {message}.*--on-error skip"):
        prepare(source, tmp_path / "s", dates=dates)
    store = prepare(source, tmp_path / "s", dates=dates, on_error="skip")
    assert store.table["place"].unique().tolist() == ["10000", "10002", "10005"]
    assert len(store) == (6 if dates == "all" else 3)
    assert {name.split("-")[0] for name, _ in store.header.skipped} == {"10001"}
    if dates == "all":
        assert store.targets["id"].tolist() == ["10000", "10002", "10005"]


OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"dates": "September"}, "--dates 'September' is neither a day like 2018-09-01 nor 'all'"),
    ({"dates": "2018-02-30"}, "--dates '2018-02-30'"),
    ({"test_fold": 0}, "--test-fold 0 is out of range"),
    ({"test_fold": 6}, "--test-fold 6 is out of range"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_wrong_options(source: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare(source, tmp_path / "s", **options)
    assert not (tmp_path / "s").exists()


METADATA = [
    ('{"features": []}', "names no patch"),
    ('{"type": "FeatureCollection"}', "is no metadata of PASTIS"),
    ("[]", "is no metadata of PASTIS"),
    ("{", "not valid JSON"),
]


@pytest.mark.parametrize(("text", "message"), METADATA)
def test_wrong_metadata(source: Path, tmp_path: Path, text: str, message: str) -> None:
    (source / "metadata.geojson").write_text(text)
    with pytest.raises(UserError, match=message):
        prepare(source, tmp_path / "s")


def test_a_source_without_series(source: Path, tmp_path: Path) -> None:
    for path in (source / "DATA_S2").iterdir():
        path.unlink()
    with pytest.raises(
        UserError, match=r"has no series of the 4 patches in its metadata, such as DATA_S2/S2_10000\.npy"
    ):
        prepare(source, tmp_path / "s")
    (source / "metadata.geojson").unlink()
    with pytest.raises(UserError, match=r"metadata\.geojson does not exist"):
        prepare(source, tmp_path / "s")


# -- the real sample ------------------------------------------------------------------------------


@pytest.mark.data
def test_the_real_metadata_is_read_right(real_data: Path, tmp_path: Path) -> None:
    """The sample has neither series nor targets: those are made up here, the rest is real."""
    metadata = real_data / "pastis" / "metadata.geojson"
    if not metadata.is_file():
        pytest.skip(f"there is no {metadata}")
    features = json.loads(metadata.read_text())["features"]
    (folder := tmp_path / "PASTIS").mkdir()
    (folder / "metadata.geojson").symlink_to(metadata)
    for name in ("DATA_S2", "ANNOTATIONS"):
        (folder / name).mkdir()
    for one in features:
        number, dates = one["properties"]["ID_PATCH"], one["properties"]["dates-S2"]
        np.save(folder / "DATA_S2" / f"S2_{number}.npy", np.full((len(dates), 10, 128, 128), 7, np.int16))
        np.save(folder / "ANNOTATIONS" / f"TARGET_{number}.npy", np.zeros((3, 128, 128), np.uint8))
    store = prepare(folder, tmp_path / "s")
    assert len(store) == 9
    assert set(store.table["time"].dt.strftime("%Y%m%d")) == {"20180924"}  # the first there is
    folds = [one["properties"]["Fold"] for one in features]
    assert store.table["split"].tolist() == [{4: "val", 5: "test"}.get(fold, "train") for fold in folds]
    assert (np.abs(store.place() - [49.1, -0.9]) < [1, 1]).all()  # tile 30UXV: Normandy
