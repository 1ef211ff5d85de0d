from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherewhen.errors import UserError
from wherewhen.ingest.rasters import Grid, Method, check_tiling, onto, read_band, resize, tiles

rasterio = pytest.importorskip("rasterio")

UTM, WGS = "EPSG:32633", "EPSG:4326"


def grid(side: float, shape: tuple[int, int], left: float = 500_000, top: float = 5_000_000, crs: str = UTM) -> Grid:
    return Grid(crs, (side, 0.0, left, 0.0, -side, top), shape)


@given(st.tuples(st.integers(1, 60), st.integers(1, 60)), st.integers(1, 60), st.data())
def test_tiles_cover_every_pixel_and_fresh_parts_cover_it_as_often_as_asked(
    shape: tuple[int, int], size: int, data: st.DataObject
) -> None:
    if min(shape) < size:
        with pytest.raises(ValueError, match=f"less than a tile of {size} × {size}"):
            tiles(shape, size, size)
        return
    stride = data.draw(st.integers(1, size))
    seen, fresh = np.zeros(shape, int), np.zeros(shape, int)
    for tile in tiles(shape, size, stride):
        assert 0 <= tile.top <= shape[0] - size
        assert 0 <= tile.left <= shape[1] - size
        seen[tile.top : tile.top + size, tile.left : tile.left + size] += 1
        fresh[tile.fresh_top : tile.top + size, tile.fresh_left : tile.left + size] += 1
    assert seen.min() >= 1
    assert fresh.min() >= 1
    if stride == size:
        assert fresh.max() == 1  # no labelled pixel counts twice


@pytest.mark.parametrize(
    ("size", "stride", "message"), [(0, None, "--size 0"), (8, 0, "--stride 0"), (8, 9, "--stride 9.*from 1 to --size")]
)
def test_tilings_that_leave_out_pixels_are_refused(size: int, stride: int | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_tiling(size, stride)


def bilinear(band: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Slow and obvious: pixel centres, the edge goes on as it is."""
    out = np.zeros(shape)
    for row, column in np.ndindex(*shape):
        y = np.clip((row + 0.5) * band.shape[0] / shape[0] - 0.5, 0, band.shape[0] - 1)
        x = np.clip((column + 0.5) * band.shape[1] / shape[1] - 0.5, 0, band.shape[1] - 1)
        top, left = int(y), int(x)
        bottom, right = min(top + 1, band.shape[0] - 1), min(left + 1, band.shape[1] - 1)
        upper = band[top, left] * (1 - x + left) + band[top, right] * (x - left)
        lower = band[bottom, left] * (1 - x + left) + band[bottom, right] * (x - left)
        out[row, column] = upper * (1 - y + top) + lower * (y - top)
    return out


@pytest.mark.parametrize("shape", [(24, 36), (25, 35), (8, 12)])
def test_coarse_bands_on_the_fine_grid(shape: tuple[int, int]) -> None:
    band = np.random.default_rng(0).integers(1, 60_000, (8, 12), dtype=np.uint16)
    assert np.abs(resize(band, shape, "bilinear") - bilinear(band, shape)).max() <= 0.51
    fine = grid(10, shape)
    coarse = Grid(UTM, (120 * shape[1] / 144, 0.0, 500_000.0, 0.0, -10 * shape[0] / 8, 5_000_000.0), (8, 12))
    warped = onto(band, coarse, fine, "bilinear").astype(float)
    assert np.abs(warped - bilinear(band, shape)).max() <= 1.01
    if shape == (24, 36):
        for method in (resize(band, shape, "nearest"), onto(band, grid(30, (8, 12)), fine, "nearest")):
            np.testing.assert_array_equal(method, np.kron(band, np.ones((3, 3), np.uint16)))


def test_outside_a_raster_and_in_its_gaps_there_is_no_data() -> None:
    band = np.full((10, 10), 700, np.uint16)
    band[4, 4] = 0
    moved = onto(band, grid(10, (10, 10), left=500_030), grid(10, (10, 10)), "bilinear")
    assert (moved[:, :3] == 0).all()
    assert (moved[:, 3:] == np.where(band == 0, 0, 700)[:, :7]).all()
    half = onto(band, grid(10, (10, 10), left=500_005), grid(10, (10, 10)), "bilinear")
    assert set(np.unique(half)) <= {0, 700}  # a gap is not mixed in


def test_another_projection_is_warped() -> None:
    rows, columns = np.mgrid[:60, :60]
    plane = (1000 + 20 * rows + 5 * columns).astype(np.uint16)
    source = grid(10, (60, 60))
    lat, lon = source.centre(20, 20, 20, 20)
    target = Grid(WGS, (1e-4, 0.0, lon - 5e-4, 0.0, -1e-4, lat + 5e-4), (10, 10))
    warped = onto(plane, source, target, "bilinear")
    assert abs(int(warped[4:6, 4:6].mean()) - int(plane[29:31, 29:31].mean())) < 10
    assert warped[9, 5] > warped[0, 5]  # rows still run south


def test_a_raster_without_place_covers_the_same_ground() -> None:
    band = np.arange(1, 5, dtype=np.uint16).reshape(2, 2)
    nowhere = Grid("", (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (2, 2))
    np.testing.assert_array_equal(
        onto(band, nowhere, grid(10, (4, 4)), "nearest"), np.kron(band, np.ones((2, 2), np.uint16))
    )
    assert np.isnan(nowhere.centre(0, 0, 2, 2)).all()


def test_the_centre_of_a_window() -> None:
    lat, lon = grid(10, (100, 100)).centre(0, 0, 0, 0)
    assert lon == pytest.approx(15)  # central meridian of the zone
    assert grid(1e-4, (10, 10), left=15, top=45, crs=WGS).centre(2, 4, 2, 2) == pytest.approx((45 - 3e-4, 15 + 5e-4))
    assert 45 < lat < 46


@pytest.mark.parametrize("method", ["bilinear", "nearest"])
def test_the_same_grid_changes_nothing(method: Method) -> None:
    band = np.random.default_rng(0).integers(0, 9, (5, 7), dtype=np.uint16)
    np.testing.assert_array_equal(onto(band, grid(10, (5, 7)), grid(10, (5, 7)), method), band)


def test_files_that_are_no_band(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no picture")
    form = {"driver": "GTiff", "count": 2, "height": 3, "width": 3, "dtype": "uint16"}
    with rasterio.open(tmp_path / "two.tif", "w", **form) as raster:
        raster.write(np.zeros((2, 3, 3), np.uint16))
    for name, message in (("text", "not recognized"), ("two", "2 bands of uint16, not 1"), ("absent", "No such file")):
        with pytest.raises(ValueError, match=rf"^{name}\.tif: .*{message}"):
            read_band(tmp_path / f"{name}.tif")
