"""FixMatch: believe what is confident. Sohn et al., NeurIPS 2020, https://arxiv.org/abs/2001.07685."""

from collections.abc import Sequence

import torch
from torch import Tensor

from wherewhen.errors import UserError
from wherewhen.semi.algorithm import Algorithm, Clock, Outputs, PseudoLabels, believe


class FixMatch(Algorithm):
    """Take the likeliest outcome of the weak view as label where its probability reaches a threshold (eq. 4).

    Args:
        threshold: Probability in [0, 1] from which a prediction counts: one number for every outcome, or one
            an outcome. Many labels: (absent, present); the paper's p ≤ 0.05 or p ≥ 0.7 is (0.95, 0.7).

    Raises:
        UserError: A threshold is no probability.
    """

    threshold: Tensor  # () or (K,) or (*, K)

    def __init__(self, threshold: float | Sequence[float] | Tensor = 0.95) -> None:
        super().__init__()
        level = torch.as_tensor(threshold, dtype=torch.float32, device="cpu").clone()
        if not ((level >= 0) & (level <= 1)).all():
            raise UserError(f"FixMatch's threshold {threshold} is no probability; choose from 0 to 1, such as 0.95")
        self.register_buffer("threshold", level)

    @torch.no_grad()
    def label(self, out: Outputs, clock: Clock) -> PseudoLabels:
        """Pseudo-labels of the weak view's logits."""
        return self.believe(out.need("weak"))

    def believe(self, logits: Tensor) -> PseudoLabels:
        """(S, *, K) -> hard labels (S, *), with weight 1 where p reaches the outcome's threshold, else 0."""
        if self.threshold.ndim and self.threshold.shape[-1] != logits.shape[-1]:
            raise UserError(
                f"FixMatch has {self.threshold.shape[-1]} thresholds for {logits.shape[-1]} outcomes; give one for "
                "all, or one each (many labels: absent, present)"
            )
        return believe(logits, self.threshold)
