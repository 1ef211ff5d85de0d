"""Where and when: samples, labels and errors on maps and by month.

There is no coastline in the maps: that would need a file from elsewhere.
"""

from collections.abc import Iterator
from typing import NamedTuple

import altair as alt
import numpy as np
import pandas as pd

from wherewhen.globe import east_or_west
from wherewhen.report import months
from wherewhen.report.blocks import Beside, Block, Chart, Note, Section
from wherewhen.report.charts import MISSED, NEITHER, RIGHT, WRONG, Drawing, spec, values, zoom
from wherewhen.report.points import ROLES, Points
from wherewhen.report.subject import Subject

AROUND = "((datum.value + 540) % 360 - 180)"  # a map across the date line goes on beyond 180° east
DEGREES = {axis: f"format(abs({value}), '~g') + '° ' + ({value} < 0 ? '{low}' : '{high}')"
           for axis, value, low, high in
           (("longitude", AROUND, "W", "E"), ("latitude", "datum.value", "S", "N"))}  # fmt: skip
OUTCOMES = ("rightly seen", "wrongly seen", "missed", "neither")
FEWEST = 40  # patches for errors by cells
CELLS, FULL = 10, 5  # cells along the longer side, and patches of one that is shown
HINT = (
    "Click or tab into a map: the wheel or + and − scale it, dragging or the arrow keys move it, 0 shows all of it. "
    "Hovering or tapping shows a patch."
)


class Box(NamedTuple):
    """What a map shows: degrees, and how many times larger dots are than where there are thousands."""

    west: float
    south: float
    east: float
    north: float
    grain: float = 1.0


def section(subject: Subject, points: Points | None) -> Section:
    """All maps, and errors by month."""
    blocks: list[Block] = []
    if points is not None:
        box = bounds(points)
        if box is not None:
            blocks += maps(subject, points, box)
        blocks += months.charts(subject, points)
    return Section("places", "Where and when", blocks)


def bounds(points: Points) -> Box | None:
    """A box around all places; None where none is known."""
    place = pd.DataFrame({name: points.columns[name] for name in ("longitude", "latitude")}, dtype=float).dropna()
    if not len(place):
        return None
    (west, south), (east, north) = place.min(), place.max()
    margin = max(0.04 * max(east - west, north - south), 0.02)
    grain = min(4.0, max(1.0, 1500 / len(place)))
    return Box(float(west - margin), float(south - margin), float(east + margin), float(north + margin), grain)


def maps(subject: Subject, points: Points, box: Box) -> Iterator[Block]:
    """Samples, labels, and errors of every run."""
    yield Note(HINT)
    shown = len(points.chosen)
    roles = {role: list(points.columns["role"]).count(role) for role in ROLES}
    some = f" {shown:,} of {points.total:,} test patches are shown." if shown < points.total else ""
    alt_text = f"Map of {roles['labelled']:,} labelled, {shown:,} test and {roles['other']:,} other patches."
    first = [placed("samples", "Samples", alt_text + some, samples(box), box)]
    if subject.first.kind == "one":
        what = f"Map of the labels of {shown + roles['labelled']:,} test and labelled patches."
        first.append(placed("labels", "Labels", what, labels(box, subject.classes), box))
    yield Beside(first)
    errors = []
    for number, (run, said) in enumerate(subject.answered):
        share = float(np.nanmean(said.error))
        title = f"Errors, {run.name}"
        if subject.first.kind == "many":
            chart, said_so = outcomes(box, number, subject.classes), "Where a class is, and where it is seen."
        elif subject.dense:
            chart, said_so = shares(box, number), f"Share of wrong pixels by patch; {share:.1%} in the mean."
        else:
            chart, said_so = rights(box, number), f"Right and wrong patches; {share:.1%} are wrong."
        errors.append(placed(f"errors{number}", title, said_so, chart, box))
    if errors:
        yield Beside(errors)
    if subject.answered and shown >= FEWEST:
        yield from cells(subject, points, box)


