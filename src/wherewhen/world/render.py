"""From ground plan and day to the picture: light, relief, snow, air, sensor."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wherewhen.world.climate import Climate, air_temperature, sigmoid, sun_height
from wherewhen.world.cover import COVERS, INDEX
from wherewhen.world.fields import Array, smooth_noise
from wherewhen.world.layout import Layout
from wherewhen.world.looks import Draws, look_at
from wherewhen.world.parameters import Air, Parameters, Texture
from wherewhen.world.spectra import RESOLUTION, SURFACES, WAVELENGTHS

SCALE, OFFSET = 1e-4, -1000  # reflectance = (stored + OFFSET) · SCALE, as in processing baseline 04.00


class Still(NamedTuple):
    """What is the same in every image of a place.

    Attributes:
        mask: `(H, W)` cover of each pixel.
        pattern: `(H, W)` from `patterns`.
        relief: `(H, W)` slope towards the sun, 0 where flat.
    """

    mask: Array
    pattern: Array
    relief: Array


def draw_relief(rng: np.random.Generator, height: float, size: int) -> Array:
    """Slope towards the morning sun, `(size, size)`: gentle in the lowlands, steep in the mountains."""
    hills = smooth_noise(rng, 3, size) + 0.35 * smooth_noise(rng, 8, size)
    slope = np.gradient(hills, axis=1) - np.gradient(hills, axis=0)
    return np.asarray(2.2 * min(height + 0.08, 1.3) * slope, np.float32)


def render(
    rng: np.random.Generator, layout: Layout, still: Still, climate: Climate, day: float, draws: Draws,
    parameters: Parameters,
) -> Array:  # fmt: skip
    """One image, `(12, H, W)` uint16.

    Args:
        rng: The image's own: air, clouds, sensor.
        layout: Ground plan.
        still: Pattern, mask and relief of the place.
        climate: Of the place; scalars.
        day: Day of the year, 0 to 365.
        draws: Of the P parcels in this year.
        parameters: The world's numbers.
    """
    sun = float(np.clip(sun_height(climate.lat, day, parameters.air.overpass), 0.1, 1))
    look = look_at(layout.covers, climate, day, draws, parameters.season)
    ground, canopy = (part.T[:, layout.parcel] for part in (look.ground, look.canopy))
    swing, rough, bare = texture_table(parameters.layout.textures)[:, still.mask]
    share = look.share[layout.parcel] * (1 + swing * still.pattern)
    image = ground + (canopy - ground) * np.clip(share, 0, 1)
    image = _lines(image, layout, still.mask, parameters.layout.hedge)
    slope = np.where(still.mask == INDEX["water"], 0, still.relief)
    image *= brightness(rough * still.pattern, slope, sun)
    cold = sigmoid(-(air_temperature(climate, day) - parameters.season.snow_below))
    image = snow(rng, image, bare, float(cold))
    image = atmosphere(rng, image, sun, parameters.air)
    return quantise(sensor(rng, image, parameters.air.noise))


def texture_table(textures: dict[str, Texture], names: Sequence[str] = COVERS) -> Array:
    """`(3, K)`: share, light and snow of every cover of `names`."""
    rows = [[getattr(textures[name], field) for name in names] for field in ("share", "light", "snow")]
    return np.array(rows, np.float32)


def _lines(image: Array, layout: Layout, mask: Array, hedge: float) -> Array:
    """Hedges and tracks between parcels of open land, rivers, roads."""
    open_land = (mask >= INDEX["grassland"]) & (mask != INDEX["town"]) & (mask != INDEX["heath"])
    margin = open_land & (layout.edge < np.where(mask == INDEX["grassland"], 2 * hedge, hedge))
    image[:, margin] = 0.6 * image[:, margin] + 0.4 * (0.5 * SURFACES["scrub"] + 0.5 * SURFACES["dark soil"])[:, None]
    road = layout.road & (mask != INDEX["water"])
    image[:, road] = 0.45 * image[:, road] + 0.55 * SURFACES["asphalt"][:, None]
    image[:, layout.river] = SURFACES["turbid water"][:, None]
    return image


def brightness(rough: Array, slope: Array, sun: float) -> Array:
    """Factor on reflectance `(H, W)`: rough covers and slopes show more under a low sun (sine of its height)."""
    return np.clip(1 + rough * (1.5 - 0.7 * sun) + slope * (1.3 - sun), 0.35, 1.8).astype(np.float32)


def snow(rng: np.random.Generator, image: Array, seen: Array, cold: float) -> Array:
    """Lying snow, deeper the colder (0 to 1), as far as the cover leaves it in sight: `seen` `(H, W)`."""
    depth = cold * rng.uniform(0.5, 1.0)
    drift = 1 + 0.25 * smooth_noise(rng, 9, seen.shape[0])
    lying = np.clip(depth * seen * drift, 0, 1)
    return image + (SURFACES["snow"][:, None, None] - image) * lying


def atmosphere(rng: np.random.Generator, image: Array, sun: float, air: Air) -> Array:
    """Residual gain, haze (blue first), and now and then a thin cloud with its shadow."""
    size = image.shape[-1]
    image = image * np.float32(np.exp(air.gain * rng.standard_normal()))
    haze = air.haze * abs(rng.standard_normal()) * (1.3 - sun)
    image += np.float32(haze) * ((WAVELENGTHS / 490) ** np.float32(-2.5))[:, None, None]
    if rng.random() >= air.cloud_chance:
        return image
    shape = smooth_noise(rng, 4, size) + 0.35 * smooth_noise(rng, 14, size)
    cloud = sigmoid(6 * (shape - 1.2)).astype(np.float32)
    image = image * (1 - 0.5 * np.roll(cloud, (6, -4), (0, 1)))
    return np.asarray(image + (SURFACES["cloud"][:, None, None] - image) * cloud)


def sensor(rng: np.random.Generator, image: Array, noise: float) -> Array:
    """Noise, and the coarse bands' own pixels: 2×2 blocks at 20 m, 6×6 at 60 m, repeated on the 10 m grid."""
    image = image + noise * rng.standard_normal(image.shape, dtype=np.float32)
    for band, metres in enumerate(RESOLUTION):
        if metres > 10:
            image[band] = coarsen(image[band], metres // 10)
    return image


def coarsen(band: Array, block: int) -> Array:
    """Block means of `(H, W)`, repeated; a block that the border cuts averages what it has."""
    starts = np.arange(0, band.shape[0], block)
    sizes = np.diff(np.append(starts, band.shape[0]))
    sums = np.add.reduceat(np.add.reduceat(band, starts, 0), starts, 1)
    means = sums / np.outer(sizes, sizes)
    return np.repeat(np.repeat(means, sizes, 0), sizes, 1).astype(band.dtype)


def quantise(reflectance: Array) -> Array:
    """Stored uint16 numbers of reflectance; 0 to 1.5 is kept, what is beyond is clipped."""
    return np.round(np.clip(reflectance, 0, 1.5) / SCALE - OFFSET).astype(np.uint16)
