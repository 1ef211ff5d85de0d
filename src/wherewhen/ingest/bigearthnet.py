"""BigEarthNet: half a million Sentinel-2 patches of 1200 m with many labels, place and time, in two versions.

`docs/bigearthnet.md` says how to get from the official archives to a store, and what its numbers mean.

Sources: Sumbul et al., BigEarthNet: A Large-Scale Benchmark Archive for Remote Sensing Image Understanding, 2019;
Clasen et al., reBEN: Refined BigEarthNet Dataset for Remote Sensing Image Analysis, 2025.
"""

import argparse
import warnings
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from wherewhen.bands import Band, load_sensor
from wherewhen.engines import Workers
from wherewhen.errors import UserError, note
from wherewhen.ingest.archive import UNREADABLE, opened
from wherewhen.ingest.bigearthnet_lists import read_lists, tested_only_there
from wherewhen.ingest.bigearthnet_patch import (
    LARGEST,
    SIZE,
    Read,
    centre,
    place_name,
    read_bands,
    read_record,
    time_in_name,
)
from wherewhen.ingest.bigearthnet_plan import (
    Plan,
    Source,
    class_indices,
    find,
    plan_version_1,
    plan_version_2,
)
from wherewhen.ingest.engine import Shard, build
from wherewhen.ingest.nomenclature import CLASSES_19, CLASSES_43
from wherewhen.store import PatchStore
from wherewhen.store_header import StoreHeader

RGB = ("B04", "B03", "B02")
_SHARD_NUMBERS = 12 * 1024  # planes of a shard, 340 MiB whatever the bands
_WEST = -5.0  # degrees: Portugal and Ireland lie west of it (to −5.8), no other country of BigEarthNet does (from 3.2)


