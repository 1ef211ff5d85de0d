import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.fakes import EUROSAT_CLASSES, FakeEuroSAT, jpeg, names_in, replace_member
from wherewhen import prepare as verb
from wherewhen.errors import UserError
from wherewhen.ingest import eurosat
from wherewhen.ingest.eurosat import prepare
from wherewhen.store import PatchStore

MEMBER = "EuroSAT_RGB/River/River_3.jpg"


def test_the_zip_and_the_folder_give_the_same_store(fake_eurosat: FakeEuroSAT, tmp_path: Path) -> None:
    a = prepare(fake_eurosat.zip, tmp_path / "a", locations=fake_eurosat.locations)
    b = prepare(fake_eurosat.folder, tmp_path / "b", locations=fake_eurosat.locations)
    top = prepare(fake_eurosat.folder.parent, tmp_path / "c", locations=fake_eurosat.locations)  # one folder more
    assert len(a) == 50
    for store in (b, top):
        assert store.header.files == a.header.files
        pd.testing.assert_frame_equal(store.table.drop(columns="source"), a.table.drop(columns="source"))


def test_every_patch_has_its_picture_place_and_class(fake_eurosat: FakeEuroSAT, tmp_path: Path) -> None:
    store = prepare(fake_eurosat.zip, tmp_path / "s", locations=fake_eurosat.locations, workers=2)
    places = pd.read_csv(fake_eurosat.locations).set_index("file")
    assert (store.classes, store.label_kind, store.shape) == (EUROSAT_CLASSES, "one", (3, 64, 64))
    assert [band.name for band in store.bands] == ["red", "green", "blue"]
    for row in (0, 17, 49):
        patch = store.table.iloc[row]
        file = f"{patch['id'].split('_')[0]}/{patch['id']}.jpg"
        assert patch["source"] == f"EuroSAT_RGB/{file}"
        assert EUROSAT_CLASSES[store.labels()[row]] == places.loc[file, "class_name"]
        np.testing.assert_array_equal(store.place()[row], places.loc[file, ["lat", "lon"]].astype(float))
        picture = np.asarray(Image.open(fake_eurosat.folder / file))
        np.testing.assert_array_equal(store.pixels(np.array([row]))[0], picture.transpose(2, 0, 1))


def test_no_date_is_invented(fake_eurosat: FakeEuroSAT, tmp_path: Path) -> None:
    store = prepare(fake_eurosat.zip, tmp_path / "s", locations=fake_eurosat.locations)
    assert store.table["time"].isna().all()
    assert np.isnan(store.day()).all()


def test_without_a_table_the_place_stays_unknown(
    fake_eurosat: FakeEuroSAT, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = prepare(fake_eurosat.zip, tmp_path / "s")
    assert np.isnan(store.place()).all()
    assert "place of every patch stays unknown" in capsys.readouterr().err


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 10, 11, 2000, 2500, 3000])
def test_the_split_of_the_literature(n: int) -> None:
    """Against the words: per class, names as sorted strings, the first int(0.8 n) train."""
    names = [f"top/{name}/{name}_{i}.jpg" for name in ("River", "Forest") for i in range(1, n + 1)]
    plan = eurosat._plan(list(reversed(names)))
    for name in ("Forest", "River"):
        rows = plan[plan["class_name"] == name]
        files = sorted(f"{name}_{i}.jpg" for i in range(1, n + 1))
        assert rows["file"].tolist() == files
        assert rows["split"].tolist() == ["train"] * int(0.8 * n) + ["test"] * (n - int(0.8 * n))
    assert plan["class_name"].is_monotonic_increasing


def test_names_sort_as_strings() -> None:
    plan = eurosat._plan([f"River/River_{i}.jpg" for i in (1, 2, 3, 10, 11)])
    assert plan["id"].tolist() == ["River_1", "River_10", "River_11", "River_2", "River_3"]
    assert plan["split"].tolist() == ["train"] * 4 + ["test"]


def with_locations(fake: FakeEuroSAT, old: str, new: str) -> None:
    text = fake.locations.read_text()
    assert old in text
    fake.locations.write_text(text.replace(old, new))


def line_of(fake: FakeEuroSAT, name: str) -> str:
    return next(line for line in fake.locations.read_text().splitlines() if f"/{name}.jpg" in line)


