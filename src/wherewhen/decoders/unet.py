"""A U-Net's decoder over an encoder's feature maps (Ronneberger et al., MICCAI 2015, arXiv:1505.04597).

Notation: N images, D channels of a map; a map of stride s has a pixel for every s × s pixels of the image.
"""

from collections.abc import Sequence

from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from torch import Tensor, nn

from wherewhen.decoders.pyramid import Pyramid
from wherewhen.errors import UserError


class UNet(nn.Module):
    """From the coarsest map to the image's resolution, a map at a time; blocks are segmentation-models-pytorch's.

    An encoder's only map is first made into a `Pyramid`.

    Args:
        widths: Channels of the encoder's maps, finest first.
        strides: Their strides, rising.
        width: Channels of the finest block, which is what comes out; each coarser one has twice as many. The default is
            segmentation-models-pytorch's for five maps: 16, 32, 64, 128, 256.

    Raises:
        UserError: There is no map, strides do not rise, or the width is below 1.
    """

    def __init__(self, widths: Sequence[int], strides: Sequence[int], width: int = 16) -> None:
        super().__init__()
        if not widths or list(strides) != sorted(set(strides)):
            raise UserError(f"feature maps of strides {list(strides)}; a U-Net needs one or more, finest first")
        if width < 1:
            raise UserError(f"width {width} of the U-Net; its finest block needs at least 1 channel, 16 is usual")
        self.pyramid = Pyramid(widths[0], strides[0]) if len(widths) == 1 else None
        if self.pyramid is not None:
            widths, strides = self.pyramid.map_widths, self.pyramid.map_strides
        blocks = len(widths) - (strides[0] == 1)  # a map as fine as the image needs no block above it
        self.net = UnetDecoder((0, *widths), [width << level for level in reversed(range(blocks))], n_blocks=blocks)
        self.width = width if blocks else widths[0]

    def forward(self, maps: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Maps (N, D, h, w), finest first, of images of `size` (H, W) pixels -> (N, `width`, H, W)."""
        if self.pyramid is not None:
            maps = self.pyramid(maps)
        shape = maps[0].new_empty(1, 1, *size)  # the decoder asks nothing but its height and width
        decoded: Tensor = self.net([shape, *maps])
        return decoded
