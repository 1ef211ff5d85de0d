"""CAP, one decision at a time. Xie et al., NeurIPS 2023: class-aware quantiles; Ridnik et al., ICCV 2021: the loss."""

import math
from typing import Any

import numpy as np

from tests.reference.semi import UNKNOWN, FixMatch, Views, softmax


class CAP(FixMatch):
    def __init__(
        self,
        prior: np.ndarray,
        keep_present: float,
        keep_absent: float,
        memory: int,
        gamma: tuple[float, float],
        clip: float,
    ) -> None:
        super().__init__([])
        self.rate, self.keep, self.memory = prior[:, 1], (keep_present, keep_absent), memory
        self.gamma, self.clip = gamma, clip
        self.rows: list[list[float]] = []

    def quantile(self, c: int, share: float) -> float:
        """The value of class c at place floor(n·share) of the n remembered ones in rising order."""
        values = sorted(row[c] for row in self.rows)
        return values[min(math.floor(len(values) * share), len(values) - 1)]

    def label(self, views: Views, step: int, total: int) -> dict[str, Any]:
        p = [[float(softmax(z)[1]) for z in sample] for sample in views["weak"]]
        self.rows = (self.rows + p)[-self.memory :]
        targets, weights = np.zeros((len(p), len(self.rate)), dtype=int), np.zeros((len(p), len(self.rate)))
        for c, f in enumerate(self.rate):
            cut = self.quantile(c, 1 - f)
            present = self.quantile(c, 1 - self.keep[0] * f)
            absent = self.quantile(c, self.keep[1] * (1 - f))
            for i in range(len(p)):
                targets[i, c] = 1 if p[i][c] >= cut else 0
                weights[i, c] = 1.0 if p[i][c] >= present or p[i][c] <= absent else 0.0
        return {"targets": targets, "weights": weights}

    def cost(self, z: np.ndarray, y: int) -> float:
        """Asymmetric loss of one decision."""
        p = float(softmax(z)[1])
        if y == 1:
            return -float((1 - p) ** self.gamma[1]) * math.log(p)
        shifted = max(p - self.clip, 0.0)
        return -float(shifted ** self.gamma[0]) * math.log(1 - shifted)

    def mean(self, z: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
        places = list(np.ndindex(y.shape))
        paid = sum(weights[i] * self.cost(z[i], int(y[i])) for i in places)
        return float(paid / (sum(weights[i] for i in places) + 1e-8))

    def loss(self, views: Views, y: np.ndarray, pseudo: dict[str, Any], step: int, total: int) -> dict[str, float]:
        return {
            "supervised": self.mean(views["labelled"], y, (y != UNKNOWN).astype(float)),
            "unlabelled": self.mean(views["strong"], pseudo["targets"], pseudo["weights"]),
        }

    def state(self) -> dict[str, Any]:
        return {"queue": self.rows}
