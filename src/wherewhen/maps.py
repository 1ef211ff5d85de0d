"""The arrays of a store: numbered NumPy files, memory-mapped, read by (file number, row)."""

import re
from pathlib import Path
from tokenize import TokenError
from typing import Literal, get_args

import numpy as np
import pandas as pd

from wherewhen.errors import UserError
from wherewhen.store_header import StoreHeader

Kind = Literal["pixels", "masks", "target-masks"]

_NAME = re.compile(f"({'|'.join(get_args(Kind))})-([0-9]{{5,}})[.]npy")
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
        self._shape = header.shape
        self._dtype = np.dtype(header.dtype)
        self._files: dict[Kind, dict[int, np.ndarray]] = {kind: {} for kind in get_args(Kind)}
        for name, facts in header.files.items():
            if not (parts := _NAME.fullmatch(name)):
                raise UserError(f"{folder / 'store.json'} names {name!r}, which is no file of a store; {ANEW}")
            kind: Kind = parts[1]  # type: ignore[assignment]  # one of them, says the pattern
            array = self._files[kind][int(parts[2])] = _open(folder / name, facts.bytes)
            shape, dtype = self._form(kind)
            if array.shape[1:] != shape or array.dtype != dtype:
                raise UserError(
                    f"{folder / name} holds {array.dtype} of shape {array.shape}, "
                    f"store.json says {dtype} of (n, {', '.join(map(str, shape))}); {ANEW}"
                )

    def _form(self, kind: Kind) -> tuple[tuple[int, ...], np.dtype]:
        if kind == "pixels":
            return self._shape, self._dtype
        return self._shape[1:], np.dtype(np.uint8)

    def gather(self, kind: Kind, index: np.ndarray, dtype: type[np.float32] | None = None) -> np.ndarray:
        """Copy some rows.

        Args:
            kind: Which files.
            index: (n, 2) file number and row in it; number -1 gives a mask of 255.
            dtype: Of the copy; None is the stored one. Asking for it here saves going through the bytes again.

        Returns:
            (n, C, H, W) pixels or (n, H, W) masks.
        """
        shape, stored = self._form(kind)
        out = np.empty((len(index), *shape), dtype or stored)
        files = self._files[kind]
        for place, (number, row) in enumerate(index.tolist()):  # one copy each: quicker than an index into every file
            out[place] = UNKNOWN if number < 0 else files[number][row]
        return out

    def check_index(self, kind: Kind, index: np.ndarray, table: Path) -> None:
        """Raise UserError when `index` points outside a file or twice to one row; `table` is to blame."""
        number, row = index.T if kind == "pixels" else index[index[:, 0] >= 0].T  # -1: no mask
        numbers, which = np.unique(number, return_inverse=True)
        sizes = np.array([len(self._files[kind].get(n, ())) for n in numbers], np.int64)
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


def _open(path: Path, size: int) -> np.ndarray:
    if not path.exists():
        raise UserError(f"{path} is missing; {ANEW}")
    if path.stat().st_size != size:
        raise UserError(f"{path} has {path.stat().st_size} bytes, store.json says {size}; {ANEW}")
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, TypeError, SyntaxError, TokenError) as error:  # all of a damaged header
        raise UserError(f"cannot read {path}: {error}; {ANEW}") from error
