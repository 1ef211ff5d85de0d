"""How often runs are right when they are so sure."""

import altair as alt
import numpy as np
import pandas as pd

from wherewhen.report.answers import Answers
from wherewhen.report.blocks import Chart, Note, Section, Table
from wherewhen.report.charts import HEIGHT, Drawing, by_run, spec, values
from wherewhen.report.subject import Subject
from wherewhen.semi import UNKNOWN
from wherewhen.tasks.metrics import BINS


def section(subject: Subject) -> Section:
    """How often the runs are right when they are so sure."""
    curves = [(run, said) for run, said in subject.answered if said.probability is not None]
    if not curves:
        return Section("calibration", "Calibration", ())
    tables = {run.name: reliability(subject.first.kind, said) for run, said in curves}
    frame = pd.concat([table.assign(run=name) for name, table in tables.items()])
    told = "; ".join(f"{run.name} {run.test['calibration_error']:.3f}" for run, _ in curves)
    decisions = "decisions" if subject.first.kind == "many" else "patches"
    chart = Chart(
        "reliability", spec(diagonal(frame, list(tables), decisions), "reliability"), "Reliability",
        f"Share that is right by probability, in {BINS} bins; expected calibration error: {told}.",
    )  # fmt: skip
    body = [
        (f"{row.run}, {row.low:.2f}–{row.high:.2f}", f"{row.probability:.3f}", f"{row.right:.3f}", f"{row.count_:,}")
        for row in frame.rename(columns={"count": "count_"}).itertuples()
    ]
    table = Table(
        "Reliability in figures", ("run, bin", "mean probability", "share right", decisions), body, folded=True
    )
    note = Note(
        "On the dotted line probabilities mean what they say; below it the run is too sure. "
        + ("Every class of every patch is a decision." if subject.first.kind == "many" else
           "The probability is that of the predicted class.")
    )  # fmt: skip
    return Section("calibration", "Calibration", (note, chart, table))


def reliability(kind: str, said: Answers) -> pd.DataFrame:
    """Bins of equal width that hold anything: `low`, `high`, mean `probability`, share `right`, `count`."""
    known = said.truth != UNKNOWN
    assert said.probability is not None
    if kind == "one":
        seen = known.any(1)
        p, right = said.probability.max(1)[seen], said.error[seen] == 0
    else:
        p, right = said.probability[known], said.truth[known] == 1
    place = np.minimum((p * BINS).astype(int), BINS - 1)
    rows = []
    for number in np.unique(place):
        here = place == number
        rows.append(
            {"low": number / BINS, "high": (number + 1) / BINS, "probability": float(p[here].mean()),
             "right": float(right[here].mean()), "count": int(here.sum())}
        )  # fmt: skip
    return pd.DataFrame(rows)


def diagonal(frame: pd.DataFrame, runs: list[str], what: str) -> Drawing:
    """The diagram, larger dots for fuller bins."""
    domain = alt.Scale(domain=[0, 1])
    x = alt.X("probability:Q", scale=domain, title="probability")
    y = alt.Y("right:Q", scale=domain, title="share right")
    about = ["run:N", *(alt.Tooltip(f"{n}:Q", format=".3f") for n in ("probability", "right")), alt.Tooltip("count:Q")]
    base = alt.Chart(values(frame)).encode(x=x, y=y, color=by_run(runs))
    size = alt.Size("count:Q", legend=None, scale=alt.Scale(range=[20, 260]), title=what)
    ideal = alt.Chart(values([{"probability": 0, "right": 0}, {"probability": 1, "right": 1}]))
    return alt.layer(
        ideal.mark_line(strokeDash=[3, 4], color="#888888").encode(x=x, y=y),
        base.mark_line(strokeWidth=1.5),
        base.mark_point(filled=True, opacity=0.9).encode(size=size, tooltip=about),
    ).properties(width="container", height=HEIGHT + 60)
