"""The five methods as small cases beside their slow truths: shared by several tests.

Notation: N images, V key views, S spaces, G groups.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tests.reference import contrast as truth
from wherewhen.contrast import MOCO, SACO, SECO, ChangeAware, ChangeBook, MomentumContrast, Space, projection

N, VIEWS, DIM, PLACES = 8, 3, 5, 12
MOMENTUM, RATE = 0.7, 1.0  # eight steps must be enough for both networks to move visibly


class Groups(nn.Module):
    """An encoder that sees an image as G groups of numbers through one layer, and averages what it says."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count, self.body = count, nn.Linear(12 // count, 6)

    def each(self, images: Tensor) -> Tensor:
        said: Tensor = self.body(images.reshape(len(images), self.count, -1)).tanh()
        return said

    def forward(self, images: Tensor) -> Tensor:
        return self.each(images).mean(1)


class Case(NamedTuple):
    """A method at toy size."""

    name: str
    spaces: tuple[Space, ...]
    groups: int = 1
    periods: int = 1
    temperature: float = 0.2

    def make(self, seed: int = 0, size: int = 24) -> MomentumContrast:
        torch.manual_seed(seed)
        encoder = Groups(self.groups)
        heads = [projection(6, 7, DIM) for _ in self.spaces]
        settings: dict[str, Any] = {
            "size": size,
            "momentum": MOMENTUM,
            "temperature": self.temperature,
            "periods": self.periods,
            "agreement_weight": float(self.groups > 1),
        }
        if self.periods == 2:
            return ChangeAware(encoder, heads, self.spaces, DIM, **settings, book=ChangeBook(PLACES))
        return MomentumContrast(encoder, heads, self.spaces, DIM, **settings)

    def truth(self, made: MomentumContrast) -> truth.Contrast:
        """The slow twin of one that was just made."""
        spaces = [(list(space.positives), list(space.negatives)) for space in self.spaces]
        queue = made.queue.keys.numpy()
        return truth.Contrast(spaces, weights(made), queue, made.momentum, made.temperature)


CASES = [
    Case("moco", MOCO),
    Case("sa_moco", MOCO, groups=3),
    Case("seco", SECO),
    Case("caco", SECO, periods=2),
    Case("saco", SACO, groups=3, temperature=0.1),
]


class Batch(NamedTuple):
    """A fixed batch, a function of the step."""

    image: Tensor  # (N, 3, 2, 2)
    keys: Tensor  # (V, N, 3, 2, 2)
    changed: Tensor  # (N,) bool
    place: Tensor  # (N,)

    def part(self, slots: slice) -> "Batch":
        return Batch(self.image[slots], self.keys[:, slots], self.changed[slots], self.place[slots])

    def arrays(self, groups: int) -> dict[str, Any]:
        """As the truth wants it."""
        return {
            "images": self.image.reshape(len(self.image), groups, -1).double().numpy(),
            "keys": self.keys.reshape(VIEWS, len(self.image), groups, -1).double().numpy(),
            "changed": self.changed.tolist(),
            "places": self.place.tolist(),
        }


def batch(step: int, n: int = N) -> Batch:
    """Images whose keys resemble them."""
    g = torch.Generator().manual_seed(step)
    image = torch.randn(n, 3, 2, 2, generator=g)
    keys = image + 0.5 * torch.randn(VIEWS, n, 3, 2, 2, generator=g)
    place = torch.randperm(PLACES, generator=g)[: n // 2].repeat_interleave(2)
    return Batch(image, keys, torch.rand(n, generator=g) < 0.5, place)


def weights(made: MomentumContrast) -> truth.Weights:
    """The query network's, as they are now."""
    return {name: p.detach().double().numpy().copy() for name, p in made.query.named_parameters()}


def descend(made: MomentumContrast, losses: dict[str, Tensor]) -> None:
    """A step of gradient descent by hand."""
    parameters = list(made.query.parameters())
    gradients = torch.autograd.grad(torch.stack([*losses.values()]).sum(), parameters)
    for p, gradient in zip(parameters, gradients, strict=True):
        p.data -= RATE * gradient


def train(made: MomentumContrast, steps: range, n: int = N) -> list[dict[str, float]]:
    """A short training; the losses of every step."""
    seen = []
    for step in steps:
        image, keys, changed, place = batch(step, n)
        losses = made(image, keys, changed, place, step)
        descend(made, losses)
        made.after_step(torch.tensor(True))
        seen.append({name: value.item() for name, value in losses.items()})
    return seen


def oldest_first(made: MomentumContrast) -> np.ndarray:
    """The queue's keys (S, P, Q, D)."""
    return made.queue.keys.roll(-int(made.queue.next), dims=2).numpy()
