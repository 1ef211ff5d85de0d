"""The index of BigEarthNet version 2 as one table: 549,488 patches with place, time, split and label set.

A CSV file, plain or gzipped, with a row a patch and at least the columns of `COLUMNS`; others are left alone. Bit `k`
of `labels_mask` says whether class `k` of `CLASSES_19` is in the patch. N patches, K = 19 classes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from wherewhen.errors import UserError
from wherewhen.ingest.nomenclature import CLASSES_19

COLUMNS: dict[str, pa.DataType] = {
    "patch_id": pa.string(),
    "split": pa.dictionary(pa.int32(), pa.string()),
    "country": pa.dictionary(pa.int32(), pa.string()),
    "date": pa.timestamp("s"),
    "lat": pa.float64(),
    "lon": pa.float64(),
    "epsg": pa.int32(),
    "x0": pa.int32(),
    "y0": pa.int32(),
    "labels_mask": pa.int32(),
    "contains_seasonal_snow": pa.bool_(),
    "contains_cloud_or_shadow": pa.bool_(),
}
SPLITS = ("train", "validation", "test")

_LAUNCH = pd.Timestamp("2015-06-23")  # of Sentinel-2A
_WANTED = {
    "timestamp[s]": "a date and time like 2017-06-13T10:10:31",
    "double": "a number",
    "int32": "a whole number",
    "bool": "0 or 1",
}


def read_index(path: Path) -> pd.DataFrame:
    """Read and check the index.

    Args:
        path: A CSV file, or one compressed with gzip (`.gz`).

    Returns:
        N rows in the file's order: `patch_id`, `split` and `country` (categories), `date` (UTC without a zone),
        `lat` and `lon` (degrees, WGS 84, of the centre), `epsg`, `x0`, `y0` (metres, the upper left corner),
        `labels_mask` (int32, 1 to 2¹⁹ − 1), `contains_seasonal_snow` and `contains_cloud_or_shadow` (bool).

    Raises:
        UserError: The file cannot be read, a column is missing, or a value breaks its rule; the message has the
            row (1 is the first after the header) and the patch.
    """
    table = _table(path)
    if not len(table):
        raise UserError(f"{path} has no rows; give the whole index")
    _check(path, table)
    frame: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)
    return frame


def label_sets(masks: np.ndarray) -> np.ndarray:
    """Masks (N,) of bits -> (N, K) bool, whether each class is in the patch."""
    present: np.ndarray = (np.asarray(masks)[:, None] >> np.arange(len(CLASSES_19))) & 1 == 1
    return present


def _table(path: Path) -> pa.Table:
    try:
        return _read(path, COLUMNS)
    except KeyError as error:
        raise UserError(
            f"{path} has no column {error}; an index has {', '.join(COLUMNS)}: rename columns, or choose another file"
        ) from error
    except pa.ArrowInvalid as error:
        raise _bad_cell(path) or UserError(f"{path} is no index: {error}; restore the file") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}; check its name, or restore it") from error


def _read(path: Path, types: dict[str, pa.DataType]) -> pa.Table:
    """The columns of the index, as `types` where they are given, else as text.

    Raises:
        KeyError: A column is missing.
    """
    with pa.csv.open_csv(path) as head:
        missing = [name for name in COLUMNS if name not in head.schema.names]
    if missing:
        raise KeyError(missing[0])
    return pa.csv.read_csv(
        path,
        convert_options=pa.csv.ConvertOptions(
            include_columns=list(COLUMNS),
            column_types={name: types.get(name, pa.string()) for name in COLUMNS},
            null_values=[""],
            strings_can_be_null=True,
            timestamp_parsers=[pa.csv.ISO8601],
        ),
    )


def _bad_cell(path: Path) -> UserError | None:
    """What to say of the first cell that is not of its column's type; None when the file itself is broken."""
    try:
        table = _read(path, {})
    except (pa.ArrowInvalid, OSError):
        return None
    for name, kind in COLUMNS.items():
        for row, text in enumerate(table[name].to_pylist()):
            if text is not None and not _is(text, kind):
                where = f"row {row + 1}, patch {table['patch_id'][row].as_py()!r}"
                return UserError(f"{path}: {where}: {name} {text!r} is not {_WANTED[str(kind)]}; correct the row")
    return None


def _is(text: str, kind: pa.DataType) -> bool:
    try:
        if pa.types.is_boolean(kind):
            return text.lower() in ("0", "1", "true", "false")
        value = pa.scalar(text).cast(pa.string() if pa.types.is_dictionary(kind) else kind)
    except pa.ArrowInvalid:
        return False
    return bool(value.is_valid)


def _check(path: Path, table: pa.Table) -> None:
    for name in COLUMNS:
        if table[name].null_count:
            _refuse(path, table, name, table[name].is_null(), "is missing: every column needs a value")
    day = pc.less(table["date"], pa.scalar(_LAUNCH, pa.timestamp("s")))
    rules: tuple[tuple[str, Any, str], ...] = (
        ("split", pc.invert(pc.is_in(table["split"], pa.array(SPLITS))), f"is none of {', '.join(SPLITS)}"),
        ("date", day, f"is before the launch of Sentinel-2A on {_LAUNCH.date()}"),
        ("lat", _outside(table["lat"], -90, 90), "is outside [-90, 90] degrees"),
        ("lon", _outside(table["lon"], -180, 180), "is outside [-180, 180] degrees"),
        (
            "labels_mask",
            _outside(table["labels_mask"], 1, 2 ** len(CLASSES_19) - 1),
            f"is outside [1, {2 ** len(CLASSES_19) - 1}]: it has a bit for each of {len(CLASSES_19)} classes, "
            "and one is set at least",
        ),
    )
    for name, wrong, rule in rules:
        _refuse(path, table, name, wrong, rule)
    if pc.count_distinct(table["patch_id"]).as_py() < len(table):
        counts = pc.value_counts(table["patch_id"])
        twice = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"].as_py()
        raise UserError(f"{path}: patch {twice!r} appears more than once; remove the copies")


def _outside(column: pa.ChunkedArray, low: float, high: float) -> pa.ChunkedArray:
    """Where a value is not within the bounds; NaN is not."""
    return pc.invert(pc.and_(pc.greater_equal(column, low), pc.less_equal(column, high)))


def _refuse(path: Path, table: pa.Table, name: str, wrong: pa.ChunkedArray, rule: str) -> None:
    row = pc.index(wrong, True).as_py()
    if row >= 0:
        where = f"row {row + 1}, patch {table['patch_id'][row].as_py()!r}"
        value = table[name][row].as_py()
        what = name if value is None else f"{name} {value}"
        raise UserError(f"{path}: {where}: {what} {rule}; correct the row")
