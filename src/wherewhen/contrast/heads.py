"""Projection heads: features -> the space where views are compared."""

from itertools import pairwise

from torch import nn


def projection(*widths: int) -> nn.Sequential:
    """Linear layers of these widths with ReLU between them.

    `projection(512, 512, 128)` is MoCo v2's two layers, `projection(512, 1024, 512, 256)` SACo's three.
    """
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
