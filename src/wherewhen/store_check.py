"""Rules that every table of patches keeps, checked when shards are written and when a store is opened."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wherewhen.errors import UserError
from wherewhen.geoparquet import wkb_to_points
from wherewhen.store_header import StoreHeader

SPLITS = ("train", "val", "test")


def check_patches(table: pa.Table, header: StoreHeader, where: str) -> None:
    """Check identifiers, places, labels and splits of a table in `patch_schema`.

    Raises:
        UserError: The first rule that is broken, with the patch and its value; `where` names the table.
    """
    ids = table["id"]
    check_ids(ids, where)
    place = wkb_to_points(table["geometry"], where)
    for degrees, name, limit in ((place[:, 0], "latitude", 90), (place[:, 1], "longitude", 180)):
        wrong = ~(np.abs(degrees) <= limit) & ~np.isnan(place).all(axis=1)
        _refuse(wrong, ids, where, f"{name} {{}} is outside [-{limit}, {limit}] degrees", degrees)
    splits = table["split"]
    wrong = pc.invert(pc.is_in(splits, pa.array([*SPLITS, None]))).to_numpy()
    _refuse(wrong, ids, where, f"split {{!r}} is none of {', '.join(SPLITS)}", splits)
    for name in ("label", "unknown"):
        _check_classes(table, name, header, where)


def check_ids(ids: pa.ChunkedArray, where: str) -> None:
    """Raise UserError when an identifier is null or appears twice."""
    if ids.null_count:
        raise UserError(f"{where}: row {pc.index(ids.is_null(), True).as_py()} has no id; give it one")
    counts = pc.value_counts(ids)
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise UserError(
            f"{where}: id {twice[0]['values'].as_py()!r} appears {twice[0]['counts']} times; "
            "ids must differ, remove or rename the copies"
        )


def class_pairs(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Row and class index, (M,) each, of every class in a column of indices or of lists of them."""
    array = column.combine_chunks()
    if pa.types.is_list(array.type):
        rows, classes = pc.list_parent_indices(array), pc.list_flatten(array)
    else:
        rows, classes = pc.indices_nonzero(array.is_valid()), array.drop_null()
    return rows.to_numpy().astype(np.int64), classes.to_numpy(zero_copy_only=False)


def _check_classes(table: pa.Table, name: str, header: StoreHeader, where: str) -> None:
    rows, classes = class_pairs(table[name])
    if not len(rows):
        return
    if header.label_kind == "none":
        raise UserError(f"{where}: column {name!r} holds classes, but label_kind is none; state one or many")
    wrong = ~((classes >= 0) & (classes < len(header.classes)))
    rule = f"{name} {{}} is no index into the {len(header.classes)} classes"
    _refuse(wrong, table["id"], where, rule, classes, rows)


def _refuse(
    wrong: np.ndarray,
    ids: pa.ChunkedArray,
    where: str,
    rule: str,
    values: np.ndarray | pa.ChunkedArray,
    rows: np.ndarray | None = None,
) -> None:
    """Raise UserError for the first value that is `wrong`; `rule` has a gap for it, `rows` says whose each is."""
    if wrong.any():
        i = int(np.argmax(wrong))
        value = values[i].as_py() if isinstance(values, pa.ChunkedArray) else values[i]
        what = f"patch {ids[i if rows is None else int(rows[i])].as_py()!r}: {rule.format(value)}"
        raise UserError(f"{where}: {what}; correct the source or leave it out")
