"""An experiment's tables: Markdown for people, CSV for programs."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wherewhen.errors import UserError
from wherewhen.experiments import picture
from wherewhen.experiments.cells import PLAN, Cell, budget_title, result
from wherewhen.experiments.statistics import NORMAL_WIDTH, mean_interval, paired_gain
from wherewhen.files import read_json, write_text
from wherewhen.plots import COLOURS
from wherewhen.tasks.evaluation import TITLES

# what a table shows beside the headline: head, key of a result, format
COLUMNS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "one": (("balanced (%)", "balanced_accuracy", ".1f"), ("calibration error", "calibration_error", ".3f")),
    "many": (
        ("mAP micro (%)", "map_micro", ".1f"),
        ("F1 macro (%)", "f1_macro", ".1f"),
        ("calibration error", "calibration_error", ".3f"),
    ),
    "mask": (("overall accuracy (%)", "overall_accuracy", ".1f"),),
    "change": (("precision (%)", "precision", ".1f"), ("recall (%)", "recall", ".1f")),
}
COSTS = (("labels", "labelled", ",.0f"), ("seconds", "seconds", ".1f"), ("TFLOPs", "teraflops", ".3g"))
FOOT = """\
The first figure is the mean over replicates (pairs of store and seed) ± their standard deviation, with the 95 %
bootstrap interval of the mean over replicates and test patches; gains are paired by replicate, with Student's t 95 %
interval. Calibration error has 15 bins. Seconds and TFLOPs are of the training; of rows without a network, seconds are
of all that lies between labels and predictions.
"""
PAPER = "*Paper* is the published figure: other images, another network, a far longer training.\n"


class Row(NamedTuple):
    """What the plan says of a row."""

    name: str
    title: str
    kind: str
    control: bool
    rivals: str
    pool: str
    against: Sequence[str]
    published: Sequence[tuple[str, float, float]]  # split, label budget, figure


class Summary(NamedTuple):
    """A row over its finished replicates: means, NaN where there are none."""

    row: Row
    finished: int
    planned: int
    score: float  # %
    deviation: float  # %, over replicates
    low: float  # %, 95 % interval of the mean
    high: float
    published: float  # %
    others: Mapping[str, float]  # key of a result -> mean


@dataclass(frozen=True)
class Board:
    """A plan and what is finished of it.

    Args:
        plan: As it was written.
        rows: In their order.
        results: Every planned cell, with its figures or None.
    """

    plan: Mapping[str, Any]
    rows: list[Row]
    results: dict[Cell, dict[str, Any] | None]

    @classmethod
    def read(cls, out: Path) -> "Board":
        """From the folder of an experiment.

        Raises:
            UserError: Nothing was planned there, or nothing is finished.
        """
        plan = read_json(out / PLAN)
        cells = [Cell(**cell) for cell in plan["cells"]]
        results = {cell: result(cell.folder(out)) for cell in cells}
        if not any(results.values()):
            raise UserError(f"no cell in {out} is finished; run the experiment first, or read {out / 'logs'}")
        return cls(plan, [Row(**row) for row in plan["rows"]], results)

    def sections(self) -> dict[str, list[float | None]]:
        """Every split and its label budgets."""
        found: dict[str, dict[float | None, None]] = {}
        for cell in self.results:
            found.setdefault(cell.split, {})[cell.labels] = None
        return {split: list(budgets) for split, budgets in found.items()}

    def of(self, row: Row, split: str, labels: float | None) -> list[dict[str, Any] | None]:
        """Results of a row, by replicate."""
        wanted = (row.name, split, labels)
        return [figures for cell, figures in self.results.items() if (cell.row, cell.split, cell.labels) == wanted]

    def summaries(self, split: str, labels: float | None) -> list[Summary]:
        """A line a row, or a pool of rows; of rivals the best."""
        pools: dict[str, list[Row]] = {}
        for row in self.rows:
            pools.setdefault(row.pool or row.name, []).append(row)
        lines = []
        for rows in pools.values():
            if results := [figures for row in rows for figures in self.of(row, split, labels)]:
                paper = published(rows[0], self.plan["kind"], split, labels)
                lines.append(summary(rows[0], results, self.plan["metric"], paper))
        return [line for line in lines if line is best(line, lines)]

    def replicates(self, name: str, split: str, labels: float | None) -> dict[tuple[str, int], float]:
        """Store and seed -> score."""
        return {
            (cell.store, cell.seed): figures[self.plan["metric"]]
            for cell, figures in self.results.items()
            if figures is not None and (cell.row, cell.split, cell.labels) == (name, split, labels)
        }

    def split_title(self, split: str) -> str:
        """For headings, with the sizes."""
        names = {
            "store": "The store's own split",
            "blocks": "Blocks of {block_km:g} km, gap {gap_km:g} km",
            "region": "Test in the region {region} (south, west, north, east)",
        }
        return names[split].format(**self.plan)

    def split_sizes(self, split: str) -> str:
        """Training and test patches; a range where replicates differ."""
        done = [figures for cell, figures in self.results.items() if figures is not None and cell.split == split]
        if not done:
            return "Nothing is finished yet."
        train, test = (sorted({figures[key] for figures in done}) for key in ("train", "images"))
        return f"{span(train)} training patches, {span(test)} test patches."


def published(row: Row, kind: str, split: str, labels: float | None) -> float:
    """The paper's figure for a row in %, NaN without one: shares of labels are of many a patch, counts of one."""
    for place, budget, figure in row.published:
        if (place, budget) == (split, labels) and kind == ("many" if budget < 1 else "one"):
            return figure
    return math.nan


