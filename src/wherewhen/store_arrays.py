"""Between the columns of a table of patches and plain arrays."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from wherewhen.errors import UserError
from wherewhen.store_check import class_pairs
from wherewhen.store_header import StoreHeader


def labels_of(patches: pa.Table, header: StoreHeader) -> np.ndarray:
    """Labels as numbers: (N,) int64 class index, -1 unknown; many labels (N, K) int8, 1, 0, -1 unknown."""
    rows, classes = class_pairs(patches["label"])
    if header.label_kind != "many":
        labels = np.full(len(patches), -1, np.int64)
        labels[rows] = classes
        return labels
    many = np.zeros((len(patches), len(header.classes)), np.int8)
    many[patches["label"].is_null().to_numpy()] = -1
    many[rows, classes] = 1
    many[class_pairs(patches["unknown"])] = -1
    return many


def frame_of(n: int, columns: dict[str, Any], place: np.ndarray | None, labels: np.ndarray | None) -> pd.DataFrame:
    """Rows of a table from arrays of length n; the inverse of `labels_of` for the labels.

    Raises:
        UserError: An array has another length or shape.
    """
    arrays = {name: np.asarray(values) for name, values in columns.items() if values is not None}
    arrays.setdefault("id", np.arange(n).astype(str))
    if place is not None:
        place = np.asarray(place, np.float64)
        if place.shape != (n, 2):
            raise UserError(f"place has shape {place.shape}; it must be ({n}, 2): latitude and longitude")
        arrays |= {"lat": place[:, 0], "lon": place[:, 1]}
    for name, values in arrays.items():
        if values.shape != (n,):
            raise UserError(f"{name} has shape {values.shape}, but there are {n} patches; give one value each")
    return pd.DataFrame(arrays).assign(**_label_columns(n, labels))


def _label_columns(n: int, labels: np.ndarray | None) -> dict[str, Any]:
    if labels is None:
        return {}
    labels = np.asarray(labels)
    if len(labels) != n or labels.ndim not in (1, 2) or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(
            f"labels are {labels.dtype} of shape {labels.shape}; they must be whole numbers of shape ({n},), "
            f"or ({n}, K) of 1, 0 and -1 for many labels"
        )
    if labels.ndim == 1:
        return {"label": pd.arrays.IntegerArray(labels.astype(np.int64), labels == -1)}
    if not np.isin(labels, (-1, 0, 1)).all():
        raise UserError("many labels (N, K) may hold 1, 0 and -1 (unknown) only; convert them")
    return {
        "label": [np.flatnonzero(row == 1) for row in labels],
        "unknown": [np.flatnonzero(row == -1) for row in labels],
    }
