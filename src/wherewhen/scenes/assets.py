"""What the assets of a STAC item are: which band of a sensor, and what its numbers mean.

Bands are told by `bands` (STAC 1.1) or `eo:bands` and `raster:bands` (1.0), else by the asset's key.

Sources: the specification of STAC 1.1 (common metadata, `bands`); its extensions eo 2.0 and raster 2.0.
"""

import dataclasses
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from wherewhen.bands import Band, Sensor
from wherewhen.scenes.clouds import CODES
from wherewhen.scenes.files import SUFFIXES, key, split
from wherewhen.scenes.opening import DTYPES
from wherewhen.scenes.scene import Layer

if TYPE_CHECKING:
    import pystac

# Middle (nm) of what a common name stands for, as a sensor's band is the nearest one: eo 2.0, "Common Band Names";
# for nir and nir08 of Sentinel-2, which has both.
_COMMON = dict(  # noqa: C408
    coastal=443,
    blue=490,
    green05=531,
    green=560,
    yellow=610,
    red=660,
    rededge=705,
    rededge071=705,
    rededge075=740,
    rededge078=783,
    nir=835,
    nir08=865,
    nir09=945,
    cirrus=1375,
    swir16=1610,
    swir22=2200,
)
_NEAR = 0.05  # of the wavelength, at most, between the common name's middle and the band's

_OF_NO_USE = {"thumbnail", "overview", "metadata"}  # roles
_CLOUD = "cloud"  # role of a mask, which a layer of probabilities has, too
_JP2 = "jp2"
_CLOSE = 1e-6  # scales and offsets that differ by less, relatively, are one


class Told(NamedTuple):
    """What a catalog says about numbers: `physical = number * scale + offset`, and which stands for "no data"."""

    scale: float | None = None
    offset: float | None = None
    nodata: float | None = None


class Source(NamedTuple):
    """One band of an asset.

    Args:
        asset: Its key.
        href: As it is written.
        number: Of the band in the file, from 1.
        names: Keys of its own names; see `files.key`.
        common: Common name, or empty.
        told: What its numbers mean.
        rank: The lower, the rather it is taken: bands in the file, JPEG 2000, metres a pixel.
        cloud: Whether it has the role of a mask of clouds.
    """

    asset: str
    href: str
    number: int
    names: tuple[str, ...]
    common: str
    told: Told
    rank: tuple[float, ...]
    cloud: bool = False


def sources(item: "pystac.Item") -> list[Source]:
    """The bands of all rasters of an item, in its order."""
    return [source for name, asset in item.assets.items() if _is_raster(asset) for source in _bands(name, asset)]


def of_sensor(found: Sequence[Source], sensor: Sensor) -> dict[str, Source]:
    """Key of a band of the sensor -> where it is: by its name, else by its common name.

    Raises:
        ValueError: Two assets have a band with equal right.
    """
    bands = {key(band.name): band for band in sensor.bands}
    chosen: dict[str, tuple[tuple[float, ...], Source]] = {}
    for source in found:
        name = next((name for name in source.names if name in bands), None)
        rank = (*source.rank[:1], float(name is None), *source.rank[1:])
        name = name or _nearest(source.common, sensor.bands)
        if name is None or (name in chosen and chosen[name][0] < rank):
            continue
        if name in chosen and chosen[name][0] == rank:
            other = chosen[name][1]
            raise ValueError(
                f"its assets {other.asset} and {source.asset} are both {bands[name].name}; remove one from the item"
            )
        chosen[name] = rank, source
    return {name: source for name, (_, source) in chosen.items()}


def masks(found: Sequence[Source], other: str | None) -> tuple[str, Source] | None:
    """The mask of clouds and its code: one of `other` name, of a known code, or of the role of clouds."""
    first = [source for source in found if source.number == 1]
    for wanted in ([key(other)] if other else [], sorted(CODES)):
        coded = [(name, source) for name in wanted for source in first if name in source.names]
        if coded:
            return coded[0]
    return next(((key(source.asset), source) for source in first if source.cloud), None)


