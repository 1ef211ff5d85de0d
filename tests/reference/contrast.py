"""Slow, obvious truths of contrastive learning, one image and one key at a time, from the papers.

An image is G groups of numbers, (G, d); a network is its weights by name: a tanh layer that all groups share, whose
answers are averaged, and for each space a projection of two layers.
"""

import math
from typing import Any

import numpy as np

Weights = dict[str, np.ndarray]
Sides = tuple[list[int], list[int]]  # views that agree, views that stay apart


def unit(x: np.ndarray) -> np.ndarray:
    """(D,) -> its direction."""
    return x / math.sqrt(sum(float(v) ** 2 for v in x))


def groups(w: Weights, image: np.ndarray) -> list[np.ndarray]:
    """What the encoder says of each group of an image (G, d)."""
    return [np.tanh(w["encoder.body.weight"] @ group + w["encoder.body.bias"]) for group in image]


def embed(w: Weights, image: np.ndarray, space: int) -> np.ndarray:
    """The unit embedding of an image in a space."""
    said = groups(w, image)
    feature = sum(said[1:], said[0]) / len(said)
    hidden = np.maximum(w[f"heads.{space}.0.weight"] @ feature + w[f"heads.{space}.0.bias"], 0)
    return unit(w[f"heads.{space}.2.weight"] @ hidden + w[f"heads.{space}.2.bias"])


def info_nce(q: np.ndarray, positive: np.ndarray, negatives: list[np.ndarray], temperature: float) -> float:
    """MoCo, eq. 1: minus the log of the positive's share."""
    together = math.exp(float(q @ positive) / temperature)
    apart = sum(math.exp(float(q @ key) / temperature) for key in negatives)
    return -math.log(together / (together + apart))


def agreement(said: list[np.ndarray]) -> float:
    """Mean squared distance of an image's groups, as directions, from the direction of their mean."""
    directions = [unit(group) for group in said]
    mean = unit(sum(directions[1:], directions[0]) / len(directions))
    return sum(float((group - mean) @ (group - mean)) for group in directions) / len(directions)


class Contrast:
    """A method step by step, in the papers' order: the key network follows, keys are made, losses, queue.

    Args:
        spaces: Of each, the numbers of the views that agree and of those that stay apart.
        query: The query network's weights before the first step.
        queue: The keys it begins with, (S, P, Q, D), oldest first.
        momentum: Of the key network.
        temperature: Of the contrast.
    """

    def __init__(
        self,
        spaces: list[tuple[list[int], list[int]]],
        query: Weights,
        queue: np.ndarray,
        momentum: float,
        temperature: float,
    ) -> None:
        self.spaces, self.momentum, self.temperature = spaces, momentum, temperature
        self.key = {name: value.astype(float) for name, value in query.items()}
        self.queue = [[[unit(key.astype(float)) for key in period] for period in space] for space in queue]
        self.periods = queue.shape[1]
        self.ratios: dict[tuple[int, int], float] = {}

    def step(
        self, query: Weights, images: np.ndarray, keys: np.ndarray, changed: list[bool], places: list[int]
    ) -> dict[str, list[float]]:
        """Losses of every image.

        Args:
            query: The query network's weights at this step.
            images: (N, G, d); image i is of period i mod P.
            keys: (V, N, G, d).
            changed: Of each image, whether its place differs between the periods.
            places: Of each image.
        """
        m = self.momentum
        self.key = {name: m * value + (1 - m) * query[name] for name, value in self.key.items()}
        losses = {
            f"space{s}": [self.loss(query, images, keys, changed, i, s) for i in range(len(images))]
            for s in range(len(self.spaces))
        }
        losses["agreement"] = [agreement(groups(query, image)) for image in images]
        if self.periods == 2 and len(self.spaces) > 1:
            self.note(images, keys, places)
        for s, (positives, _) in enumerate(self.spaces):
            for i in range(len(images)):
                memory = self.queue[s][i % self.periods]
                memory.pop(0)
                memory.append(embed(self.key, keys[positives[0], i], s))
        return losses

    def loss(self, query: Weights, images: np.ndarray, keys: np.ndarray, changed: list[bool], i: int, s: int) -> float:
        """What image i costs in space s: the sum over the views that agree."""
        positives, apart = self.spaces[s]
        q = embed(query, images[i], s)
        total = 0.0
        for view in positives:
            negatives = list(self.queue[s][i % self.periods])
            for other in apart:
                negatives += [embed(self.key, key, s) for key in keys[other]]
            if self.periods == 2:  # CACo: the other period's keys; the same place only if it changed
                for j in range(len(images)):
                    if j % 2 != i % 2 and (j // 2 != i // 2 or changed[i]):
                        negatives.append(embed(self.key, keys[view, j], s))
            total += info_nce(q, embed(self.key, keys[view, i], s), negatives, self.temperature)
        return total

    def note(self, images: np.ndarray, keys: np.ndarray, places: list[int]) -> None:
        """CACo: the running mean of long-term over short-term distance, old value weighted 4."""
        for i in range(len(images)):
            here, there = (embed(self.key, images[j], 1) for j in (i, i ^ 1))
            near = embed(self.key, keys[1, i], 1)
            long = math.sqrt(float((here - there) @ (here - there)))
            short = math.sqrt(float((here - near) @ (here - near)))
            new = long / (short + 1e-4)
            which = (places[i], i % 2)
            self.ratios[which] = (4 * self.ratios[which] + new) / 5 if which in self.ratios else new

    def state(self) -> dict[str, Any]:
        """What is remembered: key network, queue with the oldest key first, ratios."""
        return {"key": self.key, "queue": np.array(self.queue), "ratios": self.ratios}
