"""What the teacher expects where and when: a grey image with every place and every day ("Context Matters", figure 5).

Notation: N places told, C bands, K classes, S image size.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from wherewhen.analyse import graticule
from wherewhen.analyse.runs import add_arguments as add_run
from wherewhen.analyse.runs import chosen_classes, opened
from wherewhen.errors import UserError
from wherewhen.files import make_folder, write_text
from wherewhen.globe import together, wrapped
from wherewhen.plots import COLOURS, GRID, save
from wherewhen.tasks.asking import teacher_of
from wherewhen.tasks.task import LabelEfficient

GREY = 0.5  # of the unit range, in every band
CELLS, MARGIN = 60, 8.0  # of the map along each side, and degrees around the training's places
MONTHS = (15, 46, 75, 105, 136, 166, 197, 228, 258, 289, 319, 350)  # their middle days
BATCH = 512
DOTS = 3000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the analysis takes."""
    add_run(parser)
    parser.add_argument(
        "--class", nargs="+", dest="classes", metavar="C", help="(default: the four that depend most on where and when)"
    )


def run(args: argparse.Namespace) -> None:
    """Write `prior.png`, `prior_places.csv` and `prior_days.csv`.

    Raises:
        UserError: The run has no teacher, its data no places or days, or a class does not exist.
    """
    cli = opened(args.folder, args.store)
    task, data = cli.trained(), cli.datamodule
    where = data.where(data.train_rows)
    where = together(where[~np.isnan(where).any(1) if "time" in parts(task) else ~np.isnan(where[:, :2]).any(1)])
    if not len(where):
        raise UserError(f"no training patch of {data.path} has the place and time that the teacher takes")
    maps, days = expected_by_place(task, where), expected_by_day(task, where)
    assert task.facts is not None
    classes = list(task.facts.classes)
    spread = np.nanstd(maps["p"], axis=0) + np.std(days["p"].mean(1), axis=0)
    chosen = chosen_classes(args.classes, classes, np.argsort(-spread)[:4].tolist())
    out = make_folder(args.out or args.folder)
    frame = pd.DataFrame(maps["p"][:, chosen], columns=[classes[i] for i in chosen])
    write_text(out / "prior_places.csv", frame.assign(lat=maps["lat"], lon=maps["lon"]).to_csv(index=False))
    by_day = pd.DataFrame(days["p"].mean(1)[:, chosen], columns=[classes[i] for i in chosen])
    write_text(out / "prior_days.csv", by_day.assign(day=days["day"]).to_csv(index=False))
    draw(maps, days, where, {i: classes[i] for i in chosen}, out / "prior.png")
    print(f"{out / 'prior.png'}: {', '.join(classes[i] for i in chosen)}")


def parts(task: LabelEfficient) -> tuple[str, ...]:
    """What the run's teacher takes: "place", "time" or both.

    Raises:
        UserError: There is no teacher.
    """
    teacher_of(task)
    network: Any = task.objective.model
    return tuple(network.metadata.use)


@torch.no_grad()
def expected(task: LabelEfficient, where: np.ndarray) -> np.ndarray:
    """Probabilities (N, K) that the teacher gives a grey image at places and times (N, 3)."""
    assert task.facts is not None
    where = np.column_stack((where[:, 0], wrapped(where[:, 1]), where[:, 2]))
    task.eval()
    size, bands = task.facts.image_size, len(task.facts.bands)
    grey = task.scale(torch.full((1, bands, size, size), GREY, device=task.device))
    answer, found = teacher_of(task), []
    for told in torch.from_numpy(where.astype(np.float32)).split(BATCH):
        p = answer(grey.expand(len(told), -1, -1, -1), told.to(task.device)).softmax(-1)
        found.append(p if task.facts.label_kind == "one" else p[..., 1])
    probabilities: np.ndarray = torch.cat(found).float().cpu().numpy()
    return probabilities


def expected_by_place(task: LabelEfficient, where: np.ndarray) -> dict[str, np.ndarray]:
    """The mean over the months on a grid of places: `lat`, `lon` (N,) beyond 180 past the date line, `p` (N, K)."""
    (south, west), (north, east) = where[:, :2].min(0) - MARGIN, where[:, :2].max(0) + MARGIN
    rows, columns = np.linspace(max(south, -90), min(north, 90), CELLS), np.linspace(west, east, CELLS)
    lat, lon = (grid.ravel() for grid in np.meshgrid(rows, columns, indexing="ij"))
    p = np.mean([expected(task, np.column_stack((lat, lon, np.full(len(lat), day / 365)))) for day in MONTHS], axis=0)
    return {"lat": lat, "lon": lon, "p": p}


def expected_by_day(task: LabelEfficient, where: np.ndarray, places: int = 100) -> dict[str, np.ndarray]:
    """Every fifth day at some of the training's places: `day` (D,), `p` (D, places, K)."""
    here = where[np.linspace(0, len(where) - 1, min(places, len(where))).astype(int), :2]
    days = np.arange(1, 366, 5)
    p = [expected(task, np.column_stack((here, np.full(len(here), (day - 0.5) / 365)))) for day in days]
    return {"day": days, "p": np.stack(p)}


def draw(
    maps: dict[str, np.ndarray], days: dict[str, np.ndarray], where: np.ndarray, classes: dict[int, str], path: Path
) -> None:
    """Above a map a class, with the training's places as dots; below its curve over the year, 10 to 90 % of places."""
    figure = Figure(figsize=(3.4 * len(classes), 5.6))
    axes = figure.subplots(2, len(classes), squeeze=False, height_ratios=(1.6, 1))
    dots = where[np.linspace(0, len(where) - 1, min(DOTS, len(where))).astype(int)]
    for (index, name), colour, upper, lower in zip(classes.items(), COLOURS * 9, *axes, strict=False):
        graticule.prepare(upper, np.column_stack((maps["lat"], maps["lon"])), margin=0)
        shade = upper.pcolormesh(
            maps["lon"].reshape(CELLS, CELLS),
            maps["lat"].reshape(CELLS, CELLS),
            maps["p"][:, index].reshape(CELLS, CELLS),
            cmap="viridis",
            vmin=0,
            shading="nearest",
        )
        upper.plot(dots[:, 1], dots[:, 0], ".", color="white", markersize=0.8, alpha=0.5)
        upper.set_title(name, fontsize=9)
        figure.colorbar(shade, ax=upper, fraction=0.046, pad=0.03).ax.tick_params(labelsize=7)
        low, middle, high = np.quantile(days["p"][:, :, index], (0.1, 0.5, 0.9), axis=1)
        lower.fill_between(days["day"], low, high, color=colour, alpha=0.2, linewidth=0)
        lower.plot(days["day"], middle, color=colour)
        if not np.isnan(dots[:, 2]).all():
            lower.plot(dots[:, 2] * 365, np.zeros(len(dots)), "|", color="0.4", markersize=5, alpha=0.2)
        lower.set(xlim=(1, 365), ylim=(0, None), xlabel="day of the year")
        lower.tick_params(labelsize=7)
        lower.grid(**GRID)
    axes[1, 0].set_ylabel("probability, grey image")
    figure.suptitle("What the teacher expects of a grey image: mean of the months, and through the year", fontsize=10)
    figure.tight_layout()
    save(figure, path)
