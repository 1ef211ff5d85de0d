"""Encoders: picture (and where, when) -> features."""

from wherewhen.encoders.learner import Learner, Reply, feature_width
from wherewhen.encoders.metadata import MetadataEncoder
from wherewhen.encoders.vit import Encoded, ViT

__all__ = ["Encoded", "Learner", "MetadataEncoder", "Reply", "ViT", "feature_width"]
