"""The scenes in files and folders, alike in bands and type."""

import dataclasses
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from wherewhen.bands import SHIFTED, Sensor, load_sensor
from wherewhen.errors import UserError, note
from wherewhen.ingest.rasters import need_rasterio
from wherewhen.scenes.files import group, key
from wherewhen.scenes.opening import DTYPES, open_scene
from wherewhen.scenes.scene import Scene


def find(
    paths: Sequence[str | Path] | str | Path,
    sensor: str | Path | Sensor | None = None,
    bands: Sequence[str] | None = None,
    *,
    mask_band: str | None = None,
    physical: bool = False,
    on_error: str = "stop",
) -> list[Scene]:
    """The scenes in files and folders, sorted by name, all with the same bands and type.

    Args:
        paths: GeoTIFFs, SAFE folders, or folders, which are searched at any depth; or one of these.
        sensor: Name or YAML file; by default it is told from the product's or the bands' names, if they leave no doubt.
        bands: Names of those that are wanted; of files that do not name theirs, the names of all, in their order. By
            default every band of the sensor that is there.
        mask_band: What the band or file of clouds is called, if not SCL, QA_PIXEL, Fmask, udm2 or QA60; other than 0 is
            cloud.
        physical: The files hold physical values (reflectance 0 to 1), which become the sensor's numbers.
        on_error: `stop` at the first bad scene, or `skip` each and say so.

    Raises:
        UserError: A path, a scene or a name is wrong; the message says what to do.
    """
    need_rasterio()
    chosen = load_sensor(sensor) if isinstance(sensor, str | Path) else sensor
    shipped = shipped_sensors()
    known = {key(band.name) for one in ([chosen] if chosen else shipped) for band in one.bands}
    places = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    groups, aside = group(places, known | {key(name) for name in bands or ()}, mask_band)
    if aside:
        note(
            f"left aside, beside files of bands: {', '.join(path.name for path in aside[:5])}{', …' * (len(aside) > 5)}"
        )
    scenes = []
    for one in groups:
        try:
            scenes.append(open_scene(one, chosen, shipped, bands, mask_band, physical))
        except ValueError as error:
            if on_error != "skip":
                raise UserError(f"{one.first if not one.product else one.name}: {error}") from error
            note(f"skipped scene {one.name}: {error}")
    if not scenes:
        raise UserError("no scene is left; mend one of those that were skipped")
    note_shift(scenes)
    return bands_like(scenes)


def bands_like(scenes: Sequence[Scene]) -> list[Scene]:
    """The scenes with one set of bands, one offset and one type: those of the first, the smallest and the widest.

    Raises:
        UserError: A scene lacks a band that another has.
    """
    first = min(scenes, key=lambda scene: scene.bands[0].offset)
    for scene in scenes:
        missing = {band.name for band in first.bands} ^ {band.name for band in scene.bands}
        if missing:
            raise UserError(
                f"scenes {first.name} and {scene.name} differ in bands {', '.join(sorted(missing))}; "
                "name the bands that all have with --bands"
            )
    types = {scene.dtype for scene in scenes}
    dtype = np.result_type(*types).name
    return [
        dataclasses.replace(scene.as_bands(first.bands), dtype=dtype if dtype in DTYPES else "uint16")
        for scene in scenes
    ]


def shipped_sensors() -> list[Sensor]:
    """Those that come with the package, by name."""
    folder = resources.files("wherewhen.bands") / "sensors"
    names = sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    return [load_sensor(name) for name in names]


def note_shift(scenes: Sequence[Scene]) -> None:
    """Say which of Sentinel-2's scenes are taken as harmonised though nothing tells it."""
    shifted = [
        scene.name
        for scene in scenes
        if scene.time and scene.time >= SHIFTED and not scene.bands[0].offset and scene.sensor.startswith("sentinel2")
    ]
    if shifted:
        note(
            f"{len(shifted)} scenes are of {SHIFTED:%Y-%m-%d} or later, when Sentinel-2's numbers were shifted by "
            "1000; they are taken as harmonised. If they are not, give a --sensor of your own with offset -1000"
        )
