"""`wherewhen predict`: maps of scenes, or a table of patches, from a trained student and images alone."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from wherewhen.engines import Engine, options
from wherewhen.errors import UserError
from wherewhen.files import alone

if TYPE_CHECKING:
    from wherewhen.predict.making import Map
    from wherewhen.predict.network import Weights
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
    words.add_argument("--physical", action="store_true", help="files hold reflectance from 0 to 1, not stored numbers")
    words.add_argument("--window", type=int, default=512, help="of pixels at a time, for maps of pixels (default 512)")
    words.add_argument("--overlap", type=int, default=128, help="context of a window in pixels (default 128)")
    words.add_argument("--step", type=int, help="pixels a cell, for maps of patches (default: the patches' side)")
    words.add_argument("--probabilities", action="store_true", help="also the probability of every class, in per cent")
    words.add_argument("--flips", action="store_true", help="mean over four mirror images; four times the work")
    words.add_argument(
        "--batch", type=int, default=0, help="windows or patches at a time (default: 1 window, 64 patches)"
    )
    words.add_argument("--device", help="cpu, cuda, cuda:1 … (default: a GPU where there is one; on a cluster, cpu)")
    options.add_arguments(words, workers=1)
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
    with options.opened(args, gpu=(args.device or "").startswith("cuda")) as engine:
        return of_scenes(args, engine) if args.store is None else of_store(args, engine)


def weights_of(args: argparse.Namespace, engine: Engine) -> tuple["Weights", "Weights"]:
    """The run's weights as this process needs them, to know what they are, and as workers do."""
    from wherewhen.predict.network import Weights

    weights = Weights.of(args.run, args.flips, args.device)
    if args.engine == "ray":  # workers have the GPUs, this process need not
        return replace(weights, device="cpu"), replace(weights, device=args.device or "cpu", threads=1)
    return weights, weights if engine.workers == 1 else replace(weights, threads=1)


def of_store(args: argparse.Namespace, engine: Engine) -> int:
    """A table of a store's patches."""
    from wherewhen.predict import table
    from wherewhen.store import PatchStore

    here, there = weights_of(args, engine)
    student, store = here.network().student, PatchStore.open(args.store)
    with Bar(store.path.name) as bar:
        count = table.predict(store, student, there, args.out, args.batch or 64, engine, bar.share, args.split)
    print(f"{args.out}: {count} patches of {store.path}")
    return 0


def of_scenes(args: argparse.Namespace, engine: Engine) -> int:
    """Maps of scenes; 1 where a scene could not be read."""
    from wherewhen.bands import Sensor
    from wherewhen.predict import grid_map, making, scene_map
    from wherewhen.scenes import find

    here, there = weights_of(args, engine)
    network = here.network()
    student = network.student
    if (student.kind == "change") != (args.after is not None):
        raise UserError("a run of change takes --scenes and --after, any other --scenes alone")
    wanted = student.bands
    sensor = args.sensor or Sensor("training", "Bands of the training", wanted)

    def found(paths: Sequence[Path]) -> list["Scene"]:
        names = args.bands or [band.name for band in wanted]
        scenes = find(paths, sensor, names, mask_band=args.mask_band, physical=args.physical)
        return [scene.as_bands(wanted) for scene in scenes]

    first = found(args.scenes)
    pairs: list[tuple[Scene, ...]] = [(scene,) for scene in first]
    if args.after is not None:
        pairs = paired(first, found(args.after))
    settings = scene_map.Settings(args.window, args.overlap, args.batch or 1, args.probabilities)
    maps: list[Map] = []
    with alone(args.out):
        for scenes in pairs:
            try:
                if network.dense:
                    maps.append(scene_map.SceneMap.of(scenes, network, args.out, settings))
                else:
                    maps.append(grid_map.GridMap.of(scenes[0], network, args.out, args.step, args.batch or 64))
            except ValueError as error:
                print(f"failed: {scenes[0].name}: {error}")
        failed = len(pairs) - len(maps)
        if maps:
            with Bar(maps[0].name if len(maps) == 1 else f"{len(maps)} scenes") as bar:
                failed += making.make(maps, there, engine, args.out, making.Listener(bar.share, bar.line))
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


class Bar:
    """A progress bar on stderr; lines for stdout come between."""

    def __init__(self, title: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task(title, total=1.0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def share(self, done: float) -> None:
        """Show the share that is done."""
        self._progress.update(self._task, completed=done)

    def line(self, text: str) -> None:
        """Print to stdout, which the running bar would catch."""
        self._progress.stop()
        print(text)
        self._progress.start()
