"""What a teacher or a student is: an encoder, a token, a head.

Notation: N images, C bands, K classes, D width.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from wherewhen.encoders.metadata import MetadataEncoder
from wherewhen.encoders.vit import Encoded
from wherewhen.errors import UserError


class Reply(NamedTuple):
    """A learner's answer."""

    logits: Tensor  # (N, K)
    token: Tensor | None  # (N, D) metatoken or distillation token after the last block
    pooled: Tensor | None = None  # (N, D) what the head sees of the image: the class token after the last block


class Learner(nn.Module):
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
        super().__init__()
        self.takes_token = bool(getattr(encoder, "takes_token", False))
        if distill and not self.takes_token:
            raise UserError(
                f"{type(encoder).__name__} takes no token, so nothing can be distilled through one; "
                "set distill_weight to 0, or use an encoder with tokens such as wherewhen.encoders.ViT"
            )
        self.encoder, self.head = encoder, nn.Linear(width, classes)
        self.metadata, self.late = metadata, late or not self.takes_token
        self.token = nn.Parameter(0.02 * torch.randn(width)) if distill else None
        has_token = distill or (metadata is not None and not self.late)
        self.position = nn.Parameter(0.02 * torch.randn(width)) if has_token else None  # of the token, its own

    def forward(self, images: Tensor, where: Tensor | None = None) -> Reply:
        """Images (N, C, H, W); place and time (N, 3), or None when nothing is known of them."""
        if self.takes_token:
            encoded: Encoded = self.encoder(images, self.extra_token(len(images), where))
        else:
            encoded = Encoded(self.encoder(images))
        pooled = encoded.pooled
        if self.late and self.metadata is not None and where is not None:
            pooled = pooled + self.metadata(where)
        return Reply(self.head(pooled), encoded.token, pooled)

    def extra_token(self, count: int, where: Tensor | None) -> Tensor | None:
        """The metatoken, the distillation token, or none: (N, D)."""
        token: Tensor | None = self.token
        if self.metadata is not None and where is not None and not self.late:
            token = self.metadata(where)
        if token is None or self.position is None:
            return None
        return (token + self.position).expand(count, -1)


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
