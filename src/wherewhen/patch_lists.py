"""Files that name patches: lists of names, tables of splits, indices into a folder of pictures.

A name is a patch's id, or its file (`River/River_3.jpg` is the patch `River_3`).
"""

import zlib
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from tokenize import TokenError

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from wherewhen.errors import UserError, note

NAME_COLUMNS = (
    "id",
    "patch_id",
    "patch",
    "name",
    "file",
    "filename",
)  # what published tables call it; the first counts
SPLIT_NAMES = {"train": "train", "val": "val", "validation": "val", "test": "test"}

_FORMATS = "a list of names is .txt (one a line), .csv (perhaps .gz, .bz2) or .parquet; an index of positions is .npy"
_DAMAGED = (OSError, ValueError, TypeError, EOFError, SyntaxError, TokenError, zlib.error, pa.ArrowException)
_UNPICKLE = "import pandas; pandas.read_pickle('{name}')['patch'].to_csv('{stem}.csv', index=False)"
_UNPICKLE_ARRAY = "import numpy; numpy.save('{stem}_plain', numpy.load('{name}', allow_pickle=True).astype(int))"


def read_names(path: Path, ids: Collection[str]) -> list[str]:
    """Ids of the patches that a `.txt`, `.csv` or `.parquet` file names, in its order.

    Args:
        path: The file. A table may have other columns; a CSV of names alone needs no heading.
        ids: The patches there are.

    Raises:
        UserError: The file cannot be read, or names a patch twice, or one that there is not.
    """
    return list(_read(path, ids)["id"])


def read_split(path: Path, ids: Sequence[str]) -> np.ndarray:
    """The part of every patch that a file gives it, (N,) of `train`, `val`, `test` or None.

    Args:
        path: A table with a column `split`: patches that it does not name are in no part. Or a list of names, or an
            `.npy` of positions in `ids`: these are for training, all others for the test.
        ids: N patches, in the order in which positions count.

    Raises:
        UserError: The file cannot be read or is wrong, or names labelled patches.
    """
    if path.name.startswith(("lb_", "ulb_")):
        raise UserError(
            f"{path} tells labelled from unlabelled patches of the training part, not training from test; "
            "give it to the training, as data.labelled_file"
        )
    if path.suffix == ".npy":
        in_train = np.isin(np.arange(len(ids)), read_positions(path, len(ids)))
        return np.where(in_train, "train", "test").astype(object)
    table = _read(path, ids)
    if "split" not in table:
        return np.where(pd.Index(ids).isin(table["id"]), "train", "test").astype(object)
    parts = table["split"].map(SPLIT_NAMES)
    if parts.isna().any():
        wrong = table["split"][parts.isna()].iloc[0]
        raise UserError(f"{path}: split {wrong!r} is none of {', '.join(SPLIT_NAMES)}; correct it")
    if len(table) < len(ids):
        note(f"{len(ids) - len(table)} patches are not in {path}, so they are in no part")
    of = dict(zip(table["id"], parts, strict=True))
    return np.array([of.get(name) for name in ids], dtype=object)


def read_positions(path: Path, count: int | None = None) -> np.ndarray:
    """The positions (n,) int64 that an `.npy` file holds, all different, in its order.

    Args:
        path: The file; it is read without pickle, so nothing in it is executed.
        count: Positions lie below this; None does not look.

    Raises:
        UserError: The file is damaged or holds something else; a position is out of range, or there twice.
    """
    index = _load(path)
    if not isinstance(index, np.ndarray) or index.ndim != 1 or not np.issubdtype(index.dtype, np.integer):
        form = f"{index.dtype} of shape {index.shape}" if isinstance(index, np.ndarray) else "an archive"
        raise UserError(f"{path} holds {form}; an index is one row of whole numbers, positions from 0")
    if not len(index):
        raise UserError(f"{path} holds no position; give an index of one patch or more")
    worst = index.min() if index.min() < 0 else index.max()
    if worst < 0 or (count is not None and worst >= count):
        limit = "" if count is None else f" to {count - 1}"
        raise UserError(f"{path}: position {worst} is out of range, which is 0{limit}; is it of this data set?")
    values, counts = np.unique(index, return_counts=True)
    if (counts > 1).any():
        raise UserError(f"{path}: position {values[counts > 1][0]} is there twice; remove one")
    return index.astype(np.int64)


