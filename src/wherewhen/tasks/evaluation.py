"""A set of predictions, its metrics, and the files that say them.

test.json             metrics, bootstrap intervals, and the classes that no evaluated image shows
test_classes.csv      support, average precision, F1 and recall, a row a class
test_predictions.csv  a row an image
confusion.csv, .png   one label an image only: counts, rows the truth

Notation: N images, C classes.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from wherewhen.files import write_json, write_text
from wherewhen.semi import UNKNOWN
from wherewhen.tasks.bootstrap import intervals
from wherewhen.tasks.facts import LabelKind
from wherewhen.tasks.metrics import Decisions, class_table, metrics

HEADLINE: dict[LabelKind, str] = {"one": "accuracy", "many": "map_macro", "mask": "miou", "change": "f1"}
TITLES = {  # what people call a metric, in the order of tables
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "map_macro": "mAP macro",
    "map_micro": "mAP micro",
    "f1_macro": "F1 macro",
    "f1_micro": "F1 micro",
    "miou": "mIoU",
    "overall_accuracy": "overall accuracy",
    "f1": "F1 of change",
    "precision": "precision",
    "recall": "recall",
    "iou": "IoU of change",
    "calibration_error": "calibration error",
    "cross_entropy": "cross-entropy",
}


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

    def decisions(self) -> Decisions:
        """What metrics are made of."""
        return Decisions.of(self.kind, *self.all())

    def metrics(self) -> dict[str, float]:
        """Percentages and errors by name; unknown labels are left out, and so is what no known label defines."""
        return metrics(self.kind, self.decisions())

    def confusion(self) -> Tensor:
        """(C, C) counts, rows the truth; one label an image only."""
        p, y = self.all()
        known = y != UNKNOWN
        return multiclass_confusion_matrix(p[known], y[known], len(self.classes))

    def report(self) -> dict[str, Any]:
        """What `test.json` says: `images`, every metric, `NAME_interval` (low, high), `classes_left_out`."""
        decisions = self.decisions()
        ranges = {f"{name}_interval": list(pair) for name, pair in intervals(self.kind, decisions).items()}
        left_out = [name for name, count in zip(self.classes, decisions.support.tolist(), strict=True) if not count]
        return {
            "images": len(torch.cat(self.labels)),
            **metrics(self.kind, decisions),
            **ranges,
            "classes_left_out": left_out,
        }

    def write(self, folder: Path, ids: Sequence[str]) -> dict[str, Any]:
        """Write the files into `folder`, and give what `test.json` says.

        Nothing in them depends on place, time or the clock, so equal predictions give equal bytes.
        """
        report = self.report()
        write_json(folder / "test.json", report)
        write_text(folder / "test_predictions.csv", self._predictions(ids))
        table = class_table(self.decisions(), list(self.classes))
        write_text(folder / "test_classes.csv", table.to_csv(float_format="%.4f", lineterminator="\n"))
        if self.kind == "one":
            self.write_confusion(folder)
        return report

    def write_confusion(self, folder: Path) -> None:
        """Write `confusion.csv`."""
        counts = zip(self.classes, self.confusion().tolist(), strict=True)
        write_text(folder / "confusion.csv", as_csv([("", *self.classes), *((name, *row) for name, row in counts)]))

    def _predictions(self, ids: Sequence[str]) -> str:
        p, y = self.all()
        if self.kind == "many":
            rows = zip(ids, p.tolist(), strict=True)
            return as_csv([("id", *self.classes), *((name, *(f"{v:.6f}" for v in row)) for name, row in rows)])
        confidence, best = p.max(-1)
        columns = zip(ids, y.tolist(), best.tolist(), confidence.tolist(), strict=True)
        return as_csv(
            [
                ("id", "label", "prediction", "probability"),
                *((name, self._name(truth), self._name(guess), f"{sure:.6f}") for name, truth, guess, sure in columns),
            ]
        )

    def _name(self, index: int) -> str:
        """Of a class, or nothing where it is unknown."""
        return self.classes[index] if index != UNKNOWN else ""


def as_csv(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV text."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