def placed(name: str, title: str, alt_text: str, chart: Drawing, box: Box) -> Chart:
    """A map as a block."""
    west, south, east, north, _ = box
    aspect = (north - south) / ((east - west) * np.cos(np.radians((south + north) / 2)))
    return Chart(name, spec(chart, name), title, alt_text, float(np.clip(aspect, 0.45, 1.0)))


def dots(box: Box) -> Drawing:
    """Patches by place."""
    west, south, east, north, _ = box
    return (
        alt.Chart(alt.NamedData("patches"))
        .transform_filter("datum.longitude !== null")
        .mark_point(filled=True, opacity=0.85, strokeWidth=0)
        .encode(
            x=alt.X(
                "longitude:Q", scale=alt.Scale(domain=[west, east], nice=False), title=None, axis=axis("longitude")
            ),
            y=alt.Y(
                "latitude:Q", scale=alt.Scale(domain=[south, north], nice=False), title=None, axis=axis("latitude")
            ),
            tooltip=alt.Tooltip("i:Q"),  # the page looks up the rest
        )
        .add_params(zoom())
        .properties(width="container", height=320)
    )


def axis(name: str) -> alt.Axis:
    """Degrees with their side of the globe."""
    return alt.Axis(labelExpr=DEGREES[name])


def under(columns: int = 4) -> alt.Legend:
    """A legend under the map, so that maps side by side begin at one height."""
    return alt.Legend(title=None, orient="bottom", columns=columns, labelLimit=130, symbolOpacity=1)


def samples(box: Box) -> Drawing:
    """By what became of them, labelled ones on top."""
    scale = alt.Scale(domain=list(ROLES), range=[WRONG, RIGHT, NEITHER])
    rank = f"-indexof({list(ROLES)!r}, datum.role)"
    return (
        dots(box)
        .transform_calculate(rank=rank)
        .encode(
            color=alt.Color("role:N", scale=scale, legend=under()),
            size=alt.condition("datum.role == 'labelled'", alt.value(46 * box.grain), alt.value(16 * box.grain)),
            order=alt.Order("rank:Q"),
        )
    )


def labels(box: Box, classes: list[str]) -> Drawing:
    """One label a patch by colour."""
    scale = alt.Scale(domain=[*classes, "unknown"], scheme="tableau20")
    return (
        dots(box)
        .transform_filter("datum.role != 'other'")
        .encode(color=alt.Color("truth:N", scale=scale, legend=under(3)), size=alt.value(22 * box.grain))
    )


def rights(box: Box, number: int) -> Drawing:
    """Right and wrong patches, told apart by form as well."""
    names = ["right", "wrong"]
    return (
        dots(box)
        .transform_filter(f"datum.role == 'test' && datum.error{number} !== null")
        .transform_calculate(outcome=f"datum.error{number} > 0 ? 'wrong' : 'right'")
        .encode(
            color=alt.Color("outcome:N", scale=alt.Scale(domain=names, range=[RIGHT, WRONG]), legend=under()),
            shape=alt.Shape("outcome:N", scale=alt.Scale(domain=names, range=["circle", "triangle"]), legend=under()),
            size=alt.condition("datum.outcome == 'wrong'", alt.value(40 * box.grain), alt.value(16 * box.grain)),
            order=alt.Order(f"error{number}:Q"),
        )
    )


def shares(box: Box, number: int) -> Drawing:
    """Patches with masks by their share of wrong pixels."""
    return (
        dots(box)
        .transform_filter(f"datum.role == 'test' && datum.error{number} !== null")
        .encode(
            color=alt.Color(
                f"error{number}:Q",
                title="wrong",
                scale=alt.Scale(domain=[0, 1]),
                legend=alt.Legend(orient="bottom", format="%", gradientLength=140, title="share wrong"),
            ),
            size=alt.value(40 * box.grain),
        )
    )


