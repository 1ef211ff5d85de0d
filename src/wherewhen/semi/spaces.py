"""Label spaces: every label problem as decisions over the last axis.

Notation: N images, C classes, K outcomes of a decision, S samples, * independent decisions of a sample.
Canonical logits are (S, *, K) in float32, canonical targets (S, *) int64, `UNKNOWN` where nobody knows.
So `softmax(-1)`, `max(-1)` and `mean(0)` mean the right thing everywhere, and an algorithm is written once.
"""

from typing import Protocol

import torch
from torch import Tensor

from wherewhen.views import resample

UNKNOWN = -1


class LabelSpace(Protocol):
    """How raw network outputs and stored labels become canonical decisions."""

    def logits(self, raw: Tensor) -> Tensor:
        """Network output -> canonical logits (S, *, K), float32 whatever the autocast type."""
        ...

    def targets(self, y: Tensor) -> Tensor:
        """Stored labels -> canonical targets (S, *), `UNKNOWN` where nobody knows."""
        ...

    def carry(self, x: Tensor, relative: Tensor, valid: Tensor, fill: float) -> Tensor:
        """Move per-decision values (S, …) from one view of an image to another.

        `relative` (N, H, W, 2) says where each pixel of the new view lies on the old one, in [−1, 1];
        `valid` (N, H, W) whether it lies there at all; `fill` is the value where it does not.
        """
        ...


class _WholeImage:
    """What one and many labels share: a label belongs to the image, whichever view shows it."""

    def carry(self, x: Tensor, relative: Tensor, valid: Tensor, fill: float) -> Tensor:
        return x


class SingleLabel(_WholeImage):
    """One label an image: logits (N, K), targets (N,)."""

    def logits(self, raw: Tensor) -> Tensor:
        """(N, K) -> (N, K)."""
        return raw.float()

    def targets(self, y: Tensor) -> Tensor:
        """(N,) -> (N,)."""
        return y.long()


class MultiLabel(_WholeImage):
    """Many labels an image: C binary decisions, outcome 0 absent and 1 present.

    The logits of a decision are (0, z), whose softmax is (1 − σ(z), σ(z)).
    """

    def logits(self, raw: Tensor) -> Tensor:
        """(N, C) -> (N, C, 2)."""
        z = raw.float()
        return torch.stack((torch.zeros_like(z), z), dim=-1)

    def targets(self, y: Tensor) -> Tensor:
        """(N, C) of 0, 1 or `UNKNOWN` -> (N, C)."""
        return y.long()


class Dense:
    """A label for every pixel: each pixel is a sample, S = N·H·W."""

    def logits(self, raw: Tensor) -> Tensor:
        """(N, K, H, W) -> (N·H·W, K)."""
        return raw.float().movedim(1, -1).flatten(0, -2)

    def targets(self, y: Tensor) -> Tensor:
        """(N, H, W) -> (N·H·W,)."""
        return y.long().flatten()

    def carry(self, x: Tensor, relative: Tensor, valid: Tensor, fill: float) -> Tensor:
        """(N·H·W, …) on the old view -> (N·H·W, …) on the new one, nearest pixel."""
        maps = x.unflatten(0, valid.shape)  # (N, H, W, …)
        return resample(maps, relative, valid, fill).flatten(0, 2)
