"""How the canopy is spread within a parcel: crowns, stands, rows, lattices, clumps and blocks.

A pattern is `(H, W)`, about −1 to 1 and of mean near 0; it belongs to the place and stays the same from date to date.
Most covers have several styles, and covers that differ in colour share some: neither colour nor texture tells alone.
"""

from collections.abc import Callable, Sequence

import numpy as np

from wherewhen.world.cover import COVERS
from wherewhen.world.fields import Array, smooth_noise
from wherewhen.world.layout import Layout
from wherewhen.world.parameters import Layout as Numbers

Motif = Callable[[np.random.Generator, Layout, Numbers], Array]


def _noise(cells: int) -> Motif:
    def motif(rng: np.random.Generator, layout: Layout, numbers: Numbers) -> Array:
        return smooth_noise(rng, cells, numbers.size)

    return motif


def _stands(rng: np.random.Generator, layout: Layout, numbers: Numbers) -> Array:
    """Parcels of different age or density, with sharp borders."""
    return rng.uniform(-1.3, 1.3, len(layout.covers)).astype(np.float32)[layout.parcel]


def _tramlines(rng: np.random.Generator, layout: Layout, numbers: Numbers) -> Array:
    """Thin bare lines, a cart's width apart."""
    _, across = _own_axes(layout)
    line = np.clip(_wave(across, rng.uniform(*numbers.tramline_period)), 0, None) ** 3
    return np.asarray(0.45 - 1.6 * line)


def _headland(rng: np.random.Generator, layout: Layout, numbers: Numbers) -> Array:
    """A thinner strip along the border, where machines turn."""
    return np.where(layout.edge < rng.uniform(2, 4), -1.2, 0.3).astype(np.float32)


def _rows(rng: np.random.Generator, layout: Layout, numbers: Numbers) -> Array:
    _, across = _own_axes(layout)
    return _wave(across, rng.uniform(*numbers.row_period))


def _avenues(rng: np.random.Generator, layout: Layout, numbers: Numbers) -> Array:
    """Rows of trees, wider apart than those of vines."""
    _, across = _own_axes(layout)
    return _wave(across, rng.uniform(*numbers.avenue_period))


def _curves(rng: np.random.Generator, layout: Layout, numbers: Numbers) -> Array:
    """Rows that follow the contour lines of a slope."""
    bent = layout.across + 7 * smooth_noise(rng, 3, numbers.size)
    return _wave(bent, rng.uniform(*numbers.row_period))


def _lattice(rng: np.random.Generator, layout: Layout, numbers: Numbers) -> Array:
    along, across = _own_axes(layout)
    period = rng.uniform(*numbers.tree_period)
    return np.asarray(np.clip(_wave(along, period) + _wave(across, period), -0.6, None))


def _trees(rng: np.random.Generator, layout: Layout, numbers: Numbers) -> Array:
    """Scattered single trees."""
    return np.asarray(np.clip(smooth_noise(rng, 16, numbers.size) - 1.3, 0, 1.2) * 2 - 0.15)


def _clumps(rng: np.random.Generator, layout: Layout, numbers: Numbers) -> Array:
    """Thickets of every size."""
    coarse, middle, fine = (smooth_noise(rng, cells, numbers.size) for cells in (7, 13, 26))
    return np.asarray(0.6 * coarse + 0.55 * middle + 0.4 * fine)


def _blocks(rng: np.random.Generator, layout: Layout, numbers: Numbers) -> Array:
    """Houses of different size, each on its lot, and streets every third lot."""
    side = rng.uniform(*numbers.block)
    u, v = layout.along / side, layout.across / side
    i, j = np.floor(u).astype(np.intp), np.floor(v).astype(np.intp)
    roofs = rng.uniform(-0.9, 1.2, (32, 32)).astype(np.float32)[i % 32, j % 32]
    street = ((i % 3 == 0) & (u - i < 0.35)) | ((j % 3 == 0) & (v - j < 0.35))
    return np.where(street, -1.2, roofs).astype(np.float32)


def _houses(rng: np.random.Generator, layout: Layout, numbers: Numbers) -> Array:
    """Lots along streets, about half of them with a roof, the others gardens."""
    side = rng.uniform(*numbers.block)
    u, v = layout.along / side, layout.across / side
    i, j = np.floor(u).astype(np.intp), np.floor(v).astype(np.intp)
    lots = np.where(rng.random((32, 32)) < rng.uniform(0.35, 0.65), rng.uniform(0.5, 1.5, (32, 32)), -0.9)
    street = (j % rng.integers(3, 6) == 0) & (v - j < 0.5)
    return np.where(street, -0.5, lots[i % 32, j % 32]).astype(np.float32)


