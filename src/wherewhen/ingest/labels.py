"""Labels of one's own: points and polygons with a class, from any table or vector file.

Notation: N labels, K classes.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pandas as pd

from wherewhen.errors import UserError, note
from wherewhen.maps import UNKNOWN

if TYPE_CHECKING:
    import geopandas

_TABLES = (".csv", ".tsv", ".txt")
_PARQUET = (".parquet", ".geoparquet", ".pq")
_XY = (("lon", "lat"), ("longitude", "latitude"), ("lng", "lat"), ("long", "lat"), ("x", "y"), ("easting", "northing"))
_WKT = ("wkt", "geometry", "geom", "the_geom")
_POINTS, _POLYGONS = ("Point", "MultiPoint"), ("Polygon", "MultiPolygon")
_NAMED = 5  # labels that a note names
_UTC: Final = "datetime64[ns, UTC]"


class Labels(NamedTuple):
    """What was labelled.

    Args:
        frame: N rows in the file's order with `id` (text, all different), `code` (index of the class), `time` (UTC, NaT
            unknown) and `geometry` in the file's reference system: valid, not empty, points or polygons.
        classes: K names, sorted.
    """

    frame: "geopandas.GeoDataFrame"
    classes: tuple[str, ...]


def read(path: Path, class_column: str, time_column: str | None = None, crs: str | None = None) -> Labels:
    """Read labels; what is no label is left out with a note.

    Args:
        path: GeoJSON, GeoPackage, GeoParquet, Shapefile or any vector file of GDAL's; or a CSV with longitude and
            latitude, x and y, or WKT.
        class_column: Column of the class.
        time_column: Column of the time, UTC where it names no zone.
        crs: Reference system of a file that does not tell it; longitude and latitude in WGS 84 by default.

    Raises:
        UserError: The file, a column or a class name is wrong, or no label is left.
    """
    path = Path(path)
    frame = _read(path, crs).reset_index(drop=True)
    if not len(frame):
        raise UserError(f"{path} holds no labels; draw some points or polygons with a column {class_column}")
    for column in (class_column, *([time_column] if time_column else [])):
        if column not in frame.columns:
            names = ", ".join(map(str, frame.columns.drop("geometry", errors="ignore")))
            raise UserError(f"{path} has no column {column!r}, but {names}; choose one of them")
    names = frame[class_column].astype(object).where(frame[class_column].notna(), "").map(_name)
    times = frame[time_column] if time_column else pd.Series(pd.NaT, frame.index, dtype=_UTC)
    frame = frame[["geometry"]].assign(id=_ids(frame), name=names, time=times)  # one of these may be one of those
    frame = _shaped(_without(frame, frame["name"] == "", "no class"))
    if not len(frame):
        raise UserError(f"{path}: no label is left; each needs a class and a point or polygon")
    classes = _classes(frame["name"], path)
    kept = frame.assign(
        code=pd.Index(classes).get_indexer(frame["name"]), time=_times(frame["time"], time_column, path)
    )
    return Labels(kept[["id", "code", "time", "geometry"]].reset_index(drop=True), classes)


def coordinates(columns: Iterable[Any]) -> tuple[str, str] | None:
    """The columns of longitude and latitude, or of x and y, whatever their case; None where there are none."""
    there = {str(column).strip().lower(): column for column in columns}
    return next(((there[x], there[y]) for x, y in _XY if x in there and y in there), None)


# -- the file -------------------------------------------------------------------------------------


def _read(path: Path, crs: str | None) -> "geopandas.GeoDataFrame":
    import geopandas as gpd
    from pyproj.exceptions import CRSError

    if not path.exists():
        raise UserError(f"{path} does not exist; give the file of labels")
    suffix = (
        path.suffixes[-2].lower() if path.suffix.lower() == ".gz" and len(path.suffixes) > 1 else path.suffix.lower()
    )
    try:
        if suffix in _TABLES:
            return _table(path, suffix, crs)
        frame = gpd.read_parquet(path) if suffix in _PARQUET else gpd.read_file(path)
        if "geometry" not in frame:
            frame = frame.rename_geometry("geometry")
        if crs is not None and frame.crs is None:
            frame = frame.set_crs(crs)
    except CRSError as error:
        raise UserError(f"--labels-crs {crs!r} is no reference system: {error}; write it as EPSG:4326") from error
    except UserError:
        raise
    except Exception as error:  # readers of a dozen formats, each with errors of its own
        raise UserError(f"cannot read labels from {path}: {error}; export them again, as GeoJSON or CSV") from error
    if frame.crs is None:
        raise UserError(f"{path} does not say in which reference system its labels lie; add --labels-crs EPSG:…")
    return frame


def _table(path: Path, suffix: str, crs: str | None) -> "geopandas.GeoDataFrame":
    """A CSV whose columns hold coordinates or WKT."""
    import geopandas as gpd

    table = pd.read_csv(path, sep="\t" if suffix == ".tsv" else None, engine="python")
    lower = {str(column).lower(): column for column in table.columns}
    text = next((lower[name] for name in _WKT if name in lower), None)
    pair = coordinates(table.columns)
    if text is not None:
        geometry = gpd.GeoSeries.from_wkt(table[text], on_invalid="raise")
        table = table.drop(columns=text)
    elif pair is not None:
        x, y = (pd.to_numeric(table[column], errors="coerce") for column in pair)
        if len(table) and not (x.notna() & y.notna()).any():
            raise UserError(f"{path}: {pair[0]} and {pair[1]} hold no numbers; write them with a point, as 7.25")
        geometry = gpd.GeoSeries(gpd.points_from_xy(x, y), index=table.index).where(x.notna() & y.notna(), None)
    else:
        raise UserError(
            f"{path} has columns {', '.join(map(str, table.columns))}; "
            "it needs lon and lat, x and y, or wkt: rename some"
        )
    bounds = geometry.total_bounds
    if crs is None and not (np.abs(bounds) <= [180, 90, 180, 90]).all() and len(table):
        raise UserError(
            f"{path}: coordinates such as {bounds[0]:g}, {bounds[1]:g} are no degrees; add --labels-crs EPSG:…"
        )
    return gpd.GeoDataFrame(table, geometry=geometry, crs=crs or "EPSG:4326")


# -- the columns ----------------------------------------------------------------------------------


def _ids(frame: pd.DataFrame) -> list[str]:
    """The column `id` or `fid` if its values differ, else the number of the row."""
    for column in frame.columns:
        if str(column).lower() in ("id", "fid") and frame[column].notna().all():
            names = [_name(value) for value in frame[column]]
            if len(set(names)) == len(names):
                return names
    return [str(number) for number in range(len(frame))]


def _name(value: Any) -> str:
    """A class as text; whole numbers without a point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _classes(names: pd.Series, path: Path) -> tuple[str, ...]:
    classes = tuple(sorted(names.unique()))
    spelled: dict[str, str] = {}
    for name in classes:
        if (other := spelled.setdefault(name.casefold(), name)) != name:
            raise UserError(f"{path}: classes {other!r} and {name!r} differ in case alone; write them alike")
    if len(classes) > UNKNOWN:
        raise UserError(f"{path} names {len(classes)} classes, a mask holds {UNKNOWN}; choose another --class-column")
    return classes


