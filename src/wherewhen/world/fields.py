"""Smooth random fields over the globe and smooth noise over a patch."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

KM_PER_DEGREE = 111.2
REFERENCE_LATITUDE = 52.0  # one scale for longitude everywhere, so that fields have no seam


def kilometres(lat: Array, lon: Array) -> tuple[Array, Array]:
    """Eastward and northward kilometres of places in degrees, on one flat sheet."""
    east = np.asarray(lon) * (KM_PER_DEGREE * math.cos(math.radians(REFERENCE_LATITUDE)))
    return east, np.asarray(lat) * KM_PER_DEGREE


class Fields:
    """F fields of unit variance, each a sum of M cosines with random wave vectors.

    A field is a function of place alone, so any place can be asked without a grid.

    Args:
        rng: Draws the waves.
        lengths: Typical wavelength of each field, km; F of them.
        waves: M, cosines a field.
        spread: Standard deviation of log wavelength within a field.
    """

    def __init__(self, rng: np.random.Generator, lengths: Sequence[float], waves: int, spread: float) -> None:
        shape = (len(lengths), waves)
        angle = rng.uniform(0, 2 * math.pi, shape)
        number = 2 * math.pi / np.asarray(lengths)[:, None] * np.exp(spread * rng.standard_normal(shape))
        self.east, self.north = number * np.cos(angle), number * np.sin(angle)
        self.phase = rng.uniform(0, 2 * math.pi, shape)
        self.amplitude = math.sqrt(2 / waves)

    def __call__(self, lat: Array, lon: Array) -> Array:
        """Values `(F, *)` at places `(*)` in degrees."""
        x, y = (axis[..., None] for axis in kilometres(lat, lon))
        return np.stack(
            [
                self.amplitude * np.cos(x * e + y * n + p).sum(-1)
                for e, n, p in zip(self.east, self.north, self.phase, strict=True)
            ]
        )


@lru_cache(maxsize=64)
def _spline(cells: int, size: int) -> Array:
    """Cubic B-spline weights `(size, cells + 3)`, rows scaled so that white noise keeps unit variance."""
    at = np.linspace(0, cells, size, endpoint=False) + 0.5 * cells / size
    distance = np.abs(at[:, None] - (np.arange(cells + 3)[None] - 1))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    weights = np.where(distance < 1, near, far)
    return np.asarray(weights / np.sqrt((weights**2).sum(1, keepdims=True)), np.float32)


def smooth_noise(rng: np.random.Generator, cells: int, size: int) -> Array:
    """Unit-variance noise `(size, size)` whose blobs are about `size / cells` pixels wide."""
    weights = _spline(cells, size)
    return weights @ rng.standard_normal((cells + 3, cells + 3), dtype=np.float32) @ weights.T
