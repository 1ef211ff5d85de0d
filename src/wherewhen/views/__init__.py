"""Pictures of a batch for training, each with the grid that says where its pixels lie on the patch."""

from wherewhen.views.geometry import Placement, resample, resize, resize_mask
from wherewhen.views.policy import Draws, StrongView, View, Views, is_rgb

__all__ = [
    "Draws",
    "Placement",
    "StrongView",
    "View",
    "Views",
    "is_rgb",
    "resample",
    "resize",
    "resize_mask",
]
