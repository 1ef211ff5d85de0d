"""A user's own imagery: GeoTIFFs of many bands, a file a band, SAFE folders, in any projection and resolution.

`find` says what is there; a `Scene` is read by windows, never whole, so its size does not matter.
"""

from wherewhen.scenes.finding import bands_like, find
from wherewhen.scenes.scene import Layer, Look, Scene, Window

__all__ = ["Layer", "Look", "Scene", "Window", "bands_like", "find"]
