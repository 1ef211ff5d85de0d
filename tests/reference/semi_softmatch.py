"""SoftMatch, one decision at a time. Chen et al., ICLR 2023: a truncated Gaussian of aligned confidence."""

import math
from typing import Any

import numpy as np

from tests.reference.semi import FixMatch, Views, mean_probability, samples, softmax


class SoftMatch(FixMatch):
    def __init__(self, goal: np.ndarray, sigmas: float, momentum: float) -> None:
        super().__init__([])
        self.goal, self.sigmas, self.momentum = goal, sigmas, momentum
        self.p_model: np.ndarray | None = None
        self.mean = np.full(goal.shape[:-1], 1 / goal.shape[-1])
        self.variance = np.ones(goal.shape[:-1])

    def label(self, views: Views, step: int, total: int) -> dict[str, Any]:
        z, m = views["weak"], self.momentum
        batch = mean_probability(z)
        self.p_model = batch if self.p_model is None else m * self.p_model + (1 - m) * batch
        targets, weights = np.zeros(z.shape[:-1], dtype=int), np.zeros(z.shape[:-1])
        for decision in np.ndindex(z.shape[1:-1]):
            confidence = []
            for row in samples(z, decision):
                p = softmax(row)
                aligned = [
                    p[k] * (self.goal[(*decision, k)] + 1e-6) / (self.p_model[(*decision, k)] + 1e-6)
                    for k in range(len(p))
                ]
                confidence.append(max(aligned) / sum(aligned))
            n = len(confidence)
            mu = sum(confidence) / n
            spread = sum((c - mu) ** 2 for c in confidence) / (n - 1) if n > 1 else 0.0
            self.mean[decision] = m * self.mean[decision] + (1 - m) * mu
            self.variance[decision] = m * self.variance[decision] + (1 - m) * spread
            for i, c in enumerate(confidence):
                below = min(c - self.mean[decision], 0.0)
                weights[(i, *decision)] = math.exp(-(below**2) / (2 * self.variance[decision] / self.sigmas**2))
                targets[(i, *decision)] = int(np.argmax(z[(i, *decision)]))
        return {"targets": targets, "weights": weights}

    def state(self) -> dict[str, Any]:
        return {"seen.value": self.p_model, "mean.value": self.mean, "variance.value": self.variance}
