"""Bands of several resolutions on one grid, and a scene cut into tiles.

Notation: H rows and W columns of the fine grid; h × w of a band's own.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from wherewhen.errors import UserError
from wherewhen.ingest.archive import UNREADABLE

Method = Literal["bilinear", "nearest"]
METHODS: tuple[Method, ...] = ("bilinear", "nearest")


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a raster lie.

    Args:
        crs: Coordinate reference system, empty when unknown.
        transform: `(a, b, c, d, e, f)` of column, row -> `a·column + b·row + c`, `d·column + e·row + f`.
        shape: Rows and columns.
    """

    crs: str
    transform: tuple[float, ...]
    shape: tuple[int, int]

    def centre(self, top: float, left: float, height: float, width: float) -> tuple[float, float]:
        """Latitude and longitude of the middle of a window in WGS 84 degrees; NaN where the system is unknown."""
        from rasterio.warp import transform

        if not self.crs:
            return np.nan, np.nan
        a, b, c, d, e, f = self.transform
        column, row = left + width / 2, top + height / 2
        (lon,), (lat,) = transform(self.crs, "EPSG:4326", [a * column + b * row + c], [d * column + e * row + f])
        return float(lat), float(lon)


class Tile(NamedTuple):
    """A square window of a scene.

    Args:
        top: First row.
        left: First column.
        fresh_top: First row that no tile above it covers but for the usual overlap.
        fresh_left: First column likewise.
    """

    top: int
    left: int
    fresh_top: int
    fresh_left: int


def tiles(shape: tuple[int, int], size: int, stride: int) -> list[Tile]:
    """Tiles that cover a scene, row by row.

    The last of a row or column is moved inwards, so that no tile leaves the scene; what it covers a second time
    because of that lies before `fresh_top` and `fresh_left`.

    Raises:
        ValueError: The scene is smaller than a tile.
    """
    if min(shape) < size:
        raise ValueError(f"it has {shape[0]} × {shape[1]} pixels, less than a tile of {size} × {size}")
    rows, columns = (range(0, length - size + stride, stride) for length in shape)
    last_row, last_column = (length - size for length in shape)
    return [Tile(min(row, last_row), min(column, last_column), row, column) for row in rows for column in columns]


def check_tiling(size: int, stride: int | None) -> int:
    """The stride in pixels: `size` where none is given.

    Raises:
        UserError: A number is out of range.
    """
    if size < 1:
        raise UserError(f"--size {size} is out of range; it must be at least 1 pixel")
    if stride is not None and not 1 <= stride <= size:
        raise UserError(f"--stride {stride} is out of range; it must be from 1 to --size, {size}")
    return size if stride is None else stride


def need_rasterio() -> None:
    """Raise UserError where rasterio is not installed."""
    if find_spec("rasterio") is None:
        raise UserError("GeoTIFFs are read by rasterio, which is not installed; run: pip install 'wherewhen[geo]'")


@contextmanager
def readable() -> Iterator[None]:
    """Within, a file that cannot be read raises ValueError, and a raster without place is read without a warning."""
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            yield
        except (*UNREADABLE, RasterioError) as error:
            raise ValueError(str(error) or type(error).__name__) from error


def read_band(path: Path, dtype: str = "uint16") -> tuple[np.ndarray, Grid]:
    """The numbers (h, w) of a raster of one band, and where they lie.

    Raises:
        ValueError: The file is missing, damaged, or holds another type or number of bands; the message names it.
    """
    import rasterio

    try:
        with readable(), rasterio.open(path) as raster:
            if (raster.count, raster.dtypes[0]) != (1, dtype):
                raise ValueError(f"it holds {raster.count} bands of {raster.dtypes[0]}, not 1 of {dtype}")
            return raster.read(1), grid_of(raster)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def grid_of(raster: Any) -> Grid:
    """Where the pixels of an open raster lie."""
    crs = "" if raster.crs is None else raster.crs.to_string()
    return Grid(crs, tuple(raster.transform)[:6], (raster.height, raster.width))


def onto(band: np.ndarray, grid: Grid, target: Grid, method: Method) -> np.ndarray:
    """A band (h, w) on another grid, (H, W) of the same type; 0 is "no data" before and after.

    A band coarser than the target is continued by one of its pixels: its outermost centres lie inside the scene.
    A raster that knows no place is taken to cover the same ground.
    """
    from rasterio import Affine
    from rasterio.warp import Resampling, reproject

    if grid == target:
        return band
    if not (grid.crs and target.crs):
        return resize(band, target.shape, method)
    a, b, c, d, e, f = grid.transform
    if grid.crs == target.crs and abs(a) > 1.5 * abs(target.transform[0]):
        band, c, f = np.pad(band, 1, mode="edge"), c - a - b, f - d - e
    out = np.zeros(target.shape, band.dtype)
    reproject(
        band,
        out,
        src_transform=Affine(a, b, c, d, e, f),
        src_crs=grid.crs,
        src_nodata=0,
        dst_transform=Affine(*target.transform),
        dst_crs=target.crs,
        dst_nodata=0,
        resampling=Resampling[method],
    )
    return out


def resize(band: np.ndarray, shape: tuple[int, int], method: Method) -> np.ndarray:
    """A band (h, w) that covers the same ground as a grid of `shape`, on that grid: (H, W) of the same type."""
    from PIL import Image

    if band.shape == shape:
        return band
    size = (shape[1], shape[0])
    image = Image.fromarray(band.astype(np.float32)).resize(size, Image.Resampling[method.upper()])
    resized: np.ndarray = np.rint(np.asarray(image)).astype(band.dtype)
    return resized
