"""Looks of the kinds that real ground has beside the continent's covers, and of those that differ there."""

from collections.abc import Callable

import numpy as np

from wherewhen.world.climate import air_temperature, between, sigmoid
from wherewhen.world.fields import Array
from wherewhen.world.looks import LOOKS, Look, Scene, blend
from wherewhen.world.spectra import SURFACES


class GroundScene(Scene):
    """One real place on one day: grass follows the day's temperature, so that mild winters are green."""

    def grass(self) -> Array:
        """Green share of grass: where it is mild, but for summer drought."""
        mild = sigmoid((air_temperature(self.climate, self.day) + 1.0) / 1.5)
        return np.clip(np.clip(mild * (1 - 0.9 * self.parched()), 0.15, 1) * self.draws.vigour, 0, 1)


def sea(scene: Scene) -> Look:
    """Blue and dark, greener and brighter where the coast is shallow or a river comes in."""
    turbid = np.full_like(scene.day, np.clip(1.8 * scene.draws.mix.mean() - 1.1, 0, 0.7))
    colour = blend(SURFACES["sea water"], SURFACES["green water"], turbid)
    return Look(colour, colour, np.zeros_like(scene.day))


def inland_water(scene: Scene) -> Look:
    """Brown lakes of the cool north, green reservoirs of the dry south, turbid rivers; some are as clear as the sea."""
    peaty = float(sigmoid((7 - scene.climate.temperature) / 1.5))
    mix, weeds = scene.draws.mix.mean(), scene.draws.weeds.mean()
    own = blend(SURFACES["green water"], SURFACES["peaty water"], np.full_like(scene.day, peaty))
    murky = blend(own, SURFACES["turbid water"], np.full_like(scene.day, np.clip(1.5 * mix - 0.75, 0, 0.8)))
    colour = blend(murky, SURFACES["sea water"], np.full_like(scene.day, np.clip(1.6 * weeds - 0.6, 0, 0.8)))
    return Look(colour, colour, np.zeros_like(scene.day))


def sand(scene: Scene) -> Look:
    """Dry and bright, wet in hollows and along the water, with a little marram grass."""
    grass = np.clip(0.35 * scene.draws.weeds, 0, 1)
    dune = blend(SURFACES["dry sand"], SURFACES["straw"], grass)
    return Look(dune, blend(SURFACES["wet sand"], dune, 0.4), 0.55 + 0.4 * scene.draws.mix)


def marsh(scene: Scene) -> Look:
    """Bog moss and sedge in cool places, reed in warm ones, over dark water and mud."""
    warm = sigmoid((scene.climate.temperature - 8) / 1.5)
    green = between(scene.day, scene.greenup + 10, scene.fall, 12)
    bog = blend(SURFACES["bog moss"], SURFACES["sedge"], 0.6 * green * scene.draws.weeds + 0.2 * green)
    fen = blend(SURFACES["reed"], SURFACES["herb"], 0.65 * green)
    under = blend(SURFACES["mud"], SURFACES["peaty water"], 0.3 + 0.6 * scene.draws.mix)
    return Look(blend(bog, fen, warm), under, 0.78 * scene.draws.vigour)


def salt_marsh(scene: Scene) -> Look:
    """Low green to brown herbs cut by creeks of mud and turbid water; bare at low tide."""
    green = between(scene.day, scene.greenup + 20, scene.fall + 10, 14)
    herbs = blend(SURFACES["reed"], SURFACES["sedge"], 0.25 + 0.6 * green)
    creek = blend(SURFACES["mud"], SURFACES["turbid water"], scene.draws.mix)
    return Look(herbs, creek, 0.35 + 0.35 * scene.draws.weeds)


def works(scene: Scene) -> Look:
    """Large bright roofs among yards of asphalt and concrete."""
    roof = blend(SURFACES["metal roof"], SURFACES["concrete"], 1.2 * scene.draws.weeds)
    yard = blend(blend(SURFACES["asphalt"], SURFACES["concrete"], 0.4 * scene.draws.mix), SURFACES["herb"], 0.12)
    return Look(roof, yard, 0.35 + 0.25 * scene.draws.mix)


def town(scene: Scene) -> Look:
    """Roofs, tiled where it is warm, among gardens, trees and streets."""
    tiled = 0.75 * float(sigmoid((scene.climate.temperature - 8) / 2.5))
    roof = blend(SURFACES["concrete"], SURFACES["tile"], tiled * (0.4 + 0.6 * scene.draws.weeds))
    roof = blend(roof, SURFACES["asphalt"], 0.35 * scene.draws.mix)
    lawn = blend(blend(scene.soil, SURFACES["straw"], 0.4), SURFACES["herb"], 0.8 * scene.grass())
    crowns = np.maximum(scene.leaves(5), scene.evergreen)
    garden = blend(lawn, blend(SURFACES["wood"], SURFACES["leaf"], crowns), 0.4)
    return Look(roof, blend(garden, SURFACES["asphalt"], 0.3), 0.2 + 0.3 * scene.draws.mix)


