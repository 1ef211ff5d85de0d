"""Which places and dates there are in folders `PLACE/TIMESTAMP/BAND.tif`, without opening a file.

A million places are planned in bounded memory: folders are listed one by one, and rows become Arrow's columns, because
Python's objects are ten times as large.
"""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from wherewhen.errors import UserError, note

# What folders of one date are called: Earth Engine's and Copernicus' names hold day and time, others the day alone.
_DAY_TIME = re.compile(r"(?:.*_)?(\d{8}T\d{6})(?:_.*)?")
_DAY = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")

_BAND_FILE = re.compile(r"B0?(\d\d?A?)\.tiff?", re.IGNORECASE)
_LOOKED_AT = 10  # places, and dates of each, in which a folder of places must show a band
_NEVER = datetime.max.replace(tzinfo=UTC)
_CHUNK = 2**16  # rows of the plan that are Python objects at a time


def find_root(source: Path) -> Path:
    """The folder of places: the source, or the one folder in it that holds some.

    Raises:
        UserError: There is none, or several.
    """
    if not source.is_dir():
        raise UserError(f"{source} is no folder; unpack the archive and give the folder of places")
    roots = [path for path in (source, *(source / name for name in _folders(source, 100))) if first_image(path)]
    if len(roots) > 1 and source not in roots:
        raise UserError(f"{source} holds places in {' and '.join(map(str, roots))}; give the folder of one of them")
    if not roots:
        raise UserError(f"{source} holds no PLACE/TIMESTAMP/B2.tif, there or one folder deeper; check the path")
    return roots[0]


def first_image(root: Path) -> list[str]:
    """Bands of the first image of the first places; nothing where the folder is no folder of places."""
    for place in _folders(root, _LOOKED_AT):
        for date in _folders(root / place, _LOOKED_AT):
            if bands := band_files(root / place / date):
                return sorted(bands)
    return []


def _folders(path: Path, most: int | None = None) -> list[str]:
    """Sorted names of the folders in a folder; with `most`, of the first so many that the disk tells of."""
    names = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir() and not entry.name.startswith("."):
                    names.append(entry.name)
                if most is not None and len(names) == most:
                    break
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the path and its rights") from error
    return sorted(names)


def band_files(folder: Path) -> dict[str, str]:
    """Band, with two digits as the sensor has it -> its file's name."""
    found = ((name, _BAND_FILE.fullmatch(name)) for name in sorted(path.name for path in folder.iterdir()))
    return {f"B{match[1].upper().zfill(2)}": name for name, match in found if match}


def acquired(name: str) -> datetime | None:
    """UTC time that a folder's name tells, None where it tells none.

    Known are `20200604T054639_20200604T054831_T43RCP` (Earth Engine: SeCo, CACo, SSL4EO),
    `S2A_MSIL2A_20200604T054639_…` (Copernicus), `20200604T054639`, and for the day alone, which becomes its midnight,
    `20200604` and `2020-06-04`.

    Raises:
        ValueError: It looks like a date, but is none.
    """
    if found := _DAY_TIME.fullmatch(name):
        day, form = re.search(r"\d{8}T\d{6}", name), "%Y%m%dT%H%M%S"
        text = day[0] if day else found[1]
    elif found := _DAY.fullmatch(name):
        text, form = "".join(found.groups()), "%Y%m%d"
    else:
        return None
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"its name holds {text}, which is no date") from error


class _Row(NamedTuple):
    """One image: `id` is `PLACE/TIMESTAMP`, `problem` says why it cannot be used, if so."""

    id: str
    place: str
    time: datetime | None
    problem: str


_PLAN = pa.schema(
    [("id", pa.string()), ("place", pa.string()), ("time", pa.timestamp("ns", tz="UTC")), ("problem", pa.string())]
)


def plan_places(root: Path, min_dates: int) -> pd.DataFrame:
    """A row an image, by place, then date: `id` (`PLACE/TIMESTAMP`), `place`, `time`, `problem`."""
    few = 0
    rows: list[_Row] = []
    batches = []
    for images in _places(root):
        if len(images) < min_dates:
            few += 1
            continue
        rows += images
        if len(rows) >= _CHUNK:
            batches.append(_batch(rows))
            rows = []
    batches.append(_batch(rows))
    if few:
        note(f"{few} places with fewer than {min_dates} dates are left out")
    frame: pd.DataFrame = pa.Table.from_batches(batches).to_pandas(types_mapper=pd.ArrowDtype)
    unknown = int(frame["time"].isna().sum())
    if unknown:
        note(f"the names of {unknown} folders tell no date; their time stays unknown")
    return frame


def _places(root: Path) -> Iterator[list[_Row]]:
    """The images of each place in the order of their dates, unknown ones last."""
    for place in _folders(root):
        rows = [_row(place, name) for name in _folders(root / place)]
        yield sorted(rows, key=lambda row: (row.time is None, row.time or _NEVER, row.id))


def _row(place: str, name: str) -> _Row:
    try:
        return _Row(f"{place}/{name}", place, acquired(name), "")
    except ValueError as error:
        return _Row(f"{place}/{name}", place, None, str(error))


def _batch(rows: list[_Row]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else [()] * len(_PLAN)
    return pa.RecordBatch.from_arrays(
        [pa.array(values, type=field.type) for values, field in zip(columns, _PLAN, strict=True)], schema=_PLAN
    )


def series(plan: pd.DataFrame) -> pd.DataFrame:
    """A target a place: its images in the order of their dates. Rows of one place are neighbours."""
    starts = np.flatnonzero((plan["place"] != plan["place"].shift()).to_numpy(dtype=bool, na_value=True))
    ids, places = (pa.concat_arrays(pa.chunked_array(pa.array(plan[key])).chunks) for key in ("id", "place"))
    members = pa.ListArray.from_arrays(np.append(starts, len(plan)).astype(np.int32), ids)
    table = pa.table({"id": places.take(starts), "kind": pa.repeat("series", len(starts)), "members": members})
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame
