"""UDAL: align the distribution of classes inside the loss. Lazarow et al., WACV 2023."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wherewhen.semi.algorithm import TINY, Clock, Losses, Outputs, frequencies, normalise
from wherewhen.semi.fixmatch import FixMatch
from wherewhen.semi.state import Running


class UDAL(FixMatch):
    """FixMatch whose logits are shifted before each loss by log(d / g).

    d is how often an outcome is met (in the labels, or in what this network predicts), g how often it should be:
    the labelled frequencies, flattened more and more by an exponent that falls from 1 to `alpha_min`. What the loss
    has added, the network leaves out, and its own predictions come near to g. With many labels both outcomes shift.

    Args:
        prior: Frequencies of outcomes in the labelled set, (*, K).
        alpha_min: Exponent at the end of the training.
        power: How late it falls: α = 1 − (1 − alpha_min)·(t/T)^power.
        momentum: Of the network's mean prediction.
        threshold: As FixMatch's.

    Raises:
        UserError: The prior holds no frequencies, or an argument is out of its range.
    """

    prior: Tensor

    def __init__(
        self,
        prior: Tensor | Sequence[Any],
        alpha_min: float = 0.5,
        power: float = 2.0,
        momentum: float = 0.999,
        threshold: float | Sequence[float] | Tensor = 0.95,
    ) -> None:
        super().__init__(threshold)
        self.register_buffer("prior", frequencies(prior, "prior").clamp_min(TINY))
        self.seen = Running(self.prior, momentum, from_first=True)  # this learner's own: `loss` moves it
        self.alpha_min, self.power = alpha_min, power

    def loss(self, out: Outputs, y: Tensor, pseudo: Any, clock: Clock) -> Losses:
        """FixMatch's losses of shifted logits. A student has no weak view and is measured by its strong one."""
        with torch.no_grad():
            view = out.need("strong" if out.weak is None else "weak")
            seen = self.seen.update(view.softmax(-1).mean(0)).clamp_min(TINY)
            alpha = 1 - (1 - self.alpha_min) * clock.fraction**self.power
            goal = normalise(self.prior**alpha) + 1e-9
        labelled = out.labelled.float() + (self.prior / goal).log()
        strong = out.need("strong") + (seen / goal).log()
        return super().loss(out._replace(labelled=labelled, strong=strong), y, pseudo, clock)
