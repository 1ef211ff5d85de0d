"""Other places and times than the true ones: what a network is told, to see how much it leans on them.

Notation: M images. Place and time are (M, 3): latitude and longitude in degrees, fraction of the year; NaN unknown.
"""

import math
from typing import Literal

import numpy as np

from wherewhen.errors import UserError

Network = Literal["student", "teacher"]
NAMES = ("true", "far", "permuted", "hidden")


def replaced(where: np.ndarray, how: str, day: int | None = None) -> np.ndarray:
    """Place and time (M, 3) as a user wants a network to be told.

    Args:
        where: The true ones.
        how: A name: `true`; `far` and `permuted`, see there; `hidden`, all unknown. Or `LAT,LON` in degrees: one
            place for all.
        day: Of the year, 1 to 366: one time for all, whatever `how` makes of the time.

    Raises:
        UserError: `how` is neither a name nor a place on Earth, or `day` is in no year.
    """
    if day is not None and not 1 <= day <= 366:
        raise UserError(f"--when {day} is no day of a year; give 1 (1 January) to 366")
    match how:
        case "true":
            told = where.copy()
        case "far":
            told = far_away(where)
        case "permuted":
            told = permuted(where)
        case "hidden":
            told = np.full_like(where, np.nan)
        case _:
            told = at_place(where, *place(how))
    return told if day is None else at_day(told, day)


def place(text: str) -> tuple[float, float]:
    """`LAT,LON` -> degrees.

    Raises:
        UserError: It is something else.
    """
    try:
        latitude, longitude = map(float, text.split(","))
    except ValueError:
        latitude = longitude = math.nan
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):  # also where it is NaN
        raise UserError(
            f"--where {text} is none of {', '.join(NAMES)} and no place; a place is LAT,LON in degrees, "
            "for example --where=-33.9,151.2"
        )
    return latitude, longitude


def far_away(where: np.ndarray) -> np.ndarray:
    """(M, 3) -> each patch with the place of the one half the list away by longitude, and a day half a year off."""
    order = np.argsort(where[:, 1], kind="stable")
    far = where.copy()
    far[order, :2] = where[np.roll(order, len(order) // 2), :2]
    far[:, 2] = (where[:, 2] + 0.5) % 1
    return far


def permuted(where: np.ndarray, seed: int = 0) -> np.ndarray:
    """(M, …) -> each patch with what is another's: one round through all of them in random order."""
    order = np.random.default_rng(seed).permutation(len(where))
    others = np.empty_like(where)
    others[order] = where[np.roll(order, 1)]
    return others


def at_place(where: np.ndarray, latitude: float, longitude: float) -> np.ndarray:
    """(M, 3) -> the same times, all at one place in degrees."""
    told = where.copy()
    told[:, :2] = latitude, longitude
    return told


def at_day(where: np.ndarray, day: int) -> np.ndarray:
    """(M, 3) -> the same places, all on one day of the year, counted from 1."""
    told = where.copy()
    told[:, 2] = (day - 1) / 366
    return told
