"""Longitudes on a round earth: places on both sides of the date line are neighbours."""

import numpy as np


def together(place: np.ndarray) -> np.ndarray:
    """The same places as one region: across the date line, those of the west lie beyond 180° east.

    Args:
        place: (N, 2 or more) latitude and longitude in degrees, and what else there is; NaN stays.

    Returns:
        The same, with longitudes from the far side of the widest empty stretch of the globe on.
    """
    around = np.unique(place[~np.isnan(place[:, 1]), 1])
    if not len(around):
        return place
    gaps = np.diff(around, append=around[0] + 360)
    first = around[(gaps.argmax() + 1) % len(around)]
    moved = place.copy()
    moved[:, 1] += 360 * (place[:, 1] < first)
    return moved


def wrapped(longitude: np.ndarray) -> np.ndarray:
    """Degrees (…,) beyond 180 or -180 as those of the same meridian between the two."""
    return np.where(np.abs(longitude) > 180, (longitude + 180) % 360 - 180, longitude)


def east_or_west(longitude: float) -> str:
    """As people write it, also beyond 180° east: 179° W."""
    degrees = float(wrapped(np.asarray(longitude)))
    return f"{abs(degrees):g}° {'E' if degrees >= 0 else 'W'}"
