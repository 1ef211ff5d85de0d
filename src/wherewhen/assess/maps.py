"""A map of classes, read by strips: its names, what area each class covers, what it says at a point.

Notation: H rows, W columns.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wherewhen.assess.cells import Cells
from wherewhen.errors import UserError
from wherewhen.ingest.rasters import grid_of, need_rasterio, readable
from wherewhen.maps import UNKNOWN

NODATA = UNKNOWN
_PIXELS = 1 << 20  # of a strip


class Tally(NamedTuple):
    """How much of a map two classifications call what: (256, 256) pixels, and area in m²."""

    pixels: np.ndarray
    area: np.ndarray


class ClassMap:
    """A GeoTIFF of one band of uint8: the index of a class, or no data (255, and the file's own nodata value).

    Names of the classes are those given; else the JSON list in the tag `classes`; else the tags `CLASS_0=…`; else every
    number is its own name.

    Args:
        path: The file. Only strips of it are ever in memory.
        classes: Names of classes 0, 1, …, instead of those in the tags.

    Attributes:
        classes: Names; 255 numbers where there are none.
        named: Whether there are.

    Raises:
        UserError: The file cannot be read, is of another kind, or names a class twice.
    """

    def __init__(self, path: Path, classes: Sequence[str] | None = None) -> None:
        need_rasterio()
        self.path = path
        with self.opened() as raster:
            if (raster.count, raster.dtypes[0]) != (1, "uint8"):
                raise UserError(
                    f"{path} holds {raster.count} bands of {raster.dtypes[0]}; a map of classes is one band of uint8: "
                    "convert it with gdal_translate -b 1 -ot Byte"
                )
            self.grid = grid_of(raster)
            self._nodata = raster.nodata
            found = list(classes) if classes else _names(path, {**raster.tags(1), **raster.tags()})
        self.named = bool(found)
        self.classes = tuple(found or map(str, range(NODATA)))
        refuse_twins(self.classes, f"the classes of {path}")
        if len(self.classes) > NODATA:
            raise UserError(f"{path} has {len(self.classes)} class names; a map of uint8 has at most {NODATA}")

    @cached_property
    def cells(self) -> Cells:
        """Areas of the pixels."""
        return Cells(self.grid, str(self.path))

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """The file, open; one that cannot be read raises UserError."""
        import rasterio

        try:
            with readable(), rasterio.open(self.path) as raster:
                yield raster
        except ValueError as error:
            raise UserError(f"cannot read {self.path} as a map: {error}; restore it, or make it anew") from error

    def clean(self, values: np.ndarray) -> np.ndarray:
        """What was read, with 255 for every kind of no data.

        Raises:
            UserError: There is a class without a name.
        """
        if self._nodata is not None and self._nodata != NODATA:
            values = np.where(values == self._nodata, np.uint8(NODATA), values)
        if len(self.classes) < NODATA:
            top = int(values.max(initial=0, where=values != NODATA))
            if top >= len(self.classes):
                raise UserError(
                    f"{self.path} holds class {top}, but names only {len(self.classes)} classes, from 0 on; "
                    "name them all with --classes"
                )
        return values

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Class indices (N,) uint8 of pixels, 255 where there is none or they are outside the map."""
        from rasterio.windows import Window

        values = np.full(len(rows), NODATA, np.uint8)
        inside = (rows >= 0) & (columns >= 0) & (rows < self.grid.shape[0]) & (columns < self.grid.shape[1])
        with self.opened() as raster:
            for i in np.flatnonzero(inside)[np.lexsort((columns[inside], rows[inside]))]:
                values[i] = raster.read(1, window=Window(columns[i], rows[i], 1, 1))[0, 0]
        return self.clean(values)

    def pixel(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns (N,) int64 of places in the map's system; −1 where a place is not finite."""
        a, _, c, _, e, f = self.grid.transform
        rows, columns = np.floor((y - f) / e), np.floor((x - c) / a)
        near = np.isfinite(rows) & np.isfinite(columns) & (np.abs(rows) < 2**31) & (np.abs(columns) < 2**31)
        return np.where(near, rows, -1).astype(np.int64), np.where(near, columns, -1).astype(np.int64)


def strips(*maps: ClassMap) -> Iterator[tuple[int, list[np.ndarray]]]:
    """First row, and (h, W) class indices of each of some maps of one grid, from the top to the bottom."""
    from rasterio.windows import Window

    height, width = maps[0].grid.shape
    step = max(1, _PIXELS // width)
    with ExitStack() as stack:
        rasters = [stack.enter_context(each.opened()) for each in maps]
        for top in range(0, height, step):
            window = Window(0, top, width, min(step, height - top))
            read = (raster.read(1, window=window) for raster in rasters)
            yield top, [each.clean(values) for each, values in zip(maps, read, strict=True)]


def tally(strata: ClassMap, raster: ClassMap) -> Tally:
    """What the strata (rows) and the map (columns) call every pixel where both say something.

    Args:
        strata: May be the map itself.
        raster: The map, on the same grid.

    Raises:
        UserError: There is no such pixel.
    """
    pixels, area = np.zeros(1 << 16, np.int64), np.zeros(1 << 16)
    for top, read in strips(raster) if strata is raster else strips(strata, raster):
        codes = read[0] * np.uint16(257) if strata is raster else read[0] * np.uint16(256) + read[1]
        cells = raster.cells.area(top, len(codes))
        count = np.bincount(codes.ravel(), minlength=1 << 16)
        pixels += count
        if cells.size == 1:
            area += count * cells.item()
        else:
            area += np.bincount(codes.ravel(), np.broadcast_to(cells, codes.shape).ravel(), minlength=1 << 16)
    found = Tally(pixels.reshape(256, 256), area.reshape(256, 256))
    for each in found:
        each[NODATA], each[:, NODATA] = 0, 0
    if not found.pixels.any():
        raise UserError(f"{raster.path} has no pixel with a class; check its nodata value")
    return found


def refuse_twins(names: Sequence[str], where: str) -> None:
    """Raise UserError where two names differ at most by case."""
    first: dict[str, str] = {}
    for name in names:
        if name.casefold() in first:
            raise UserError(
                f"{where} hold {first[name.casefold()]!r} and {name!r}, which differ at most by case; "
                "give every class one name of its own"
            )
        first[name.casefold()] = name


def _names(path: Path, tags: dict[str, str]) -> list[str]:
    if "classes" in tags:
        try:
            names = json.loads(tags["classes"])
        except ValueError:
            names = None
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise UserError(f"{path}: the tag 'classes' is no JSON list of names; name the classes with --classes")
        return names
    names = []
    while (name := tags.get(f"CLASS_{len(names)}")) is not None:
        names.append(name)
    return names
