"""What a semi-supervised algorithm is: which predictions to believe, and what they cost.

Notation: L labelled and U unlabelled samples, * independent decisions of a sample, K outcomes.
Logits are canonical: (S, *, K) float32, see `wherewhen.semi.spaces`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wherewhen.errors import UserError
from wherewhen.semi.spaces import UNKNOWN
from wherewhen.semi.state import mean_over_processes

TINY = 1e-12  # what probabilities are kept above where a logarithm or a quotient is taken of them

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

    def need(self, view: str) -> Tensor:
        """The logits of a view, in float32; pseudo-labels made in half precision are others.

        Raises:
            ValueError: The view is missing.
        """
        logits: Tensor | None = getattr(self, view)
        if logits is None:
            raise ValueError(f"the algorithm needs the logits of the {view} view, and they are missing")
        return logits.float()


@dataclass(frozen=True)
class PseudoLabels:
    """What the labelling network says of the unlabelled samples. Subclasses may carry more."""

    targets: Tensor  # (U, *) int64, or (U, *, K) float for soft labels
    weights: Tensor  # (U, *) in [0, 1]; 0 means not believed

    def carried(self, carry: Carry, view: str = "strong") -> Self:
        """The same labels on the pixels of a strong view; outside its weak twin nothing is believed."""
        return replace(self, targets=carry(view, self.targets, 0), weights=carry(view, self.weights, 0.0))


class Algorithm(nn.Module, ABC):
    """Policy: which unlabelled predictions to believe, and the loss a learner pays for them.

    `label` sees the labelling network's outputs once a step; `loss` sees one learner's. What `label` returns
    is carried to `loss` unopened, so the framework holds no line for any one algorithm. State lives in
    buffers (`wherewhen.semi.state`), so that it is saved, resumed and moved with the model; it moves at every call.
    """

    views: ClassVar[frozenset[str]] = frozenset({"labelled", "weak", "strong"})
    labels_from: ClassVar[Literal["model", "ema"]] = "model"  # or the labelling network's averaged weights

    @abstractmethod
    def label(self, out: Outputs, clock: Clock) -> PseudoLabels:
        """Decide what to believe; runs without gradient."""

    def loss(self, out: Outputs, y: Tensor, pseudo: Any, clock: Clock) -> Losses:
        """Scalar losses by name: "supervised", "unlabelled" and extras. y (L, *) int64."""
        return {"supervised": supervised(out.labelled, y), "unlabelled": unlabelled(out.need("strong"), pseudo)}

    def predict(self, logits: Tensor, blank: Tensor | None = None) -> Tensor:
        """Logits to use at test time."""
        return logits


def nll(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each decision: (S, *, K) and (S, *) int64 or (S, *, K) float -> (S, *).

    Decisions with target `UNKNOWN` cost nothing.
    """
    log_p = logits.log_softmax(-1, dtype=torch.float32)
    if targets.is_floating_point():
        return -(targets * log_p).sum(-1)
    return F.nll_loss(log_p.movedim(-1, 1), targets, ignore_index=UNKNOWN, reduction="none")


def weighted_mean(cost: Tensor, weights: Tensor) -> Tensor:
    """Σ cost·weight / Σ weight, 0 where no weight is; the mean of it over processes is that of the joined batch."""
    return (cost * weights).sum() / (mean_over_processes(weights.sum()) + 1e-8)


def known(y: Tensor) -> Tensor:
    """1.0 where the label is known, 0.0 where nobody knows."""
    return (y != UNKNOWN).float()


def supervised(logits: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy over the decisions whose label is known; 0 if none is."""
    return weighted_mean(nll(logits, y), known(y))


def unlabelled(logits: Tensor, pseudo: PseudoLabels) -> Tensor:
    """Weighted cross-entropy, mean over *all* decisions: a masked one counts as zero, not as absent."""
    return (pseudo.weights * nll(logits, pseudo.targets)).mean()


def likeliest(p: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities (S, *, K) -> the largest and its index; of equal ones the last: p = ½ is present, as z ≥ 0 is."""
    confidence, backwards = p.flip(-1).max(-1)
    return confidence, p.shape[-1] - 1 - backwards


def believe(logits: Tensor, threshold: Tensor) -> PseudoLabels:
    """(S, *, K) -> hard labels (S, *), with weight 1 where p reaches the outcome's threshold, else 0.

    The threshold's shape is that of a sample's logits, (*, K), or one that can be expanded to it.
    """
    confidence, outcome = likeliest(logits.softmax(-1))
    needed = threshold.expand(logits.shape).gather(-1, outcome[..., None])[..., 0]
    return PseudoLabels(outcome, (confidence >= needed).float())


def normalise(p: Tensor) -> Tensor:
    """Divide by the sum over outcomes."""
    return p / p.sum(-1, keepdim=True).clamp_min(TINY)


def frequencies(table: Tensor | Sequence[Any], name: str) -> Tensor:
    """Frequencies of outcomes (*, K) from an argument, checked.

    Raises:
        UserError: They are no frequencies.
    """
    p = torch.as_tensor(table, dtype=torch.float32, device="cpu").clone()
    if not p.ndim or not ((p >= 0).all() and ((p.sum(-1) - 1).abs() < 1e-3).all()):
        raise UserError(
            f"{name} {p.tolist()} are no frequencies of outcomes; give numbers from 0 to 1 that sum to 1 over the last "
            "axis (many labels: absent, present), or leave it to the labelled patches"
        )
    return p
