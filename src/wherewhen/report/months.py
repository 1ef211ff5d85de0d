"""Errors by month."""

from collections.abc import Iterator

import altair as alt
import numpy as np
import pandas as pd

from wherewhen.report.blocks import Block, Chart, Table
from wherewhen.report.charts import HEIGHT, Drawing, by_run, spec, values
from wherewhen.report.points import Points
from wherewhen.report.subject import Subject

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def charts(subject: Subject, points: Points) -> Iterator[Block]:
    """A chart and its figures; nothing where no date or no answer is known."""
    frame, rows = points.frame, []
    names = [run.name for run, _ in subject.answered]
    for number, name in enumerate(names):
        error = frame[f"error{number}"].astype(float)
        for month, part in error.groupby(frame["month"]):
            known = part.dropna()
            if len(known):
                mean, count = float(known.mean()), len(known)
                low, high = interval(known)
                row = {"month": MONTHS[int(month) - 1], "run": name, "error": mean, "low": low, "high": high}
                rows.append(row | {"patches": count})
    what = {"one": "patches", "many": "decisions"}.get(subject.first.kind, "pixels")
    if not rows:
        return
    worst = max(rows, key=lambda row: float(str(row["error"])))
    said = f"Share of wrong {what} by month; highest for {worst['run']} in {worst['month']}, {worst['error']:.0%}."
    yield Chart("months", spec(drawn(rows, names, what), "months"), "Errors by month", said)
    body = [(f"{r['month']}, {r['run']}", f"{r['error']:.1%}", f"{r['patches']:,}") for r in rows]
    yield Table("Errors by month in figures", ("month, run", f"wrong {what}", "patches"), body, folded=True)


def interval(errors: pd.Series) -> tuple[float, float]:
    """95 % interval of the mean: Wilson's (1927) of right and wrong, the normal one of shares; NaN of one share."""
    mean, count, z = float(errors.mean()), len(errors), 1.959964
    if errors.isin((0, 1)).all():
        middle, half = mean + z**2 / (2 * count), z * (mean * (1 - mean) / count + z**2 / (4 * count**2)) ** 0.5
        return max(0.0, (middle - half) / (1 + z**2 / count)), min(1.0, (middle + half) / (1 + z**2 / count))
    half = z * float(errors.std(ddof=1)) / count**0.5
    return float(np.clip(mean - half, 0, 1)), float(np.clip(mean + half, 0, 1))


def drawn(rows: list[dict[str, object]], names: list[str], what: str) -> Drawing:
    """A dot a run and month."""
    base = alt.Chart(values(rows)).encode(
        x=alt.X("month:N", sort=list(MONTHS), scale=alt.Scale(domain=list(MONTHS)), title=None,
                axis=alt.Axis(labelAngle=0, labelOverlap=True)),
        xOffset=alt.XOffset("run:N", sort=names),
        color=by_run(names),
    )  # fmt: skip
    about = ["month:N", "run:N", alt.Tooltip("error:Q", format=".1%"), "patches:Q"]
    y = alt.Y("error:Q", title=f"share of wrong {what}", axis=alt.Axis(format="%"))
    return alt.layer(
        base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q", title=f"share of wrong {what}"), y2="high:Q"),
        base.mark_point(filled=True, size=50, opacity=1).encode(y=y, tooltip=about),
    ).properties(width="container", height=HEIGHT)
