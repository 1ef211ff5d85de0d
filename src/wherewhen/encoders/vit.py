"""A vision transformer (timm's) that takes one extra token, and what every encoder gives back.

Notation: N images, C bands, D width, P patches.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from wherewhen.encoders.band_weights import canonical
from wherewhen.encoders.statistics import Statistics
from wherewhen.encoders.weights import Found, LoadReport, find_weights, load_found, load_into, tell
from wherewhen.errors import UserError


class Encoded(NamedTuple):
    """What an encoder says of a batch of images."""

    pooled: Tensor  # (N, D)
    maps: tuple[Tensor, ...] = ()  # feature maps (N, D, h, w), finest first
    token: Tensor | None = None  # (N, D) the extra token after the last block


def encode(encoder: nn.Module, images: Tensor, maps: bool = False) -> Encoded:
    """Ask any encoder (`Learner` says what one is) about images (N, C, H, W), without a token.

    Args:
        encoder: Any.
        images: (N, C, H, W).
        maps: Whether its feature maps are wanted too, as far as it has any.
    """
    ask: Any = encoder.features if maps and hasattr(encoder, "features") else encoder
    said: Encoded | Tensor = ask(images)
    return Encoded(said) if isinstance(said, Tensor) else said


class ConvStem(nn.Module):
    """3×3 convolutions with batch norm, each of which halves the image, until a patch is one pixel.

    Early convolutions in place of cut-out patches let a transformer learn from few images (Xiao et al., "Early
    Convolutions Help Transformers See Better", NeurIPS 2021).

    Args:
        channels: C, bands of the images.
        image_size: Height and width of the images in pixels.
        patch_size: Pixels of the image to one token: a power of two, 2 or more.
        width: D, a multiple of `patch_size`.
    """

    def __init__(self, channels: int, image_size: int, patch_size: int, width: int) -> None:
        super().__init__()
        halvings = patch_size.bit_length() - 1
        if patch_size < 2 or patch_size != 1 << halvings:
            raise UserError(f"patch size {patch_size} is not a power of two; a convolutional stem needs 2, 4, 8 or 16")
        if width % patch_size:
            raise UserError(f"width {width} is not a multiple of patch size {patch_size}; change one of them")
        widths = [channels, *(2 * width >> (halvings - i) for i in range(halvings))]
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
                for a, b in pairwise(widths)
            )
        )
        self.grid_size = (image_size // patch_size,) * 2
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        self.map_widths, self.map_strides = tuple(widths[1:]), tuple(2 << i for i in range(halvings))

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, P, D)."""
        return tokens(self.maps(images)[-1])

    def maps(self, images: Tensor) -> list[Tensor]:
        """(N, C, H, W) -> what each convolution gives, finest first."""
        maps = [images]
        for layer in self.layers:
            maps.append(layer(maps[-1]))
        return maps[1:]


def tokens(maps: Tensor) -> Tensor:
    """(N, D, h, w) -> (N, P, D)."""
    return maps.flatten(2).transpose(1, 2)


class ViT(nn.Module):
    """timm's vision transformer with room for a token about the image that is not from the image.

    The extra token comes after the patches, before the first block (ECAI 2024, section 3.3). Without one the
    sequence is simply shorter.

    Args:
        channels: C, bands of the images.
        image_size: Height and width of the images in pixels, a multiple of `patch_size`.
        patch_size: Height and width of a patch in pixels.
        width: D, a multiple of `heads`. 384 is ViT-S.
        depth: Number of blocks.
        heads: Attention heads.
        stem: "patches" cuts the image into patches as the paper does; "convolutions" is far better with few labels
            and no weights to start from, and takes no published weights.
        statistics: Begin the class token with the image's colour and roughness.
        layer_scale: What each block's branches are multiplied by at the start, learned; None leaves them as they are.
        drop_path: Stochastic depth of the last block; earlier blocks have less, linearly.
        weights: Start from a file (.safetensors, .pth), or from a timm model's published weights by name;
            bands and positions are adapted, the head is dropped (docs/encoders.md). None starts from scratch.
        bands: Names of the bands, in their order; weights find theirs by name.
    """

    loaded: LoadReport | None = None  # what became of the weights

    takes_token = True

    def __init__(
        self,
        channels: int,
        image_size: int = 32,
        patch_size: int = 2,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        stem: Literal["patches", "convolutions"] = "patches",
        statistics: bool = False,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
        weights: str | None = None,
        bands: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if image_size % patch_size:
            raise UserError(f"image size {image_size} is not a multiple of patch size {patch_size}; change one of them")
        if width % heads:
            raise UserError(f"width {width} is not a multiple of {heads} heads; change one of them")
        self.channels, self.width, self.bands = channels, width, bands
        self.map_widths, self.map_strides = (width,), (patch_size,)
        self.vit = VisionTransformer(
            img_size=image_size,
            patch_size=patch_size,
            in_chans=channels,
            num_classes=0,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            init_values=layer_scale,
            drop_path_rate=drop_path,
        )
        if stem == "convolutions":
            self.vit.patch_embed = ConvStem(channels, image_size, patch_size, width)
            self.map_widths, self.map_strides = self.vit.patch_embed.map_widths, self.vit.patch_embed.map_strides
        self.statistics = Statistics(channels, width) if statistics else None
        if weights is not None:
            self.load(weights)

    def forward(self, images: Tensor, token: Tensor | None = None) -> Encoded:
        """Images (N, C, H, W), token (N, D) or None -> `Encoded`, with the last map."""
        return self._encode(images, self.vit.patch_embed(images), token)

    def features(self, images: Tensor, token: Tensor | None = None) -> Encoded:
        """The same, and before the last map those of a convolutional stem that are finer, for decoders."""
        stem = self.vit.patch_embed
        if not isinstance(stem, ConvStem):
            encoded: Encoded = self(images, token)
            return encoded
        *finer, coarsest = stem.maps(images)
        encoded = self._encode(images, tokens(coarsest), token)
        return encoded._replace(maps=(*finer, *encoded.maps))

    def _encode(self, images: Tensor, patches: Tensor, token: Tensor | None) -> Encoded:
        """Images, their embedded patches (N, P, D) and a token through the blocks."""
        vit = self.vit
        x = vit.norm_pre(vit._pos_embed(patches))  # (N, 1 + P, D)
        if self.statistics is not None:
            x = torch.cat((x[:, :1] + self.statistics(images)[:, None].to(x.dtype), x[:, 1:]), dim=1)
        if token is not None:
            x = torch.cat((x, token.to(x.dtype)[:, None]), dim=1)
        x = vit.norm(vit.blocks(x))
        patches = x[:, 1 : 1 + vit.patch_embed.num_patches]  # (N, P, D)
        maps = patches.transpose(1, 2).unflatten(2, vit.patch_embed.grid_size)
        return Encoded(x[:, 0], (maps,), None if token is None else x[:, -1])

    def load(self, weights: str) -> LoadReport:
        """Take published or own weights, and say on stderr what was done.

        Positions and bands are resampled to this network's.

        Raises:
            UserError: The file or model does not exist, or does not fit.
        """
        found = find_weights(weights)
        if isinstance(self.vit.patch_embed, ConvStem) and "patch_embed.proj.weight" in found.state:
            raise UserError(
                f"weights {weights} have no convolutional stem, as no published ones have; set stem to patches, or "
                "weights to null"
            )
        report = load_found(self.vit, found, weights, self.bands)
        if self.statistics is not None or found.extra:
            report = self._load_statistics(report, found)
        self.loaded = tell(report)
        return self.loaded

    def _load_statistics(self, report: LoadReport, found: Found) -> LoadReport:
        """Take the statistics' part too; what published weights lack starts anew."""
        if self.statistics is None:
            raise UserError(f"weights {report.weights} begin with statistics; set statistics to true")
        if not found.extra:
            return replace(report, adapted=(*report.adapted, "statistics start anew"))
        if found.bands is not None and self.bands is not None:
            theirs, ours = ([canonical(band) for band in bands] for bands in (found.bands, self.bands))
            if theirs != ours:
                raise UserError(
                    f"weights {report.weights} know the statistics of bands {', '.join(theirs)}, and cannot be fitted "
                    f"to {', '.join(ours)}; prepare the images with the same bands in the same order"
                )
        state = {name.removeprefix("statistics."): value for name, value in found.extra.items()}
        load_into(self.statistics, state, report.weights)
        return replace(report, matched=(*report.matched, *found.extra))
