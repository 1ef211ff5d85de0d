"""The engine of every ingest: a sorted plan becomes a store, slice by slice, in parallel, resumable.

Shard `i` is a pure function of slice `i` of the plan, so the files of a store do not depend on the number of
workers, on their order, or on how often the build was interrupted.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from wherewhen import engines
from wherewhen.engines import Workers
from wherewhen.errors import UserError
from wherewhen.files import alone, read_json, refuse_used_folder, remove_leftovers, write_json
from wherewhen.shards import PLAN_FILE, Shard, finish, is_written, remove_side_files, write_shard
from wherewhen.store import PatchStore
from wherewhen.store_header import StoreHeader

__all__ = ["Shard", "build"]

_SHOWN = 20  # skipped patches that are printed; store.json has them all
_PIECE = 2**16  # rows of a plan that are text at a time


def build(
    out: Path,
    plan: pd.DataFrame,
    make: Callable[[pd.DataFrame], Shard],
    header: StoreHeader,
    *,
    shard_size: int,
    workers: Workers,
    title: str,
    targets: pd.DataFrame | None = None,
) -> PatchStore:
    """Build a store, or continue one, or open the finished one.

    Args:
        out: A new or empty folder, or one in which the same plan was begun or finished.
        plan: N rows in their final order, with a column `id` and whatever `make` needs. Columns of the table
            (`lat` and `lon` for the geometry) may stand here or be filled in by `make`; others are left out.
        make: Makes the patches of one slice of the plan; a pure function of the slice, picklable.
        header: Bands, classes, label kind, pixel size, provenance (also: every parameter of `make`), licence.
        shard_size: Rows of the plan a shard.
        workers: Processes; 1 works in this one. Or an engine.
        title: What the progress bar says.
        targets: Targets that belong to several patches, one row each: `id`, `kind`, `members` (list of patch
            ids) and, if they have masks, `mask` ((H, W) uint8 array, 255 unknown, or None). They are written
            at the end, without those that have a skipped member, and read by `PatchStore.targets` and
            `PatchStore.target_masks`.

    Returns:
        The store, opened.

    Raises:
        UserError: `out` holds something else, a rule of the store is broken, or nothing can be written.
            Whole shards stay, and the same call continues from them.
    """
    out, engine = Path(out), engines.of(workers)
    header = replace(header, plan=_digest(plan, header, shard_size, targets))
    console = Console(stderr=True)
    if (out / "store.json").exists():
        store = _finished(out, header)
        console.print(f"{out} is already prepared: {len(store)} patches", highlight=False, soft_wrap=True)
        return store
    _check(out, plan)
    with alone(out):
        _claim(out, header)
        slices = [plan.iloc[start : start + shard_size] for start in range(0, len(plan), shard_size)]
        waiting = [(number, rows) for number, rows in enumerate(slices) if not is_written(out, number)]
        with Progress(
            TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
        ) as progress:
            bar = progress.add_task(title, total=len(plan))
            progress.advance(bar, len(plan) - sum(len(rows) for _, rows in waiting))
            with closing(engine.flat_map(_Task(out, make, header), waiting, out)) as sizes:
                for size in sizes:
                    progress.advance(bar, size)
        header = finish(out, len(slices), header, targets, shard_size=shard_size)
        (out / PLAN_FILE).unlink(missing_ok=True)
        _report_skipped(console, header)
        return PatchStore.open(out)


@dataclass(frozen=True)
class _Task:
    """Makes and writes a shard, given its number and slice of the plan; says how many rows are done."""

    out: Path
    make: Callable[[pd.DataFrame], Shard]
    header: StoreHeader

    def __call__(self, numbered: tuple[int, pd.DataFrame]) -> Iterator[int]:
        number, rows = numbered
        write_shard(self.out, number, self.make(rows), self.header)
        yield len(rows)


def _digest(plan: pd.DataFrame, header: StoreHeader, shard_size: int, targets: pd.DataFrame | None) -> str:
    parts = [_csv(plan), [json.dumps(header.to_json())], [str(shard_size)]]
    if targets is not None:
        parts.append(_csv(targets.drop(columns="mask", errors="ignore")))
    digest = hashlib.sha256()
    for number, part in enumerate(parts):
        for text in chain(["\n"] if number else [], part):
            digest.update(text.encode())
    return digest.hexdigest()


def _csv(frame: pd.DataFrame) -> Iterable[str]:
    """The frame as CSV, in pieces: a plan may have millions of rows."""
    starts = range(0, max(1, len(frame)), _PIECE)
    return (frame.iloc[start : start + _PIECE].to_csv(header=not start) for start in starts)


def _finished(out: Path, header: StoreHeader) -> PatchStore:
    store = PatchStore.open(out)
    if store.header.plan != header.plan:
        raise UserError(f"{out} holds another store; choose another output folder, or remove that one first")
    remove_side_files(out)  # a kill may have come between the store and its tidying
    (out / PLAN_FILE).unlink(missing_ok=True)
    return store


def _check(out: Path, plan: pd.DataFrame) -> None:
    """Refuse a plan of nothing, or one that names a patch twice, and a folder of other things."""
    if not len(plan):
        raise UserError(f"nothing to prepare for {out}: the plan has no patches; check the source")
    if not plan["id"].is_unique:
        twice = plan["id"][plan["id"].duplicated()].iloc[0]
        raise UserError(f"the plan names {twice!r} twice; ids must differ, remove or rename the copies")
    if not (out / PLAN_FILE).exists():
        refuse_used_folder(out)


def _claim(out: Path, header: StoreHeader) -> None:
    """Write down what is being built in `out`, or check that it is the same."""
    path, claim = out / PLAN_FILE, {"plan": header.plan}
    if path.exists() and read_json(path) != claim and any(entry != path for entry in out.glob("[!.]*")):
        raise UserError(
            f"{out} holds an unfinished store of another plan (other source, options or version); "
            "repeat that command, or remove the folder, or choose another"
        )
    write_json(path, claim)
    remove_leftovers(out)


def _report_skipped(console: Console, header: StoreHeader) -> None:
    skipped = header.skipped
    if not skipped:
        return
    lines = [f"skipped {len(skipped)} of {header.patches + len(skipped)} patches:"]
    lines += [f"  {identifier}: {reason}" for identifier, reason in skipped[:_SHOWN]]
    if len(skipped) > _SHOWN:
        lines.append(f"  and {len(skipped) - _SHOWN} more, see `skipped` in store.json")
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
