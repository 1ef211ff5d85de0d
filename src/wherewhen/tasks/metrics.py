"""How good predictions are, over all classes and class by class.

Notation: N images, C classes. Whatever the kind of label, a prediction is C decisions, class present or absent:
`Decisions`. A class that no evaluated image shows has no recall and no average precision: it is NaN in the table,
and left out of every mean over classes.
"""

from typing import NamedTuple

import pandas as pd
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_average_precision,
    binary_calibration_error,
    binary_f1_score,
    binary_recall,
    multiclass_calibration_error,
)

from wherewhen.semi import UNKNOWN
from wherewhen.tasks.facts import LabelKind

BINS = 15  # of the calibration error, of equal width
THRESHOLD = 0.5  # a class of many is predicted from this probability on


class Decisions(NamedTuple):
    """Predictions and truth of images with some known label."""

    probability: Tensor  # (N, C) float64
    predicted: Tensor  # (N, C) int64, 1 or 0: the likeliest of classes that exclude each other, else p ≥ `THRESHOLD`
    truth: Tensor  # (N, C) int64, 1, 0 or `UNKNOWN`

    @classmethod
    def of(cls, kind: LabelKind, p: Tensor, y: Tensor) -> "Decisions":
        """(N, C) probabilities; labels (N,) of one class, or (N, C) of many; `UNKNOWN` where nobody knows."""
        classes = p.shape[1]
        if kind == "one":
            truth = F.one_hot(y.clamp_min(0), classes).where((y != UNKNOWN)[:, None], UNKNOWN)
            predicted = F.one_hot(p.argmax(-1), classes)
        else:
            truth, predicted = y, (p >= THRESHOLD).long()
        seen = (truth != UNKNOWN).any(1)
        return cls(p[seen].double(), predicted[seen], truth[seen])

    @property
    def support(self) -> Tensor:
        """Images that show each class, (C,)."""
        return (self.truth == 1).sum(0)


def class_table(decisions: Decisions, classes: list[str]) -> pd.DataFrame:
    """A row a class: `support` (images that show it), `average_precision`, `f1`, `recall` in %, NaN without support."""
    rows = []
    for p, predicted, truth in zip(*(part.T for part in decisions), strict=True):
        known = truth != UNKNOWN
        p, predicted, truth = p[known], predicted[known], truth[known]
        row: dict[str, float] = {"support": int(truth.sum())}
        if row["support"]:
            row |= {
                "average_precision": 100 * binary_average_precision(p, truth).item(),
                "f1": 100 * binary_f1_score(predicted, truth).item(),
                "recall": 100 * binary_recall(predicted, truth).item(),
            }
        rows.append(row)
    columns = ["support", "average_precision", "f1", "recall"]
    return pd.DataFrame(rows, index=pd.Index(classes, name="class"), columns=columns)


def metrics(kind: LabelKind, decisions: Decisions) -> dict[str, float]:
    """Percentages and errors by name; those that no known label defines are not there."""
    if not decisions.support.any():
        return {}
    table = class_table(decisions, [""] * decisions.truth.shape[1])
    return one_label_metrics(decisions, table) if kind == "one" else many_label_metrics(decisions, table)


def one_label_metrics(decisions: Decisions, table: pd.DataFrame) -> dict[str, float]:
    """Accuracy, balanced accuracy (mean recall) in %; error of the likeliest class's probability; cross-entropy."""
    p, y = decisions.probability, decisions.truth.argmax(-1)
    hits = int((decisions.predicted * decisions.truth).sum())
    return {
        "accuracy": 100 * hits / len(y),
        "balanced_accuracy": float(table["recall"].mean()),
        "calibration_error": multiclass_calibration_error(p, y, p.shape[1], n_bins=BINS).item(),
        "cross_entropy": F.nll_loss(p.clamp_min(1e-12).log(), y).item(),
    }


def many_label_metrics(decisions: Decisions, table: pd.DataFrame) -> dict[str, float]:
    """Mean average precision and F1 in %, over classes (macro) and over all decisions (micro); calibration error.

    The calibration error asks of every decision whether its class is as often there as its probability says.
    """
    known = decisions.truth != UNKNOWN
    p, predicted, truth = (part[known] for part in decisions)
    return {
        "map_macro": float(table["average_precision"].mean()),
        "map_micro": 100 * binary_average_precision(p, truth).item(),
        "f1_macro": float(table["f1"].mean()),
        "f1_micro": 100 * binary_f1_score(predicted, truth).item(),
        "calibration_error": binary_calibration_error(p, truth, n_bins=BINS).item(),
    }
