from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wherewhen import prepare as verb
from wherewhen.errors import UserError
from wherewhen.ingest import gid15
from wherewhen.ingest.gid15 import COLOURS, classes_of, prepare
from wherewhen.maps import UNKNOWN
from wherewhen.splits import rank
from wherewhen.store import PatchStore

rasterio = pytest.importorskip("rasterio")

SCENES = {f"GF2_PMS1__L1A000{n}-MSS1": (40 + n, 52) for n in range(6)}
PALETTE = [(0, 0, 0), *COLOURS.values()]


def picture(scene: str, bands: int = 3) -> np.ndarray:
    rng = np.random.default_rng([*scene.encode(), bands])
    return rng.integers(0, 256, (bands, *SCENES[scene]), np.uint8)


def truth(scene: str) -> np.ndarray:
    """0 unlabelled, then the classes from 1, in blocks."""
    rng = np.random.default_rng([*scene.encode()])
    height, width = SCENES[scene]
    blocks = rng.integers(0, 16, (height // 4 + 1, width // 4 + 1))
    return np.asarray(blocks.repeat(4, 0).repeat(4, 1)[:height, :width], np.uint8)


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = pixels.shape
    form = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": pixels.dtype}
    with rasterio.open(path, "w", photometric="rgb" if count == 3 else "minisblack", **form) as raster:
        raster.write(pixels)


def colours(index: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.asarray(PALETTE, np.uint8)[index], -1, 0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six scenes in the layout of the original download, RGB and with near infrared."""
    folder = tmp_path / "Fine Land-cover Classification_15classes"
    for scene in SCENES:
        write(folder / "image_RGB" / f"{scene}.tif", picture(scene))
        write(folder / "image_NirRGB" / f"{scene}.tif", picture(scene, 4))
        write(folder / "label_15classes" / f"{scene}_label.tif", colours(truth(scene)))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_windows_with_masks(source: Path, tmp_path: Path) -> None:
    store = prepare(source, tmp_path / "s", size=20)
    assert store.classes == tuple(COLOURS)
    assert [band.name for band in store.bands] == ["red", "green", "blue"]
    assert store.shape == (3, 20, 20)
    assert store.header.pixel_size == 4
    assert np.isnan(store.place()).all()
    assert store.table["time"].isna().all()
    assert store.table["place"].isna().all()  # windows of a scene are not one place
    counted = np.zeros(16, int)
    for row, name in enumerate(store.table["id"]):
        scene, r, c = name.rsplit("-", 2)
        here = np.s_[int(r[1:]) : int(r[1:]) + 20, int(c[1:]) : int(c[1:]) + 20]
        np.testing.assert_array_equal(store.pixels(np.array([row]))[0], picture(scene)[:, *here])
        mask, expected = store.masks(np.array([row]))[0], truth(scene)[here].astype(int) - 1
        labelled = mask != UNKNOWN
        np.testing.assert_array_equal(mask[labelled], expected[labelled])
        counted += np.bincount(mask[labelled], minlength=16)
    whole = sum(np.bincount(truth(scene).ravel(), minlength=17)[1:] for scene in SCENES)
    np.testing.assert_array_equal(counted, whole)  # every labelled pixel once, though the last windows overlap


def test_near_infrared(source: Path, tmp_path: Path) -> None:
    store = prepare(source, tmp_path / "s", size=20, bands="nirrgb")
    assert [band.name for band in store.bands] == ["nir", "red", "green", "blue"]
    scene = str(store.table["id"].iloc[0]).rsplit("-", 2)[0]
    np.testing.assert_array_equal(store.pixels(np.array([0]))[0], picture(scene, 4)[:, :20, :20])


def test_workers_make_no_difference(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gid15, "_SHARD_BYTES", 7 * 3 * 20**2)  # shards that cut scenes
    stores = [prepare(source, tmp_path / f"s{workers}", size=20, workers=workers) for workers in (1, 2)]
    assert contents(stores[0].path) == contents(stores[1].path)
    monkeypatch.undo()
    whole = prepare(source, tmp_path / "whole", size=20)
    rows = np.arange(len(whole))
    np.testing.assert_array_equal(whole.pixels(rows), stores[0].pixels(rows))
    np.testing.assert_array_equal(whole.masks(rows), stores[0].masks(rows))


def test_a_split_by_scene(source: Path, tmp_path: Path) -> None:
    table = prepare(source, tmp_path / "s", size=20).table
    scenes = table["id"].str.rsplit("-", n=2).str[0]
    assert (table.groupby(scenes)["split"].nunique() == 1).all()
    share = rank(list(SCENES), 0) / 2.0**64
    expected = {scene: "train" if s < 0.8 else "test" for scene, s in zip(SCENES, share, strict=True)}
    assert dict(zip(scenes, table["split"], strict=True)) == expected
    assert set(expected.values()) == {"train", "test"}


def test_a_split_from_a_list(source: Path, tmp_path: Path) -> None:
    listed = tmp_path / "train.txt"
    listed.write_text("\n".join(f"{scene}.tif" for scene in list(SCENES)[:2]))
    words = ["gid15", str(source), str(tmp_path / "s"), "--size", "20", "--workers", "1", "--split", str(listed)]
    assert verb.main(words) == 0
    table = PatchStore.open(tmp_path / "s").table
    train = set(table["id"][table["split"] == "train"].str.rsplit("-", n=2).str[0])
    assert train == set(list(SCENES)[:2])
    assert (table["split"] == "test").sum() == len(table) - 6 - 9  # 40 rows make two windows, 41 three


def test_the_form_with_one_band(source: Path, tmp_path: Path) -> None:
    """As the copy that mmsegmentation's users share: `img_dir` and `ann_dir/…_15label.png`."""
    colour = prepare(source, tmp_path / "colour", size=20)
    for scene in SCENES:
        path = tmp_path / "GID" / "ann_dir" / "train" / f"{scene}_15label.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(truth(scene)).save(path)
        write(tmp_path / "GID" / "img_dir" / "train" / f"{scene}.tif", picture(scene))
    index = prepare(tmp_path / "GID", tmp_path / "index", size=20)
    rows = np.arange(len(index))
    np.testing.assert_array_equal(index.masks(rows), colour.masks(rows))


def test_scenes_without_labels_are_for_training(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (source / "label_15classes").iterdir():
        path.unlink()
    store = prepare(source, tmp_path / "s", size=20)
    assert "note: 6 of 6 scenes have no labels" in capsys.readouterr().err
    assert not store.has_masks
    assert set(store.table["split"]) == {"train"}


@pytest.mark.parametrize(("index", "colour"), list(enumerate(PALETTE)))
def test_the_table_of_colours(index: int, colour: tuple[int, int, int]) -> None:
    expected = UNKNOWN if index == 0 else index - 1
    assert (classes_of(np.full((3, 2, 2), np.array(colour)[:, None, None], np.uint8)) == expected).all()
    assert (classes_of(np.full((1, 2, 2), index, np.uint8)) == expected).all()


@pytest.mark.parametrize("colour", [(1, 0, 0), (255, 255, 255), (0, 200, 251), (200, 0, 1), (0, 0, 1)])
def test_other_colours_are_none(colour: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=rf"colour \({', '.join(map(str, colour))}\)"):
        classes_of(np.array(colour, np.uint8).reshape(3, 1, 1))


# -- damage ---------------------------------------------------------------------------------------

FIRST = next(iter(SCENES))


def unknown_colour(source: Path) -> None:
    stored = colours(truth(FIRST))
    stored[:, 23, 31] = 12, 34, 56
    write(source / "label_15classes" / f"{FIRST}_label.tif", stored)


def broken_image(source: Path) -> None:
    (source / "image_RGB" / f"{FIRST}.tif").write_bytes(b"no picture")


def broken_label(source: Path) -> None:
    (source / "label_15classes" / f"{FIRST}_label.tif").write_bytes(b"no picture")


def small_label(source: Path) -> None:
    write(source / "label_15classes" / f"{FIRST}_label.tif", colours(truth(FIRST))[:, :30])


def cut_short(source: Path) -> None:
    path = source / "image_RGB" / f"{FIRST}.tif"
    path.write_bytes(path.read_bytes()[:3000])


def grey(source: Path) -> None:
    write(source / "image_RGB" / f"{FIRST}.tif", picture(FIRST)[:1])


DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (unknown_colour, r"_label\.tif: colour \(12, 34, 56\) at row 23, column 31 is none of GID-15's 15 classes"),
    (broken_image, r"image_RGB/.*MSS1\.tif: .*not recognized"),
    (broken_label, r"_label\.tif.*not recognized"),
    (small_label, r"it has \(40, 52\) pixels, but label_15classes/.* has \(30, 52\)"),
    (cut_short, r"image_RGB/.*MSS1\.tif: rows \d+ to \d+: "),
    (grey, r"image_RGB/.*MSS1\.tif: it has 1 bands of uint8, not 3 of uint8"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_something_bad_is_a_clear_error_and_loses_nothing_else(
    source: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    good = prepare(source, tmp_path / "good", size=20)
    damage(source)
    with pytest.raises(UserError, match=rf"{message}.*--on-error skip"):
        prepare(source, tmp_path / "s", size=20)
    store = prepare(source, tmp_path / "s", size=20, on_error="skip")
    assert all(FIRST in name for name, _ in store.header.skipped)
    left = set(store.table["id"])
    gone = set(good.table["id"]) - left
    assert left < set(good.table["id"])
    assert len(gone) == (1 if damage is unknown_colour else 6)  # a window, or the scene
    assert {name.rsplit("-", 2)[0] for name in gone} == {FIRST}
    rows = np.flatnonzero(good.table["id"].isin(left))
    np.testing.assert_array_equal(store.pixels(np.arange(len(store))), good.pixels(rows))
    np.testing.assert_array_equal(store.masks(np.arange(len(store))), good.masks(rows))


def test_wrong_sources_and_options(source: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    cases: list[tuple[Path, dict[str, Any], str]] = [
        (tmp_path / "absent", {}, "is no folder"),
        (empty, {}, r"holds no image_RGB/SCENE\.tif for --bands rgb"),
        (source, {"size": 60}, "less than a tile of 60 × 60"),
        (source, {"size": 0}, "--size 0"),
        (source, {"size": 20, "stride": 21}, "--stride 21"),
        (source, {"split": tmp_path / "none.txt"}, "there is no file"),
    ]
    for folder, options, message in cases:
        with pytest.raises(UserError, match=message):
            prepare(folder, tmp_path / "s", **options)
    (source / "more").mkdir()
    write(source / "more" / f"{FIRST}.tif", picture(FIRST))
    with pytest.raises(UserError, match=f"more than one image of scene '{FIRST}'"):
        prepare(source, tmp_path / "s", size=20)
    assert not (tmp_path / "s").exists()


def test_a_scene_is_never_in_memory_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All reads are windows of the size asked for."""
    monkeypatch.setitem(SCENES, "big", (300, 400))
    write(tmp_path / "in" / "image_RGB" / "big.tif", picture("big"))
    asked = []
    reader = gid15._window

    def watched(raster: Any, name: str, counts: tuple[int, ...], top: int, left: int, size: int) -> np.ndarray:
        window = reader(raster, name, counts, top, left, size)
        asked.append(window.shape[1:])
        return window

    monkeypatch.setattr(gid15, "_window", watched)
    prepare(tmp_path / "in", tmp_path / "s", size=50)
    assert set(asked) == {(50, 50)}
    assert len(asked) == 6 * 8
