"""Reference points laid on a map: what is counted, what is left out, and what follows.

Notation: H strata, K classes, N points.
"""

import difflib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from wherewhen.assess.estimate import Assessment, estimate
from wherewhen.assess.maps import NODATA, ClassMap, refuse_twins, tally
from wherewhen.errors import UserError

_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Comparison:
    """A map against a reference.

    Args:
        classes: K names: those that the map or the reference shows.
        counts: (K, K) points by class in the map (rows) and in the reference.
        mapped: (K,) m² that the map shows of each class. No estimate: the map's errors are in it.
        area: m² that the estimates hold for.
        strata: A row a stratum: `stratum`, `points`, `area` (m²), `used`. One with fewer than two points is not used.
        left_out: A row a point that is not counted: `point`, `reason`.
        points: How many are counted.
        found: The estimates.
    """

    classes: tuple[str, ...]
    counts: np.ndarray
    mapped: np.ndarray
    area: float
    strata: pd.DataFrame
    left_out: pd.DataFrame
    points: int
    found: Assessment


def compare(raster: ClassMap, frame: pd.DataFrame, strata: ClassMap | None = None) -> Comparison:
    """Count the points, and estimate accuracy and area.

    Args:
        raster: The map.
        frame: Points as `wherewhen.assess.points.read_points` gives them. Where they tell their `stratum`, it must be
            that of `strata`.
        strata: The map within whose classes the points were drawn, on the same grid; None is the map itself.

    Raises:
        UserError: A class of the points is unknown, the strata are others, or no stratum has two points.
    """
    strata = raster if strata is None else strata
    _same_grid(strata, raster)
    true = _indices(frame["name"], raster)
    rows, columns = raster.pixel(frame["x"].to_numpy(), frame["y"].to_numpy())
    mapped = raster.at(rows, columns)
    stratum = mapped if strata is raster else strata.at(rows, columns)
    reason = _reasons(frame, rows, columns, raster, mapped, stratum)
    used = reason == ""
    _check_strata(frame["stratum"], stratum, used, strata)
    if not used.any():
        raise UserError(
            f"none of the {len(frame)} points can be used, the first is {reason[0]}; check their coordinates"
        )
    if np.bincount(stratum[used]).max() < 2:
        raise UserError(
            f"the {used.sum()} points that can be used lie in as many strata, and an estimate needs two in one; "
            "draw more with wherewhen assess --design"
        )
    area = tally(strata, raster).area
    return _comparison(raster, strata, np.stack((stratum, mapped, true), 1)[used], area, _listed(frame, reason))


def _comparison(
    raster: ClassMap, strata: ClassMap, seen: np.ndarray, area: np.ndarray, left_out: pd.DataFrame
) -> Comparison:
    """Count points (N, 3) of stratum, class in the map and class in the reference; `area` is (256, 256) m²."""
    there = np.flatnonzero(area.sum(1))
    points = np.bincount(seen[:, 0], minlength=256)[there]
    names = [strata.classes[h] for h in there]
    table = pd.DataFrame({"stratum": names, "points": points, "area": area.sum(1)[there], "used": points >= 2})
    enough = there[points >= 2]
    seen, area = seen[np.isin(seen[:, 0], enough)], area[enough]
    shown = np.union1d(np.flatnonzero(area.sum(0)), seen[:, 1:])
    counts = np.zeros((len(enough), len(shown), len(shown)), np.int64)
    np.add.at(counts, tuple(np.searchsorted(axis, seen[:, i]) for i, axis in enumerate((enough, shown, shown))), 1)
    return Comparison(
        classes=tuple(raster.classes[k] for k in shown),
        counts=counts.sum(0),
        mapped=area.sum(0)[shown],
        area=float(area.sum()),
        strata=table,
        left_out=left_out,
        points=len(seen),
        found=estimate(counts, area.sum(1)),
    )


def _same_grid(strata: ClassMap, raster: ClassMap) -> None:
    if strata.grid != raster.grid:
        raise UserError(
            f"{strata.path} and {raster.path} lie on different grids; bring the strata onto the map's with "
            "gdalwarp -r near -t_srs … -te … -ts …"
        )


def _indices(names: pd.Series, raster: ClassMap) -> np.ndarray:
    """Class index (N,) of each name, 255 where there is none."""
    known = {name: index for index, name in enumerate(raster.classes)}
    given = list(dict.fromkeys(names.dropna()))
    refuse_twins(given, "the classes of the points")
    if unknown := [name for name in given if name not in known]:
        near = difflib.get_close_matches(unknown[0].casefold(), [name.casefold() for name in known], n=1)
        meant = [f"{name!r}" for name in known if near and name.casefold() == near[0]]
        classes = ", ".join(raster.classes) if raster.named else "0 to 254, for the map names none"
        raise UserError(
            f"{len(unknown)} classes of the points are none of the map's: {_some(unknown)}"
            + (f" (did you mean {meant[0]}?)" if meant else "")
            + f"; the map's are {classes}: correct the points, or name all classes with --classes"
        )
    return np.array([NODATA if name is None else known[name] for name in names.where(names.notna(), None)], np.int64)


def _reasons(
    frame: pd.DataFrame,
    rows: np.ndarray,
    columns: np.ndarray,
    raster: ClassMap,
    mapped: np.ndarray,
    stratum: np.ndarray,
) -> np.ndarray:
    """Why each point is left out, (N,) text; empty where it is not."""
    height, width = raster.grid.shape
    outside = (rows < 0) | (columns < 0) | (rows >= height) | (columns >= width)
    nameless = frame["name"].isna().to_numpy()
    twice = frame.assign(nameless=nameless).duplicated(["x", "y", "nameless"]).to_numpy()
    cases = [
        (nameless, "without a class"),
        (~np.isfinite(frame[["x", "y"]].to_numpy()).all(1), "without a place that the map's system knows"),
        (outside, "outside the map"),
        (mapped == NODATA, "where the map has no data"),
        (stratum == NODATA, "where the strata have no data"),
        (twice, "at the place of an earlier point"),
    ]
    return np.select([where for where, _ in cases], [why for _, why in cases], "")


def _check_strata(given: pd.Series, stratum: np.ndarray, used: np.ndarray, strata: ClassMap) -> None:
    here = [strata.classes[index] if use else None for index, use in zip(stratum, used, strict=True)]
    other = [i for i, name in enumerate(here) if name is not None and given[i] is not None and given[i] != name]
    if other:
        raise UserError(
            f"{len(other)} points say another stratum than {strata.path} has there, the first {given[other[0]]!r} "
            f"where it has {here[other[0]]!r}; give the map from which they were drawn with --strata, or rename the "
            "column 'stratum' if it means something else"
        )


def _listed(frame: pd.DataFrame, reason: np.ndarray) -> pd.DataFrame:
    listed: pd.DataFrame = frame[["point"]].assign(reason=reason)[reason != ""]
    return listed.reset_index(drop=True)


def _some(names: list[str]) -> str:
    return ", ".join(map(repr, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")
