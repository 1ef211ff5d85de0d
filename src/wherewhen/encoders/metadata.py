"""Place and time as a token.

Notation: N images, M metadata numbers, D width. Place and time travel as (N, 3): latitude and longitude in
degrees (WGS 84), and the fraction of the year in [0, 1]; NaN where unknown.
"""

import math
from collections.abc import Collection, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from wherewhen.errors import UserError

Part = Literal["place", "time"]
PARTS: tuple[Part, ...] = get_args(Part)
Encoding = Literal["raw", "cyclic", "fourier", "spherical"]
WAVELENGTHS = (64.0, 32.0, 16.0, 8.0, 4.0)  # degrees: from a continent to a region
HARMONICS = (1, 2)  # of the year
DEGREES = 20  # of spherical harmonics: 400 numbers, the finest wave is 360°/19 long


class MetadataEncoder(nn.Module):
    """The metatoken of "Context Matters" (ECAI 2024, section 3.3): metadata through a two-layer MLP.

    The published numbers, "raw", are latitude/90, longitude/180, sin 2πd, cos 2πd. "cyclic" has sine and cosine of
    the longitude instead, so that the map has no edge. "fourier" gives sines and cosines of place at several
    wavelengths, so that neighbouring regions can differ. "spherical" gives spherical harmonics, which know neither
    edge nor pole (Rußwurm et al., "Geographic Location Encoding with Spherical Harmonics and Sinusoidal Representation
    Networks", ICLR 2024). The last two also have the year's second harmonic.

    Where a part is unknown, learned numbers stand in for it; `dropout` is what trains them, and without it a NaN
    stays a NaN, because an embedding that was never trained would be an invented place.

    Args:
        width: D, the width of the encoder's tokens.
        use: Which parts the network sees: "place", "time" or both.
        dropout: Share of training samples whose place (and, apart from it, time) is hidden, in [0, 1).
        encoding: "raw", "cyclic", "fourier" or "spherical".
    """

    def __init__(
        self, width: int, use: Collection[Part] = PARTS, dropout: float = 0.0, encoding: Encoding = "raw"
    ) -> None:
        super().__init__()
        if not use or not set(use) <= set(PARTS):
            raise UserError(f"metadata {list(use)} is not a choice of {list(PARTS)}; name one or both")
        if not 0 <= dropout < 1:
            raise UserError(f"metadata dropout {dropout} is outside [0, 1); 0.1 is a usual value")
        self.use, self.encoding = tuple(part for part in PARTS if part in use), encoding
        self.dropout = dropout
        sizes = [encode(part, torch.zeros(1, 3), encoding).shape[1] for part in self.use]
        if dropout:
            self.unknown = nn.ParameterList(nn.Parameter(torch.zeros(size)) for size in sizes)
        self.mlp = nn.Sequential(nn.Linear(sum(sizes), width), nn.GELU(), nn.Linear(width, width))

    def forward(self, where: Tensor) -> Tensor:
        """(N, 3) -> (N, D)."""
        parts = [encode(part, where, self.encoding) for part in self.use]
        if self.dropout:
            parts = [self.hide(numbers, unknown) for numbers, unknown in zip(parts, self.unknown, strict=True)]
        encoded: Tensor = self.mlp(torch.cat(parts, dim=1))
        return encoded

    def hide(self, numbers: Tensor, unknown: Tensor) -> Tensor:
        """(N, M) -> the same with learned numbers (M,) for samples that are unknown, or hidden in training."""
        hidden = numbers.isnan().any(1, keepdim=True)
        if self.training:
            hidden = hidden | (torch.rand_like(numbers[:, :1]) < self.dropout)
        return torch.where(hidden, unknown, numbers)


def encode(part: Part, where: Tensor, encoding: Encoding = "raw") -> Tensor:
    """Place and time (N, 3) -> the numbers (N, M) of one part, NaN where unknown."""
    latitude, longitude, day = where.unbind(-1)
    turn = 2 * math.pi
    if part == "time":
        return waves([turn * k * day for k in ((1,) if encoding in ("raw", "cyclic") else HARMONICS)])
    match encoding:
        case "raw":
            return torch.stack((latitude / 90, longitude / 180), dim=-1)
        case "cyclic":
            return torch.cat((latitude[:, None] / 90, waves([longitude.deg2rad()])), dim=-1)
        case "fourier":
            return waves([turn * degrees / length for length in WAVELENGTHS for degrees in (latitude, longitude)])
        case "spherical":
            return spherical_harmonics(latitude.deg2rad(), longitude.deg2rad())


def waves(angles: Sequence[Tensor]) -> Tensor:
    """A angles of (N,) in radians -> (N, 2A): sine and cosine of each."""
    return torch.stack([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=-1)


def spherical_harmonics(latitude: Tensor, longitude: Tensor, degrees: int = DEGREES) -> Tensor:
    """Angles (N,) in radians -> (N, degrees²) real spherical harmonics, each with a mean square of 1 over the globe.

    The associated Legendre functions are normalised while they are built up (Holmes & Featherstone, "A unified
    approach to the Clenshaw summation", Journal of Geodesy 2002, eqs. 11 and 13): nothing overflows at high degrees.
    """
    up, out = latitude.sin(), latitude.cos()
    legendre: dict[tuple[int, int], Tensor] = {(0, 0): torch.ones_like(up)}
    for m in range(degrees):
        if m:
            legendre[m, m] = out * math.sqrt((2 * m + 1) / (2 * m) * (2 if m == 1 else 1)) * legendre[m - 1, m - 1]
        for n in range(m + 1, degrees):
            a = math.sqrt((2 * n - 1) * (2 * n + 1) / ((n - m) * (n + m)))
            value = a * up * legendre[n - 1, m]
            if n > m + 1:
                b = math.sqrt((2 * n + 1) * (n + m - 1) * (n - m - 1) / ((n - m) * (n + m) * (2 * n - 3)))
                value = value - b * legendre[n - 2, m]
            legendre[n, m] = value
    harmonics = [legendre[n, 0] for n in range(degrees)]
    for m in range(1, degrees):
        turned = (m * longitude).cos(), (m * longitude).sin()
        harmonics += [legendre[n, m] * wave for n in range(m, degrees) for wave in turned]
    return torch.stack(harmonics, dim=-1)
