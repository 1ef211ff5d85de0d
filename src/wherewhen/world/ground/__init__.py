"""Real places, times and label sets, with simulated pixels: see `docs/ground.md`.

The recipes turn a class of BigEarthNet into parcels of surface kinds; the synthetic continent's climate, seasons,
patterns and air turn these into a picture of that place on that day.
"""

from wherewhen.world.ground.parameters import CLASSES, PARAMETERS, Parameters, digest
from wherewhen.world.ground.scene import Ground, Patch, Record, ground

__all__ = ["CLASSES", "PARAMETERS", "Ground", "Parameters", "Patch", "Record", "digest", "ground"]
