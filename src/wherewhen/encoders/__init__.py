"""Encoders: picture (and where, when) -> features."""

from wherewhen.encoders.grouped import Grouped
from wherewhen.encoders.learner import DenseLearner, Learner, Reply, feature_width
from wherewhen.encoders.metadata import MetadataEncoder
from wherewhen.encoders.timm_encoder import Timm
from wherewhen.encoders.vit import Encoded, ViT, encode
from wherewhen.encoders.weight_files import save_encoder
from wherewhen.encoders.with_texture import WithTexture

__all__ = [
    "DenseLearner",
    "Encoded",
    "Grouped",
    "Learner",
    "MetadataEncoder",
    "Reply",
    "Timm",
    "ViT",
    "WithTexture",
    "encode",
    "feature_width",
    "save_encoder",
]