def _times(values: pd.Series, column: str | None, path: Path) -> pd.Series:
    if pd.api.types.is_numeric_dtype(values):
        values = values.map(_name, na_action="ignore")  # 20200701 as it is written, no count of seconds
    try:
        times: pd.Series = pd.to_datetime(values, utc=True, format="ISO8601").astype(_UTC)
    except (ValueError, TypeError) as error:
        reason = str(error).partition(chr(10))[0]
        raise UserError(f"{path}: column {column!r} holds no times: {reason}; write them as 2020-07-01") from error
    return times


# -- the geometry ---------------------------------------------------------------------------------


def _shaped(frame: "geopandas.GeoDataFrame") -> "geopandas.GeoDataFrame":
    """Points and polygons that are whole; others are mended or left out."""
    import shapely

    frame = _without(frame, frame.geometry.isna() | frame.geometry.is_empty, "no geometry")
    broken = ~frame.geometry.is_valid
    if broken.any():
        _say(frame[broken], "crossed themselves and were mended")
        frame = frame.set_geometry(shapely.make_valid(frame.geometry.to_numpy()), crs=frame.crs)
    frame = frame.set_geometry([_flat(one) for one in frame.geometry], crs=frame.crs)
    return _without(frame, frame.geometry.is_empty, "neither points nor polygons")


def _flat(geometry: Any) -> Any:
    """In two dimensions, of points or of polygons; empty where there are none."""
    import shapely

    parts = shapely.get_parts(shapely.force_2d(geometry))
    for kinds in (_POLYGONS, _POINTS):
        if chosen := [part for part in parts if part.geom_type in kinds]:
            return chosen[0] if len(chosen) == 1 else shapely.union_all(chosen)
    return shapely.Point()


def _without(frame: "geopandas.GeoDataFrame", bad: pd.Series, what: str) -> "geopandas.GeoDataFrame":
    if bad.any():
        _say(frame[bad], f"left out: {what}")
    return frame[~bad]


def _say(frame: pd.DataFrame, what: str) -> None:
    note(f"{len(frame)} labels {what}: {named(frame['id'])}")


def named(ids: pd.Series) -> str:
    """The first few."""
    return ", ".join(map(str, ids[:_NAMED])) + (f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else "")
