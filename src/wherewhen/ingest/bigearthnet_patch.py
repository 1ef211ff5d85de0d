"""One patch of BigEarthNet: its bands on the 10 m grid, its place, its date, its labels.

Notation: C bands, H rows and W columns of 10 m.

Pillow reads the TIFFs, because opening twelve small files with GDAL takes longer than reading them
(`benchmarks/bigearthnet.py`); the tests compare every number with rasterio's.
"""

import io
import json
import re
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from wherewhen.bands import Band
from wherewhen.ingest.archive import UNREADABLE

SIDE = 1200  # metres
SIZE = SIDE // 10
LARGEST = 2**20  # bytes of a file; 120 × 120 numbers of 16 bits need 29 kB

# GeoTIFF: tags of the first pixel's corner, of the pixel's size and of the keys; the key of the EPSG code.
_TIEPOINT, _PIXEL_SCALE, _GEO_KEYS, _PROJECTED_CRS = 33922, 33550, 34735, 3072

# What Pillow raises for a damaged TIFF; warnings of its are turned into errors by who reads.
_DAMAGED = (*UNREADABLE, TypeError, LookupError, ArithmeticError, struct.error, Warning, Image.DecompressionBombError)

Read = Callable[[str], bytes]


class Ground(NamedTuple):
    """Where a patch lies: a coordinate reference system and the upper left corner in metres."""

    crs: str
    left: float
    top: float


class Record(NamedTuple):
    """What `*_labels_metadata.json` says of a patch of version 1."""

    labels: list[str]
    time: datetime
    ground: Ground


def read_bands(read: Read, stem: str, bands: Sequence[Band], out: np.ndarray) -> Ground:
    """Fill `out` (C, H, W) uint16 with the bands' TIFFs, and say where they lie.

    A pixel of 20 m or 60 m is repeated on the 10 m grid: no number is made up, and every second (sixth) one gives
    the band back as it was.

    Args:
        read: From a file's name to its bytes.
        stem: What the names of the TIFFs begin with, `FOLDER/PATCH`.
        bands: The C bands.
        out: Written band by band.

    Raises:
        ValueError: A TIFF is missing, damaged, or of another size or type.
    """
    ground: Ground | None = None
    for plane, band in zip(out, bands, strict=True):
        size = int(SIDE // band.resolution)
        try:
            with Image.open(io.BytesIO(read(f"{stem}_{band.name}.tif")), formats=["TIFF"]) as image:
                _check(image, size)
                ground = ground or _ground(image.tag_v2)  # type: ignore[attr-defined]
                pixels = np.asarray(image)
        except FileNotFoundError as error:
            raise ValueError(f"band {band.name} is missing") from error
        except _DAMAGED as error:
            raise ValueError(f"band {band.name}: {error or type(error).__name__}") from error
        plane.reshape(size, SIZE // size, size, SIZE // size)[:] = pixels[:, None, :, None]
    assert ground is not None  # there is a band
    return ground


def _check(image: Image.Image, size: int) -> None:
    """Refuse another size or type, which are known before any pixel is decoded."""
    if image.size != (size, size) or image.mode not in ("I;16", "I;16B"):
        raise ValueError(f"it is {image.width}×{image.height} {image.mode}, not {size}×{size} of unsigned 16 bits")


def _ground(tags: Any) -> Ground:
    """The upper left corner from GeoTIFF's tags; the reference system is empty where they name none."""
    keys = np.reshape(tags.get(_GEO_KEYS, ()), (-1, 4))
    codes = keys[(keys[:, 0] == _PROJECTED_CRS) & (keys[:, 1] == 0), 3]
    if not len(codes) or _TIEPOINT not in tags or _PIXEL_SCALE not in tags:
        return Ground("", np.nan, np.nan)
    column, row, _, x, y, *_ = tags[_TIEPOINT]
    width, height, *_ = tags[_PIXEL_SCALE]
    return Ground(f"EPSG:{codes[0]}", x - column * width, y + row * height)


def read_record(read: Read, stem: str) -> Record:
    """Read and check `PATCH_labels_metadata.json`.

    Raises:
        ValueError: It is missing, damaged, or an entry of it is.
    """
    name = "labels_metadata.json"
    try:
        content = json.loads(read(f"{stem}_{name}"))
        labels, corners = content["labels"], content["coordinates"]
        left, top, right, bottom = (float(corners[corner]) for corner in ("ulx", "uly", "lrx", "lry"))
        written, projection = str(content["acquisition_date"]), str(content["projection"])
    except FileNotFoundError as error:
        raise ValueError(f"{name} is missing") from error
    except KeyError as error:
        raise ValueError(f"{name} has no {error}") from error
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ValueError(f"{name} is damaged: {error}") from error
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"{name}: labels {labels!r} must be a list of class names")
    if (right - left, top - bottom) != (SIDE, SIDE):
        raise ValueError(f"{name}: the corners are {right - left:g} × {top - bottom:g} m apart, not {SIDE} × {SIDE}")
    try:
        time = datetime.strptime(written, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"{name}: acquisition_date {written!r} is no date like 2017-06-13 10:10:31") from error
    return Record(labels, time, Ground(projection, left, top))


def time_in_name(patch: str) -> datetime:
    """The time in a version-2 name, `S2A_MSIL2A_20170613T101031_…`, UTC.

    Raises:
        ValueError: It is no date.
    """
    found = re.search(r"_(\d{8}T\d{6})_", patch)
    try:
        return datetime.strptime(found[1] if found else "", "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"the name {patch} holds no date like 20170613T101031") from error


def centre(ground: Ground) -> tuple[float, float]:
    """Latitude and longitude of the patch's centre in WGS 84 degrees.

    Raises:
        ValueError: The reference system is unknown, or the patch lies outside it.
    """
    lon, lat = _to_wgs84(ground.crs)(ground.left + SIDE / 2, ground.top - SIDE / 2)
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):
        raise ValueError(f"the corner ({ground.left:g}, {ground.top:g}) lies outside its projection")
    return lat, lon


def place_name(ground: Ground) -> str:
    """One name for all patches of the same ground, whatever their date: `32633/404400/5342400`."""
    return f"{_epsg(ground.crs)}/{ground.left:.0f}/{ground.top:.0f}"


@lru_cache(maxsize=64)
def _to_wgs84(crs: str) -> Callable[[float, float], tuple[float, float]]:
    from pyproj import CRS, Transformer

    if not crs:
        raise ValueError("the TIFF has no projected coordinate reference system, so its place is unknown")
    try:
        transformer = Transformer.from_crs(CRS.from_user_input(crs), "EPSG:4326", always_xy=True)
    except RuntimeError as error:  # pyproj's own kinds of it
        raise ValueError(f"the projection {crs[:60]!r} is unknown: {error}") from error
    return transformer.transform


@lru_cache(maxsize=64)
def _epsg(crs: str) -> int | None:
    from pyproj import CRS

    return CRS.from_user_input(crs).to_epsg()
