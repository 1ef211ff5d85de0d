"""What area a pixel covers on the ground.

The true area on the ellipsoid of the map's own datum, not the one in the plane of the projection: with degrees a row's
cells are bounded by parallels; in a projection, the pixel's area in the plane is multiplied by how much the projection
shrinks the ground there, found by projecting again to an equal-area system centred on the map. (A UTM zone is off by
up to 0.1 % in the plane, Web Mercator by a factor of 4 at 60° north; even Mollweide's, computed on a sphere, by 0.1 %.)

Notation: H rows, W columns of the map; R × C nodes of a coarse lattice over it.
"""

import numpy as np
from pyproj import CRS, Transformer

from wherewhen.errors import UserError
from wherewhen.ingest.rasters import Grid

_NODES_KM = 20  # between nodes of the lattice; linear in between, that is right to about 2e−5 even in Mercator
_SAME = 1e-6  # a map whose pixels differ less than that has one area


class Cells:
    """Areas of the pixels of a north-up map.

    Args:
        grid: Where the map lies.
        name: Of the map, for messages.

    Attributes:
        how: In words, how areas were found.

    Raises:
        UserError: The map has no coordinate reference system, or one that does not say where on Earth it is, or is
            rotated.
    """

    def __init__(self, grid: Grid, name: str) -> None:
        if not grid.crs:
            raise UserError(
                f"{name} has no coordinate reference system, so its areas are unknown; give it one with "
                "gdal_edit.py -a_srs EPSG:…"
            )
        a, b, _, d, e, _ = grid.transform
        if b or d or not a or not e:
            raise UserError(f"{name} is rotated against its coordinate system; straighten it with gdalwarp")
        crs = CRS.from_user_input(grid.crs).to_2d()
        crs = crs.source_crs if crs.is_bound and crs.source_crs is not None else crs
        if not (crs.is_geographic or crs.is_projected) or crs.ellipsoid is None:
            raise UserError(f"{name} is in {crs.name!r}, which is no place on Earth; warp it to one with gdalwarp")
        self.grid = grid
        if crs.is_geographic:
            self._table = _between_parallels(crs, grid)[:, None]
            self.how = "true area of each row's cells on the ellipsoid"
            self._rows = self._columns = np.zeros(0)
        else:
            self._rows, self._columns, self._table = _on_the_ellipsoid(crs, grid)
            self.how = "pixel area in the projection, corrected to the ellipsoid"
        known = np.isfinite(self._table)
        if not known.any():
            raise UserError(f"{name} lies outside the area of {crs.name!r}; check its coordinate system and transform")
        usual = float(self._table[known].mean())
        self._table[~known] = usual  # beyond the edge of the world, where no pixel has a class
        self._one = usual if np.ptp(self._table) < _SAME * usual else None

    def area(self, top: int, height: int) -> np.ndarray:
        """m² of the pixels of some rows: (1, 1) where all are alike, (height, 1) or (height, W)."""
        if self._one is not None:
            return np.full((1, 1), self._one)
        if self._table.shape[1] == 1:
            return self._table[top : top + height]
        rows = _between(self._rows, np.arange(top, top + height))
        columns = _between(self._columns, np.arange(self.grid.shape[1]))
        part = self._table[rows[0]] * (1 - rows[1][:, None]) + self._table[rows[0] + 1] * rows[1][:, None]
        area: np.ndarray = part[:, columns[0]] * (1 - columns[1]) + part[:, columns[0] + 1] * columns[1]
        return area


def _between_parallels(crs: CRS, grid: Grid) -> np.ndarray:
    """(H,) m² of a cell of each row: in a cylindrical equal-area projection the cells are rectangles."""
    a, _, c, _, e, f = grid.transform
    radians = crs.axis_info[0].unit_conversion_factor
    quarter = np.pi / 2 / radians
    edges = np.clip(f + e * np.arange(grid.shape[0] + 1), -quarter, quarter)  # maps of points overlap the poles
    flat = CRS.from_dict({"proj": "cea", "lat_ts": 0, "lon_0": 0, **_figure(crs)})
    _, y = Transformer.from_crs(crs, flat, always_xy=True).transform(np.full_like(edges, c), edges)
    assert crs.ellipsoid is not None
    return np.asarray(np.abs(np.diff(y)) * abs(a) * radians * crs.ellipsoid.semi_major_metre)


def _on_the_ellipsoid(crs: CRS, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (R,) and columns (C,) of a lattice of pixels, and their areas in m², (R, C)."""
    a, _, c, _, e, f = grid.transform
    metres = crs.axis_info[0].unit_conversion_factor  # in a unit of the system
    sides = (abs(e) * metres, abs(a) * metres)
    rows, columns = (_nodes(length, 1000 * _NODES_KM / side) for length, side in zip(grid.shape, sides, strict=True))
    x, y = np.meshgrid(c + a * (columns + 0.5), f + e * (rows + 0.5))
    lon, lat = Transformer.from_crs(crs, _geographic(crs), always_xy=True).transform(x.ravel(), y.ravel())
    on_earth = np.flatnonzero(np.isfinite(lon) & np.isfinite(lat))
    if not len(on_earth):
        return rows, columns, np.full(x.shape, np.nan)
    middle = on_earth[len(on_earth) // 2]
    flat = CRS.from_dict({"proj": "laea", "lon_0": lon[middle], "lat_0": lat[middle], **_figure(crs)})
    onto = Transformer.from_crs(crs, flat, always_xy=True)
    step = 50 / metres  # short against Earth, and long against the digits of a coordinate
    (east, west), (north, south) = (
        (onto.transform(x + i, y + j), onto.transform(x - i, y - j)) for i, j in ((step, 0), (0, step))
    )
    with np.errstate(invalid="ignore"):  # infinite beyond the edge of the world
        along_x, along_y = np.subtract(east, west) / (2 * step), np.subtract(north, south) / (2 * step)
        return rows, columns, np.abs(along_x[0] * along_y[1] - along_x[1] * along_y[0]) * abs(a * e)


def _geographic(crs: CRS) -> CRS:
    known = crs.geodetic_crs
    assert known is not None
    return known


def _figure(crs: CRS) -> dict[str, float]:
    ellipsoid = crs.ellipsoid
    assert ellipsoid is not None
    return {"a": ellipsoid.semi_major_metre, "b": ellipsoid.semi_minor_metre}


def _nodes(length: int, step: float) -> np.ndarray:
    """Positions from 0 to `length` − 1, at most `step` (or one pixel) apart; two or more."""
    return np.linspace(0, max(length - 1, 1), max(2, int(np.ceil((length - 1) / max(step, 1))) + 1))


def _between(nodes: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each place the node before it, and how far it is on the way to the next, in [0, 1]."""
    spacing = nodes[1] - nodes[0]
    before = np.minimum((places / spacing).astype(np.int64), len(nodes) - 2)
    return before, places / spacing - before
