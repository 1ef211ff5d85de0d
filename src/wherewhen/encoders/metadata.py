"""Place and time as a token.

Notation: N images, M metadata numbers, D width. Place and time travel as (N, 3): latitude and longitude in
degrees (WGS 84), and the fraction of the year in [0, 1]; NaN where unknown.
"""

import math
from collections.abc import Collection
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from wherewhen.errors import UserError

Part = Literal["place", "time"]
PARTS: tuple[Part, ...] = get_args(Part)
NUMBERS = 2  # each part is two numbers


class MetadataEncoder(nn.Module):
    """The metatoken of "Context Matters" (ECAI 2024, section 3.3): raw metadata through a two-layer MLP.

    The numbers are latitude/90, longitude/180, sin 2πd, cos 2πd. Where a part is unknown, a learned pair of
    numbers stands in for it; `dropout` is what trains that pair, and without it a NaN stays a NaN, because
    an embedding that was never trained would be an invented place.

    Args:
        width: D, the width of the encoder's tokens.
        use: Which parts the network sees: "place", "time" or both.
        dropout: Share of training samples whose place (and, apart from it, time) is hidden, in [0, 1).
    """

    def __init__(self, width: int, use: Collection[Part] = PARTS, dropout: float = 0.0) -> None:
        super().__init__()
        if not use or not set(use) <= set(PARTS):
            raise UserError(f"metadata {list(use)} is not a choice of {list(PARTS)}; name one or both")
        if not 0 <= dropout < 1:
            raise UserError(f"metadata dropout {dropout} is outside [0, 1); 0.1 is a usual value")
        self.use = tuple(part for part in PARTS if part in use)
        self.dropout = dropout
        if dropout:
            self.unknown = nn.Parameter(torch.zeros(len(self.use), NUMBERS))
        self.mlp = nn.Sequential(nn.Linear(NUMBERS * len(self.use), width), nn.GELU(), nn.Linear(width, width))

    def forward(self, where: Tensor) -> Tensor:
        """(N, 3) -> (N, D)."""
        parts = torch.stack([raw_numbers(where)[part] for part in self.use], dim=1)  # (N, parts, 2)
        if self.dropout:
            hidden = parts.isnan().any(-1, keepdim=True)
            if self.training:
                hidden = hidden | (torch.rand_like(parts[..., :1]) < self.dropout)
            parts = torch.where(hidden, self.unknown, parts)
        encoded: Tensor = self.mlp(parts.flatten(1))
        return encoded


def raw_numbers(where: Tensor) -> dict[Part, Tensor]:
    """(N, 3) -> the published numbers of each part, (N, 2), all within [−1, 1]."""
    latitude, longitude, day = where.unbind(-1)
    angle = 2 * math.pi * day
    return {
        "place": torch.stack((latitude / 90, longitude / 180), dim=-1),
        "time": torch.stack((angle.sin(), angle.cos()), dim=-1),
    }