def read_as(layer: Layer, band: Band, told: Told, physical: bool) -> tuple[Band, Layer]:
    """The band and its layer with what the numbers mean.

    Numbers of the sensor's scale stay as they are, and the band takes the catalog's offset, as that of a SAFE folder of
    a later baseline does; others are brought to the sensor's. A scale of 1 on whole numbers says nothing.

    Raises:
        ValueError: The scale is not above 0.
    """
    if told.nodata is not None:
        layer = dataclasses.replace(layer, nodata=told.nodata)
    if physical:
        return band, dataclasses.replace(layer, scale=1.0, offset=0.0)
    scale, offset = 1.0 if told.scale is None else told.scale, told.offset or 0.0
    whole = layer.dtype in DTYPES
    if (told.scale, told.offset) == (None, None) or (whole and (scale, offset) == (1.0, 0.0)):
        return band, dataclasses.replace(layer, scale=band.scale, offset=band.offset)
    if not (scale > 0 and math.isfinite(scale) and math.isfinite(offset)):
        raise ValueError(f"scale {scale} and offset {offset} of {band.name} are no numbers above 0; correct the item")
    offset /= scale
    if not (whole and math.isclose(scale, band.scale, rel_tol=_CLOSE)):
        return band, dataclasses.replace(layer, scale=scale, offset=offset)
    offset = band.offset if math.isclose(offset, band.offset, rel_tol=_CLOSE) else round(offset, 6)
    return dataclasses.replace(band, offset=offset), dataclasses.replace(layer, scale=band.scale, offset=offset)


def _is_raster(asset: "pystac.Asset") -> bool:
    if _OF_NO_USE.intersection(asset.roles or ()):
        return False
    kind = (asset.media_type or "").lower()
    return "tiff" in kind or _JP2 in kind or asset.href.partition("?")[0].lower().endswith(SUFFIXES)


def _bands(name: str, asset: "pystac.Asset") -> Iterator[Source]:
    fields = asset.extra_fields
    forms = [fields.get(form) for form in ("eo:bands", "raster:bands", "bands")]
    lists = [[one for one in bands if isinstance(one, dict)] for bands in forms if isinstance(bands, list)]
    count = max([1, *map(len, lists)])
    jp2 = _JP2 in f"{asset.media_type} {asset.href}".lower()
    cloud = _CLOUD in (asset.roles or ()) and "prob" not in f"{name} {asset.title}".lower()
    for index in range(count):
        band: dict[str, Any] = {}
        for bands in lists:
            band |= bands[index] if index < len(bands) else {}
        own = [str(band["name"])] if band.get("name") else []
        names = tuple(dict.fromkeys(_spellings([*own, *([name] if count == 1 else [])], asset.roles or ())))
        common = str(band.get("eo:common_name") or band.get("common_name") or "")
        side = _number(_first(band, fields, "raster:spatial_resolution", "spatial_resolution", "gsd")) or 0.0
        yield Source(
            name, asset.href, index + 1, names, common.lower(), _told(band, fields), (count, float(jp2), side), cloud
        )


def _spellings(names: Iterable[str], roles: Collection[str]) -> Iterator[str]:
    """Keys of a band: of its names, of what these end in (`ortho_udm2`, `B02_10m`), and of a role that is a mask's."""
    known = {*CODES}
    for name in names:
        yield key(name)
        end, before = split(name, known)
        yield end if end in known else key(before)
    yield from (key(role) for role in roles if key(role) in known)


def _told(band: Mapping[str, Any], asset: Mapping[str, Any]) -> Told:
    found = (_first(band, asset, f"raster:{field}", field) for field in Told._fields)
    return Told(*map(_number, found))


def _first(band: Mapping[str, Any], asset: Mapping[str, Any], *fields: str) -> Any:
    """The first of the fields that the band has, else that the asset has for all its bands."""
    return next((place[field] for place in (band, asset) for field in fields if place.get(field) is not None), None)


def _number(value: Any) -> float | None:
    """A number, which may be a text such as `nan`; None where it is none."""
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _nearest(common: str, bands: Sequence[Band]) -> str | None:
    """Key of the band that is nearest to what a common name stands for, if any is near."""
    if any(key(band.name) == key(common) for band in bands):
        return key(common)
    middle = _COMMON.get(common)
    distances = [
        (abs(band.wavelength - middle), key(band.name))
        for band in bands
        if middle is not None and band.wavelength is not None
    ]
    distance, name = min(distances, default=(math.inf, ""))
    return name if middle is not None and distance <= _NEAR * middle else None
