"""Which cover grows where: ten covers, their niches, and biases that make them equally frequent."""

import numpy as np

from wherewhen.world.climate import Climate, Land
from wherewhen.world.fields import Array, Fields
from wherewhen.world.parameters import Niche, Parameters

COVERS = (
    "water", "broadleaf", "conifer", "grassland", "cereal",
    "summer crop", "vineyard", "grove", "heath", "town",
)  # fmt: skip
INDEX = {name: number for number, name in enumerate(COVERS)}


def random_places(rng: np.random.Generator, count: int, parameters: Parameters) -> tuple[Array, Array]:
    """Latitudes and longitudes, `(count,)` degrees each, uniform over the map's area on the sphere."""
    south, north = np.sin(np.radians(parameters.ground.latitude))
    lat = np.degrees(np.arcsin(rng.uniform(south, north, count)))
    return lat, rng.uniform(*parameters.ground.longitude, count)


class CoverMap:
    """Probability of each cover at any place of one world.

    Args:
        rng: Draws each cover's own field and the places that the biases are solved on.
        land: The world's climate.
        parameters: The world's numbers.
    """

    def __init__(self, rng: np.random.Generator, land: Land, parameters: Parameters) -> None:
        cover, ground = parameters.cover, parameters.ground
        self.cover = cover
        self.own = Fields(rng, [cover.own_length] * len(COVERS), ground.waves, ground.wave_spread)
        self.bias = np.zeros(len(COVERS))
        lat, lon = random_places(rng, cover.calibration_sites, parameters)
        climate = land(lat, lon)
        dry = climate.land > 0
        self._calibrate(land(lat[dry], lon[dry]))

    def __call__(self, climate: Climate) -> Array:
        """Probabilities `(*, K)` at the places `(*)` of `climate`; they sum to 1."""
        return _softmax(self._suitability(climate) + self.bias)

    def _suitability(self, climate: Climate) -> Array:
        niches = np.stack([_best(self.cover.niches[name], climate) for name in COVERS], -1)
        niches = np.maximum(niches, self.cover.floor)
        bonus, width = self.cover.coast
        niches[..., INDEX["water"]] += bonus * np.exp(-np.clip(climate.land, 0, None) / width)
        own = np.moveaxis(self.own(climate.lat, climate.lon), 0, -1)
        strength = [self.cover.scattered.get(name, self.cover.own_strength) for name in COVERS]
        return np.asarray(self.cover.sharpness * (niches + strength * own))

    def _calibrate(self, climate: Climate) -> None:
        """Solve the biases so that every cover has the same mean probability over the land."""
        suitability = self._suitability(climate)
        for _ in range(self.cover.calibration_rounds):
            mean = _softmax(suitability + self.bias).mean(0)
            self.bias -= 0.5 * np.log(mean * len(COVERS))


def _best(niches: tuple[Niche, ...], climate: Climate) -> Array:
    return np.asarray(np.max([_suits(niche, climate) for niche in niches], axis=0))


def _suits(niche: Niche, climate: Climate) -> Array:
    strange = ((climate.temperature - niche.warmth) / niche.width) ** 2
    return np.asarray(niche.moisture * climate.moisture + niche.height * climate.height - strange)


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))
