"""One acquisition, read by windows: every band on the grid of the finest, and where it shows ground without cloud.

Notation: C bands, H × W pixels of the scene's grid, h × w of a window.
"""

import dataclasses
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from wherewhen.bands import Band
from wherewhen.errors import UserError
from wherewhen.ingest.rasters import Grid, onto, readable
from wherewhen.scenes.clouds import cloudy

_OPEN = 64  # files that stay open in a thread
_CACHE_MB = "256"  # of decoded blocks, in GDAL
_PATIENCE = {"GDAL_HTTP_TIMEOUT": "60", "GDAL_HTTP_MAX_RETRY": "3"}  # with remote files, unless the user says other
_DIGITS = 3  # that a resampled number keeps before it is rounded: a tie must not be decided by the window
_TRUE = 0.01  # a projection that stretches the ground by less shows it as it is
_MARGIN = 2  # pixels of a coarse band read around a window: bilinear needs one


class Window(NamedTuple):
    """A part of a scene, in pixels of its grid."""

    top: int
    left: int
    height: int
    width: int


class Look(NamedTuple):
    """What a window shows.

    Args:
        pixels: (C, h, w) stored numbers, 0 where a file has no data.
        seen: (h, w) bool, whether there is data.
        clear: (h, w) bool, whether the mask names no cloud or cloud shadow; all true without a mask.
    """

    pixels: np.ndarray
    seen: np.ndarray
    clear: np.ndarray


