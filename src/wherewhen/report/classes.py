"""Confusion matrices, and how well each class is seen.

Notation: K classes.
"""

from collections.abc import Iterator

import altair as alt
import numpy as np
import pandas as pd

from wherewhen.report.blocks import Beside, Block, Chart, Section, Table
from wherewhen.report.charts import Drawing, by_run, spec, values
from wherewhen.report.runs import Run
from wherewhen.report.subject import Subject

OF_CLASS = {"one": "recall", "many": "average_precision", "mask": "iou", "change": "iou"}
LONG = 100_000  # counts from here on are written as shares


def section(subject: Subject) -> Section:
    """Confusion matrices, and a figure a class."""
    blocks: list[Block] = []
    if matrices := [chart for number, run in enumerate(subject.runs) for chart in confusion(number, run)]:
        blocks.append(Beside(matrices))
    blocks += by_class(subject)
    return Section("classes", "Classes", blocks)


def confusion(number: int, run: Run) -> Iterator[Chart]:
    """The run's confusion matrix, coloured by the share of the true class."""
    path = run.folder / "confusion.csv"
    if not path.is_file():
        return
    counts = pd.read_csv(path, index_col=0, keep_default_na=False)
    names = [str(name) for name in counts.index]
    matrix = counts.to_numpy()
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    cells = [
        {"true": t, "predicted": p, "count": int(matrix[i, j]), "share": float(share[i, j])}
        for i, t in enumerate(names)
        for j, p in enumerate(names)
    ]
    off = matrix - np.diag(np.diag(matrix))
    i, j = np.unravel_index(off.argmax(), off.shape)
    worst = f"Most often {names[i]} is taken for {names[j]} ({matrix[i, j]:,})." if off.any() else "Nothing is wrong."
    name, title = f"confusion{number}", f"Confusion, {run.name}"
    yield Chart(name, spec(heat(cells, names, matrix.max() < LONG), name), title, f"Confusion matrix. {worst}")


def heat(cells: list[dict[str, object]], names: list[str], counted: bool) -> Drawing:
    """Rows the truth; written out where there is room."""
    axis = alt.Axis(labelLimit=110, labelAngle=-45, grid=False)
    about: list[str | alt.Tooltip] = ["true:N", "predicted:N"]
    about += [alt.Tooltip("count:Q", format=","), alt.Tooltip("share:Q", format=".1%")]
    base = alt.Chart(values(cells)).encode(
        x=alt.X("predicted:N", sort=names, title="predicted", axis=axis),
        y=alt.Y("true:N", sort=names, title="true", axis=alt.Axis(labelLimit=110, grid=False)),
        tooltip=about,
    )
    colour = alt.Color("share:Q", scale=alt.Scale(domain=[0, 1]), title="share of true", legend=None)
    layers: list[alt.Chart] = [base.mark_rect().encode(color=colour)]
    if len(names) <= 20:
        ink = alt.condition("datum.share > 0.55", alt.value({"expr": "paper"}), alt.value({"expr": "ink"}))
        text = alt.Text("count:Q", format=",") if counted else alt.Text("share:Q", format=".0%")
        size = 10 if len(names) <= 12 else 8
        layers.append(base.transform_filter("datum.count > 0").mark_text(fontSize=size).encode(text=text, color=ink))
    return (
        alt.layer(*layers)
        .add_params(alt.param("ink", value="#000000"), alt.param("paper", value="#ffffff"))
        .properties(width="container", height=min(520, 60 + 30 * len(names)))
    )


def by_class(subject: Subject) -> Iterator[Block]:
    """The figure that matters most, a dot a run and class."""
    key = OF_CLASS[subject.first.kind]
    title = {"average_precision": "average precision", "iou": "IoU"}.get(key, key)
    names = [run.name for run in subject.runs]
    wide = pd.DataFrame({run.name: run.classes[key] for run in subject.runs})
    shown = [int(count) for count in subject.first.classes.iloc[:, 0]]
    rows = [
        {"class": str(c), "run": name, "value": wide[name].iloc[i], "of": shown[i]}
        for i, c in enumerate(wide.index)
        for name in names
    ]
    unit = str(subject.first.classes.columns[0])
    best = wide.iloc[:, 0]
    said = f"{subject.first.name}: best {best.idxmax()} {best.max():.1f} %, worst {best.idxmin()} {best.min():.1f} %."
    yield Chart(
        "classes", spec(dots(rows, names, title, unit), "classes"), f"{title[0].upper()}{title[1:]} a class", said
    )
    columns = [str(c) for c in subject.first.classes.columns[1:]]
    head = ("class", unit, *(f"{c.replace('_', ' ')}, {run.name}" for c in columns for run in subject.runs))
    body = [
        (str(c), f"{shown[i]:,}", *(number(run.classes[k].iloc[i]) for k in columns for run in subject.runs))
        for i, c in enumerate(wide.index)
    ]
    yield Table("Every class (%)", head, body, folded=True)


def number(value: float) -> str:
    """With a digit after the point."""
    return "–" if np.isnan(value) else f"{value:.1f}"


def dots(rows: list[dict[str, object]], runs: list[str], title: str, unit: str) -> Drawing:
    """A line a class."""
    about = ["class:N", "run:N", alt.Tooltip("value:Q", title=title, format=".1f"), alt.Tooltip("of:Q", title=unit)]
    return (
        alt.Chart(values(rows))
        .mark_point(size=60, filled=True, opacity=0.9)
        .encode(
            y=alt.Y("class:N", sort=None, title=None, axis=alt.Axis(labelLimit=170, grid=True)),
            x=alt.X("value:Q", title=f"{title} (%)", scale=alt.Scale(domain=[0, 100])),
            color=by_run(runs),
            shape=alt.Shape("run:N", sort=None, legend=None),
            tooltip=about,
        )
        .properties(width="container", height=20 * len({row["class"] for row in rows}) + 30)
    )
