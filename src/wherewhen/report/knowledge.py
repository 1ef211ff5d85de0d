"""What the teacher makes of place and time: files that `wherewhen analyse prior` and `metadata` left in the runs."""

from collections.abc import Iterator

import altair as alt
import pandas as pd

from wherewhen.report.blocks import Beside, Block, Chart, Listing, Note, Section, Table
from wherewhen.report.charts import spec, zoom
from wherewhen.report.places import Box, axis, placed, spot
from wherewhen.report.points import rounded
from wherewhen.report.runs import Run
from wherewhen.report.subject import Subject
from wherewhen.report.training import lines
from wherewhen.tasks.evaluation import TITLES

GREY = "What the teacher of {} expects of a grey image: by place (mean of the months), and by day (mean of places)."
OVERLAP = 0.53  # of a cell's side, to each side of its middle: no gaps of rounding between cells


def section(subject: Subject) -> Section:
    """What the teacher leans on: files that `wherewhen analyse prior` and `metadata` left in the runs."""
    blocks: list[Block] = []
    tables: dict[str, dict[str, list[float | None]]] = {}
    for number, run in enumerate(subject.runs):
        if (places := run.table("prior_places.csv")) is not None:
            blocks.append(Note(GREY.format(run.name)))
            blocks.append(Beside(list(expectations(number, places))))
            tables[f"prior{number}"] = table_of(places)
        if (days := run.table("prior_days.csv")) is not None:
            blocks.append(seasons(number, run.name, days))
        if (audit := run.table("metadata.csv")) is not None:
            blocks += audited(run, audit)
    return Section("knowledge", "What place and time are worth", blocks, tables)


def expectations(number: int, places: pd.DataFrame) -> Iterator[Chart]:
    """A map a class; the classes' figures lie in one table."""
    height, width = (float(pd.Series(sorted(places[name].unique())).diff().median()) for name in ("lat", "lon"))
    low, high = places[["lat", "lon"]].min(), places[["lat", "lon"]].max()
    box = Box(low["lon"] - width / 2, low["lat"] - height / 2, high["lon"] + width / 2, high["lat"] + height / 2)
    for index, name in enumerate(classes_of(places)):
        p = places[name]
        top = places.iloc[int(p.argmax())]
        said = f"From {p.min():.2f} to {p.max():.2f}, highest at {spot(top['lat'], top['lon'])}."
        chart = (
            alt.Chart(alt.NamedData(f"prior{number}"))
            .transform_calculate(
                west=f"datum.lon - {width * OVERLAP}",
                east=f"datum.lon + {width * OVERLAP}",
                south=f"datum.lat - {height * OVERLAP}",
                north=f"datum.lat + {height * OVERLAP}",
            )
            .mark_rect(strokeWidth=0)
            .encode(
                x=alt.X(
                    "west:Q", scale=alt.Scale(domain=[box[0], box[2]], nice=False), title=None, axis=axis("longitude")
                ),
                y=alt.Y(
                    "south:Q", scale=alt.Scale(domain=[box[1], box[3]], nice=False), title=None, axis=axis("latitude")
                ),
                x2="east:Q",
                y2="north:Q",
                color=alt.Color(
                    f"p{index}:Q",
                    scale=alt.Scale(scheme="viridis", domainMin=0),
                    legend=alt.Legend(orient="bottom", title="probability", gradientLength=140),
                ),
                tooltip=[alt.Tooltip(f"p{index}:Q", title="probability", format=".3f")],
            )
            .add_params(zoom())
            .properties(width="container", height=300)
        )
        yield placed(
            f"prior{number}-{index}", str(name), f"Expected probability of {name} by place. {said}", chart, box
        )


def classes_of(places: pd.DataFrame) -> list[str]:
    """The classes whose probabilities the table holds."""
    return [str(column) for column in places if column not in ("lat", "lon")]


def table_of(places: pd.DataFrame) -> dict[str, list[float | None]]:
    """Its columns, for the page."""
    named = {"lat": places["lat"], "lon": places["lon"]}
    named |= {f"p{index}": places[name] for index, name in enumerate(classes_of(places))}
    return {name: rounded(column.to_numpy(), 4) for name, column in named.items()}


def seasons(number: int, run: str, days: pd.DataFrame) -> Chart:
    """A line a class through the year."""
    names = [str(column) for column in days if column != "day"]
    rows = days.melt("day", var_name="run", value_name="value").rename(columns={"day": "step"})
    name = f"seasons{number}"
    drawn = lines(rows[["step", "value", "run"]], names, "probability").encode(
        x=alt.X("step:Q", title="day of the year")
    )
    peaks = "; ".join(f"{column} peaks on day {int(days['day'].iloc[int(days[column].argmax())])}" for column in names)
    return Chart(name, spec(drawn, name), f"Through the year, {run}", f"Expected probability by day. {peaks}.")


def audited(run: Run, audit: pd.DataFrame) -> Iterator[Block]:
    """The audit's table, and its proof that the student is blind to place and time."""
    metric = str(audit.columns[2])
    head = (
        "network, and what it is told",
        f"{TITLES[metric]} (%)",
        "change",
        "decisions changed (%)",
        "probability moved",
    )
    body = [
        (f"{r['network']}: {r['told']}", f"{r[metric]:.1f}", f"{r['change']:+.1f}", f"{r['changed_decisions']:.1f}",
         f"{r['mean_probability_change']:.3f}")
        for r in audit.to_dict("records")
    ]  # fmt: skip
    yield Table(f"Metadata audit, {run.name}", head, body)
    text = run.text("metadata.md") or ""
    _, found, proof = text.partition("The files that the student's test writes")
    if found:
        yield Listing("Whether the student's files change with place and time", found + proof.rstrip())
