"""Every number of the synthetic world, in one frozen value whose hash names the world's version."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from wherewhen.world.spectra import surface_table


@dataclass(frozen=True)
class Niche:
    """Where a cover feels at home: a parabola in temperature, straight lines in moisture and height.

    Attributes:
        warmth: Annual mean temperature it likes best, °C.
        width: Degrees away from `warmth` that cost one unit of suitability, °C.
        moisture: Suitability gained per unit of moisture.
        height: Suitability gained per kilometre above the sea.
    """

    warmth: float
    width: float
    moisture: float = 0.0
    height: float = 0.0


@dataclass(frozen=True)
class Texture:
    """How strongly a cover's pattern shows.

    Attributes:
        share: Relative swing of the canopy's share of the ground.
        light: Relative swing of brightness, from shadows between plants or walls.
        snow: Share of lying snow that stays in sight.
    """

    share: float
    light: float
    snow: float


@dataclass(frozen=True)
class Ground:
    """The lie of the land and its climate (lengths in km, temperatures in °C, days of the year)."""

    latitude: tuple[float, float] = (35.0, 68.0)
    longitude: tuple[float, float] = (-10.0, 40.0)
    waves: int = 32
    wave_spread: float = 0.35
    continent: tuple[float, float] = (1800.0, 500.0)
    mountains: tuple[float, float] = (1100.0, 500.0)
    warmth: float = 700.0
    wetness: tuple[float, float] = (1400.0, 600.0)
    spring: float = 500.0
    soils: tuple[float, float] = (600.0, 250.0)
    sea_level: float = -1.0
    sea_level_temperature: float = 18.0
    per_degree: float = 0.56
    per_kilometre: float = 5.5
    greenup: tuple[float, float, float] = (72.0, 3.0, 28.0)  # at 40° N, per degree, per km
    leaf_fall: tuple[float, float, float] = (305.0, -2.2, -15.0)
    seasonal_swing: tuple[float, float] = (9.0, 0.09)  # °C, more per degree of longitude eastward


@dataclass(frozen=True)
class Cover:
    """Which cover grows where."""

    niches: dict[str, tuple[Niche, ...]] = field(
        default_factory=lambda: {
            "water": (Niche(7, 10, 0.1, -0.5),),
            "broadleaf": (Niche(10, 4.5, 0.5),),
            "conifer": (Niche(3.5, 4.5, 0.1, 0.7),),
            "grassland": (Niche(8, 4.5, 1.0, 0.2),),
            "cereal": (Niche(10, 4.0, -0.4, -1.0),),
            "summer crop": (Niche(12.5, 3.2, 0.3, -1.0),),
            "vineyard": (Niche(13, 2.4, -0.4, -0.4),),
            "grove": (Niche(16.5, 2.4, -0.9, -0.3),),
            "heath": (Niche(2, 3.2, 0.6, 0.5), Niche(15, 2.6, -0.6, 0.6)),
            "town": (Niche(10, 6.5, 0.0, -0.9),),
        }
    )
    floor: float = -8.0  # no niche is worse than this
    own_length: float = 1800.0  # km, of the field that each cover has to itself
    own_strength: float = 0.7
    scattered: dict[str, float] = field(default_factory=lambda: {"water": 0.4, "town": 0.4})  # own_strength of these
    coast: tuple[float, float] = (1.5, 0.12)  # water near the coast: bonus, width in units of `land`
    sharpness: float = 1.45
    neighbours: float = 0.7  # exponent on the probabilities for a patch's other parcels
    main_share: tuple[float, float] = (0.68, 0.97)
    calibration_sites: int = 4096
    calibration_rounds: int = 60


@dataclass(frozen=True)
class Layout:
    """Parcels and patterns, in pixels of 10 m."""

    size: int = 64
    cells: int = 16  # parcels a side of the jittered grid
    jitter: float = 0.7
    parcel: dict[str, tuple[float, float]] = field(
        default_factory=lambda: {
            "water": (16, 30),
            "broadleaf": (14, 28),
            "conifer": (13, 26),
            "grassland": (10, 18),
            "cereal": (10, 17),
            "summer crop": (12, 22),
            "vineyard": (11, 18),
            "grove": (11, 19),
            "heath": (13, 28),
            "town": (10, 18),
        }
    )
    stretch: dict[str, tuple[float, float]] = field(
        default_factory=lambda: {"cereal": (1.5, 2.6), "summer crop": (1.0, 1.7), "grassland": (1.0, 1.8)}
    )
    other_stretch: tuple[float, float] = (1.0, 1.5)
    wild_warp: float = 6.0
    tame_warp: float = 1.2
    row_period: tuple[float, float] = (4.0, 7.0)
    avenue_period: tuple[float, float] = (6.5, 9.0)
    tree_period: tuple[float, float] = (4.8, 7.5)
    tramline_period: tuple[float, float] = (5.5, 9.0)
    block: tuple[float, float] = (3.5, 7.0)
    style_spread: float = 0.25
    styles: dict[str, tuple[dict[str, float], ...]] = field(
        default_factory=lambda: {
            "water": ({"broad": 0.5}, {"mottle": 0.4, "needles": 0.3}),
            "broadleaf": (
                {"crowns": 0.8, "mottle": 0.3},
                {"crowns": 0.7, "clumps": 0.5},
                {"crowns": 0.7, "stands": 0.5},
            ),
            "conifer": (
                {"needles": 0.7, "stands": 0.7},
                {"needles": 0.5, "clumps": 0.6},
                {"rows": 0.7, "needles": 0.4, "stands": 0.3},
            ),
            "grassland": (
                {"mottle": 0.6, "needles": 0.3},
                {"mottle": 0.4, "trees": 1.0},
                {"broad": 0.5, "tramlines": 0.4},
                {"mottle": 0.4, "stands": 0.5},
            ),
            "cereal": ({"tramlines": 0.9, "broad": 0.25}, {"tramlines": 0.6, "mottle": 0.4}),
            "summer crop": ({"headland": 0.9, "broad": 0.7}, {"headland": 0.9, "rows": 0.35, "broad": 0.4}),
            "vineyard": ({"rows": 1.0, "mottle": 0.2}, {"curves": 1.0, "mottle": 0.2}, {"rows": 0.7, "clumps": 0.3}),
            "grove": (
                {"lattice": 0.9, "mottle": 0.2},
                {"lattice": 0.7, "clumps": 0.3},
                {"avenues": 0.9, "mottle": 0.3},
            ),
            "heath": ({"clumps": 1.0}, {"clumps": 0.6, "stands": 0.5}, {"curves": 0.5, "clumps": 0.6}),
            "town": (
                {"blocks": 1.0, "needles": 0.3},
                {"blocks": 0.7, "trees": 0.8},
                {"blocks": 0.8, "stands": 0.6},
            ),
        }
    )
    textures: dict[str, Texture] = field(
        default_factory=lambda: {
            "water": Texture(0.0, 0.05, 0.0),
            "broadleaf": Texture(0.20, 0.26, 0.5),
            "conifer": Texture(0.17, 0.19, 0.35),
            "grassland": Texture(0.22, 0.12, 0.85),
            "cereal": Texture(0.36, 0.22, 0.85),
            "summer crop": Texture(0.38, 0.20, 0.85),
            "vineyard": Texture(0.80, 0.28, 0.75),
            "grove": Texture(0.80, 0.24, 0.6),
            "heath": Texture(0.55, 0.18, 0.7),
            "town": Texture(0.65, 0.20, 0.6),
        }
    )
    river_chance: float = 0.12
    road_chance: float = 0.25
    hedge: float = 0.7


@dataclass(frozen=True)
class Season:
    """How parcels, years and days differ (days, or relative)."""

    parcel_shift: float = 7.0
    year_shift: float = 6.0
    vigour: float = 0.15
    patch_vigour: float = 0.22
    soil_spread: float = 0.50
    snow_below: float = -2.5
    harvest: float = 88.0
    summer_crop: tuple[float, float] = (62.0, 160.0)


@dataclass(frozen=True)
class Air:
    """Light, air and sensor (reflectance unless said otherwise)."""

    overpass: float = 10.5  # local mean solar time, h
    lowest_sun: float = 0.17  # sine of the sun's height below which nothing is acquired
    clear_floor: float = 0.25
    clear_power: float = 1.5
    gain: float = 0.30
    haze: float = 0.04
    cloud_chance: float = 0.10
    noise: float = 0.002
    years: tuple[int, ...] = (2018, 2019)
    period_gap: int = 5


@dataclass(frozen=True)
class Change:
    """Land-cover change between two periods."""

    chance: float = 0.35
    radius: tuple[float, float] = (10.0, 26.0)
    becomes: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {
            "water": ("grassland",),
            "broadleaf": ("grassland", "cereal", "town"),
            "conifer": ("heath", "grassland"),
            "grassland": ("town", "broadleaf", "cereal", "water"),
            "cereal": ("town", "vineyard", "grassland"),
            "summer crop": ("town", "water", "grassland"),
            "vineyard": ("cereal", "town", "grassland"),
            "grove": ("heath", "town", "cereal"),
            "heath": ("conifer", "grove", "town"),
            "town": ("grassland",),
        }
    )


@dataclass(frozen=True)
class Parameters:
    """The whole world but for its seed."""

    ground: Ground = field(default_factory=Ground)
    cover: Cover = field(default_factory=Cover)
    layout: Layout = field(default_factory=Layout)
    season: Season = field(default_factory=Season)
    air: Air = field(default_factory=Air)
    change: Change = field(default_factory=Change)


PARAMETERS = Parameters()


def digest(parameters: Parameters = PARAMETERS) -> str:
    """SHA-256, hexadecimal, of every number here and of the table of surfaces: the version of the world."""
    return version(parameters, surface_table())


def version(parameters: Any, surfaces: Any) -> str:
    """SHA-256, hexadecimal, of a dataclass of numbers and a table of surfaces."""
    content = {"parameters": asdict(parameters), "surfaces": surfaces}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
