"""What a teacher or a student is: an encoder, a token, a head.

Notation: N images, C bands, K classes, D width.
"""

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from wherewhen.encoders.metadata import MetadataEncoder
from wherewhen.encoders.vit import Encoded
from wherewhen.errors import UserError


class Reply(NamedTuple):
    """A learner's answer."""

    logits: Tensor  # (N, K), or (N, K, H, W) of every pixel
    token: Tensor | None  # (N, D) metatoken or distillation token after the last block
    pooled: Tensor | None = None  # (N, D) the image as a whole: the class token after the last block


class _Told(nn.Module):
    """An encoder with a head, which may also be told where and when an image was taken.

    Args:
        encoder: As the learner takes it.
        head: From features to logits.
        width: D of the token.
        metadata: Makes the learner a teacher.
        distill: Give it a token of its own.
        late: Fuse late even if the encoder takes a token.
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: nn.Module,
        width: int,
        metadata: MetadataEncoder | None,
        distill: bool,
        late: bool,
    ) -> None:
        super().__init__()
        self.takes_token = bool(getattr(encoder, "takes_token", False))
        if distill and not self.takes_token:
            raise UserError(
                f"{type(encoder).__name__} takes no token, so nothing can be distilled through one; "
                "set distill_weight to 0, or use an encoder with tokens such as wherewhen.encoders.ViT"
            )
        self.encoder: Any = encoder
        self.head, self.frozen = head, False
        self.metadata, self.late = metadata, late or not self.takes_token
        self.token = nn.Parameter(0.02 * torch.randn(width)) if distill else None
        has_token = distill or (metadata is not None and not self.late)
        self.position = nn.Parameter(0.02 * torch.randn(width)) if has_token else None  # of the token, its own

    def extra_token(self, count: int, where: Tensor | None) -> Tensor | None:
        """The metatoken, the distillation token, or none: (N, D)."""
        token: Tensor | None = self.token
        if self.metadata is not None and where is not None and not self.late:
            token = self.metadata(where)
        if token is None or self.position is None:
            return None
        return (token + self.position).expand(count, -1)

    def added(self, where: Tensor | None) -> Tensor | None:
        """What late fusion adds to an image's embedding, (N, D)."""
        if not self.late or self.metadata is None or where is None:
            return None
        encoded: Tensor = self.metadata(where)
        return encoded

    def freeze(self) -> Self:
        """Keep the encoder as it is: without gradient, and always in eval mode."""
        self.frozen = True
        self.encoder.requires_grad_(False)
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """All but a frozen encoder."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self


class Learner(_Told):
    """A classifier of images, which may also know where and when they were taken.

    Args:
        encoder: Any module `(N, C, H, W) -> (N, D)`; or one that also takes a token and returns `Encoded`,
            and says so with `takes_token = True` and its `width`.
        width: D.
        classes: K.
        metadata: Makes the learner a teacher: place and time become a token, or are added to the image's
            embedding before the head (late fusion).
        distill: Give a student its own learned token that can follow the teacher's. With `metadata` as well the
            learner is both: it takes this token when nothing is said of where and when.
        late: Fuse late even if the encoder takes a token; one that takes none always does.
    """

    def __init__(
        self,
        encoder: nn.Module,
        width: int,
        classes: int,
        metadata: MetadataEncoder | None = None,
        distill: bool = False,
        late: bool = False,
    ) -> None:
        super().__init__(encoder, nn.Linear(width, classes), width, metadata, distill, late)

    def forward(self, images: Tensor, where: Tensor | None = None) -> Reply:
        """Images (N, C, H, W); place and time (N, 3), or None when nothing is known of them."""
        if self.takes_token:
            encoded: Encoded = self.encoder(images, self.extra_token(images.shape[0], where))
        else:
            encoded = Encoded(self.encoder(images))
        pooled, known = encoded.pooled, self.added(where)
        if known is not None:
            pooled = pooled + known
        return Reply(self.head(pooled), encoded.token, pooled)


class DenseLearner(_Told):
    """A classifier of every pixel, which may also know where and when the image was taken.

    Late fusion adds the encoded place and time to every pixel of the coarsest map, before the decoder.

    Args:
        encoder: With `features`, which gives `Encoded` with maps, finest first.
        decoder: (maps, (H, W)) -> (N, `width`, H, W), such as `wherewhen.decoders.UNet`.
        classes: K.
        metadata: Makes the learner a teacher, as in `Learner`; as wide as the token, or as the coarsest map.
        distill: As in `Learner`.
        late: As in `Learner`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        classes: int,
        metadata: MetadataEncoder | None = None,
        distill: bool = False,
        late: bool = False,
    ) -> None:
        channels = int(decoder.width)  # type: ignore[arg-type]
        head = nn.Conv2d(channels, classes, 3, padding=1)
        super().__init__(encoder, head, int(encoder.width), metadata, distill, late)  # type: ignore[arg-type]
        self.decoder = decoder

    def forward(self, images: Tensor, where: Tensor | None = None) -> Reply:
        """Images (N, C, H, W); place and time (N, 3), or None when nothing is known of them."""
        token = self.extra_token(images.shape[0], where)
        encoded: Encoded = self.encoder.features(images, token)
        *finer, coarsest = encoded.maps
        known = self.added(where)
        if known is not None:
            coarsest = coarsest + known[..., None, None]
        decoded = self.decoder((*finer, coarsest), images.shape[-2:])
        return Reply(self.head(decoded), encoded.token, encoded.pooled)


def feature_width(encoder: nn.Module, channels: int, image_size: int) -> int:
    """D of any encoder, found by showing it one blank image.

    Raises:
        UserError: It does not turn (1, C, H, W) into (1, D).
    """
    if getattr(encoder, "takes_token", False):
        return int(encoder.width)  # type: ignore[arg-type]
    was = encoder.training
    parameter = next(encoder.parameters(), None)
    device = None if parameter is None else parameter.device
    with torch.no_grad():
        pooled = encoder.eval()(torch.zeros(1, channels, image_size, image_size, device=device))
    encoder.train(was)
    if not isinstance(pooled, Tensor) or pooled.ndim != 2:
        found = tuple(pooled.shape) if isinstance(pooled, Tensor) else type(pooled).__name__
        raise UserError(
            f"{type(encoder).__name__} gave {found} for one image; an encoder turns (N, C, H, W) into (N, D)"
        )
    return int(pooled.shape[1])
