"""Files that the tools of others take for Cloud Optimized GeoTIFFs."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio")
cogeo = pytest.importorskip("rio_cogeo.cogeo")

from wherewhen.ingest.nomenclature import CLASSES_19 as NAMES_19  # noqa: E402
from wherewhen.ingest.rasters import Grid  # noqa: E402
from wherewhen.predict import cog  # noqa: E402

GRIDS = {
    "one block": Grid("EPSG:32632", (10.0, 0.0, 500000.0, 0.0, -10.0, 5300000.0), (200, 330)),
    "many blocks": Grid("EPSG:32733", (9.99, 0.0, 123456.789, 0.0, -9.99, 8000000.125), (1400, 1100)),
    "degrees": Grid("EPSG:4326", (1 / 3600, 0.0, -179.9, 0.0, -1 / 3600, 10.1), (600, 600)),
}
LAYERS = {
    "classes": cog.Layer(["classes"], ("field", "forest", "Wasser & Ödland"), {"wherewhen_digest": "0"}),
    "shares": cog.Layer(["probability of a (%)", "probability of b (%)"]),
}


def written(path: Path, grid: Grid, layer: cog.Layer) -> np.ndarray:
    rng = np.random.default_rng(0)
    most = len(layer.classes) or 101
    values = rng.integers(0, most, (len(layer.names), *grid.shape), np.uint8)
    values[:, :50, :70] = cog.NODATA
    cog.write(path, grid, layer, lambda raster: raster.write(values))
    return values


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("name", GRIDS)
def test_a_validator_finds_nothing(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / "map.tif"
    values = written(path, GRIDS[name], LAYERS[kind])
    valid, errors, warnings = cogeo.cog_validate(path, strict=True, quiet=True)
    assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(path) as raster:
        assert raster.transform == rasterio.Affine(*GRIDS[name].transform)
        np.testing.assert_array_equal(raster.read(), values)
        overviews = raster.overviews(1)
    assert bool(overviews) == (max(GRIDS[name].shape) > cog.BLOCK)


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="gdalinfo is not installed (Debian: gdal-bin)")
def test_gdalinfo_tells_the_same(tmp_path: Path) -> None:
    path, grid = tmp_path / "map.tif", GRIDS["many blocks"]
    values = written(path, grid, LAYERS["classes"])
    answer = subprocess.run(["gdalinfo", "-json", "-checksum", str(path)], capture_output=True, text=True, check=True)
    told = json.loads(answer.stdout)
    a, b, c, d, e, f = grid.transform
    assert told["geoTransform"] == [c, a, b, f, d, e]
    assert told["size"] == [grid.shape[1], grid.shape[0]]
    assert told["stac"]["proj:epsg"] == 32733
    assert told["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
    assert told["metadata"][""]["CLASS_2"] == "Wasser & Ödland"
    (band,) = told["bands"]
    assert (band["type"], band["colorInterpretation"], band["noDataValue"]) == ("Byte", "Palette", 255)
    with rasterio.open(path) as raster:
        assert band["checksum"] == raster.checksum(1)
        assert raster.read(1).sum() == values.sum()


def test_colours_are_those_of_maps_and_all_different() -> None:
    table = cog.colour_table(["Open water", "Coniferous forest", "Mixed forest", "Zuckerrüben", "ForestLand"])
    assert table[255] == (0, 0, 0, 0)
    red, green, blue, _ = table[0]
    assert blue > max(red, green)
    conifers, mixed, beets = (np.array(table[index]) for index in (1, 2, 3))
    assert conifers[1] > max(conifers[0], conifers[2])
    np.testing.assert_allclose(mixed[:3], 0.8 * conifers[:3], atol=0.5)
    assert beets[0] != conifers[0]
    for names in (NAMES_19, [f"class {i}" for i in range(19)], [f"forest {i}" for i in range(19)]):
        assert len(set(cog.colour_table(names).values())) == 20
