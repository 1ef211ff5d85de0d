from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest

from tests.world.conftest import SEED
from wherewhen.world import COVERS, PARAMETERS, Patch, World, day_of_year, world


def _bytes(number: int) -> bytes:
    patch = world(SEED).patch(number)
    return patch.pixels.tobytes() + patch.mask.tobytes() + str((patch.lat, patch.lon, patch.time)).encode()


def test_a_patch_depends_on_seed_and_number_alone() -> None:
    forth = [_bytes(number) for number in range(6)]
    fresh = World(SEED)
    back = [fresh.patch(number).pixels.tobytes() for number in reversed(range(6))][::-1]
    assert all(one.startswith(other) for one, other in zip(forth, back, strict=True))


def test_other_processes_render_the_same_bytes() -> None:
    here = [_bytes(number) for number in range(8)]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        assert list(pool.map(_bytes, range(8))) == here


def test_another_seed_is_another_world(continent: World, patches: list[Patch]) -> None:
    other = World(SEED + 1).patch(0)
    assert (other.lat, other.lon) != (patches[0].lat, patches[0].lon)
    assert not np.array_equal(other.pixels, patches[0].pixels)


def test_patches_have_the_shapes_and_ranges_of_level_2a(patches: list[Patch]) -> None:
    for patch in patches:
        assert patch.pixels.shape == (12, 64, 64)
        assert patch.pixels.dtype == np.uint16
        assert patch.mask.shape == (64, 64)
        assert patch.mask.dtype == np.uint8
        assert patch.mask.max() < len(COVERS)
        assert patch.pixels.min() >= 900
        assert patch.pixels.max() <= 16000
    assert len({patch.pixels.tobytes() for patch in patches}) == len(patches)


def test_places_lie_on_land_inside_the_map(continent: World, patches: list[Patch]) -> None:
    lat, lon = np.array([[patch.lat, patch.lon] for patch in patches]).T
    assert (continent.land(lat, lon).land > 0).all()
    assert lat.min() >= 35
    assert lat.max() <= 68
    assert lon.min() >= -10
    assert lon.max() <= 40


def test_times_are_clear_mornings_of_the_first_period(patches: list[Patch]) -> None:
    for patch in patches:
        year = patch.time.astype("datetime64[Y]").astype(int) + 1970
        hour = (day_of_year(patch.time) % 1) * 24 + patch.lon / 15
        assert year in PARAMETERS.air.years
        assert 10 < hour < 11
    days = np.array([day_of_year(patch.time) for patch in patches])
    assert (days < 90).any()
    assert ((days > 90) & (days < 270)).sum() > 0.5 * len(days)


@pytest.mark.parametrize("period", [0, 1])
def test_visits_go_through_the_year_and_keep_the_ground(continent: World, period: int) -> None:
    visits = [continent.patch(3, period, visit, 4) for visit in range(4)]
    times = [patch.time for patch in visits]
    assert times == sorted(times)
    years = {int(time.astype("datetime64[Y]").astype(int)) + 1970 for time in times}
    assert len(years) == 1
    assert years <= {year + period * PARAMETERS.air.period_gap for year in PARAMETERS.air.years}
    assert all(np.array_equal(patch.mask, visits[0].mask) for patch in visits)
    assert not np.array_equal(visits[0].pixels, visits[1].pixels)


def test_change_masks_say_where_the_masks_of_the_periods_differ(continent: World) -> None:
    shares = []
    for number in range(60):
        before, after = (continent.patch(number, period).mask for period in (0, 1))
        change = continent.change(number)
        assert change.dtype == np.uint8
        assert set(np.unique(change)) <= {0, 1}
        assert np.array_equal(change == 1, before != after)
        shares.append(change.mean())
    changed = np.array(shares) > 0
    assert 0.15 < changed.mean() < 0.55
    assert 0.01 < np.mean(np.array(shares)[changed]) < 0.9


def test_other_parameters_make_other_pictures(patches: list[Patch]) -> None:
    hazy = replace(PARAMETERS, air=replace(PARAMETERS.air, haze=0.2))
    assert World(SEED, hazy).patch(0).pixels[1].mean() > patches[0].pixels[1].mean()
