"""FreeMatch, one decision at a time. Wang et al., ICLR 2023: self-adaptive thresholds, and fairness between classes."""

import math
from typing import Any

import numpy as np

from tests.reference.semi import FixMatch, Views, samples, softmax


def normalised_quotient(p: np.ndarray, h: np.ndarray) -> list[float]:
    """p / h, 0 where h is 0, divided by its sum."""
    quotient = [float(a / b) if b > 0 else 0.0 for a, b in zip(p, h, strict=True)]
    return [q / sum(quotient) for q in quotient]


class FreeMatch(FixMatch):
    def __init__(self, uniform: np.ndarray, fairness: float, momentum: float) -> None:
        super().__init__([])
        self.fairness, self.momentum = fairness, momentum
        self.level = uniform[..., 0].copy()
        self.p_model, self.histogram = uniform.copy(), uniform.copy()

    def label(self, views: Views, step: int, total: int) -> dict[str, Any]:
        z, m = views["weak"], self.momentum
        targets, weights = np.zeros(z.shape[:-1], dtype=int), np.zeros(z.shape[:-1])
        for decision in np.ndindex(z.shape[1:-1]):
            p = [softmax(row) for row in samples(z, decision)]
            self.level[decision] = m * self.level[decision] + (1 - m) * sum(max(q) for q in p) / len(p)
            self.p_model[decision] = m * self.p_model[decision] + (1 - m) * sum(p) / len(p)
            count = [sum(1 for q in p if int(np.argmax(q)) == k) for k in range(z.shape[-1])]
            self.histogram[decision] = m * self.histogram[decision] + (1 - m) * np.array(count) / len(p)
            for i, q in enumerate(p):
                k = int(np.argmax(q))
                threshold = self.level[decision] * self.p_model[decision][k] / max(self.p_model[decision])
                targets[(i, *decision)] = k
                weights[(i, *decision)] = 1.0 if q[k] >= threshold else 0.0
        return {"targets": targets, "weights": weights}

    def loss(self, views: Views, y: np.ndarray, pseudo: dict[str, Any], step: int, total: int) -> dict[str, float]:
        z, fairness = views["strong"], 0.0
        for decision in np.ndindex(z.shape[1:-1]):
            kept = [softmax(row) for i, row in enumerate(samples(z, decision)) if pseudo["weights"][(i, *decision)] > 0]
            if not kept:
                continue
            count = np.array([sum(1 for q in kept if int(np.argmax(q)) == k) for k in range(z.shape[-1])])
            a = normalised_quotient(self.p_model[decision], self.histogram[decision])
            b = normalised_quotient(np.mean(kept, axis=0), count / len(kept))
            fairness += sum(x * math.log(y + 1e-12) for x, y in zip(a, b, strict=True))
        return super().loss(views, y, pseudo, step, total) | {"fairness": self.fairness * fairness}

    def state(self) -> dict[str, Any]:
        return {"level.value": self.level, "mean.value": self.p_model, "histogram.value": self.histogram}
