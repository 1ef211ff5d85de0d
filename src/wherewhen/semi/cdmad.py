"""CDMAD: take off what the network says of nothing. Lee & Kim, CVPR 2024, arXiv:2403.10391."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from wherewhen.semi.algorithm import Clock, Losses, Outputs, PseudoLabels
from wherewhen.semi.fixmatch import FixMatch


class CDMAD(FixMatch):
    """FixMatch with soft labels, from logits less those of an image without content; the same at test time.

    Args:
        start: Step before which nothing is taken off: an untrained network's answer to nothing means nothing.
        threshold: As FixMatch's; many labels (0.95, 0.95).
    """

    views: ClassVar[frozenset[str]] = FixMatch.views | {"blank"}

    awake: Tensor  # whether `start` is reached: what is tested or exported must know

    def __init__(self, start: int = 0, threshold: float | Sequence[float] | Tensor = 0.95) -> None:
        super().__init__(threshold)
        self.start = start
        self.register_buffer("awake", torch.tensor(start <= 0))

    @torch.no_grad()
    def label(self, out: Outputs, clock: Clock) -> PseudoLabels:
        """Soft pseudo-labels of the weak view's logits, with FixMatch's weights."""
        self.awake.fill_(clock.step >= self.start)
        debiased = self.predict(out.need("weak"), out.need("blank"))
        return PseudoLabels(debiased.softmax(-1).nan_to_num(0.0), self.believe(debiased).weights)

    def loss(self, out: Outputs, y: Tensor, pseudo: Any, clock: Clock) -> Losses:
        """FixMatch's losses."""
        self.awake.fill_(clock.step >= self.start)  # a student's algorithm labels nothing
        return super().loss(out, y, pseudo, clock)

    def predict(self, logits: Tensor, blank: Tensor | None = None) -> Tensor:
        """Logits less the network's own for a blank image, (1, *, K).

        Raises:
            ValueError: There is no blank image.
        """
        if blank is None:
            raise ValueError("CDMAD corrects by the answer to a blank image, and it is missing")
        return torch.where(self.awake, logits - blank, logits)
