"""The table of pre-trainings and tasks: Markdown for people, CSV for programs, a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from wherewhen.contrast.methods import METHODS
from wherewhen.errors import UserError
from wherewhen.experiments.cells import PLAN, Cell, result
from wherewhen.experiments.report import as_csv
from wherewhen.experiments.statistics import paired_gain
from wherewhen.files import read_json, write_text
from wherewhen.plots import COLOURS, GRID, save

TITLES = {"scratch": "from scratch", "scratch_groups": "from scratch, groups and texture"} | {
    name: method.title for name, method in METHODS.items()
}


class Column(NamedTuple):
    """A figure of a task."""

    task: str
    head: str
    key: str
    form: str = ".1f"


COLUMNS = (
    Column("pretrain", "kNN of band statistics", "knn_of_statistics"),
    Column("pretrain", "kNN at start", "knn_at_start"),
    Column("pretrain", "kNN", "knn"),
    Column("pretrain", "linear probe", "linear"),
    Column("classify", "classification accuracy", "accuracy"),
    Column("segment", "segmentation OA", "overall_accuracy"),
    Column("segment", "mIoU", "miou"),
    Column("change", "change precision", "precision"),
    Column("change", "recall", "recall"),
    Column("change", "F1", "f1"),
    Column("pretrain", "seconds of pre-training", "seconds", ",.0f"),
)
COMPARED = ("accuracy", "miou", "f1")
FOOT = """\
All in %, mean ± standard deviation over seeds. Every row has the same steps and batches, of pre-training and of each
task; an encoder of groups costs more in each.
"""


def write(out: Path) -> str:
    """Write `transfer.csv`, `.md` and `.png` from what is finished; the Markdown.

    Raises:
        UserError: Nothing is finished, or it is another experiment's folder.
    """
    plan = read_json(out / PLAN)
    if plan["experiment"] != "transfer":
        raise UserError(f"{out} holds the experiment {plan['experiment']!r}, not 'transfer'; give another --out")
    cells = [Cell(**cell) for cell in plan["cells"]]
    results = {cell: figures for cell in cells if (figures := result(cell.folder(out))) is not None}
    if not results:
        raise UserError(f"no cell in {out} is finished; run the experiment first, or read {out / 'logs'}")
    rows = list(dict.fromkeys(cell.row for cell in cells))
    text = markdown(rows, results, len({cell.seed for cell in cells}), plan["command"])
    write_text(out / "transfer.csv", table(results))
    write_text(out / "transfer.md", text)
    paint(rows, results, out / "transfer.png")
    return text


def of(results: Mapping[Cell, Mapping[str, Any]], row: str, column: Column) -> dict[int, float]:
    """Seed -> figure, of what is finished."""
    return {
        cell.seed: figures[column.key]
        for cell, figures in results.items()
        if (cell.row, cell.store) == (row, column.task) and column.key in figures
    }


def filled(results: Mapping[Cell, Mapping[str, Any]], columns: Sequence[Column]) -> list[Column]:
    """Columns that any row has a figure for: not every experiment has every task."""
    rows = {cell.row for cell in results}
    return [column for column in columns if any(of(results, row, column) for row in rows)]


def markdown(rows: list[str], results: Mapping[Cell, Mapping[str, Any]], seeds: int, command: str) -> str:
    """The table, and the gains over training from scratch."""
    columns = filled(results, COLUMNS)
    heads = ["pre-training", *(column.head for column in columns)]
    body = [[TITLES[row], *(shown(of(results, row, column), column, seeds) for column in columns)] for row in rows]
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *body)]
    gains = []
    for column in (column for column in columns if column.key in COMPARED):
        for row in (row for row in rows if row in METHODS and "scratch" in rows):
            gain = paired_gain(of(results, row, column), of(results, "scratch", column))
            if gain is not None:
                interval = "" if np.isnan(gain.low) else f"[{gain.low:+.1f}, {gain.high:+.1f}]"
                title = f"{TITLES[row]} − from scratch, {column.head}"
                gains.append(f"| {title} | {gain.mean:+.1f} | {interval} | {gain.replicates} |")
    if gains:
        lines += ["", "| gain | points | 95 % interval | seeds |", "|---|---|---|---|", *gains]
    return "\n".join([*lines, "", FOOT, f"`{command}`, wherewhen {version('wherewhen')}.", ""])


def shown(figures: Mapping[int, float], column: Column, seeds: int) -> str:
    """Mean ± deviation, and how many seeds are missing."""
    if not figures:
        return ""
    values = np.array(list(figures.values()))
    text = format(values.mean(), column.form)
    text += f" ± {format(values.std(ddof=1), column.form)}" if len(values) > 1 else ""
    return text + ("" if len(values) == seeds else f" ({len(values)} of {seeds})")


def table(results: Mapping[Cell, Mapping[str, Any]]) -> str:
    """CSV: a line a finished cell, with all its figures."""
    lines = [asdict(cell) | {"title": TITLES[cell.row]} | dict(figures) for cell, figures in results.items()]
    return as_csv(lines)


def paint(rows: list[str], results: Mapping[Cell, Mapping[str, Any]], path: Path) -> None:
    """A panel a task: every seed a dot, the mean a line."""
    panels = filled(results, [column for column in COLUMNS if column.key in COMPARED])
    if not panels:
        return
    figure = Figure(figsize=(3.4 * len(panels) + 0.6, 0.36 * len(rows) + 0.9))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, column in zip(axes, panels, strict=True):
        for place, row in enumerate(rows):
            values = list(of(results, row, column).values())
            axis.plot(values, [place] * len(values), "o", color=COLOURS[0], markersize=4)
            if values:
                axis.plot([np.mean(values)] * 2, [place - 0.3, place + 0.3], color=COLOURS[1], linewidth=1.6)
        axis.set(
            xlabel=f"{column.head} (%)",
            title={"classify": "classification", "segment": "segmentation"}.get(column.task, column.task),
        )
        axis.grid(**GRID)
        axis.set_axisbelow(True)
    axes[0].set_yticks(range(len(rows)), [TITLES[row] for row in rows], fontsize=9)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    save(figure, path)
