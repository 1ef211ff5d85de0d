"""The official lists of BigEarthNet, version 1: who is for training, and who is left out."""

import bz2
import gzip
import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from wherewhen.errors import UserError
from wherewhen.patch_lists import SPLIT_NAMES

V1_PATCH = re.compile(r"S2[AB]_MSIL2A_\d{8}T\d{5,6}_\d{1,2}_\d{1,2}")  # some hours have one digit: T93020
_SNOW_OR_CLOUD = ("patches_with_seasonal_snow", "patches_with_cloud_and_shadow")
_NO_19 = "patches_with_no_19_class_targets"


class Lists(NamedTuple):
    """What a folder of lists says of patches by their name.

    Args:
        split: Name -> `train`, `val` or `test`.
        snow_or_cloud: Patches with seasonal snow, clouds or their shadows.
        no_19: Patches none of whose labels belongs to one of the 19 classes.
        files: What was read.
    """

    split: dict[str, str]
    snow_or_cloud: set[str]
    no_19: set[str]
    files: list[Path]


def read_lists(folder: Path) -> Lists:
    """Read the official lists: `train`, `val`, `test` and `patches_with_…`, csv or txt, perhaps .gz or .bz2.

    A name may begin with `bigearthnet-`, as those of Seasonal Contrast's split do. Other files are ignored.

    Raises:
        UserError: No list is there, one is damaged, or a patch is in two splits.
    """
    if not folder.is_dir():
        raise UserError(f"--lists {folder} is no folder; give the one with train.csv, val.csv, test.csv")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        key = path.name.lower().removeprefix("bigearthnet-").split(".")[0]
        if key in (*SPLIT_NAMES, *_SNOW_OR_CLOUD, _NO_19):
            if key in files:
                raise UserError(
                    f"{folder} holds the list {key!r} twice, as {files[key].name} and {path.name}; keep one"
                )
            files[key] = path
    split: dict[str, str] = {}
    for key in [key for key in files if key in SPLIT_NAMES]:
        names = _read_list(files[key])
        twice = next((name for name in names if split.get(name, SPLIT_NAMES[key]) != SPLIT_NAMES[key]), None)
        if twice is not None:
            raise UserError(
                f"{files[key]}: {twice} is in the list {split[twice]!r} as well; remove it from one of them"
            )
        split.update(dict.fromkeys(names, SPLIT_NAMES[key]))
    if "train" not in split.values():
        raise UserError(f"--lists {folder} holds no list of training patches; put train.csv there (.gz, .bz2, .txt)")
    bad = {key: set(_read_list(path)) for key, path in files.items() if key not in SPLIT_NAMES}
    snow_or_cloud = set().union(*(bad.get(key, set()) for key in _SNOW_OR_CLOUD))
    return Lists(split, snow_or_cloud, bad.get(_NO_19, set()), list(files.values()))


def tested_only_there(split: pd.Series, there: pd.Series) -> pd.Series:
    """A split whose test is all of a region: test patches elsewhere are in no part.

    Args:
        split: (N,) `train`, `val`, `test` or None.
        there: (N,) whether each patch lies in the region.
    """
    return split.where(split != "test", None).where(~there, "test")


def _read_list(path: Path) -> list[str]:
    opener = {".bz2": bz2.open, ".gz": gzip.open}.get(path.suffix, open)
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            names = [line.split(",")[0].strip() for line in file if line.strip()]
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"cannot read {path}: {error}; fetch it again") from error
    wrong = next((i for i, name in enumerate(names) if not V1_PATCH.fullmatch(name)), None)
    if wrong is not None:
        raise UserError(f"{path}: line {wrong + 1} is {names[wrong]!r}, no name of a version-1 patch; correct it")
    return names
