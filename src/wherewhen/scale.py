"""From stored numbers to what a network sees, and the refusal to guess a unit.

Notation: N images, C bands, H × W pixels.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from wherewhen.bands import Band
from wherewhen.errors import UserError

CLIP_SIGMAS = 2.0  # ST-SSL clips every reflectance band to mean ± 2σ before it standardises


class Scale(nn.Module):
    """Stored numbers -> unit range [0, 1] for the views -> standardised numbers for the network.

    Saved with the model, so that a student needs nothing but an image in the same unit.

    Args:
        bands: How stored numbers become physical ones.
        low: (C,) physical value that becomes 0; everything below is clipped.
        high: (C,) physical value that becomes 1.
        spread: Standard deviation that the network is given to expect in the unit range.
    """

    gain: Tensor
    shift: Tensor

    def __init__(self, bands: Sequence[Band], low: np.ndarray, high: np.ndarray, spread: float) -> None:
        super().__init__()
        scale, offset = np.array([b.scale for b in bands]), np.array([b.offset for b in bands])
        width = np.maximum(high - low, 1e-12)  # a constant band is 0 everywhere, not infinite
        for name, value in (("gain", scale / width), ("shift", (offset * scale - low) / width)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32)[:, None, None])
        self.spread = spread

    @classmethod
    def of(cls, bands: Sequence[Band], mean: np.ndarray, std: np.ndarray) -> "Scale":
        """The published scale: (x − 0.5)/0.5 for 8-bit pictures, else clipped to mean ± 2σ and standardised.

        Args:
            bands: C bands of one unit.
            mean: (C,) of the training images, physical.
            std: (C,) likewise.
        """
        if all(band.unit == "8-bit" for band in bands):
            return cls(bands, np.zeros(len(bands)), np.full(len(bands), 255.0), spread=0.5)
        half = CLIP_SIGMAS * std
        return cls(bands, mean - half, mean + half, spread=0.5 / CLIP_SIGMAS)

    def unit(self, stored: Tensor) -> Tensor:
        """(N, C, H, W) stored numbers -> [0, 1]."""
        return (stored * self.gain + self.shift).clamp(0, 1)

    def forward(self, unit: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> what the network sees."""
        return (unit - 0.5) / self.spread


def check_bands(trained: Sequence[Band], given: Sequence[Band], where: str) -> None:
    """Refuse images whose bands or unit are not what a model was trained on.

    Raises:
        UserError: Another band, order or unit.
    """
    if [b.name for b in trained] != [b.name for b in given]:
        raise UserError(
            f"the model was trained on bands {', '.join(b.name for b in trained)}, but {where} has "
            f"{', '.join(b.name for b in given)}; prepare the images with the same bands in the same order"
        )
    for ours, theirs in zip(trained, given, strict=True):
        if ours.unit != theirs.unit:
            raise UserError(
                f"the model was trained on {ours.unit} in band {ours.name}, but {where} holds {theirs.unit}; "
                f"prepare the store again with the sensor whose unit is {ours.unit}"
            )
        if (ours.scale, ours.offset) != (theirs.scale, theirs.offset):
            raise UserError(
                f"band {ours.name} was (stored + {ours.offset:g}) × {ours.scale:g} in training, but is "
                f"(stored + {theirs.offset:g}) × {theirs.scale:g} in {where}; prepare the store with the "
                "same scale and offset"
            )
