"""A plain map: degrees of longitude and latitude with a grid, as wide as it is high where it lies.

There is no coastline in it: that would need a file from elsewhere.
"""

import numpy as np
from matplotlib.axes import Axes

from wherewhen.globe import east_or_west
from wherewhen.plots import GRID


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
    axes.xaxis.set_major_formatter(lambda x, _: east_or_west(x))
    axes.yaxis.set_major_formatter(lambda y, _: f"{abs(y):g}° {'N' if y >= 0 else 'S'}")
    axes.tick_params(labelsize=7)
    axes.grid(**GRID)
    axes.set_axisbelow(True)
