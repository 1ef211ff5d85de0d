"""Two dates of a place through one encoder, and how far apart they are.

Notation: N places, C bands, D channels.
"""

from typing import Any

import torch
from torch import Tensor, nn

from wherewhen.encoders.vit import Encoded


class Siamese(nn.Module):
    """Absolute differences of all feature maps of two dates (Daudt et al., FC-Siam-diff, ICIP 2018, arXiv:1810.08462).

    It is an encoder of both dates' bands; the two are one batch for the encoder inside.

    Args:
        encoder: With `features`, for images of C bands.
    """

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.takes_token = bool(getattr(encoder, "takes_token", False))
        self.width: int = encoder.width
        self.map_widths: tuple[int, ...] = encoder.map_widths
        self.map_strides: tuple[int, ...] = encoder.map_strides

    def features(self, images: Tensor, token: Tensor | None = None) -> Encoded:
        """Bands of the first date, then of the second, (N, 2C, H, W) -> `Encoded` of the differences.

        A token (N, D) is given to both dates; what comes back is the mean of its two answers.
        """
        dates = torch.cat(images.chunk(2, dim=1))  # (2N, C, H, W)
        encoded: Encoded = self.encoder.features(dates, None if token is None else token.repeat(2, 1))
        answer = None if encoded.token is None else encoded.token.unflatten(0, (2, -1)).mean(0)
        return Encoded(distance(encoded.pooled), tuple(distance(one) for one in encoded.maps), answer)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 2C, H, W) -> (N, D), the difference of the pooled features."""
        return self.features(images).pooled


def distance(both: Tensor) -> Tensor:
    """First and second half of (2N, …) -> |second − first|, (N, …)."""
    halves: Tensor = both.unflatten(0, (2, -1))  # a chunk's size would be one number in an exported graph
    return (halves[1] - halves[0]).abs()
