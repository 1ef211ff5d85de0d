"""Items of a STAC table (stac-geoparquet 1.x): a row is an item, each property a column beside `id` and `assets`.

Footprints are not read: the files tell where they lie.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SUFFIXES = (".parquet", ".geoparquet")
_OF_THE_ITEM = ("type", "stac_version", "stac_extensions", "id", "links", "assets", "collection")
_LEFT_OUT = ("geometry", "bbox", "proj:geometry", "proj:bbox")
_ROWS = 256  # at a time


def is_table(href: str) -> bool:
    """Whether a path or URL is named like one."""
    return href.lower().endswith(SUFFIXES)


def items(path: Path) -> Iterator[dict[str, Any]]:
    """The items of a table, in the order of its rows, as STAC writes them in JSON.

    Raises:
        ValueError: It is no such table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path)
        columns = [name for name in table.schema_arrow.names if name not in _LEFT_OUT]
        if missing := [name for name in ("id", "assets") if name not in columns]:
            raise ValueError(f"it has no column {missing[0]!r}, as stac-geoparquet has")
        for batch in table.iter_batches(_ROWS, columns=columns):
            yield from map(_item, batch.to_pylist())
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"it cannot be read: {error}") from error


def _item(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what is null: a column is there for all items as soon as one has it."""
    row = _without_nulls(row)
    content = {name: row.pop(name) for name in _OF_THE_ITEM if name in row}
    if isinstance(content.get("assets"), str):  # some writers keep structures as text
        content["assets"] = json.loads(content["assets"])
    properties = {name: row.pop(name) for name in list(row)}
    return (
        {"type": "Feature", "stac_version": "1.0.0", "links": [], "geometry": None}
        | content
        | {"properties": properties}
    )


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) if value.tzinfo is None else value).isoformat()
    return value
