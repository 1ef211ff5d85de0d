"""One's own imagery and labels as a PatchStore: points and polygons, and unlabelled patches of the same scenes.

`docs/own-scenes.md` says what imagery and labels may look like, and what becomes of them.

Notation: C bands, S × S pixels of a patch.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from wherewhen.engines import Workers
from wherewhen.errors import UserError, note
from wherewhen.files import sha256_of
from wherewhen.ingest import labels, own_patches, own_plan
from wherewhen.ingest.engine import Shard, build
from wherewhen.ingest.own_plan import AUTO, NONE, TASKS, Task
from wherewhen.maps import UNKNOWN
from wherewhen.scenes import Scene, Window, find
from wherewhen.store import PatchStore
from wherewhen.store_header import StoreHeader

ALL = "all"
Finder = Callable[..., list[Scene]]  # as `wherewhen.scenes.find`
_T = TypeVar("_T", int, float)

_SHARD_BYTES = 2**26
_LARGEST_KM = 40_075  # of a block's side: around the globe
_ALIKE = 0.01  # pixel sizes that differ by less are one


def prepare(
    imagery: Sequence[str | Path] | str | Path,
    out: Path,
    *,
    labels_file: Path,
    class_column: str,
    task: Task = "map",
    size: int = 64,
    unlabelled: int | None = 1000,
    sensor: str | None = None,
    bands: Sequence[str] | None = None,
    mask_band: str | None = None,
    physical: bool = False,
    max_nodata: float = 0.1,
    max_cloud: float = 0.2,
    point_pixels: int = 1,
    time_column: str | None = None,
    labels_crs: str | None = None,
    block_km: float | str = AUTO,
    test_share: float = 0.2,
    seed: int = 0,
    on_error: str = "stop",
    workers: Workers = 1,
    find: Finder = find,
) -> PatchStore:
    """Turn scenes and labels into a PatchStore.

    Args:
        imagery: GeoTIFFs, SAFE folders, or folders of them; see `wherewhen.scenes.find`.
        out: A new or empty folder, or an unfinished store of the same command.
        labels_file: Points or polygons; see `wherewhen.ingest.labels.read`.
        class_column: Column of the class.
        task: `map`: labels are burnt into masks, 255 elsewhere, on a grid of patches; `patch`: one label a patch.
        size: Pixels of a patch's side.
        unlabelled: Patches without labels, at most; None takes all there are.
        sensor: Name or YAML file of the imagery's sensor.
        bands: Names of the bands.
        mask_band: Name of the band or file of clouds.
        physical: The files hold physical values, such as reflectance from 0 to 1.
        max_nodata: Patches with a larger share of pixels without data are skipped.
        max_cloud: Patches with a larger share of clouds are skipped, where there is a mask.
        point_pixels: Side of the square that a point burns.
        time_column: Column of the labels' time, which counts more than the imagery's.
        labels_crs: Reference system of the labels, if their file does not tell it.
        block_km: Side of the split's blocks in kilometres; `auto` reads it off the labels, `none` splits at random.
        test_share: Share of the labelled patches that is for testing, about.
        seed: Chooses blocks and unlabelled patches.
        on_error: `stop` at the first bad scene or patch, or `skip` each and list them.
        workers: Processes, or an engine.
        find: Finds the scenes in `imagery`.

    Raises:
        UserError: An option, a scene, a label or the output is wrong; the message says what to do.
    """
    _check(task, size, unlabelled, max_nodata, max_cloud, point_pixels, block_km, test_share)
    read = labels.read(Path(labels_file), class_column, time_column, labels_crs)
    scenes = find(imagery, sensor, bands, mask_band=mask_band, physical=physical, on_error=on_error)
    _tell(scenes)
    scenes = _large_enough(scenes, size, on_error)
    metres = float(np.median([scene.pixel_size for scene in scenes]))
    patch_km = size * metres / 1000
    labelled = own_plan.labelled(scenes, read, task, size, point_pixels)
    overlap = task == "patch" or len(scenes) > 1
    labelled, split = own_plan.split(labelled, size, block_km, patch_km, overlap, test_share, seed)
    others = own_plan.unlabelled(scenes, labelled, split, size, unlabelled, seed)
    plan = pd.concat([labelled, others], ignore_index=True)
    plan = plan.sort_values(["source", "top", "left", "id"], kind="stable", ignore_index=True)
    if task == "map":
        plan = plan.drop(columns="label")
    else:
        plan["label"] = plan["label"].where(plan["label"] >= 0).astype("Int64")
    told = [
        f"labels {_described(Path(labels_file))}, classes of {class_column}",
        f"{task} patches of {size} × {size}; at most {max_nodata:g} without data and {max_cloud:g} of clouds",
        f"split by blocks of {split.side:.4g} km" if split.side else "split at random",
        *(["physical values made digital numbers"] if physical else []),
    ]
    header = StoreHeader(
        bands=scenes[0].bands,
        classes=read.classes,
        label_kind="one" if task == "patch" else "none",
        pixel_size=_pixel_size(scenes, metres),
        provenance=_provenance(scenes, told),
    )
    by_name = {scene.name: scene for scene in scenes}
    store = build(
        out, plan, _Make(by_name, size, task, max_nodata, max_cloud, on_error == "skip"), header,
        shard_size=max(1, _SHARD_BYTES // (2 * len(header.bands) * size**2)), workers=workers, title="own imagery",
    )  # fmt: skip
    _summarise(store)
    return store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `wherewhen prepare folder` takes."""
    parser.add_argument("imagery", type=Path, nargs="+", help="GeoTIFFs, SAFE folders, or folders of them")
    add_options(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all but the imagery."""
    add = parser.add_argument
    add("out", type=Path, help="folder of the new store")
    add("--labels", type=Path, required=True, metavar="FILE", help="GeoJSON, GeoPackage, GeoParquet or CSV")
    add("--class-column", required=True, metavar="C", help="column of the class")
    add("--task", choices=TASKS, default="map", help="map: labels of pixels (default); patch: one label a patch")
    add("--size", type=int, default=64, metavar="PX", help="side of a patch (default 64)")
    add("--unlabelled", default="1000", metavar="N", help="patches without labels, at most (default 1000), or all")
    add("--sensor", metavar="S", help="sentinel2_l2a, landsat89_l2, naip, … or a YAML file (default: told from names)")
    add("--bands", nargs="+", metavar="B", help="which; of files that name none, all in their order")
    add("--mask-band", metavar="B", help="band or file of clouds, other than 0 is cloud (default: SCL, QA_PIXEL, …)")
    add("--physical", action="store_true", help="the files hold reflectance from 0 to 1, not digital numbers")
    add("--max-nodata", type=float, default=0.1, metavar="X", help="share of a patch without data (default 0.1)")
    add("--max-cloud", type=float, default=0.2, metavar="X", help="share of a patch under clouds (default 0.2)")
    add("--point-pixels", type=int, default=1, metavar="PX", help="side of the square that a point burns (default 1)")
    add("--time-column", metavar="C", help="column of the labels' time (default: the imagery's)")
    add("--labels-crs", metavar="CRS", help="of labels whose file does not tell it, such as EPSG:32632")
    add("--block-km", default=AUTO, metavar="K", help="side of the split's blocks; auto: by the labels (default), none")
    add("--test-share", type=float, default=0.2, metavar="X", help="of the labelled patches, about (default 0.2)")
    add(
        "--seed", type=int, default=0, metavar="S", help="another seed, other blocks and unlabelled patches (default 0)"
    )
    add("--on-error", choices=("stop", "skip"), default="stop", help="at a bad scene: stop (default), or skip and list")


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    prepare(args.imagery, args.out, **options(args))


def options(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `prepare`, but for imagery and output."""
    same = ("class_column", "task", "size", "sensor", "bands", "mask_band", "physical", "max_nodata", "max_cloud")
    more = ("point_pixels", "time_column", "labels_crs", "test_share", "seed", "on_error", "workers")
    return {
        "labels_file": args.labels,
        "unlabelled": None if args.unlabelled == ALL else _number("--unlabelled", args.unlabelled, int, ALL),
        "block_km": args.block_km
        if args.block_km in (AUTO, NONE)
        else _number("--block-km", args.block_km, float, AUTO),
        **{name: getattr(args, name) for name in (*same, *more)},
    }


def _number(option: str, text: str, kind: type[_T], word: str) -> _T:
    try:
        return kind(text)
    except ValueError as error:
        raise UserError(f"{option} {text!r} is neither a number nor {word!r}; correct it") from error


def _check(
    task: str, size: int, unlabelled: int | None, max_nodata: float, max_cloud: float, point_pixels: int,
    block_km: float | str, test_share: float,
) -> None:  # fmt: skip
    """Refuse what is out of range."""
    least = {"--size": (size, 8), "--point-pixels": (point_pixels, 1)}
    least["--unlabelled"] = (unlabelled or 0, 0)
    for option, (number, smallest) in least.items():
        if number < smallest:
            raise UserError(f"{option} {number} is out of range; it must be at least {smallest}")
    for option, share in {"--max-nodata": max_nodata, "--max-cloud": max_cloud}.items():
        if not 0 <= share <= 1:
            raise UserError(f"{option} {share} is out of range; it must be from 0 to 1")
    if not 0 < test_share < 1:
        raise UserError(f"--test-share {test_share} is out of range; it must be between 0 and 1")
    if task not in TASKS:
        raise UserError(f"--task {task!r} is unknown; use map or patch")
    if block_km not in (AUTO, NONE) and not (isinstance(block_km, int | float) and 0 < block_km < _LARGEST_KM):
        raise UserError(f"--block-km {block_km} is out of range; it must be above 0 and on this globe, or auto or none")


# -- the scenes -----------------------------------------------------------------------------------


def _tell(scenes: Sequence[Scene]) -> None:
    print(f"{len(scenes)} scenes, bands {', '.join(band.name for band in scenes[0].bands)}:")
    for scene in scenes:
        height, width = scene.grid.shape
        time = f"{scene.time:%Y-%m-%d %H:%M} ({scene.time_from})" if scene.time else "no time"
        mask = f", clouds by {scene.mask_kind}" if scene.mask else ""
        crs = scene.grid.crs if len(scene.grid.crs) < 24 else "own projection"
        print(f"  {scene.name}: {height} × {width} pixels of {scene.pixel_size:.3g} m, {crs}, {time}{mask}")


def _large_enough(scenes: Sequence[Scene], size: int, on_error: str) -> list[Scene]:
    small = [scene for scene in scenes if min(scene.grid.shape) < size]
    if small and (on_error != "skip" or len(small) == len(scenes)):
        rows, columns = small[0].grid.shape
        raise UserError(
            f"{small[0].name} has {rows} × {columns} pixels, less than a patch of {size} × {size}; "
            "choose a smaller --size, or leave such scenes out with --on-error skip"
        )
    for scene in small:
        note(f"skipped scene {scene.name}: smaller than a patch")
    return [scene for scene in scenes if min(scene.grid.shape) >= size]


def _pixel_size(scenes: Sequence[Scene], metres: float) -> float | None:
    """Of all scenes, None where they differ."""
    sizes = [scene.pixel_size for scene in scenes]
    if max(sizes) > (1 + _ALIKE) * min(sizes):
        note(
            f"pixels are of {min(sizes):.3g} to {max(sizes):.3g} m, so patches show more ground in some scenes "
            "than in others; prepare each resolution by itself if that matters"
        )
        return None
    return float(f"{metres:.6g}")


def _provenance(scenes: Sequence[Scene], told: Sequence[str]) -> str:
    sensors, names = sorted({scene.sensor for scene in scenes}), [scene.name for scene in scenes]
    clouds = sorted({f"clouds by {scene.mask_kind}" for scene in scenes if scene.mask})
    return "; ".join([f"own imagery ({', '.join(sensors)}): {', '.join(names)}", *told, *clouds])


def _described(labels_file: Path) -> str:
    """The file and its digest; a folder of files, such as a .gdb, has a name alone."""
    return f"{labels_file.name}, sha256 {sha256_of(labels_file)}" if labels_file.is_file() else labels_file.name


# -- the patches ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Make:
    """Reads the patches of one slice of the plan, by windows."""

    scenes: dict[str, Scene]
    size: int
    task: Task
    max_nodata: float
    max_cloud: float
    skip: bool

    def __call__(self, plan: pd.DataFrame) -> Shard:
        first = next(iter(self.scenes.values()))
        pixels = np.empty((len(plan), len(first.bands), self.size, self.size), first.dtype)
        kept: list[int] = []
        skipped: list[tuple[str, str]] = []
        for position, (name, source, top, left) in enumerate(
            zip(plan["id"], plan["source"], plan["top"], plan["left"], strict=True)
        ):
            try:
                look = self.scenes[source].look(Window(int(top), int(left), self.size, self.size))
            except ValueError as error:
                if not self.skip:
                    raise UserError(
                        f"{error}; fetch it again, or leave out what is bad with --on-error skip"
                    ) from error
                skipped.append((name, str(error)))
                continue
            if reason := self._refused(look.seen, look.clear):
                skipped.append((name, reason))
                continue
            pixels[len(kept)] = look.pixels
            kept.append(position)
        rows = plan.iloc[kept]
        return Shard(rows, pixels[: len(kept)], self._masks(rows) if self.task == "map" else None, skipped)

    def _refused(self, seen: np.ndarray, clear: np.ndarray) -> str:
        """Why a patch is left out; empty if it is not."""
        gone, cloud = 1 - seen.mean(), float((seen & ~clear).sum() / max(1, seen.sum()))
        if gone > self.max_nodata or not seen.any():
            return f"{gone:.0%} of it has no data"
        return f"{cloud:.0%} of it is under clouds" if cloud > self.max_cloud else ""

    def _masks(self, rows: pd.DataFrame) -> np.ndarray:
        masks = np.full((len(rows), self.size, self.size), UNKNOWN, np.uint8)
        for mask, burn, top, left in zip(masks, rows["burn"], rows["top"], rows["left"], strict=True):
            if burn:
                mask[:] = own_patches.burnt(burn, int(top), int(left), self.size)
        return masks


def _summarise(store: PatchStore) -> None:
    known = store.table["mask_shard"].notna() if store.has_masks else pd.Series(store.labels() >= 0)
    parts = store.table["split"][known.to_numpy(dtype=bool)].value_counts()
    told = ", ".join(f"{parts.get(part, 0)} for {use}" for part, use in _USES.items())
    print(f"{store.path}: {len(store)} patches; with labels: {told}; without: {int((~known).sum())}")


_USES = {"train": "training", "val": "validation", "test": "testing"}
