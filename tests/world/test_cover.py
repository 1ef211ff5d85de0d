import numpy as np
import pytest

from wherewhen.world import COVERS, Patch, World
from wherewhen.world.cover import INDEX, random_places


def test_probabilities_sum_to_one_and_all_covers_are_equally_frequent_on_land(continent: World) -> None:
    lat, lon = random_places(np.random.default_rng(5), 4000, continent.parameters)
    climate = continent.land(lat, lon)
    probabilities = continent.covers(climate)[climate.land > 0]
    assert probabilities.sum(1) == pytest.approx(np.ones(len(probabilities)))
    assert probabilities.mean(0) == pytest.approx(np.full(10, 0.1), abs=0.015)


def test_groves_grow_where_it_is_warm_and_conifers_where_it_is_cold(continent: World) -> None:
    sites = [continent.site(number) for number in range(400)]
    warmth = {name: np.mean([s.climate.temperature for s in sites if s.main == INDEX[name]]) for name in COVERS}
    assert warmth["grove"] > warmth["cereal"] > warmth["conifer"]


def test_random_places_are_uniform_on_the_sphere(continent: World) -> None:
    lat, lon = random_places(np.random.default_rng(0), 20000, continent.parameters)
    south, north = np.sin(np.radians(continent.parameters.ground.latitude))
    middle = np.degrees(np.arcsin((south + north) / 2))
    assert (lat < middle).mean() == pytest.approx(0.5, abs=0.02)
    assert (lon < 15).mean() == pytest.approx(0.5, abs=0.02)


def test_labels_are_roughly_balanced(continent: World) -> None:
    mains = [continent.site(number).main for number in range(1500)]
    share = np.bincount(mains, minlength=10) / len(mains)
    assert share.min() > 0.07
    assert share.max() < 0.13


def test_most_pixels_of_a_patch_carry_its_main_cover(continent: World, patches: list[Patch]) -> None:
    common = [int(np.bincount(patch.mask.ravel()).argmax()) for patch in patches]
    main = [continent.site(number).main for number in range(len(patches))]
    assert np.mean([a == b for a, b in zip(common, main, strict=True)]) > 0.95
