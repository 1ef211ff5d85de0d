"""The picture of bands and their local binary patterns, panel by panel."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from skimage.feature import local_binary_pattern

from tests.tasks.conftest import make_store
from wherewhen.analyse import texture
from wherewhen.bands import load_sensor, semantic_groups, texture_groups
from wherewhen.cli import main
from wherewhen.store import PatchStore

BANDS = ("B02", "B03", "B04", "B08", "B10")


@pytest.fixture
def few_bands(tmp_path: Path) -> PatchStore:
    pixels = np.random.default_rng(0).integers(500, 3000, (6, len(BANDS), 16, 16)).astype(np.uint16)
    bands = load_sensor("sentinel2_l1c").select(BANDS)
    return PatchStore.from_arrays(tmp_path / "few", pixels, bands=bands, ids=[f"patch{i}" for i in range(6)])


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """What is drawn, instead of files."""
    drawn: list[Figure] = []
    monkeypatch.setattr(texture, "save", lambda figure, path: drawn.append(figure))
    return drawn


def panels(figure: Figure) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Title of a panel -> what it shows, and what the panel below it shows, of the first patch."""
    part = figure.subfigs[0]
    places = ((axis, axis.get_subplotspec()) for axis in part.axes[:-1])  # the last is the scale of colours
    at = {(place.rowspan.start, place.colspan.start): axis for axis, place in places if place is not None}
    found = {}
    for (row, column), axis in at.items():
        if axis.get_title():
            above, below = (np.asarray(a.images[0].get_array()) for a in (axis, at[row + 1, column]))
            found[axis.get_title()] = above, below
    return found


def test_codes_stand_below_their_bands(few_bands: PatchStore, figures: list[Figure]) -> None:
    assert main(["analyse", "texture", str(few_bands.path), "--patches", "3"]) == 0
    (figure,) = figures
    assert [part.get_suptitle() for part in figure.subfigs] == ["patch0", "patch2", "patch5"]
    found = panels(figure)
    assert set(found) == {"natural colors\nB04 B03 B02", "near infrared\nB08 B04 B03", *BANDS}

    physical = few_bands.pixels(np.array([0]))[0] / 1e4
    low, high = ((few_bands.mean + side * few_bands.std)[:, None, None] for side in (-2, 2))
    unit = ((physical - low) / (high - low)).clip(0, 1)
    codes = np.stack([local_binary_pattern((band * 255).round().astype(np.uint8), 16, 2, "uniform") for band in unit])
    for i, name in enumerate(BANDS):
        np.testing.assert_allclose(found[name][0], unit[i], atol=1e-4)
        np.testing.assert_array_equal(found[name][1], codes[i])
    above, below = found["natural colors\nB04 B03 B02"]
    np.testing.assert_allclose(above, unit[[2, 1, 0]].transpose(1, 2, 0), atol=1e-4)
    np.testing.assert_allclose(below, codes[[2, 1, 0]].transpose(1, 2, 0) / 17, atol=1e-6)


def test_groups_are_those_that_have_all_their_bands() -> None:
    every = {
        name: tuple(b.name for b in load_sensor(name).bands) for name in ("sentinel2_l1c", "sentinel2_l2a", "rgb8")
    }
    for level in ("l1c", "l2a"):
        table = f"readme_{level}"
        assert texture.groups_of(every[f"sentinel2_{level}"]) == semantic_groups(table) | texture_groups(table)
    assert texture.groups_of(every["rgb8"]) == {"true colour": ("red", "green", "blue")}
    assert texture.groups_of(("B01", "B12")) == {}


def test_a_store_without_groups_shows_its_bands(tmp_path: Path, figures: list[Figure]) -> None:
    bands = load_sensor("sentinel2_l1c").select(["B01", "B10"])
    pixels = np.random.default_rng(0).integers(0, 9, (1, 2, 8, 8)).astype(np.uint16)
    PatchStore.from_arrays(tmp_path / "two", pixels, bands=bands)
    assert main(["analyse", "texture", str(tmp_path / "two"), "--patches", "5"]) == 0
    assert set(panels(figures[0])) == {"B01", "B10"}


def test_it_is_written_as_a_picture(tmp_path: Path) -> None:
    store, out = make_store(tmp_path / "rgb", count=6).path, tmp_path / "some" / "texture.png"
    out.parent.mkdir()
    assert main(["analyse", "texture", str(store), "--patches", "1", "--out", str(out)]) == 0
    assert Image.open(out).width > 300


def test_no_patches_are_refused(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyse", "texture", str(store), "--patches", "0"]) == 2
    assert "--patches 0 is out of range" in capsys.readouterr().err
