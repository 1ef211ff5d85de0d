"""Which patches of BigEarthNet there are, which are left out, and who is for training.

Version 1: `PATCH/PATCH_B02.tif` … and `PATCH/PATCH_labels_metadata.json`; split and leavings in lists of names.
Version 2: `TILE/PATCH/PATCH_B02.tif` …; labels, split and flags in `metadata.parquet`.
"""

import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from wherewhen.errors import UserError, note
from wherewhen.files import sha256_of
from wherewhen.ingest.bigearthnet_lists import V1_PATCH, Lists
from wherewhen.ingest.nomenclature import CLASSES_19, CLASSES_43, FROM_43_TO_19
from wherewhen.patch_lists import SPLIT_NAMES

_V2_TILE = re.compile(r"S2[AB]_MSIL2A_\d{8}T\d{6}_N\d{4}_R\d{3}_T\w{5}")

METADATA = "metadata.parquet"
METADATA_OF_THE_REST = "metadata_for_patches_with_snow_cloud_or_shadow.parquet"


class Source(NamedTuple):
    """Where the patches are.

    Args:
        folder: What the user gave.
        root: The folder of patches (version 1) or of tiles (version 2): `folder` itself or one in it.
        version: 1 or 2.
    """

    folder: Path
    root: Path
    version: int


class Plan(NamedTuple):
    """Rows for the engine, and what decided them.

    Args:
        rows: `id`, `split` and `source` (the patch's folder, as seen from the source's root); version 2 has `label`
            (class indices) and `problem` (why a row cannot be used, or nothing) as well.
        provenance: Files that decided, with checksums.
    """

    rows: pd.DataFrame
    provenance: str


def find(source: Path) -> Source:
    """Recognise the version by the names of the folders.

    Raises:
        UserError: There is no such folder, or it holds no patches, or several sets of them.
    """
    if not source.is_dir():
        rest = "is a file; unpack the archive (tar -xf) and give the folder" if source.exists() else "does not exist"
        raise UserError(f"{source} {rest}")
    roots = [source] if _version(source) else [source / name for name in _folders(source)]
    found = [Source(source, root, version) for root in roots if (version := _version(root))]
    if len(found) > 1:
        places = " and ".join(f"{one.root} (version {one.version})" for one in found)
        raise UserError(f"{source} holds patches in {places}; give the folder of one of them")
    if not found:
        raise UserError(
            f"{source} holds no BigEarthNet: folders like S2A_MSIL2A_20170613T101031_87_48 (version 1) or "
            "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP (version 2), there or one folder deeper; check the path"
        )
    return found[0]


def _version(root: Path) -> int:
    """1 or 2, or 0 where no name is a patch's or tile's."""
    for name in _folders(root):
        if V1_PATCH.fullmatch(name):
            return 1
        if _V2_TILE.fullmatch(name):
            return 2
    return 0


def _folders(root: Path) -> list[str]:
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except OSError as error:
        raise UserError(f"cannot read {root}: {error.strerror}; check the path and its rights") from error


def class_indices(names: Iterable[str], classes: tuple[str, ...]) -> list[int]:
    """Sorted indices of the classes that labels of either nomenclature name; none where all belong to no class.

    Args:
        names: Labels of a patch: of the 43 classes, or of `classes`.
        classes: `CLASSES_19` or `CLASSES_43`.

    Raises:
        ValueError: A label is in neither nomenclature.
    """
    index = _index(classes)
    unknown = [name for name in names if name not in index]
    if unknown:
        raise ValueError(f"label {unknown[0]!r} is none of BigEarthNet's classes")
    return sorted({i for name in names if (i := index[name]) is not None})


@lru_cache(maxsize=2)
def _index(classes: tuple[str, ...]) -> dict[str, int | None]:
    position = {name: i for i, name in enumerate(classes)}
    if classes == CLASSES_43:
        return dict(position)
    of_43 = {name: None if group is None else position[group] for name, group in FROM_43_TO_19.items()}
    return of_43 | position


# -- version 1 ----------------------------------------------------------------------------------