def _halls(rng: np.random.Generator, layout: Layout, numbers: Numbers) -> Array:
    """Large roofs, each on a yard of its own."""
    long, short = rng.uniform(5, 9), rng.uniform(4, 7)
    u, v = layout.along / long, layout.across / short
    i, j = np.floor(u).astype(np.intp), np.floor(v).astype(np.intp)
    built = rng.random((32, 32)) < 0.75
    roofs = np.where(built, rng.uniform(0.4, 1.5, (32, 32)), -0.7)[i % 32, j % 32]
    depth = rng.uniform(0.4, 0.8, (32, 32))[i % 32, j % 32]
    return np.where((u - i < depth) & (v - j < 0.65), roofs, -0.9).astype(np.float32)


def _oaks(rng: np.random.Generator, layout: Layout, numbers: Numbers) -> Array:
    """Single crowns, denser in one corner than in the other."""
    crowns = smooth_noise(rng, 30, numbers.size) + 0.5 * smooth_noise(rng, 4, numbers.size)
    return np.asarray(np.clip(3 * (crowns - rng.uniform(0.3, 0.9)), -0.8, 2.2))


def _creeks(rng: np.random.Generator, layout: Layout, numbers: Numbers) -> Array:
    """Winding channels where a smooth surface crosses zero, on a mosaic of flats."""
    winding = np.abs(smooth_noise(rng, 6, numbers.size) + 0.4 * smooth_noise(rng, 14, numbers.size))
    return np.asarray(np.where(winding < 0.16, -1.3, 0.3) + 0.4 * smooth_noise(rng, 5, numbers.size))


def _pools(rng: np.random.Generator, layout: Layout, numbers: Numbers) -> Array:
    """Small open waters."""
    return np.where(smooth_noise(rng, 18, numbers.size) > rng.uniform(1.0, 1.8), -1.6, 0.2).astype(np.float32)


def _swell(rng: np.random.Generator, layout: Layout, numbers: Numbers) -> Array:
    """Long parallel waves, with gusts."""
    gusts = 0.6 + 0.5 * smooth_noise(rng, 4, numbers.size)
    bent = layout.across + 3 * smooth_noise(rng, 4, numbers.size)
    return np.asarray(_wave(bent, rng.uniform(5, 11)) * gusts)


_MOTIFS: dict[str, Motif] = {
    "broad": _noise(6),
    "mottle": _noise(9),
    "crowns": _noise(18),
    "needles": _noise(32),
    "stands": _stands,
    "tramlines": _tramlines,
    "headland": _headland,
    "rows": _rows,
    "avenues": _avenues,
    "curves": _curves,
    "lattice": _lattice,
    "trees": _trees,
    "clumps": _clumps,
    "blocks": _blocks,
    "houses": _houses,
    "halls": _halls,
    "oaks": _oaks,
    "creeks": _creeks,
    "pools": _pools,
    "swell": _swell,
}


def pattern(
    rng: np.random.Generator, mask: Array, layout: Layout, numbers: Numbers, names: Sequence[str] = COVERS
) -> Array:
    """The pattern of every pixel's own cover, `(H, W)` float32, for covers `mask` `(H, W)`, which index `names`."""
    result = np.zeros(mask.shape, np.float32)
    for number, child in enumerate(rng.spawn(len(names))):
        mine = mask == number
        if mine.any():
            result[mine] = _style(child, names[number], layout, numbers)[mine]
    return result


def _style(rng: np.random.Generator, cover: str, layout: Layout, numbers: Numbers) -> Array:
    """One of the cover's styles: a weighted sum of motifs, stronger in one place than in the next."""
    styles = numbers.styles[cover]
    style = styles[rng.integers(len(styles))]
    total = np.zeros(layout.parcel.shape, np.float32)
    for motif, weight in style.items():
        total += np.float32(weight) * _MOTIFS[motif](rng, layout, numbers)
    return total * np.float32(np.exp(numbers.style_spread * rng.standard_normal()))


def _own_axes(layout: Layout) -> tuple[Array, Array]:
    """Pixels along and across the rows of each pixel's own parcel."""
    row, column = np.indices(layout.parcel.shape, dtype=np.float32)
    cos, sin = (turn(layout.angle).astype(np.float32)[layout.parcel] for turn in (np.cos, np.sin))
    return column * cos + row * sin, row * cos - column * sin


def _wave(position: Array, period: float) -> Array:
    return np.asarray(np.cos(np.float32(2 * np.pi / period) * position))
