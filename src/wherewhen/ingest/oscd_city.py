"""One city of OSCD: its files, its bands on the 10 m grid of date 1, its mask and its days.

Notation: C bands, H rows and W columns of date 1's 10 m grid.
"""

import re
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wherewhen.bands import load_sensor
from wherewhen.errors import UserError
from wherewhen.ingest.rasters import Grid, Method, onto, read_band

BANDS = tuple(band.name for band in load_sensor("sentinel2_l1c").bands)
DATES = (1, 2)

_FINE = "B02"  # a band of 10 m: its grid is that of all
_BAND_FILE = re.compile(r"(?:.*_)?(B\d\w)\.tif", re.IGNORECASE)


class City(NamedTuple):
    """Where a city's files are.

    Args:
        name: Its folder's name.
        folder: With the images and `dates.txt`.
        mask: None for a city whose changes are not published here.
    """

    name: str
    folder: Path
    mask: Path | None


class Scene(NamedTuple):
    """A whole city.

    Args:
        pixels: (2, C, H, W) uint16 digital numbers at both dates, 0 where there is no data.
        grid: Of date 1.
        known: (H, W) bool, whether both dates show the pixel.
        mask: (H, W) uint8, 0 same, 1 change; None for a city without mask.
        times: UTC midnights of both days; the hour is not published.
    """

    pixels: np.ndarray
    grid: Grid
    known: np.ndarray
    mask: np.ndarray | None
    times: tuple[datetime, ...]


def find(source: Path) -> list[City]:
    """The cities, by name.

    Raises:
        UserError: There is none, or one is there twice.
    """
    if not source.is_dir():
        raise UserError(f"{source} is no folder; unpack OSCD's archives and give the folder they are in")
    folders = [path for path in _within(source) if any((path / name).is_dir() for name in ("imgs_1", "imgs_1_rect"))]
    if not folders:
        raise UserError(f"{source} holds no city with a folder imgs_1 or imgs_1_rect, up to two folders deep")
    masks = {path.name: path / "cm" / f"{path.name}-cm.tif" for path in _within(source) if (path / "cm").is_dir()}
    cities = sorted(City(folder.name, folder, masks.get(folder.name)) for folder in folders)
    for name, group in groupby(cities, key=lambda city: city.name):
        if len(both := [str(city.folder) for city in group]) > 1:
            raise UserError(f"city {name!r} is there twice, in {' and '.join(both)}; remove one")
    return cities


def _within(source: Path) -> list[Path]:
    """Folders in the source and in folders of it."""
    return sorted(path for pattern in ("*", "*/*") for path in source.glob(pattern) if path.is_dir())


def read_scene(city: City, method: Method) -> Scene:
    """All bands of a city at both dates on the 10 m grid of date 1, and its mask.

    Raises:
        ValueError: A file is missing, damaged or does not fit; the message names it.
    """
    times = _times(city.folder / "dates.txt")
    grid: Grid | None = None
    planes = []
    for date in DATES:
        folder = city.folder / f"imgs_{date}_rect"
        folder = folder if folder.is_dir() else city.folder / f"imgs_{date}"
        files = _band_files(folder)
        try:
            grid = grid or read_band(files[_FINE])[1]
            planes += [onto(*read_band(files[band]), grid, method) for band in BANDS]
        except ValueError as error:
            raise ValueError(f"{folder.name}/{error}") from error
    assert grid is not None  # there are two dates
    pixels = np.stack(planes).reshape(len(DATES), len(BANDS), *grid.shape)
    known: np.ndarray = np.all(pixels[:, BANDS.index(_FINE)] > 0, axis=0)
    return Scene(pixels, grid, known, _mask(city.mask, grid), times)


def _times(path: Path) -> tuple[datetime, ...]:
    """Of `date_1: 20160706` and `date_2: 20170621`."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{path.name}: {error.strerror}") from error
    found = [re.search(rf"date_{date}\s*:\s*(\S+)", text) for date in DATES]
    try:
        return tuple(datetime.strptime(one[1] if one else "", "%Y%m%d").replace(tzinfo=UTC) for one in found)
    except ValueError as error:
        raise ValueError(f"{path.name}: it does not say date_1: 20160706 and date_2: 20170621, but {text!r}") from error


def _band_files(folder: Path) -> dict[str, Path]:
    """Band -> its TIFF; names differ between dates, only their end is sure."""
    files: dict[str, Path] = {}
    for path in sorted(folder.glob("*")):
        if found := _BAND_FILE.fullmatch(path.name):
            band = found[1].upper()
            if band in files:
                raise ValueError(f"{folder.name} has two files of band {band}, {files[band].name} and {path.name}")
            files[band] = path
    for band in BANDS:
        if band not in files:
            raise ValueError(f"{folder.name} has no file of band {band}")
    return files


def _mask(path: Path | None, grid: Grid) -> np.ndarray | None:
    """(H, W) 0 same, 1 change; the files hold 1 and 2 (the documentation of the data set says 0 and 1)."""
    if path is None:
        return None
    stored, own = read_band(path, "uint8")
    if own.shape != grid.shape:
        raise ValueError(f"{path.name}: it has {own.shape} pixels, date 1 has {grid.shape}")
    values = set(np.unique(stored).tolist())
    if not (values <= {1, 2} or values <= {0, 1}):
        raise ValueError(f"{path.name}: it holds {sorted(values)[:5]}, not 1 for same and 2 for change")
    return stored if 0 in values else stored - np.uint8(1)
