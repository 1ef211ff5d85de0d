"""Labels of pixels side by side: the image or the two dates, the truth, and what each run predicts.

As the authors of SeCo, CACo and SACo show segmentation and change. `wherewhen test` has written the runs' maps.

Notation: N test samples, H × W pixels at the runs' image size.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch as Swatch

from wherewhen.analyse.patches import colour, coloured
from wherewhen.errors import UserError
from wherewhen.files import read_yaml
from wherewhen.maps import UNKNOWN
from wherewhen.plots import save, true_colour
from wherewhen.store import PatchStore
from wherewhen.tasks.samples import Masked, Pairs, samples_of
from wherewhen.views import resize_mask

HATCHED, HATCH = "0.93", "////"  # where nobody knows the truth


class Maps(NamedTuple):
    """What a run predicts."""

    name: str
    ids: list[str]
    maps: np.ndarray  # (N, H, W) uint8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the analysis takes."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of tested runs on one store")
    parser.add_argument("--store", type=Path, metavar="S", help="their store, where it does not lie where it did")
    parser.add_argument("--out", type=Path, default=Path("pictures.png"), metavar="FILE", help="(default pictures.png)")
    parser.add_argument("--patches", type=int, default=6, metavar="N", help="samples, one a row (default 6)")


def run(args: argparse.Namespace) -> None:
    """Draw the picture.

    Raises:
        UserError: A run has no maps, or the runs are about different samples or stores.
    """
    if args.patches < 1:
        raise UserError(f"--patches {args.patches} is out of range; it must be at least 1")
    found = [read(folder) for folder in args.runs]
    for other in found[1:]:
        if other.ids != found[0].ids or other.maps.shape != found[0].maps.shape:
            raise UserError(
                f"{other.name} and {found[0].name} test other samples or sizes; compare runs of one split and size"
            )
    data = settings(args.runs[0])
    path = args.store or Path(data["store"])
    samples = samples_of(PatchStore.open(path), data["target"])
    assert isinstance(samples, Masked)  # only such have maps
    rows = samples.positions(found[0].ids, found[0].name)
    chosen = choose(samples, rows, args.patches)
    draw(samples, rows[chosen], [run._replace(maps=run.maps[chosen]) for run in found], args.out)
    print(f"{args.out}: {len(chosen)} of {len(rows)} test samples of {path}")


def read(folder: Path) -> Maps:
    """The maps that a test has written.

    Raises:
        UserError: There are none.
    """
    file = folder / "test_maps.npz"
    if not file.is_file():
        raise UserError(
            f"there is no {file}; run `wherewhen test` on a run with data.target mask or change (a test of more than "
            "200 MB keeps no maps)"
        )
    with np.load(file, allow_pickle=False) as content:
        return Maps(folder.name, content["ids"].tolist(), content["maps"])


def settings(folder: Path) -> dict[str, Any]:
    """`store` and `target` of a run's data.

    Raises:
        UserError: The folder holds no run; a folder within a run's, of another question, is one of the run's.
    """
    for place in (folder, folder.parent):
        if (place / "config.yaml").is_file():
            data = read_yaml(place / "config.yaml").get("data")
            if isinstance(data, dict):
                return data
    raise UserError(
        f"{folder} is no run, it has no config.yaml that names its data; give a folder that `wherewhen fit --run` made"
    )


def choose(samples: Masked, rows: np.ndarray, count: int) -> np.ndarray:
    """Up to `count` positions in `rows`, spread evenly over those with change or the most classes."""
    variety = (samples.counts(rows) > 0).sum(1)
    best = np.flatnonzero(variety >= min(variety.max(), np.sort(variety)[::-1][min(count, len(rows)) - 1]))
    chosen: np.ndarray = best[np.unique(np.linspace(0, len(best) - 1, min(count, len(best))).astype(int))]
    return chosen


def draw(samples: Masked, rows: np.ndarray, runs: list[Maps], path: Path) -> None:
    """A row a sample: image(s), truth, a column a run; the share of right pixels, or F1 of change, above each map."""
    size = runs[0].maps.shape[-1]
    truth = resize_mask(torch.from_numpy(samples.masks(rows)), size).numpy()
    if isinstance(samples, Pairs):
        shown = {name: samples.members[rows][:, date] for date, name in enumerate(("before", "after"))}
    else:
        shown = {"image": rows}
    images = {name: true_colour(samples.store, patches) for name, patches in shown.items()}
    columns = [*images, "truth", *(one.name for one in runs)]
    figure = Figure(figsize=(1.6 * len(columns), 1.8 * len(rows) + 0.7))
    for number, line in enumerate(figure.subplots(len(rows), len(columns), squeeze=False)):
        for axis, (name, pictures) in zip(line, images.items(), strict=False):
            axis.imshow(pictures[number])
            axis.set_title(name if number == 0 else "", fontsize=7)
        paint(line[len(images)], truth[number], truth[number], len(samples.classes))
        line[len(images)].set_title("truth" if number == 0 else "", fontsize=7)
        for axis, one in zip(line[len(images) + 1 :], runs, strict=True):
            paint(axis, one.maps[number], truth[number], len(samples.classes))
            score = scored(one.maps[number], truth[number], isinstance(samples, Pairs))
            axis.set_title(f"{one.name}\n{score}" if number == 0 else score, fontsize=7)
        for axis in line:
            axis.set_axis_off()
    there = np.unique(np.concatenate([truth, *(one.maps for one in runs)])).tolist()
    handles = [Swatch(color=colour(i, len(samples.classes)), label=samples.classes[i]) for i in there if i != UNKNOWN]
    if UNKNOWN in there:
        handles.append(Swatch(facecolor=HATCHED, edgecolor="0.5", hatch=HATCH, label="unknown"))
    figure.legend(handles=handles, loc="lower center", ncols=min(6, len(handles)), fontsize=7, frameon=False)
    figure.tight_layout(rect=(0, 0.5 / figure.get_figheight(), 1, 1), pad=0.4, h_pad=1.4)
    save(figure, path)


def paint(axis: Axes, mask: np.ndarray, truth: np.ndarray, classes: int) -> None:
    """Show a mask (H, W); hatched where the truth is unknown."""
    axis.imshow(coloured(np.where(truth == UNKNOWN, UNKNOWN, mask), classes), interpolation="nearest")
    void = truth == UNKNOWN
    if void.any():
        axis.contourf(void.astype(float), levels=[0.5, 1.5], colors="none", hatches=[HATCH])


def scored(predicted: np.ndarray, truth: np.ndarray, change: bool) -> str:
    """How right a map (H, W) is where the truth is known."""
    known = truth != UNKNOWN
    if not known.any():
        return ""
    said, true = predicted[known], truth[known]
    if not change:
        return f"{100 * (said == true).mean():.0f} % right"
    right = int(((said == 1) & (true == 1)).sum())
    total = int((said == 1).sum() + (true == 1).sum())
    return f"F1 {200 * right / total:.0f} %" if total else "no change"
