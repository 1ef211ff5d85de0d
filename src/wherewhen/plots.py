"""Pictures of a run. They hold no date and no version, so equal figures give equal bytes."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from wherewhen.files import atomic_path

matplotlib.use("Agg")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # told apart by all eyes
GRID = {"color": "0.9", "linewidth": 0.6}


def save(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130, bbox_inches="tight", metadata={"Software": None})


def curves(metrics: Path, path: Path) -> None:
    """Losses, accepted pseudo-labels and validation metric by step, from a run's `metrics.csv`."""
    table = pd.read_csv(metrics)
    panels = {
        "loss": [n for n in table["name"].unique() if n.startswith("train/") and n != "train/accepted"],
        "accepted pseudo-labels": [n for n in table["name"].unique() if n == "train/accepted"],
        "validation accuracy or mAP (%)": [
            n for n in table["name"].unique() if n in ("val/accuracy", "val/balanced_accuracy", "val/map_macro")
        ],
    }
    shown = {title: names for title, names in panels.items() if names}
    figure = Figure(figsize=(4.2 * len(shown), 3.2))
    for axes, (title, names) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
        for name, colour in zip(names, COLOURS, strict=False):
            rows = table[table["name"] == name]
            axes.plot(rows["step"], rows["value"], color=colour, label=name.partition("/")[2], linewidth=1.4)
        axes.set(xlabel="step", title=title)
        axes.grid(**GRID)
        if len(names) > 1:
            axes.legend(frameon=False, fontsize=7)
    figure.tight_layout()
    save(figure, path)


def confusion(counts: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Confusion matrix (C, C), rows the truth, coloured by the share of the row, with counts."""
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = 1.8 + 0.5 * len(classes)
    figure = Figure(figsize=(side + 0.6, side))
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(len(classes)), classes, fontsize=8)
    axes.set(xlabel="predicted", ylabel="true")
    for row, column in np.ndindex(*counts.shape):
        if counts[row, column]:
            dark = share[row, column] > 0.55
            axes.text(
                column,
                row,
                int(counts[row, column]),
                ha="center",
                va="center",
                fontsize=6.5,
                color="white" if dark else "0.25",
            )
    figure.colorbar(image, fraction=0.046, pad=0.04, label="share of the true class")
    save(figure, path)