def prepare(
    source: Path,
    out: Path,
    *,
    classes: Literal[19, 43] = 19,
    bands: str = "rgb",
    lists: Path | None = None,
    geographic: bool = False,
    keep_snow_and_clouds: bool = False,
    on_error: str = "stop",
    workers: Workers = 1,
) -> PatchStore:
    """Turn BigEarthNet, version 1 or 2, into a PatchStore; the version is recognised.

    Args:
        source: The unpacked folder; the patches may lie one folder deeper. Version 2 has its `metadata.parquet` here.
        out: A new or empty folder, or an unfinished store of the same command.
        classes: The nomenclature. Version 2 has 19 only. Patches without any of the 19 are left out.
        bands: `rgb` (B04, B03, B02), `all` twelve, or names with commas between.
        lists: For version 1: folder of the official lists. Patches that no split names, and those with snow,
            clouds or shadows, are left out.
        geographic: Test on all of Portugal and Ireland; patches for testing elsewhere are in no part. Without lists,
            all of the rest is for training.
        keep_snow_and_clouds: Keep these patches.
        on_error: `stop` at the first bad patch, or `skip` each and list them at the end.
        workers: Processes, or an engine.

    Raises:
        UserError: An option, a patch, a list or the output is wrong; the message says what to do.
    """
    if classes not in (19, 43):
        raise UserError(f"--classes {classes} is no nomenclature of BigEarthNet; choose 19 or 43")
    chosen, names = _choose_bands(bands), CLASSES_19 if classes == 19 else CLASSES_43
    if find_spec("pyproj") is None:
        raise UserError("places are projected by pyproj, which is not installed; run: pip install 'wherewhen[geo]'")
    where = find(Path(source))
    plan = _plan(where, names, lists, keep_snow_and_clouds)
    if geographic and plan.rows["split"].isna().all():
        plan.rows["split"] = "train"
    if on_error == "stop" and "problem" in plan.rows and plan.rows["problem"].any():
        bad = plan.rows[plan.rows["problem"] != ""].iloc[0]
        raise _bad_patch(where, bad["source"], bad["problem"])
    header = StoreHeader(
        bands=chosen,
        classes=names,
        label_kind="many",
        pixel_size=10.0,
        provenance=_provenance(where, plan, keep_snow_and_clouds, geographic),
        licence="CDLA-Permissive-1.0",
    )
    make = _Make(where, chosen, names, geographic, on_error == "skip")
    shard_size = _SHARD_NUMBERS // len(chosen)
    return build(out, plan.rows, make, header, shard_size=shard_size, workers=workers, title="BigEarthNet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `wherewhen prepare bigearthnet` takes."""
    parser.add_argument("source", type=Path, help="unpacked folder of version 1, or of version 2 with metadata.parquet")
    parser.add_argument("out", type=Path, help="folder of the new store")
    parser.add_argument("--classes", type=int, choices=(19, 43), default=19, help="nomenclature (default 19)")
    parser.add_argument("--bands", default="rgb", metavar="BANDS", help="rgb (default), all, or names: B02,B03,B04,B08")
    parser.add_argument(
        "--lists", type=Path, metavar="FOLDER", help="version 1: official lists of splits, snow, clouds and shadows"
    )
    parser.add_argument("--geographic", action="store_true", help="test on Portugal and Ireland, train elsewhere")
    parser.add_argument("--keep-snow-and-clouds", action="store_true", help="keep patches with snow, clouds, shadows")
    parser.add_argument(
        "--on-error", choices=("stop", "skip"), default="stop", help="at a bad patch: stop (default), or skip and list"
    )


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    prepare(
        args.source,
        args.out,
        classes=args.classes,
        bands=args.bands,
        lists=args.lists,
        geographic=args.geographic,
        keep_snow_and_clouds=args.keep_snow_and_clouds,
        on_error=args.on_error,
        workers=args.workers,
    )


def _choose_bands(bands: str) -> tuple[Band, ...]:
    """Bands of Level-2A before baseline 04.00: reflectance × 10000, nothing added; docs/bigearthnet.md says why."""
    sensor = load_sensor("sentinel2_l2a")
    if bands == "all":
        return sensor.bands
    return sensor.select(RGB if bands == "rgb" else bands.split(","))


def _plan(where: Source, classes: tuple[str, ...], lists: Path | None, keep_all: bool) -> Plan:
    if where.version == 1:
        if lists is None:
            note("without --lists no patch has a split, and patches with snow or clouds stay")
        return plan_version_1(where, None if lists is None else read_lists(lists), classes, keep_all)
    if lists is not None:
        raise UserError(f"--lists {lists} is for version 1; version 2 has its split in metadata.parquet, leave it out")
    if classes != CLASSES_19:
        raise UserError(f"{where.folder} is version 2, which is labelled with 19 classes; leave --classes 43 out")
    return plan_version_2(where, keep_all)


def _provenance(where: Source, plan: Plan, keep_all: bool, geographic: bool) -> str:
    paper = {1: "Sumbul et al., 2019", 2: "reBEN, Clasen et al., 2025"}[where.version]
    parts = [
        f"BigEarthNet version {where.version} ({paper}) from {where.folder.name}",
        plan.provenance,
        "patches with snow, clouds or shadows " + ("kept" if keep_all else "left out where known"),
        "bands of 20 and 60 m repeated on the 10 m grid (nearest neighbour)",
    ]
    if geographic:
        parts.append("test: Portugal and Ireland (west of 5° W), and no patch elsewhere")
    return "; ".join(parts)


class _Facts(NamedTuple):
    """What becomes a row of the table."""

    label: list[int]
    time: datetime
    lat: float
    lon: float
    place: str


@dataclass(frozen=True)
class _Make:
    """Reads the patches of one slice of the plan; a bad one stops it, or is skipped."""

    source: Source
    bands: tuple[Band, ...]
    classes: tuple[str, ...]
    geographic: bool
    skip: bool

    def __call__(self, plan: pd.DataFrame) -> Shard:
        pixels = np.empty((len(plan), len(self.bands), SIZE, SIZE), np.uint16)
        kept: list[int] = []
        made: list[_Facts] = []
        skipped: list[tuple[str, str]] = []
        with opened(self.source.root, largest=LARGEST) as read, warnings.catch_warnings():
            warnings.filterwarnings("error", module=r"PIL\.")  # it warns of damaged files, and reads on
            for position, row in enumerate(plan.to_dict("records")):
                try:
                    facts = self._read(row, read, pixels[len(made)])
                except UNREADABLE as error:
                    if not self.skip:
                        raise _bad_patch(self.source, row["source"], str(error)) from error
                    skipped.append((row["id"], str(error)))
                    continue
                if facts.label:
                    kept.append(position)
                    made.append(facts)
                else:  # left out, as officially
                    skipped.append((row["id"], f"none of its labels belongs to the {len(self.classes)} classes"))
        rows = plan.iloc[kept].assign(**pd.DataFrame(made, columns=_Facts._fields, index=plan.index[kept]))
        if self.geographic:
            rows = rows.assign(split=tested_only_there(rows["split"], rows["lon"] < _WEST))
        return Shard(rows, pixels[: len(made)], skipped=skipped)

    def _read(self, row: dict[Any, Any], read: Read, out: np.ndarray) -> _Facts:
        """Fill `out` (C, H, W) with the bands, and give the rest."""
        stem = f"{row['source']}/{row['id']}"
        if self.source.version == 1:
            record = read_record(read, stem)
            label, time, ground = class_indices(record.labels, self.classes), record.time, record.ground
            read_bands(read, stem, self.bands, out)
        elif row["problem"]:
            raise ValueError(row["problem"])
        else:
            label, time, ground = row["label"], time_in_name(row["id"]), read_bands(read, stem, self.bands, out)
        return _Facts(label, time, *centre(ground), place_name(ground))


def _bad_patch(where: Source, folder: str, problem: str) -> UserError:
    return UserError(f"{where.root / folder}: {problem}; replace it, or leave out whatever is bad with --on-error skip")
