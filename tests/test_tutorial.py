"""The tutorial, command by command, on two generated scenes of fields in two projections; and on real scenes."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform

from tests.scene_fakes import UTM32, UTM33, write
from tests.test_docs import blocks
from wherewhen.cli import main
from wherewhen.store import PatchStore

BANDS = ("B02", "B03", "B04", "B08")
COVERS = {"field": (600, 900, 800, 3200), "forest": (200, 400, 250, 2400), "water": (500, 450, 300, 120)}
SIDE, CELL = 256, 16  # pixels of a scene, and of a piece of land
POINTS = 60  # of a scene
FAST = " --trainer.max_steps 30 --trainer.val_check_interval 15 --model.lr_warmup_steps 2"
SURE = FAST.replace("30", "60") + " --model.learning_rate 3e-3"  # of seeds 0 to 2, the worst map is 91 % right


def write_scene(path: Path, crs: str, seed: int) -> tuple[np.ndarray, list[dict[str, object]]]:
    """A scene, what covers each of its pixels, and points of it as GeoJSON features."""
    rng = np.random.default_rng(seed)
    cover = rng.integers(0, len(COVERS), (SIDE // CELL, SIDE // CELL)).repeat(CELL, 0).repeat(CELL, 1)
    levels = np.array(list(COVERS.values()))[cover].transpose(2, 0, 1)
    pixels = (levels * rng.normal(1, 0.08, (1, SIDE, SIDE)) + rng.normal(0, 60, levels.shape)).clip(1, 9000)
    write(path, pixels.astype(np.uint16), crs=crs, names=BANDS, tags={"ACQUISITION_DATE": "2021-07-04T10:20:00Z"})
    features: list[dict[str, object]] = []
    with rasterio.open(path) as raster:
        for row, column in rng.integers(2, SIDE - 2, (POINTS, 2)):
            (lon,), (lat,) = transform(raster.crs, "EPSG:4326", *([x] for x in raster.xy(row, column)))
            point = {"type": "Point", "coordinates": [lon, lat]}
            name = list(COVERS)[cover[row, column]]
            features.append({"type": "Feature", "properties": {"cover": name}, "geometry": point})
    return cover, features


@pytest.mark.parametrize("more", [SURE, pytest.param("", marks=pytest.mark.slow)], ids=["fast", "as written"])
def test_every_command_of_the_tutorial(more: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    covers, features = {}, []
    for name, crs, seed in (("north", UTM32, 1), ("south", UTM33, 2)):
        covers[name], points = write_scene(Path("imagery") / f"{name}.tif", crs, seed)
        features += points
    Path("labels.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    for line in "".join(blocks("tutorial.md", "")).splitlines():
        verb, *words = shlex.split(line.replace("SCENE", "north"))[1:]
        words += [*shlex.split(more), "--trainer.logger", "false"] if verb in ("fit", "test") else []
        assert main([verb, *words]) == 0, line
    for name in ("where.png", "report.html", "next.geojson", "runs/mine/student.onnx", "sample.geojson"):
        assert Path(name).stat().st_size > 500, name
    for name, cover in covers.items():
        with rasterio.open(f"maps/{name}_classes.tif") as told, rasterio.open(f"imagery/{name}.tif") as source:
            assert (told.crs, told.transform, told.shape) == (source.crs, source.transform, source.shape)
            right = (told.read(1) == cover).mean()
        assert right > (0.7 if more else 0.85), name  # a third by chance; 120 single pixels are all it was told


@pytest.mark.parametrize("more", [FAST, pytest.param("", marks=pytest.mark.slow)], ids=["fast", "as written"])
def test_four_commands_from_a_real_city_to_its_map(
    more: str, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """90 points that were set by hand on the picture of Hong Kong, a scene in degrees with a file a band."""
    scenes, labels = real_data / "oscd" / "images" / "hongkong" / "imgs_1", Path(__file__).with_name("hongkong.geojson")
    monkeypatch.chdir(tmp_path)
    size = [] if not more else ["--unlabelled", "40"]
    prepared = ["folder", str(scenes), "stores/city", "--labels", str(labels), "--class-column", "cover", *size]
    assert main(["prepare", *prepared, "--sensor", "sentinel2_l1c", "--size", "32"]) == 0
    quiet = ["--trainer.logger", "false", "--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]
    assert main(["fit", "--data.store", "stores/city", "--run", "runs/city", *shlex.split(more), *quiet]) == 0
    assert main(["predict", "--run", "runs/city", "--scenes", str(scenes), "--out", "maps"]) == 0
    assert main(["report", "runs/city", "--out", "report.html"]) == 0
    (found,) = Path("maps").glob("*_classes.tif")
    with rasterio.open(next(scenes.glob("*_B02.tif"))) as source, rasterio.open(found) as told:
        assert (told.crs, told.transform, told.shape) == (source.crs, source.transform, source.shape)
        names, classes = json.loads(told.tags()["classes"]), told.read(1)
        points = json.loads(labels.read_text())["features"]
        said = [names[classes[told.index(*point["geometry"]["coordinates"])]] for point in points]
    right = np.mean([name == point["properties"]["cover"] for name, point in zip(said, points, strict=True)])
    tested = json.loads(Path("runs/city/test.json").read_text())["overall_accuracy"]
    assert more or (right > 0.9 and tested >= 80), (
        right,
        tested,
    )  # a quarter by chance; 30 steps teach next to nothing


def test_four_commands_from_real_patches_to_a_table(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 GeoTIFFs of 64 × 64 pixels and 13 bands that they do not name, each with a label in its middle."""
    scenes = real_data / "eurosat100"
    monkeypatch.chdir(tmp_path)
    lines = ["lon,lat,cover"]
    for path in sorted(scenes.glob("*/*.tif")):
        with rasterio.open(path) as raster:
            (lon,), (lat,) = transform(raster.crs, "EPSG:4326", *([x] for x in raster.xy(31.5, 31.5)))
        lines.append(f"{lon},{lat},{path.parent.name}")
    Path("labels.csv").write_text("\n".join(lines) + "\n")
    bands = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A"]
    prepared = ["folder", str(scenes), "stores/own", "--labels", "labels.csv", "--class-column", "cover"]
    prepared += ["--task", "patch", "--size", "64", "--sensor", "sentinel2_l1c", "--bands", *bands]
    assert main(["prepare", *prepared, "--unlabelled", "0", "--workers", "1"]) == 0
    store = PatchStore.open("stores/own")
    assert (len(store), store.shape, len(store.classes), store.label_kind) == (100, (13, 64, 64), 10, "one")
    for row in (0, 57, 99):
        (source,) = scenes.glob(f"*/{store.table['source'].iloc[row]}.tif")
        with rasterio.open(source) as raster:
            np.testing.assert_array_equal(store.pixels(np.array([row]))[0], raster.read())
        assert store.classes[store.labels()[row]] == source.parent.name
    quiet = ["--trainer.logger", "false", "--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]
    assert main(["fit", "--data.store", "stores/own", "--run", "runs/own", *shlex.split(FAST), *quiet]) == 0
    assert main(["predict", "--run", "runs/own", "--store", "stores/own", "--out", "table.csv"]) == 0
    assert main(["report", "runs/own", "--out", "report.html"]) == 0
    assert len(Path("table.csv").read_text().splitlines()) == 101