@dataclass(frozen=True)
class Layer:
    """One band of one file.

    Args:
        path: Of the file, as GDAL takes it.
        index: Of the band in it, from 1.
        grid: Where its pixels lie.
        dtype: NumPy name of its numbers.
        nodata: The number that stands for "no data", if the file declares one.
        masked: Whether the file has a mask or an alpha band besides.
        scale: `physical = (number + offset) * scale`.
        offset: Added before scaling.
    """

    path: str
    index: int
    grid: Grid
    dtype: str
    nodata: float | None = None
    masked: bool = False
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Scene:
    """One acquisition.

    A pixel has no data where a band says so by a declared number other than 0, by a mask or by NaN; and where all bands
    are 0. A single band may well be 0: on dark water, for example.

    Args:
        name: Of the file or folder, unlike that of any other scene found with it.
        grid: Of the finest band.
        bands: The C bands, and what the numbers of `read` mean.
        layers: The C layers they are read from.
        dtype: Type of the numbers of `read`: `uint8`, `uint16` or `int16`.
        sensor: Name of it.
        time: Of the acquisition in UTC, None where nothing tells it.
        time_from: What told it.
        mask: Layer of clouds, if there is one.
        mask_kind: Which code it has; a name that is none means "not 0 is cloud".
    """

    name: str
    grid: Grid
    bands: tuple[Band, ...]
    layers: tuple[Layer, ...]
    dtype: str
    sensor: str = ""
    time: datetime | None = None
    time_from: str = ""
    mask: Layer | None = None
    mask_kind: str = ""

    @property
    def nodata(self) -> float | None:
        """What the first band's file declares."""
        return self.layers[0].nodata

    @property
    def whole(self) -> Window:
        """All of the scene."""
        return Window(0, 0, *self.grid.shape)

    @property
    def pixel_size(self) -> float:
        """Side of a pixel on the ground in metres, in the middle of the scene."""
        height, width = self.grid.shape
        lat, lon = self.grid.centre(0, 0, height, width)
        a, b, _, d, e, _ = self.grid.transform
        from pyproj import CRS, Proj

        crs = CRS.from_user_input(self.grid.crs)
        if crs.is_projected:
            stretched = Proj(crs).get_factors(lon, lat).areal_scale ** 0.5  # Web Mercator by 2 at 60°, UTM by 0.9996
            side = float(np.sqrt(abs(a * e - b * d)) * crs.axis_info[0].unit_conversion_factor)
            return side if abs(stretched - 1) < _TRUE else side / stretched
        return float(111_195 * np.sqrt(abs(a * e) * np.cos(np.radians(lat)))) if np.isfinite(lon) else float("nan")

    def read(self, window: Sequence[int]) -> np.ndarray:
        """Stored numbers of a window, (C, h, w) of `dtype`, 0 where there is no data.

        Coarser bands, and bands of another projection, are brought to the grid bilinearly.

        Args:
            window: Top, left, height and width in pixels, inside the scene.

        Raises:
            ValueError: The window leaves the scene, or a file cannot be read; the message names it.
        """
        return self.look(window).pixels

    def valid(self, window: Sequence[int]) -> np.ndarray:
        """Where a window shows ground: data and no cloud, (h, w) bool."""
        look = self.look(window)
        shown: np.ndarray = look.seen & look.clear
        return shown

    def look(self, window: Sequence[int]) -> Look:
        """Numbers, data and clouds of a window at once."""
        window = Window(*map(int, window))
        height, width = self.grid.shape
        inside = 0 <= window.top <= height - window.height and 0 <= window.left <= width - window.width
        if not inside or min(window.height, window.width) < 1:
            raise ValueError(f"{tuple(window)} is no window of {self.name}, which has {height} × {width} pixels")
        pixels = np.empty((len(self.bands), window.height, window.width), self.dtype)
        gone = np.zeros(pixels.shape[1:], bool)
        zero = np.ones_like(gone)
        for plane, band, layer in zip(pixels, self.bands, self.layers, strict=True):
            values, missing = on_grid(layer, self.grid, window)
            gone |= missing
            zero &= (values == 0) | missing
            plane[:] = _converted(values, layer, band, plane.dtype)
        seen = ~(gone | zero)
        pixels[:, ~seen] = 0
        clear = np.ones_like(seen) if self.mask is None else ~cloudy(self.mask_kind, self._mask(window))
        return Look(pixels, seen, clear)

    def _mask(self, window: Window) -> np.ndarray:
        assert self.mask is not None
        return on_grid(self.mask, self.grid, window, codes=True)[0]

    def as_bands(self, bands: Sequence[Band]) -> "Scene":
        """The same scene with these bands, in this order, its numbers brought to their scale and offset.

        Raises:
            UserError: A band is missing or has another unit.
        """
        own = {band.name: number for number, band in enumerate(self.bands)}
        for band in bands:
            if band.name not in own:
                raise UserError(f"{self.name} has no band {band.name}; it has {', '.join(own)}: add it, or use others")
            if (unit := self.bands[own[band.name]].unit) != band.unit:
                raise UserError(f"{self.name}: band {band.name} is {unit}, but {band.unit} is asked for; see --sensor")
        layers = tuple(self.layers[own[band.name]] for band in bands)
        return dataclasses.replace(self, bands=tuple(bands), layers=layers)


