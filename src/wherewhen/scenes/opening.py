"""From a group of files to a scene: which band is which, what its numbers mean, where its pixels lie."""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from wherewhen.bands import Band, Sensor
from wherewhen.ingest.rasters import Grid, grid_of, readable
from wherewhen.scenes.clouds import CODES
from wherewhen.scenes.files import Group, key
from wherewhen.scenes.probing import probe
from wherewhen.scenes.scene import Layer, Scene, open_raster
from wherewhen.scenes.when import time_of

DTYPES = ("uint8", "uint16", "int16")

_PRODUCTS = ((r"^LC0[89]_L2S[PR]_", "landsat89_l2"), (r"^HLS.L30\.", "hls_l30"), (r"^HLS.S30\.", "hls_s30"))


def open_scene(
    files: Group, sensor: Sensor | None, shipped: Sequence[Sensor], bands: Sequence[str] | None, mask_band: str | None,
    physical: bool,
) -> Scene:  # fmt: skip
    """Open a group of files.

    Raises:
        ValueError: It cannot be used; the message says why, and what to do.
    """
    layers, tags = _layers(files, sensor, shipped, bands)
    masks = {name: layers.pop(name) for name in list(layers) if name in _masks(mask_band)}
    masks |= {name: next(read_layers(path, [name]))[1] for name, path in files.masks.items()}
    sensor = sensor_of(files.name, files.product, layers, sensor, shipped)
    chosen = choose(sensor, bands, layers)
    used = [_meaning(layers[key(band.name)], band, physical) for band in chosen]
    time, told = time_of(tags, files.name)
    if time is None:
        time, told = time_of({}, files.first.stem)
    kind = min(masks, default="")
    scene = whole_scene(files.name, chosen, used, sensor.name, (time, told), (masks.get(kind), kind))
    probe(scene, physical)
    return scene


def whole_scene(
    name: str, bands: Sequence[Band], layers: Sequence[Layer], sensor: str, time: tuple[datetime | None, str],
    mask: tuple[Layer | None, str],
) -> Scene:  # fmt: skip
    """The scene of C bands and layers on the grid of the finest.

    Raises:
        ValueError: A layer shows other ground, or none of a store's types holds the numbers.
    """
    grid = min((layer.grid for layer in layers), key=lambda grid: abs(grid.transform[0] * grid.transform[4]))
    _check_grids([*layers, *([mask[0]] if mask[0] else [])], grid)
    return Scene(name, grid, tuple(bands), tuple(layers), _dtype(layers, bands), sensor, *time, *mask)


def _masks(mask_band: str | None) -> set[str]:
    return {*CODES, *([key(mask_band)] if mask_band else [])}


def _layers(
    files: Group, sensor: Sensor | None, shipped: Sequence[Sensor], bands: Sequence[str] | None
) -> tuple[dict[str, Layer], dict[str, str]]:
    """Key of a band -> its layer, and the tags of the first file."""
    layers: dict[str, Layer] = {}
    tags: dict[str, str] = {}
    for name, path in sorted(files.bands.items()):
        names = [name] if name else _names(path, sensor, shipped, bands)
        for band, layer, told in read_layers(path, names):
            if band:
                layers[band] = layer
            tags = tags or told
    return layers, tags


def read_layers(path: str | Path, names: Sequence[str]) -> Iterator[tuple[str, Layer, dict[str, str]]]:
    """Key, layer and tags of each band of a file (a path, or what GDAL calls it), in its order.

    Raises:
        ValueError: It cannot be read or has no place; the message names it.
    """
    from rasterio.enums import MaskFlags

    name = Path(path).name
    try:
        with readable(), open_raster(str(path)) as raster:
            grid = grid_of(raster)
            tags = raster.tags() | raster.tags(ns="IMAGERY")
            flags = [
                MaskFlags.per_dataset in found and MaskFlags.all_valid not in found for found in raster.mask_flag_enums
            ]
            facts = list(zip(raster.dtypes, raster.nodatavals, flags, strict=True))
    except ValueError as error:
        raise ValueError(f"{name} cannot be read ({error}); fetch or write it again") from error
    if not grid.crs:
        raise ValueError(f"{name} has no coordinate reference system; give it one: gdal_edit.py -a_srs EPSG:… FILE")
    a, b, _, d, e, _ = grid.transform
    if grid.transform == (1, 0, 0, 0, 1, 0):
        raise ValueError(f"{name} has no geotransform, so its place is unknown; give it one: gdal_edit.py -a_ullr …")
    if abs(b) > 1e-9 * abs(a) or abs(d) > 1e-9 * abs(e):
        raise ValueError(f"{name} is rotated or sheared; bring it north up: gdalwarp FILE NEW_FILE")
    for index, (band, (dtype, nodata, masked)) in enumerate(zip(names, facts, strict=False), 1):
        yield band, Layer(str(path), index, grid, dtype, nodata, masked), tags


