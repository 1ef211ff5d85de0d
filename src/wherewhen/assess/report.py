"""An assessment for people, as text and Markdown, and for programs, as JSON."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from wherewhen.assess.compare import Comparison
from wherewhen.assess.estimate import Estimate, Z
from wherewhen.files import write_json, write_text

HECTARE, KM2 = 1e4, 1e6  # m²
_LISTED = 8  # points of one reason, by name

METHOD = (
    "Estimated from the reference sample with the map's classes (or --strata) as strata: Olofsson et al. (2014), "
    "Remote Sensing of Environment 148: 42–57. ± and intervals are 95 % (1.96 standard errors). They hold if the "
    "points were drawn at random within the strata, and none of them trained the model."
)
NOT_COUNTED = (
    "The estimates are the areas to publish. `mapped` is what counting the map's pixels gives; it carries the map's "
    "errors, has no interval, and stands here for comparison only."
)


class Table(NamedTuple):
    """A title, and columns of text."""

    title: str
    cells: pd.DataFrame


def tables(result: Comparison) -> list[Table]:
    """Counts, estimated proportions, accuracies and areas."""
    found, names = result.found, list(result.classes)
    counts = pd.DataFrame(result.counts, names, names).astype(str)
    shares = pd.DataFrame(found.proportions, names, names).map(lambda share: f"{100 * share:.2f}")
    accuracy = pd.DataFrame(
        {
            "points": result.counts.sum(1).astype(str),
            "user's (%)": _with_error(found.user),
            "producer's (%)": _with_error(found.producer),
        },
        names,
    )
    accuracy.loc["overall"] = [str(result.points), *_with_error(found.overall), ""]
    hectares = result.area / HECTARE
    area = pd.DataFrame(
        {
            "estimated (ha)": [
                f"{_amount(value)} ± {_amount(Z * error)}"
                for value, error in zip(found.share.value * hectares, found.share.error * hectares, strict=True)
            ],
            "95 % interval (ha)": _interval(found.share, hectares),
            "95 % interval (km²)": _interval(found.share, result.area / KM2),
            "share (%)": _with_error(found.share),
            "mapped (ha)": [_amount(value) for value in result.mapped / HECTARE],
        },
        names,
    )
    return [
        Table("Points (rows: the map, columns: the reference)", counts),
        Table("Estimated share of the area, % (rows: the map, columns: the reference)", shares),
        Table("Accuracy", accuracy),
        Table("Area", area),
    ]


def remarks(result: Comparison) -> list[str]:
    """What a reader must know beside the figures."""
    said = []
    for reason, points in result.left_out.groupby("reason", sort=False)["point"]:
        listed = ", ".join(points[:_LISTED]) + (", …" if len(points) > _LISTED else "")
        said.append(f"{len(points)} points {reason} are left out: {listed}")
    thin = result.strata[~result.strata["used"]]
    if len(thin):
        share = thin["area"].sum() / result.strata["area"].sum()
        said.append(
            f"{', '.join(thin['stratum'])}: fewer than two points, so {100 * share:.2g} % of the map is in none of "
            f"these figures, and areas are those of the other {_amount(result.area / HECTARE)} ha; add points there"
        )
    few = result.strata[result.strata["used"] & (result.strata["points"] < 20)]
    if len(few):
        said.append(f"{', '.join(few['stratum'])}: fewer than 20 points, so intervals are rough; add points there")
    perfect = [
        name
        for name, p, n in zip(result.classes, result.found.user.value, result.counts.sum(1), strict=True)
        if n and p in (0, 1)
    ]
    if perfect:
        said.append(
            f"{', '.join(perfect)}: the points show no variation, so the standard error comes out as 0; it is not"
        )
    return said


def as_text(result: Comparison, how: str) -> str:
    """For a terminal."""
    parts = [f"{table.title}\n{table.cells.to_string(justify='right')}" for table in tables(result)]
    return "\n\n".join([_head(result, how), *parts, *remarks(result), NOT_COUNTED, METHOD]) + "\n"


def as_markdown(result: Comparison, how: str, command: Sequence[str]) -> str:
    """For a report."""
    parts = [f"## {table.title}\n\n{_markdown(table.cells)}" for table in tables(result)]
    notes = [f"- {said}" for said in remarks(result)]
    foot = [NOT_COUNTED, METHOD, f"`{shlex.join(command)}`"]
    return (
        "\n\n".join(["# Accuracy and area", _head(result, how), *parts, *(["\n".join(notes)] if notes else []), *foot])
        + "\n"
    )


def as_json(result: Comparison, how: str, command: Sequence[str]) -> dict[str, Any]:
    """Every figure; areas in ha and km², accuracies and shares in [0, 1], null where the sample says nothing."""
    found = result.found
    classes = []
    for k, name in enumerate(result.classes):
        share = _figures(found.share, k)
        classes.append(
            {
                "class": name,
                "users_accuracy": _figures(found.user, k),
                "producers_accuracy": _figures(found.producer, k),
                "area_share": share,
                "area_ha": _scaled(share, result.area / HECTARE),
                "area_km2": _scaled(share, result.area / KM2),
                "mapped_ha_not_an_estimate": result.mapped[k] / HECTARE,
            }
        )
    return {
        "method": METHOD,
        "areas": how,
        "command": shlex.join(command),
        "points": result.points,
        "total_ha": result.area / HECTARE,
        "overall_accuracy": _figures(found.overall, ()),
        "classes": classes,
        "counts": result.counts.tolist(),
        "proportions": found.proportions.tolist(),
        "strata": [
            {**row, "area": row["area"] / HECTARE, "used": bool(row["used"])}
            for row in result.strata.to_dict("records")
        ],
        "left_out": result.left_out.to_dict("records"),
        "remarks": remarks(result),
    }


def write(path: Path, result: Comparison, how: str, command: Sequence[str]) -> tuple[Path, Path]:
    """Write JSON and Markdown beside each other under the name of `path`; their paths."""
    stem = path.with_suffix("") if path.suffix in (".json", ".md") else path
    written = stem.with_name(stem.name + ".json"), stem.with_name(stem.name + ".md")
    write_json(written[0], as_json(result, how, command))
    write_text(written[1], as_markdown(result, how, command))
    return written


def _head(result: Comparison, how: str) -> str:
    return f"{result.points} points, {_amount(result.area / HECTARE)} ha ({_amount(result.area / KM2)} km²; {how})"


def _with_error(estimate: Estimate) -> list[str]:
    pairs = zip(np.atleast_1d(estimate.value), np.atleast_1d(estimate.error), strict=True)
    return ["–" if math.isnan(value) else f"{100 * value:.1f} ± {100 * Z * error:.1f}" for value, error in pairs]


def _interval(share: Estimate, area: float) -> list[str]:
    return [f"{_amount(low)} to {_amount(high)}" for low, high in zip(share.low * area, share.high * area, strict=True)]


def _amount(value: float) -> str:
    """With four digits at least, and thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _figures(estimate: Estimate, k: Any) -> dict[str, float | None]:
    parts = (estimate.value, estimate.error, estimate.low, estimate.high)
    numbers = [float(part[k]) for part in parts]
    return {
        name: None if math.isnan(number) else number
        for name, number in zip(("estimate", "standard_error", "low", "high"), numbers, strict=True)
    }


def _scaled(figures: dict[str, float | None], factor: float) -> dict[str, float | None]:
    return {name: None if number is None else number * factor for name, number in figures.items()}


def _markdown(cells: pd.DataFrame) -> str:
    head = f"| | {' | '.join(map(_safe, cells.columns))} |"
    rows = [f"| {_safe(name)} | {' | '.join(row)} |" for name, row in zip(cells.index, cells.to_numpy(), strict=True)]
    return "\n".join([head, "|---|" + "---:|" * len(cells.columns), *rows])


def _safe(name: Any) -> str:
    return str(name).replace("|", "\\|")
