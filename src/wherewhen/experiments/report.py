"""The leaderboard's tables: Markdown for people, CSV for programs."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wherewhen.errors import UserError
from wherewhen.experiments import picture
from wherewhen.experiments.cells import Cell, result
from wherewhen.experiments.plan import PLAN
from wherewhen.experiments.statistics import mean_interval, paired_gain
from wherewhen.files import read_json, write_text

HEADS = ("accuracy (%)", "balanced (%)", "calibration error", "labels", "seconds", "TFLOPs")
FOOT = """\
Accuracy is the mean over replicates (pairs of store and seed) ± their standard deviation, with the 95 % bootstrap
interval of the mean over replicates and test patches; gains are paired by replicate, with Student's t 95 % interval.
Calibration error has 15 bins. Seconds and TFLOPs are of the training; of rows without a network, seconds are of all
that lies between labels and predictions.
"""


class Row(NamedTuple):
    """What the plan says of a row."""

    name: str
    title: str
    kind: str
    control: bool
    rivals: str


class Summary(NamedTuple):
    """A row over its finished replicates: means, NaN where there are none."""

    row: Row
    finished: int
    planned: int
    accuracy: float  # %
    deviation: float  # %, over replicates
    low: float  # %, 95 % interval of the mean
    high: float
    balanced: float  # %
    calibration: float
    labelled: float  # patches
    seconds: float
    flops: float


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
        """From the folder of a leaderboard.

        Raises:
            UserError: Nothing was planned there, or nothing is finished.
        """
        plan = read_json(out / PLAN)
        cells = [Cell(**cell) for cell in plan["cells"]]
        results = {cell: result(cell.folder(out)) for cell in cells}
        if not any(results.values()):
            raise UserError(f"no cell in {out} is finished; run the leaderboard first, or read {out / 'logs'}")
        return cls(plan, [Row(**row) for row in plan["rows"]], results)

    def sections(self) -> dict[str, list[int | None]]:
        """Every split and its label budgets."""
        found: dict[str, dict[int | None, None]] = {}
        for cell in self.results:
            found.setdefault(cell.split, {})[cell.labels] = None
        return {split: list(budgets) for split, budgets in found.items()}

    def of(self, row: Row, split: str, labels: int | None) -> list[dict[str, Any] | None]:
        """Results of a row, by replicate."""
        wanted = (row.name, split, labels)
        return [figures for cell, figures in self.results.items() if (cell.row, cell.split, cell.labels) == wanted]

    def summaries(self, split: str, labels: int | None) -> list[Summary]:
        """A line a row; of rivals the best."""
        all_rows = ((row, self.of(row, split, labels)) for row in self.rows)
        lines = [summary(row, results) for row, results in all_rows if results]
        return [line for line in lines if line is best(line, lines)]

    def replicates(self, name: str, split: str, labels: int | None) -> dict[tuple[str, int], float]:
        """Store and seed -> accuracy."""
        return {
            (cell.store, cell.seed): figures["accuracy"]
            for cell, figures in self.results.items()
            if figures is not None and (cell.row, cell.split, cell.labels) == (name, split, labels)
        }

    def split_title(self, split: str) -> str:
        """For headings, with the sizes."""
        names = {"store": "The store's own split", "blocks": "Blocks of {block_km:g} km, gap {gap_km:g} km"}
        return names[split].format(**self.plan)

    def split_sizes(self, split: str) -> str:
        """Training and test patches; a range where replicates differ."""
        done = [figures for cell, figures in self.results.items() if figures is not None and cell.split == split]
        if not done:
            return "Nothing is finished yet."
        train, test = (sorted({figures[key] for figures in done}) for key in ("train", "images"))
        return f"{span(train)} training patches, {span(test)} test patches."


def write(out: Path) -> str:
    """Write `leaderboard.csv`, `.md` and `.png` from the plan and what is finished of it; the Markdown.

    Raises:
        UserError: Nothing is finished.
    """
    board = Board.read(out)
    text = markdown(board)
    write_text(out / "leaderboard.csv", table(board))
    write_text(out / "leaderboard.md", text)
    panels = {
        board.split_title(split): {budget(labels): bars(board.summaries(split, labels)) for labels in budgets}
        for split, budgets in board.sections().items()
    }
    picture.draw(panels, out / "leaderboard.png")
    return text


def bars(lines: Sequence[Summary]) -> list[picture.Bar]:
    """What the picture shows of them."""
    return [picture.Bar(line.row.title, line.accuracy, line.low, line.high) for line in lines]


def table(board: Board) -> str:
    """CSV: a line a finished cell, with all its figures."""
    titles = {row.name: row.title for row in board.rows}
    lines = [
        asdict(cell) | {"title": titles[cell.row]} | figures
        for cell, figures in board.results.items()
        if figures is not None
    ]
    names = [name for name in dict.fromkeys(name for line in lines for name in line) if name != "digest"]
    text = io.StringIO()
    rows = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    rows.writerows(lines)
    return text.getvalue()


def markdown(board: Board) -> str:
    """All tables, by split and label budget."""
    parts = []
    for split, budgets in board.sections().items():
        parts.append(f"## {board.split_title(split)}\n\n{board.split_sizes(split)}\n")
        for labels in budgets:
            lines = board.summaries(split, labels)
            parts.append(f"### {budget(labels)}\n")
            parts.append(rows_table("method", [line for line in lines if not line.row.control]))
            parts.append(gains_table(board, lines, split, labels))
            parts.append(rows_table("control", [line for line in lines if line.row.control]))
    parts += [FOOT, f"`{board.plan['command']}`, wherewhen {version('wherewhen')}.\n"]
    return "\n".join(part for part in parts if part)


def budget(labels: int | None) -> str:
    """For headings."""
    if labels is None:
        return "All labels, or the configuration's own budget"
    return f"{labels} label{'s' if labels > 1 else ''} a class"


def summary(row: Row, results: Sequence[dict[str, Any] | None]) -> Summary:
    """One row over its replicates."""
    done = [figures for figures in results if figures is not None]

    def mean(key: str) -> float:
        values = [figures[key] for figures in done if key in figures]
        return sum(values) / len(values) if values else math.nan

    accuracies = [figures["accuracy"] for figures in done]
    correct, tested = (np.array([figures[key] for figures in done]) for key in ("correct", "tested"))
    return Summary(
        row,
        len(done),
        len(results),
        mean("accuracy"),
        float(np.std(accuracies, ddof=1)) if len(done) > 1 else math.nan,
        *(mean_interval(correct, tested) if done else (math.nan, math.nan)),
        mean("balanced_accuracy"),
        mean("calibration_error"),
        mean("labelled"),
        mean("seconds"),
        mean("flops"),
    )


def best(line: Summary, lines: Sequence[Summary]) -> Summary:
    """The line itself, or the most accurate of its rivals."""
    if not line.row.rivals:
        return line
    rivals = [other for other in lines if other.row.rivals == line.row.rivals]
    return max(rivals, key=lambda other: -1.0 if math.isnan(other.accuracy) else other.accuracy)


def rows_table(what: str, lines: Sequence[Summary]) -> str:
    """Markdown: a line a row; empty where there are none."""
    if not lines:
        return ""
    text = [f"| {what} | {' | '.join(HEADS)} |", "|---" * (1 + len(HEADS)) + "|"]
    for line in lines:
        cells = (
            line.row.title,
            accuracy(line),
            number(line.balanced, ".1f"),
            number(line.calibration, ".3f"),
            number(line.labelled, ",.0f"),
            number(line.seconds, ".0f" if line.seconds >= 10 else ".1f"),
            number(line.flops / 1e12, ".3g"),
        )
        text.append(f"| {' | '.join(cells)} |")
    if any(line.row.kind == "student_far" for line in lines):
        text += ["", "The student takes images only, so far places and times cannot change its answers."]
    return "\n".join(text) + "\n"


def accuracy(line: Summary) -> str:
    """Mean ± deviation [interval], and how many replicates are missing."""
    if not line.finished:
        return f"– (0 of {line.planned})"
    text = f"{line.accuracy:.1f}"
    text += "" if math.isnan(line.deviation) else f" ± {line.deviation:.1f}"
    text += f" [{line.low:.1f}, {line.high:.1f}]"
    return text + ("" if line.finished == line.planned else f" ({line.finished} of {line.planned})")


def number(value: float, form: str) -> str:
    """A figure, or nothing where there is none."""
    return "" if math.isnan(value) else format(value, form)


def span(values: Sequence[int]) -> str:
    """`5,400`, or `5,352–5,484`."""
    return f"{values[0]:,}" if values[0] == values[-1] else f"{values[0]:,}–{values[-1]:,}"


def gains_table(board: Board, lines: Sequence[Summary], split: str, labels: int | None) -> str:
    """Markdown: a line a paired comparison; empty where there is none."""
    titles = {line.row.name: line.row.title for line in lines if line.row.kind == "trained"}
    text = []
    for ours, theirs in pairs(list(titles)):
        gain = paired_gain(*(board.replicates(name, split, labels) for name in (ours, theirs)))
        if gain is not None:
            interval = "" if math.isnan(gain.low) else f"[{gain.low:+.1f}, {gain.high:+.1f}]"
            text.append(f"| {titles[ours]} − {titles[theirs]} | {gain.mean:+.1f} | {interval} | {gain.replicates} |")
    heads = ["| gain | points | 95 % interval | replicates |", "|---|---|---|---|"]
    return "\n".join([*heads, *text]) + "\n" if text else ""


def pairs(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What is held against what: ST-SSL against its algorithm alone, everything against supervised."""
    for name in names:
        student = name.removesuffix("-permuted")
        alone = student.removeprefix("stssl_")
        if alone != student and alone in names:
            yield name, alone
        if name == student != "supervised" and "supervised" in names:
            yield name, "supervised"
