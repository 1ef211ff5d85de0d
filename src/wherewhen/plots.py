"""Pictures of a run. They hold no date and no version, so equal figures give equal bytes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from wherewhen.files import atomic_path
from wherewhen.store import PatchStore

matplotlib.use("Agg")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # told apart by all eyes
SHOWN = ("val/accuracy", "val/balanced_accuracy", "val/map_macro", "probe/knn", "probe/linear")
GRID: dict[str, Any] = {"color": "0.9", "linewidth": 0.6}


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
        "validation accuracy or mAP (%)": [n for n in table["name"].unique() if n in SHOWN],
        "validation mIoU or F1 (%)": [n for n in table["name"].unique() if n in ("val/miou", "val/f1")],
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
    """Confusion matrix (C, C), rows the truth, coloured by the share of the row; counts, or shares for long counts."""
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    short = counts.max() < 100_000  # counts of pixels are too long to be written out
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
                str(counts[row, column]) if short else f"{share[row, column]:.0%}",
                ha="center",
                va="center",
                fontsize=6.5,
                color="white" if dark else "0.25",
            )
    figure.colorbar(image, fraction=0.046, pad=0.04, label="share of the true class")
    save(figure, path)


def comparison(rows: Sequence[Mapping[str, Any]], methods: Mapping[str, str], runs: Path, path: Path) -> None:
    """Test accuracy of every method (a dot a seed), and the validation accuracy on the way there."""
    figure = Figure(figsize=(9.5, 3.4))
    bars, lines = figure.subplots(1, 2)
    for place, (method, colour) in enumerate(zip(methods, COLOURS, strict=False)):
        of = [row for row in rows if row["method"] == method]
        values = [row["accuracy"] for row in of]
        bars.barh(place, np.mean(values), color=colour, alpha=0.35)
        bars.plot(values, [place] * len(values), "o", color=colour, markersize=5)
        bars.text(1.0, place, f"{np.mean(values):.1f}", va="center", fontsize=9)
        for row in of:
            table = pd.read_csv(runs / row["run"] / "metrics.csv")
            table = table[table["name"] == "val/accuracy"]
            label = methods[method] if row is of[0] else None
            lines.plot(table["step"], table["value"], color=colour, label=label, linewidth=1.4)
    bars.set_yticks(range(len(methods)), list(methods.values()))
    bars.invert_yaxis()
    bars.set(xlabel="test accuracy (%), images alone", xlim=(0, 100))
    lines.set(xlabel="step", ylabel="accuracy (%)", title="on the held-out part of the training split")
    lines.legend(frameon=False, fontsize=8)
    for axes in (bars, lines):
        axes.grid(**GRID)
        axes.set_axisbelow(True)
    figure.tight_layout()
    save(figure, path)


def examples(store: Path, run: Path, path: Path, count: int = 24) -> None:
    """Test patches in true colour with the truth and a student's prediction, spread evenly over the classes."""
    opened = PatchStore.open(store)
    predictions = pd.read_csv(run / "test_predictions.csv").sort_values("label", kind="stable")
    chosen = predictions.iloc[np.linspace(0, len(predictions) - 1, count).astype(int)]
    rows = pd.Index(opened.table["id"]).get_indexer(chosen["id"])
    pictures = true_colour(opened, rows)
    figure = Figure(figsize=(12, 1.75 * -(-count // 8)))
    for axes, picture, (_, row) in zip(
        figure.subplots(-(-count // 8), 8).flat, pictures, chosen.iterrows(), strict=False
    ):
        axes.imshow(picture)
        axes.set_axis_off()
        right = row["label"] == row["prediction"]
        text = row["label"] if right else f"{row['prediction']}\n(is {row['label']})"
        axes.set_title(text, fontsize=7, color="#00664b" if right else "#a83c00")
    figure.tight_layout()
    save(figure, path)


def true_colour(store: PatchStore, rows: np.ndarray) -> np.ndarray:
    """(n, H, W, 3) in [0, 1] of some patches; a store without red, green and blue shows its first band in grey."""
    names = [band.name for band in store.bands]
    wanted = next((w for w in (["red", "green", "blue"], ["B04", "B03", "B02"]) if set(w) <= set(names)), names[:1] * 3)
    index = [names.index(name) for name in wanted]
    bands = [store.bands[i] for i in index]
    stored = store.pixels(rows)[:, index].astype(np.float64)
    scale, offset = (np.array([getattr(b, key) for b in bands])[:, None, None] for key in ("scale", "offset"))
    top = 255.0 if bands[0].unit == "8-bit" else 0.3  # reflectance of a bright field
    unit = ((stored + offset) * scale / top).clip(0, 1)
    picture: np.ndarray = unit.transpose(0, 2, 3, 1) ** (1.0 if bands[0].unit == "8-bit" else 0.7)
    return picture
