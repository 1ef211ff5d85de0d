"""`wherewhen predict`: maps of scenes, or a table of patches, from a trained student and images alone."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from wherewhen.errors import UserError
from wherewhen.files import make_folder, sha256_of

if TYPE_CHECKING:
    from wherewhen.scenes import Scene


def parser() -> argparse.ArgumentParser:
    """What the verb takes."""
    words = argparse.ArgumentParser(prog="wherewhen predict", description=__doc__)
    words.add_argument("--run", type=Path, required=True, help="folder of a run, or a file of `wherewhen export`")
    words.add_argument("--scenes", type=Path, nargs="+", metavar="PATH", help="GeoTIFFs, SAFE folders, folders of them")
    words.add_argument("--after", type=Path, nargs="+", metavar="PATH", help="for change: the later date of each scene")
    words.add_argument(
        "--store", type=Path, metavar="S", help="a store in place of scenes; gives a table of its patches"
    )
    words.add_argument("--split", help="with --store: only this part of it")
    words.add_argument("--out", type=Path, required=True, help="folder of maps; with --store a .parquet or .csv file")
    words.add_argument("--sensor", help="of the scenes: a name or a YAML file (default: the training's bands)")
    words.add_argument("--bands", nargs="+", help="names of the files' bands, in their order, where they do not say")
    words.add_argument(
        "--mask-band", help="name of the band or file of clouds, if not SCL, QA_PIXEL, Fmask, udm2, QA60"
    )
    words.add_argument("--window", type=int, default=512, help="of pixels at a time, for maps of pixels (default 512)")
    words.add_argument("--overlap", type=int, default=128, help="context of a window in pixels (default 128)")
    words.add_argument("--step", type=int, help="pixels a cell, for maps of patches (default: the patches' side)")
    words.add_argument("--probabilities", action="store_true", help="also the probability of every class, in per cent")
    words.add_argument("--flips", action="store_true", help="mean over four mirror images; four times the work")
    words.add_argument(
        "--batch", type=int, default=0, help="windows or patches at a time (default: 1 window, 64 patches)"
    )
    words.add_argument("--device", help="cpu, cuda, cuda:1 … (default: a GPU where there is one)")
    return words


def main(argv: Sequence[str]) -> int:
    """Run `wherewhen predict`.

    Raises:
        UserError: The run, a scene or an option is wrong, or nothing can be written.
    """
    args = parser().parse_args(argv)
    if (args.scenes is None) == (args.store is None):
        raise UserError("give either --scenes for maps, or --store for a table of its patches")
    for name in ("window", "step"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise UserError(f"--{name} is {getattr(args, name)}; it counts pixels and must be at least 1")
    if args.overlap < 0 or args.batch < 0:
        raise UserError("--overlap and --batch cannot be below 0")
    if args.store is not None:
        return of_store(args)
    return of_scenes(args)


def of_store(args: argparse.Namespace) -> int:
    """A table of a store's patches."""
    from wherewhen.predict import table
    from wherewhen.store import PatchStore
    from wherewhen.student import load

    student, store = load(args.run, args.device), PatchStore.open(args.store)
    with bar(store.path.name) as tell:
        count = table.predict(store, student, args.out, args.batch or 64, tell, args.split)
    print(f"{args.out}: {count} patches of {store.path}")
    return 0


def of_scenes(args: argparse.Namespace) -> int:
    """Maps of scenes; 1 where a scene could not be read."""
    from wherewhen.bands import Sensor
    from wherewhen.predict import grid_map, scene_map
    from wherewhen.predict.network import Network
    from wherewhen.scenes import find
    from wherewhen.student import load

    student = load(args.run, args.device)
    network = Network(student, digest(args.run, args.flips), args.flips)
    if (student.kind == "change") != (args.after is not None):
        raise UserError("a run of change takes --scenes and --after, any other --scenes alone")
    wanted = student.bands
    sensor = args.sensor or Sensor("training", "Bands of the training", wanted)

    def found(paths: Sequence[Path]) -> list["Scene"]:
        names = args.bands or [band.name for band in wanted]
        return [scene.as_bands(wanted) for scene in find(paths, sensor, names, mask_band=args.mask_band)]

    first = found(args.scenes)
    pairs: list[tuple[Scene, ...]] = [(scene,) for scene in first]
    if args.after is not None:
        pairs = paired(first, found(args.after))
    make_folder(args.out)
    settings = scene_map.Settings(args.window, args.overlap, args.batch or 1, args.probabilities)
    failed = 0
    for scenes in pairs:
        try:
            with bar(scenes[0].name) as tell:
                if network.dense:
                    made = scene_map.predict(scenes, network, args.out, settings, tell)
                else:
                    made = grid_map.predict(scenes[0], network, args.out, args.step, args.batch or 64, tell)
        except ValueError as error:
            failed += 1
            print(f"failed: {scenes[0].name}: {error}")
            continue
        print(*made, sep="\n")
    return int(failed > 0)


def paired(before: Sequence["Scene"], after: Sequence["Scene"]) -> list[tuple["Scene", ...]]:
    """Scenes of two dates, in the order of their names.

    Raises:
        UserError: They are not as many, or not on one grid.
    """
    if len(before) != len(after):
        raise UserError(f"{len(before)} scene(s) before and {len(after)} after; give one after for each before")
    for one, other in zip(before, after, strict=True):
        if one.grid != other.grid:
            raise UserError(
                f"{one.name} and {other.name} lie on different grids; warp one onto the other (gdalwarp -r bilinear)"
            )
    return list(zip(before, after, strict=True))


def digest(run: Path, flips: bool) -> str:
    """Of the weights, and of how they are asked."""
    file = run / "checkpoints" / "last.ckpt" if run.is_dir() else run
    return f"{sha256_of(file)} {flips}"


@contextmanager
def bar(title: str) -> Iterator[Callable[[float], None]]:
    """A progress bar on stderr; it is told the share that is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=1.0)
        yield lambda share: progress.update(task, completed=share)
