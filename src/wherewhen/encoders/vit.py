"""A vision transformer (timm's) that takes one extra token, and what every encoder gives back.

Notation: N images, C bands, D width, P patches.
"""

from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import timm
import torch
from timm.models import adapt_input_conv
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from wherewhen.encoders.statistics import Statistics
from wherewhen.encoders.weights import load_into, read_weights
from wherewhen.errors import UserError


class Encoded(NamedTuple):
    """What an encoder says of a batch of images."""

    pooled: Tensor  # (N, D)
    maps: tuple[Tensor, ...] = ()  # feature maps (N, D, h, w), finest first
    token: Tensor | None = None  # (N, D) the extra token after the last block


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

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, P, D)."""
        maps: Tensor = self.layers(images)
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
            bands and positions are adapted, the head is dropped. None starts from scratch.
    """

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
    ) -> None:
        super().__init__()
        if image_size % patch_size:
            raise UserError(f"image size {image_size} is not a multiple of patch size {patch_size}; change one of them")
        if width % heads:
            raise UserError(f"width {width} is not a multiple of {heads} heads; change one of them")
        if weights is not None and stem == "convolutions":
            raise UserError("published weights have no convolutional stem; set stem to patches, or weights to null")
        self.channels, self.width = channels, width
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
        self.statistics = Statistics(channels, width) if statistics else None
        if weights is not None:
            self.load(weights)

    def forward(self, images: Tensor, token: Tensor | None = None) -> Encoded:
        """Images (N, C, H, W), token (N, D) or None -> `Encoded`."""
        vit = self.vit
        x = vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))  # (N, 1 + P, D)
        if self.statistics is not None:
            x = torch.cat((x[:, :1] + self.statistics(images)[:, None].to(x.dtype), x[:, 1:]), dim=1)
        if token is not None:
            x = torch.cat((x, token.to(x.dtype)[:, None]), dim=1)
        x = vit.norm(vit.blocks(x))
        patches = x[:, 1 : 1 + vit.patch_embed.num_patches]  # (N, P, D)
        maps = patches.transpose(1, 2).unflatten(2, vit.patch_embed.grid_size)
        return Encoded(x[:, 0], (maps,), None if token is None else x[:, -1])

    def load(self, weights: str) -> None:
        """Take published or own weights; positions and bands are resampled to this network's.

        Raises:
            UserError: The file or model does not exist, or does not fit.
        """
        if Path(weights).suffix in (".safetensors", ".pth", ".pt"):
            state = read_weights(Path(weights))
        else:
            state = timm_weights(weights)
        stem = "patch_embed.proj.weight"
        if stem in state and state[stem].ndim == 4 and state[stem].shape[1] != self.channels:
            state[stem] = adapt_input_conv(self.channels, state[stem])  # timm's rule: repeat and rescale the bands
        load_into(self.vit, checkpoint_filter_fn(state, self.vit), source=weights)


def timm_weights(name: str) -> dict[str, Tensor]:
    """Published weights of a timm model, downloaded or from its cache.

    Raises:
        UserError: timm has no such model, or it could not be had.
    """
    try:
        return dict(timm.create_model(name, pretrained=True, num_classes=0).state_dict())
    except Exception as error:  # timm and its hub raise many kinds
        raise UserError(
            f"no weights of the timm model {name!r} ({type(error).__name__}: {error}); check the name with "
            "timm.list_pretrained(), or give the path of a .safetensors file, or start from scratch "
            "(weights: null)"
        ) from error
