"""Predictions of pixels, their metrics, and the files that say them.

test.json             metrics, bootstrap intervals over images, and the classes that no evaluated image shows
test_classes.csv      pixels, IoU, F1, precision and recall, a row a class
test_predictions.csv  a row an image: pixels with a known label, and how many of them are right
test_maps.npz         `ids` (N,) and `maps` (N, H, W) uint8, the predicted class of every pixel, up to `MAPS_BYTES`
confusion.csv, .png   counts of pixels, rows the truth

Notation: N images, H × W pixels, K classes, R draws of the bootstrap.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from wherewhen.errors import UserError
from wherewhen.files import atomic_path, write_json, write_text
from wherewhen.semi import UNKNOWN
from wherewhen.tasks.bootstrap import Figures, Interval, intervals_of
from wherewhen.tasks.evaluation import Evaluation
from wherewhen.tasks.facts import Facts

MAPS_BYTES = 200 << 20


@dataclass
class DenseEvaluation(Evaluation):
    """Counts pixels by truth and prediction, image by image, on the device; pixels of unknown class are left out.

    Args:
        kind: Classes of pixels (`mask`), or `change`.
        classes: K class names.
        keep: Keep the predicted maps as well, as long as they are few enough.
    """

    keep: bool = False
    counts: list[Tensor] = field(default_factory=list)
    maps: list[Tensor] = field(default_factory=list)

    def add(self, logits: Tensor, label: Tensor) -> None:
        """Canonical logits (N·H·W, K), labels (N, H, W)."""
        predicted = logits.argmax(-1).view_as(label)
        self.counts.append(confusions(predicted, label, len(self.classes)))
        if self.keep:
            self.maps.append(predicted.to(torch.uint8))
            self.keep = sum(map(torch.numel, self.maps)) <= MAPS_BYTES

    def all(self) -> NoReturn:
        """There is nothing of this kind to be had.

        Raises:
            UserError: Always; probabilities of all pixels are not kept.
        """
        raise UserError(
            f"this is about labels of patches, and the run's data.target is {self.kind}; choose another run"
        )

    def of_images(self) -> Tensor:
        """Counts of every image, (N, K, K) int64 on the CPU, rows the truth."""
        return torch.cat(self.counts).cpu()

    def confusion(self) -> Tensor:
        """(K, K) counts, rows the truth."""
        return self.of_images().sum(0)

    def metrics(self) -> dict[str, float]:
        """Percentages by name; what no known label defines is not there."""
        values = figures_of(self.kind)(torch.stack([part.sum(0) for part in self.counts]).sum(0).double())
        return {name: value for name, value in ((k, v.item()) for k, v in values.items()) if value == value}

    def intervals(self) -> dict[str, Interval]:
        """Percentile intervals over images of every metric."""
        counts = self.of_images()
        counts = counts[counts.sum((1, 2)) > 0].double()
        if not len(counts):
            return {}
        defined = self.metrics()
        found = intervals_of(weighed(self.kind, counts), len(counts))
        return {name: pair for name, pair in found.items() if name in defined}

    def report(self) -> dict[str, Any]:
        """What `test.json` says: `images`, every metric, `NAME_interval` (low, high), `classes_left_out`."""
        shown = self.confusion().sum(1).tolist()
        return {
            "images": len(self.of_images()),
            **self.metrics(),
            **{f"{name}_interval": list(pair) for name, pair in self.intervals().items()},
            "classes_left_out": [name for name, count in zip(self.classes, shown, strict=True) if not count],
        }

    def write(self, folder: Path, ids: Sequence[str]) -> dict[str, Any]:
        """Write the files into `folder`, and give what `test.json` says.

        Nothing in them depends on place, time or the clock, so equal predictions give equal bytes.
        """
        report = self.report()
        write_json(folder / "test.json", report)
        table = class_table(self.confusion(), self.classes)
        write_text(folder / "test_classes.csv", table.to_csv(float_format="%.4f", lineterminator="\n"))
        counts = self.of_images()
        right = counts.diagonal(dim1=1, dim2=2).sum(1)
        rows = pd.DataFrame({"id": ids, "known": counts.sum((1, 2)), "right": right})
        write_text(folder / "test_predictions.csv", rows.to_csv(index=False, lineterminator="\n"))
        self.write_confusion(folder)
        maps = folder / "test_maps.npz"
        maps.unlink(missing_ok=True)
        if self.keep:
            with atomic_path(maps) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, ids=np.array(ids), maps=torch.cat(self.maps).cpu().numpy())
        return report


def evaluation_of(facts: Facts, keep: bool = False) -> Evaluation:
    """An empty evaluation of what a task is trained for; `keep` its maps, where it makes some."""
    if facts.dense:
        return DenseEvaluation(facts.label_kind, facts.classes, keep=keep)
    return Evaluation(facts.label_kind, facts.classes)


def confusions(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Maps (N, H, W) each -> pixels of each image by truth and prediction, (N, K, K) int64."""
    image = torch.arange(len(truth), device=truth.device)[:, None, None]
    cell = (image * classes + truth) * classes + predicted
    counts = torch.bincount(cell[truth != UNKNOWN], minlength=len(truth) * classes**2)
    return counts.view(-1, classes, classes)


