"""The ground plan of a real patch: every class of its label set takes a region, every region its parcels.

H rows, W columns, L classes in the label set, P parcels in sight.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wherewhen.world.climate import Climate
from wherewhen.world.fields import Array, smooth_noise
from wherewhen.world.ground.looks import KINDS
from wherewhen.world.ground.parameters import CLASSES, Parameters, Plan, Recipe
from wherewhen.world.layout import Layout, cells, line, warped

_STRIPS = 24  # strips across a patch, and parcels a strip: enough for the narrowest
_ORDER = ("sea", "water", "shore", "anywhere")  # water lies where the relief wants; others share what is left


@dataclass(frozen=True)
class GroundPlan:
    """Who has which part of a patch; it stays the same from date to date.

    Attributes:
        classes: `(H, W)` uint8, index into `CLASSES`.
        layout: Parcels; `covers` index `KINDS`, and there is no river beside the inland waters.
        hedge: `(P,)` half-width of each parcel's hedge, pixels.
    """

    classes: Array
    layout: Layout
    hedge: Array


def draw_plan(rng: np.random.Generator, labels: Sequence[int], climate: Climate, parameters: Parameters) -> GroundPlan:
    """The ground plan of a patch with the given label set.

    Args:
        rng: The place's own.
        labels: L different indices into `CLASSES`, at least one.
        climate: Of the place; scalars.
        parameters: All numbers.
    """
    recipes = {label: parameters.recipes[CLASSES[label]] for label in labels}
    size, angle = parameters.numbers.size, rng.uniform(0, math.pi)
    shares = _shares(rng, list(recipes.values()), parameters.plan)
    classes = _regions(rng, recipes, dict(zip(recipes, shares, strict=True)), parameters)
    parts = {label: _parcels(rng, recipe, angle, parameters) for label, recipe in recipes.items()}
    code, edge, along, across = (
        np.select([classes == label for label in parts], [part[axis] for part in parts.values()]) for axis in range(4)
    )
    seen, parcel = np.unique(code + classes.astype(np.intp) * _STRIPS**3, return_inverse=True)
    owner = seen // _STRIPS**3
    kinds, turn = np.empty(len(seen), np.intp), rng.integers(0, 2, len(seen)) * (math.pi / 2)
    for label, recipe in recipes.items():
        mine = owner == label
        kinds[mine] = _kinds(rng, recipe, climate, int(mine.sum()))
    none = np.zeros((size, size), bool)
    road = line(rng, parameters.plan.road, along + 2 * smooth_noise(rng, 2, size), 0.4, 0.8)
    layout = Layout(
        parcel.reshape(size, size), edge, along, across, kinds,
        angle=angle + turn + 0.15 * rng.standard_normal(len(seen)),
        river=none, road=road,
    )  # fmt: skip
    hedge = np.array([recipes[label].hedge for label in owner])
    return GroundPlan(classes, layout, hedge * np.clip(1 + 0.8 * rng.standard_normal(len(seen)), 0, 2))


def _shares(rng: np.random.Generator, recipes: list[Recipe], plan: Plan) -> Array:
    """Shares `(L,)` that sum to 1, none below `plan.least`."""
    drawn = rng.gamma(plan.concentration * np.array([recipe.weight for recipe in recipes])) + 1e-9
    return np.asarray(plan.least + (1 - plan.least * len(recipes)) * drawn / drawn.sum())


def _regions(
    rng: np.random.Generator, recipes: dict[int, Recipe], shares: dict[int, float], parameters: Parameters
) -> Array:
    """Class of every pixel, `(H, W)` uint8.

    One class after the other takes its share of the ground still free, where it scores lowest; the last has the rest.
    """
    size, plan = parameters.numbers.size, parameters.plan
    cell = _meeting_cells(rng, parameters)
    last = max(shares, key=lambda label: (_turn(recipes[label]), shares[label]))
    order = sorted(shares, key=lambda label: (label == last, _turn(recipes[label]), shares[label]))
    classes = np.full((size, size), last, np.uint8)
    free = np.ones((size, size), bool)
    coast: Array | None = None
    for label in order[:-1]:
        site = recipes[label].site
        if site in ("sea", "water") or (site == "shore" and coast is not None):
            score = _relief_score(rng, site, coast, parameters)
            taken = _lowest(score, free, round(shares[label] * size * size))
            coast = score if coast is None else coast
        else:
            score = _distance(rng, size) + plan.ragged[0] * smooth_noise(rng, 4, size)
            taken = _lowest_cells(score, cell, free, round(shares[label] * size * size))
        classes[taken] = label
        free &= ~taken
    return classes


def _turn(recipe: Recipe) -> int:
    return _ORDER.index(recipe.site)


def _relief_score(rng: np.random.Generator, site: str, coast: Array | None, parameters: Parameters) -> Array:
    """Low where the sea, inland water or the shore beside them would lie."""
    size, plan = parameters.numbers.size, parameters.plan
    ragged = plan.ragged[1] * (smooth_noise(rng, 4, size) + 0.3 * smooth_noise(rng, 14, size))
    if site == "shore":
        assert coast is not None
        return np.asarray(coast + 0.35 * ragged)
    if site == "sea":
        return _ahead(rng, size) + ragged
    if rng.random() < plan.river:
        return np.asarray(np.abs(_ahead(rng, size) + rng.uniform(-12, 12) + 2.5 * ragged))
    return _distance(rng, size) + 1.5 * ragged


def _ahead(rng: np.random.Generator, size: int) -> Array:
    """Pixels from the centre in a random direction."""
    row, column = np.indices((size, size), dtype=np.float32) - size / 2
    angle = rng.uniform(0, 2 * math.pi)
    return np.asarray(column * math.cos(angle) + row * math.sin(angle))


def _distance(rng: np.random.Generator, size: int) -> Array:
    """From a random centre, in pixels, longer in one direction than in the other."""
    row, column = np.indices((size, size), dtype=np.float32)
    angle, slim = rng.uniform(0, math.pi), rng.uniform(1.0, 2.2)
    y, x = row - rng.uniform(0, size), column - rng.uniform(0, size)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    return np.asarray(np.hypot(along / slim, across))


def _lowest(score: Array, free: Array, count: int) -> Array:
    """The `count` free pixels of lowest score, `(H, W)` bool."""
    order = np.argsort(np.where(free, score, np.inf), axis=None, kind="stable")[:count]
    taken = np.zeros(score.size, bool)
    taken[order] = True
    return taken.reshape(score.shape) & free


def _lowest_cells(score: Array, cell: Array, free: Array, count: int) -> Array:
    """Free parts of the cells of lowest mean score that come nearest to `count` pixels, `(H, W)` bool; one at least."""
    number = cell[free]
    area = np.bincount(number)
    mean = np.bincount(number, score[free]) / np.maximum(area, 1)
    order = np.argsort(np.where(area > 0, mean, np.inf), kind="stable")
    before = np.cumsum(area[order]) - area[order]
    chosen = np.zeros(len(area), bool)
    chosen[order[before + area[order] / 2 <= max(count, 1)]] = True
    chosen[order[0]] = True
    chosen &= area > 0
    return np.asarray(free & np.append(chosen, np.zeros(int(cell.max()) + 1 - len(chosen), bool))[cell])


def _meeting_cells(rng: np.random.Generator, parameters: Parameters) -> Array:
    """Small cells along whose borders the classes of the land meet, `(H, W)` integers."""
    numbers, width = parameters.numbers, parameters.plan.cell
    x, y = warped(rng, numbers.tame_warp, numbers.size)
    return cells(rng, x / width, y / width, numbers)[0]


def _parcels(
    rng: np.random.Generator, recipe: Recipe, angle: float, parameters: Parameters
) -> tuple[Array, Array, Array, Array]:
    """Parcel number, distance to its border, and pixels along and across the parcels' direction, `(H, W)` each."""
    numbers = parameters.numbers
    wild = recipe.shape == "wild"
    x, y = warped(rng, numbers.wild_warp if wild else numbers.tame_warp, numbers.size)
    turned = rng.uniform(0, math.pi) if wild else angle + 0.12 * rng.standard_normal()
    along = x * math.cos(turned) + y * math.sin(turned)
    across = y * math.cos(turned) - x * math.sin(turned)
    if recipe.shape == "whole":
        return np.zeros(x.shape, np.intp), np.full(x.shape, 99.0), along, across
    width = rng.uniform(*recipe.width)
    length = width * rng.uniform(*recipe.stretch)
    if wild:
        number, lead = cells(rng, along / length, across / width, numbers)
        return number, lead * width, along, across
    number, edge = _strips(rng, along, across, length, width)
    return number, edge, along, across


