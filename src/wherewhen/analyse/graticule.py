"""A plain map: degrees of longitude and latitude with a grid, as wide as it is high where it lies.

There is no coastline in it: that would need a file from elsewhere.
"""

import numpy as np
from matplotlib.axes import Axes

from wherewhen.plots import GRID


def together(place: np.ndarray) -> np.ndarray:
    """The same places as one region: across the date line, those of the west lie beyond 180° east.

    Args:
        place: (N, 2) latitude and longitude in degrees; NaN stays.

    Returns:
        (N, 2), with longitudes from the far side of the widest empty stretch of the globe on.
    """
    around = np.unique(place[~np.isnan(place[:, 1]), 1])
    if not len(around):
        return place
    gaps = np.diff(around, append=around[0] + 360)
    first = around[(gaps.argmax() + 1) % len(around)]
    return np.column_stack((place[:, 0], place[:, 1] + 360 * (place[:, 1] < first)))


def prepare(axes: Axes, place: np.ndarray, margin: float = 1.0) -> None:
    """Make the axes a map that shows all places.

    Args:
        axes: To draw on.
        place: (N, 2) latitude and longitude in degrees; NaN is left out.
        margin: Degrees around.
    """
    (south, west), (north, east) = np.nanmin(place, axis=0) - margin, np.nanmax(place, axis=0) + margin
    axes.set(xlim=(west, east), ylim=(south, north))
    axes.set_aspect(1 / max(np.cos(np.radians((south + north) / 2)), 0.1))
    axes.xaxis.set_major_formatter(lambda x, _: longitude(x))
    axes.yaxis.set_major_formatter(lambda y, _: f"{abs(y):g}° {'N' if y >= 0 else 'S'}")
    axes.tick_params(labelsize=7)
    axes.grid(**GRID)
    axes.set_axisbelow(True)


def longitude(degrees: float) -> str:
    """As people write it, also beyond 180° east."""
    degrees = (degrees + 180) % 360 - 180
    return f"{abs(degrees):g}° {'E' if degrees >= 0 else 'W'}"
