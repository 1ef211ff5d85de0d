"""Writing a PatchStore: whole shards one by one in any order, then the table, then `store.json`.

Shard `i` is up to three files. `pixels-0000i.npy` (n, C, H, W) and, where a mask is known,
`masks-0000i.npy` (m, H, W) come first; the side file `shard-0000i.parquet` (its rows, checksums and
sums) comes last and says that the shard is whole. Side files vanish when the store is finished.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from wherewhen.errors import UserError
from wherewhen.files import atomic_path, remove_leftovers, sha256_of
from wherewhen.geoparquet import TARGET_SCHEMA, patch_schema, read_table, to_arrow, write_table
from wherewhen.maps import UNKNOWN, file_name
from wherewhen.moments import Moments
from wherewhen.store_check import check_ids, check_patches
from wherewhen.store_header import DTYPES, FileFacts, StoreHeader

PLAN_FILE = "building.json"  # says what an unfinished store is being built from
_META = b"wherewhen"


class Shard(NamedTuple):
    """What became of one slice of a plan.

    Args:
        rows: The n patches that were made, with the columns of the table (`lat` and `lon` for the geometry).
        pixels: (n, C, H, W) uint8, uint16 or int16; may be empty in every axis when n is 0.
        masks: (n, H, W) uint8 class indices, 255 unknown; None when no patch has a mask.
        skipped: Identifier and reason of every patch of the slice that was left out.
    """

    rows: pd.DataFrame
    pixels: np.ndarray
    masks: np.ndarray | None = None
    skipped: Sequence[tuple[str, str]] = ()


def _side_name(shard: int) -> str:
    return f"shard-{shard:05d}.parquet"


def is_written(folder: Path, shard: int) -> bool:
    """Whether the shard is whole."""
    return (folder / _side_name(shard)).exists()


def write_shard(folder: Path, number: int, shard: Shard, header: StoreHeader) -> None:
    """Check a shard and write its files; patches whose mask is unknown everywhere get none.

    Raises:
        UserError: Pixels, masks or rows break a rule of the store, or the folder cannot be written to.
    """
    where = f"shard {number}"
    _check_arrays(shard, header, where)
    rows = shard.rows.assign(shard=number, row=np.arange(len(shard.rows)))
    masks = shard.masks
    if masks is not None and len(masks):
        known = (masks != UNKNOWN).any(axis=(1, 2))
        order = known.cumsum() - 1
        rows = rows.assign(mask_shard=_nullable(np.full(len(rows), number), known), mask_row=_nullable(order, known))
        masks = masks[known]
    table = to_arrow(rows, patch_schema(header.label_kind))
    check_patches(table, header, where)
    files = _save(folder, file_name("pixels", number), shard.pixels)
    if masks is not None:
        files |= _save(folder, file_name("masks", number), masks)
    facts = {
        "files": {name: dataclasses.asdict(value) for name, value in files.items()},
        "shape": list(shard.pixels.shape[1:]),
        "dtype": shard.pixels.dtype.name,
        "moments": _moments_by_use(rows, shard.pixels),
        "skipped": shard.skipped,
    }
    write_table(folder / _side_name(number), table.replace_schema_metadata({_META: json.dumps(facts)}))


def _check_arrays(shard: Shard, header: StoreHeader, where: str) -> None:
    pixels, masks = shard.pixels, shard.masks
    n = len(shard.rows)
    for name, array in (("pixels", pixels), ("masks", masks)):
        if array is not None and len(array) != n:
            raise UserError(f"{where}: {n} rows, but {name} of {len(array)} patches; give one for each row")
    if not n:
        return
    if pixels.ndim != 4 or pixels.shape[1] != len(header.bands):
        raise UserError(
            f"{where}: pixels have shape {pixels.shape}; they must be (N, {len(header.bands)}, H, W), "
            f"one plane a band ({', '.join(band.name for band in header.bands)})"
        )
    if pixels.dtype.name not in DTYPES:
        raise UserError(
            f"{where}: pixels are {pixels.dtype}, but a store holds {', '.join(DTYPES)}; "
            "round to whole numbers and say by the bands' scale and offset what they mean"
        )
    if masks is None:
        return
    if masks.dtype != np.uint8 or masks.shape[1:] != pixels.shape[2:]:
        raise UserError(
            f"{where}: masks are {masks.dtype} of shape {masks.shape}; "
            f"they must be uint8 of shape (N, {pixels.shape[2]}, {pixels.shape[3]}), {UNKNOWN} for unknown"
        )
    top = int(masks.max(where=masks != UNKNOWN, initial=0))
    if top >= max(1, len(header.classes)):
        raise UserError(f"{where}: mask value {top} is no index into the {len(header.classes)} classes; add the class")


def _moments_by_use(rows: pd.DataFrame, pixels: np.ndarray) -> dict[str, Any]:
    """Sums over patches for training and over the others: only the end of the build knows which count."""
    if not len(rows):
        return {}
    split = rows["split"] if "split" in rows else pd.Series([None] * len(rows))
    train = (split == "train").to_numpy(dtype=bool)
    return {"train": Moments.of(pixels[train]).to_json(), "other": Moments.of(pixels[~train]).to_json()}


def _save(folder: Path, name: str, array: np.ndarray) -> dict[str, FileFacts]:
    """Write one file, unless it would hold nothing, and tell its facts by its name."""
    if not len(array):
        return {}
    path = folder / name
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return {name: FileFacts(path.stat().st_size, sha256_of(path))}


def finish(
    folder: Path,
    count: int,
    header: StoreHeader,
    targets: pd.DataFrame | None = None,
    *,
    shard_size: int = 1024,
) -> StoreHeader:
    """Turn `count` whole shards into a store: the table, the targets, and last of all `store.json`.

    Args:
        folder: Where the shards are.
        count: Number of shards.
        header: The part of the header that the preparer knows.
        targets: One row a target (see `wherewhen.ingest.build`).
        shard_size: Target masks a file.

    Returns:
        The whole header, as written.

    Raises:
        UserError: No patch is left, shards disagree in shape, identifiers repeat, or nothing can be written.
    """
    sides = [read_table(folder / _side_name(i), patch_schema(header.label_kind)) for i in range(count)]
    facts = [json.loads(side.schema.metadata[_META]) for side in sides]
    table = pa.concat_tables([side.replace_schema_metadata(None) for side in sides]).combine_chunks()
    check_ids(table["id"], "the plan")
    made = [fact for fact in facts if fact["files"]]
    if not made:
        raise UserError(f"{folder}: no patch could be made, so there is no store; look at what was skipped and why")
    _check_alike(made, folder)
    files = {name: FileFacts(**value) for fact in made for name, value in fact["files"].items()}
    if targets is not None:
        files |= _write_targets(folder, targets, table, tuple(made[0]["shape"][1:]), shard_size)
    mean, std = _statistics(made).mean_and_std(header.bands)
    header = dataclasses.replace(
        header,
        patches=len(table),
        shape=tuple(made[0]["shape"]),
        dtype=made[0]["dtype"],
        mean=mean,
        std=std,
        files=files,
        skipped=tuple((identifier, reason) for fact in facts for identifier, reason in fact["skipped"]),
    )
    write_table(folder / "patches.parquet", table)
    header.write(folder / "store.json")
    remove_side_files(folder)
    return header


def remove_side_files(folder: Path) -> None:
    """Remove what only an unfinished store needs."""
    remove_leftovers(folder)
    for side in folder.glob("shard-*.parquet"):
        side.unlink()


def _check_alike(made: list[dict[str, Any]], folder: Path) -> None:
    kinds = {(tuple(fact["shape"]), fact["dtype"]) for fact in made}
    if len(kinds) > 1:
        raise UserError(f"{folder}: shards differ in shape or type: {sorted(kinds)}; all patches must be alike")


def _statistics(made: list[dict[str, Any]]) -> Moments:
    """Sums over the training split, or over everything where no patch is for training."""
    train, other = (_sum([Moments.from_json(fact["moments"][use]) for fact in made]) for use in ("train", "other"))
    return train if train.count else other


def _sum(moments: list[Moments]) -> Moments:
    total = moments[0]
    for more in moments[1:]:
        total += more
    return total


def _write_targets(
    folder: Path, targets: pd.DataFrame, patches: pa.Table, shape: tuple[int, ...], size: int
) -> dict[str, FileFacts]:
    """Write the targets whose members were all made, and their masks, `size` a file; a series goes on without some."""
    targets = _with_members(targets, patches["id"].combine_chunks())
    files: dict[str, FileFacts] = {}
    if "mask" in targets:
        known = targets["mask"].notna().to_numpy(dtype=bool)
        masks = list(targets["mask"][known])
        if any(mask.shape != shape or mask.dtype != np.uint8 for mask in masks):
            raise UserError(f"{folder}: masks of targets must be uint8 of shape {shape}, as the patches; convert them")
        for number, start in enumerate(range(0, len(masks), size)):
            files |= _save(folder, file_name("target-masks", number), np.stack(masks[start : start + size]))
        order = known.cumsum() - 1
        targets = targets.assign(mask_shard=_nullable(order // size, known), mask_row=_nullable(order % size, known))
    table = to_arrow(targets, TARGET_SCHEMA)
    check_ids(table["id"], "the targets")
    write_table(folder / "targets.parquet", table)
    return files


def _with_members(targets: pd.DataFrame, ids: pa.Array) -> pd.DataFrame:
    """The targets that are left with the patches `ids`: a series loses its missing dates, others are lost."""
    members = pa.concat_arrays(pa.chunked_array(pa.array(targets["members"], pa.list_(pa.string()))).chunks)
    there = pc.is_in(members.flatten(), ids)
    owner = pc.list_parent_indices(members)
    made = np.bincount(owner.filter(there), minlength=len(targets))
    whole = made == np.bincount(owner, minlength=len(targets))
    left = pa.ListArray.from_arrays(np.append(0, made.cumsum()).astype(np.int32), members.flatten().filter(there))
    kept: np.ndarray = whole | ((targets["kind"] == "series").to_numpy(dtype=bool) & (made > 0))
    remaining: pd.DataFrame = targets.assign(members=pd.arrays.ArrowExtensionArray(left))[kept]
    return remaining.reset_index(drop=True)


def _nullable(values: np.ndarray, known: np.ndarray) -> Any:
    """A column of whole numbers, null where not `known`."""
    return pd.arrays.IntegerArray(values.astype(np.int32), ~known)