def dehesa(scene: Scene) -> Look:
    """Single evergreen oaks over grass that is green in winter and straw in summer."""
    sward = blend(blend(scene.soil, SURFACES["straw"], 0.65), SURFACES["herb"], 0.85 * scene.grass())
    return Look(np.broadcast_to(SURFACES["scrub"], sward.shape), sward, 0.22 + 0.2 * scene.draws.weeds)


def thicket(scene: Scene) -> Look:
    """Young trees and shrubs over grass: clearings growing up in the north, open scrub in the dry south."""
    leaves = np.maximum(scene.leaves(6) * (1 - 0.2 * scene.parched()), 0.0)
    young = blend(blend(SURFACES["wood"], SURFACES["leaf"], leaves), SURFACES["needle"], 0.7 * scene.draws.mix)
    shrub = blend(young, SURFACES["scrub"], 0.9 * scene.evergreen)
    litter = blend(blend(scene.soil, SURFACES["wood"], 0.4), SURFACES["straw"], 0.45)
    floor = blend(litter, SURFACES["herb"], 0.75 * scene.grass() * scene.draws.weeds)
    return Look(shrub, floor, (0.28 + 0.5 * scene.draws.weeds) * scene.draws.vigour)


def cereal(scene: Scene) -> Look:
    """Winter cereal; after the harvest some fields are green again with a catch crop or volunteers until spring."""
    look = LOOKS["cereal"](scene)
    harvest = scene.greenup + scene.season.harvest
    after = 1 - between(scene.day, scene.greenup - 20, harvest + 30, 8)
    catch = 0.8 * np.clip(3 * scene.draws.mix - 1.5, 0, 1) * after
    return Look(look.canopy, blend(look.ground, SURFACES["herb"], catch), look.share)


def conifer(scene: Scene) -> Look:
    """Dark and green all year, a larch or a birch here and there."""
    birch = blend(SURFACES["autumn"], SURFACES["leaf"], scene.leaves(8))
    green = blend(SURFACES["needle"], SURFACES["scrub"], 0.6 * scene.evergreen + 0.3 * scene.draws.mix)
    floor = blend(scene.soil, SURFACES["wood"], 0.8)
    return Look(blend(green, birch, 0.25 * scene.draws.weeds), floor, 0.9 * scene.draws.vigour)


def mixed_wood(scene: Scene) -> Look:
    """Leaf trees and conifers, crown beside crown."""
    ageing = between(scene.day, scene.fall - 22, scene.fall + 30, 6)
    leaf = blend(blend(SURFACES["leaf"], SURFACES["autumn"], ageing), SURFACES["scrub"], scene.evergreen)
    foliage = np.maximum(scene.leaves(5), 0.75 * scene.evergreen)
    crown = blend(blend(SURFACES["wood"], leaf, foliage), SURFACES["needle"], 0.3 + 0.4 * scene.draws.mix)
    floor = blend(blend(scene.soil, SURFACES["straw"], 0.2), SURFACES["wood"], 0.8)
    return Look(crown, floor, 0.85 * scene.draws.vigour)


def rough_grass(scene: Scene) -> Look:
    """Unsown, ungrazed grass: later, paler and patchier than a pasture, with stones."""
    sward = blend(SURFACES["herb"], SURFACES["straw"], 0.3 + 0.3 * scene.draws.weeds)
    floor = blend(blend(scene.soil, SURFACES["straw"], 0.55), SURFACES["rock"], 0.3 * scene.draws.mix)
    return Look(sward, floor, 0.8 * scene.grass())


def rock(scene: Scene) -> Look:
    """Bare stone with lichens and a little grass."""
    moss = blend(SURFACES["straw"], SURFACES["herb"], 0.6 * scene.grass())
    return Look(moss, np.broadcast_to(SURFACES["rock"], moss.shape), 0.1 + 0.3 * scene.draws.weeds)


def heath(scene: Scene) -> Look:
    """Heather moor where it is cool, evergreen shrubs over stones where summers are dry."""
    warm = float(sigmoid((scene.climate.temperature - 11) / 1.5))
    bloom = (1 - warm) * scene.leaves(0, 12)
    heather = blend(SURFACES["wood"], SURFACES["heather"], 0.55 + 0.45 * bloom)
    stones = blend(scene.weedy_soil(0.6), SURFACES["wood"], 0.55 * (1 - warm))
    return Look(blend(heather, SURFACES["scrub"], warm), stones, (0.68 - 0.14 * warm) * scene.draws.vigour)


# The continent's looks first; a kind is a position here.
GROUND_LOOKS: dict[str, Callable[[Scene], Look]] = LOOKS | {
    "water": inland_water,
    "heath": heath,
    "town": town,
    "cereal": cereal,
    "conifer": conifer,
    "sea": sea,
    "sand": sand,
    "marsh": marsh,
    "salt marsh": salt_marsh,
    "works": works,
    "dehesa": dehesa,
    "thicket": thicket,
    "mixed wood": mixed_wood,
    "rough grass": rough_grass,
    "rock": rock,
}
KINDS = tuple(GROUND_LOOKS)
