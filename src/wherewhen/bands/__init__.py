"""Sensors as data: which bands there are, where in the spectrum, and what a stored number means.

A sensor is one YAML file (`bands/sensors/`, or a user's own): no code knows a band by its position.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from wherewhen.errors import UserError, naming
from wherewhen.files import read_yaml

SHIFTED = datetime(2022, 1, 25, tzinfo=UTC)  # Sentinel-2's digital numbers of later products are 1000 larger

_UNITS = ("reflectance", "8-bit")
_HERE = resources.files(__name__)


@dataclass(frozen=True)
class Band:
    """One band: `physical = (stored + offset) * scale`.

    Args:
        name: The sensor's own name of it, such as `B8A` or `red`.
        wavelength: Centre in nanometres, or None where there is none.
        resolution: Metres on the ground that the sensor resolves, whatever grid it is stored on.
        unit: Unit of the physical value, `reflectance` (0 to about 1) or `8-bit` (0 to 255).
        scale: Physical units a stored step.
        offset: Added to the stored number before scaling.
    """

    name: str
    wavelength: float | None
    resolution: float
    unit: str
    scale: float
    offset: float

    def __post_init__(self) -> None:
        if self.unit not in _UNITS:
            raise UserError(f"band {self.name!r}: unit {self.unit!r} is unknown; use one of {_listed(_UNITS)}")
        if not self.scale > 0 or not self.resolution > 0:
            raise UserError(f"band {self.name!r}: scale and resolution must be above 0; correct them")


@dataclass(frozen=True)
class Sensor:
    """A named tuple of bands, in the order in which the sensor counts them.

    Args:
        name: Short name, the stem of its YAML file.
        title: What a person calls it.
        bands: All its bands.
        baselines: Offset of the digital numbers since a processing baseline: `(("04.00", -1000.0),)`.
    """

    name: str
    title: str
    bands: tuple[Band, ...]
    baselines: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if not self.bands:
            raise UserError(f"sensor {self.name!r} has no bands; name at least one")
        check_names_differ(self.bands, f"sensor {self.name!r}")

    def select(self, names: Iterable[str]) -> tuple[Band, ...]:
        """The bands of these names, in the order asked for.

        Raises:
            UserError: The sensor has no band of that name.
        """
        known = {band.name: band for band in self.bands}
        names = tuple(names)
        for name in names:
            if name not in known:
                raise UserError(f"sensor {self.name!r} has no band {name!r}; it has {_listed(known)}")
        return tuple(known[name] for name in names)

    def with_offset(self, offset: float) -> "Sensor":
        """The same sensor whose stored numbers are all shifted by `-offset`."""
        bands = tuple(dataclasses.replace(band, offset=offset) for band in self.bands)
        return dataclasses.replace(self, bands=bands)

    def at_baseline(self, baseline: str) -> "Sensor":
        """The sensor as its data are since a processing baseline, such as `"05.09"`.

        Sentinel-2 shifted its digital numbers by 1000 at baseline 04.00 (25 January 2022): offset -1000.

        Raises:
            UserError: The baseline is not two numbers with a point between.
        """
        offset = self.bands[0].offset
        for since, value in sorted(self.baselines, key=lambda pair: _version(pair[0])):
            if _version(baseline) >= _version(since):
                offset = value
        return self.with_offset(offset)


def load_sensor(name_or_path: str | Path) -> Sensor:
    """Read a sensor by name (`sentinel2_l1c`, `sentinel2_l2a`, `rgb8`) or from a user's YAML file.

    Raises:
        UserError: There is no such sensor or file, or the file does not describe a sensor.
    """
    if str(name_or_path).endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        return _parse_sensor(path.stem, read_yaml(path), str(path))
    sensors = _HERE / "sensors"
    names = sorted(Path(entry.name).stem for entry in sensors.iterdir() if entry.name.endswith(".yaml"))
    if name_or_path not in names:
        raise UserError(f"sensor {str(name_or_path)!r} is unknown; use {_listed(names)} or the path of a .yaml file")
    file = sensors / f"{name_or_path}.yaml"
    return _parse_sensor(str(name_or_path), read_yaml(file), str(file))


def semantic_groups(table: str) -> dict[str, tuple[str, ...]]:
    """The seven groups of three band names, `{group: (red, green, blue)}`; tables `readme_l1c`, `readme_l2a`.

    Source: SACo+, table "Semantic Bands" of its README.

    Raises:
        UserError: There is no such table.
    """
    return _groups("semantic", table)


def texture_groups(table: str) -> dict[str, tuple[str, ...]]:
    """The four groups of three band names whose local binary patterns are shown; tables as in `semantic_groups`.

    Source: SACo+'s published script; the names of the groups are ours.

    Raises:
        UserError: There is no such table.
    """
    return _groups("texture", table)


def _groups(kind: str, table: str) -> dict[str, tuple[str, ...]]:
    tables = read_yaml(_HERE / "groups.yaml")[kind]
    if table not in tables:
        raise UserError(f"table of band groups {table!r} is unknown; use one of {_listed(tables)}")
    return {group: tuple(names) for group, names in tables[table].items()}


def check_names_differ(bands: Iterable[Band], owner: str) -> None:
    """Raise UserError when two bands share a name: bands are found by name."""
    seen: set[str] = set()
    for band in bands:
        if band.name in seen:
            raise UserError(f"{owner} has two bands named {band.name!r}; names must differ, rename one")
        seen.add(band.name)


def _parse_sensor(name: str, content: dict[str, Any], where: str) -> Sensor:
    shared = {key: content[key] for key in ("unit", "scale", "offset") if key in content}
    try:
        with naming(where):
            return Sensor(
                name=name,
                title=str(content["title"]),
                bands=tuple(parse_band(shared | entry) for entry in content["bands"]),
                baselines=tuple((str(since), float(value)) for since, value in content.get("baselines", {}).items()),
            )
    except KeyError as error:
        raise UserError(f"{where}: {error} is missing; add it") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(f"{where}: {error}; compare it with the sensors that come with wherewhen") from error


def parse_band(entry: dict[str, Any]) -> Band:
    """Make a band of a mapping with exactly `Band`'s fields, as YAML and JSON hold it.

    Raises:
        KeyError: A field is missing.
        TypeError: A field is unknown or holds no number.
        ValueError: A text is no number.
    """
    fields = {field.name for field in dataclasses.fields(Band)}
    if unknown := set(entry) - fields:
        raise TypeError(f"band field {min(unknown)!r} is unknown")
    return Band(
        name=str(entry["name"]),
        wavelength=None if entry["wavelength"] is None else float(entry["wavelength"]),
        resolution=float(entry["resolution"]),
        unit=str(entry["unit"]),
        scale=float(entry["scale"]),
        offset=float(entry["offset"]),
    )


def _version(baseline: str) -> tuple[int, ...]:
    parts = baseline.removeprefix("N").split(".")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise UserError(f"processing baseline {baseline!r} must look like '04.00'; take it from the product's name")
    return tuple(int(part) for part in parts)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
