from pathlib import Path

import numpy as np
from PIL import Image

from wherewhen.world import Patch, World
from wherewhen.world.picture import picture, true_colour


def test_true_colour_is_brighter_where_there_is_more_light(patches: list[Patch]) -> None:
    shown = true_colour(patches[0].pixels)
    assert shown.shape == (64, 64, 3)
    assert shown.min() >= 0
    assert shown.max() <= 1
    brighter = true_colour(patches[0].pixels + np.uint16(500))
    assert (brighter >= shown).all()
    assert brighter.mean() > shown.mean()


def test_a_contact_sheet_is_a_readable_png(continent: World, tmp_path: Path) -> None:
    picture(continent, tmp_path / "world.png", places=1, visits=1)
    with Image.open(tmp_path / "world.png") as image:
        assert min(image.size) > 800
        assert len(image.convert("RGB").getcolors(2**24) or []) > 100
