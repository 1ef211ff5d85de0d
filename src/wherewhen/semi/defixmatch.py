"""DeFixMatch: what pseudo-labels cost on labelled images is taken back. Schmutz et al., ICLR 2023, arXiv:2203.07512."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from wherewhen.semi.algorithm import Carry, Clock, Losses, Outputs, PseudoLabels, supervised, unlabelled
from wherewhen.semi.fixmatch import FixMatch
from wherewhen.semi.spaces import UNKNOWN


@dataclass(frozen=True)
class DebiasedLabels(PseudoLabels):
    """And what FixMatch would have believed of the labelled samples."""

    labelled: PseudoLabels
    carry: Carry | None = None  # brings labels, too, to the pixels of the labelled images' strong view

    def carried(self, carry: Carry, view: str = "strong") -> Self:
        """Both on the pixels of their strong views."""
        labelled = self.labelled.carried(carry, "labelled_strong")
        return replace(super().carried(carry, view), labelled=labelled, carry=carry)


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
        strong_y = y if pseudo.carry is None else pseudo.carry("labelled_strong", y, UNKNOWN)
        return {
            "supervised": (supervised(out.labelled, y) + supervised(strong, strong_y)) / 2,
            "unlabelled": unlabelled(out.need("strong"), pseudo) - unlabelled(strong, pseudo.labelled),
        }
