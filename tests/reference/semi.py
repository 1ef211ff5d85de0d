"""Slow, obvious truths of semi-supervised learning, one sample and one decision at a time, from the papers."""

import math

import numpy as np

UNKNOWN = -1


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
