"""The scenes that a STAC catalog names: an item is a scene, its assets are the bands.

A catalog is read document by document, each href checked before it is opened (see `hrefs`); `pystac` makes the items of
any version alike.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from wherewhen.bands import Sensor, load_sensor
from wherewhen.errors import UserError, note
from wherewhen.ingest.rasters import need_rasterio
from wherewhen.scenes import assets, stac_table
from wherewhen.scenes.assets import Source
from wherewhen.scenes.files import key
from wherewhen.scenes.finding import bands_like, note_shift, shipped_sensors
from wherewhen.scenes.hrefs import Origin, as_gdal, is_remote, read_text
from wherewhen.scenes.opening import choose, read_layers, sensor_of, whole_scene
from wherewhen.scenes.probing import probe
from wherewhen.scenes.scene import Layer, Scene
from wherewhen.scenes.when import sane, written

if TYPE_CHECKING:
    import pystac

# Names of collections that leave no doubt about the sensor; other items tell theirs by their names (Landsat, HLS).
_COLLECTIONS = ((r"sentinel.*2.*l2a", "sentinel2_l2a"), (r"sentinel.*2.*l1c", "sentinel2_l1c"), (r"^naip", "naip"))
_BASELINE = ("s2:processing_baseline", "processing:version")
_HARMONISED = "boa_offset_applied"  # Earth Search's property: the numbers are, and `raster:bands` does not know it
_SHOWN = 5


class _Item(NamedTuple):
    """An item, and the document it is written in, against which its hrefs are resolved."""

    item: "pystac.Item"
    base: str


def find(
    catalog: str | Path,
    sensor: str | Path | Sensor | None = None,
    bands: Sequence[str] | None = None,
    *,
    items: int | None = None,
    mask_band: str | None = None,
    physical: bool = False,
    on_error: str = "stop",
) -> list[Scene]:
    """The scenes of a STAC catalog, sorted by name, all with the same bands and type.

    Args:
        catalog: Path or http(s) URL of an item collection, an item, a collection or a catalog; or path of a
            stac-geoparquet table.
        sensor: Name or YAML file; by default it is told from the collection's, the items' or the bands' names.
        bands: Names of those that are wanted; by default every band of the sensor that an item has.
        items: Read the first so many; None takes all.
        mask_band: Key of the asset of clouds, if not SCL, QA_PIXEL, Fmask or udm2; other than 0 is cloud.
        physical: The files hold physical values, whatever the catalog says.
        on_error: `stop` at the first bad item, or `skip` each and say so.

    Raises:
        UserError: The catalog or an item is wrong; the message says what to do.
    """
    need_rasterio()
    if items is not None and items < 1:
        raise UserError(f"--items {items} is out of range; it must be at least 1")
    chosen = load_sensor(sensor) if isinstance(sensor, str | Path) else sensor
    shipped = shipped_sensors()
    origin = Origin.of(catalog)
    scenes: list[Scene] = []
    doubtful: list[Scene] = []
    for content, base in islice(_walk(origin), items):
        name = str(content.get("id"))
        try:
            item = _parsed(content | {"id": name}, base)
            scene, sure = _scene(item, origin, _sensor(item.item, chosen, shipped), bands, mask_band, physical)
        except ValueError as error:
            if on_error != "skip":
                raise UserError(f"item {name}: {error}") from error
            note(f"skipped item {name}: {error}")
            continue
        scenes.append(_told_apart(scene, scenes))
        doubtful += [] if sure else [scene]
    if not scenes:
        raise UserError(f"{catalog} has no item that can be used; give a catalog of items, or the result of a search")
    if timeless := [scene.name for scene in scenes if scene.time is None]:
        named = ", ".join(timeless[:_SHOWN]) + ", …" * (len(timeless) > _SHOWN)
        note(
            f"{len(timeless)} items have no datetime that can be, so their time is unknown: {named}; --time-column of "
            "the labels can tell it"
        )
    note_shift(doubtful)
    return bands_like(sorted(scenes, key=lambda scene: scene.name))


# -- the catalog ----------------------------------------------------------------------------------


def _walk(origin: Origin) -> Iterator[tuple[dict[str, Any], str]]:
    """Items as they are written, and where, in the order of the catalog's links; each document once."""
    if stac_table.is_table(origin.href):
        yield from _rows(origin)
        return
    waiting, seen = [origin.href], set()
    while waiting:
        href = waiting.pop()
        if href in seen:
            continue
        seen.add(href)
        content = _document(href, origin)
        match content.get("type"):
            case "Feature":
                yield content, href
            case "FeatureCollection":
                if any(link.get("rel") == "next" for link in _listed(content, "links")):
                    note(f"{href} is a page of a search; the next pages are not read")
                yield from ((feature, href) for feature in _listed(content, "features"))
            case _:
                links = [link for link in _listed(content, "links") if link.get("rel") in ("item", "child")]
                try:
                    waiting += [origin.resolve(str(link.get("href")), href) for link in reversed(links)]
                except ValueError as error:
                    raise UserError(f"{href}: {error}") from error


def _rows(origin: Origin) -> Iterator[tuple[dict[str, Any], str]]:
    if is_remote(origin.href) or not Path(origin.href).is_file():
        raise UserError(f"{origin.href} is no file; give the path of a table of items, fetched before if it is remote")
    try:
        yield from ((item, origin.href) for item in stac_table.items(Path(origin.href)))
    except ValueError as error:
        raise UserError(f"{origin.href} is no STAC table: {error}; give one of stac-geoparquet") from error