def break_image(fake: FakeEuroSAT, what: str) -> None:
    data = {
        "unreadable": b"no picture",
        "truncated": jpeg(1)[:300],
        "large": jpeg(1, (65, 64)),
        "huge": b"\xff" * 2**21,
        "grey": grey(),
        "png": png(),
    }[what]
    replace_member(fake.zip, MEMBER, data)


def grey() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (64, 64)).save(buffer, "JPEG")
    return buffer.getvalue()


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "PNG")
    return buffer.getvalue()


def break_place(fake: FakeEuroSAT, what: str) -> None:
    line = line_of(fake, "River_3")
    file, name, lat, lon = line.split(",")
    new = {
        "absent": "",
        "latitude": f"{file},{name},91,{lon}\n",
        "longitude": f"{file},{name},{lat},-180.01\n",
        "no number": f"{file},{name},north,{lon}\n",
        "empty": f"{file},{name},,{lon}\n",
        "class": f"{file},Forest,{lat},{lon}\n",
    }[what]
    with_locations(fake, line + "\n", new)


def break_folder(fake: FakeEuroSAT, _: str) -> None:
    replace_member(fake.zip, "EuroSAT_RGB/Desert/River_3.jpg", jpeg(1))
    replace_member(fake.zip, MEMBER, None)


BAD_PATCHES: list[tuple[Any, str, str]] = [
    (break_image, "unreadable", r"cannot identify image"),
    (break_image, "truncated", r"(?i:truncated)"),
    (break_image, "large", r"it is 65×64 RGB, not 64×64 RGB"),
    (break_image, "huge", r"longer than 1048576 bytes"),
    (break_image, "grey", r"it is 64×64 L, not 64×64 RGB"),
    (break_image, "png", r"cannot identify image"),
    (break_place, "absent", r"it has no row in .*locations\.csv"),
    (break_place, "latitude", r"its latitude in .*locations\.csv is no number in \[-90, 90\]"),
    (break_place, "longitude", r"its longitude in .*locations\.csv is no number in \[-180, 180\]"),
    (break_place, "no number", r"its latitude in .*locations\.csv is no number"),
    (break_place, "empty", r"its latitude in .*locations\.csv is no number"),
    (break_place, "class", r"its row in .*locations\.csv has another class"),
    (break_folder, "Desert", r"none of EuroSAT's classes \(AnnualCrop, .*SeaLake\)"),
]


@pytest.mark.parametrize(("damage", "what", "message"), BAD_PATCHES)
def test_a_bad_patch_stops_with_one_clear_error_or_is_skipped_and_listed(
    fake_eurosat: FakeEuroSAT,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Any,
    what: str,
    message: str,
) -> None:
    damage(fake_eurosat, what)
    out, locations = tmp_path / "s", fake_eurosat.locations
    with pytest.raises(UserError, match=rf"EuroSAT_RGB\.zip: .*River_3\.jpg: .*{message}.*--on-error skip"):
        prepare(fake_eurosat.zip, out, locations=locations)
    assert not (out / "store.json").exists()
    store = prepare(fake_eurosat.zip, out, locations=locations, on_error="skip")
    assert len(store) == 49
    assert "River_3" not in store.table["id"].tolist()
    ((identifier, reason),) = store.header.skipped
    assert identifier == "River_3"
    listed = capsys.readouterr().err
    assert "skipped 1 of 50 patches" in listed
    assert f"River_3: {reason}" in listed
    intact = store.table["split"].value_counts().to_dict()
    assert intact == {"train": 39, "test": 10}  # the split is made before anything is left out


def test_a_flipped_byte_in_the_zip_is_found(fake_eurosat: FakeEuroSAT, tmp_path: Path) -> None:
    content = bytearray(fake_eurosat.zip.read_bytes())
    content[content.index(MEMBER.encode()) + len(MEMBER) + 400] ^= 1
    fake_eurosat.zip.write_bytes(content)
    with pytest.raises(UserError, match=r"River_3\.jpg: Bad CRC-32"):
        prepare(fake_eurosat.zip, tmp_path / "s", locations=fake_eurosat.locations)


@pytest.mark.parametrize("on_error", ["stop", "skip"])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("file,class_name,lat,lon", "file,class_name,latitude,lon", r"column 'lat' is missing.*file, class_name"),
        ("file,class_name,lat,lon", "name,class_name,lat,lon", r"column 'file' is missing"),
        ("River_3.jpg", "River_4.jpg", r"line \d+ names 'River_4' a second time; remove"),
    ],
)
def test_a_table_that_is_wrong_as_a_whole_is_refused(
    fake_eurosat: FakeEuroSAT, tmp_path: Path, old: str, new: str, message: str, on_error: str
) -> None:
    with_locations(fake_eurosat, old, new)
    with pytest.raises(UserError, match=rf"locations\.csv: {message}"):
        prepare(fake_eurosat.zip, tmp_path / "s", locations=fake_eurosat.locations, on_error=on_error)
    assert not (tmp_path / "s").exists()