def _names(path: Path, sensor: Sensor | None, shipped: Sequence[Sensor], bands: Sequence[str] | None) -> list[str]:
    """Keys of the bands of a file: as it describes them, as --bands has them, or as the sensor counts them."""
    import rasterio

    try:
        with readable(), rasterio.open(path) as raster:
            told = [raster.descriptions[i] or raster.tags(i + 1).get("BandName") or "" for i in range(raster.count)]
    except ValueError as error:
        raise ValueError(f"it cannot be read ({error}); fetch or write it again") from error
    names = [key(text) for text in told]
    known = {key(band.name) for one in ([sensor] if sensor else shipped) for band in one.bands}
    if known.intersection(names) or {key(name) for name in bands or ()}.intersection(names):
        return names
    if bands is not None and len(bands) == len(names):
        return [key(name) for name in bands]
    if bands is None and sensor is not None and len(sensor.bands) == len(names):
        return [key(band.name) for band in sensor.bands]
    said = f" ({', '.join(filter(None, told))})" if any(told) else ""
    given = f"--bands names {len(bands)}" if bands is not None else "no --bands are given"
    if bands is None and sensor is not None:
        given = f"{sensor.name} has {len(sensor.bands)}"
    raise ValueError(
        f"it has {len(names)} bands whose names{said} say nothing, and {given}; name all {len(names)} in the file's "
        "order, such as --bands B02 B03 B04"
    )


def sensor_of(
    name: str, product: str, layers: Iterable[str], sensor: Sensor | None, shipped: Sequence[Sensor]
) -> Sensor:
    """The given one, or the only one that fits; of a Sentinel-2 product as of its processing baseline.

    Args:
        name: Of the scene.
        product: Of Sentinel-2, such as a SAFE folder, else empty.
        layers: Keys of the bands that are there.
        sensor: As asked for.
        shipped: Those that come with the package.

    Raises:
        ValueError: None fits, or several do.
    """
    by_name = {one.name: one for one in shipped}
    if sensor is None and (found := re.search(r"_MSI(L1C|L2A)_", product)):
        sensor = by_name[f"sentinel2_{found[1].lower()}"]
    if sensor is None:
        sensor = next((by_name[one] for pattern, one in _PRODUCTS if re.search(pattern, name)), None)
    if sensor is None:
        known = {key(band.name) for one in shipped for band in one.bands}
        there = known.intersection(layers)
        fits = [one for one in shipped if there <= {key(band.name) for band in one.bands}]
        if len(fits) != 1:
            names = ", ".join(one.name for one in fits) or ", ".join(by_name)
            raise ValueError(f"its bands ({', '.join(sorted(layers))}) may be of {names}; say which with --sensor")
        sensor = fits[0]
    baseline = re.search(r"_N(\d\d)(\d\d)_", product)
    return sensor.at_baseline(f"{baseline[1]}.{baseline[2]}") if baseline and sensor.baselines else sensor


def choose(sensor: Sensor, bands: Sequence[str] | None, layers: Iterable[str]) -> tuple[Band, ...]:
    """The bands that are asked for, or all of the sensor's that are there.

    Raises:
        ValueError: One is missing.
    """
    there = set(layers)
    if bands is None:
        chosen = tuple(band for band in sensor.bands if key(band.name) in there)
        if not chosen:
            raise ValueError(
                f"it has no band of {sensor.name}, only {', '.join(sorted(there))}; choose another --sensor"
            )
        return chosen
    spelled = {key(band.name): band.name for band in sensor.bands}
    chosen = sensor.select(spelled.get(key(name), name) for name in bands)
    if missing := [band.name for band in chosen if key(band.name) not in there]:
        have = ", ".join(spelled.get(name, name) for name in sorted(there))
        raise ValueError(f"band {missing[0]} is missing; it has {have}: add the file, or name other --bands")
    return chosen


def _check_grids(layers: Iterable[Layer], grid: Grid) -> None:
    """Refuse files of a scene that show other ground."""
    for layer in layers:
        if layer.grid.crs != grid.crs:
            continue
        off = np.abs(np.subtract(_bounds(layer.grid), _bounds(grid)))
        sides = np.abs([layer.grid.transform[0], layer.grid.transform[4]] * 2)
        if (off > 1.5 * sides).any():
            raise ValueError(
                f"{Path(layer.path).name} covers other ground than the finest band; "
                "cut all files of a scene alike: gdalwarp -te …"
            )


def _bounds(grid: Grid) -> tuple[float, float, float, float]:
    a, _, c, _, e, f = grid.transform
    return c, f, c + a * grid.shape[1], f + e * grid.shape[0]


def _meaning(layer: Layer, band: Band, physical: bool) -> Layer:
    """The layer with what its numbers mean."""
    scale, offset = (1.0, 0.0) if physical else (band.scale, band.offset)
    return dataclasses.replace(layer, scale=scale, offset=offset)


def _dtype(layers: Sequence[Layer], bands: Sequence[Band]) -> str:
    """What `read` gives: the files' own type, or where numbers are converted one that holds the sensor's."""
    own = [(layer.scale, layer.offset) == (band.scale, band.offset) for layer, band in zip(layers, bands, strict=True)]
    wide = np.result_type(*(layer.dtype if same else "float32" for layer, same in zip(layers, own, strict=True)))
    if wide.name in DTYPES:
        return wide.name
    if wide.kind != "f":
        raise ValueError(f"it holds {wide}; a store holds {', '.join(DTYPES)}: gdal_translate -ot UInt16 FILE NEW_FILE")
    if all(band.unit == "8-bit" for band in bands):
        return "uint8"
    return "int16" if all(band.offset >= 0 for band in bands) else "uint16"
