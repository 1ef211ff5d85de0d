"""Pictures of real places: a patch is a pure function of its record in the index and of a seed."""

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from wherewhen.world.climate import Climate, Land, sun_height
from wherewhen.world.fields import Array
from wherewhen.world.ground.looks import GROUND_LOOKS, KINDS, GroundScene
from wherewhen.world.ground.parameters import PARAMETERS, Parameters
from wherewhen.world.ground.plan import GroundPlan, draw_plan
from wherewhen.world.looks import Draws, look_at
from wherewhen.world.patterns import pattern
from wherewhen.world.place import day_of_year, draw_parcels
from wherewhen.world.render import atmosphere, brightness, draw_relief, quantise, sensor, snow, texture_table
from wherewhen.world.spectra import SURFACES

# The first words of every seed: each kind of draw has a stream of its own. The land is that of the continent.
_LAND, _PLAN, _SOIL, _YEAR, _IMAGE, _PATTERN, _RELIEF = 0, *range(100, 106)
_WATERS = tuple(KINDS.index(name) for name in ("water", "sea"))


@dataclass(frozen=True)
class Record:
    """What the index says of a patch, as far as its picture depends on it.

    Attributes:
        name: Of the patch; no two are alike.
        place: Patches of one place, at other dates, share it and their ground plan.
        lat, lon: Of the centre, degrees.
        time: UTC, to the second.
        labels: Indices into `CLASSES`, ascending.
        snow: Whether seasonal snow lies.
        cloud: Whether a cloud or its shadow is in the picture.
    """

    name: str
    place: str
    lat: float
    lon: float
    time: np.datetime64
    labels: tuple[int, ...]
    snow: bool = False
    cloud: bool = False


class Patch(NamedTuple):
    """One picture.

    Attributes:
        pixels: `(12, H, W)` uint16; reflectance = (pixels − 1000) / 10,000.
        mask: `(H, W)` uint8, class of every pixel; exactly the record's labels occur.
    """

    pixels: Array
    mask: Array


class Ground:
    """Real places in the climate of a synthetic continent.

    Args:
        seed: Of all draws, at least 0.
        parameters: The numbers all seeds share.
    """

    def __init__(self, seed: int, parameters: Parameters = PARAMETERS) -> None:
        self.seed, self.parameters = seed, parameters
        self.land = Land(np.random.default_rng((seed, _LAND)), parameters.land)

    def climate(self, record: Record) -> Climate:
        """Climate of the place, scalars: it is land, whatever the continent has there."""
        parameters = self.parameters
        here = self.land.ashore(np.array(record.lat), np.array(record.lon), parameters.highest, parameters.anomaly)
        return Climate(**{name: np.asarray(value) for name, value in vars(here).items()})

    def plan(self, record: Record) -> GroundPlan:
        """Regions and parcels of the place."""
        return draw_plan(self._rng(_PLAN, record.place), record.labels, self.climate(record), self.parameters)

    def patch(self, record: Record) -> Patch:
        """The picture of the record, and the class of every pixel."""
        plan = self.plan(record)
        return Patch(quantise(self._image(record, plan)), plan.classes)

    def _image(self, record: Record, plan: GroundPlan) -> Array:
        """Reflectance `(12, H, W)`."""
        layout, parameters, climate = plan.layout, self.parameters, self.climate(record)
        numbers, day = parameters.numbers, day_of_year(record.time)
        kinds = layout.covers[layout.parcel]
        draws = self._draws(record, plan)
        look = look_at(layout.covers, climate, day, draws, parameters.season, GROUND_LOOKS, GroundScene)
        swing, rough, seen = texture_table(numbers.textures, KINDS)[:, kinds]
        spread = pattern(self._rng(_PATTERN, record.place), kinds, layout, numbers, KINDS)
        ground, canopy = (part.T[:, layout.parcel] for part in (look.ground, look.canopy))
        share = look.share[layout.parcel] * (1 + swing * spread)
        image = ground + (canopy - ground) * np.clip(share, 0, 1)
        wet = np.isin(kinds, _WATERS)
        _draw_lines(image, plan, wet)
        sun = float(np.clip(sun_height(record.lat, day, day % 1 * 24 + record.lon / 15), 0.1, 1))
        relief = draw_relief(self._rng(_RELIEF, record.place), float(climate.height), numbers.size)
        image *= brightness(rough * spread, np.where(wet, 0, relief), sun)
        rng = self._rng(_IMAGE, record.name)
        if record.snow:
            image = snow(rng, image, seen, 1.0)
        air = replace(parameters.air, cloud_chance=float(record.cloud))
        image = atmosphere(rng, _blurred(image, parameters.blur), sun, air)
        return sensor(rng, image, parameters.air.noise)

    def _draws(self, record: Record, plan: GroundPlan) -> Draws:
        year = str(record.time.astype("datetime64[Y]"))
        soil, now = self._rng(_SOIL, record.place), self._rng(_YEAR, f"{record.place} {year}")
        return draw_parcels(soil, now, self.parameters.season, len(plan.layout.covers), self.parameters.alike)

    def _rng(self, word: int, key: str) -> np.random.Generator:
        name = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")
        return np.random.default_rng((self.seed, word, name))


def _draw_lines(image: Array, plan: GroundPlan, wet: Array) -> None:
    """Hedges and margins between parcels, and roads, into `image` `(12, H, W)`."""
    margin = (plan.layout.edge < plan.hedge[plan.layout.parcel]) & ~wet
    image[:, margin] = 0.5 * image[:, margin] + 0.3 * SURFACES["scrub"][:, None] + 0.2 * SURFACES["dark soil"][:, None]
    road = plan.layout.road & ~wet
    image[:, road] = 0.45 * image[:, road] + 0.55 * SURFACES["asphalt"][:, None]


def _blurred(image: Array, part: float) -> Array:
    """The optics' blur: every pixel shares its light with its neighbours, rows first, then columns."""
    for axis in (1, 2):
        padded = np.pad(image, [(0, 0)] + [(1, 1) if axis == a else (0, 0) for a in (1, 2)], mode="edge")
        low, high = (np.take(padded, range(start, start + image.shape[axis]), axis) for start in (0, 2))
        image = (1 - 2 * part) * image + part * (low + high)
    return image


@lru_cache(maxsize=4)
def ground(seed: int) -> Ground:
    """The real ground of a seed with the frozen parameters; made once a process."""
    return Ground(seed)
