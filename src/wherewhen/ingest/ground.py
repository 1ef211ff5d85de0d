"""The synthetic world on real ground: places, times and label sets of BigEarthNet version 2, SIMULATED pixels.

A patch is drawn from the index, and a picture rendered for its label set, its place and its day. So the joint
distribution of place, time and labels is the real one. `docs/ground.md` says how, and what it is not.
"""

import sys
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wherewhen.bands import load_sensor
from wherewhen.engines import Workers
from wherewhen.errors import UserError
from wherewhen.ingest.ben_index import label_sets, read_index
from wherewhen.ingest.bigearthnet_lists import tested_only_there
from wherewhen.ingest.engine import Shard, build
from wherewhen.ingest.nomenclature import CLASSES_19
from wherewhen.patch_lists import SPLIT_NAMES
from wherewhen.splits import shuffled
from wherewhen.store import PatchStore
from wherewhen.store_header import StoreHeader
from wherewhen.world import BANDS
from wherewhen.world.ground import Record, digest, ground

_SHARD_SIZE = 512
_FEW = 10  # a class with fewer patches for training or testing is told of
_NORTHERN = (30.0, 75.0)  # degrees of latitude for which seasons and climate are made
_WEST = ("Portugal", "Ireland")


def prepare(
    out: Path,
    index: Path,
    *,
    patches: int = 6000,
    seed: int = 0,
    geographic: bool = False,
    keep_snow_and_clouds: bool = False,
    workers: Workers = 1,
) -> PatchStore:
    """Render patches with the places, times and label sets of a real index into a PatchStore.

    The `patches` records whose names come first in a hash ranking are taken, so their distribution is that of the
    index, a larger store begins with a smaller one, and the official split is kept. The mask of a patch has the
    class of every pixel; `source` has the country.

    Args:
        out: A new or empty folder, or an unfinished store of the same command.
        index: A file that `read_index` reads.
        patches: Records to take, from 1 to as many as there are.
        seed: Of the choice and of every picture, at least 0.
        geographic: Test on all of Portugal and Ireland; patches for testing elsewhere are in no part.
        keep_snow_and_clouds: Also take records flagged for snow, or for cloud or its shadow; the pictures show them.
        workers: Processes, or an engine; the store is the same for any.

    Raises:
        UserError: A value is out of range, the index is wrong, or the output cannot be used.
    """
    check_ranges(
        ("patches", patches, patches >= 1, "at least 1"),
        ("seed", seed, seed >= 0, "at least 0"),
    )
    records = _drawn(index, patches, seed, keep_snow_and_clouds)
    labels = label_sets(records["labels_mask"].to_numpy())
    plan = _plan(index, records, labels, geographic)
    print("\n".join(_summary(plan, labels)), file=sys.stderr)
    header = StoreHeader(
        bands=load_sensor("sentinel2_l2a").at_baseline("04.00").select(BANDS),
        classes=CLASSES_19,
        label_kind="many",
        pixel_size=10.0,
        provenance=_provenance(index, seed, geographic, keep_snow_and_clouds),
        licence="pixels: CC0-1.0; places, times and labels: that of BigEarthNet",
    )
    return build(out, plan, _Make(seed), header, shard_size=_SHARD_SIZE, workers=workers, title="real ground")


def check_ranges(*rules: tuple[str, object, bool, str]) -> None:
    """Refuse the first option out of range.

    Args:
        rules: Of each option its name, its value, whether the rule is kept, and the rule.

    Raises:
        UserError: Names the option, the value and the rule.
    """
    for name, value, kept, rule in rules:
        if not kept:
            raise UserError(f"--{name} {value} is out of range: it must be {rule}; change it")


