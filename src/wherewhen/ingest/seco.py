"""Places seen on several dates: SeCo's and CACo's downloads, and others in their layout, such as SSL4EO-S12.

Layout: `PLACE/TIMESTAMP/BAND.tif`, perhaps inside one more folder; bands are called `B1` or `B01`. A million places are
planned without opening a file: only folders are listed. `docs/datasets.md` says what becomes of it.

Notation: C bands, S × S pixels of 10 m.

Sources: Mañas et al., Seasonal Contrast: Unsupervised Pre-Training from Uncurated Remote Sensing Data, 2021; Mall et
al., Change-Aware Sampling and Contrastive Learning for Satellite Images, 2023.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from wherewhen.bands import SHIFTED, Band, Sensor, load_sensor
from wherewhen.engines import Workers
from wherewhen.errors import UserError, note
from wherewhen.ingest.engine import Shard, build
from wherewhen.ingest.rasters import METHODS, Method, need_rasterio, read_band, resize
from wherewhen.ingest.seco_plan import band_files, find_root, first_image, plan_places, series
from wherewhen.store import PatchStore
from wherewhen.store_header import StoreHeader

Level = Literal["L1C", "L2A"]

RGB = ("B04", "B03", "B02")
FINE = ("B02", "B03", "B04", "B08")  # of 10 m: one of them lends its grid to the others

_SHARD_BYTES = 2**27


def prepare(
    source: Path,
    out: Path,
    *,
    bands: str = "rgb",
    level: Level | None = None,
    size: int = 264,
    min_dates: int = 1,
    resampling: Method = "bilinear",
    on_error: str = "stop",
    workers: Workers = 1,
) -> PatchStore:
    """Turn folders of places and dates into a PatchStore; the dates of a place make a target of kind `series`.

    All of it is for training: there is nothing to be tested on.

    Args:
        source: Folder of `PLACE/TIMESTAMP/BAND.tif`.
        out: A new or empty folder, or an unfinished store of the same command.
        bands: `rgb` (B04, B03, B02), `all` of the level, or names with commas between.
        level: Sentinel-2's processing level; by default L1C where the first image has a B10, else L2A.
        size: S, pixels of 10 m of the centre crop's side.
        min_dates: Places with fewer are left out.
        resampling: How bands of 20 m and 60 m are brought to 10 m; all bands are taken to cover the same ground.
        on_error: `stop` at the first bad image, or `skip` each and list them at the end.
        workers: Processes, or an engine.

    Raises:
        UserError: An option, an image or the output is wrong; the message says what to do.
    """
    for name, value in (("size", size), ("min-dates", min_dates)):
        if value < 1:
            raise UserError(f"--{name} {value} is out of range; it must be at least 1")
    need_rasterio()
    root = find_root(Path(source))
    level = level or _level(root)
    chosen = _choose_bands(load_sensor(f"sentinel2_{level.lower()}"), bands)
    names = tuple(band.name for band in chosen)
    plan = plan_places(root, min_dates)
    _check_times(plan, root, on_error)
    header = StoreHeader(
        bands=chosen,
        pixel_size=10.0,
        provenance=(
            f"Sentinel-2 {level} from {root.name}, PLACE/TIMESTAMP/BAND.tif; centre crop of {size} × {size}; bands of "
            f"20 and 60 m brought to 10 m ({resampling}); places with fewer than {min_dates} dates left out"
        ),
        licence="modified Copernicus Sentinel data",
    )
    return build(
        out, plan, _Make(root, names, size, resampling, on_error == "skip"), header,
        shard_size=max(1, _SHARD_BYTES // (2 * len(names) * size**2)), workers=workers, title="places and dates",
        targets=series(plan),
    )  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `wherewhen prepare seco` takes."""
    parser.add_argument("source", type=Path, help="folder of PLACE/TIMESTAMP/BAND.tif")
    parser.add_argument("out", type=Path, help="folder of the new store")
    parser.add_argument("--bands", default="rgb", metavar="BANDS", help="rgb (default), all, or names: B02,B03,B04,B08")
    parser.add_argument("--level", choices=("L1C", "L2A"), help="(default: L1C where the first image has a B10)")
    parser.add_argument("--size", type=int, default=264, metavar="PX", help="side of the centre crop (default 264)")
    parser.add_argument(
        "--min-dates", type=int, default=1, metavar="N", help="leave out places with fewer dates (default 1)"
    )
    parser.add_argument(
        "--resampling", choices=METHODS, default="bilinear", help="of bands of 20 m and 60 m (default bilinear)"
    )
    parser.add_argument(
        "--on-error", choices=("stop", "skip"), default="stop", help="at a bad image: stop (default), or skip and list"
    )


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    names = ("bands", "level", "size", "min_dates", "resampling", "on_error", "workers")
    prepare(args.source, args.out, **{name: getattr(args, name) for name in names})