def write(out: Path, name: str, note: str = "") -> str:
    """Write the experiment's `.csv`, `.md` and `.png` from the plan and what is finished of it; the Markdown.

    Args:
        out: Folder of the experiment.
        name: Which it must be.
        note: What the experiment adds under its tables.

    Raises:
        UserError: Nothing is finished, or it is another experiment's folder.
    """
    board = Board.read(out)
    if board.plan["experiment"] != name:
        raise UserError(f"{out} holds the experiment {board.plan['experiment']!r}, not {name!r}; give another --out")
    text = markdown(board) + note
    write_text(out / f"{name}.csv", table(board))
    write_text(out / f"{name}.md", text)
    paint(board, out / f"{name}.png")
    return text


def paint(board: Board, path: Path) -> None:
    """Scores as lines over the label budgets where there are several and few rows, else as a list of rows."""
    metric, panels = TITLES[board.plan["metric"]], {}
    for split, budgets in board.sections().items():
        panels[board.split_title(split)] = {labels: bars(board.summaries(split, labels)) for labels in budgets}
    rows = {bar.title for panel in panels.values() for some in panel.values() for bar in some}
    by_budget = {split: {k: some for k, some in panel.items() if k is not None} for split, panel in panels.items()}
    if len(rows) <= len(COLOURS) and all(len(by_budget[split]) == len(panels[split]) > 2 for split in panels):
        picture.curves(by_budget, metric, path)
    else:
        named = {split: {budget_title(k): some for k, some in panel.items()} for split, panel in panels.items()}
        picture.draw(named, metric, path)


def bars(lines: Sequence[Summary]) -> list[picture.Bar]:
    """What the picture shows of them."""
    return [picture.Bar(line.row.title, line.score, line.low, line.high) for line in lines]


def table(board: Board) -> str:
    """CSV: a line a finished cell, with all its figures."""
    titles = {row.name: row.title for row in board.rows}
    lines = [
        asdict(cell) | {"title": titles[cell.row]} | figures
        for cell, figures in board.results.items()
        if figures is not None
    ]
    return as_csv(lines)


def as_csv(lines: Sequence[Mapping[str, Any]]) -> str:
    """CSV of results, every figure a column, without their digests."""
    names = [name for name in dict.fromkeys(name for line in lines for name in line) if name != "digest"]
    text = io.StringIO()
    rows = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    rows.writerows(lines)
    return text.getvalue()


