import bz2
import gzip
import json
import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from wherewhen import prepare as verb
from wherewhen.bands import load_sensor
from wherewhen.errors import UserError
from wherewhen.ingest import bigearthnet
from wherewhen.ingest.bigearthnet import prepare
from wherewhen.ingest.bigearthnet_lists import read_lists
from wherewhen.ingest.bigearthnet_patch import read_bands
from wherewhen.ingest.nomenclature import CLASSES_19, CLASSES_43
from wherewhen.splits import stratified
from wherewhen.store import PatchStore

rasterio = pytest.importorskip("rasterio")
warp = pytest.importorskip("rasterio.warp")

BANDS = load_sensor("sentinel2_l2a").bands
NAMES = tuple(band.name for band in BANDS)
SIZES = {band.name: int(1200 // band.resolution) for band in BANDS}
LISBON, VIENNA, TURKU = (32629, 490_000, 4_290_000), (32633, 600_000, 5_340_000), (32634, 570_000, 6_700_000)

# id, ground, labels of the 43
V1 = (
    ("S2A_MSIL2A_20170613T101031_87_48", VIENNA, ["Non-irrigated arable land", "Pastures"]),
    ("S2A_MSIL2A_20171221T112501_56_35", LISBON, ["Sea and ocean", "Port areas", "Estuaries"]),
    ("S2B_MSIL2A_20170924T93020_69_24", TURKU, ["Coniferous forest", "Peatbogs", "Water bodies"]),
    ("S2B_MSIL2A_20180515T094029_0_7", TURKU, ["Airports", "Bare rock"]),
)
# id, ground, labels of the 19, split, snow, cloud
V2 = (
    ("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57", VIENNA, ["Arable land", "Pastures"], "train", False, False),
    ("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_27_55", VIENNA, ["Pastures"], "test", False, False),
    ("S2A_MSIL2A_20171221T112501_N9999_R037_T29SND_56_35", LISBON, ["Marine waters"], "validation", False, False),
    ("S2B_MSIL2A_20170924T093019_N9999_R136_T35VNH_40_60", TURKU, ["Mixed forest"], "train", True, False),
    ("S2B_MSIL2A_20170924T093019_N9999_R136_T35VNH_40_61", TURKU, ["Mixed forest"], "train", False, True),
)
Ground = tuple[int, int, int]


def write_tiff(path: Path, pixels: np.ndarray, ground: Ground, **options: Any) -> None:
    """One band as a GeoTIFF, strips as GDAL makes them."""
    (size, _), (epsg, left, top) = pixels.shape, ground
    transform = rasterio.Affine(1200 / size, 0, left, 0, -1200 / size, top)
    form = {"driver": "GTiff", "count": 1, "height": size, "width": size, "dtype": pixels.dtype}
    with rasterio.open(path, "w", crs=f"EPSG:{epsg}", transform=transform, **form | options) as raster:
        raster.write(pixels, 1)


def write_bands(folder: Path, ground: Ground, bands: Sequence[str] = NAMES, **options: Any) -> None:
    """The TIFFs of a patch, with numbers that its name decides."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(folder.name.encode()))
    for name in bands:
        pixels = rng.integers(1, 10_000, (SIZES[name], SIZES[name]), np.uint16)
        write_tiff(folder / f"{folder.name}_{name}.tif", pixels, ground, **options)


def record_of(name: str, ground: Ground, labels: list[str]) -> dict[str, Any]:
    epsg, left, top = ground
    day, hour = name.split("_")[2].split("T")
    hour = hour.zfill(6)
    date = f"{day[:4]}-{day[4:6]}-{day[6:]} {hour[:2]}:{hour[2:4]}:{hour[4:]}"
    corners = {"ulx": left, "uly": top, "lrx": left + 1200, "lry": top - 1200}
    return {
        "labels": labels,
        "coordinates": corners,
        "projection": rasterio.CRS.from_epsg(epsg).to_wkt(),
        "tile_source": f"{name}.SAFE",
        "acquisition_date": date,
    }


def make_v1(root: Path, patches: Sequence[tuple[str, Ground, list[str]]] = V1) -> Path:
    for name, ground, labels in patches:
        write_bands(root / name, ground)
        (root / name / f"{name}_labels_metadata.json").write_text(json.dumps(record_of(name, ground, labels)))
    return root


def make_v2(folder: Path, rows: Sequence[tuple[Any, ...]] = V2, bands: Sequence[str] = NAMES) -> Path:
    for name, ground, *_ in rows:
        tile = name.rsplit("_", 2)[0]
        write_bands(folder / "BigEarthNet-S2" / tile / name, ground, bands, compress="deflate", predictor=2)
    columns = ["patch_id", "ground", "labels", "split", "contains_seasonal_snow", "contains_cloud_or_shadow"]
    table = pd.DataFrame(list(rows), columns=columns).drop(columns="ground")
    table["country"], table["s1_name"], table["s2v1_name"] = "unused", "S1A", "S2A"
    flagged = table["contains_seasonal_snow"] | table["contains_cloud_or_shadow"]
    table[~flagged].to_parquet(folder / "metadata.parquet", index=False)
    table[flagged].to_parquet(folder / "metadata_for_patches_with_snow_cloud_or_shadow.parquet", index=False)
    return folder


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    return make_v1(tmp_path / "v1")


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    return make_v2(tmp_path / "v2")


def truth(folder: Path, bands: Sequence[str]) -> np.ndarray:
    """(C, 120, 120) as rasterio reads it, every pixel repeated one by one."""
    out = np.zeros((len(bands), 120, 120), np.uint16)
    for plane, name in zip(out, bands, strict=True):
        with rasterio.open(folder / f"{folder.name}_{name}.tif") as raster:
            pixels = raster.read(1)
        for row in range(120):
            for column in range(120):
                plane[row, column] = pixels[row * len(pixels) // 120, column * len(pixels) // 120]
    return out


def place_of(ground: Ground) -> list[float]:
    epsg, left, top = ground
    lon, lat = warp.transform(f"EPSG:{epsg}", "EPSG:4326", [left + 600], [top - 600])
    return [lat[0], lon[0]]


def named_labels(store: PatchStore) -> list[set[str]]:
    return [{store.classes[i] for i in row} for row in store.table["label"]]


def write_lists(folder: Path, **lists: str) -> Path:
    folder.mkdir()
    for name, lines in lists.items():
        (folder / f"{name}.csv").write_text(lines)
    return folder


def parts(store: PatchStore) -> list[str | None]:
    return [None if pd.isna(name) else name for name in store.table["split"]]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# -- what a store holds ---------------------------------------------------------------------------


def test_version_1_becomes_a_store(v1: Path, tmp_path: Path) -> None:
    store = prepare(v1, tmp_path / "s", classes=43, bands="all")
    assert store.table["id"].tolist() == [name for name, *_ in V1]
    assert store.classes == CLASSES_43
    assert named_labels(store) == [set(labels) for *_, labels in V1]
    assert store.label_kind == "many"
    assert store.table["time"].dt.strftime("%Y-%m-%d %H:%M:%S %Z").tolist() == [
        "2017-06-13 10:10:31 UTC",
        "2017-12-21 11:25:01 UTC",
        "2017-09-24 09:30:20 UTC",
        "2018-05-15 09:40:29 UTC",
    ]
    np.testing.assert_allclose(store.place(), [place_of(ground) for _, ground, _ in V1], atol=1e-9)
    assert store.table["place"].tolist()[2:] == ["32634/570000/6700000"] * 2
    assert store.table["split"].isna().all()
    assert [band.name for band in store.bands] == list(NAMES)
    assert {(band.unit, band.scale, band.offset) for band in store.bands} == {("reflectance", 1e-4, 0)}
    assert store.dtype == np.uint16
    for row, (name, *_) in enumerate(V1):
        np.testing.assert_array_equal(store.pixels(np.array([row]))[0], truth(v1 / name, NAMES))
    assert store.header.licence == "CDLA-Permissive-1.0"
    assert "nearest" in store.header.provenance


def test_nineteen_classes_leave_out_what_belongs_to_none(
    v1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = prepare(v1, tmp_path / "s")
    assert store.classes == CLASSES_19
    assert named_labels(store) == [
        {"Arable land", "Pastures"},
        {"Marine waters"},  # from two of the 43; ports are in none of the 19
        {"Coniferous forest", "Inland wetlands", "Inland waters"},
    ]
    assert store.header.skipped == ((V1[3][0], "none of its labels belongs to the 19 classes"),)
    assert "skipped 1 of 4" in capsys.readouterr().err
    assert [band.name for band in store.bands] == ["B04", "B03", "B02"]
    np.testing.assert_array_equal(store.pixels(np.array([2]))[0], truth(v1 / V1[2][0], ("B04", "B03", "B02")))


def test_version_2_becomes_a_store(v2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = prepare(v2, tmp_path / "s", bands="all")
    assert store.table["id"].tolist() == [row[0] for row in V2[:3]]
    assert named_labels(store) == [set(row[2]) for row in V2[:3]]
    assert parts(store) == ["train", "test", "val"]
    np.testing.assert_allclose(store.place(), [place_of(row[1]) for row in V2[:3]], atol=1e-9)
    assert str(store.table["time"].iloc[2]) == "2017-12-21 11:25:01+00:00"
    assert store.table["place"].iloc[2] == "32629/490000/4290000"
    for row, (name, *_) in enumerate(V2[:3]):
        folder = v2 / "BigEarthNet-S2" / str(store.table["source"].iloc[row])
        assert folder.name == name
        np.testing.assert_array_equal(store.pixels(np.array([row]))[0], truth(folder, NAMES))
    assert "2 folders" in capsys.readouterr().err


def test_flagged_patches_of_version_2_can_be_kept(v2: Path, tmp_path: Path) -> None:
    store = prepare(v2, tmp_path / "s", keep_snow_and_clouds=True)
    assert store.table["id"].tolist() == [row[0] for row in V2]
    (v2 / "metadata_for_patches_with_snow_cloud_or_shadow.parquet").unlink()
    with pytest.raises(UserError, match=r"has no metadata_for_patches_with_snow"):
        prepare(v2, tmp_path / "t", keep_snow_and_clouds=True)


def test_flags_in_one_table_are_heeded(v2: Path, tmp_path: Path) -> None:
    rest = v2 / "metadata_for_patches_with_snow_cloud_or_shadow.parquet"
    pd.concat([pd.read_parquet(v2 / "metadata.parquet"), pd.read_parquet(rest)]).to_parquet(v2 / "metadata.parquet")
    rest.unlink()
    assert len(prepare(v2, tmp_path / "s")) == 3
    assert len(prepare(v2, tmp_path / "t", keep_snow_and_clouds=True)) == 5


def test_a_part_of_version_2_is_enough(v2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (v2 / "BigEarthNet-S2" / V2[1][0].rsplit("_", 2)[0] / V2[1][0]).rename(v2 / "elsewhere")
    assert len(prepare(v2, tmp_path / "s")) == 2
    assert "note: 1 patches of the metadata are not in" in capsys.readouterr().err


def test_chosen_bands(v2: Path, tmp_path: Path) -> None:
    store = prepare(v2, tmp_path / "s", bands="B8A,B01")
    assert [band.name for band in store.bands] == ["B8A", "B01"]
    folder = v2 / "BigEarthNet-S2" / str(store.table["source"].iloc[0])
    np.testing.assert_array_equal(store.pixels(np.array([0]))[0], truth(folder, ("B8A", "B01")))


@pytest.mark.parametrize("version", [1, 2])
def test_geographic_split(version: int, tmp_path: Path) -> None:
    assert -5.81 < bigearthnet._WEST < 3.28  # easternmost patch of Ireland, westernmost of Belgium
    if version == 1:
        lists = write_lists(tmp_path / "lists", train=f"{V1[0][0]}\n{V1[1][0]}\n", test=f"{V1[2][0]}\n")
        store = prepare(make_v1(tmp_path / "in"), tmp_path / "s", lists=lists, geographic=True)
        assert parts(store) == ["train", "test", None]  # Vienna, Lisbon, Turku
        without = prepare(tmp_path / "in", tmp_path / "t", geographic=True)
        assert parts(without) == ["train", "test", "train"]
        assert "Portugal and Ireland" in without.header.provenance
    else:
        store = prepare(make_v2(tmp_path / "in"), tmp_path / "s", geographic=True)
        assert parts(store) == ["train", None, "test"]  # Vienna, Vienna's test patch, Lisbon


# -- finding the patches --------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
def test_patches_may_lie_one_folder_deeper(version: int, tmp_path: Path) -> None:
    if version == 1:
        make_v1(tmp_path / "in" / "BigEarthNet-v1.0", V1[:2])
    else:
        make_v2(tmp_path / "in", V2[:2])
    (tmp_path / "in" / "S1A_IW_GRDH").mkdir()
    assert len(prepare(tmp_path / "in", tmp_path / "s")) == 2
    if version == 2:  # the metadata beside the tiles
        (tmp_path / "in" / "metadata.parquet").rename(tmp_path / "in" / "BigEarthNet-S2" / "metadata.parquet")
        assert len(prepare(tmp_path / "in" / "BigEarthNet-S2", tmp_path / "t")) == 2


def test_wrong_sources(tmp_path: Path) -> None:
    both = tmp_path / "both"
    make_v1(both / "one", V1[:1])
    make_v2(both, V2[:1])
    archive, empty = tmp_path / "BigEarthNet-v1.0.tar.gz", tmp_path / "empty"
    archive.touch()
    (empty / "S2 images").mkdir(parents=True)
    cases = [
        (both, "version 2.*version 1"),
        (archive, "unpack the archive"),
        (tmp_path / "nothing", "does not exist"),
        (empty, "holds no BigEarthNet"),
    ]
    for source, message in cases:
        with pytest.raises(UserError, match=message):
            prepare(source, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_wrong_options(v1: Path, v2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases: list[tuple[Path, dict[str, Any], str]] = [
        (v2, {"classes": 43}, "version 2.*19 classes"),
        (v2, {"lists": tmp_path}, "for version 1"),
        (v1, {"classes": 20}, "19 or 43"),
        (v1, {"bands": "B10"}, "no band 'B10'"),
        (v1, {"lists": tmp_path / "none"}, "is no folder"),
    ]
    for source, options, message in cases:
        with pytest.raises(UserError, match=message):
            prepare(source, tmp_path / "s", **options)
    monkeypatch.setattr(bigearthnet, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'wherewhen\[geo\]'"):
        prepare(v1, tmp_path / "s")
    assert not (tmp_path / "s").exists()


# -- lists of version 1 ---------------------------------------------------------------------------


def test_official_lists(v1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder := tmp_path / "lists").mkdir()
    absent = "S2A_MSIL2A_20170613T101031_0_0"
    (folder / "train.csv.bz2").write_bytes(bz2.compress(f"{V1[0][0]}\n{absent}\n".encode()))
    (folder / "bigearthnet-val.txt").write_text(f"{V1[2][0]}\n")  # as Seasonal Contrast's split is named
    (folder / "test.csv.gz").write_bytes(gzip.compress(f"{V1[1][0]},S1A_IW_GRDH\n{V1[3][0]},S1B\n".encode()))
    (folder / "patches_with_no_19_class_targets.csv").write_text(V1[3][0])
    (folder / "notes.md").write_text("not a list")
    store = prepare(v1, tmp_path / "s", lists=folder)
    assert parts(store) == ["train", "test", "val"]
    assert not store.header.skipped  # what a list leaves out is no mishap
    assert "sha256" in store.header.provenance
    said = capsys.readouterr().err
    assert "note: 1 patches in" in said
    assert "note: 1 patches of the lists are not in" in said
    assert len(prepare(v1, tmp_path / "t", lists=folder, classes=43)) == 4  # the 43 have a place for it


def test_snow_and_clouds_are_left_out(v1: Path, tmp_path: Path) -> None:
    split = "\n".join(name for name, *_ in V1[:2])
    lists = write_lists(
        tmp_path / "lists",
        train=split,
        patches_with_seasonal_snow=V1[0][0],
        patches_with_cloud_and_shadow=V1[2][0],
    )
    assert prepare(v1, tmp_path / "s", lists=lists).table["id"].tolist() == [V1[1][0]]
    kept = prepare(v1, tmp_path / "t", lists=lists, keep_snow_and_clouds=True)
    assert kept.table["id"].tolist() == [V1[0][0], V1[1][0], V1[2][0]]
    assert parts(kept) == ["train", "train", None]


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"train": V1[0][0], "test": V1[0][0]}, "is in the list 'test' as well"),
        ({"train": f"{V1[0][0]}\npatch\n"}, "line 2 is 'patch'"),
        ({"test": V1[0][0]}, "no list of training patches"),
        ({"train": ""}, "no list of training patches"),
        ({"train": "S2A_MSIL2A_20170613T101031_0_0"}, "no patch in .* is in the lists"),
        ({"train": V1[0][0], "bigearthnet-train": V1[0][0]}, "'train' twice"),
    ],
)
def test_wrong_lists(v1: Path, tmp_path: Path, lists: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepare(v1, tmp_path / "s", lists=write_lists(tmp_path / "lists", **lists))
    assert not (tmp_path / "s").exists()


def test_a_damaged_list(v1: Path, tmp_path: Path) -> None:
    (folder := tmp_path / "lists").mkdir()
    (folder / "train.csv.bz2").write_bytes(bz2.compress(V1[0][0].encode())[:-9])
    with pytest.raises(UserError, match=r"cannot read .*train\.csv\.bz2.*fetch it again"):
        prepare(v1, tmp_path / "s", lists=folder)


# -- metadata of version 2 ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "no metadata.parquet"),
        (lambda path: path.write_bytes(b"PAR1"), "cannot read .* as Parquet"),
        (lambda path: pd.read_parquet(path).drop(columns="split").to_parquet(path), "column 'split' is missing"),
        (lambda path: pd.read_parquet(path).assign(patch_id="x").to_parquet(path), "no patch in .* is in"),
    ],
)
def test_wrong_metadata(v2: Path, tmp_path: Path, change: Callable[[Path], Any], message: str) -> None:
    change(v2 / "metadata.parquet")
    with pytest.raises(UserError, match=message):
        prepare(v2, tmp_path / "s")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("split", "trian", "its split is none of train"),
        ("labels", ["Lawn"], "label 'Lawn' is none of BigEarthNet's classes"),
    ],
)
def test_a_bad_row_stops_or_is_skipped(v2: Path, tmp_path: Path, column: str, value: Any, message: str) -> None:
    table = pd.read_parquet(v2 / "metadata.parquet")
    table[column] = [value, *table[column][1:]]
    table.to_parquet(v2 / "metadata.parquet")
    with pytest.raises(UserError, match=rf"{V2[0][0]}: {message}"):
        prepare(v2, tmp_path / "s")
    assert not (tmp_path / "s").exists()  # known before any patch is read
    store = prepare(v2, tmp_path / "s", on_error="skip")
    assert store.table["id"].tolist() == [V2[1][0], V2[2][0]]
    assert [name for name, _ in store.header.skipped] == [V2[0][0]]


def test_a_row_without_labels_is_left_out(v2: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(v2 / "metadata.parquet")
    table["labels"] = [[], *table["labels"][1:]]
    table.to_parquet(v2 / "metadata.parquet")
    assert prepare(v2, tmp_path / "s").header.skipped == ((V2[0][0], "none of its labels belongs to the 19 classes"),)


# -- bad patches ----------------------------------------------------------------------------------


def edit_record(folder: Path, **entries: Any) -> None:
    path = folder / f"{folder.name}_labels_metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def tiff(folder: Path, band: str = "B05") -> Path:
    return folder / f"{folder.name}_{band}.tif"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def damage_tag(path: Path) -> None:
    """Let the tag SamplesPerPixel have two values: Pillow warns of that, and reads on."""
    data = path.read_bytes()
    assert data.count(b"\x15\x01\x03\x00\x01\x00\x00\x00") == 1
    path.write_bytes(data.replace(b"\x15\x01\x03\x00\x01\x00\x00\x00", b"\x15\x01\x03\x00\x02\x00\x00\x00"))


MISHAPS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing band": (lambda f: tiff(f).unlink(), "band B05 is missing"),
    "truncated": (lambda f: cut(tiff(f)), "band B05: .*truncated"),
    "no TIFF": (lambda f: tiff(f).write_bytes(b"II*\0 no TIFF"), "band B05: "),
    "damaged tag": (lambda f: damage_tag(tiff(f)), "band B05: .*tag 277 had too many entries"),
    "empty": (lambda f: tiff(f).write_bytes(b""), "band B05: "),
    "huge": (lambda f: tiff(f).write_bytes(bytes(2**20 + 1)), "band B05: it is longer"),
    "size": (
        lambda f: write_tiff(tiff(f), np.ones((120, 120), np.uint16), VIENNA),
        "band B05: it is 120×120 I;16, not 60×60",
    ),
    "type": (lambda f: write_tiff(tiff(f), np.ones((60, 60), np.float32), VIENNA), "band B05: it is 60×60 F, not"),
    "no record": (lambda f: (f / f"{f.name}_labels_metadata.json").unlink(), "labels_metadata.json is missing"),
    "no JSON": (lambda f: (f / f"{f.name}_labels_metadata.json").write_text("{"), "labels_metadata.json is damaged"),
    "no mapping": (lambda f: (f / f"{f.name}_labels_metadata.json").write_text("[1]"), "json is damaged"),
    "no entry": (
        lambda f: (f / f"{f.name}_labels_metadata.json").write_text('{"labels": []}'),
        "labels_metadata.json has no 'coordinates'",
    ),
    "unknown label": (lambda f: edit_record(f, labels=["Pastures", "Lawn"]), "label 'Lawn' is none of"),
    "no labels": (lambda f: edit_record(f, labels=[]), "must be a list of class names"),
    "label of another type": (lambda f: edit_record(f, labels=[{}]), "must be a list of class names"),
    "bad date": (lambda f: edit_record(f, acquisition_date="2017-13-01 10:10:31"), "acquisition_date '2017-13-01"),
    "corners": (
        lambda f: edit_record(f, coordinates={"ulx": 0, "uly": 0, "lrx": 1200, "lry": 1200}),
        "corners are 1200 × -1200 m apart",
    ),
    "number": (
        lambda f: edit_record(f, coordinates={"ulx": 10**400, "uly": 0, "lrx": 1200, "lry": 1200}),
        "labels_metadata.json is damaged",
    ),
    "projection": (lambda f: edit_record(f, projection="flat"), "projection 'flat' is unknown"),
    "off the map": (
        lambda f: edit_record(f, coordinates={"ulx": 9e9, "uly": 1200, "lrx": 9e9 + 1200, "lry": 0}),
        "lies outside its projection",
    ),
}


@pytest.mark.parametrize("mishap", MISHAPS)
def test_a_bad_patch_stops_or_is_skipped_and_nothing_else_is_lost(
    v1: Path, tmp_path: Path, mishap: str, capfd: pytest.CaptureFixture[str]
) -> None:
    good = prepare(v1, tmp_path / "good", classes=43, bands="all")
    spoil, message = MISHAPS[mishap]
    spoil(v1 / V1[1][0])
    with pytest.raises(UserError, match=rf"{V1[1][0]}: .*{message}") as caught:
        prepare(v1, tmp_path / "s", classes=43, bands="all")
    assert "--on-error skip" in str(caught.value)
    assert "\n" not in str(caught.value)
    capfd.readouterr()
    store = prepare(v1, tmp_path / "s", classes=43, bands="all", on_error="skip")
    said = capfd.readouterr().err
    assert f"skipped 1 of 4 patches:\n  {V1[1][0]}: " in said
    assert "UserWarning" not in said
    rest = [0, 2, 3]
    assert store.table["id"].tolist() == [V1[i][0] for i in rest]
    np.testing.assert_array_equal(store.pixels(np.arange(3)), good.pixels(np.array(rest)))
    np.testing.assert_array_equal(store.labels(), good.labels()[rest])
    np.testing.assert_array_equal(store.place(), good.place()[rest])
    assert store.table["time"].tolist() == good.table["time"][rest].tolist()


@pytest.mark.parametrize("mishap", ["missing band", "truncated", "bad date", "no system"])
def test_a_bad_patch_of_version_2(tmp_path: Path, mishap: str) -> None:
    rows = list(V2[:3])
    if mishap == "bad date":
        rows[0] = (rows[0][0].replace("20170613", "20171313"), *rows[0][1:])
    make_v2(tmp_path / "v2", rows)
    folder = tmp_path / "v2" / "BigEarthNet-S2" / rows[0][0].rsplit("_", 2)[0] / rows[0][0]
    match mishap:
        case "missing band":
            tiff(folder, "B04").unlink()
            message = "band B04 is missing"
        case "truncated":
            cut(tiff(folder, "B04"))
            message = "band B04: "
        case "bad date":
            message = "holds no date like"
        case _:
            for band in ("B04", "B03", "B02"):
                Image.fromarray(np.ones((120, 120), np.uint16)).save(tiff(folder, band))
            message = "no projected coordinate reference system"
    with pytest.raises(UserError, match=message):
        prepare(tmp_path / "v2", tmp_path / "s")
    store = prepare(tmp_path / "v2", tmp_path / "s", on_error="skip")
    assert store.table["id"].tolist() == [row[0] for row in rows[1:]]
    assert [name for name, _ in store.header.skipped] == [rows[0][0]]


def test_after_an_error_the_same_command_continues(v1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bigearthnet, "_SHARD_NUMBERS", 3)  # one patch a shard
    whole = prepare(v1, tmp_path / "whole", classes=43)
    data = tiff(v1 / V1[2][0], "B03").read_bytes()
    cut(tiff(v1 / V1[2][0], "B03"))
    with pytest.raises(UserError, match="band B03"):
        prepare(v1, tmp_path / "s", classes=43)
    written = (tmp_path / "s" / "pixels-00001.npy").stat().st_mtime_ns
    tiff(v1 / V1[2][0], "B03").write_bytes(data)
    store = prepare(v1, tmp_path / "s", classes=43)
    assert (store.path / "pixels-00001.npy").stat().st_mtime_ns == written
    assert contents(store.path) == contents(whole.path)


def test_the_number_of_workers_changes_nothing(v2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bigearthnet, "_SHARD_NUMBERS", 3)
    one, two = (prepare(v2, tmp_path / str(n), workers=n) for n in (1, 2))
    assert contents(one.path) == contents(two.path)


# -- reading TIFFs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compress": "deflate"},
        {"compress": "deflate", "predictor": 2},
        {"compress": "lzw"},
        {"compress": "lzw", "predictor": 2},
        {"compress": "packbits"},
        {"tiled": True, "blockxsize": 64, "blockysize": 32, "compress": "deflate"},
        {"endianness": "big"},
        {"bigtiff": "yes"},
    ],
    ids=str,
)
def test_values_equal_those_of_rasterio(tmp_path: Path, options: dict[str, Any]) -> None:
    write_bands(tmp_path / "patch", TURKU, **options)
    out = np.zeros((12, 120, 120), np.uint16)
    ground = read_bands(lambda name: (tmp_path / name).read_bytes(), "patch/patch", BANDS, out)
    np.testing.assert_array_equal(out, truth(tmp_path / "patch", NAMES))
    assert ground == ("EPSG:32634", 570_000, 6_700_000)


@pytest.mark.parametrize("options", [{}, {"compress": "deflate", "predictor": 2}], ids=str)
def test_a_damaged_tiff_gives_one_kind_of_error(
    tmp_path: Path, options: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    write_bands(tmp_path / "patch", TURKU, ["B05"], **options)
    data, chance = tiff(tmp_path / "patch").read_bytes(), random.Random(0)
    out, messages = np.zeros((1, 120, 120), np.uint16), []
    for _ in range(2000):
        damaged = bytearray(data)
        for _ in range(chance.choice([1, 1, 2, 4])):
            damaged[chance.randrange(400)] = chance.randrange(256)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", module=r"PIL\.")
            try:
                read_bands(lambda name, data=bytes(damaged): data, "p/p", BANDS[4:5], out)  # type: ignore[misc]
            except ValueError as error:
                messages.append(str(error))
    assert len(messages) > 200
    assert all(message.startswith("band B05: ") for message in messages)
    capfd.readouterr()  # libtiff complains


# -- the whole --------------------------------------------------------------------------------------


def test_the_command_line(v1: Path, tmp_path: Path) -> None:
    lists = write_lists(tmp_path / "lists", train="\n".join(name for name, *_ in V1))
    command = ["bigearthnet", str(v1), str(tmp_path / "s"), "--classes", "43", "--bands", "B08,B12", "--workers", "1"]
    command += ["--lists", str(lists), "--geographic", "--keep-snow-and-clouds"]
    assert verb.main(command) == 0
    store = PatchStore.open(tmp_path / "s")
    assert (len(store), store.shape, len(store.classes)) == (4, (2, 120, 120), 43)
    assert parts(store) == ["train", "test", "train", "train"]
    tiff(v1 / V1[0][0], "B08").unlink()
    with pytest.raises(UserError, match="band B08 is missing"):
        verb.main([*command[:2], str(tmp_path / "t"), *command[3:]])
    assert verb.main([*command[:2], str(tmp_path / "t"), *command[3:], "--on-error", "skip"]) == 0
    with pytest.raises(SystemExit):
        verb.main([*command, "--classes", "12"])


HALF_A_MILLION = """
import resource, sys
from pathlib import Path
import numpy as np, pandas as pd
from wherewhen.ingest import bigearthnet, bigearthnet_plan
from wherewhen.ingest.engine import Shard

names = [f"S2A_MSIL2A_2017{m:02d}{d:02d}T101031_{r}_{c}" for m in range(6, 12) for d in range(1, 11)
         for r in range(100) for c in range(100)][:590_326]
bigearthnet_plan._folders = lambda root: names

class Make:
    def __call__(self, plan):
        label = pd.Series([[1, 5, 11]] * len(plan), index=plan.index, dtype=object)
        rows = plan.assign(lat=50.0, lon=8.0, time=pd.Timestamp("2017-06-13", tz="UTC"), place="32633/1/2", label=label)
        return Shard(rows, np.ones((len(rows), 3, 1, 1), np.uint16))

bigearthnet._Make = lambda *arguments: Make()
store = bigearthnet.prepare(Path(sys.argv[1]), Path(sys.argv[2]))
print(len(store), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.slow
def test_half_a_million_patches_fit_a_small_process(tmp_path: Path) -> None:
    """The plan, the digest, the shards' tables, the store: everything but the pixels of a shard, 0.4 GiB."""
    (tmp_path / "in").mkdir()
    command = [sys.executable, "-c", HALF_A_MILLION, str(tmp_path / "in"), str(tmp_path / "s")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    patches, gib = done.stdout.split()
    assert int(patches) == 590_326
    assert float(gib) < 1.5


# -- real patches -----------------------------------------------------------------------------------


@pytest.mark.data
def test_real_patches_of_version_1(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "bigearthnet_v1"
    store = prepare(source, tmp_path / "s", classes=43, bands="all", lists=source / "lists")
    assert parts(store) == ["test", "train", "train", "train"]
    for row, name in enumerate(store.table["id"]):
        folder = source / "patches" / name
        record = json.loads((folder / f"{name}_labels_metadata.json").read_text())
        assert named_labels(store)[row] == set(record["labels"])
        assert store.table["time"].iloc[row] == pd.Timestamp(record["acquisition_date"], tz="UTC")
        with rasterio.open(tiff(folder, "B02")) as raster:  # not from the record, but they agree
            box, crs = raster.bounds, raster.crs
        corners = record["coordinates"]
        assert tuple(box) == (corners["ulx"], corners["lry"], corners["lrx"], corners["uly"])
        (lon,), (lat,) = warp.transform(crs, "EPSG:4326", [(box.left + box.right) / 2], [(box.top + box.bottom) / 2])
        np.testing.assert_allclose(store.place()[row], [lat, lon], atol=1e-4)
        np.testing.assert_array_equal(store.pixels(np.array([row]))[0], truth(folder, NAMES))
    assert (store.pixels(np.arange(4)).min(axis=(1, 2, 3)) < 200).all()  # no 1000 was added: water and shade are dark


@pytest.mark.data
def test_real_patches_of_version_2(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "bigearthnet_v2"
    (folder := tmp_path / "v2").mkdir()
    (folder / "BigEarthNet-S2").symlink_to(source / "BigEarthNet-S2")
    table = pd.read_csv(source / "metadata_24.csv").set_index("patch_id").sort_index()
    index = pd.read_csv(source / "ben_v2_index.csv.gz").set_index("patch_id").loc[table.index]
    metadata = pd.DataFrame({"patch_id": table.index, "labels": table["labels"].str.split("|").tolist()})
    metadata = metadata.assign(split="test", contains_seasonal_snow=False, contains_cloud_or_shadow=False)
    metadata.to_parquet(folder / "metadata.parquet")
    store = prepare(folder, tmp_path / "s", bands="B02,B03,B04,B08")
    assert store.table["id"].tolist() == table.index.tolist()
    assert named_labels(store) == [set(names.split("|")) for names in table["labels"]]
    assert (store.labels() @ (1 << np.arange(19)) == index["labels_mask"]).all()  # the order of the published vectors
    np.testing.assert_allclose(store.place(), index[["lat", "lon"]], atol=1e-4)
    assert (store.table["time"] == pd.to_datetime(index["date"], utc=True).to_numpy()).all()
    for row, where in enumerate(store.table["source"]):
        patch = source / "BigEarthNet-S2" / where
        np.testing.assert_array_equal(store.pixels(np.array([row]))[0], truth(patch, ("B02", "B03", "B04", "B08")))
        with rasterio.open(tiff(patch, "B02")) as raster:
            (lon,), (lat,) = warp.transform(raster.crs, "EPSG:4326", *[[value] for value in raster.xy(59.5, 59.5)])
        np.testing.assert_allclose(store.place()[row], [lat, lon], atol=1e-9)
    darkest = np.percentile(store.pixels(np.arange(24))[:, 0], 1, axis=(1, 2))
    assert np.median(darkest) < 500  # blue of shade and forest: no 1000 was added here either


@pytest.mark.data
def test_real_lists_and_index(real_data: Path) -> None:
    lists = read_lists(real_data / "bigearthnet_v1" / "lists")
    assert pd.Series(lists.split).value_counts().to_dict() == {"train": 269_695, "test": 125_866, "val": 123_723}
    assert len(lists.split.keys() | lists.snow_or_cloud | lists.no_19) == 590_326
    assert not lists.split.keys() & (lists.snow_or_cloud | lists.no_19)
    index = pd.read_csv(real_data / "bigearthnet_v2" / "ben_v2_index.csv.gz")
    abroad = index["country"].isin(["Portugal", "Ireland"])
    assert ((index["lon"] < bigearthnet._WEST) == abroad).all()
    assert abroad.sum() == 141_560


@pytest.mark.data
def test_label_fractions_of_the_real_label_sets(real_data: Path) -> None:
    index = pd.read_csv(real_data / "bigearthnet_v2" / "ben_v2_index.csv.gz")
    flagged = index["contains_seasonal_snow"] + index["contains_cloud_or_shadow"] > 0
    index = index[(index["split"] == "train") & ~flagged]
    member = index["labels_mask"].to_numpy()[:, None] >> np.arange(19) & 1
    count = member.sum(0)
    smaller: set[int] = set()
    for share in (0.005, 0.01, 0.02, 0.04, 0.08):
        rows = stratified(member, index["patch_id"].tolist(), share, seed=0)
        assert len(rows) == pytest.approx(share * len(index), rel=0.02)
        assert (member[rows].sum(0) >= share * count).all()  # every class is served; a common one rides along
        assert (member[rows].sum(0) <= 1.7 * share * count).all()
        assert smaller <= set(rows)
        smaller = set(rows)
