"""The synthetic world as a PatchStore: no input, every patch with place, time, label and mask.

`docs/world.md` says how it is made and what it is not. Nothing in it is a real place or a real image. With an
index of real places it renders these instead: see `wherewhen.ingest.ground`.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from wherewhen.bands import load_sensor
from wherewhen.engines import Workers
from wherewhen.errors import UserError
from wherewhen.ingest import ground
from wherewhen.ingest.engine import Shard, build
from wherewhen.splits import rank
from wherewhen.store import PatchStore
from wherewhen.store_header import StoreHeader
from wherewhen.world import BANDS, COVERS, digest, world

Labels = Literal["one", "many"]

_SHARD_SIZE = 512
_SPLIT_SEED = 0  # of the hash that splits places: one split, whatever the world
_TRAIN, _VAL = 0.7, 0.1  # shares of the places; the rest is for testing


def prepare(
    out: Path,
    *,
    patches: int = 6000,
    seed: int = 0,
    visits: int = 1,
    periods: int = 1,
    labels: Labels = "one",
    share: float = 0.1,
    workers: Workers = 1,
) -> PatchStore:
    """Render a synthetic world into a PatchStore.

    The store holds `patches` × `visits` × `periods` images, grouped by place, then period, then date. A place is
    for training (70 %), validation (10 %) or testing (20 %) by a hash of its name, with all its images. With two
    periods, `targets` has the pair of images before and after for each visit (kind `change`, mask 1 where the
    cover changed, else 0); with several visits, the images of a period in the order of their dates (`series`).

    Args:
        out: A new or empty folder, or an unfinished store of the same command.
        patches: Places, at least 1.
        seed: Which world, at least 0.
        visits: Dates of a place in each period, at least 1; each in its own part of the year.
        periods: 1, or 2 that lie years apart, with change of land cover between them at some places.
        labels: `one`, the commonest cover of the patch, or `many`, every cover of at least `share` of it.
        share: For many labels, in (0, 1].
        workers: Processes, or an engine; the store is the same for any.

    Raises:
        UserError: A value is out of range, or the output cannot be used.
    """
    ground.check_ranges(
        ("patches", patches, patches >= 1, "at least 1"),
        ("seed", seed, seed >= 0, "at least 0"),
        ("visits", visits, 1 <= visits <= 52, "from 1 to 52"),
        ("periods", periods, periods in (1, 2), "1 or 2"),
        ("labels", labels, labels in ("one", "many"), "one or many"),
        ("share", share, 0 < share <= 1, "above 0 and at most 1"),
    )
    plan = _plan(seed, patches, visits, periods)
    header = StoreHeader(
        bands=load_sensor("sentinel2_l2a").at_baseline("04.00").select(BANDS),
        classes=COVERS,
        label_kind=labels,
        pixel_size=10.0,
        provenance=_provenance(seed, visits, periods, labels, share),
        licence="CC0-1.0",
    )
    make = _Make(seed, visits, labels, share)
    return build(
        out, plan, make, header,
        shard_size=_SHARD_SIZE, workers=workers, title="synthetic world", targets=_targets(seed, plan),
    )  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `wherewhen prepare world` takes."""
    parser.add_argument("out", type=Path, help="folder of the new store")
    parser.add_argument("--patches", type=int, default=6000, metavar="N", help="places (default 6000)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="which world (default 0)")
    ours = parser.add_argument_group("a continent that does not exist")
    ours.add_argument("--visits", type=int, metavar="V", help="dates of a place a period (default 1)")
    ours.add_argument(
        "--periods", type=int, metavar="P", help="2: a second period years later, with change (default 1)"
    )
    ours.add_argument("--labels", choices=("one", "many"), help="the commonest cover (default), or all of --share")
    ours.add_argument("--share", type=float, metavar="X", help="part of a patch that earns a label (default 0.1)")
    real = parser.add_argument_group("simulated pixels on real places, times and label sets")
    real.add_argument("--index", type=Path, metavar="FILE", help="records of BigEarthNet version 2 (.csv or .csv.gz)")
    real.add_argument("--geographic", action="store_true", help="test on Portugal and Ireland, train elsewhere")
    real.add_argument(
        "--keep-snow-and-clouds", action="store_true", help="also records flagged for snow, cloud, shadow"
    )


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for.

    Raises:
        UserError: Options of the one kind of world are given for the other, or as `prepare` says.
    """
    common = {"patches": args.patches, "seed": args.seed, "workers": args.workers}
    ours = _given(args, ("visits", "periods", "labels", "share"))
    real = _given(args, ("geographic", "keep_snow_and_clouds"))
    if args.index is None:
        _refuse(real, "is about the records of an index; give --index FILE, or leave it out")
        prepare(args.out, **common, **ours)
    else:
        _refuse(ours, "does not go with --index, whose records fix dates and labels; leave out one of them")
        ground.prepare(args.out, args.index, **common, **real)


def _given(args: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    """The options that were given, by name."""
    values = {name: getattr(args, name) for name in names}
    return {name: value for name, value in values.items() if value is not None and value is not False}


def _refuse(options: dict[str, Any], reason: str) -> None:
    for name in options:
        raise UserError(f"--{name.replace('_', '-')} {reason}")


def _plan(seed: int, patches: int, visits: int, periods: int) -> pd.DataFrame:
    """One row an image, sorted by place, period and visit."""
    number, period, visit = (
        grid.ravel() for grid in np.meshgrid(np.arange(patches), np.arange(periods), np.arange(visits), indexing="ij")
    )
    place = [f"world{seed}-{n:06d}" for n in number]
    several = visits * periods > 1
    return pd.DataFrame(
        {
            "id": [f"{p}-p{t}-v{v}" if several else p for p, t, v in zip(place, period, visit, strict=True)],
            "place": place,
            "split": _split(place),
            "source": f"synthetic world {seed}",
            "number": number,
            "period": period,
            "visit": visit,
        }
    )


def _split(places: list[str]) -> np.ndarray:
    """`train`, `val` or `test` by the hash of the place's name."""
    position = rank(places, _SPLIT_SEED) / 2.0**64
    return np.select([position < _TRAIN, position < _TRAIN + _VAL], ["train", "val"], "test")


def _targets(seed: int, plan: pd.DataFrame) -> pd.DataFrame | None:
    rows = [*_series(plan), *_changes(seed, plan)]
    return pd.DataFrame(rows, columns=["id", "kind", "members", "mask"]) if rows else None


def _series(plan: pd.DataFrame) -> list[tuple[str, str, list[str], None]]:
    if not plan["visit"].any():
        return []
    groups = plan.groupby(["place", "period"], sort=False)["id"]
    return [(f"{place}-p{period}", "series", list(ids), None) for (place, period), ids in groups]


def _changes(seed: int, plan: pd.DataFrame) -> list[tuple[str, str, list[str], np.ndarray]]:
    if not plan["period"].any():
        return []
    here, rows = world(seed), []
    for place, images in plan.groupby("place", sort=False):
        mask = here.change(int(images["number"].iloc[0]))
        before, after = (images.loc[images["period"] == period, "id"] for period in (0, 1))
        pairs = enumerate(zip(before, after, strict=True))
        rows += [(f"{place}-change-v{visit}", "change", list(pair), mask) for visit, pair in pairs]
    return rows


def _provenance(seed: int, visits: int, periods: int, labels: Labels, share: float) -> str:
    rule = "commonest cover" if labels == "one" else f"every cover of at least {share:g} of the patch"
    return (
        f"SYNTHETIC: wherewhen's procedural world, seed {seed}, parameters sha256 {digest()}; "
        f"no real place, no real image; {visits} visits in each of {periods} periods; label: {rule}"
    )


@dataclass(frozen=True)
class _Make:
    """Renders one slice of the plan."""

    seed: int
    visits: int
    labels: Labels
    share: float

    def __call__(self, plan: pd.DataFrame) -> Shard:
        here = world(self.seed)
        shown = [
            here.patch(int(number), int(period), int(visit), self.visits)
            for number, period, visit in zip(plan["number"], plan["period"], plan["visit"], strict=True)
        ]
        masks = np.stack([patch.mask for patch in shown])
        rows = plan.assign(
            lat=[patch.lat for patch in shown],
            lon=[patch.lon for patch in shown],
            time=pd.DatetimeIndex([patch.time for patch in shown], tz="UTC"),
            label=pd.Series(self._labels(masks), index=plan.index),
        )
        return Shard(rows, np.stack([patch.pixels for patch in shown]), masks)

    def _labels(self, masks: np.ndarray) -> list[int] | list[list[int]]:
        """Of masks (n, H, W): the commonest cover of each, or the list of those with their share."""
        shares = (masks[..., None] == np.arange(len(COVERS))).mean((1, 2))
        if self.labels == "one":
            return [int(row.argmax()) for row in shares]
        return [np.flatnonzero(row >= self.share).tolist() for row in shares]
