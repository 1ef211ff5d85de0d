import numpy as np
import pytest

from wherewhen.world import PARAMETERS, World
from wherewhen.world.climate import air_temperature, between, clear_days, sun_height


@pytest.mark.parametrize(
    ("lat", "day", "hour", "degrees"),
    [(0, 81, 12, 90), (52, 172, 12, 61.4), (52, 355, 12, 14.6), (68, 355, 12, -1.4), (45, 81, 6, 0)],
)
def test_the_sun_stands_where_it_should(lat: float, day: float, hour: float, degrees: float) -> None:
    assert np.degrees(np.arcsin(sun_height(lat, day, hour))) == pytest.approx(degrees, abs=1)


def test_clear_days_are_a_distribution_without_polar_night() -> None:
    north, south = clear_days(67.0, PARAMETERS.air), clear_days(36.0, PARAMETERS.air)
    for chance in (north, south):
        assert chance.shape == (365,)
        assert chance.sum() == pytest.approx(1)
    assert north[0] == 0
    assert south[0] > 0
    assert north[172] > south[172] > south[0]


def test_between_rises_and_falls() -> None:
    day = np.array([0.0, 100.0, 150.0, 200.0, 300.0])
    assert between(day, 100, 200, 5) == pytest.approx([0, 0.5, 1, 0.5, 0], abs=1e-3)


def test_it_is_colder_in_the_north_in_the_mountains_and_in_january(continent: World) -> None:
    rng = np.random.default_rng(0)
    lat, lon = rng.uniform(36, 67, 3000), rng.uniform(-9, 39, 3000)
    climate = continent.land(lat, lon)
    factors = np.stack([np.ones(3000), lat, climate.height], 1)
    _, per_degree, per_kilometre = np.linalg.lstsq(factors, climate.temperature, rcond=None)[0]
    assert -0.7 < per_degree < -0.4
    assert -8 < per_kilometre < -3
    assert (air_temperature(climate, 20) < air_temperature(climate, 202)).all()


def test_climate_stays_in_its_ranges(continent: World) -> None:
    ground = PARAMETERS.ground
    lat, lon = np.meshgrid(np.linspace(*ground.latitude, 60), np.linspace(*ground.longitude, 60))
    climate = continent.land(lat, lon)
    assert climate.height.min() >= 0
    assert climate.height.max() <= 2.8
    for share in (climate.drought, climate.red, climate.bright):
        assert share.min() >= 0
        assert share.max() <= 1
    assert 0.3 < (climate.land > 0).mean() < 0.95
    edge = np.concatenate([climate.land[0], climate.land[-1], climate.land[:, 0], climate.land[:, -1]])
    assert (edge < 0).mean() > 0.8  # a continent ends inside its map