def on_grid(layer: Layer, grid: Grid, window: Window, codes: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (h, w) of a layer in a window of a grid, and where it has no data but not by a 0.

    Args:
        layer: Of any grid.
        grid: The scene's.
        window: In it.
        codes: The numbers are codes of a mask: the nearest is taken.
    """
    if layer.grid == grid:
        return _values(layer, window)
    target = part_of(grid, window)
    source = _around(layer.grid, target)
    if source is None:
        return np.zeros(target.shape, layer.dtype), np.zeros(target.shape, bool)
    values, missing = _values(layer, source)
    own = part_of(layer.grid, source)
    if codes:
        values = onto(values, own, target, "nearest")
    else:  # as float64, so that whoever rounds it comes to the same number whatever the window
        values = onto(np.where(missing, 0.0, values), own, target, "bilinear")
    if missing.any():
        missing = onto(missing.astype(np.uint8), own, target, "nearest") > 0
    else:
        missing = np.zeros(target.shape, bool)
    return values, missing


def _values(layer: Layer, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (h, w) as the file has them, and where it says that they are none."""
    from rasterio.windows import Window as Part

    part = Part(window.left, window.top, window.width, window.height)
    try:
        with readable():
            raster = _opened(layer.path)
            values: np.ndarray = raster.read(layer.index, window=part)
            hidden = raster.read_masks(layer.index, window=part) == 0 if layer.masked else np.zeros(values.shape, bool)
    except ValueError as error:
        raise ValueError(f"{layer.path} cannot be read: {error}") from error
    if layer.nodata not in (None, 0) and not np.isnan(layer.nodata):
        hidden |= values == layer.nodata
    if values.dtype.kind == "f":
        hidden |= ~np.isfinite(values)
        values = np.where(hidden, 0, values)
    return values, hidden


def _converted(values: np.ndarray, layer: Layer, band: Band, dtype: np.dtype[Any]) -> np.ndarray:
    """The file's numbers as a band's; what the type cannot hold is clipped."""
    if (layer.scale, layer.offset) != (band.scale, band.offset):
        values = (values.astype(np.float64) + layer.offset) * (layer.scale / band.scale) - band.offset
    if values.dtype == dtype:
        return values
    limits = np.iinfo(dtype)
    rounded: np.ndarray = np.rint(np.round(values, _DIGITS)).clip(limits.min, limits.max).astype(dtype)
    return rounded


def part_of(grid: Grid, window: Window) -> Grid:
    """The grid of a window of a grid."""
    a, b, c, d, e, f = grid.transform
    top, left, height, width = window
    return Grid(grid.crs, (a, b, c + a * left + b * top, d, e, f + d * left + e * top), (height, width))


def _around(grid: Grid, target: Grid) -> Window | None:
    """The window of a grid that covers another one and a margin; None where it lies beside."""
    from rasterio.warp import transform

    (height, width), (a, _, c, _, e, f) = target.shape, target.transform
    steps = np.linspace(0, 1, 5 if grid.crs != target.crs else 2)
    xs, ys = (side.ravel() for side in np.meshgrid(c + a * steps * width, f + e * steps * height))
    if grid.crs != target.crs:
        xs, ys = (np.asarray(axis) for axis in transform(target.crs, grid.crs, xs, ys))
    a, _, c, _, e, f = grid.transform
    columns, rows = (xs - c) / a, (ys - f) / e
    if not (np.isfinite(columns).all() and np.isfinite(rows).all()):
        return None
    top, bottom = (int(np.floor(rows.min())) - _MARGIN, int(np.ceil(rows.max())) + _MARGIN)
    left, right = (int(np.floor(columns.min())) - _MARGIN, int(np.ceil(columns.max())) + _MARGIN)
    top, left, bottom, right = max(top, 0), max(left, 0), min(bottom, grid.shape[0]), min(right, grid.shape[1])
    return Window(top, left, bottom - top, right - left) if top < bottom and left < right else None


def _opened(path: str) -> Any:
    """The open file, one for each thread and process, and a new one when the file has changed."""
    changed = os.stat(path).st_mtime_ns if os.path.exists(path) else 0  # noqa: PTH110, PTH116  (may be GDAL's own name)
    return _cached(path, changed, threading.get_ident(), os.getpid())


@lru_cache(maxsize=_OPEN)
def _cached(path: str, changed: int, thread: int, process: int) -> Any:
    os.environ.setdefault("GDAL_CACHEMAX", _CACHE_MB)  # else a twentieth of the machine's memory, in each process
    return open_raster(path)


def open_raster(path: str) -> Any:
    """Open a file for reading; one of a remote file system without asking its host for the files beside it.

    A remote file may only be a GeoTIFF or JPEG 2000: a VRT would name files of this machine, whatever it is called.
    """
    import rasterio

    if not path.startswith("/vsi"):
        return rasterio.open(path)
    for option, value in _PATIENCE.items():
        os.environ.setdefault(option, value)
    driver = "JP2OpenJPEG" if path.partition("?")[0].lower().endswith(".jp2") else "GTiff"
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        return rasterio.open(path, driver=driver)
