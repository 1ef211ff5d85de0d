import pytest

from wherewhen.world import Patch, World, world

SEED = 900
COUNT = 120


@pytest.fixture(scope="session")
def continent() -> World:
    return world(SEED)


@pytest.fixture(scope="session")
def patches(continent: World) -> list[Patch]:
    return [continent.patch(number) for number in range(COUNT)]
