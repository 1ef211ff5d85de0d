"""Habits that all charts share. Colours of words and paper are set in the browser, which knows light from dark."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

# Told apart by most eyes, and by 3 to 1 or more from white paper and from black.
COLOURS = ("#2b83c6", "#d9601a", "#128f6f", "#c05a9c", "#a37c00", "#8468d6", "#7d838c")
RIGHT, WRONG, MISSED, NEITHER = "#2b83c6", "#d9601a", "#a37c00", "#9aa0a6"
HEIGHT = 220
Drawing = Any  # a chart of Altair, whose methods say no more of what they return
MOVE = "[mousedown, window:mouseup] > window:mousemove!"  # a finger scrolls the page


def values(table: pd.DataFrame | Iterable[Mapping[str, Any]]) -> alt.InlineData:
    """A table within a chart; figures to five digits, none where unknown."""
    records = table.to_dict("records") if isinstance(table, pd.DataFrame) else table
    return alt.InlineData(values=[{str(name): short(value) for name, value in record.items()} for record in records])


def short(value: Any) -> Any:
    """A value that JSON can hold."""
    if isinstance(value, float):  # NumPy's are
        return float(f"{value:.5g}") if value == value and abs(value) != float("inf") else None
    return value.item() if hasattr(value, "item") else value


def spec(chart: Drawing, name: str) -> dict[str, Any]:
    """A chart as Vega-Lite; without what the page sets, and with one name however many charts were made before it."""
    found: dict[str, Any] = chart.to_dict()
    for gone in ("config", "$schema"):
        found.pop(gone, None)
    return dict(renamed(found, names_of_views(found), name))


def names_of_views(value: Any) -> dict[str, str]:
    """Names that the library counted up -> names of this chart."""
    seen: dict[str, str] = {}

    def look(part: Any) -> None:
        if isinstance(part, dict):
            if str(part.get("name", "")).startswith("view_"):
                seen.setdefault(part["name"], f"view{len(seen)}")
            for inner in part.values():
                look(inner)
        elif isinstance(part, list):
            for inner in part:
                look(inner)

    look(value)
    return seen


def renamed(value: Any, names: Mapping[str, str], within: str) -> Any:
    """The same value with other names of views."""
    if isinstance(value, dict):
        return {key: renamed(inner, names, within) for key, inner in value.items() if key != "datasets"} | (
            {"datasets": value["datasets"]} if "datasets" in value else {}
        )
    if isinstance(value, list):
        return [renamed(inner, names, within) for inner in value]
    return f"{within}-{names[value]}" if isinstance(value, str) and value in names else value


def by_run(names: Sequence[str]) -> alt.Color:
    """A colour a run, in their order; no legend where there is only one."""
    legend = alt.Legend(title=None, orient="top", columns=2, labelLimit=260) if len(names) > 1 else None
    return alt.Color("run:N", scale=alt.Scale(domain=list(names), range=list(COLOURS)), legend=legend)


def zoom(name: str = "zoom") -> alt.Parameter:
    """Wheel and mouse move and scale both axes."""
    return alt.selection_interval(name=name, bind="scales", translate=MOVE)
