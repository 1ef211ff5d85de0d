"""Images as people have them, as one array with the bands that a model was trained on, in its order and unit.

Notation: N images, D dates (one, but for change), C bands, H × W pixels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wherewhen.bands import Band
from wherewhen.errors import UserError
from wherewhen.scale import check_bands

Bands = Sequence[str] | Sequence[Band]
FRACTION = 10.0  # fractions up to this are no stored numbers where those are counted in hundreds
BRIGHTEST, DARKEST = 10.0, -5.0  # reflectance beyond which a number means something else, such as "no data"


class Read(NamedTuple):
    """An array and what is known of its bands."""

    array: np.ndarray  # (…, C, H, W)
    names: tuple[str, ...] | None
    where: str  # for messages


def read(images: Any, bands: Bands | None, trained: Sequence[Band], dates: int) -> np.ndarray:
    """Images of any kind -> stored numbers (…, C, H, W) with the trained bands in their order.

    Args:
        images: An array (…, C, H, W), an `xarray.DataArray` with a dimension `band`, an open rasterio dataset or the
            path of a raster; where `dates` is 2 also a pair of these, before and after.
        bands: Names of their bands, or `Band`s, whose unit is checked too; None takes those that they name themselves,
            and for an array the trained ones.
        trained: The bands of the model.
        dates: D.

    Raises:
        UserError: A band is missing or named twice, or the numbers are of another unit.
    """
    if isinstance(images, list | tuple):
        if dates != 2 or len(images) != 2:
            raise UserError(
                f"{len(images)} images in a {type(images).__name__}; give one array (N, C, H, W)"
                + (", or a pair of images: (before, after)" if dates == 2 else "; numpy.stack makes one")
            )
        return np.stack(_pair([read(image, bands, trained, 1) for image in images]), axis=-4)
    found = _read(images, trained)
    names = found.names if bands is None else tuple(b.name if isinstance(b, Band) else str(b) for b in bands)
    if found.array.ndim < 3:
        raise UserError(f"{found.where} has shape {found.array.shape}; images are (N, C, H, W), one (C, H, W)")
    array = _ordered(found.array, names, trained, found.where)
    if bands is not None and all(isinstance(band, Band) for band in bands):
        given = {band.name: band for band in bands if isinstance(band, Band)}
        chosen = (given[list(given)[index]] for index in positions(list(given), trained, found.where))
        named = [Band(**{**vars(band), "name": ours.name}) for band, ours in zip(chosen, trained, strict=True)]
        check_bands(trained, named, found.where)
    return array


def positions(names: Sequence[str], trained: Sequence[Band], where: str) -> list[int]:
    """Where each trained band is among `names`: the same name, else one that means the same, as B4 and B04 do.

    Raises:
        UserError: A band is missing, or there twice.
    """
    from wherewhen.encoders.band_weights import canonical

    found = []
    for band in trained:
        same = [i for i, name in enumerate(names) if name == band.name]
        same = same or [i for i, name in enumerate(names) if canonical(name) == canonical(band.name)]
        if len(same) != 1:
            wrong = "has no band" if not same else f"has {len(same)} bands named"
            raise UserError(
                f"{where} {wrong} {band.name}, it has {', '.join(map(repr, names))}; the model was trained on "
                f"{', '.join(b.name for b in trained)}: give images with these bands, or their names as `bands`"
            )
        found.append(same[0])
    return found


def check_numbers(array: np.ndarray, trained: Sequence[Band], mean: Sequence[float], std: Sequence[float]) -> None:
    """Refuse numbers (…, C, H, W) that cannot be stored numbers of the trained bands.

    What can be is believed: a dark image is no error.

    Args:
        array: As `read` gives it.
        trained: The C bands.
        mean: (C,) of the training images, physical.
        std: (C,) likewise.

    Raises:
        UserError: NaN, fractions where digital numbers were stored, or numbers beyond the unit's range.
    """
    if array.dtype.kind not in "uif":
        raise UserError(f"images are of type {array.dtype}; give whole numbers or floats")
    if not array.size:
        return
    axes = tuple(axis for axis in range(array.ndim) if axis != array.ndim - 3)
    low, high = array.min(axes).astype(float), array.max(axes).astype(float)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise UserError(
            "the images hold numbers that are not finite (NaN); fill those pixels, with the band's mean say, and do "
            "not use the answer there"
        )
    scale, offset = np.array([b.scale for b in trained]), np.array([b.offset for b in trained])
    usual = (np.array(mean) + 2 * np.array(std)) / scale - offset  # stored numbers of a bright pixel
    largest, top = max(abs(low.min()), abs(high.max())), usual.max()
    fractions = array.dtype.kind == "f" and largest <= FRACTION < top / 10 and bool((array != np.round(array)).any())
    if fractions or (array.dtype == np.uint8 and top > 2 * np.iinfo(np.uint8).max):
        band, what = trained[int(usual.argmax())], "fractions" if fractions else "8-bit numbers"
        raise UserError(
            f"the images hold {what} from {low.min():g} to {high.max():g}, but the model was trained on stored "
            f"numbers up to about {top:.0f}, where {band.unit} = (stored + {band.offset:g}) × {band.scale:g}; "
            "give stored numbers"
        )
    for band, least, most in zip(trained, (low + offset) * scale, (high + offset) * scale, strict=True):
        bounds = (0.0, 255.0) if band.unit == "8-bit" else (DARKEST, BRIGHTEST)
        if least < bounds[0] or most > bounds[1]:
            raise UserError(
                f"band {band.name} would be {band.unit} from {least:g} to {most:g}, which is none; the model takes "
                f"stored numbers that mean (stored + {band.offset:g}) × {band.scale:g}: convert the images, and fill "
                "what is no data"
            )


def reflected(length: int, to: int) -> np.ndarray:
    """Positions (to,) on an axis that goes on as its own mirror image beyond its end."""
    period = max(2 * (length - 1), 1)
    place = np.arange(to) % period
    return np.where(place < length, place, period - place)


def _pair(arrays: list[np.ndarray]) -> list[np.ndarray]:
    if arrays[0].shape != arrays[1].shape:
        raise UserError(f"the two dates have shapes {arrays[0].shape} and {arrays[1].shape}; bring them onto one grid")
    return arrays


def _ordered(array: np.ndarray, names: Sequence[str] | None, trained: Sequence[Band], where: str) -> np.ndarray:
    count = array.shape[-3]
    if names is None:
        if count != len(trained):
            raise UserError(
                f"{where} has {count} bands; the model was trained on {len(trained)}: "
                f"{', '.join(b.name for b in trained)}. Give these, or the names of yours as `bands`"
            )
        return array
    if len(names) != count:
        raise UserError(f"{len(names)} bands are named, but {where} has {count}; name each")
    index = positions(names, trained, where)
    return array if index == list(range(count)) else np.take(array, index, axis=-3)


def _read(images: Any, trained: Sequence[Band]) -> Read:
    if isinstance(images, str | Path):
        return _read_path(Path(images), trained)
    if hasattr(images, "read") and hasattr(images, "descriptions"):
        return _read_raster(images, trained)
    if hasattr(images, "dims") and hasattr(images, "coords"):
        return _read_labelled(images)
    return Read(np.asarray(images), None, "the array")


def _read_path(path: Path, trained: Sequence[Band]) -> Read:
    from wherewhen.ingest.rasters import need_rasterio, readable

    need_rasterio()
    import rasterio

    try:
        with readable(), rasterio.open(path) as raster:
            return _read_raster(raster, trained)
    except ValueError as error:
        raise UserError(f"{path} cannot be read as a raster ({error}); give a GeoTIFF") from error


def _read_raster(raster: Any, trained: Sequence[Band]) -> Read:
    """All bands of an open rasterio dataset; what it says of scale and offset must be what the model knows."""
    where, names = str(raster.name), tuple(raster.descriptions)
    if not all(names):
        if any(names) or raster.count != len(trained):
            raise UserError(
                f"{where} does not name its {raster.count} bands; name them as `bands`, or set their descriptions"
            )
        names = tuple(band.name for band in trained)
    for band, index in zip(trained, positions(names, trained, where), strict=True):
        said = float(raster.scales[index]), float(raster.offsets[index])  # physical = stored · scale + offset
        if said != (1.0, 0.0) and not np.allclose(said, (band.scale, band.offset * band.scale), rtol=1e-4, atol=1e-9):
            raise UserError(
                f"{where} says that band {band.name} is stored × {said[0]:g} + {said[1]:g}, but the model was trained "
                f"on (stored + {band.offset:g}) × {band.scale:g}; convert its numbers"
            )
    return Read(raster.read(), names, where)


def _read_labelled(images: Any) -> Read:
    """An `xarray.DataArray`: names are its coordinate `band`, or what rioxarray calls `long_name`."""
    if "band" not in images.dims:
        raise UserError(f"the DataArray has dimensions {', '.join(map(str, images.dims))}; one must be named band")
    *leading, row, column = (name for name in images.dims if name != "band")
    array = np.asarray(images.transpose(*leading, "band", row, column).data)
    named: Any = images.coords["band"].values if "band" in images.coords else ()
    attributes: Mapping[str, Any] = images.attrs
    if not (len(named) and all(isinstance(name, str) for name in named)):
        titles = attributes.get("long_name", ())
        named = titles if isinstance(titles, list | tuple) else ()
    return Read(array, tuple(map(str, named)) or None, "the DataArray")