def _drawn(index: Path, patches: int, seed: int, keep_snow_and_clouds: bool) -> pd.DataFrame:
    """The chosen records in the order of their rank."""
    records = read_index(index)
    if not keep_snow_and_clouds:
        records = records[~(records["contains_seasonal_snow"] | records["contains_cloud_or_shadow"])]
    if patches > len(records):
        kind = "" if keep_snow_and_clouds else " without flags for snow or cloud"
        raise UserError(f"--patches {patches} is out of range: {index} has {len(records)} records{kind}; ask for fewer")
    records = records.iloc[shuffled(records["patch_id"].tolist(), seed)[:patches]]
    strange = ~records["lat"].between(*_NORTHERN)
    if strange.any():
        name, lat = records.loc[strange, ["patch_id", "lat"]].iloc[0]
        raise UserError(
            f"{index}: patch {name!r} lies at latitude {lat}; seasons and climate are made for {_NORTHERN[0]:g}° to "
            f"{_NORTHERN[1]:g}° N, so leave it out of the index"
        )
    return records


def _plan(index: Path, records: pd.DataFrame, labels: np.ndarray, geographic: bool) -> pd.DataFrame:
    places = zip(records["epsg"], records["x0"], records["y0"], strict=True)
    return pd.DataFrame(
        {
            "id": records["patch_id"].to_numpy(),
            "place": [f"{epsg}/{x}/{y}" for epsg, x, y in places],
            "split": _split(records, geographic),
            "source": [f"{country}, {index.name}" for country in records["country"]],
            "lat": records["lat"].to_numpy(),
            "lon": records["lon"].to_numpy(),
            "time": pd.DatetimeIndex(records["date"]).tz_localize("UTC"),
            "label": [np.flatnonzero(row).tolist() for row in labels],
            "snow": records["contains_seasonal_snow"].to_numpy(),
            "cloud": records["contains_cloud_or_shadow"].to_numpy(),
        }
    )


def _split(records: pd.DataFrame, geographic: bool) -> np.ndarray:
    split = records["split"].map(SPLIT_NAMES).astype(object)
    if geographic:
        split = tested_only_there(split, records["country"].isin(_WEST))
    return split.to_numpy()


def _summary(plan: pd.DataFrame, labels: np.ndarray) -> list[str]:
    """How many patches each split has, and which classes are so rare that figures on them will mean little."""
    splits = {name: (plan["split"] == name).to_numpy() for name in ("train", "val", "test")}
    lines = ["SIMULATED pixels on real places, times and label sets: " + _counts(splits)]
    for number, name in enumerate(CLASSES_19):
        having = {split: labels[mine, number] for split, mine in splits.items()}
        if min(having["train"].sum(), having["test"].sum()) < _FEW:
            lines.append(f"few patches of {name!r}: " + _counts(having))
    return lines


def _counts(splits: dict[str, np.ndarray]) -> str:
    return ", ".join(f"{int(mine.sum())} {name}" for name, mine in splits.items())


def _provenance(index: Path, seed: int, geographic: bool, keep_snow_and_clouds: bool) -> str:
    parts = [
        f"SIMULATED pixels on real places, times and label sets: records of BigEarthNet v2 ({index.name}), rendered by "
        f"wherewhen's procedural ground, seed {seed}, parameters sha256 {digest()}",
        "no pixel is an observation",
        "records with snow, clouds or shadows " + ("kept" if keep_snow_and_clouds else "left out"),
    ]
    if geographic:
        parts.append(f"test: {' and '.join(_WEST)}, and no patch elsewhere")
    return "; ".join(parts)


@dataclass(frozen=True)
class _Make:
    """Renders one slice of the plan."""

    seed: int

    def __call__(self, plan: pd.DataFrame) -> Shard:
        here = ground(self.seed)
        shown = [here.patch(_record(row)) for row in plan.to_dict("records")]
        return Shard(plan, np.stack([p.pixels for p in shown]), np.stack([p.mask for p in shown]))


def _record(row: Mapping[Hashable, Any]) -> Record:
    """The record of a row of the plan."""
    return Record(
        name=row["id"],
        place=row["place"],
        lat=row["lat"],
        lon=row["lon"],
        time=np.datetime64(row["time"].tz_localize(None), "s"),
        labels=tuple(row["label"]),
        snow=row["snow"],
        cloud=row["cloud"],
    )
