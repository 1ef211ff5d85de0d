"""Metrics of a set of predictions, and the files that say them.

Notation: N images, C classes.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
    multilabel_average_precision,
    multilabel_f1_score,
)

from wherewhen.files import write_json, write_text
from wherewhen.semi import UNKNOWN
from wherewhen.tasks.facts import LabelKind


@dataclass
class Evaluation:
    """Gathers probabilities on the device and turns them into metrics when asked.

    Args:
        kind: One label an image, or many.
        classes: C class names.
    """

    kind: LabelKind
    classes: Sequence[str]
    probabilities: list[Tensor] = field(default_factory=list)
    labels: list[Tensor] = field(default_factory=list)

    def add(self, logits: Tensor, label: Tensor) -> None:
        """Canonical logits (N, C) or (N, C, 2), labels (N,) or (N, C)."""
        p = logits.softmax(-1)
        self.probabilities.append(p if self.kind == "one" else p[..., 1])
        self.labels.append(label)

    def all(self) -> tuple[Tensor, Tensor]:
        """Probabilities (N, C) and labels of everything added, on the CPU."""
        return torch.cat(self.probabilities).cpu(), torch.cat(self.labels).cpu()

    def metrics(self) -> dict[str, float]:
        """Percentages and errors by name; unknown labels are left out."""
        p, y = self.all()
        return one_label_metrics(p, y) if self.kind == "one" else many_label_metrics(p, y)

    def confusion(self) -> Tensor:
        """(C, C) counts, rows the truth; one label an image only."""
        p, y = self.all()
        known = y != UNKNOWN
        return multiclass_confusion_matrix(p[known], y[known], len(self.classes))

    def write(self, folder: Path, ids: Sequence[str]) -> dict[str, float]:
        """`test.json` with the metrics and `test_predictions.csv` with a row an image, in `folder`.

        Nothing in them depends on place, time or the clock, so equal predictions give equal bytes.
        """
        metrics = self.metrics()
        write_json(folder / "test.json", {"images": len(ids), **metrics})
        write_text(folder / "test_predictions.csv", self._rows(ids))
        return metrics

    def _rows(self, ids: Sequence[str]) -> str:
        p, y = self.all()
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        if self.kind == "one":
            rows.writerow(("id", "label", "prediction", "probability"))
            confidence, best = p.max(-1)
            for name, truth, guess, sure in zip(ids, y.tolist(), best.tolist(), confidence.tolist(), strict=True):
                truth_name = self.classes[truth] if truth != UNKNOWN else ""
                rows.writerow((name, truth_name, self.classes[guess], f"{sure:.6f}"))
        else:
            rows.writerow(("id", *self.classes))
            rows.writerows((name, *(f"{v:.6f}" for v in row)) for name, row in zip(ids, p.tolist(), strict=True))
        return text.getvalue()


def one_label_metrics(p: Tensor, y: Tensor) -> dict[str, float]:
    """(N, C) probabilities, (N,) labels -> accuracy, balanced accuracy (%) and calibration error."""
    known = y != UNKNOWN
    p, y, classes = p[known], y[known], p.shape[1]
    recall = multiclass_accuracy(p, y, classes, average=None)
    return {
        "accuracy": 100 * multiclass_accuracy(p, y, classes, average="micro").item(),
        "balanced_accuracy": 100 * recall[torch.bincount(y, minlength=classes) > 0].mean().item(),
        "calibration_error": multiclass_calibration_error(p, y, classes, n_bins=15).item(),
        "cross_entropy": torch.nn.functional.nll_loss(p.clamp_min(1e-12).log(), y).item(),
    }


def many_label_metrics(p: Tensor, y: Tensor) -> dict[str, float]:
    """(N, C) probabilities, (N, C) labels -> mean average precision and F1 at probability 0.5 (%)."""
    classes = p.shape[1]
    return {
        "map_macro": 100 * multilabel_average_precision(p, y, classes, "macro", ignore_index=UNKNOWN).item(),
        "map_micro": 100 * multilabel_average_precision(p, y, classes, "micro", ignore_index=UNKNOWN).item(),
        "f1_macro": 100 * multilabel_f1_score(p, y, classes, average="macro", ignore_index=UNKNOWN).item(),
    }


HEADLINE: dict[LabelKind, str] = {"one": "accuracy", "many": "map_macro"}
