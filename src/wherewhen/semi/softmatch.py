"""SoftMatch: weigh by how confident a prediction is beside the others. Chen et al., ICLR 2023, arXiv:2301.10921."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wherewhen.semi.algorithm import TINY, Algorithm, Clock, Outputs, PseudoLabels, frequencies, likeliest, normalise
from wherewhen.semi.state import Running, variance_over_processes


class SoftMatch(Algorithm):
    """Believe every prediction, with a weight that falls off as a Gaussian below the mean confidence.

    Confidence is measured after uniform alignment, labels are made before it.

    Args:
        goal: Distribution of outcomes to align with, (*, K): uniform for one label, labelled frequencies for many.
        sigmas: The Gaussian's width is σ / `sigmas`.
        momentum: Of mean prediction, mean confidence and its variance.

    Raises:
        UserError: The goal holds no frequencies, or the momentum is out of its range.
    """

    goal: Tensor

    def __init__(self, goal: Tensor | Sequence[Any], sigmas: float = 2.0, momentum: float = 0.999) -> None:
        super().__init__()
        self.register_buffer("goal", frequencies(goal, "goal"))
        self.seen = Running(self.goal, momentum, from_first=True)  # (*, K)
        one = torch.ones_like(self.goal[..., 0])
        self.mean = Running(one / self.goal.shape[-1], momentum)  # (*), of confidence
        self.variance = Running(one, momentum)  # (*)
        self.sigmas = sigmas

    @torch.no_grad()
    def label(self, out: Outputs, clock: Clock) -> PseudoLabels:
        """Pseudo-labels of the weak view's logits."""
        p = out.need("weak").softmax(-1)
        seen = self.seen.update(p.mean(0))
        confidence = normalise(p * (self.goal + 1e-6) / (seen + 1e-6)).amax(-1)
        mean = self.mean.update(confidence.mean(0))
        variance = self.variance.update(variance_over_processes(confidence))
        shortfall = (confidence - mean).clamp(max=0)
        weights = torch.exp(-(shortfall**2) / (2 * variance / self.sigmas**2).clamp_min(TINY))
        return PseudoLabels(likeliest(p)[1], weights.nan_to_num(0.0))
