"""Mean and standard deviation of bands, exact: sums of whole numbers do not depend on their order."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from wherewhen.bands import Band


@dataclass(frozen=True)
class Moments:
    """Sums over pixels of stored numbers, a value a band.

    Args:
        count: Pixels of one band.
        total: Sum of each band.
        square: Sum of squares of each band.
    """

    count: int
    total: tuple[int, ...]
    square: tuple[int, ...]

    @classmethod
    def of(cls, pixels: np.ndarray) -> "Moments":
        """Sum the whole numbers of `pixels` (N, C, H, W), of at most 16 bits each."""
        total, square = [], []
        for band in range(pixels.shape[1]):  # band by band: the 64-bit copy stays small
            values = pixels[:, band].astype(np.int64).ravel()
            total.append(int(values.sum()))
            square.append(int(values @ values))  # below 2**63 for 2**31 pixels of 16 bits
        return cls(pixels.size // max(1, pixels.shape[1]), tuple(total), tuple(square))

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            self.count + other.count,
            tuple(a + b for a, b in zip(self.total, other.total, strict=True)),
            tuple(a + b for a, b in zip(self.square, other.square, strict=True)),
        )

    def mean_and_std(self, bands: tuple[Band, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and population standard deviation of each band, in physical units."""
        mean, std = [], []
        for band, total, square in zip(bands, self.total, self.square, strict=True):
            mean.append((total / self.count + band.offset) * band.scale)
            std.append(math.sqrt(self.count * square - total * total) / self.count * band.scale)
        return tuple(mean), tuple(std)

    def to_json(self) -> dict[str, Any]:
        """A mapping that JSON can hold; its whole numbers have any length."""
        return {"count": self.count, "total": list(self.total), "square": list(self.square)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Moments":
        """The inverse of `to_json`."""
        return cls(value["count"], tuple(value["total"]), tuple(value["square"]))
