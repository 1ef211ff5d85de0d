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
Encoding = Literal["raw", "fourier"]
WAVELENGTHS = (64.0, 32.0, 16.0, 8.0, 4.0)  # degrees: from a continent to a region
HARMONICS = (1, 2)  # of the year


class MetadataEncoder(nn.Module):
    """The metatoken of "Context Matters" (ECAI 2024, section 3.3): metadata through a two-layer MLP.

    The published numbers, "raw", are latitude/90, longitude/180, sin 2πd, cos 2πd. "fourier" gives sines and
    cosines of place at several wavelengths, so that neighbouring regions can differ, and of the year's first two
    harmonics. Where a part is unknown, learned numbers stand in for it; `dropout` is what trains them, and
    without it a NaN stays a NaN, because an embedding that was never trained would be an invented place.

    Args:
        width: D, the width of the encoder's tokens.
        use: Which parts the network sees: "place", "time" or both.
        dropout: Share of training samples whose place (and, apart from it, time) is hidden, in [0, 1).
        encoding: "raw" or "fourier".
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
    """Place and time (N, 3) -> the numbers (N, M) of one part, all within [−1, 1], NaN where unknown."""
    latitude, longitude, day = where.unbind(-1)
    turn = 2 * math.pi
    if part == "time":
        return waves([turn * k * day for k in (HARMONICS if encoding == "fourier" else (1,))])
    if encoding == "raw":
        return torch.stack((latitude / 90, longitude / 180), dim=-1)
    return waves([turn * degrees / length for length in WAVELENGTHS for degrees in (latitude, longitude)])


def waves(angles: Sequence[Tensor]) -> Tensor:
    """A angles of (N,) in radians -> (N, 2A): sine and cosine of each."""
    return torch.stack([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=-1)
