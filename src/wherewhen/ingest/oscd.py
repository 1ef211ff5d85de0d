"""OSCD, Onera's change detection: 24 cities at two dates, thirteen Sentinel-2 bands, and what was built in between.

Layout: a folder for each city with `dates.txt`, `imgs_1` and `imgs_2` (a TIFF a band, each at its own resolution) or
`imgs_1_rect` and `imgs_2_rect` (all on one grid); masks in `LABELS/CITY/cm/CITY-cm.tif`, 1 same and 2 change; the
official split in `train.txt` and `test.txt`. `docs/datasets.md` says what becomes of it.

Notation: C bands, H rows and W columns of date 1's 10 m grid.

Source: Caye Daudt et al., Urban Change Detection for Multispectral Earth Observation Using Convolutional Neural
Networks, 2018.
"""

import argparse
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wherewhen.bands import load_sensor
from wherewhen.engines import Workers
from wherewhen.errors import UserError, note
from wherewhen.ingest.engine import Shard, build
from wherewhen.ingest.oscd_city import BANDS, DATES, City, find, read_scene
from wherewhen.ingest.rasters import METHODS, Method, check_tiling, need_rasterio, tiles
from wherewhen.maps import UNKNOWN
from wherewhen.store import PatchStore
from wherewhen.store_header import StoreHeader

_SHARD_BYTES = 2**26
_LEAST_KNOWN = 0.5  # part of a tile that both dates show


