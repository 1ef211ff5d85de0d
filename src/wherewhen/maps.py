"""The arrays of a store: numbered NumPy files, memory-mapped, read by (file number, row)."""

from pathlib import Path
from tokenize import TokenError
from typing import Literal

import numpy as np
import pandas as pd

from wherewhen.errors import UserError
from wherewhen.store_header import StoreHeader

Kind = Literal["pixels", "masks", "target-masks"]

UNKNOWN = 255  # in a mask: nobody looked at this pixel
ANEW = "restore the file, or prepare the store anew"


def file_name(kind: Kind, number: int) -> str:
    """Name of one file of arrays, such as `pixels-00000.npy`."""
    return f"{kind}-{number:05d}.npy"


def index_of(frame: pd.DataFrame, number: str, row: str) -> np.ndarray:
    """File number and row in it from two columns of a table, (n, 2) int64, -1 where null."""
    return np.stack([frame[name].to_numpy(dtype=np.int64, na_value=-1) for name in (number, row)], axis=1)


class Maps:
    """Every file that `store.json` lists, mapped; sizes and array headers are checked, checksums are not.

    Args:
        folder: Where the files are.
        header: The store's header.

    Raises:
        UserError: A file is missing, has another length, or holds arrays of another shape or type.
    """

    def __init__(self, folder: Path, header: StoreHeader) -> None:
        self._folder = folder
        self._shape = header.shape
        self._dtype = np.dtype(header.dtype)
        self._arrays = {name: _open(folder, name, facts.bytes) for name, facts in header.files.items()}
        for name, array in self._arrays.items():
            shape, dtype = self._form("pixels" if name.startswith("pixels-") else "masks")
            if array.shape[1:] != shape or array.dtype != dtype:
                raise UserError(
                    f"{folder / name} holds {array.dtype} of shape {array.shape}, "
                    f"store.json says {dtype} of (n, {', '.join(map(str, shape))}); {ANEW}"
                )

    def _form(self, kind: Kind) -> tuple[tuple[int, ...], np.dtype]:
        if kind == "pixels":
            return self._shape, self._dtype
        return self._shape[1:], np.dtype(np.uint8)

    def gather(self, kind: Kind, index: np.ndarray) -> np.ndarray:
        """Copy some rows, one access a file.

        Args:
            kind: Which files.
            index: (n, 2) file number and row in it; number -1 gives a mask of 255.

        Returns:
            (n, C, H, W) pixels or (n, H, W) masks.
        """
        shape, dtype = self._form(kind)
        out = np.full((len(index), *shape), UNKNOWN, dtype)
        order = np.argsort(index[:, 0], kind="stable")
        starts = np.flatnonzero(np.diff(index[order, 0], prepend=-1))  # -1: those rows stay unknown
        for here in np.split(order, starts)[1:]:
            out[here] = self._arrays[file_name(kind, index[here[0], 0])][index[here, 1]]
        return out

    def check_index(self, kind: Kind, index: np.ndarray, table: Path) -> None:
        """Raise UserError when `index` points outside a file or twice to one row; `table` is to blame."""
        number, row = index.T if kind == "pixels" else index[index[:, 0] >= 0].T  # -1: no mask
        numbers, which = np.unique(number, return_inverse=True)
        sizes = np.array([len(self._arrays.get(file_name(kind, n), ())) for n in numbers], np.int64)
        wrong = (row < 0) | (row >= sizes[which])
        if not wrong.any():
            place = (sizes.cumsum() - sizes)[which] + row  # in all files, one after the other
            wrong = np.bincount(place)[place] > 1
        if wrong.any():
            bad = which[wrong.argmax()]
            rows = row[which == bad]
            raise UserError(
                f"{table} points to rows {rows.min()} to {rows.max()} of {file_name(kind, numbers[bad])}, "
                f"which has {sizes[bad]}, and each may be used once; {ANEW}"
            )


def _open(folder: Path, name: str, size: int) -> np.ndarray:
    path = folder / name
    if Path(name).name != name:
        raise UserError(f"{folder / 'store.json'} names a file outside the store, {name!r}; {ANEW}")
    if not path.exists():
        raise UserError(f"{path} is missing; {ANEW}")
    if path.stat().st_size != size:
        raise UserError(f"{path} has {path.stat().st_size} bytes, store.json says {size}; {ANEW}")
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, TypeError, SyntaxError, TokenError) as error:  # all of a damaged header
        raise UserError(f"cannot read {path}: {error}; {ANEW}") from error
