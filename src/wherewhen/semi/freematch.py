"""FreeMatch: let the threshold follow the network. Wang et al., ICLR 2023, arXiv:2205.07246."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wherewhen.semi.algorithm import (
    TINY,
    Algorithm,
    Clock,
    Losses,
    Outputs,
    PseudoLabels,
    believe,
    frequencies,
    likeliest,
    normalise,
)
from wherewhen.semi.state import Running, mean_over_processes


@dataclass(frozen=True)
class FairLabels(PseudoLabels):
    """And how evenly outcomes should be predicted."""

    marginal: Tensor  # (*, K)


class FreeMatch(Algorithm):
    """Believe what is above the mean confidence, less of it for outcomes that are seldom predicted.

    Args:
        uniform: Uniform distribution of outcomes, (*, K): where all statistics start.
        fairness: Weight of the fairness term, a sum over decisions: 0.01, many labels 0.001.
        momentum: Of mean confidence, mean prediction and the histogram of pseudo-labels.

    Raises:
        UserError: `uniform` holds no frequencies, or the momentum is out of its range.
    """

    def __init__(self, uniform: Tensor | Sequence[Any], fairness: float = 0.01, momentum: float = 0.999) -> None:
        super().__init__()
        start = frequencies(uniform, "uniform")
        self.level = Running(start[..., 0], momentum)  # (*), mean confidence
        self.mean = Running(start, momentum)  # (*, K), of probabilities
        self.histogram = Running(start, momentum)  # (*, K), of pseudo-labels
        self.fairness = fairness

    @torch.no_grad()
    def label(self, out: Outputs, clock: Clock) -> FairLabels:
        """Pseudo-labels of the weak view's logits."""
        weak = out.need("weak")
        p = weak.softmax(-1)
        confidence, outcome = likeliest(p)
        level = self.level.update(confidence.mean(0))
        mean = self.mean.update(p.mean(0))
        hits = F.one_hot(outcome, p.shape[-1]).float().where(p.isfinite(), torch.nan)  # a bad batch is bad in all three
        histogram = self.histogram.update(hits.mean(0))
        pseudo = believe(weak, level[..., None] * mean / mean.amax(-1, keepdim=True))
        return FairLabels(pseudo.targets, pseudo.weights, normalise(quotient(mean, histogram)))

    def loss(self, out: Outputs, y: Tensor, pseudo: FairLabels, clock: Clock) -> Losses:
        """FixMatch's losses, and the fairness of the strong view's predictions where they are believed."""
        p, kept = out.need("strong").softmax(-1), pseudo.weights[..., None]
        count = mean_over_processes(kept.sum(0))  # (*, 1), a mean over processes like the two sums below
        mean = mean_over_processes((kept * p).sum(0)) / count.clamp_min(TINY)
        histogram = mean_over_processes((kept * F.one_hot(likeliest(p)[1], p.shape[-1])).sum(0)) / count.clamp_min(TINY)
        fair = (pseudo.marginal * (normalise(quotient(mean, histogram)) + TINY).log()).sum(-1, keepdim=True)
        silent = torch.zeros_like(fair)  # where no sample is believed
        term = self.fairness * torch.where(count > 0, fair, silent).sum()
        return super().loss(out, y, pseudo, clock) | {"fairness": term}


def quotient(p: Tensor, q: Tensor) -> Tensor:
    """The quotient p / q, and 0 where q is 0."""
    return torch.where(q > 0, p / q.clamp_min(TINY), torch.zeros_like(p))
