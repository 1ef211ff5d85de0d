"""CAP: label each class as often as it is met. Xie et al., NeurIPS 2023, arXiv:2305.02795. Many labels only."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from wherewhen.errors import UserError
from wherewhen.semi.algorithm import (
    TINY,
    Algorithm,
    Clock,
    Losses,
    Outputs,
    PseudoLabels,
    frequencies,
    known,
    weighted_mean,
)
from wherewhen.semi.state import Queue


class CAP(Algorithm):
    """Cut each class's probabilities at the quantile of its labelled frequency f: present above 1 − f.

    Quantiles are those of the last predictions of the labelling network's average. Losses are asymmetric.

    Args:
        prior: Frequencies (absent, present) of each class in the labelled set, (C, 2).
        keep_present: ρ⁺, share of the presences that count: those above the quantile 1 − ρ⁺·f.
        keep_absent: ρ⁻, share of the absences: those below the quantile ρ⁻·(1 − f).
        memory: Predictions that quantiles are taken of.
        gamma: Focusing exponents of absent and present targets.
        clip: Probability by which absent targets are shifted.

    Raises:
        UserError: Labels are not many a sample, or an argument is out of its range.
    """

    labels_from: ClassVar[Literal["model", "ema"]] = "ema"

    levels: Tensor  # (3, C): from where a class is present, counts as present, up to where it counts as absent

    def __init__(
        self,
        prior: Tensor | Sequence[Any],
        keep_present: float = 1.0,
        keep_absent: float = 1.0,
        memory: int = 64_000,
        gamma: tuple[float, float] = (4.0, 1.0),
        clip: float = 0.05,
    ) -> None:
        super().__init__()
        table = frequencies(prior, "prior")
        if table.ndim != 2 or table.shape[-1] != 2:
            raise UserError(
                f"CAP is for many labels a sample: it needs frequencies (classes, 2) of absent and present, not "
                f"{tuple(table.shape)}; choose another algorithm for one label a sample"
            )
        for name, share in (("keep_present", keep_present), ("keep_absent", keep_absent)):
            if not 0 <= share <= 1:
                raise UserError(f"CAP's {name} {share} is outside [0, 1]; 1 keeps every pseudo-label")
        rate = table[:, 1]
        self.register_buffer("levels", torch.stack((1 - rate, 1 - keep_present * rate, keep_absent * (1 - rate))))
        self.queue = Queue(len(rate), memory)
        self.gamma, self.clip = gamma, clip

    @torch.no_grad()
    def label(self, out: Outputs, clock: Clock) -> PseudoLabels:
        """Pseudo-labels of the weak view's logits (U, C, 2)."""
        p = out.need("weak").softmax(-1)[..., 1]
        self.queue.push(p)
        cut, present, absent = self.queue.quantiles(self.levels)
        return PseudoLabels((p >= cut).long(), ((p >= present) | (p <= absent)).float())

    def loss(self, out: Outputs, y: Tensor, pseudo: Any, clock: Clock) -> Losses:
        """Asymmetric losses; the unlabelled one is a mean over what is believed."""
        return {
            "supervised": weighted_mean(self.asymmetric(out.labelled.float(), y), known(y)),
            "unlabelled": weighted_mean(self.asymmetric(out.need("strong"), pseudo.targets), pseudo.weights),
        }

    def asymmetric(self, logits: Tensor, y: Tensor) -> Tensor:
        """(S, C, 2) and (S, C) -> (S, C). Ridnik et al., ICCV 2021, arXiv:2009.14119."""
        log_absent, log_present = logits.log_softmax(-1).unbind(-1)
        shifted = (log_absent.exp() + self.clip).clamp(TINY, 1).log()
        log_p = torch.where(y == 1, log_present, shifted)
        focus = (1 - log_p.detach().exp()) ** torch.where(y == 1, self.gamma[1], self.gamma[0])
        return -focus * log_p
