"""Learning curves, and how many and how right pseudo-labels were."""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress

import altair as alt
import pandas as pd

from wherewhen.analyse import pseudo_labels
from wherewhen.errors import UserError
from wherewhen.report.blocks import Beside, Block, Chart, Note, Section
from wherewhen.report.charts import HEIGHT, Drawing, by_run, spec, values
from wherewhen.report.runs import Run
from wherewhen.report.subject import Subject
from wherewhen.tasks.evaluation import HEADLINE, TITLES

LOSSES = 7  # curves of one run
PSEUDO = {
    "quantity": "Pseudo-labels believed",
    "quality": "Pseudo-labels that are right",
    "quantity present": "Believed to be there",
    "quality present": "Rightly believed to be there",
}


def section(subject: Subject) -> Section:
    """Curves of every run."""
    watched = {run.name: frame for run in subject.runs if (frame := run.table("metrics.csv")) is not None}
    blocks: list[Block] = []
    if watched:
        blocks += validation(watched, HEADLINE[subject.first.kind])
        blocks.append(Beside([losses(number, name, frame) for number, (name, frame) in enumerate(watched.items())]))
        blocks += pseudo(subject.runs, watched)
    return Section("training", "Training", blocks)


def validation(watched: dict[str, pd.DataFrame], metric: str) -> Iterator[Chart]:
    """The headline metric on the held-out part of the training split."""
    name = f"val/{metric}"
    rows = pd.concat([frame[frame["name"] == name].assign(run=run) for run, frame in watched.items()])
    if len(rows):
        ends = [f"{run} ends at {part['value'].iloc[-1]:.1f} %" for run, part in rows.groupby("run", sort=False)]
        title = f"Validation {TITLES[metric]}"
        drawn = lines(rows[["step", "value", "run"]], list(watched), f"{TITLES[metric]} (%)")
        yield Chart("validation", spec(drawn, "validation"), title, f"{title} by step. {'; '.join(ends)}.")


def losses(number: int, run: str, frame: pd.DataFrame) -> Chart:
    """Losses of one run by step, on a logarithmic scale."""
    names = [str(n) for n in frame["name"].unique() if str(n).startswith("train/") and not is_share(str(n))][:LOSSES]
    rows = frame[frame["name"].isin(names) & (frame["value"] > 0)].assign(run=lambda t: t["name"].str[6:])
    total = rows[rows["run"] == "loss"]["value"]
    said = f"Loss from {total.iloc[0]:.3g} to {total.iloc[-1]:.3g}." if len(total) else "Losses by step."
    drawn = lines(rows[["step", "value", "run"]], [name[6:] for name in names], "loss", log=True)
    return Chart(f"losses{number}", spec(drawn, f"losses{number}"), f"Losses, {run}", said)


def is_share(name: str) -> bool:
    """Whether a figure is about pseudo-labels."""
    return name.rpartition("/")[2].startswith(("accepted", "believed", "right"))


def lines(rows: pd.DataFrame, names: Sequence[str], title: str, log: bool = False, form: str = "") -> Drawing:
    """A line a name of column `run`."""
    scale = alt.Scale(type="log", nice=True) if log else alt.Scale(zero=False)
    axis = alt.Axis(values=powers(rows["value"]), format="~g") if log else alt.Axis(format=form) if form else alt.Axis()
    return (
        alt.Chart(values(rows))
        .mark_line(strokeWidth=1.8, point=alt.OverlayMarkDef(size=14))
        .encode(
            x=alt.X("step:Q", title="step"),
            y=alt.Y("value:Q", title=title, scale=scale, axis=axis),
            color=by_run(names),
            tooltip=["run:N", "step:Q", alt.Tooltip("value:Q", format=".4~g")],
        )
        .properties(width="container", height=HEIGHT)
    )


def powers(values: pd.Series) -> list[float]:
    """Powers of ten around positive values."""
    low, high = (math.floor(math.log10(value)) for value in (values.min(), values.max()))
    return [10.0**power for power in range(low, high + 2)]


def pseudo(runs: Sequence[Run], watched: dict[str, pd.DataFrame]) -> Iterator[Block]:
    """Quantity and quality of pseudo-labels; of runs that were not watched, the quantity."""
    found = {}
    for run in runs:
        with suppress(UserError):  # not watched
            found[run.name] = pseudo_labels.read(run.home)
    charts = []
    if found:
        for column, title in PSEUDO.items():
            parts = [
                t[column].dropna().rename("value").reset_index().assign(run=n) for n, t in found.items() if column in t
            ]
            if parts:
                charts.append(curve(column.replace(" ", "-"), title, pd.concat(parts), list(found)))
    else:
        accepted = {n: f[f["name"] == "train/accepted"] for n, f in watched.items()}
        accepted = {n: f for n, f in accepted.items() if len(f)}
        if accepted:
            rows = pd.concat([f.assign(run=n) for n, f in accepted.items()])[["step", "value", "run"]]
            charts.append(curve("quantity", PSEUDO["quantity"], rows, list(accepted)))
            yield Note("How right pseudo-labels are is known of trainings with --watch true only.")
    if charts:
        yield Beside(charts)


def curve(name: str, title: str, rows: pd.DataFrame, names: Sequence[str]) -> Chart:
    """A share by step."""
    ends = [f"{run} ends at {part['value'].iloc[-1]:.0%}" for run, part in rows.groupby("run", sort=False)]
    drawn = lines(rows, names, "share", form="%")
    return Chart(name, spec(drawn, name), title, f"{title}, as a share, by step. {'; '.join(ends)}.")
