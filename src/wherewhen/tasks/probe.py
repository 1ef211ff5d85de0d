"""How much of the classes an encoder tells before anything is fine-tuned: neighbours and a linear probe.

Notation: N labelled and M test patches, D width of the features, K classes.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from wherewhen.errors import UserError
from wherewhen.loader import PixelSource
from wherewhen.semi import UNKNOWN
from wherewhen.splits import shuffled
from wherewhen.store import PatchStore

NEIGHBOURS, TEMPERATURE = 20, 0.07
MOST = 2000  # patches of a part that are looked at, so that looking costs little beside training


def knn_accuracy(known: Tensor, labels: Tensor, asked: Tensor, truth: Tensor, neighbours: int = NEIGHBOURS) -> float:
    """Accuracy in % of a vote among the nearest labelled features, weighted by exp(cosine / 0.07).

    Wu et al. 2018, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", section 3.4.

    Args:
        known: (N, D).
        labels: (N,) int64.
        asked: (M, D).
        truth: (M,) int64.
        neighbours: How many vote, at most N.
    """
    likeness = F.normalize(asked.float(), dim=1) @ F.normalize(known.float(), dim=1).T
    near, index = likeness.topk(min(neighbours, len(known)), dim=1)
    votes = torch.zeros(len(asked), int(labels.max()) + 1, device=asked.device)
    votes.scatter_add_(1, labels[index], ((near - 1) / TEMPERATURE).exp())
    return 100 * (votes.argmax(1) == truth).float().mean().item()


def linear_accuracy(known: Tensor, labels: Tensor, asked: Tensor, truth: Tensor) -> float:
    """Accuracy in % of a logistic regression on frozen, standardised features; arguments as of `knn_accuracy`."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # near enough for a look on the way
        model.fit(known.float().cpu().numpy(), labels.cpu().numpy())
    return 100 * float((model.predict(asked.float().cpu().numpy()) == truth.cpu().numpy()).mean())


@dataclass(frozen=True)
class Part:
    """Patches to look at."""

    pixels: PixelSource
    labels: Tensor  # (n,) int64


class Probe:
    """A labelled store, its training patches as the known ones and its test patches as the asked ones.

    Args:
        store: With one label a patch, and a split.
        image_size: Side of the images in pixels.

    Raises:
        UserError: It has not.
    """

    def __init__(self, store: PatchStore, image_size: int) -> None:
        if store.label_kind != "one":
            raise UserError(f"{store.path} has not one label a patch, which a probe needs; choose another store")
        labels, split = store.labels(), store.table["split"].to_numpy(dtype=object)
        order = shuffled(list(store.table["id"]), 0)
        self.store = store
        self.parts: dict[str, Part] = {}
        for name in ("train", "test"):
            rows = order[((split == name) & (labels != UNKNOWN))[order]][:MOST]
            if not len(rows):
                raise UserError(f"{store.path} has no labelled {name} patches for a probe; choose another store")
            self.parts[name] = Part(PixelSource(store, rows, image_size), torch.from_numpy(labels[rows]).long())

    def of(self, describe: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Accuracies of what `describe` (n, C, S, S) stored numbers -> (n, D) tells."""
        known, asked, labels, truth = self._described(describe)
        return {
            "knn": knn_accuracy(known, labels, asked, truth),
            "linear": linear_accuracy(known, labels, asked, truth),
        }

    def of_statistics(self) -> dict[str, float]:
        """What neighbours by mean and deviation of every band tell, standardised: an encoder must be better."""
        known, asked, labels, truth = self._described(lambda x: torch.cat((x.mean((2, 3)), x.std((2, 3))), dim=1))
        mean, std = known.mean(0), known.std(0).clamp(min=1e-12)
        return {"knn_of_statistics": knn_accuracy((known - mean) / std, labels, (asked - mean) / std, truth)}

    def _described(self, describe: Callable[[Tensor], Tensor], batch: int = 256) -> tuple[Tensor, ...]:
        """Features (N, D) and (M, D), labels (N,) and (M,)."""
        features = []
        for part in self.parts.values():
            index = np.arange(len(part.labels))
            features.append(torch.cat([describe(part.pixels(some)) for some in np.split(index, index[batch::batch])]))
        return *features, *(part.labels.to(features[0].device) for part in self.parts.values())
