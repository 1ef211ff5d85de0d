"""Slow, obvious truths of semi-supervised learning, one sample and one decision at a time, from the papers."""

import math
from typing import Any

import numpy as np

UNKNOWN = -1

Views = dict[str, np.ndarray]  # view -> logits (S, *, K)


def softmax(z: np.ndarray) -> np.ndarray:
    """(K,) -> (K,), in float64."""
    e = [math.exp(float(v) - float(max(z))) for v in z]
    return np.array([v / sum(e) for v in e])


def cross_entropy(z: np.ndarray, target: int) -> float:
    """Minus the log of the target's probability."""
    return -math.log(float(softmax(z)[target]))


def decisions(a: np.ndarray) -> list[tuple[int, ...]]:
    """Indices of every decision of logits (S, *, K)."""
    return list(np.ndindex(a.shape[:-1]))


def samples(a: np.ndarray, decision: tuple[int, ...]) -> list[np.ndarray]:
    """The logits (K,) that every sample of (S, *, K) has for one decision."""
    return [a[(i, *decision)] for i in range(len(a))]


def mean_probability(z: np.ndarray) -> np.ndarray:
    """(S, *, K) -> (*, K): over samples, for each decision."""
    mean = np.zeros(z.shape[1:])
    for decision in np.ndindex(z.shape[1:-1]):
        mean[decision] = sum(softmax(row) for row in samples(z, decision)) / len(z)
    return mean


def supervised(z: np.ndarray, y: np.ndarray) -> float:
    """Mean over the decisions whose label is known."""
    known = [i for i in decisions(z) if y[i] != UNKNOWN]
    return sum(cross_entropy(z[i], int(y[i])) for i in known) / max(len(known), 1)


def fixmatch_label(z_weak: np.ndarray, threshold: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """FixMatch, eq. 4: argmax where its probability is at least that outcome's threshold."""
    targets, weights = np.zeros(z_weak.shape[:-1], dtype=int), np.zeros(z_weak.shape[:-1])
    for i in decisions(z_weak):
        p = softmax(z_weak[i])
        targets[i] = int(np.argmax(p))
        weights[i] = 1.0 if p[targets[i]] >= threshold[targets[i]] else 0.0
    return targets, weights


def fixmatch_loss(z_strong: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
    """FixMatch, eq. 4: the mean is over all unlabelled decisions, believed or not."""
    places = decisions(z_strong)
    return sum(float(weights[i]) * cross_entropy(z_strong[i], int(targets[i])) for i in places) / len(places)


def ema(values: list[np.ndarray], start: np.ndarray, momentum: float) -> np.ndarray:
    """x ← m·x + (1 − m)·batch, for each batch."""
    x = start.astype(float)
    for value in values:
        x = momentum * x + (1 - momentum) * value
    return x


class FixMatch:
    """The whole algorithm, as all truths are asked: labels of views, losses of views, and what is remembered."""

    def __init__(self, threshold: list[float]) -> None:
        self.threshold = threshold

    def label(self, views: Views, step: int, total: int) -> dict[str, Any]:
        """Targets and weights."""
        targets, weights = fixmatch_label(views["weak"], self.threshold)
        return {"targets": targets, "weights": weights}

    def loss(self, views: Views, y: np.ndarray, pseudo: dict[str, Any], step: int, total: int) -> dict[str, float]:
        """Losses by name."""
        return {
            "supervised": supervised(views["labelled"], y),
            "unlabelled": fixmatch_loss(views["strong"], pseudo["targets"], pseudo["weights"]),
        }

    def state(self) -> dict[str, Any]:
        """What is remembered, by the name of the buffer."""
        return {}
