"""DeFixMatch: what pseudo-labels cost on labelled images is taken back. Schmutz et al., ICLR 2023, arXiv:2203.07512."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from wherewhen.semi.algorithm import Carry, Clock, Losses, Outputs, PseudoLabels, supervised, unlabelled
from wherewhen.semi.fixmatch import FixMatch


@dataclass(frozen=True)
class DebiasedLabels(PseudoLabels):
    """And what FixMatch would have believed of the labelled samples."""

    labelled: PseudoLabels

    def carried(self, carry: Carry, view: str = "strong") -> Self:
        """Both on the pixels of their strong views."""
        return replace(super().carried(carry, view), labelled=self.labelled.carried(carry, "labelled_strong"))


class DeFixMatch(FixMatch):
    """FixMatch, minus the same loss on the labelled images: what is left is an unbiased risk.

    Args:
        threshold: As FixMatch's.
    """

    views: ClassVar[frozenset[str]] = FixMatch.views | {"labelled_strong"}

    @torch.no_grad()
    def label(self, out: Outputs, clock: Clock) -> DebiasedLabels:
        """Pseudo-labels of the weak views, labelled and unlabelled."""
        pseudo = super().label(out, clock)
        return DebiasedLabels(pseudo.targets, pseudo.weights, labelled=self.believe(out.need("labelled")))

    def loss(self, out: Outputs, y: Tensor, pseudo: Any, clock: Clock) -> Losses:
        """The supervised loss is the mean over the weak and the strong view of the labelled images."""
        strong = out.need("labelled_strong")
        strong_y = y if out.strong_y is None else out.strong_y
        return {
            "supervised": (supervised(out.labelled, y) + supervised(strong, strong_y)) / 2,
            "unlabelled": unlabelled(out.need("strong"), pseudo) - unlabelled(strong, pseudo.labelled),
        }
