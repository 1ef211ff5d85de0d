"""Every number of the simulated pictures on real ground, in one frozen value whose hash names their version.

A *class* is one of BigEarthNet's nineteen; a *kind* is a surface that a parcel can carry. Recipes say which kinds make
up a class, and how the parcels of it are cut.
"""

from dataclasses import dataclass, field
from typing import Literal

from wherewhen.world.parameters import Air, Season, Texture, version
from wherewhen.world.parameters import Ground as Land
from wherewhen.world.parameters import Layout as Numbers
from wherewhen.world.spectra import ground_table

Site = Literal["sea", "shore", "water", "anywhere"]
Shape = Literal["whole", "wild", "fields"]


@dataclass(frozen=True)
class Part:
    """A kind of surface within a class.

    Attributes:
        kind: Its name.
        share: Of the class's parcels at 9 °C and a drought of 0.3, relative to the other parts.
        warm: Growth of log share for 4 °C more.
        dry: Growth of log share from the moistest to the driest summers.
    """

    kind: str
    share: float
    warm: float = 0.0
    dry: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """How a class looks on the ground.

    Attributes:
        parts: Kinds of surface that its parcels carry.
        width: Narrow side of a parcel, pixels, least and most.
        shape: `fields` are straight strips, `wild` parcels have bent borders, `whole` has one parcel.
        stretch: Length of a parcel over its width, least and most.
        weight: Mean share of the patch relative to the other classes present, beyond the least share.
        hedge: Half-width of hedges or field margins, pixels.
        site: `sea` fills one side, `shore` lies along water, `water` is a river or a lake, or `anywhere`.
    """

    parts: tuple[Part, ...]
    width: tuple[float, float]
    shape: Shape = "wild"
    stretch: tuple[float, float] = (1.0, 1.5)
    weight: float = 1.0
    hedge: float = 0.0
    site: Site = "anywhere"


