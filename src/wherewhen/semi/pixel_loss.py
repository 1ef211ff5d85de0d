"""Supervised losses of pixels.

Notation: S pixels, K classes. Pixels without a label, `UNKNOWN`, cost nothing.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wherewhen.errors import UserError
from wherewhen.semi.algorithm import TINY, known, nll, weighted_mean
from wherewhen.semi.state import mean_over_processes

DenseLoss = Literal["cross_entropy", "focal", "dice", "cross_entropy+dice", "focal+dice"]


class PixelLoss(nn.Module):
    """A loss of pixels, or the sum of two.

    Args:
        loss: "cross_entropy"; "focal" (Lin et al., ICCV 2017, arXiv:1708.02002, equation 5, of the softmax); "dice",
            one minus the Dice coefficient of each class that the batch shows (Milletari et al., 3DV 2016,
            arXiv:1606.04797, without the squares).
        weights: (K,) of each class in the mean over pixels; Dice takes none. None counts all pixels alike.
        gamma: Focal loss: how little a pixel counts of whose class the network is sure.

    Raises:
        UserError: A weight is not above 0.
    """

    weights: Tensor | None

    def __init__(
        self, loss: DenseLoss = "cross_entropy", weights: Sequence[float] | None = None, gamma: float = 2.0
    ) -> None:
        super().__init__()
        if weights is not None and min(weights) <= 0:
            raise UserError(f"class weights {list(weights)}; each must be above 0, and 1 counts a pixel once")
        self.parts, self.gamma = loss.split("+"), gamma
        self.register_buffer("weights", None if weights is None else torch.tensor(weights), persistent=False)

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        """Logits (S, K) float32, y (S,) int64 -> ()."""
        parts = [self._dice(logits, y) if part == "dice" else self._mean(logits, y, part) for part in self.parts]
        return torch.stack(parts).sum()

    def _mean(self, logits: Tensor, y: Tensor, part: str) -> Tensor:
        counts = known(y) if self.weights is None else known(y) * self.weights[y.clamp_min(0)]
        cost = nll(logits, y)
        if part == "focal":
            cost = (1 - (-cost).exp()).clamp_min(0) ** self.gamma * cost
        return weighted_mean(cost, counts)

    def _dice(self, logits: Tensor, y: Tensor) -> Tensor:
        p = logits.softmax(-1) * known(y)[:, None]
        truth = F.one_hot(y.clamp_min(0), logits.shape[-1]) * known(y)[:, None]
        # of the joined batch: a quotient of sums is one of their means over processes
        both, said, size = (mean_over_processes(x.sum(0)) for x in (p * truth, p, truth.float()))
        overlap = 2 * both / (said + size).clamp_min(TINY)
        return weighted_mean(1 - overlap, (size > 0).float())
