"""Parcels, rivers and roads of a patch, and which parcel carries which cover."""

import math
from dataclasses import dataclass

import numpy as np

from wherewhen.world.cover import COVERS, INDEX
from wherewhen.world.fields import Array, smooth_noise
from wherewhen.world.parameters import Change, Cover, Parameters
from wherewhen.world.parameters import Layout as Numbers

_WILD = frozenset({"water", "broadleaf", "conifer", "heath"})


@dataclass(frozen=True)
class Layout:
    """The ground plan of one patch; it stays the same through seasons and years.

    Attributes:
        parcel: `(H, W)` number of the parcel under each pixel.
        edge: `(H, W)` distance to the parcel's border, pixels.
        along, across: `(H, W)` pixels along and across the patch's own direction.
        covers: `(P,)` cover of each parcel.
        angle: `(P,)` direction of each parcel's rows, radians.
        river, road: `(H, W)` true on the line.
    """

    parcel: Array
    edge: Array
    along: Array
    across: Array
    covers: Array
    angle: Array
    river: Array
    road: Array


def draw_layout(rng: np.random.Generator, main: int, probabilities: Array, parameters: Parameters) -> Layout:
    """The ground plan of a patch whose landscape is that of cover `main`.

    Args:
        rng: The patch's own.
        main: Number of the cover that most parcels carry.
        probabilities: `(K,)` of the covers at the place; the other parcels are drawn from them.
        parameters: The world's numbers.
    """
    numbers, name = parameters.layout, COVERS[main]
    x, y = warped(rng, numbers.wild_warp if name in _WILD else numbers.tame_warp, numbers.size)
    angle = rng.uniform(0, math.pi)
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    width = rng.uniform(*numbers.parcel[name])
    length = width * rng.uniform(*numbers.stretch.get(name, numbers.other_stretch))
    parcel, edge = cells(rng, along / length, across / width, numbers)
    covers = _covers(rng, main, probabilities, parameters.cover, numbers.cells**2)
    river = line(rng, numbers.river_chance, across + 14 * smooth_noise(rng, 3, numbers.size), 1.0, 3.5)
    road = line(rng, numbers.road_chance, along + 3 * smooth_noise(rng, 2, numbers.size), 0.5, 0.9)
    return Layout(parcel, edge * width, along, across, covers, _row_angles(rng, angle, numbers.cells**2), river, road)


def change_layout(rng: np.random.Generator, layout: Layout, change: Change) -> Layout:
    """The same ground years later: at some places the parcels around a point carry another cover."""
    if rng.random() >= change.chance:
        return layout
    size = layout.parcel.shape[0]
    row, column = rng.integers(size // 4, size - size // 4, 2)
    radius = rng.uniform(*change.radius)
    old = int(layout.covers[layout.parcel[row, column]])
    new = INDEX[str(rng.choice(change.becomes[COVERS[old]]))]
    rows, columns = np.indices(layout.parcel.shape)
    near = np.hypot(rows - row, columns - column) < radius
    reached = np.bincount(layout.parcel[near], minlength=len(layout.covers)) > 0
    covers = np.where(reached & (layout.covers == old), new, layout.covers)
    return Layout(**{**vars(layout), "covers": covers})


def cover_mask(layout: Layout) -> Array:
    """Cover of every pixel, `(H, W)` uint8; rivers are water, roads belong to their parcel."""
    mask = layout.covers[layout.parcel]
    return np.where(layout.river, INDEX["water"], mask).astype(np.uint8)


def warped(rng: np.random.Generator, strength: float, size: int) -> tuple[Array, Array]:
    """Pixel coordinates from the patch's centre, bent by smooth noise of `strength` pixels."""
    row, column = np.indices((size, size), dtype=np.float32) - np.float32(size / 2)
    bend = [strength * smooth_noise(rng, 5, size) for _ in range(2)]
    if strength > 3:  # wild borders are ragged as well
        bend = [b + 0.18 * strength * smooth_noise(rng, 16, size) for b in bend]
    return column + bend[0], row + bend[1]


def cells(rng: np.random.Generator, u: Array, v: Array, numbers: Numbers) -> tuple[Array, Array]:
    """Nearest centre of a jittered grid: its number `(H, W)`, and the lead over the second nearest."""
    side = numbers.cells
    jitter = rng.uniform(0, numbers.jitter, (2, side * side)).astype(np.float32) + (1 - numbers.jitter) / 2
    u, v = u + side / 2, v + side / 2
    column, row = np.floor(u).astype(np.intp), np.floor(v).astype(np.intp)
    nearest = np.full(u.shape, np.inf, np.float32)
    second, owner = nearest.copy(), np.zeros(u.shape, np.intp)
    for step in np.ndindex(3, 3):
        i = np.clip(column + step[0] - 1, 0, side - 1)
        j = np.clip(row + step[1] - 1, 0, side - 1)
        number = i * side + j
        distance = np.hypot(i + jitter[0][number] - u, j + jitter[1][number] - v)
        closer = distance < nearest
        second = np.where(closer, nearest, np.where(number == owner, second, np.minimum(second, distance)))
        owner = np.where(closer, number, owner)
        nearest = np.minimum(nearest, distance)
    return owner, second - nearest


def _covers(rng: np.random.Generator, main: int, probabilities: Array, cover: Cover, count: int) -> Array:
    """The main cover on a drawn share of the parcels, the neighbourhood's covers on the rest."""
    others = probabilities**cover.neighbours
    drawn = rng.choice(len(COVERS), count, p=others / others.sum())
    return np.where(rng.random(count) < rng.uniform(*cover.main_share), main, drawn)


def _row_angles(rng: np.random.Generator, angle: float, count: int) -> Array:
    """Rows run along or across the parcel grid, a few degrees off."""
    turned = rng.integers(0, 2, count) * (math.pi / 2)
    return np.asarray(angle + turned + 0.15 * rng.standard_normal(count))


def line(rng: np.random.Generator, chance: float, position: Array, thin: float, thick: float) -> Array:
    """A band around `position` = an offset near the centre, or nothing."""
    present, offset, half = rng.random() < chance, rng.uniform(-20, 20), rng.uniform(thin, thick)
    return (np.abs(position - offset) < half) & present
