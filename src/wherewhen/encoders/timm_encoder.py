"""Any network of timm's as an encoder.

Notation: N images, C bands, D width; a map of stride s has a pixel for every s × s pixels of the image.
"""

import difflib
from collections.abc import Sequence
from typing import Any, Literal

import timm
import torch
from timm.models import get_pretrained_cfg
from timm.models.resnet import ResNet
from torch import Tensor, nn

from wherewhen.encoders.vit import Encoded
from wherewhen.encoders.weights import LoadReport, load_encoder
from wherewhen.errors import UserError

Stem = Literal["imagenet", "small"]


class Timm(nn.Module):
    """A network of timm's without its classifier: image -> features, and the feature maps on the way.

    Args:
        channels: C, bands of the images.
        image_size: Height and width of the images in pixels.
        model: Name of a timm model, such as `resnet18`, `convnext_atto` or `vit_tiny_patch16_224`.
        stem: What a ResNet begins with: "imagenet" is a 7×7 convolution of stride 2 and a max-pool, made for 224
            pixels; "small" is a 3×3 convolution of stride 1 and no pool, for images of 32 to 64 pixels (He et al.,
            "Deep Residual Learning", CVPR 2016, section 4.2: CIFAR-10). Four times as fine maps, and 16 times the work.
        drop_path: Stochastic depth of the last block; earlier blocks have less.
        weights: Start from a file, or from published weights by name (docs/encoders.md has a table); the first layer
            is fitted to the bands. None starts from scratch.
        bands: Names of the bands, in their order; weights find theirs by name.
    """

    loaded: LoadReport | None = None  # what became of the weights

    def __init__(
        self,
        channels: int,
        image_size: int,
        model: str = "resnet18",
        stem: Stem = "imagenet",
        drop_path: float = 0.0,
        weights: str | None = None,
        bands: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.bands, self._size = bands, sized(model, image_size)
        self.net: Any = create(model, channels, image_size, drop_path)
        if stem == "small":
            shrink_stem(self.net, channels, model)
        self._choose_maps(model, 4 if stem == "small" else 1)
        self.width = self._width(channels, image_size, model)
        if weights is not None:
            self.load(weights)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D)."""
        pooled: Tensor = self.net(images)
        return pooled

    def features(self, images: Tensor, token: Tensor | None = None) -> Encoded:
        """(N, C, H, W) -> the same pooled features, and the last map of every stride, finest first.

        Raises:
            UserError: A token was given; these networks take none.
        """
        if token is not None:
            raise UserError("timm's networks take no token; use wherewhen.encoders.ViT where one is needed")
        if not self._maps:
            return Encoded(self(images))
        last, maps = self.net.forward_intermediates(images, indices=self._maps, norm=True)
        return Encoded(self.net.forward_head(last, pre_logits=True), tuple(maps))

    def load(self, weights: str) -> LoadReport:
        """Take published or own weights, and say on stderr what was done.

        Raises:
            UserError: The file or model does not exist, or does not fit.
        """
        self.loaded = load_encoder(self.net, weights, self.bands, **self._size)
        return self.loaded

    def _choose_maps(self, model: str, finer: int) -> None:
        """Keep the last map of each stride; a transformer without stages has one."""
        info = getattr(self.net, "feature_info", None)
        if not hasattr(self.net, "forward_intermediates") or info is None:
            self._maps: list[int] = []
            self.map_widths: tuple[int, ...] = ()
            self.map_strides: tuple[int, ...] = ()
            return
        rows = info.get_dicts() if hasattr(info, "get_dicts") else info
        last = {max(1, row["reduction"] // finer): (index, row["num_chs"]) for index, row in enumerate(rows)}
        self.map_strides = tuple(sorted(last))
        self._maps = [last[stride][0] for stride in self.map_strides]
        self.map_widths = tuple(last[stride][1] for stride in self.map_strides)

    def _width(self, channels: int, image_size: int, model: str) -> int:
        """D, found by showing the network one blank image; this also tells whether it takes such images."""
        device = next(self.net.parameters()).device
        if len(self.map_strides) == 1 and image_size % self.map_strides[0]:  # timm would leave the rest out
            raise UserError(
                f"image size {image_size} is not a multiple of {model}'s patch size {self.map_strides[0]}; change one"
            )
        try:
            with torch.no_grad():
                pooled = self.net.eval()(torch.zeros(1, channels, image_size, image_size, device=device))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"timm's {model} does not take images of {image_size} × {image_size} pixels ({error}); "
                "choose another model or image size"
            ) from error
        self.net.train()
        return int(pooled.shape[1])


def create(model: str, channels: int, image_size: int, drop_path: float = 0.0) -> nn.Module:
    """Timm's network of a name, without classifier and with random weights.

    Raises:
        UserError: timm has no such model, or it cannot be built for such images.
    """
    if not timm.is_model(model):
        near = difflib.get_close_matches(model, timm.list_models(), n=5, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() lists all"
        raise UserError(f"timm {timm.__version__} has no model {model!r}; {hint}")
    settings: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    settings |= sized(model, image_size)
    try:
        net: nn.Module = timm.create_model(model, pretrained=False, num_classes=0, in_chans=channels, **settings)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"timm's {model} cannot be built for images of {image_size} × {image_size} pixels and drop_path "
            f"{drop_path:g} ({error}); choose another model or setting"
        ) from error
    return net


def sized(model: str, image_size: int) -> dict[str, int]:
    """The image size as timm's models take it that are built for one."""
    config = get_pretrained_cfg(model, allow_unregistered=True)
    return {"img_size": image_size} if config is not None and config.fixed_input_size else {}


def shrink_stem(net: nn.Module, channels: int, model: str) -> None:
    """Give a ResNet the stem for small images.

    Raises:
        UserError: It is no ResNet that begins with one convolution.
    """
    if not (isinstance(net, ResNet) and isinstance(net.conv1, nn.Conv2d)):
        raise UserError(
            f"{model} has no stem of one convolution and a max-pool; give stem: small to a ResNet, or stem: imagenet"
        )
    first = nn.Conv2d(channels, net.conv1.out_channels, 3, 1, 1, bias=False)
    nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")  # as timm's own
    net.set_submodule("conv1", first)
    net.set_submodule("maxpool", nn.Identity())
