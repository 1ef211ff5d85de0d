"""How many points to look at, and where: a stratified random sample of a map's pixels.

Sample sizes follow Olofsson et al. (2014), section 5.1, eq. 13; the allocation is Neyman's for overall accuracy, with a
minimum for rare classes.

Notation: K strata, the classes of the map; W shares of the area, U expected user's accuracies, S = √(U(1 − U)).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wherewhen.assess.maps import ClassMap, strips
from wherewhen.errors import UserError

MINIMUM = 50  # points a class: what Olofsson et al. allot to rare ones (50 to 100)


class Drawn(NamedTuple):
    """Pixels that were drawn, in random order: (n,) rows, columns, and indices of their classes."""

    rows: np.ndarray
    columns: np.ndarray
    classes: np.ndarray


def deviation(expected: np.ndarray) -> np.ndarray:
    """S of (K,) expected user's accuracies."""
    spread: np.ndarray = np.sqrt(expected * (1 - expected))
    return spread


def sample_size(weights: np.ndarray, expected: np.ndarray, target: float, pixels: int) -> int:
    """Points for a standard error of overall accuracy (eq. 13), rounded up.

    Args:
        weights: (K,) W, summing to 1.
        expected: (K,) U, inside (0, 1).
        target: Standard error of overall accuracy, such as 0.01.
        pixels: Of the map; more points than that are never asked for.
    """
    spread = deviation(expected)
    return int(np.ceil((weights @ spread) ** 2 / (target**2 + weights @ spread**2 / pixels)))


def expected_error(weights: np.ndarray, expected: np.ndarray, points: np.ndarray) -> float:
    """Standard error of overall accuracy that `points` (K,) would give, were the expectations true (eq. 5)."""
    return float(np.sqrt((weights**2 * expected * (1 - expected) / np.maximum(points, 1)).sum()))


def allocate(total: int, weights: np.ndarray, expected: np.ndarray, minimum: int, pixels: np.ndarray) -> np.ndarray:
    """Points of each stratum, (K,) int64: in proportion to W·S, but at least `minimum` and at most its pixels.

    With one expectation for all classes that is in proportion to the area.

    Args:
        total: Points, at least the sum of the minima.
        weights: (K,) W.
        expected: (K,) U, inside (0, 1).
        minimum: Points of a stratum; one that has fewer pixels gives them all.
        pixels: (K,) of the strata.

    Raises:
        UserError: The minima are more than the total, or the total more than the pixels.
    """
    least = np.minimum(minimum, pixels)
    if total < least.sum():
        raise UserError(
            f"{total} points are too few for {minimum} in each of {len(pixels)} classes; "
            f"ask for {least.sum()} or more, or for a smaller --minimum"
        )
    if total > pixels.sum():
        raise UserError(f"{total} points are more than the {pixels.sum()} pixels of the map; ask for fewer")
    wanted = weights * deviation(expected)
    low, high = 0.0, (pixels / wanted).max()  # of the scale, at which all is taken
    for _ in range(200):
        scale = (low + high) / 2
        low, high = (low, scale) if np.clip(scale * wanted, least, pixels).sum() > total else (scale, high)
    ideal = np.clip(low * wanted, least, pixels)
    points: np.ndarray = np.floor(ideal + 1e-9).astype(np.int64)
    rest = np.argsort(np.where(points < pixels, points - ideal, np.inf), kind="stable")[: total - points.sum()]
    points[rest] += 1
    return points


def draw(raster: ClassMap, points: np.ndarray, seed: int) -> Drawn:
    """Draw pixels of each class without replacement, equally likely by area.

    Every pixel gets a random waiting time, exponential with its area as rate; the first `points` of each class are
    taken (Efraimidis and Spirakis 2006). It takes one pass, and the strips it is read in change nothing.

    Args:
        raster: The map.
        points: (256,) how many of each class index, at most its pixels.
        seed: Another seed, another sample.
    """
    rng = np.random.default_rng(seed)
    limit = np.where(points > 0, np.inf, -np.inf)  # the longest waiting time that may still be taken
    kept = np.zeros((0, 3))  # waiting time, class, position
    for top, (classes,) in strips(raster):
        area = raster.cells.area(top, len(classes))
        times = rng.standard_exponential(classes.shape) / area
        candidates = np.flatnonzero(times <= limit[classes])
        found = np.stack(
            (times.ravel()[candidates], classes.ravel()[candidates], candidates + top * classes.shape[1]), 1
        )
        kept, limit = _first(np.concatenate((kept, found)), points, limit)
    rng.shuffle(kept)
    rows, columns = np.divmod(kept[:, 2].astype(np.int64), raster.grid.shape[1])
    return Drawn(rows, columns, kept[:, 1].astype(np.int64))


def _first(kept: np.ndarray, points: np.ndarray, limit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of (n, 3) waiting times, classes and positions the first `points` of each class, and the new limits."""
    parts, limit = [np.zeros((0, 3))], limit.copy()
    for index in np.flatnonzero(points):
        members = kept[kept[:, 1] == index]
        members = members[np.lexsort((members[:, 2], members[:, 0]))][: points[index]]
        if len(members) == points[index]:
            limit[index] = members[-1, 0]
        parts.append(members)
    return np.concatenate(parts), limit


def expected(words: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """User's accuracy (K,) of each class from `0.8`, or `NAME=0.9` (the others 0.8), or both.

    Raises:
        UserError: A word is no number inside (0, 1), or names no class.
    """
    values = np.full(len(classes), 0.8)
    for word in sorted(words, key=lambda word: "=" in word):  # the one for all comes first
        name, _, number = word.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not 0 < value < 1:
            raise UserError(f"--expected {word}: {number!r} is no user's accuracy inside (0, 1); write 0.8 or NAME=0.8")
        if name and name not in classes:
            raise UserError(f"--expected {word}: the map has no class {name!r}; its classes are {', '.join(classes)}")
        values[list(classes).index(name) if name else slice(None)] = value
    return values


def as_geojson(raster: ClassMap, drawn: Drawn) -> dict[str, object]:
    """Centres of pixels as points in WGS 84: `id` from 1, `stratum`, and an empty `class` to fill in."""
    from pyproj import Transformer

    a, _, c, _, e, f = raster.grid.transform
    onto = Transformer.from_crs(raster.grid.crs, "EPSG:4326", always_xy=True)
    lon, lat = onto.transform(c + a * (drawn.columns + 0.5), f + e * (drawn.rows + 0.5))
    features = [
        {
            "type": "Feature",
            "properties": {"id": i, "stratum": raster.classes[k], "class": ""},
            "geometry": {"type": "Point", "coordinates": [round(float(x), 9), round(float(y), 9)]},
        }
        for i, (x, y, k) in enumerate(zip(lon, lat, drawn.classes, strict=True), 1)
    ]
    return {"type": "FeatureCollection", "name": "sample", "features": features}
