"""Scores over label budgets: of the runs and what lies beside them, and of an experiment."""

from collections.abc import Iterator
from pathlib import Path

import altair as alt

from wherewhen.errors import UserError
from wherewhen.experiments.cells import PLAN, budget_title
from wherewhen.experiments.report import Board, Summary
from wherewhen.report.blocks import Block, Chart, Listing, Section, Table
from wherewhen.report.charts import Drawing, by_run, spec, values
from wherewhen.report.result import span
from wherewhen.report.subject import Subject
from wherewhen.tasks.evaluation import HEADLINE, TITLES

HEIGHT = 300


def section(subject: Subject, folder: Path | None) -> Section:
    """Curves of the runs where they differ in labels; an experiment's tables of every split and budget, and its curves.

    Raises:
        UserError: The folder holds no experiment with label budgets, or nothing of it is finished.
    """
    blocks: list[Block] = [*of_runs(subject)]
    if folder is not None:
        if not (folder / PLAN).is_file():
            raise UserError(f"{folder} has no {PLAN}; give a folder that `wherewhen experiment NAME --out` made")
        board = Board.read(folder)
        for number, (split, budgets) in enumerate(board.sections().items()):
            found = {labels: board.summaries(split, labels) for labels in budgets}
            blocks += curves(number, board, split, {k: v for k, v in found.items() if k is not None})
            blocks += [table(board, split, labels, lines) for labels, lines in found.items() if lines]
        blocks.append(Listing("As the experiment was started", board.plan["command"], folded=True))
    return Section("budgets", "Experiment" if folder else "Label budgets", blocks)


def of_runs(subject: Subject) -> Iterator[Chart]:
    """Scores over the number of labelled patches, a line a method; none where all runs have as many."""
    rows: list[dict[str, object]] = []
    for run in (*subject.runs, *subject.beside):
        if run.labelled is not None:
            score, low, high = run.score
            rows.append({"labels": run.labelled, "run": run.method, "score": score, "low": low, "high": high})
    if len({row["labels"] for row in rows}) < 2:
        return
    metric = TITLES[HEADLINE[subject.first.kind]]
    title = f"{metric} by labelled patches, of the runs and what lies beside them"
    said = "; ".join(f"{row['run']} {row['score']:.1f} % at {row['labels']}" for row in rows)
    yield Chart("budgets", spec(drawn(rows, metric, "labelled patches"), "budgets"), title, f"{title}: {said}.")


def curves(number: int, board: Board, split: str, found: dict[float, list[Summary]]) -> list[Chart]:
    """Scores over budgets; none where there is only one."""
    if len(found) < 2:
        return []
    metric = TITLES[board.plan["metric"]]
    rows = [
        {"labels": 100 * labels if labels < 1 else labels, "run": line.row.title, "score": line.score, "low": line.low,
         "high": line.high}
        for labels, lines in found.items()
        for line in lines
        if line.finished and not line.row.control
    ]  # fmt: skip
    unit = "labels (%)" if max(found) < 1 else "labels a class"
    name = f"budgets{number}"
    said = "; ".join(f"{r['run']} {r['score']:.1f} % at {r['labels']:g}" for r in rows)
    title = f"{metric} by label budget, {board.split_title(split)}"
    return [Chart(name, spec(drawn(rows, metric, unit), name), title, f"{title}, {unit}: {said}.")]


def drawn(rows: list[dict[str, object]], metric: str, unit: str) -> Drawing:
    """A line a row with intervals, budgets on a logarithmic scale."""
    budgets = sorted({float(str(row["labels"])) for row in rows})
    x = alt.X(
        "labels:Q",
        scale=alt.Scale(type="log", nice=False, padding=12),
        title=unit,
        axis=alt.Axis(values=budgets, format="~g"),
    )
    names = list(dict.fromkeys(str(row["run"]) for row in rows))
    base = alt.Chart(values(rows)).encode(x=x, color=by_run(names))
    title = f"test {metric} (%)"
    about = ["run:N", "labels:Q", *(alt.Tooltip(f"{n}:Q", format=".1f") for n in ("score", "low", "high"))]
    y = alt.Y("score:Q", scale=alt.Scale(zero=False), title=title)
    return alt.layer(
        base.mark_rule(strokeWidth=1.2).encode(y=alt.Y("low:Q", title=title, scale=alt.Scale(zero=False)), y2="high:Q"),
        base.mark_line(strokeWidth=1.8).encode(y=y),
        base.mark_point(filled=True, size=45, opacity=1).encode(y=y, tooltip=about),
    ).properties(width="container", height=HEIGHT)


def table(board: Board, split: str, labels: float | None, lines: list[Summary]) -> Table:
    """A row of the experiment a line."""
    metric = TITLES[board.plan["metric"]]
    rows = [
        (line.row.title, f"{line.score:.1f}" if line.finished else "–", span(line.low, line.high),
         f"{line.finished} of {line.planned}")
        for line in lines
    ]  # fmt: skip
    head = ("method", f"{metric} (%)", "95 % interval", "replicates")
    return Table(f"{board.split_title(split)}, {budget_title(labels)}", head, rows, folded=len(rows) > 12)
