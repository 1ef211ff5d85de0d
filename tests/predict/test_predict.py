"""Maps from runs: where they lie, what they say, and that a killed one goes on to the same bytes."""

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio

from tests.predict.test_blend import mapped
from tests.tasks.conftest import make_store, settings, write_config
from tests.tasks.dense_stores import LEVEL, change_store, dense_settings, masked_store, random_masks
from wherewhen.cli import main
from wherewhen.predict import cog, scene_map
from wherewhen.predict.blend import BLEND, Tiling
from wherewhen.predict.network import Network
from wherewhen.student import load

TRANSFORM = rasterio.Affine(10.0, 0, 399_960.3, 0, -10.0, 5_300_040.7)
CRS = "EPSG:32633"
NET: dict[str, Any] = {"encoder": {"name": "Timm", "model": "resnet10t"}, "decoder": {"name": "UNet", "width": 8}}
WORDS = ["--window", "128", "--overlap", "48", "--device", "cpu"]


def trained(tmp: Path, config: dict[str, Any], steps: int = 2) -> Path:
    config["trainer"] |= {"max_steps": steps, "val_check_interval": steps}
    path = write_config(tmp / "c.yaml", config)
    assert main(["fit", "--config", str(path), "--run", str(tmp / "run")]) == 0
    assert main(["test", "--config", str(path), "--run", str(tmp / "run")]) == 0
    return tmp / "run"


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segmenter that has learnt a little."""
    tmp = tmp_path_factory.mktemp("dense")
    config = dense_settings(masked_store(tmp / "store").path, algorithm=None, teacher=None, **NET)
    config["model"]["learning_rate"] = 1e-2
    return trained(tmp, config, 40)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp = tmp_path_factory.mktemp("classifier")
    return trained(tmp, settings(make_store(tmp / "store").path), 12)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(3, H, W) uint8 as in the stores of masks, with noise, and no data in a corner."""
    rng = np.random.default_rng(seed)
    cells = np.tile(random_masks(1, 3, seed)[0], (height // 16 + 1, width // 16 + 1))[:height, :width]
    shown = np.stack((cells * LEVEL, np.full_like(cells, 128), np.full_like(cells, 128))).astype(int)
    pixels = (shown + rng.integers(-20, 20, shown.shape)).clip(1, 255).astype(np.uint8)
    pixels[:, :40, :70] = 0
    return pixels


def write_scene(path: Path, pixels: np.ndarray, crs: str = CRS) -> Path:
    count, height, width = pixels.shape
    profile = {"driver": "GTiff", "dtype": "uint8", "count": count, "height": height, "width": width, "nodata": 0}
    with rasterio.open(path, "w", crs=crs, transform=TRANSFORM, **profile) as raster:
        raster.write(pixels)
        raster.descriptions = ("red", "green", "blue")
    return path


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as raster:
        values: np.ndarray = raster.read()
    return values


def whole(run: Path, pixels: np.ndarray) -> np.ndarray:
    """(K, H, W) in one pass."""
    p: np.ndarray = load(run, "cpu").predict_proba(pixels)[0]
    return p


def test_a_map_of_pixels(dense: Path, tmp_path: Path) -> None:
    pixels = picture(210, 330)
    scene = write_scene(tmp_path / "scene.tif", pixels)
    out = tmp_path / "maps"
    call = ["predict", "--run", str(dense), "--scenes", str(scene), "--out", str(out), "--probabilities", *WORDS]
    assert main(call) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "scene_classes.tif",
        "scene_confidence.tif",
        "scene_probabilities.tif",
    ]
    for path in out.iterdir():
        with rasterio.open(path) as raster, rasterio.open(scene) as source:
            assert raster.crs == source.crs
            assert raster.transform == source.transform  # to the bit
            assert raster.shape == source.shape
            assert raster.nodata == cog.NODATA
            assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert raster.block_shapes[0] == (512, 512)
    with rasterio.open(out / "scene_classes.tif") as raster:
        assert raster.tags()["CLASS_1"] == "forest"
        assert raster.tags()["classes"] == '["field", "forest", "water"]'
        assert raster.colormap(1)[1] != raster.colormap(1)[2]
    classes, confidence = read(out / "scene_classes.tif")[0], read(out / "scene_confidence.tif")[0]
    unseen = (pixels == 0).all(0)
    assert unseen.sum() == 40 * 70
    for values in (classes, confidence, *read(out / "scene_probabilities.tif")):
        np.testing.assert_array_equal(values == cog.NODATA, unseen)
    truth = whole(dense, pixels)
    far = ~unseen
    assert len(np.unique(classes[far])) == 3
    assert (classes == truth.argmax(0))[far].mean() > 0.995
    assert np.abs(confidence[far] / 100 - truth.max(0)[far]).mean() < 0.01
    np.testing.assert_array_equal(read(out / "scene_probabilities.tif").max(0)[far], confidence[far])


def test_a_killed_map_goes_on_to_the_same_bytes(
    dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = write_scene(tmp_path / "scene.tif", picture(400, 180))
    call = ["predict", "--run", str(dense), "--scenes", str(scene), *WORDS, "--out"]
    assert main([*call, str(tmp_path / "straight")]) == 0
    asked, ask = [0], Network.__call__

    def counted(self: Network, images: np.ndarray) -> np.ndarray:
        asked[0] += 1
        if asked[0] == 9:  # of 12: in the fifth of six rows
            raise KeyboardInterrupt
        return ask(self, images)

    with monkeypatch.context() as patched:
        patched.setattr(Network, "__call__", counted)
        assert main([*call, str(tmp_path / "killed")]) == 130
        assert not list((tmp_path / "killed").glob("*.tif"))
        asked[0] = 100
        assert main([*call, str(tmp_path / "killed")]) == 0
    assert asked[0] == 100 + 6  # the fifth and sixth row, and the one before, whose windows reach into the fifth
    for name in ("scene_classes.tif", "scene_confidence.tif"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
    assert not [path for path in (tmp_path / "killed").iterdir() if path.name.startswith(".")]
    before = (tmp_path / "killed" / "scene_classes.tif").stat().st_mtime_ns
    assert main([*call, str(tmp_path / "killed")]) == 0
    assert (tmp_path / "killed" / "scene_classes.tif").stat().st_mtime_ns == before
    capsys.readouterr()
    assert main([*call, str(tmp_path / "killed"), "--flips"]) == 2
    assert "is a map of other weights, scenes or settings" in capsys.readouterr().err
    (tmp_path / "killed" / "scene_classes.tif").write_bytes(b"nothing like a map")
    assert main([*call, str(tmp_path / "killed")]) == 2
    assert "scene_classes.tif cannot be read" in capsys.readouterr().err


def test_physical_values_become_stored_numbers_and_another_map(
    dense: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = picture(90, 130)
    scene, sensor = write_scene(tmp_path / "scene.tif", pixels), tmp_path / "camera.yaml"
    bands = [{"name": name, "wavelength": 500, "resolution": 10} for name in ("red", "green", "blue")]
    sensor.write_text(json.dumps({"title": "A camera", "unit": "8-bit", "scale": 0.5, "offset": 0, "bands": bands}))
    call = ["predict", "--run", str(dense), "--scenes", str(scene), *WORDS, "--out"]
    for out, words in {
        "as trained": [], "halves": ["--sensor", str(sensor)], "physical": ["--sensor", str(sensor), "--physical"]
    }.items():  # fmt: skip
        assert main([*call, str(tmp_path / out), *words]) == 0
    told = {out: read(tmp_path / out / "scene_confidence.tif") for out in ("as trained", "halves", "physical")}
    np.testing.assert_array_equal(told["physical"], told["as trained"])
    assert (told["halves"] != told["physical"]).any()
    assert main([*call, str(tmp_path / "halves"), "--sensor", str(sensor), "--physical"]) == 2
    assert "is a map of other weights, scenes or settings" in capsys.readouterr().err


def test_a_real_network_shows_no_steps_where_windows_meet(dense: Path) -> None:
    """Steps from pixel to pixel there, over those elsewhere, are what they are in one pass over the same picture."""
    network, scene = Network(load(dense, "cpu"), ""), picture(250, 410, seed=2)
    tiling = Tiling(scene.shape[1:], 128, 48, network.align)
    blended, _ = mapped(scene, tiling, network)

    def ratio(p: np.ndarray, axis: int) -> float:
        steps = np.abs(np.diff(p, axis=axis + 1)).mean((0, 2 - axis))
        meet = np.zeros(len(steps), bool)
        for start in tiling.starts(axis)[1:]:
            meet[start + tiling.drop - 1 : start + tiling.drop + BLEND] = True
        return float(steps[meet].mean() / steps[~meet].mean())

    for axis in (0, 1):
        assert ratio(blended, axis) < 1.05 * ratio(whole(dense, scene), axis)


def test_flips_are_the_mean_of_four(dense: Path) -> None:
    images = picture(64, 64)[None]
    once, four = (Network(load(dense, "cpu"), "", flips) for flips in (False, True))
    turned = [np.flip(once(np.flip(images, axes)), axes) for axes in ((2,), (3,), (2, 3))]
    np.testing.assert_allclose(four(images), (once(images) + sum(turned)) / 4, atol=1e-6)


def test_patches_trained_at_another_size(tmp_path: Path) -> None:
    """Windows are resized as the patches were, and the answer back."""
    config = dense_settings(masked_store(tmp_path / "store").path, algorithm=None, teacher=None, **NET)
    config["data"]["image_size"] = 32
    network = Network(load(trained(tmp_path, config), "cpu"), "")
    assert (network.patch, network.side) == (16, None)
    images = picture(96, 80, seed=3)[None]
    answer = network(images)
    assert answer.shape == (1, 3, 96, 80)
    np.testing.assert_allclose(answer.sum(1), 1, atol=1e-5)
    doubled = images.repeat(2, 2).repeat(2, 3)
    assert (answer.argmax(1) == network.student.predict_proba(doubled)[..., ::2, ::2].argmax(1)).mean() > 0.9


def test_a_map_of_patches(classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = picture(100, 70)
    scene = write_scene(tmp_path / "scene.tif", pixels)
    call = ["predict", "--run", str(classifier), "--scenes", str(scene), "--device", "cpu", "--step", "8", "--out"]
    assert main([*call, str(tmp_path / "maps")]) == 0
    with rasterio.open(tmp_path / "maps" / "scene_classes.tif") as raster:
        assert raster.shape == (13, 9)
        assert raster.transform == TRANSFORM @ rasterio.Affine.scale(8)
        classes = raster.read(1)
    student, table = load(classifier, "cpu"), gpd.read_parquet(tmp_path / "maps" / "scene_patches.parquet")
    assert table.crs == CRS
    assert len(table) == (classes != cog.NODATA).sum()
    assert classes[0, 0] == cog.NODATA  # nothing but no data
    for row, column in ((6, 4), (12, 8), (5, 0)):
        top, left = (min(max(8 * i + 4 - 8, 0), most - 16) for i, most in ((row, 100), (column, 70)))
        p = student.predict_proba(pixels[:, top : top + 16, left : left + 16])[0]
        line = table[(table["row"] == row) & (table["column"] == column)].iloc[0]
        np.testing.assert_allclose([line[f"p_{name}"] for name in student.classes], p, atol=1e-5)
        assert line["class"] == student.classes[p.argmax()] == student.classes[classes[row, column]]
        west, south, east, north = line.geometry.bounds
        assert (west, north) == pytest.approx(TRANSFORM @ (8 * column, 8 * row))
        assert (east - west, north - south) == pytest.approx((80, 80))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "maps").iterdir()}
    assert len(before) == 3
    assert main([*call, str(tmp_path / "maps")]) == 0
    capsys.readouterr()
    assert main([*call, str(tmp_path / "maps"), "--flips"]) == 2
    assert "is a map of other weights, scenes or settings" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "maps").iterdir()} == before


def test_change_between_two_scenes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(
        tmp_path, dense_settings(change_store(tmp_path / "store").path, "change", algorithm=None, teacher=None, **NET)
    )
    pixels = np.stack((picture(120, 130), picture(120, 130, seed=5)))
    (tmp_path / "after").mkdir()
    scenes = [
        write_scene(tmp_path / name, image) for name, image in zip(("one.tif", "after/one.tif"), pixels, strict=True)
    ]
    call = ["predict", "--run", str(run), "--scenes", str(scenes[0]), *WORDS, "--out", str(tmp_path / "maps")]
    assert main(call) == 2
    assert "takes --scenes and --after" in capsys.readouterr().err
    assert main([*call, "--after", str(scenes[1])]) == 0
    truth = load(run, "cpu").predict_proba(pixels)[0].argmax(0)
    seen = (pixels != 0).all((0, 1))
    assert (read(tmp_path / "maps" / "one_classes.tif")[0] == truth)[seen].mean() > 0.99


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_of_patches(classifier: Path, tmp_path: Path, suffix: str) -> None:
    store, out = classifier.parent / "store", tmp_path / f"table.{suffix}"
    assert main(["predict", "--run", str(classifier), "--store", str(store), "--split", "test", "--out", str(out)]) == 0
    table = pd.read_csv(out, dtype={"id": str}) if suffix == "csv" else pd.read_parquet(out)
    said = pd.read_csv(classifier / "test_predictions.csv", dtype={"id": str})
    assert list(table["id"]) == list(said["id"])
    assert list(table["class"]) == list(said["prediction"])
    np.testing.assert_allclose(table[["p_field", "p_forest", "p_water"]].to_numpy().sum(1), 1, atol=1e-4)


def test_what_cannot_be_read_is_told_and_the_rest_is_done(
    classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    write_scene(tmp_path / "in" / "good.tif", picture(64, 96))
    write_scene(tmp_path / "in" / "small.tif", picture(64, 96)[:, :8, 80:])
    call = ["predict", "--run", str(classifier), "--scenes", str(tmp_path / "in"), "--device", "cpu", "--out"]
    assert main([*call, str(tmp_path / "out")]) == 1
    assert "small: it has 8 × 16 pixels, less than a patch of 16 × 16" in capsys.readouterr().out
    assert (tmp_path / "out" / "good_classes.tif").is_file()
    for words, message in (
        (["--out", "x"], "give either --scenes"),
        (["--scenes", "x", "--step", "0", "--out", "x"], "--step is 0"),
        (["--store", str(classifier.parent / "store"), "--out", str(tmp_path / "x.txt")], "neither .parquet nor .csv"),
    ):
        assert main(["predict", "--run", str(classifier), *words]) == 2
        assert message in capsys.readouterr().err


def test_per_cent_and_files() -> None:
    share = np.array([[[0.0, 0.004, 0.996, 1.0]]])
    np.testing.assert_array_equal(cog.per_cent(share, np.array([[True, True, True, False]])), [[[0, 0, 100, 255]]])
    assert scene_map.files(Path("o"), "s", False).keys() == {"classes", "confidence"}