def test_a_table_that_cannot_be_read_is_refused(fake_eurosat: FakeEuroSAT, tmp_path: Path) -> None:
    for content in (b"", b"\xff\xfe\x00", b'file,class_name,lat,lon\n"open'):
        fake_eurosat.locations.write_bytes(content)
        with pytest.raises(UserError, match=r"cannot read .*locations\.csv.*CSV"):
            prepare(fake_eurosat.zip, tmp_path / "s", locations=fake_eurosat.locations)
    with pytest.raises(UserError, match=r"cannot read .*absent\.csv"):
        prepare(fake_eurosat.zip, tmp_path / "s", locations=tmp_path / "absent.csv")


@pytest.mark.parametrize("name", ["../evil.jpg", "/etc/evil.jpg", "a/../../River/evil.jpg", "..\\evil.jpg", "C:/e.jpg"])
def test_a_zip_that_points_outside_itself_is_refused(fake_eurosat: FakeEuroSAT, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(fake_eurosat.zip, "a") as archive:
        archive.writestr(name, jpeg())
    with pytest.raises(UserError, match=r"EuroSAT_RGB\.zip has a member that points outside it"):
        prepare(fake_eurosat.zip, tmp_path / "s", locations=fake_eurosat.locations)
    assert names_in(tmp_path) == ["source"]


def test_other_members_are_ignored_with_a_note(
    fake_eurosat: FakeEuroSAT, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(fake_eurosat.zip, "a") as archive:
        archive.writestr("EuroSAT_RGB/README.txt", "read me")
        archive.writestr("cover.jpg", jpeg())
        archive.writestr("__MACOSX/EuroSAT_RGB/River/._River_1.jpg", b"resource")
        archive.writestr("EuroSAT_RGB/River/.DS_Store", b"")
    assert len(prepare(fake_eurosat.zip, tmp_path / "s", locations=fake_eurosat.locations)) == 50
    assert "ignored 2 other files" in capsys.readouterr().err


def test_sources_that_are_none_are_refused(fake_eurosat: FakeEuroSAT, tmp_path: Path) -> None:
    empty, text = tmp_path / "empty", tmp_path / "text.zip"
    empty.mkdir()
    text.write_text("no zip")
    cases = [(tmp_path / "absent", "does not exist"), (text, "as a zip"), (empty, r"holds no CLASS/CLASS_n\.jpg")]
    for source, message in cases:
        with pytest.raises(UserError, match=message):
            prepare(source, tmp_path / "s")
    (fake_eurosat.folder / "River" / "River_9.tif").write_bytes(b"")
    with pytest.raises(UserError, match="both JPEGs and GeoTIFFs"):
        prepare(fake_eurosat.folder, tmp_path / "s")
    with zipfile.ZipFile(fake_eurosat.zip, "a") as archive:
        archive.writestr("again/River/River_1.jpg", jpeg())
    with pytest.raises(UserError, match="names 'River_1' twice"):
        prepare(fake_eurosat.zip, tmp_path / "s", locations=fake_eurosat.locations)
    assert not (tmp_path / "s").exists()


def write_tiff(path: Path, bands: int = 13, crs: str | None = "EPSG:32632", size: int = 64) -> None:
    """Band b holds 100·b everywhere; the centre is x = 500,320 m, y = 4,999,680 m of UTM zone 32."""
    rasterio = pytest.importorskip("rasterio")
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.broadcast_to(100 * np.arange(1, bands + 1, dtype=np.uint16)[:, None, None], (bands, size, size))
    form = {"driver": "GTiff", "count": bands, "height": size, "width": size, "dtype": "uint16", "crs": crs}
    transform = rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)
    with rasterio.open(path, "w", transform=transform, **form) as raster:
        raster.write(pixels)


def test_geotiffs_give_names_units_and_place(tmp_path: Path) -> None:
    write_tiff(tmp_path / "ds" / "Forest" / "Forest_1.tif")
    write_tiff(tmp_path / "ds" / "River" / "River_1.tif")
    store = prepare(tmp_path / "ds", tmp_path / "s")
    order = "B01 B02 B03 B04 B05 B06 B07 B08 B09 B10 B11 B12 B8A"
    assert " ".join(band.name for band in store.bands) == order
    assert {(band.unit, band.scale, band.offset) for band in store.bands} == {("reflectance", 1e-4, 0)}
    assert store.pixels(np.array([1]))[0, :, 5, 5].tolist() == [100 * b for b in range(1, 14)]
    np.testing.assert_allclose(store.mean, 0.01 * np.arange(1, 14))
    # On the central meridian (9° E) easting 500,000 m; 320 m east of it at 45.15° N is 0.00407°.
    np.testing.assert_allclose(store.place(), [[45.1507, 9.00407]] * 2, atol=1e-4)
    assert store.table["time"].isna().all()


def test_bad_geotiffs_stop_or_are_skipped(tmp_path: Path) -> None:
    write_tiff(tmp_path / "ds" / "Forest" / "Forest_1.tif")
    bad = tmp_path / "ds" / "River" / "River_1.tif"
    for number, (options, message) in enumerate(
        [({"bands": 12}, "not 13 bands"), ({"size": 63}, "not 13 bands"), ({"crs": None}, "no coordinate reference")]
    ):
        write_tiff(bad, **options)  # type: ignore[arg-type]
        with pytest.raises(UserError, match=rf"River_1\.tif: .*{message}"):
            prepare(tmp_path / "ds", tmp_path / f"stop{number}")
        assert len(prepare(tmp_path / "ds", tmp_path / f"skip{number}", on_error="skip")) == 1
    bad.write_bytes(b"no GeoTIFF")
    with pytest.raises(UserError, match=r"River_1\.tif: .*not recognized"):
        prepare(tmp_path / "ds", tmp_path / "s")


def test_geotiffs_without_rasterio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ds" / "River").mkdir(parents=True)
    (tmp_path / "ds" / "River" / "River_1.tif").write_bytes(b"")
    with pytest.raises(UserError, match=r"for JPEGs.*leave it out"):
        prepare(tmp_path / "ds", tmp_path / "s", locations=tmp_path / "x.csv")
    monkeypatch.setattr(eurosat, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'wherewhen\[geo\]'"):
        prepare(tmp_path / "ds", tmp_path / "s")


def test_the_command_line(fake_eurosat: FakeEuroSAT, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    break_image(fake_eurosat, "large")
    command = ["eurosat", str(fake_eurosat.zip), str(tmp_path / "s"), "--locations", str(fake_eurosat.locations)]
    with pytest.raises(UserError, match="65×64"):
        verb.main([*command, "--workers", "1"])
    assert verb.main([*command, "--workers", "1", "--on-error", "skip"]) == 0
    assert len(PatchStore.open(tmp_path / "s")) == 49
    for wrong in ([], ["mars"], ["eurosat"], [*command, "--on-error", "shrug"]):
        with pytest.raises(SystemExit) as caught:
            verb.main(wrong)
        assert caught.value.code == 2
    assert "eurosat" in capsys.readouterr().err


@pytest.mark.data
def test_real_eurosat(real_data: Path, tmp_path: Path) -> None:
    """All 27,000 pictures and the 100 GeoTIFFs among them: counts, split, place, and the same ground."""
    source = real_data / "eurosat"
    rgb = prepare(source / "EuroSAT_RGB.zip", tmp_path / "rgb", locations=source / "locations.csv", workers=2)
    assert rgb.table["split"].value_counts().to_dict() == {"train": 21_600, "test": 5_400}
    assert rgb.classes == EUROSAT_CLASSES
    np.testing.assert_allclose(rgb.mean / 255, [0.3444, 0.3803, 0.4078], atol=2e-3)  # published means
    all13 = prepare(real_data / "eurosat100", tmp_path / "all13")
    rows = pd.Index(rgb.table["id"]).get_indexer(pd.Index(all13.table["id"]))
    assert (rows >= 0).all()
    np.testing.assert_allclose(rgb.place()[rows], all13.place(), atol=1e-3)
    assert (rgb.labels()[rows] == all13.labels()).all()
    red = rgb.pixels(rows)[:, 0].astype(float).reshape(100, -1)
    b04 = all13.pixels(np.arange(100))[:, 3].astype(float).reshape(100, -1)
    alike = [np.corrcoef(a, b)[0, 1] for a, b in zip(red, b04, strict=True)]
    assert np.median(alike) > 0.95