def _document(href: str, origin: Origin) -> dict[str, Any]:
    if not is_remote(href) and not Path(href).is_file():
        raise UserError(f"{href} is no file; give the catalog's JSON file, or an http(s) URL of it")
    try:
        if is_remote(href):
            origin.resolve(href, href)
        content = json.loads(read_text(href, origin))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{href} is no STAC: {error}; give an item collection, an item or a catalog") from error
    if not isinstance(content, dict) or not {"type", "stac_version"} & set(content):
        raise UserError(f"{href} is no STAC, it has neither type nor version; give an item collection or a catalog")
    return content


def _listed(content: dict[str, Any], field: str) -> list[dict[str, Any]]:
    found = content.get(field)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _parsed(content: dict[str, Any], base: str) -> _Item:
    """The item as pystac reads it, which wants a time, so one without is given an interval without end."""
    import pystac

    properties = content.get("properties")
    if isinstance(properties, dict) and properties.get("datetime") is None:
        content = content | {
            "properties": {"start_datetime": None, "end_datetime": None, **properties, "datetime": None}
        }
    try:
        return _Item(pystac.Item.from_dict(content, migrate=True), base)
    except (pystac.STACError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"it is no valid STAC item ({error!r}); validate the catalog") from error


# -- an item --------------------------------------------------------------------------------------


def _scene(
    item: _Item, origin: Origin, sensor: Sensor, bands: Sequence[str] | None, mask_band: str | None, physical: bool
) -> tuple[Scene, bool]:
    """The scene, and whether something tells what its numbers mean."""
    found = assets.sources(item.item)
    by_band = assets.of_sensor(found, sensor)
    if not by_band:
        names = ", ".join(item.item.assets) or "none"
        raise ValueError(f"no asset ({names}) is a band of {sensor.name}; give them bands, or choose another --sensor")
    chosen = choose(sensor, bands, by_band)
    harmonised = _harmonised(item.item)
    pairs, told = [], []
    for band in chosen:
        source = by_band[key(band.name)]
        told.append(source.told._replace(offset=0.0) if harmonised else source.told)
        pairs.append(assets.read_as(_layer(source, item, origin), band, told[-1], physical))
    mask = assets.masks(found, mask_band)
    clouds = (_layer(mask[1], item, origin), mask[0]) if mask else (None, "")
    used_bands, layers = zip(*pairs, strict=True)
    name = re.sub(r"[/\\\0]", "_", item.item.id)  # which files may be called
    scene = whole_scene(name, used_bands, layers, sensor.name, _time(item.item), clouds)
    probe(scene, physical)
    return scene, harmonised or bool(_baseline(item.item)) or any(one.scale is not None for one in told)


def _layer(source: Source, item: _Item, origin: Origin) -> Layer:
    try:
        path = as_gdal(origin.resolve(source.href, item.base))
    except ValueError as error:
        raise ValueError(f"asset {source.asset}: {error}") from error
    layers = [layer for _, layer, _ in read_layers(path, [""] * source.number)]
    if len(layers) < source.number:
        raise ValueError(f"asset {source.asset} has {len(layers)} bands, not {source.number}; correct the item")
    return layers[-1]


def _sensor(item: "pystac.Item", sensor: Sensor | None, shipped: Sequence[Sensor]) -> Sensor:
    """The given one, or as collection, item or bands tell it; Sentinel-2 as of its processing baseline."""
    if sensor is None:
        collection = (item.collection_id or "").lower()
        name = next((name for pattern, name in _COLLECTIONS if re.search(pattern, collection)), None)
        sensor = next((one for one in shipped if one.name == name), None)
    found = assets.sources(item)
    known = {key(band.name) for one in shipped for band in one.bands}
    names = [name for source in found for name in source.names]
    if not known.intersection(names):
        names = [key(source.common) for source in found if source.common]
    sensor = sensor_of(item.id, item.id, names, sensor, shipped)
    if not sensor.baselines:
        return sensor
    if _harmonised(item):
        return sensor.with_offset(0.0)
    return sensor.at_baseline(baseline) if (baseline := _baseline(item)) else sensor


def _harmonised(item: "pystac.Item") -> bool:
    return any(name.endswith(_HARMONISED) and value is True for name, value in item.properties.items())


def _baseline(item: "pystac.Item") -> str:
    found = [str(item.properties.get(name, "")) for name in _BASELINE]
    return next((text for text in found if re.fullmatch(r"\d\d\.\d\d", text)), "")


def _time(item: "pystac.Item") -> tuple[datetime | None, str]:
    """Time of the item, or the middle of its interval, and what told it."""
    if item.datetime:
        time, told = sane(item.datetime), "datetime of the item"
    else:
        start, end = (written(str(item.properties.get(name))) for name in ("start_datetime", "end_datetime"))
        time, told = start + (end - start) / 2 if start and end else None, "middle of the item's interval"
    return time, told if time else ""


def _told_apart(scene: Scene, others: Sequence[Scene]) -> Scene:
    """The scene with a number after its name where another has it."""
    taken = {other.name for other in others}
    number = next((n for n in range(2, len(taken) + 2) if f"{scene.name}-{n}" not in taken), 2)
    return dataclasses.replace(scene, name=f"{scene.name}-{number}") if scene.name in taken else scene
