"""A synthetic continent, seen by a synthetic Sentinel-2: see `docs/world.md` for the mechanism and its limits."""

from wherewhen.world.cover import COVERS
from wherewhen.world.parameters import PARAMETERS, Parameters, digest
from wherewhen.world.place import Patch, Site, World, day_of_year, world
from wherewhen.world.spectra import BANDS

__all__ = ["BANDS", "COVERS", "PARAMETERS", "Parameters", "Patch", "Site", "World", "day_of_year", "digest", "world"]
