"""CDMAD. Lee & Kim, CVPR 2024: soft labels from logits less those of an image without content."""

from typing import Any

import numpy as np

from tests.reference.semi import FixMatch, Views, decisions, fixmatch_label, softmax


class CDMAD(FixMatch):
    def __init__(self, threshold: list[float], start: int) -> None:
        super().__init__(threshold)
        self.start = start

    def label(self, views: Views, step: int, total: int) -> dict[str, Any]:
        z = self.corrected(views["weak"], views["blank"], step)
        soft = np.zeros(z.shape)
        for i in decisions(z):
            soft[i] = softmax(z[i])
        return {"targets": soft, "weights": fixmatch_label(z, self.threshold)[1]}

    def corrected(self, z: np.ndarray, blank: np.ndarray, step: int) -> np.ndarray:
        """Logits of images less those of the blank one, from `start` on."""
        return np.array([row - blank[0] if step >= self.start else row for row in z])

    def loss(self, views: Views, y: np.ndarray, pseudo: dict[str, Any], step: int, total: int) -> dict[str, float]:
        z, unlabelled = views["strong"], 0.0
        for i in decisions(z):
            q, p = pseudo["targets"][i], softmax(z[i])
            unlabelled += pseudo["weights"][i] * sum(-q[k] * np.log(p[k]) for k in range(len(p)))
        hard = {"targets": np.zeros(z.shape[:-1], dtype=int), "weights": np.zeros(z.shape[:-1])}
        return super().loss(views, y, hard, step, total) | {"unlabelled": float(unlabelled / len(decisions(z)))}
