"""How right and how many pseudo-labels were through trainings that were watched ("Context Matters", figure 6)."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from wherewhen.errors import UserError
from wherewhen.files import make_folder, write_text
from wherewhen.plots import COLOURS, GRID, save

WINDOW = 5  # rows of metrics.csv that a smoothed curve is the mean of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the analysis takes."""
    parser.add_argument("--run", type=Path, nargs="+", required=True, dest="folders", metavar="RUN", help="runs")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the files go (default: the last run's)")


def run(args: argparse.Namespace) -> None:
    """Write `pseudo_labels.png` and `.csv`.

    Raises:
        UserError: A run was not watched, or two have one name.
    """
    if len({folder.name for folder in args.folders}) < len(args.folders):
        raise UserError("two of the runs have one name, so their curves could not be told apart; rename a folder")
    curves = {folder.name: read(folder) for folder in args.folders}
    out = make_folder(args.out or args.folders[-1])
    table = pd.concat([curve.assign(run=name) for name, curve in curves.items()])
    write_text(out / "pseudo_labels.csv", table.to_csv())
    draw(curves, out / "pseudo_labels.png")
    print(table.groupby("run", sort=False).tail(1).set_index("run").to_string(float_format=lambda x: f"{x:.3f}"))
    print(out / "pseudo_labels.png")


def read(folder: Path) -> pd.DataFrame:
    """Step -> `quantity` (share of decisions believed) and `quality` (share of those that are right).

    Of many labels also `quantity present` and `quality present`, of what is said to be there.

    Raises:
        UserError: The folder has no such figures.
    """
    path = folder / "metrics.csv"
    if not path.is_file():
        raise UserError(f"{folder} is no run, it has no metrics.csv; give a folder that `wherewhen fit --run` made")
    figures = pd.read_csv(path).pivot_table(index="step", columns="name", values="value")
    if "train/believed" not in figures:
        raise UserError(f"{folder} was trained without watching its pseudo-labels; train with --watch true")
    smooth = figures.rolling(WINDOW, min_periods=1, center=True).mean()
    found = {}
    for suffix in ("", "_present"):
        if f"train/believed{suffix}" in smooth:
            believed = smooth[f"train/believed{suffix}"]
            name = suffix.replace("_", " ")
            found[f"quantity{name}"] = believed
            found[f"quality{name}"] = smooth[f"train/right{suffix}"] / believed.where(believed > 0, np.nan)
    return pd.DataFrame(found).dropna(how="all")


def draw(curves: dict[str, pd.DataFrame], path: Path) -> None:
    """A panel a figure, a line a run."""
    names = list(dict.fromkeys(str(name) for curve in curves.values() for name in curve))
    figure = Figure(figsize=(4.2 * len(names) / 2, 5.2))
    titles = {
        "quantity": "share of decisions believed",
        "quality": "share of these that are right",
        "quantity present": "share believed to be there",
        "quality present": "share of these that are there",
    }
    for axes, name in zip(figure.subplots(2, len(names) // 2, sharex=True, squeeze=False).T.flat, names, strict=True):
        for colour, (run_name, curve) in zip(COLOURS, curves.items(), strict=False):
            axes.plot(curve.index, curve[name], color=colour, label=run_name, linewidth=1.5)
        axes.set(xlabel="step" if name.startswith("quality") else None)
        axes.set_title(titles[name], fontsize=9)
        axes.grid(**GRID)
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    save(figure, path)
