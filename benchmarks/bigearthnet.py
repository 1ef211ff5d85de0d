"""Patches a second of BigEarthNet's ingest: twelve TIFFs read by Pillow, as we do it, and by rasterio.

One core, one process, warm files. The contestants take turns in one process:

- ours: `read_bands`, which reads every TIFF with Pillow, finds its place and repeats 20 m and 60 m pixels;
- rasterio: opens and reads every TIFF, and repeats the pixels in the same way;
- whole: `wherewhen prepare bigearthnet --bands all --workers 1`, with records, projections, checksums, and the store
  written and synced to the disk.

Before anything is timed, every number of the first two is compared. The patches are made for the purpose (smooth
fields with noise, so that deflate has as much to do as on real ones: they shrink to two thirds), as version 1 has
them (no compression) and as version 2 has them (deflate with predictor), or are those of a folder. Run:

    python benchmarks/bigearthnet.py [--patches 256] [--repeats 7] [--clock wall|cpu] [--folder UNPACKED]

On a machine that others use as well, --clock cpu counts this process's own processor time; waiting for the disk is
then left out.
"""

import argparse
import contextlib
import io
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import rasterio
from steps import in_turn, table

from wherewhen.bands import load_sensor
from wherewhen.ingest.bigearthnet import prepare
from wherewhen.ingest.bigearthnet_patch import SIZE, read_bands

BANDS = load_sensor("sentinel2_l2a").bands
OURS, RASTERIO, WHOLE = "ours", "rasterio", "whole ingest"
LAYOUTS = {"version 1, no compression": {}, "version 2, deflate": {"compress": "deflate", "predictor": 2}}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
EPSG, LEFT, TOP = 32633, 404_400, 5_342_400


def make_patches(root: Path, count: int, options: dict[str, object]) -> None:
    """Patches in the layout of version 1, whatever the compression."""
    rng = np.random.default_rng(0)
    projection = rasterio.CRS.from_epsg(EPSG).to_wkt()
    for number in range(count):
        name = f"S2A_MSIL2A_20170613T101031_{number // 100}_{number % 100}"
        (root / name).mkdir(parents=True)
        left, top = LEFT + 1200 * (number // 100), TOP - 1200 * (number % 100)
        for band in BANDS:
            write(root / name / f"{name}_{band.name}.tif", field(rng, int(1200 // band.resolution)), left, top, options)
        record = {
            "labels": ["Non-irrigated arable land", "Pastures"],
            "coordinates": {"ulx": left, "uly": top, "lrx": left + 1200, "lry": top - 1200},
            "projection": projection,
            "tile_source": "made for a benchmark",
            "acquisition_date": "2017-06-13 10:10:31",
        }
        (root / name / f"{name}_labels_metadata.json").write_text(json.dumps(record))


def field(rng: np.random.Generator, size: int) -> np.ndarray:
    """(size, size) uint16: coarse squares with noise."""
    coarse = rng.normal(1500, 400, (size // 10 + 1,) * 2).repeat(10, 0).repeat(10, 1)[:size, :size]
    return (coarse + rng.normal(0, 60, (size, size))).clip(1, 20_000).astype(np.uint16)


def write(path: Path, pixels: np.ndarray, left: float, top: float, options: dict[str, object]) -> None:
    size = len(pixels)
    transform = rasterio.Affine(1200 / size, 0, left, 0, -1200 / size, top)
    form = {"driver": "GTiff", "count": 1, "height": size, "width": size, "dtype": "uint16", "crs": f"EPSG:{EPSG}"}
    with rasterio.open(path, "w", transform=transform, **form, **options) as raster:
        raster.write(pixels, 1)


def by_ours(folder: Path, out: np.ndarray) -> None:
    read_bands(lambda name: (folder / name).read_bytes(), folder.name, BANDS, out)


def by_rasterio(folder: Path, out: np.ndarray) -> None:
    for plane, band in zip(out, BANDS, strict=True):
        with rasterio.open(folder / f"{folder.name}_{band.name}.tif") as raster:
            pixels = raster.read(1)
        plane[:] = pixels.repeat(SIZE // len(pixels), 0).repeat(SIZE // len(pixels), 1)


def compare(folders: Sequence[Path]) -> None:
    """Raise where a number differs."""
    one, other = (np.empty((len(BANDS), SIZE, SIZE), np.uint16) for _ in range(2))
    for folder in folders:
        by_ours(folder, one)
        by_rasterio(folder, other)
        np.testing.assert_array_equal(one, other, err_msg=str(folder))


def reading(
    read: Callable[[Path, np.ndarray], None], folders: Sequence[Path], now: Callable[[], float]
) -> Callable[[], float]:
    """A clock: seconds a patch."""
    out = np.empty((len(BANDS), SIZE, SIZE), np.uint16)

    def clock() -> float:
        start = now()
        for folder in folders:
            read(folder, out)
        return (now() - start) / len(folders)

    return clock


def preparing(source: Path, scratch: Path, now: Callable[[], float]) -> Callable[[], float]:
    """A clock of the whole ingest, seconds a patch."""

    def clock() -> float:
        shutil.rmtree(scratch / "store", ignore_errors=True)
        with contextlib.redirect_stderr(io.StringIO()):
            start = now()
            store = prepare(source, scratch / "store", classes=43, bands="all")
            return (now() - start) / len(store)

    return clock


def sources(arguments: argparse.Namespace, scratch: Path) -> Iterator[tuple[str, Path, list[Path]]]:
    """Title, the folder to prepare, and the patch folders in it."""
    if arguments.folder is not None:
        found = sorted({path.parent for path in arguments.folder.rglob("*_B01.tif")})
        yield str(arguments.folder), arguments.folder, found
        return
    for number, (title, options) in enumerate(LAYOUTS.items()):
        make_patches(scratch / str(number), arguments.patches, options)
        yield title, scratch / str(number), sorted((scratch / str(number)).iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--patches", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--folder", type=Path, help="unpacked patches of version 1 with twelve bands, instead")
    arguments = parser.parse_args()
    now = CLOCKS[arguments.clock]
    rows = [["patches", "read by", "patches/s", f"× {RASTERIO}"]]
    with tempfile.TemporaryDirectory() as name:
        for title, source, folders in sources(arguments, Path(name)):
            compare(folders)
            clocks = {
                OURS: reading(by_ours, folders, now),
                RASTERIO: reading(by_rasterio, folders, now),
                WHOLE: preparing(source, Path(name), now),
            }
            taken = in_turn(clocks, arguments.repeats)
            rows += [[title, way, f"{1 / t:,.0f}", f"{taken[RASTERIO] / t:.2f}"] for way, t in taken.items()]
    print(f"12 bands, warm files, one process, {arguments.clock} time; median of {arguments.repeats} rounds, in turn\n")
    print(table(rows))


if __name__ == "__main__":
    main()