def _recipes() -> dict[str, Recipe]:
    return {
        "Agro-forestry areas": Recipe(
            (Part("dehesa", 0.86), Part("cereal", 0.06), Part("grassland", 0.05), Part("thicket", 0.03)), (14, 30)
        ),
        "Arable land": Recipe(
            (
                Part("cereal", 0.58, -0.1, 0.1),
                Part("summer crop", 0.36, 0.4, -0.5),
                Part("grassland", 0.09, -0.6, -0.8),
                Part("broadleaf", 0.02),
                Part("town", 0.01),
            ),
            (7, 18), "fields", (1.3, 3.2), 1.2, 0.15,
        ),
        "Beaches, dunes, sands": Recipe((Part("sand", 0.92), Part("heath", 0.08)), (6, 12), weight=0.3, site="shore"),
        "Broad-leaved forest": Recipe(
            (Part("broadleaf", 0.9), Part("conifer", 0.03, -0.8), Part("thicket", 0.07, 0.0, 0.8)), (12, 26)
        ),
        "Coastal wetlands": Recipe((Part("salt marsh", 1.0),), (9, 18), weight=0.7, site="shore"),
        "Complex cultivation patterns": Recipe(
            (
                Part("cereal", 0.28),
                Part("summer crop", 0.22, 0.3, -0.3),
                Part("grassland", 0.24, -0.3, -0.5),
                Part("vineyard", 0.08, 0.8, 0.6),
                Part("grove", 0.08, 0.7, 0.9),
                Part("town", 0.07),
                Part("broadleaf", 0.05),
            ),
            (3.5, 7), "fields", (1.2, 3.0), 0.9, 0.35,
        ),
        "Coniferous forest": Recipe(
            (
                Part("conifer", 0.86),
                Part("mixed wood", 0.05),
                Part("thicket", 0.07, -0.3),
                Part("marsh", 0.02, -0.6),
            ),
            (12, 26),
        ),
        "Industrial or commercial units": Recipe(
            (Part("works", 0.9), Part("grassland", 0.06), Part("town", 0.04)), (9, 16), "fields", (1.0, 1.8), 0.4
        ),
        "Inland waters": Recipe((Part("water", 1.0),), (64, 64), "whole", weight=0.7, site="water"),
        "Inland wetlands": Recipe(
            (
                Part("marsh", 0.82),
                Part("thicket", 0.09),
                Part("rough grass", 0.05),
                Part("conifer", 0.04, -0.5),
            ),
            (12, 24), weight=0.7,
        ),
        "Land principally occupied by agriculture, with significant areas of natural vegetation": Recipe(
            (
                Part("cereal", 0.22, 0.0, 0.1),
                Part("summer crop", 0.12, 0.3, -0.4),
                Part("grassland", 0.28, -0.2, -0.5),
                Part("broadleaf", 0.18),
                Part("mixed wood", 0.06, -0.6, -0.5),
                Part("thicket", 0.08, 0.0, 0.7),
                Part("grove", 0.03, 0.7, 0.9),
                Part("town", 0.02),
            ),
            (5, 11), "wild", (1.0, 1.8), 0.9, 0.5,
        ),
        "Marine waters": Recipe((Part("sea", 1.0),), (64, 64), "whole", weight=1.5, site="sea"),
        "Mixed forest": Recipe(
            (
                Part("mixed wood", 0.46),
                Part("broadleaf", 0.21, 0.4),
                Part("conifer", 0.25, -0.4),
                Part("thicket", 0.06),
                Part("marsh", 0.02, -0.6),
            ),
            (8, 18),
        ),
        "Moors, heathland and sclerophyllous vegetation": Recipe(
            (Part("heath", 0.85), Part("thicket", 0.08), Part("marsh", 0.04, -0.8, -1.0), Part("rock", 0.03)), (14, 28)
        ),
        "Natural grassland and sparsely vegetated areas": Recipe(
            (Part("rough grass", 0.82), Part("rock", 0.08), Part("thicket", 0.06), Part("grassland", 0.05)), (12, 26)
        ),
        "Pastures": Recipe(
            (
                Part("grassland", 0.88),
                Part("rough grass", 0.05),
                Part("cereal", 0.03),
                Part("broadleaf", 0.02),
                Part("town", 0.02),
            ),
            (8, 16), "fields", (1.0, 2.0), 1.0, 0.6,
        ),
        "Permanent crops": Recipe(
            (
                Part("vineyard", 0.42, -0.2, -0.2),
                Part("grove", 0.46, 0.1, 0.4),
                Part("grassland", 0.05, -0.2, -0.5),
                Part("cereal", 0.05),
            ),
            (7, 15), "fields", (1.1, 2.2), 0.8, 0.25,
        ),
        "Transitional woodland, shrub": Recipe(
            (
                Part("thicket", 0.75),
                Part("broadleaf", 0.08),
                Part("conifer", 0.08, -0.5),
                Part("rough grass", 0.05),
                Part("heath", 0.04),
            ),
            (10, 20),
        ),
        "Urban fabric": Recipe(
            (Part("town", 0.85), Part("grassland", 0.06), Part("works", 0.05), Part("broadleaf", 0.04)),
            (8, 16), "fields", (1.0, 1.7), 0.7,
        ),
    }  # fmt: skip


