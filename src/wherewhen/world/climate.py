"""Land, height and climate as functions of place; sun, temperature and clear sky as functions of the day."""

import math
from dataclasses import dataclass

import numpy as np

from wherewhen.world.fields import Array, Fields
from wherewhen.world.parameters import Air, Ground


def sigmoid(x: Array) -> Array:
    """1 / (1 + e⁻ˣ), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(x)))


def between(day: Array, start: Array | float, end: Array | float, slope: float) -> Array:
    """A plateau of 1 from day `start` to day `end`, with edges about `slope` days wide."""
    return np.asarray(np.clip(sigmoid((day - start) / slope) - sigmoid((day - end) / slope), 0, 1))


@dataclass(frozen=True)
class Climate:
    """What a place is like; every attribute has the shape of the places asked.

    Attributes:
        lat, lon: Degrees.
        land: Above 0 on land, below in the sea; no unit.
        height: Kilometres above the sea, 0 to about 2.8.
        temperature: Annual mean, °C.
        moisture: −1.5 (dry) to 1.5 (wet).
        drought: 0 (moist summers) to 1 (parched summers).
        greenup: Day of the year when leaves open.
        leaf_fall: Day of the year when leaves fall.
        red, bright: Soil colour, each 0 to 1.
        swing: Half the difference between the warmest and the coldest day, °C.
    """

    lat: Array
    lon: Array
    land: Array
    height: Array
    temperature: Array
    moisture: Array
    drought: Array
    greenup: Array
    leaf_fall: Array
    red: Array
    bright: Array
    swing: Array


class Land:
    """The continent of one world: climate at any place.

    Args:
        rng: Draws the fields.
        ground: Lengths and lapse rates.
    """

    def __init__(self, rng: np.random.Generator, ground: Ground) -> None:
        self.ground = ground
        g = ground
        lengths = (*g.continent, *g.mountains, g.warmth, *g.wetness, g.spring, *g.soils)
        self.fields = Fields(rng, lengths, g.waves, g.wave_spread)

    def __call__(self, lat: Array, lon: Array) -> Climate:
        """Climate at places `(*)` in degrees."""
        g = self.ground
        lat, lon = np.asarray(lat, float), np.asarray(lon, float)
        shape1, shape2, high1, high2, *anomalies = self.fields(lat, lon)
        land = shape1 + 0.35 * shape2 - g.sea_level - self._shelf(lat, lon)
        height = np.clip(_rise(high1, high2), 0, 2.8) * sigmoid(4 * land)
        return self._climate(lat, lon, land, height, anomalies)

    def ashore(self, lat: Array, lon: Array, highest: float, anomaly: float) -> Climate:
        """Climate at places `(*)` that are known to be land, wherever this world has its seas.

        Args:
            lat: Degrees.
            lon: Degrees.
            highest: No place is higher, km.
            anomaly: Factor on what the fields add to temperature, moisture, spring and soils; 0 leaves what
                latitude, longitude and height say.
        """
        lat, lon = np.asarray(lat, float), np.asarray(lon, float)
        _, _, high1, high2, *anomalies = self.fields(lat, lon)
        height = np.minimum(_rise(high1, high2), highest)
        return self._climate(lat, lon, np.ones_like(lat), height, [anomaly * field for field in anomalies])

    def _climate(self, lat: Array, lon: Array, land: Array, height: Array, anomalies: list[Array]) -> Climate:
        g = self.ground
        warm, wet1, wet2, spring, soil1, soil2 = anomalies
        temperature = g.sea_level_temperature - g.per_degree * (lat - g.latitude[0]) - g.per_kilometre * height + warm
        wetness = 0.55 * wet1 + 0.25 * wet2 + 0.035 * (lat - 47) - 0.012 * (lon - 12) + 0.15 * height
        moisture = np.clip(wetness, -1.5, 1.5)
        drought = sigmoid((temperature - 12.5) / 1.2 - 2.2 * moisture)
        return Climate(
            lat, lon, land, height, temperature, moisture, drought,
            greenup=_date(g.greenup, lat, height) + 4 * spring,
            leaf_fall=_date(g.leaf_fall, lat, height),
            red=0.8 * sigmoid(2 * soil1 + (temperature - 13) / 2.5),
            bright=sigmoid(1.5 * soil2 + 1.2 * drought - 0.4 - 0.8 * moisture),
            swing=g.seasonal_swing[0] + g.seasonal_swing[1] * (lon - g.longitude[0]),
        )  # fmt: skip

    def _shelf(self, lat: Array, lon: Array) -> Array:
        """Depth that pulls the edges of the map under the sea, so that the continent ends inside it."""
        sides = [
            ((at - sum(span) / 2) / ((span[1] - span[0]) / 2)) ** 8
            for at, span in ((lat, self.ground.latitude), (lon, self.ground.longitude))
        ]
        return 3 * (sides[0] + sides[1])


def _rise(high1: Array, high2: Array) -> Array:
    return np.asarray(np.logaddexp(0, 2 * (high1 + 0.5 * high2 - 0.6)) * 0.45)


def _date(rule: tuple[float, float, float], lat: Array, height: Array) -> Array:
    at_40, per_degree, per_kilometre = rule
    return at_40 + per_degree * (lat - 40) + per_kilometre * height


def air_temperature(climate: Climate, day: Array | float) -> Array:
    """Mean temperature of a day of the year, °C; coldest on 20 January."""
    return np.asarray(climate.temperature - climate.swing * np.cos(2 * math.pi * (day - 20) / 365))


def sun_height(lat: Array | float, day: Array | float, hour: float) -> Array:
    """Sine of the sun's height at `hour` local solar time (Cooper's declination, 1969)."""
    declination = np.radians(-23.44 * np.cos(2 * math.pi * (np.asarray(day) + 10) / 365))
    latitude = np.radians(lat)
    turn = math.radians(15 * (hour - 12))
    noon = np.cos(latitude) * np.cos(declination)
    return np.asarray(np.sin(latitude) * np.sin(declination) + noon * math.cos(turn))


def clear_days(lat: float, air: Air) -> Array:
    """Probability `(365,)` that a usable image of this latitude was taken on each day of the year.

    High sun brings more clear images; below `air.lowest_sun` there are none.
    """
    sun = sun_height(lat, np.arange(365) + 0.5, air.overpass)
    weight = np.where(
        sun > air.lowest_sun,
        air.clear_floor + (1 - air.clear_floor) * np.clip(sun, 0, 1) ** air.clear_power,
        0,
    )
    return np.asarray(weight / weight.sum())
