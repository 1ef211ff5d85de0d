"""What a semi-supervised algorithm is: which predictions to believe, and what they cost.

Notation: L labelled and U unlabelled samples, * independent decisions of a sample, K outcomes.
Logits are canonical: (S, *, K) float32, see `wherewhen.semi.spaces`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

import torch.nn.functional as F
from torch import Tensor, nn

from wherewhen.semi.spaces import UNKNOWN

Losses = dict[str, Tensor]
Carry = Callable[[str, Tensor, float], Tensor]  # (view, values on its weak twin, fill) -> values on the view


class Clock(NamedTuple):
    """Where training stands."""

    step: int
    total: int

    @property
    def fraction(self) -> float:
        """Share of the training that is done, in [0, 1]."""
        return self.step / max(self.total, 1)


class Outputs(NamedTuple):
    """Canonical logits that one learner gave for one batch."""

    labelled: Tensor  # (L, *, K) weak view of the labelled images
    strong: Tensor | None = None  # (U, *, K)
    weak: Tensor | None = None  # (U, *, K), no gradient; a student sees no weak view
    labelled_strong: Tensor | None = None  # (L, *, K), if the algorithm's views ask for it
    blank: Tensor | None = None  # (1, *, K) answer to an image without content, likewise


@dataclass(frozen=True)
class PseudoLabels:
    """What the labelling network says of the unlabelled samples. Subclasses may carry more."""

    targets: Tensor  # (U, *) int64, or (U, *, K) float for soft labels
    weights: Tensor  # (U, *) in [0, 1]; 0 means not believed

    def carried(self, carry: Carry) -> Self:
        """The same labels on the strong view's pixels; outside the weak view nothing is believed."""
        return replace(self, targets=carry("strong", self.targets, 0), weights=carry("strong", self.weights, 0.0))


class Algorithm(nn.Module, ABC):
    """Policy: which unlabelled predictions to believe, and the loss a learner pays for them.

    `label` sees the labelling network's outputs once a step; `loss` sees one learner's. What `label` returns
    is carried to `loss` unopened, so the framework holds no line for any one algorithm. State lives in
    buffers (`wherewhen.semi.state.Running`), so that it is saved, resumed and moved with the model.
    """

    views: ClassVar[frozenset[str]] = frozenset({"labelled", "weak", "strong"})
    labels_from: ClassVar[str] = "model"  # or "ema": the labelling network's averaged weights

    @abstractmethod
    def label(self, out: Outputs, clock: Clock) -> PseudoLabels:
        """Decide what to believe; runs without gradient."""

    def loss(self, out: Outputs, y: Tensor, pseudo: Any, clock: Clock) -> Losses:
        """Scalar losses by name: "supervised", "unlabelled" and extras. y (L, *) int64."""
        return {"supervised": supervised(out.labelled, y), "unlabelled": unlabelled(out.strong, pseudo)}

    def predict(self, logits: Tensor, blank: Tensor | None = None) -> Tensor:
        """Logits to use at test time."""
        return logits


def nll(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each decision: (S, *, K) and (S, *) int64 or (S, *, K) float -> (S, *).

    Decisions with target `UNKNOWN` cost nothing.
    """
    log_p = logits.log_softmax(-1)
    if targets.is_floating_point():
        return -(targets * log_p).sum(-1)
    return F.nll_loss(log_p.movedim(-1, 1), targets, ignore_index=UNKNOWN, reduction="none")


def supervised(logits: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy over the decisions whose label is known; 0 if none is."""
    return nll(logits, y).sum() / (y != UNKNOWN).sum().clamp_min(1)


def unlabelled(logits: Tensor | None, pseudo: PseudoLabels) -> Tensor:
    """Weighted cross-entropy, mean over *all* decisions: a masked one counts as zero, not as absent."""
    if logits is None:
        raise ValueError("the unlabelled loss needs the logits of the strong view")
    return (pseudo.weights * nll(logits, pseudo.targets)).mean()