def _numbers() -> Numbers:
    frozen = Numbers()
    new_styles: dict[str, tuple[dict[str, float], ...]] = {
        "broadleaf": (
            {"crowns": 0.5, "needles": 0.6},
            {"needles": 0.7, "clumps": 0.3},
            {"crowns": 0.4, "needles": 0.5, "stands": 0.35},
        ),
        "conifer": (
            {"needles": 0.8, "stands": 0.5},
            {"needles": 0.7, "clumps": 0.3},
            {"needles": 0.6, "stands": 0.8},
        ),
        "cereal": (
            {"tramlines": 0.4, "broad": 0.4},
            {"mottle": 0.5, "needles": 0.3},
            {"broad": 0.6, "headland": 0.2},
        ),
        "summer crop": ({"headland": 0.4, "broad": 0.6}, {"broad": 0.5, "needles": 0.4}),
        "sea": ({"broad": 0.4, "needles": 0.2}, {"swell": 0.5, "broad": 0.3}),
        "water": ({"broad": 0.5}, {"mottle": 0.4, "needles": 0.2}),
        "sand": ({"mottle": 0.5, "needles": 0.3}, {"broad": 0.6}),
        "marsh": ({"clumps": 0.8, "pools": 0.7}, {"curves": 0.4, "clumps": 0.7}, {"broad": 0.6, "mottle": 0.5}),
        "salt marsh": ({"creeks": 1.0, "mottle": 0.4}, {"creeks": 0.7, "broad": 0.6}),
        "works": ({"halls": 1.0, "needles": 0.2}, {"halls": 0.9, "blocks": 0.4}),
        "dehesa": ({"oaks": 1.0, "broad": 0.25}, {"oaks": 0.8, "clumps": 0.3}),
        "thicket": (
            {"clumps": 0.6, "needles": 0.6},
            {"stands": 0.5, "crowns": 0.4, "needles": 0.5},
            {"needles": 0.5, "trees": 0.7},
        ),
        "heath": ({"clumps": 0.7, "needles": 0.5}, {"clumps": 0.4, "stands": 0.5, "needles": 0.4}),
        "mixed wood": ({"crowns": 0.5, "needles": 0.7}, {"clumps": 0.3, "crowns": 0.4, "needles": 0.5}),
        "rough grass": ({"clumps": 0.6, "mottle": 0.4}, {"broad": 0.6, "trees": 0.6}, {"mottle": 0.7, "needles": 0.3}),
        "rock": ({"clumps": 0.7, "needles": 0.5},),
        "town": ({"houses": 1.0, "trees": 0.4}, {"houses": 0.9, "needles": 0.4}, {"houses": 0.8, "stands": 0.5}),
        "grove": (
            {"lattice": 0.8, "needles": 0.3},
            {"lattice": 0.6, "clumps": 0.4},
            {"avenues": 0.8, "needles": 0.3},
        ),
        "vineyard": ({"rows": 0.9, "mottle": 0.3}, {"curves": 0.9, "mottle": 0.3}, {"rows": 0.6, "stands": 0.4}),
    }
    new_textures = {
        "sea": Texture(0.0, 0.05, 0.0),
        "sand": Texture(0.30, 0.08, 0.9),
        "marsh": Texture(0.75, 0.14, 0.8),
        "salt marsh": Texture(0.80, 0.12, 0.7),
        "works": Texture(0.95, 0.10, 0.7),
        "dehesa": Texture(1.25, 0.12, 0.8),
        "thicket": Texture(0.50, 0.20, 0.6),
        "mixed wood": Texture(0.20, 0.24, 0.4),
        "rough grass": Texture(0.35, 0.14, 0.85),
        "rock": Texture(0.40, 0.22, 0.8),
        "town": Texture(0.75, 0.16, 0.6),
    }
    return Numbers(
        jitter=0.8,
        wild_warp=5.0,
        tame_warp=0.5,
        row_period=(2.6, 4.2),
        avenue_period=(3.4, 5.0),
        tree_period=(2.8, 4.6),
        tramline_period=(4.5, 8.0),
        block=(1.9, 3.2),
        styles=frozen.styles | new_styles,
        textures=frozen.textures | new_textures,
    )


@dataclass(frozen=True)
class Plan:
    """How the classes of a patch share its ground.

    Attributes:
        least: Share of the patch that every class gets, before the rest is divided.
        concentration: Of the gamma draws that divide the rest; small makes one class dominate.
        cell: Width of the cells along which classes meet, pixels.
        ragged: Swing of borders, pixels: of cells' places and of shores.
        river: Chance that inland water is a river rather than a lake.
        road: Chance of a road.
    """

    least: float = 0.05
    concentration: float = 1.3
    cell: float = 9.0
    ragged: tuple[float, float] = (9.0, 5.0)
    river: float = 0.35
    road: float = 0.35


@dataclass(frozen=True)
class Parameters:
    """All numbers of the real ground but the seed.

    Attributes:
        land: Of the continent whose climate functions are asked.
        highest: No place is higher, km: the fields' mountains are not those of the map.
        anomaly: Share of the continent's anomalies of temperature, moisture, spring and soils.
        numbers: Parcels and patterns.
        alike: Part of a parcel's second state (see `Draws.mix`) that its whole patch shares.
        blur: Part of a pixel's light that each of its neighbours in a row or column receives.
    """

    land: Land = field(default_factory=lambda: Land(leaf_fall=(310.0, -1.6, -15.0), seasonal_swing=(5.0, 0.2)))
    highest: float = 0.3
    anomaly: float = 0.4
    plan: Plan = field(default_factory=Plan)
    recipes: dict[str, Recipe] = field(default_factory=_recipes)
    numbers: Numbers = field(default_factory=_numbers)
    season: Season = field(
        default_factory=lambda: Season(patch_vigour=0.12, soil_spread=0.35, year_shift=4.0, parcel_shift=7.0)
    )
    air: Air = field(default_factory=lambda: Air(gain=0.12, haze=0.008, noise=0.0015))
    alike: float = 0.3
    blur: float = 0.09


PARAMETERS = Parameters()
CLASSES = tuple(PARAMETERS.recipes)


def digest(parameters: Parameters = PARAMETERS) -> str:
    """SHA-256, hexadecimal, of every number here and of the table of surfaces: the version of the pictures."""
    return version(parameters, ground_table())