def weighed(kind: str, counts: Tensor) -> Callable[[Tensor], Figures]:
    """From weights of images (N, R) to figures (R,), by the counts of each image (N, K, K) float64."""
    flat, figures = counts.flatten(1), figures_of(kind)
    return lambda weights: figures((weights.T.double() @ flat).unflatten(1, counts.shape[1:]))


def figures_of(kind: str) -> Callable[[Tensor], Figures]:
    """What counts (…, K, K) float64 say, by name, (…) in %, NaN where it is not defined."""
    return change_figures if kind == "change" else mask_figures


def mask_figures(counts: Tensor) -> Figures:
    """Overall accuracy; intersection over union and recall, means over the classes that the truth shows."""
    right, truth, said = counts.diagonal(dim1=-2, dim2=-1), counts.sum(-1), counts.sum(-2)
    shown = truth > 0
    return {
        "overall_accuracy": 100 * right.sum(-1) / truth.sum(-1),
        "miou": 100 * (right / (truth + said - right)).where(shown, torch.nan).nanmean(-1),
        "balanced_accuracy": 100 * (right / truth).nanmean(-1),
    }


def change_figures(counts: Tensor) -> Figures:
    """Precision, recall, F1 and intersection over union of change; precision is 0 where none is seen."""
    right, missed, wrong = counts[..., 1, 1], counts[..., 1, 0], counts[..., 0, 1]
    known, changed = counts.sum((-2, -1)), right + missed > 0
    return {
        "f1": 200 * right / (2 * right + missed + wrong).where(changed, torch.nan),
        "precision": 100 * right / (right + wrong).clamp_min(1).where(known > 0, torch.nan),
        "recall": 100 * right / (right + missed),
        "iou": 100 * right / (right + missed + wrong).where(changed, torch.nan),
        "overall_accuracy": 100 * counts.diagonal(dim1=-2, dim2=-1).sum(-1) / known,
    }


def class_table(counts: Tensor, classes: Sequence[str]) -> pd.DataFrame:
    """(K, K) -> a row a class: `pixels` of it, `iou`, `f1`, `precision`, `recall` in %, NaN without a pixel."""
    counts = counts.double()
    right, truth, said = counts.diagonal(), counts.sum(1), counts.sum(0)
    columns = {
        "iou": right / (truth + said - right),
        "f1": 2 * right / (truth + said),
        "precision": right / said.clamp_min(1),
        "recall": right / truth,
    }
    table = pd.DataFrame({name: (100 * v.where(truth > 0, torch.nan)).numpy() for name, v in columns.items()})
    table.insert(0, "pixels", truth.long().numpy())
    return table.set_index(pd.Index(classes, name="class"))
