"""Finer maps for an encoder that has only one.

Notation: N images, D channels.
"""

from collections.abc import Sequence

from timm.layers import LayerNorm2d  # type: ignore[attr-defined]
from torch import Tensor, nn

from wherewhen.errors import UserError


class Pyramid(nn.Module):
    """A plain transformer's one map at rising resolutions (Li et al., ViTDet, ECCV 2022, arXiv:2203.16527, section 3).

    Each finer map is made from the given one by transposed convolutions that double its sides and halve its channels,
    until two pixels of the image are one of the map.

    Args:
        width: D of the given map.
        stride: Of the given map, a power of two.

    Raises:
        UserError: The stride is no power of two.
    """

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        if stride < 1 or stride & (stride - 1):
            raise UserError(
                f"a map of stride {stride} cannot be doubled to the image; choose a patch size of 2, 4, 8, …"
            )
        doublings = range(max(stride.bit_length() - 2, 0), 0, -1)
        self.levels = nn.ModuleList(self._doubled(width, times) for times in doublings)  # finest first
        self.map_widths = (*(width >> times for times in doublings), width)
        self.map_strides = (*(stride >> times for times in doublings), stride)

    @staticmethod
    def _doubled(width: int, times: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for level in range(times):
            narrow = width >> (level + 1)
            layers += [nn.ConvTranspose2d(width >> level, narrow, 2, 2), LayerNorm2d(narrow), nn.GELU()]
        return nn.Sequential(*layers)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """One map (N, D, h, w) -> the finer ones and itself, finest first."""
        (given,) = maps
        return (*(level(given) for level in self.levels), given)
