"""Reference points from GeoJSON, GeoPackage, GeoParquet or CSV, in the system of a map."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wherewhen.errors import UserError
from wherewhen.ingest.labels import coordinates


def read_points(path: Path, class_column: str, map_crs: str, crs: str | None = None) -> pd.DataFrame:
    """One row a point: `point` (its `id`, or else its number, from 1), `x`, `y` in the map's system, `name`, `stratum`.

    `name` is the class as text, None where it is empty; `stratum` likewise, all None without such a column. Coordinates
    that are missing or cannot be brought into the map's system are not finite.

    Args:
        path: `.geojson`, `.json`, `.gpkg`, `.parquet`, or `.csv` with columns lon and lat (WGS 84), or x and y, or
            easting and northing (the map's system).
        class_column: Column of the class.
        map_crs: System of the map.
        crs: System of the points, where the file does not tell or tells wrongly.

    Raises:
        UserError: The file cannot be read, has no points, lacks a column, or holds other geometries.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; check the path of the reference points")
    csv = path.suffix.lower() in (".csv", ".tsv", ".txt")
    table, x, y, own = _from_csv(path, map_crs) if csv else _from_features(path)
    if not len(table):
        raise UserError(f"{path} holds no points; give it some")
    if class_column not in table:
        others = ", ".join(map(str, table.columns.drop("geometry", errors="ignore")))
        raise UserError(f"{path} has no column {class_column!r}; choose --class-column among {others}")
    system = crs or own
    if not system:
        raise UserError(f"{path} does not say its coordinate reference system; tell it with --crs, such as EPSG:4326")
    x, y = _into(system, map_crs, x, y)
    number = pd.Series([str(i) for i in range(1, len(table) + 1)])
    point = text(table["id"]).fillna(number) if "id" in table else number
    stratum = text(table["stratum"]) if "stratum" in table else pd.Series([None] * len(table), dtype=object)
    return pd.DataFrame({"point": point, "x": x, "y": y, "name": text(table[class_column]), "stratum": stratum})


def text(values: pd.Series) -> pd.Series:
    """Values as stripped text, whole numbers without a decimal point; None where there is nothing."""

    def one(value: Any) -> str | None:
        if value is None or value is pd.NA or value != value:
            return None
        whole = isinstance(value, float | np.floating) and value == np.rint(value)
        return str(int(value) if whole else value).strip() or None

    return pd.Series([one(value) for value in values], dtype=object)


def _from_csv(path: Path, map_crs: str) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, str]:
    try:
        table = pd.read_csv(path, sep=None, engine="python", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path} as CSV: {error}; check the file") from error
    pair = coordinates(table.columns)
    if pair is None:
        raise UserError(f"{path} has no columns lon and lat, nor x and y; name the columns of the coordinates so")
    x, y = (pd.to_numeric(table[column], errors="coerce").to_numpy(float) for column in pair)
    degrees = pair[0].strip().lower().startswith("l")  # lon, lng, longitude
    return table, x, y, "EPSG:4326" if degrees else map_crs


def _from_features(path: Path) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, str]:
    try:
        import geopandas
        import shapely
    except ImportError as error:
        raise UserError("points are read by geopandas, which is not installed; pip install 'wherewhen[geo]'") from error
    try:
        parquet = path.suffix.lower() in (".parquet", ".geoparquet")
        frame = geopandas.read_parquet(path) if parquet else geopandas.read_file(path)
        shapes = frame.geometry
    except Exception as error:  # GDAL, pyarrow and geopandas each raise kinds of their own, some bare
        raise UserError(f"cannot read points from {path}: {error}; check that it is a file of points") from error
    _only_points(path, shapes)
    middle = shapely.centroid(np.asarray(shapes))  # of a point, or of several that are one: itself
    crs = "" if frame.crs is None else frame.crs.to_wkt()
    table = pd.DataFrame(frame.drop(columns=frame.geometry.name)).reset_index(drop=True)
    return table, shapely.get_x(middle), shapely.get_y(middle), crs


def _only_points(path: Path, shapes: Any) -> None:
    kinds = shapes.geom_type
    wrong = np.asarray(~kinds.isna() & ~kinds.isin(["Point", "MultiPoint"]))
    if wrong.any():
        raise UserError(
            f"{path}: feature {wrong.argmax() + 1} is a {kinds[wrong].iloc[0]}; the reference must be points, drawn at "
            "random in the map: see wherewhen assess --design"
        )
    several = np.asarray((kinds == "MultiPoint") & (shapes.count_geometries() > 1))
    if several.any():
        raise UserError(
            f"{path}: feature {several.argmax() + 1} holds several points; split it (multipart to singlepart)"
        )


def _into(system: str, map_crs: str, x: np.ndarray, y: np.ndarray) -> Sequence[np.ndarray]:
    from pyproj import CRS, Transformer
    from pyproj.exceptions import CRSError

    try:
        known = CRS.from_user_input(system)
    except CRSError as error:
        raise UserError(f"{system!r} is no coordinate reference system: {error}; write it like EPSG:32633") from error
    return [np.asarray(each) for each in Transformer.from_crs(known, map_crs, always_xy=True).transform(x, y)]