def plan_version_1(source: Source, lists: Lists | None, classes: tuple[str, ...], keep_all: bool) -> Plan:
    """A row for every patch folder that the lists do not leave out; labels and places are read later, in parallel.

    Args:
        source: Where the patches are.
        lists: None keeps every patch, without a split.
        classes: Patches without any of the 19 are left out only where those are asked for.
        keep_all: Keep patches with snow, clouds or shadows.
    """
    names = pd.Series([name for name in _folders(source.root) if V1_PATCH.fullmatch(name)], dtype=object)
    if lists is None:
        return Plan(_rows(names, pd.Series([None] * len(names), dtype=object), names), "no lists")
    out = set() if classes == CLASSES_43 else lists.no_19
    out = out if keep_all else out | lists.snow_or_cloud
    listed = set(lists.split) | lists.snow_or_cloud
    kept = names[[name in listed and name not in out for name in names]]
    _tell(len(names) - len(kept), f"patches in {source.root} are left out, as the lists say")
    _tell(len(listed - out) - len(kept), f"patches of the lists are not in {source.root}")
    if not len(kept):
        raise UserError(f"no patch in {source.root} is in the lists; give lists of version 1, and its patches")
    return Plan(_rows(kept, kept.map(lists.split), kept), f"lists: {_with_checksums(lists.files)}")


# -- version 2 ----------------------------------------------------------------------------------


def plan_version_2(source: Source, keep_all: bool) -> Plan:
    """A row for every row of the metadata that has no flag and whose folder is there.

    Raises:
        UserError: The metadata are not there, damaged, or lack a column.
    """
    files = [path for name in (METADATA, METADATA_OF_THE_REST) if (path := source.folder / name).exists()]
    if not files or files[0].name != METADATA:
        raise UserError(f"{source.folder} has patches of version 2, but no {METADATA}; fetch it and put it there")
    table = pd.concat([_read_metadata(path) for path in (files if keep_all else files[:1])], ignore_index=True)
    flagged = table["contains_seasonal_snow"] | table["contains_cloud_or_shadow"]
    if keep_all and not flagged.any():
        raise UserError(
            f"patches with snow or clouds are to be kept, but {source.folder} has no {METADATA_OF_THE_REST}"
        )
    tile = table["patch_id"].str.replace(r"_\d+_\d+$", "", regex=True)
    present = {f"{tile}/{patch}" for tile in _folders(source.root) for patch in _folders(source.root / tile)}
    folder = tile + "/" + table["patch_id"]
    here = folder.isin(present)
    kept = here & (keep_all | ~flagged)
    _tell(int((here & ~kept).sum()), "patches with snow, clouds or shadows are left out")
    _tell(int((~here).sum()), f"patches of the metadata are not in {source.root}")
    _tell(
        len(present) - int(here.sum()),
        f"folders in {source.root} are in no row of {files[0]} (officially: snow, clouds)",
    )
    if not kept.any():
        raise UserError(f"no patch in {source.root} is in {files[0]} without a flag; check that both are version 2")
    table, folder = table[kept], folder[kept]
    rows = _rows(table["patch_id"], table["split"].map(SPLIT_NAMES), folder)
    labels, problems = _labels(table.loc[rows.index])
    unsplit = rows["split"].isna().to_numpy()
    problems = [
        "its split is none of train, validation, test" if u else p for u, p in zip(unsplit, problems, strict=True)
    ]
    return Plan(
        rows.assign(label=pd.Series(labels, index=rows.index, dtype=object), problem=problems),
        f"metadata: {_with_checksums(files if keep_all else files[:1])}",
    )


def _labels(table: pd.DataFrame) -> tuple[list[list[int]], list[str]]:
    """Class indices of every row, and what is wrong with its labels."""
    labels, problems = [], []
    for names in table["labels"]:
        problem, indices = "", list[int]()
        try:
            indices = class_indices(names if names is not None else (), CLASSES_19)
        except ValueError as error:
            problem = str(error)
        labels.append(indices)
        problems.append(problem)
    return labels, problems


def _read_metadata(path: Path) -> pd.DataFrame:
    columns = ["patch_id", "labels", "split", "contains_seasonal_snow", "contains_cloud_or_shadow"]
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"cannot read {path} as Parquet: {error}; fetch it again") from error
    for name in columns:
        if name not in table.column_names:
            raise UserError(f"{path}: column {name!r} is missing; it must be the metadata of version 2")
    frame: pd.DataFrame = table.select(columns).to_pandas()
    return frame.astype(dict.fromkeys(columns[3:], bool))


def _rows(names: pd.Series, split: pd.Series, folder: pd.Series) -> pd.DataFrame:
    return pd.DataFrame({"id": names, "split": split, "source": folder}).sort_values("id")


def _with_checksums(files: Iterable[Path]) -> str:
    return ", ".join(f"{path.name} (sha256 {sha256_of(path)})" for path in files)


def _tell(count: int, what: str) -> None:
    if count:
        note(f"{count} {what}")
