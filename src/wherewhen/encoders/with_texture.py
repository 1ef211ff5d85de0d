"""Texture beside features: histograms of every band's local binary patterns (Ojala et al., TPAMI 2002).

Notation: N images, C bands, B bins, D width. Images come as a network sees them, `(unit - 0.5) / spread`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wherewhen.build import build
from wherewhen.encoders.learner import feature_width
from wherewhen.encoders.vit import Encoded, encode
from wherewhen.errors import UserError
from wherewhen.views.texture import histogram, local_binary_pattern

POINTS, RADIUS, CODES = 16, 2, 18  # SACo+'s pattern; uniform patterns of 16 points have 18 codes


def grey_values(images: Tensor, spread: float) -> Tensor:
    """What a network sees -> grey values 0, 1, …, 255 of the same shape."""
    return (images.float() * spread + 0.5).clamp(0, 1).mul(255).round()


@torch.no_grad()
def texture_codes(grey: Tensor) -> Tensor:
    """Grey values (…, H, W) -> codes 0 to 17 of the same shape."""
    if grey.is_meta:  # networks are also built without memory, to be counted
        return torch.empty_like(grey)
    codes: Tensor = local_binary_pattern(grey, POINTS, RADIUS, "uniform")
    return codes


def texture_histograms(codes: Tensor, bins: int = CODES) -> Tensor:
    """Codes (N, C, H, W) -> (N, C·B): counts, of which an image's least becomes 0 and its greatest 1.

    As SACo+ publishes it, for one image at a time; theirs depend on the batch.
    """
    counts = histogram(codes, bins).float().flatten(1)
    least, greatest = counts.amin(1, keepdim=True), counts.amax(1, keepdim=True)
    return (counts - least) / (greatest - least).clamp(min=1)


class WithTexture(nn.Module):
    """An encoder whose features are followed by the texture histogram of every band.

    Args:
        channels: C, bands of the images.
        encoder: A module, or its description: `{name: Timm, model: resnet18}`.
        bins: B: 18 counts every code, 16 is published and leaves the last two out.
        spread: That of the images, as `wherewhen.scale.Scale` has it.
        image_size: Height and width of the images in pixels.
        bands: Names of the C bands, for an encoder that is described.
    """

    def __init__(
        self,
        channels: int,
        encoder: nn.Module | Mapping[str, Any],
        bins: int = CODES,
        spread: float = 0.5,
        image_size: int = 64,
        bands: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= bins <= CODES:
            raise UserError(f"bins is {bins}; the patterns have {CODES} codes, so give {CODES}, or 16 as published")
        if not isinstance(encoder, nn.Module):
            found = {"channels": channels, "image_size": image_size, "bands": bands, "spread": spread}
            encoder = build(encoder, nn.Module, "wherewhen.encoders", **found)
        assert isinstance(encoder, nn.Module)
        inner = encoder
        self.encoder: Any = inner
        self.bins, self.spread = bins, spread
        self.width = feature_width(inner, channels, image_size) + channels * bins
        self.map_widths: tuple[int, ...] = getattr(inner, "map_widths", ())
        self.map_strides: tuple[int, ...] = getattr(inner, "map_strides", ())

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D + C·B)."""
        return torch.cat((encode(self.encoder, images).pooled, self.histograms(images)), dim=1)

    def features(self, images: Tensor, token: Tensor | None = None) -> Encoded:
        """(N, C, H, W) -> features with histograms, and the encoder's maps.

        Raises:
            UserError: A token was given.
        """
        if token is not None:
            raise UserError("an encoder with texture takes no token; set teacher.distill_weight to 0, or use a ViT")
        pooled, maps, _ = encode(self.encoder, images, maps=True)
        return Encoded(torch.cat((pooled, self.histograms(images)), dim=1), maps)

    def histograms(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C·B)."""
        return texture_histograms(texture_codes(grey_values(images, self.spread)), self.bins).to(images.dtype)
