"""Decoders: feature maps -> a map as fine as the image, for labels of every pixel."""

from wherewhen.decoders.pyramid import Pyramid
from wherewhen.decoders.siamese import Siamese
from wherewhen.decoders.unet import UNet

__all__ = ["Pyramid", "Siamese", "UNet"]