def _strips(rng: np.random.Generator, along: Array, across: Array, length: float, width: float) -> tuple[Array, Array]:
    """Fields: strips of different width, each cut into lengths of its own. Number and distance to the border."""
    sides = np.cumsum(width * rng.uniform(0.6, 1.4, _STRIPS + 1))
    sides -= sides[_STRIPS // 2]
    strip = np.clip(np.searchsorted(sides, across) - 1, 0, _STRIPS - 1)
    ends = np.cumsum(length * rng.uniform(0.6, 1.4, (_STRIPS, _STRIPS + 1)), axis=1)
    ends -= ends[:, [_STRIPS // 2]] + length * rng.uniform(0, 1, (_STRIPS, 1))
    piece = np.clip((along[..., None] > ends[strip]).sum(-1) - 1, 0, _STRIPS - 1)
    margins = (
        across - sides[strip], sides[strip + 1] - across, along - ends[strip, piece], ends[strip, piece + 1] - along,
    )  # fmt: skip
    return strip * _STRIPS + piece, np.minimum.reduce(margins)


def _kinds(rng: np.random.Generator, recipe: Recipe, climate: Climate, count: int) -> Array:
    """Kinds `(count,)` of a class's parcels, by the shares of its parts in this climate."""
    warm, dry = (float(climate.temperature) - 9) / 4, float(climate.drought) - 0.3
    weight = np.array([part.share * math.exp(part.warm * warm + part.dry * dry) for part in recipe.parts])
    number = np.array([KINDS.index(part.kind) for part in recipe.parts])
    return number[rng.choice(len(weight), count, p=weight / weight.sum())]