def _level(root: Path) -> Level:
    return "L1C" if "B10" in first_image(root) else "L2A"


def _choose_bands(sensor: Sensor, bands: str) -> tuple[Band, ...]:
    if bands == "all":
        return sensor.bands
    return sensor.select(RGB if bands == "rgb" else bands.split(","))


def _check_times(plan: pd.DataFrame, root: Path, on_error: str) -> None:
    bad = plan[plan["problem"] != ""]
    if len(bad) and on_error != "skip":
        raise _bad_image(root, *bad[["id", "problem"]].iloc[0])
    shifted = int((plan["time"] >= pd.Timestamp(SHIFTED)).sum())
    if shifted:
        note(
            f"{shifted} images are of {SHIFTED:%Y-%m-%d} or later, when Sentinel-2's numbers were shifted by "
            "1000; they are taken as harmonised (Earth Engine's *_HARMONIZED collections)"
        )


# -- the images -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Make:
    """Reads the images of one slice of the plan; a bad one stops it, or is skipped."""

    root: Path
    bands: tuple[str, ...]
    size: int
    method: Method
    skip: bool

    def __call__(self, plan: pd.DataFrame) -> Shard:
        pixels = np.empty((len(plan), len(self.bands), self.size, self.size), np.uint16)
        kept: list[int] = []
        places: list[tuple[float, float]] = []
        skipped: list[tuple[str, str]] = []
        for position, (name, problem) in enumerate(zip(plan["id"], plan["problem"], strict=True)):
            try:
                if problem:
                    raise ValueError(problem)
                places.append(self._read(self.root / name, pixels[len(kept)]))
                kept.append(position)
            except (ValueError, OSError) as error:
                if not self.skip:
                    raise _bad_image(self.root, name, str(error)) from error
                skipped.append((name, str(error)))
        lat, lon = [lat for lat, _ in places], [lon for _, lon in places]
        rows = plan.iloc[kept].assign(lat=lat, lon=lon, source=plan["id"].iloc[kept], split="train")
        return Shard(rows, pixels[: len(kept)], skipped=skipped)

    def _read(self, folder: Path, out: np.ndarray) -> tuple[float, float]:
        """Fill `out` (C, S, S), and give latitude and longitude of its centre."""
        files = band_files(folder)
        for band in self.bands:
            if band not in files:
                raise ValueError(f"band {band} is missing")
        lender = next((band for band in FINE if band in files), None)
        if lender is None:
            raise ValueError(f"it has none of the bands of 10 m, {', '.join(FINE)}, whose grid the others take")
        fine, grid = read_band(folder / files[lender])
        top, left = ((length - self.size) // 2 for length in grid.shape)
        if min(top, left) < 0:
            raise ValueError(f"it has {grid.shape[0]} × {grid.shape[1]} pixels of 10 m, less than --size {self.size}")
        for plane, band in zip(out, self.bands, strict=True):
            pixels = fine if band == lender else read_band(folder / files[band])[0]
            plane[:] = resize(pixels, grid.shape, self.method)[top : top + self.size, left : left + self.size]
        return grid.centre(top, left, self.size, self.size)


def _bad_image(root: Path, name: str, problem: str) -> UserError:
    return UserError(f"{root / name}: {problem}; replace it, or leave out whatever is bad with --on-error skip")
