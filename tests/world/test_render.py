from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.world.conftest import SEED
from wherewhen.world import BANDS, PARAMETERS, Patch, World
from wherewhen.world.climate import Climate
from wherewhen.world.cover import INDEX
from wherewhen.world.looks import Draws, look_at
from wherewhen.world.render import coarsen, quantise
from wherewhen.world.spectra import RESOLUTION, SURFACES

_PLACE = {
    "lat": 50.0, "lon": 10.0, "land": 1.0, "height": 0.2, "temperature": 9.0, "moisture": 0.5, "drought": 0.05,
    "greenup": 105.0, "leaf_fall": 285.0, "red": 0.2, "bright": 0.4, "swing": 10.0,
}  # fmt: skip


def _ndvi(cover: str, day: float, **place: float) -> float:
    """Of an average parcel of `cover`, without air or light."""
    climate = Climate(**{name: np.asarray(value) for name, value in (_PLACE | place).items()})
    zero, half = np.zeros(1), np.full(1, 0.5)
    draws = Draws(shift=zero, vigour=zero + 1, bright=zero, red=zero, mix=half, weeds=half)
    look = look_at(np.array([INDEX[cover]]), climate, day, draws, PARAMETERS.season)
    spectrum = look.ground[0] + (look.canopy[0] - look.ground[0]) * look.share[0]
    red, infrared = spectrum[BANDS.index("B04")], spectrum[BANDS.index("B08")]
    return float((infrared - red) / (infrared + red))


def test_a_deciduous_forest_is_green_in_summer_and_a_conifer_forest_all_year() -> None:
    assert _ndvi("broadleaf", 190) > 0.7
    assert _ndvi("broadleaf", 40) < 0.4
    assert _ndvi("conifer", 190) - _ndvi("conifer", 40) < 0.2


def test_a_scrub_oak_forest_keeps_its_leaves() -> None:
    assert _ndvi("broadleaf", 40, drought=1.0, temperature=17.0) > 0.6


def test_cereal_and_summer_crop_take_turns() -> None:
    assert _ndvi("cereal", 140) > 0.7 > 0.3 > _ndvi("cereal", 215)
    assert _ndvi("summer crop", 215) > 0.7 > 0.4 > _ndvi("summer crop", 140)


def test_grass_is_parched_in_dry_summers_only() -> None:
    assert _ndvi("grassland", 210) > 0.6
    assert _ndvi("grassland", 210, drought=1.0, temperature=17.0) < 0.45


def test_later_spring_means_later_leaves() -> None:
    assert _ndvi("broadleaf", 115, greenup=90.0) > _ndvi("broadleaf", 115, greenup=130.0) + 0.2


def test_vineyard_and_grove_are_alike_in_colour_and_trade_places_through_the_year() -> None:
    dry = {"drought": 0.9, "temperature": 16.0, "moisture": -0.8}
    summer, winter = ([_ndvi(name, day, **dry) for name in ("vineyard", "grove", "heath")] for day in (210, 30))
    assert np.ptp(summer) < 0.2
    assert np.ptp(winter) < 0.2
    assert summer[0] > summer[1]
    assert winter[0] < winter[1]


def _varies_within(band: NDArray[Any], block: int) -> bool:
    count = 64 // block
    tiles = band[: count * block, : count * block].reshape(count, block, count, block)
    return bool(np.ptp(tiles, axis=(1, 3)).any())


def test_coarse_bands_are_constant_over_their_own_pixels(patches: list[Patch]) -> None:
    for patch in patches[:20]:
        for band, metres in zip(patch.pixels, RESOLUTION, strict=True):
            assert _varies_within(band, 2 * metres // 10)
            assert not _varies_within(band, metres // 10)


def test_coarsen_averages_also_the_cut_blocks_at_the_border() -> None:
    band = np.arange(49, dtype=np.float32).reshape(7, 7)
    coarse = coarsen(band, 3)
    assert coarse[0, 0] == band[:3, :3].mean()
    assert coarse[6, 6] == band[6, 6]
    assert coarse[6, 0] == band[6, :3].mean()


@pytest.mark.parametrize(("reflectance", "stored"), [(-1.0, 1000), (0.0, 1000), (0.1234, 2234), (9.0, 16000)])
def test_numbers_are_stored_with_the_offset_of_baseline_04(reflectance: float, stored: int) -> None:
    assert quantise(np.array([reflectance]))[0] == stored


def test_snow_lies_where_it_is_cold_and_nowhere_else(continent: World) -> None:
    white: list[float] = []
    dark: list[float] = []
    for number in range(400):
        site = continent.site(number)
        time = continent.time(site, 0, 0, 4)
        day = (time - time.astype("datetime64[Y]")).astype("timedelta64[D]").astype(int)
        cold = site.climate.temperature - site.climate.swing * np.cos(2 * np.pi * (day - 20) / 365)
        if site.main == INDEX["grassland"] and abs(cold + 2.5) > 4:
            patch = continent.patch(number, 0, 0, 4)
            light = np.median(patch.pixels[:, patch.mask == site.main], 1) * 1e-4 - 0.1
            (white if cold < -2.5 else dark).append(light[BANDS.index("B03")] - light[BANDS.index("B11")])
    assert white
    assert dark
    assert min(white) > 0.2 > max(dark)


def test_haze_brightens_blue_most() -> None:
    still = replace(PARAMETERS, air=replace(PARAMETERS.air, haze=0.0, cloud_chance=0.0))
    hazy = replace(still, air=replace(still.air, haze=0.05))
    gain = World(SEED, hazy).patch(1).pixels.astype(float) - World(SEED, still).patch(1).pixels
    assert gain[1].mean() > gain[3].mean() > gain[10].mean() > 0


def test_every_surface_is_a_reflectance() -> None:
    for name, spectrum in SURFACES.items():
        assert spectrum.shape == (12,), name
        assert ((spectrum >= 0) & (spectrum <= 1)).all(), name
