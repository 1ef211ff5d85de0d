"""What a parcel looks like in a climate on a day: a canopy, the ground under it, and the canopy's share.

One function a cover. Two covers may well look the same somewhere at some time (a vineyard, a grove and a garrigue
in dry summer; winter cereal and meadow in spring; bare maize field and stubble): the climate and the day say which
is which.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from wherewhen.world.climate import Climate, between, sigmoid
from wherewhen.world.fields import Array
from wherewhen.world.parameters import Season
from wherewhen.world.spectra import BANDS, SURFACES


class Draws(NamedTuple):
    """What sets one parcel apart from the next; P parcels, `(P,)` each.

    Attributes:
        shift: Days late (positive) or early.
        vigour: Factor on green cover, about 1.
        bright, red: Soil colour beside the climate's, added to it.
        mix: 0 to 1, a second state of the cover: turbidity of water, density of a town.
        weeds: 0 to 1, green ground between rows and trees.
    """

    shift: Array
    vigour: Array
    bright: Array
    red: Array
    mix: Array
    weeds: Array


class Look(NamedTuple):
    """`canopy` and `ground` reflectance `(P, 12)` and the canopy's mean `share` `(P,)` of the area, 0 to 1."""

    canopy: Array
    ground: Array
    share: Array


class Scene:
    """One place on one day, with its P parcels: the stages of growth that the covers ask for.

    Args:
        climate: Of one place; scalars.
        day: Day of the year, 0 to 365.
        draws: Of the parcels.
        season: The world's numbers for seasons.
    """

    def __init__(self, climate: Climate, day: float, draws: Draws, season: Season) -> None:
        self.climate, self.draws, self.season = climate, draws, season
        self.day = day + draws.shift
        self.greenup, self.fall = climate.greenup, climate.leaf_fall
        self.drought = float(climate.drought)
        self.evergreen = float(sigmoid((climate.drought - 0.5) * 8))
        self.soil = self._soil()

    def _soil(self) -> Array:
        bright = np.clip(self.climate.bright + self.draws.bright, 0, 1)
        red = np.clip(self.climate.red + self.draws.red, 0, 1)
        return blend(SURFACES["dark soil"], blend(SURFACES["bright soil"], SURFACES["red soil"], red), bright)

    def leaves(self, late: float = 0.0, slope: float = 7.0) -> Array:
        """Leaves on deciduous plants, 0 to 1, `late` days after green-up."""
        return between(self.day, self.greenup + late, self.fall, slope)

    def parched(self) -> Array:
        """Summer drought in force on this day, 0 to 1."""
        return self.drought * between(self.day, 145, 290, 12)

    def grass(self) -> Array:
        """Green share of grass: spring to autumn in moist places, autumn to spring in dry ones."""
        summer = between(self.day, self.greenup - 12, self.fall + 15, 12) * (1 - 0.9 * self.parched())
        winter = 0.7 * self.drought * (1 - between(self.day, 140, 300, 12))
        return np.clip(np.clip(summer + winter, 0.12, 1) * self.draws.vigour, 0, 1)

    def weedy_soil(self, amount: float) -> Array:
        """Soil with grass or straw on it, by the parcel's weeds."""
        cover = np.clip(amount * self.draws.weeds, 0, 1)
        sward = blend(SURFACES["straw"], SURFACES["herb"], self.grass())
        return blend(self.soil, sward, cover)


def blend(first: Array, second: Array, share: Array | float) -> Array:
    """`first` where `share` is 0, `second` where it is 1; shares `(P,)` against spectra `(12,)` or `(P, 12)`."""
    weight = np.clip(np.asarray(share, np.float32), 0, 1)[..., None]
    return first + (second - first) * weight


def water(scene: Scene) -> Look:
    """Clear to turbid; one body of water, whatever parcels it is made of."""
    turbid = np.full_like(scene.day, np.clip(1.8 * scene.draws.mix.mean() - 0.4, 0, 1))
    colour = blend(SURFACES["clear water"], SURFACES["turbid water"], turbid)
    return Look(colour, colour, np.zeros_like(scene.day))


def broadleaf(scene: Scene) -> Look:
    """Deciduous in cool places, evergreen scrub oak where summers are dry."""
    ageing = between(scene.day, scene.fall - 22, scene.fall + 30, 6)
    green = blend(blend(SURFACES["leaf"], SURFACES["autumn"], ageing), SURFACES["scrub"], scene.evergreen)
    foliage = np.maximum(scene.leaves(5) * (1 - 0.15 * scene.parched()), 0.75 * scene.evergreen)
    floor = blend(blend(scene.soil, SURFACES["straw"], 0.25), SURFACES["wood"], 0.75)
    return Look(green, floor, 0.88 * foliage * scene.draws.vigour)


def conifer(scene: Scene) -> Look:
    """Green all year; thinner and paler in dry places, where it looks like evergreen oak."""
    larch = blend(SURFACES["autumn"], SURFACES["leaf"], scene.leaves(8))
    green = blend(SURFACES["needle"], SURFACES["scrub"], 0.7 * scene.evergreen + 0.4 * scene.draws.mix)
    green = blend(green, larch, 0.6 * scene.draws.weeds * (1 - scene.evergreen))
    floor = blend(scene.soil, SURFACES["wood"], 0.8)
    return Look(green, floor, (0.82 - 0.1 * scene.drought) * scene.draws.vigour)


