"""The table of patches as GeoParquet: one schema, WGS 84 points as WKB, reading and writing."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wherewhen.errors import UserError
from wherewhen.files import atomic_path

LabelKind = Literal["none", "one", "many"]

# A WKB point is 21 bytes: byte order (1 = little endian), geometry type (1 = point), x, y.
_POINT = np.dtype([("order", "u1"), ("type", "<u4"), ("lon", "<f8"), ("lat", "<f8")])

# GeoParquet 1.1: without a "crs" the points are OGC:CRS84, that is WGS 84 with longitude first.
_GEO = {
    "version": "1.1.0",
    "primary_column": "geometry",
    "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Point"]}},
}


def patch_schema(label_kind: LabelKind) -> pa.Schema:
    """Columns of `patches.parquet`; `label` is one class index, a list of them when `label_kind` is many."""
    indices = pa.list_(pa.int32())
    return pa.schema(
        [
            ("id", pa.string()),
            ("geometry", pa.binary()),
            ("time", pa.timestamp("ns", tz="UTC")),
            ("label", indices if label_kind == "many" else pa.int32()),
            ("unknown", indices),
            ("place", pa.string()),
            ("split", pa.string()),
            ("shard", pa.int32()),
            ("row", pa.int32()),
            ("mask_shard", pa.int32()),
            ("mask_row", pa.int32()),
            ("source", pa.string()),
        ]
    )


TARGET_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("kind", pa.string()),
        ("members", pa.list_(pa.string())),
        ("mask_shard", pa.int32()),
        ("mask_row", pa.int32()),
    ]
)


def to_arrow(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """Bring a frame into a schema; missing columns are null, other columns are left out.

    The `geometry` is made of `lat` and `lon` (degrees, NaN unknown); `place` may hold any type.

    Raises:
        UserError: A column holds values of another type.
    """
    columns = []
    for field in schema:
        try:
            columns.append(_column(frame, field))
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise UserError(f"column {field.name!r} must hold {field.type}, but: {error}; correct it") from error
    return pa.table(columns, schema=schema)


def _column(frame: pd.DataFrame, field: pa.Field) -> pa.Array:
    if field.name == "geometry" and {"lat", "lon"} <= set(frame.columns):
        return points_to_wkb(frame[["lat", "lon"]].to_numpy(dtype=np.float64, na_value=np.nan))
    if field.name not in frame.columns:
        return pa.nulls(len(frame), field.type)
    values = frame[field.name]
    if field.name == "time":
        values = pd.to_datetime(values, utc=True, format="ISO8601")
    elif pa.types.is_string(field.type):
        values = values.astype(object).map(str, na_action="ignore")
    return pa.Array.from_pandas(values, type=field.type)


def points_to_wkb(place: np.ndarray) -> pa.Array:
    """Encode points.

    Args:
        place: (N, 2) latitude and longitude in degrees; NaN is unknown and becomes null.
    """
    points = np.zeros(len(place), _POINT)
    points["order"], points["type"] = 1, 1
    points["lat"], points["lon"] = place[:, 0], place[:, 1]
    known = ~np.isnan(place).all(axis=1)
    ends = np.concatenate(([0], known.cumsum(dtype=np.int32) * np.int32(_POINT.itemsize)), dtype=np.int32)
    valid = pa.py_buffer(np.packbits(known, bitorder="little"))
    buffers = [valid, pa.py_buffer(ends), pa.py_buffer(points[known])]
    return pa.Array.from_buffers(pa.binary(), len(place), buffers)


def wkb_to_points(geometry: pa.ChunkedArray, where: str) -> np.ndarray:
    """Decode points: (N, 2) latitude and longitude in degrees, NaN where null.

    Raises:
        UserError: A geometry is not a little-endian two-dimensional point.
    """
    place = np.full((len(geometry), 2), np.nan)
    known = geometry.is_valid().to_numpy()
    values = geometry.drop_null().combine_chunks()
    points = np.zeros(0, _POINT)
    if len(values) and (pc.binary_length(values).to_numpy() == _POINT.itemsize).all():
        *_, ends, data = values.buffers()
        points = np.frombuffer(data, _POINT, len(values), offset=np.frombuffer(ends, np.int32)[values.offset])
    if len(points) != len(values) or (points["order"] != 1).any() or (points["type"] != 1).any():
        raise UserError(f"{where}: geometry must hold WKB points (little endian, x and y); prepare the store anew")
    place[known, 0], place[known, 1] = points["lat"], points["lon"]
    return place


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table atomically; as GeoParquet when it has a `geometry`.

    Raises:
        UserError: The folder cannot be written to, or the disk is full.
    """
    if "geometry" in table.column_names:
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), "geo": json.dumps(_GEO)})
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        pq.write_table(table, file, compression="zstd")


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Read the columns of `schema`; others are ignored. The metadata of the file is kept.

    Raises:
        UserError: The file is absent or no Parquet, lacks a column, or a column has another type.
    """
    remedy = "restore it, or prepare the store anew"
    try:
        table = pq.ParquetFile(path.absolute()).read()  # a relative `a: b` would be a URL
        table.validate(full=True)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; {remedy}") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"cannot read {path} as Parquet: {error}; {remedy}") from error
    if missing := [name for name in schema.names if name not in table.column_names]:
        raise UserError(f"{path}: column {missing[0]!r} is missing; {remedy}")
    try:
        return table.select(schema.names).cast(schema.with_metadata(table.schema.metadata))
    except (pa.ArrowException, ValueError) as error:
        raise UserError(f"{path}: a column has the wrong type: {error}; {remedy}") from error


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Convert to pandas; whole numbers keep their type beside nulls (`Int32`)."""
    types: dict[Any, Any] = {pa.int32(): pd.Int32Dtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=types.get, ignore_metadata=True)
    return frame
