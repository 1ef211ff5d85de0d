"""A world: which places it has, when they are imaged, and their images."""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from wherewhen.world.climate import Climate, Land, clear_days
from wherewhen.world.cover import COVERS, CoverMap, random_places
from wherewhen.world.fields import Array
from wherewhen.world.layout import Layout, change_layout, cover_mask, draw_layout
from wherewhen.world.looks import Draws
from wherewhen.world.parameters import PARAMETERS, Parameters, Season
from wherewhen.world.patterns import pattern
from wherewhen.world.render import Still, draw_relief, render

# The first words of every seed: each kind of draw has a stream of its own, so none moves another.
_LAND, _COVER, _SITE, _LAYOUT, _CHANGE, _SOIL, _YEAR, _TIME, _IMAGE, _PATTERN, _RELIEF = range(11)


class Patch(NamedTuple):
    """One image.

    Attributes:
        pixels: `(12, H, W)` uint16; reflectance = (pixels − 1000) / 10,000.
        mask: `(H, W)` uint8, the cover of every pixel.
        lat, lon: Of the centre, degrees.
        time: UTC, to the second.
    """

    pixels: Array
    mask: Array
    lat: float
    lon: float
    time: np.datetime64


@dataclass(frozen=True)
class Site:
    """One place: its number, climate (scalars), cover probabilities `(K,)` and main cover."""

    number: int
    climate: Climate
    probabilities: Array
    main: int


class World:
    """A synthetic continent. Everything in it is a pure function of the seed and the numbers asked for.

    Args:
        seed: Which world; at least 0.
        parameters: The numbers all worlds share.
    """

    def __init__(self, seed: int, parameters: Parameters = PARAMETERS) -> None:
        self.seed, self.parameters = seed, parameters
        self.land = Land(self._rng(_LAND), parameters.ground)
        self.covers = CoverMap(self._rng(_COVER), self.land, parameters)

    def site(self, number: int) -> Site:
        """Place `number`: the first of its random places that lies on land."""
        rng = self._rng(_SITE, number)
        while True:
            lat, lon = random_places(rng, 8, self.parameters)
            climate = self.land(lat, lon)
            if (climate.land > 0).any():
                break
        first = int(np.argmax(climate.land > 0))
        climate = Climate(**{name: values[first] for name, values in vars(climate).items()})
        probabilities = self.covers(climate)
        return Site(number, climate, probabilities, int(rng.choice(len(COVERS), p=probabilities)))

    def time(self, site: Site, period: int = 0, visit: int = 0, visits: int = 1) -> np.datetime64:
        """When image `visit` of `visits` in a year of `period` was taken, UTC to the second.

        The year is cut into `visits` parts with equal chance of a clear sky, and each visit falls into its own.
        """
        air = self.parameters.air
        rng = self._rng(_TIME, site.number, period, visit, visits)
        year = self._year(site)
        chance = np.cumsum(clear_days(float(site.climate.lat), air))
        day = min(int(np.searchsorted(chance, (visit + rng.random()) / visits)), 364)
        hour = air.overpass - float(site.climate.lon) / 15 + rng.uniform(-0.4, 0.4)
        start = np.datetime64(f"{year + air.period_gap * period}-01-01", "s")
        return start + np.timedelta64(day, "D") + np.timedelta64(round(hour * 3600), "s")

    def _year(self, site: Site) -> int:
        return int(self._rng(_TIME, site.number).choice(self.parameters.air.years))

    def layout(self, site: Site, period: int = 0) -> Layout:
        """Ground plan of a place in period 0 or, after any change, in period 1."""
        rng = self._rng(_LAYOUT, site.number)
        layout = draw_layout(rng, site.main, site.probabilities, self.parameters)
        if period == 0:
            return layout
        return change_layout(self._rng(_CHANGE, site.number), layout, self.parameters.change)

    def patch(self, number: int, period: int = 0, visit: int = 0, visits: int = 1) -> Patch:
        """Image `visit` of `visits` of place `number` in `period`, with its cover mask."""
        site = self.site(number)
        layout = self.layout(site, period)
        mask = cover_mask(layout)
        size = self.parameters.layout.size
        still = Still(
            mask,
            pattern(self._rng(_PATTERN, number), mask, layout, self.parameters.layout),
            draw_relief(self._rng(_RELIEF, number), float(site.climate.height), size),
        )
        time = self.time(site, period, visit, visits)
        rng = self._rng(_IMAGE, number, period, visit, visits)
        draws = self._draws(site, int(time.astype("datetime64[Y]").astype(int)))
        pixels = render(rng, layout, still, site.climate, day_of_year(time), draws, self.parameters)
        return Patch(pixels, mask, float(site.climate.lat), float(site.climate.lon), time)

    def change(self, number: int) -> Array:
        """Where the cover of place `number` differs between the two periods: `(H, W)` uint8, 1 for changed."""
        site = self.site(number)
        before, after = (cover_mask(self.layout(site, period)) for period in (0, 1))
        return np.asarray(before != after, np.uint8)

    def _draws(self, site: Site, year: int) -> Draws:
        soil, now = self._rng(_SOIL, site.number), self._rng(_YEAR, site.number, year)
        return draw_parcels(soil, now, self.parameters.season, self.parameters.layout.cells**2)

    def _rng(self, *words: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, *words))


def draw_parcels(
    soil: np.random.Generator, now: np.random.Generator, season: Season, count: int, alike: float = 0.6
) -> Draws:
    """What sets `count` parcels apart: soils and towns for good, sowing and vigour from year to year.

    `alike` is how much of a parcel's second state (`mix`, `weeds`) the whole patch shares, 0 to 1.
    """
    return Draws(
        shift=season.parcel_shift * now.standard_normal(count) + season.year_shift * now.standard_normal(),
        vigour=_vigour(now, season.vigour, season.patch_vigour, count),
        bright=season.soil_spread * (0.5 * soil.standard_normal(count) + soil.standard_normal()),
        red=season.soil_spread * (0.3 * soil.standard_normal(count) + soil.standard_normal()),
        mix=(1 - alike) * soil.random(count) + alike * soil.random(),
        weeds=(1 - alike) * soil.random(count) + alike * soil.random(),
    )


def _vigour(rng: np.random.Generator, parcel: float, patch: float, count: int) -> Array:
    return np.clip(1 + parcel * rng.standard_normal(count) + patch * rng.standard_normal(), 0.5, 1.2)


def day_of_year(time: np.datetime64) -> float:
    """Days since the year began, with the fraction: 0 to 366."""
    start = time.astype("datetime64[Y]").astype("datetime64[s]")
    return float((time - start) / np.timedelta64(1, "D"))


@lru_cache(maxsize=4)
def world(seed: int) -> World:
    """The world of a seed with the frozen parameters; made once a process."""
    return World(seed)