def markdown(board: Board) -> str:
    """All tables, by split and label budget."""
    parts, has_paper = [], False
    for split, budgets in board.sections().items():
        parts.append(f"## {board.split_title(split)}\n\n{board.split_sizes(split)}\n")
        for labels in budgets:
            lines = board.summaries(split, labels)
            has_paper |= any(not math.isnan(line.published) for line in lines)
            parts.append(f"### {budget_title(labels).capitalize()}\n")
            parts.append(rows_table(board, "method", [line for line in lines if not line.row.control]))
            parts.append(gains_table(board, lines, split, labels))
            parts.append(rows_table(board, "control", [line for line in lines if line.row.control]))
    parts += [PAPER if has_paper else "", FOOT, f"`{board.plan['command']}`, wherewhen {version('wherewhen')}.\n"]
    return "\n".join(part for part in parts if part)


def summary(row: Row, results: Sequence[Mapping[str, Any] | None], metric: str, published: float) -> Summary:
    """One row over its replicates."""
    done = [figures for figures in results if figures is not None]
    scores = np.array([figures[metric] for figures in done])
    errors = np.array([np.ptp(figures[f"{metric}_interval"]) / NORMAL_WIDTH for figures in done])
    found: dict[str, list[float]] = {}
    for figures in done:
        for key, value in figures.items():
            if isinstance(value, int | float):
                found.setdefault(key, []).append(value)
    means = {key: sum(values) / len(values) for key, values in found.items()}
    if "flops" in means:
        means["teraflops"] = means["flops"] / 1e12
    return Summary(
        row,
        len(done),
        len(results),
        float(scores.mean()) if done else math.nan,
        float(scores.std(ddof=1)) if len(done) > 1 else math.nan,
        *(mean_interval(scores, errors) if done else (math.nan, math.nan)),
        published,
        means,
    )


def best(line: Summary, lines: Sequence[Summary]) -> Summary:
    """The line itself, or the best of its rivals."""
    if not line.row.rivals:
        return line
    rivals = [other for other in lines if other.row.rivals == line.row.rivals]
    return max(rivals, key=lambda other: -1.0 if math.isnan(other.score) else other.score)


def rows_table(board: Board, what: str, lines: Sequence[Summary]) -> str:
    """Markdown: a line a row; empty where there are none."""
    if not lines:
        return ""
    columns = COLUMNS[board.plan["kind"]] + COSTS
    paper = any(not math.isnan(line.published) for line in lines)
    heads = [what, f"{TITLES[board.plan['metric']]} (%)", *(["paper"] if paper else []), *(c[0] for c in columns)]
    text = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for line in lines:
        cells = [line.row.title, score(line), *([number(line.published, ".1f")] if paper else [])]
        cells += [number(line.others.get(key, math.nan), form) for _, key, form in columns]
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def score(line: Summary) -> str:
    """Mean ± deviation [interval], and how many replicates are missing."""
    if not line.finished:
        return f"– (0 of {line.planned})"
    text = f"{line.score:.1f}"
    text += "" if math.isnan(line.deviation) else f" ± {line.deviation:.1f}"
    text += f" [{line.low:.1f}, {line.high:.1f}]"
    return text + ("" if line.finished == line.planned else f" ({line.finished} of {line.planned})")


def number(value: float, form: str) -> str:
    """A figure, or nothing where there is none."""
    return "" if math.isnan(value) else format(value, form)


def span(values: Sequence[int]) -> str:
    """`5,400`, or `5,352–5,484`."""
    return f"{values[0]:,}" if values[0] == values[-1] else f"{values[0]:,}–{values[-1]:,}"


def gains_table(board: Board, lines: Sequence[Summary], split: str, labels: float | None) -> str:
    """Markdown: a line a paired comparison; empty where there is none."""
    titles = {line.row.name: line.row.title for line in lines}
    text = []
    for ours, theirs in ((line.row, name) for line in lines for name in line.row.against if name in titles):
        gain = paired_gain(*(board.replicates(name, split, labels) for name in (ours.name, theirs)))
        if gain is not None:
            interval = "" if math.isnan(gain.low) else f"[{gain.low:+.1f}, {gain.high:+.1f}]"
            text.append(f"| {ours.title} − {titles[theirs]} | {gain.mean:+.1f} | {interval} | {gain.replicates} |")
    heads = ["| gain | points | 95 % interval | replicates |", "|---|---|---|---|"]
    return "\n".join([*heads, *text]) + "\n" if text else ""