def prepare(
    source: Path,
    out: Path,
    *,
    size: int = 96,
    stride: int | None = None,
    test: Sequence[str] = (),
    resampling: Method = "bilinear",
    on_error: str = "stop",
    workers: Workers = 1,
) -> PatchStore:
    """Turn OSCD into a PatchStore: tiles at both dates, and for masked cities a target of kind `change` each.

    A target's mask is 0 where nothing changed, 1 for change, 255 where a date shows nothing and where a tile that was
    moved inwards covers what its neighbour has already. Patches of a city without mask are for training.

    Args:
        source: Folder of the images, masks and lists, as unpacked; archives may lie in folders of their own.
        out: A new or empty folder, or an unfinished store of the same command.
        size: Pixels of a tile's side.
        stride: From tile to tile, `size` by default.
        test: Masked cities for testing, all others for training; the official lists by default.
        resampling: How bands of 20 m and 60 m, and date 2, are brought to date 1's 10 m grid. `imgs_*_rect` need none.
        on_error: `stop` at the first bad city, or `skip` each whole and list them at the end.
        workers: Processes, or an engine.

    Raises:
        UserError: An option, a file or the output is wrong; the message says what to do.
    """
    stride, source = check_tiling(size, stride), Path(source)
    need_rasterio()
    cities = find(source)
    split = _split(source, cities, test)
    plans = [_plan(source, city, split[city.name], size, stride, resampling, on_error) for city in cities]
    header = StoreHeader(
        bands=load_sensor("sentinel2_l1c").bands,
        pixel_size=10.0,
        provenance=_provenance(source, cities, test, resampling, size, stride),
        licence="images: modified Copernicus Sentinel data 2015-2018; masks: CC BY-NC-SA",
    )
    return build(
        out, pd.concat([rows for rows, _ in plans], ignore_index=True), _Make(source, resampling, size), header,
        shard_size=max(1, _SHARD_BYTES // (2 * len(BANDS) * size**2)), workers=workers, title="OSCD",
        targets=pd.concat([targets for _, targets in plans], ignore_index=True),
    )  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `wherewhen prepare oscd` takes."""
    parser.add_argument("source", type=Path, help="folder of the cities, masks and lists, as unpacked")
    parser.add_argument("out", type=Path, help="folder of the new store")
    parser.add_argument("--size", type=int, default=96, metavar="PX", help="side of a tile (default 96)")
    parser.add_argument("--stride", type=int, metavar="PX", help="from tile to tile (default: --size)")
    parser.add_argument(
        "--test", nargs="+", default=(), metavar="CITY", help="masked cities for testing (default: the official lists)"
    )
    parser.add_argument(
        "--resampling", choices=METHODS, default="bilinear", help="of coarse bands and date 2 (default bilinear)"
    )
    parser.add_argument(
        "--on-error", choices=("stop", "skip"), default="stop", help="at a bad city: stop (default), or skip and list"
    )


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    names = ("size", "stride", "test", "resampling", "on_error", "workers")
    prepare(args.source, args.out, **{name: getattr(args, name) for name in names})


# -- the split ------------------------------------------------------------------------------------


def _split(source: Path, cities: list[City], test: Sequence[str]) -> dict[str, str]:
    """City -> `train` or `test`."""
    masked = [city.name for city in cities if city.mask is not None]
    if test:
        for name in test:
            if name not in masked:
                raise UserError(f"--test {name} is no masked city in {source}; choose from {', '.join(masked)}")
    elif masked:
        test = sorted(_official(source, masked).intersection(masked))
    bare = [city.name for city in cities if city.mask is None]
    if bare:
        note(f"without mask, for pre-training only: {', '.join(bare)}")
    if not test:
        note("no masked city is for testing; name some with --test")
    return {city.name: "test" if city.name in test else "train" for city in cities}


def _official(source: Path, masked: Collection[str]) -> set[str]:
    """The cities of `test.txt`; every masked city must be in one of the two lists."""
    lists = {}
    for part in ("train", "test"):
        path = next((p for p in (source / f"{part}.txt", *sorted(source.glob(f"*/{part}.txt"))) if p.is_file()), None)
        if path is None:
            raise UserError(f"{source} has no {part}.txt, the official list; put it there, or name cities with --test")
        lists[part] = {name.strip() for name in path.read_text(encoding="utf-8").replace("\n", ",").split(",")}
    for name in masked:
        if name not in lists["train"] | lists["test"]:
            raise UserError(f"city {name!r} is in neither official list of {source}; name the test cities with --test")
    return lists["test"]


# -- tiles ----------------------------------------------------------------------------------------


def _plan(
    source: Path, city: City, split: str, size: int, stride: int, method: Method, on_error: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two rows a tile, and its target; a city that cannot be read is one row that says why."""
    rows: list[dict[str, Any]] = []
    targets: list[dict[str, Any]] = []
    shared = {"source": city.folder.relative_to(source).as_posix(), "split": split}
    try:
        scene = read_scene(city, method)
        windows = tiles(scene.grid.shape, size, stride)
    except ValueError as error:
        if on_error != "skip":
            raise UserError(f"{city.folder}: {error}; mend it, or leave the city out with --on-error skip") from error
        rows.append(shared | {"id": city.name, "problem": str(error)})
        return pd.DataFrame(rows), pd.DataFrame(columns=["id", "kind", "members", "mask"])
    for tile in windows:
        here = np.s_[tile.top : tile.top + size, tile.left : tile.left + size]
        known = scene.known[here]
        if known.mean() < _LEAST_KNOWN:
            continue
        place = f"{city.name}-r{tile.top:04d}-c{tile.left:04d}"
        lat, lon = scene.grid.centre(tile.top, tile.left, size, size)
        ids = [f"{place}-{date}" for date in DATES]
        at = {"place": place, "top": tile.top, "left": tile.left, "lat": lat, "lon": lon, "problem": ""}
        for name, date, time in zip(ids, DATES, scene.times, strict=True):
            rows.append(shared | at | {"id": name, "date": date, "time": time})
        if scene.mask is not None:
            mask = np.where(known, scene.mask[here], np.uint8(UNKNOWN))
            mask[: tile.fresh_top - tile.top] = UNKNOWN
            mask[:, : tile.fresh_left - tile.left] = UNKNOWN
            targets.append({"id": f"{place}-change", "kind": "change", "members": ids, "mask": mask})
    return pd.DataFrame(rows), pd.DataFrame(targets, columns=["id", "kind", "members", "mask"])


@dataclass(frozen=True)
class _Make:
    """Cuts the tiles of one slice of the plan out of its cities."""

    source: Path
    method: Method
    size: int

    def __call__(self, plan: pd.DataFrame) -> Shard:
        bad = plan[plan["problem"] != ""]
        rows = plan[plan["problem"] == ""]
        pixels = np.empty((len(rows), len(BANDS), self.size, self.size), np.uint16)
        done = 0
        for folder, of_city in rows.groupby("source", sort=False):
            scene = read_scene(City(str(folder), self.source / str(folder), None), self.method)
            for date, top, left in zip(*(of_city[key].astype(int) for key in ("date", "top", "left")), strict=True):
                pixels[done] = scene.pixels[int(date) - 1, :, top : top + self.size, left : left + self.size]
                done += 1
        return Shard(rows, pixels, skipped=list(zip(bad["id"], bad["problem"], strict=True)))


def _provenance(source: Path, cities: list[City], test: Sequence[str], method: Method, size: int, stride: int) -> str:
    parts = [
        f"OSCD (Caye Daudt et al., 2018) from {source.name}: {', '.join(city.name for city in cities)}",
        f"date 2 and bands of 20 and 60 m brought to the 10 m grid of date 1 ({method}), or imgs_*_rect as they are",
        f"tiles of {size} × {size} every {stride} pixels",
        f"test: {', '.join(test)}" if test else "official split",
        "days from dates.txt, at midnight",
    ]
    return "; ".join(parts)