def grassland(scene: Scene) -> Look:
    """Meadow: green or straw by the season, mown now and then."""
    mown = 0.35 * scene.draws.mix * between(scene.day, scene.greenup + 55, scene.fall - 20, 8)
    sward = blend(SURFACES["herb"], SURFACES["young corn"], 0.35 * scene.draws.weeds)
    floor = blend(scene.soil, SURFACES["straw"], 0.7)
    return Look(sward, floor, 0.92 * scene.grass() * (1 - mown))


def cereal(scene: Scene) -> Look:
    """Winter cereal: green in spring, gold before the harvest, stubble, then bare until it is sown again."""
    harvest = scene.greenup + scene.season.harvest
    tall = 0.93 * between(scene.day, scene.greenup - 8, harvest - 14, 7)
    sown = 0.28 * (1 - between(scene.day, scene.greenup - 8, 318, 6))
    gold = between(scene.day, harvest - 14, harvest + 4, 4)
    stubble = 0.65 * between(scene.day, harvest + 4, 275 + 30 * scene.draws.weeds, 6)
    crop = blend(SURFACES["young corn"], SURFACES["straw"], gold)
    green = (tall + sown) * scene.draws.vigour
    return Look(crop, blend(scene.soil, SURFACES["straw"], stubble), np.maximum(green, 0.9 * gold))


def summer_crop(scene: Scene) -> Look:
    """Maize, beet, sunflower: bare in spring, green from early summer, harvested in autumn."""
    start, end = (scene.greenup + late for late in scene.season.summer_crop)
    green = 0.92 * between(scene.day, start, end, 8) * scene.draws.vigour
    dry = between(scene.day, end, end + 25, 5)
    residue = 0.5 * between(scene.day, end + 25, 345, 8)
    catch_crop = 0.45 * scene.draws.weeds * between(scene.day, -60, scene.greenup + 25, 8)
    crop = blend(SURFACES["maize"], SURFACES["straw"], dry)
    ground = blend(blend(scene.soil, SURFACES["straw"], residue), SURFACES["herb"], catch_crop)
    return Look(crop, ground, np.maximum(green, 0.6 * dry))


def vineyard(scene: Scene) -> Look:
    """Rows of vines, bare soil or weeds between them."""
    foliage = 0.5 * scene.leaves(22, 9) * scene.draws.vigour
    stocks = 0.18
    vine = blend(SURFACES["wood"], SURFACES["leaf"], foliage / (foliage + stocks))
    return Look(vine, scene.weedy_soil(0.7), foliage + stocks)


def grove(scene: Scene) -> Look:
    """Trees on a lattice: evergreen where summers are dry (olives), orchards elsewhere."""
    foliage = np.maximum(scene.evergreen, scene.leaves(8, 8))
    crown = blend(SURFACES["wood"], blend(SURFACES["leaf"], SURFACES["scrub"], scene.evergreen), foliage)
    return Look(crown, scene.weedy_soil(0.7), 0.42 * scene.draws.vigour)


def heath(scene: Scene) -> Look:
    """Low shrubs: brown heather in cool places, evergreen garrigue over stones in warm ones."""
    warm = float(sigmoid((scene.climate.temperature - 9) / 1.5))
    bloom = (1 - warm) * scene.leaves(0, 12)
    shrub = blend(blend(SURFACES["wood"], SURFACES["needle"], 0.45 + 0.3 * bloom), SURFACES["scrub"], warm)
    stones = blend(scene.weedy_soil(0.6), SURFACES["wood"], 0.55 * (1 - warm))
    return Look(shrub, stones, (0.62 - 0.14 * warm) * scene.draws.vigour)


def town(scene: Scene) -> Look:
    """Roofs (tile where warm) among gardens and streets."""
    tiled = 0.75 * float(sigmoid((scene.climate.temperature - 8) / 2.5))
    roof = blend(SURFACES["concrete"], SURFACES["tile"], tiled * (0.4 + 0.6 * scene.draws.weeds))
    garden = blend(blend(scene.soil, SURFACES["straw"], 0.3), SURFACES["herb"], 0.75 * scene.grass())
    return Look(roof, blend(garden, SURFACES["asphalt"], 0.25), 0.15 + 0.5 * scene.draws.mix)


LOOKS: dict[str, Callable[[Scene], Look]] = {
    "water": water,
    "broadleaf": broadleaf,
    "conifer": conifer,
    "grassland": grassland,
    "cereal": cereal,
    "summer crop": summer_crop,
    "vineyard": vineyard,
    "grove": grove,
    "heath": heath,
    "town": town,
}


def look_at(
    covers: Array, climate: Climate, day: float, draws: Draws, season: Season,
    looks: Mapping[str, Callable[[Any], Look]] = LOOKS, scene: type[Scene] = Scene,
) -> Look:  # fmt: skip
    """Canopy, ground and share of P parcels of `covers` `(P,)`, at one place on one day.

    Covers are positions in `looks`, which ask a `scene` for the season.
    """
    names = tuple(looks)
    canopy = np.empty((len(covers), len(BANDS)), np.float32)
    ground, share = np.empty_like(canopy), np.empty(len(covers), np.float32)
    for number in np.unique(covers):
        mine = covers == number
        look = looks[names[number]](scene(climate, day, Draws(*(draw[mine] for draw in draws)), season))
        canopy[mine], ground[mine], share[mine] = look.canopy, look.ground, look.share
    return Look(canopy, ground, np.clip(share, 0, 0.97))
