"""Contrastive pre-training: which views agree, which stay apart."""

from typing import TYPE_CHECKING, Any

from wherewhen.contrast.change import ChangeAware, ChangeBook
from wherewhen.contrast.heads import projection
from wherewhen.contrast.losses import agreement, info_nce
from wherewhen.contrast.momentum import MomentumContrast
from wherewhen.contrast.queue import Queue
from wherewhen.contrast.spaces import MOCO, SACO, SECO, Space

if TYPE_CHECKING:
    from wherewhen.encoders.grouped import GroupedEncoder

__all__ = [
    "MOCO",
    "SACO",
    "SECO",
    "ChangeAware",
    "ChangeBook",
    "GroupedEncoder",
    "MomentumContrast",
    "Queue",
    "Space",
    "agreement",
    "info_nce",
    "projection",
]


def __getattr__(name: str) -> Any:
    """Import the encoder of groups when it is first asked for: it brings timm along."""
    if name != "GroupedEncoder":
        raise AttributeError(f"module 'wherewhen.contrast' has no attribute {name!r}")
    from wherewhen.encoders.grouped import GroupedEncoder

    return GroupedEncoder
