"""How much better one run is than another on the same test patches.

Notation: N test patches, K classes, R draws.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from wherewhen.maps import UNKNOWN as VOID
from wherewhen.report.answers import Answers
from wherewhen.semi import UNKNOWN
from wherewhen.tasks.bootstrap import (
    DRAWS,
    Figures,
    many_label_figures,
    one_label_figures,
    percentiles,
    resamples,
)
from wherewhen.tasks.dense import confusions, weighed
from wherewhen.tasks.evaluation import HEADLINE
from wherewhen.tasks.facts import LabelKind
from wherewhen.tasks.metrics import Decisions


class Gain(NamedTuple):
    """Difference of the headline metric in points, with its paired 95 % bootstrap interval over test patches."""

    mean: float
    low: float
    high: float


def gain(kind: LabelKind, ours: Answers, theirs: Answers) -> Gain:
    """Ours − theirs: both are weighted alike in every draw of patches."""
    metric = HEADLINE[kind]
    (count, a), (_, b) = scorer(kind, ours), scorer(kind, theirs)

    def difference(weights: torch.Tensor) -> torch.Tensor:
        return a(weights)[metric] - b(weights)[metric]

    drawn = torch.cat([difference(weights) for weights in resamples(count, DRAWS, 0)])
    return Gain(difference(torch.ones(count, 1)).item(), *percentiles(drawn))


def scorer(kind: LabelKind, answers: Answers) -> tuple[int, Callable[[torch.Tensor], Figures]]:
    """Patches with a known label, and from their weights (N, R) to metrics (R,)."""
    if kind in ("mask", "change"):
        return pixel_scorer(kind, answers)
    assert answers.probability is not None
    seen = (answers.truth != UNKNOWN).any(1)
    parts = (torch.from_numpy(part[seen]) for part in (answers.probability, answers.said, answers.truth))
    decisions = Decisions(*parts)
    return int(seen.sum()), one_label_figures(decisions) if kind == "one" else many_label_figures(decisions)


def pixel_scorer(kind: LabelKind, answers: Answers) -> tuple[int, Callable[[torch.Tensor], Figures]]:
    """The same, from the counts of pixels of every patch."""
    classes = 1 + int(max(answers.truth[answers.truth != VOID].max(initial=1), answers.said.max(initial=1)))
    truth = torch.from_numpy(answers.truth).long()
    counts = confusions(torch.from_numpy(answers.said).long(), truth.where(truth != VOID, UNKNOWN), classes)
    counts = counts[counts.sum((1, 2)) > 0].double()
    return len(counts), weighed(kind, counts)
