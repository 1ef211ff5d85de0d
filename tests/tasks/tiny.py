"""An encoder of one's own, small enough for tests of seconds."""

import torch
from torch import nn


class Tiny(nn.Module):
    """(N, C, H, W) -> (N, 8), with batch norm and something random."""

    width = 8

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(8, 8, 3, 2, 1)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pooled: torch.Tensor = self.layers(images).mean((2, 3))
        return pooled
