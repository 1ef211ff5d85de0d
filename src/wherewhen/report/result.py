"""The score beside the baselines, and what else was measured."""

from collections.abc import Iterator, Sequence

import altair as alt
import numpy as np
import pandas as pd

from wherewhen.report.blocks import Beside, Block, Chart, Note, Section, Table
from wherewhen.report.charts import COLOURS, Drawing, spec, values
from wherewhen.report.compare import gain
from wherewhen.report.runs import Run
from wherewhen.report.subject import Subject
from wherewhen.tasks.evaluation import HEADLINE, TITLES

SHARES = ("calibration_error", "cross_entropy")  # not in %


def section(subject: Subject) -> Section:
    """The headline metric of every run, and of what lies beside."""
    metric = TITLES[HEADLINE[subject.first.kind]]
    rows = [*subject.runs, *subject.beside]
    figures = [(run, *run.score) for run in rows]
    table = pd.DataFrame([{"run": r.name, "score": s, "low": low, "high": high} for r, s, low, high in figures])
    top, bottom = (pick(figures, key=lambda line: line[1]) for pick in (max, min))
    told = f"Highest {top[0].name}, {top[1]:.1f} %; lowest {bottom[0].name}, {bottom[1]:.1f} %."
    head = ("run", f"{metric} (%)", "95 % interval", "images")
    body = [(r.name, f"{s:.1f}", span(low, high), f"{r.test['images']:,}") for r, s, low, high in figures]
    shown: list[Table | Chart] = [Table(f"Test {metric}", head, body)]
    if len(rows) > 1:
        drawn = spec(scores(table, metric), "score")
        shown.append(Chart("score", drawn, f"Test {metric} with its 95 % interval", told))
    blocks: list[Block] = [Beside(shown)]
    blocks += gains(subject, metric)
    blocks.append(others(subject.runs))
    blocks += questions(subject)
    if left_out := subject.first.test.get("classes_left_out"):
        blocks.append(Note(f"No test image shows {', '.join(left_out)}; means over classes leave them out."))
    if top[1] == 100:
        images = top[0].test["images"]
        most = min(300 / images, 100)  # the rule of three
        blocks.append(Note(f"{top[0].name} made no error, so its interval is a point and too short: with none among "
                           f"{images} images, up to {most:.0f} % of images may be wrong (95 %)."))  # fmt: skip
    blocks.append(Note("Intervals are percentiles of 1,000 bootstrap draws of the test patches: they do not tell how "
                       "much another seed or other labels would change."))  # fmt: skip
    return Section("result", "Result", blocks)


def scores(table: pd.DataFrame, metric: str) -> Drawing:
    """A dot a run with its interval."""
    low, high = table[["low", "score"]].min().min(), table[["high", "score"]].max().max()
    margin = max(1.0, 0.15 * (high - low))
    scale = alt.Scale(domain=[max(0.0, low - margin), min(100.0, high + margin)], nice=False)
    base = alt.Chart(values(table)).encode(
        y=alt.Y("run:N", sort=None, title=None, axis=alt.Axis(labelLimit=170)), color=alt.value(COLOURS[0])
    )
    about = [alt.Tooltip("run:N"), *(alt.Tooltip(f"{n}:Q", format=".2f") for n in ("score", "low", "high"))]
    x = alt.X("score:Q", scale=scale, title=f"{metric} (%)")
    lines = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", scale=scale, title=f"{metric} (%)"), x2="high:Q")
    return alt.layer(lines, base.mark_point(size=70, filled=True, opacity=1).encode(x=x, tooltip=about)).properties(
        width="container", height=30 + 24 * len(table)
    )


def gains(subject: Subject, metric: str) -> Iterator[Table]:
    """The first run against the others and what lies beside, paired by patch."""
    ours, body = subject.answers[0], []
    if ours is None:
        return
    for run, said in subject.compared:
        found = gain(subject.first.kind, ours, said)
        body.append((run.name, f"{found.mean:+.1f}", f"[{found.low:+.1f}, {found.high:+.1f}]"))
    if not body:
        return
    yield Table(
        f"{subject.first.name} against the others, on the same patches",
        ("against", f"gain in {metric} (points)", "95 % interval"),
        body,
    )


def others(runs: Sequence[Run]) -> Table:
    """Every metric, a row each."""
    keys = [key for key in TITLES if any(key in run.test for run in runs)]
    body = [[TITLES[k] + ("" if k in SHARES else " (%)"), *(figure(run.test, k) for run in runs)] for k in keys]
    return Table("Every metric with its 95 % interval", ("metric", *(run.name for run in runs)), body, folded=True)


def figure(test: dict[str, object], key: str) -> str:
    """A metric with its interval."""
    if key not in test:
        return "–"
    value, interval = test[key], test.get(f"{key}_interval")
    text = format(value, ".3f" if key in SHARES else ".1f")
    return f"{text} {span(*interval)}" if isinstance(interval, list) else text


def span(low: float, high: float) -> str:
    """An interval in %."""
    return "–" if np.isnan(low) else f"[{low:.1f}, {high:.1f}]"


def questions(subject: Subject) -> Iterator[Table]:
    """What the teacher said, or a network that was told of another place."""
    metric = HEADLINE[subject.first.kind]
    body = [
        (run.name, name, figure(test, metric))
        for run in subject.runs
        for name, test in run.questions
        if metric in test
    ]  # fmt: skip
    if body:
        yield Table("Asked otherwise", ("run", "network, and what it was told", f"{TITLES[metric]} (%)"), body)