def folder_order(classes: Sequence[str], files: Sequence[str]) -> np.ndarray:
    """Positions (N,) int64 of N pictures in the order of torchvision's `ImageFolder`.

    Classes by name, and in a class files by name, both compared as text: `River_1.jpg`, `River_10.jpg`,
    `River_100.jpg`, `River_2.jpg`.

    Args:
        classes: Name of each picture's class.
        files: Its file name, without the folder.
    """
    return np.array(sorted(range(len(files)), key=lambda i: (classes[i], files[i])), dtype=np.int64)


def _load(path: Path) -> object:
    try:
        return np.load(_readable(path), allow_pickle=False)
    except _DAMAGED as error:
        if "allow_pickle" not in str(error):
            raise UserError(f"cannot read {path} as .npy: {error}; fetch it again") from error
        raise _pickled(path, _UNPICKLE_ARRAY) from error


def _readable(path: Path) -> Path:
    """The path, if there is such a file and reading it runs no code."""
    if path.suffix in (".pkl", ".pickle"):
        raise _pickled(path, _UNPICKLE)
    if not path.is_file():
        raise UserError(f"there is no file {path}; check the path")
    return path


def _pickled(path: Path, once: str) -> UserError:
    command = once.format(name=path.name, stem=path.stem)
    return UserError(
        f"{path} is pickled: reading it could run any code, so it is not read here. Convert it once, on a machine "
        f'where you trust it, with: python -c "{command}"; and give the new file'
    )


def _read(path: Path, ids: Collection[str]) -> pd.DataFrame:
    """The rows of a list: `id`, checked, and whatever else it has, `split` for example."""
    known = set(ids)
    table = _table(path)
    if table.empty:
        raise UserError(f"{path} names no patch; give one or more")
    if (alike := table.columns.duplicated()).any():
        raise UserError(f"{path} has two columns {table.columns[alike][0]!r}; rename one")
    column = next((name for name in NAME_COLUMNS if name in table), table.columns[0])
    given = table[column].astype(str).str.strip()
    table = table.assign(id=[name if name in known else PurePosixPath(name).stem for name in given])
    if (strange := ~table["id"].isin(known)).any():
        name = given[strange].iloc[0]
        raise UserError(f"{path} names {name!r}, which is none of the {len(known)} patches; is it of this data set?")
    if (twice := table["id"].duplicated()).any():
        raise UserError(f"{path} names {table['id'][twice].iloc[0]!r} twice; remove one")
    return table


def _table(path: Path) -> pd.DataFrame:
    """All columns of a list, under their headings."""
    _readable(path)
    try:
        match path.suffix:
            case ".txt":
                lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
                return pd.DataFrame({"id": [line for line in lines if line]}, dtype=object)
            case ".csv" | ".gz" | ".bz2":
                cells = pd.read_csv(path, dtype=str, header=None, keep_default_na=False, encoding="utf-8-sig")
                return _headed(path, cells)
            case ".parquet":
                frame: pd.DataFrame = pq.read_table(path).to_pandas()
                return frame if frame.index.name is None else frame.reset_index()
    except _DAMAGED as error:
        raise UserError(f"cannot read {path}: {error}; {_FORMATS}") from error
    raise UserError(f"{path} is no list of patches; {_FORMATS}")


def _headed(path: Path, cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of a CSV under its heading; official lists have none, so the first line may be a patch."""
    first = [cell.strip() for cell in cells.iloc[0]]
    if set(first) & {*NAME_COLUMNS, "split"} or not any(letter.isdigit() for letter in first[0]):  # ids have digits
        return cells.iloc[1:].set_axis(first, axis=1).reset_index(drop=True)
    if len(first) > 1:
        raise UserError(f"{path} has {len(first)} columns and no heading; give it one, id,split for example")
    return cells.set_axis(["id"], axis=1)
