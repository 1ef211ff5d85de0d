"""An image as a whole: its colour and its roughness, band by band.

Notation: N images, C bands, D width.
"""

import torch
from torch import Tensor, nn

FLOOR = 0.05  # added before logarithms, in standard deviations of a band: about what sensors and compression leave


class Statistics(nn.Module):
    """Mean, deviation and gradient of every band as a vector of the encoder's width.

    With a handful of labels a linear classifier on these numbers beats a network from scratch by ten points and
    more, so a network does well to start from them (docs/recipes.md). Batch norm brings them to one scale.

    Args:
        channels: C.
        width: D.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4 * channels, affine=False)
        self.project = nn.Linear(4 * channels, width)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W), each band with mean 0 and deviation about 1 over the data -> (N, D)."""
        projected: Tensor = self.project(self.norm(colour_and_roughness(images)))
        return projected


def colour_and_roughness(images: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, 4C): mean; logarithms of the deviation, and of the gradient's mean and deviation."""
    images = images.float()
    across, down = images[..., :-1, 1:] - images[..., :-1, :-1], images[..., 1:, :-1] - images[..., :-1, :-1]
    gradient = torch.hypot(across, down)
    over = (2, 3)
    rough = torch.cat((images.std(over), gradient.mean(over), gradient.std(over)), dim=1)
    return torch.cat((images.mean(over), (rough + FLOOR).log()), dim=1)