def outcomes(box: Box, number: int, classes: list[str]) -> Drawing:
    """One class of many at a time: where it is and where it is seen."""
    pick = alt.binding_select(options=list(range(len(classes))), labels=classes, name="class ")
    shown = alt.param("shown", value=0, bind=pick)
    there, seen = "indexof(datum.there, shown) >= 0", f"indexof(datum.seen{number}, shown) >= 0"
    right, wrong, missed, neither = (f"'{name}'" for name in OUTCOMES)
    scale = alt.Scale(domain=list(OUTCOMES), range=[RIGHT, WRONG, MISSED, NEITHER])
    forms = alt.Scale(domain=list(OUTCOMES), range=["circle", "triangle", "square", "circle"])
    return (
        dots(box)
        .add_params(shown)
        .transform_filter("datum.role == 'test'")
        .transform_calculate(rank=f"{there} || {seen} ? 1 : 0")
        .transform_calculate(outcome=f"{there} ? ({seen} ? {right} : {missed}) : ({seen} ? {wrong} : {neither})")
        .encode(
            color=alt.Color("outcome:N", scale=scale, legend=under(2)),
            shape=alt.Shape("outcome:N", scale=forms, legend=under(2)),
            size=alt.condition("datum.outcome == 'neither'", alt.value(8 * box.grain), alt.value(36 * box.grain)),
            opacity=alt.condition("datum.outcome == 'neither'", alt.value(0.35), alt.value(0.9)),
            order=alt.Order("rank:Q"),
        )
    )


def cells(subject: Subject, points: Points, box: Box) -> Iterator[Block]:
    """Error by cells of a grid."""
    west, south, east, north, _ = box
    step = max(east - west, north - south) / CELLS
    frame, charts = points.frame.dropna(subset=["longitude"]), []
    x, y = ((frame[name].astype(float) - low) // step for name, low in (("longitude", west), ("latitude", south)))
    tables = []
    for number in range(len(subject.answered)):
        error = frame[f"error{number}"].astype(float)
        found = pd.DataFrame({"x": x, "y": y, "error": error}).dropna().groupby(["x", "y"])["error"]
        table = found.agg(["mean", "size"]).reset_index()
        table = table.assign(
            west=west + table["x"] * step, east=west + (table["x"] + 1) * step,
            south=south + table["y"] * step, north=south + (table["y"] + 1) * step,
        )  # fmt: skip
        tables.append(table[table["size"] >= FULL])
    if any(not len(table) for table in tables):
        return
    top = max(float(table["mean"].max()) for table in tables) or 1.0
    for number, ((run, _), table) in enumerate(zip(subject.answered, tables, strict=True)):
        worst = table.sort_values("mean").iloc[-1]
        where = spot(worst["south"] + step / 2, worst["west"] + step / 2)
        told = f"Cells of {FULL} patches or more; highest near {where}: {worst['mean']:.0%}."
        name = f"cells{number}"
        charts.append(placed(name, f"Errors by place, {run.name}", told, squares(table, box, top), box))
    yield Beside(charts)


def spot(lat: float, lon: float) -> str:
    """A place in words."""
    return f"{abs(lat):.1f}° {'N' if lat >= 0 else 'S'}, {east_or_west(round(lon, 1))}"


def squares(table: pd.DataFrame, box: Box, top: float) -> Drawing:
    """Cells coloured by their share of errors."""
    west, south, east, north, _ = box
    about = [alt.Tooltip("mean:Q", title="wrong", format=".1%"), alt.Tooltip("size:Q", title="patches")]
    legend = alt.Legend(orient="bottom", format="%", gradientLength=140, title="share wrong")
    return (
        alt.Chart(values(table.drop(columns=["x", "y"])))
        .mark_rect(stroke=None)
        .encode(
            x=alt.X("west:Q", scale=alt.Scale(domain=[west, east], nice=False), title=None, axis=axis("longitude")),
            y=alt.Y("south:Q", scale=alt.Scale(domain=[south, north], nice=False), title=None, axis=axis("latitude")),
            x2="east:Q",
            y2="north:Q",
            color=alt.Color("mean:Q", scale=alt.Scale(domain=[0, top]), legend=legend),
            tooltip=about,
        )
        .add_params(zoom())
        .properties(width="container", height=320)
    )
