import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wherewhen.ingest.nomenclature import CLASSES_19
from wherewhen.world.climate import air_temperature
from wherewhen.world.fields import Array
from wherewhen.world.ground import CLASSES, PARAMETERS, Ground, Patch, Record, digest, ground
from wherewhen.world.ground.looks import KINDS
from wherewhen.world.ground.parameters import Parameters
from wherewhen.world.ground.picture import picture
from wherewhen.world.spectra import BANDS, RESOLUTION

SEED = 900
COUNT = 57  # every class three times
_DOCS = Path(__file__).parents[2] / "docs" / "ground.md"


def _record(number: int) -> Record:
    """A made-up record: its labels begin with class `number` modulo 19, its place and day lie all over the index."""
    rng = np.random.default_rng(number)
    labels = {number % len(CLASSES), *rng.choice(len(CLASSES), rng.integers(0, 4), replace=False).tolist()}
    day = np.datetime64("2017-06-01T10:00:00") + np.timedelta64(int(rng.integers(365)), "D")
    return Record(
        f"patch {number}",
        f"place {number}",
        float(rng.uniform(37, 68)),
        float(rng.uniform(-9, 31.5)),
        day,
        tuple(sorted(labels)),
    )


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return [_record(number) for number in range(COUNT)]


@pytest.fixture(scope="module")
def patches(records: list[Record]) -> list[Patch]:
    return [ground(SEED).patch(record) for record in records]


def _bytes(number: int) -> bytes:
    patch = ground(SEED).patch(_record(number))
    return patch.pixels.tobytes() + patch.mask.tobytes()


def _reflectance(patch: Patch, band: str) -> Array:
    return np.asarray(patch.pixels[BANDS.index(band)] * 1e-4 - 0.1)


def test_the_classes_are_those_of_the_nomenclature() -> None:
    assert CLASSES == CLASSES_19


def test_the_documented_hash_is_that_of_the_parameters() -> None:
    assert re.findall(r"\b[0-9a-f]{64}\b", _DOCS.read_text(encoding="utf-8")) == [digest()]


def test_any_number_changes_the_hash() -> None:
    assert digest(Parameters()) == digest()
    sand = replace(PARAMETERS.recipes["Beaches, dunes, sands"], weight=0.4)
    others = (
        replace(PARAMETERS, blur=0.1),
        replace(PARAMETERS, recipes=PARAMETERS.recipes | {"Beaches, dunes, sands": sand}),
    )
    assert len({digest(), *map(digest, others)}) == 3


def test_the_mechanism_is_frozen_as_well(patches: list[Patch]) -> None:
    """What the hash cannot see, code, shows in the pictures: band means of the first patches, in reflectance."""
    means = np.mean([patch.pixels.mean((1, 2)) for patch in patches[:38]], 0) * 1e-4 - 0.1
    written = re.search(r"fingerprint: ([0-9., ]+)", _DOCS.read_text(encoding="utf-8"))
    assert written is not None
    assert means == pytest.approx([float(x) for x in written[1].split(",")], abs=2e-4)


def test_every_kind_of_a_recipe_has_a_look_a_style_and_a_texture() -> None:
    numbers = PARAMETERS.numbers
    for recipe in PARAMETERS.recipes.values():
        assert {part.kind for part in recipe.parts} <= set(KINDS)
    assert set(numbers.styles) == set(numbers.textures) == set(KINDS)


def test_a_patch_depends_on_its_record_and_the_seed_alone(records: list[Record], patches: list[Patch]) -> None:
    fresh = Ground(SEED)
    for number in (8, 3, 5):
        again = fresh.patch(records[number])
        assert np.array_equal(again.pixels, patches[number].pixels)
        assert np.array_equal(again.mask, patches[number].mask)
    other = Ground(SEED + 1).patch(records[3])
    assert not np.array_equal(other.pixels, patches[3].pixels)
    assert not np.array_equal(other.mask, patches[3].mask)


def test_other_processes_render_the_same_bytes() -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert list(pool.map(_bytes, range(6))) == [_bytes(number) for number in range(6)]


def test_patches_have_the_shapes_and_ranges_of_level_2a(patches: list[Patch]) -> None:
    for patch in patches:
        assert patch.pixels.shape == (12, 64, 64)
        assert patch.pixels.dtype == np.uint16
        assert patch.mask.dtype == np.uint8
        assert patch.pixels.min() >= 1000
        assert patch.pixels.max() <= 16000
        coarse = patch.pixels[np.array(RESOLUTION) == 60, :6, :6]
        assert not np.ptp(coarse, axis=(1, 2)).any()


def test_the_mask_holds_the_labels_and_nothing_else(records: list[Record], patches: list[Patch]) -> None:
    for record, patch in zip(records, patches, strict=True):
        assert tuple(np.unique(patch.mask)) == record.labels


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, len(CLASSES) - 1), min_size=1, max_size=11), st.integers(0, 2**32))
def test_every_label_takes_ground_that_can_be_seen(labels: set[int], number: int) -> None:
    record = replace(_record(number), labels=tuple(sorted(labels)))
    share = np.bincount(ground(SEED).plan(record).classes.ravel(), minlength=len(CLASSES)) / 64**2
    assert set(np.flatnonzero(share)) == labels
    assert share[list(labels)].min() > 0.02  # 80 pixels


def test_labels_are_seen_at_their_least_share_on_average() -> None:
    shares = []
    for number in range(80):
        plan = ground(SEED).plan(_record(number))
        shares += [float((plan.classes == label).mean()) for label in _record(number).labels]
    assert np.quantile(shares, 0.01) > 0.8 * PARAMETERS.plan.least


def test_a_place_keeps_its_ground_from_date_to_date(records: list[Record], patches: list[Patch]) -> None:
    later = replace(records[4], name="another date", time=records[4].time + np.timedelta64(120, "D"))
    again = ground(SEED).patch(later)
    assert np.array_equal(again.mask, patches[4].mask)
    assert not np.array_equal(again.pixels, patches[4].pixels)


def test_real_places_are_land_in_the_climate_of_their_latitude() -> None:
    """The continent has a sea of its own; no place of the index may fall into it, or onto its mountains."""
    places = {"Alentejo": (38.2, -8.3), "Wexford": (52.5, -6.5), "Vienna": (48.2, 16.4), "Oulu": (65.0, 25.5)}
    means = {}
    for name, (lat, lon) in places.items():
        record = replace(_record(0), lat=lat, lon=lon)
        climates = [Ground(seed).climate(record) for seed in range(900, 904)]
        assert all(climate.land > 0 and 0 <= climate.height <= PARAMETERS.highest for climate in climates)
        january, july = (np.mean([air_temperature(c, day) for c in climates]) for day in (20, 202))
        means[name] = (january, july, np.mean([c.drought for c in climates]))
    january, july, drought = zip(*(means[name] for name in ("Alentejo", "Wexford", "Vienna", "Oulu")), strict=True)
    assert january[0] > 5 > january[1] > 0 > january[2] > -6 > january[3]
    assert july[0] > 18 > july[1]
    assert july[2] > 18 > july[3] > 10
    assert drought[0] > 0.6 > 0.1 > max(drought[1], drought[3])


def _ndvi(label: str, date: str, lat: float = 50.0, lon: float = 10.0) -> float:
    """Median over six places with one label."""
    values = []
    for number in range(6):
        record = Record(f"{label} {number}", f"{number}", lat, lon, np.datetime64(date), (CLASSES.index(label),))
        patch = ground(SEED).patch(record)
        red, infrared = (_reflectance(patch, band) for band in ("B04", "B08"))
        values.append(float(np.median((infrared - red) / (infrared + red))))
    return float(np.median(values))


def test_seasons_follow_the_real_day() -> None:
    summer, winter, spring = "2018-07-01T10:00:00", "2018-02-01T10:00:00", "2018-03-15T11:00:00"
    assert _ndvi("Broad-leaved forest", summer) > _ndvi("Broad-leaved forest", winter) + 0.3
    assert _ndvi("Pastures", winter, 52.5, -7) > _ndvi("Pastures", winter, 62, 27) + 0.2
    assert _ndvi("Agro-forestry areas", spring, 38.5, -8) > _ndvi("Agro-forestry areas", summer, 38.5, -8) + 0.1


def test_water_is_dark_and_sand_is_bright() -> None:
    for number in range(6):
        record = replace(_record(number), time=np.datetime64("2018-06-10T10:00:00"))
        sea, sand = (
            _reflectance(ground(SEED).patch(replace(record, labels=(CLASSES.index(label),))), "B08").mean()
            for label in ("Marine waters", "Beaches, dunes, sands")
        )
        assert sea < 0.06 < 0.15 < sand


def test_a_beach_lies_along_the_water() -> None:
    sand, sea, forest = (CLASSES.index(n) for n in ("Beaches, dunes, sands", "Marine waters", "Coniferous forest"))
    for number in range(10):
        record = replace(_record(number), labels=tuple(sorted((sand, sea, forest))))
        classes = ground(SEED).plan(record).classes
        beside = classes[:, 1:][classes[:, :-1] == sea].tolist() + classes[1:][classes[:-1] == sea].tolist()
        land = [label for label in beside if label != sea]
        assert np.mean(np.array(land) == sand) > 0.7


def test_snow_and_clouds_are_what_the_record_says(records: list[Record], patches: list[Patch]) -> None:
    pasture = replace(records[0], labels=(CLASSES.index("Pastures"),), time=np.datetime64("2018-02-04T10:00:00"))
    bare, white = (ground(SEED).patch(replace(pasture, snow=snow)) for snow in (False, True))
    index = [_reflectance(patch, "B03").mean() - _reflectance(patch, "B11").mean() for patch in (bare, white)]
    assert index[0] < 0 < 0.2 < index[1]
    cloudy = ground(SEED).patch(replace(pasture, cloud=True))
    assert _reflectance(cloudy, "B02").max() > 0.3 > _reflectance(bare, "B02").max()


def test_a_contact_sheet_is_a_readable_png(records: list[Record], tmp_path: Path) -> None:
    picture(ground(SEED), records, tmp_path / "ground.png", columns=1)
    with Image.open(tmp_path / "ground.png") as image:
        assert min(image.size) > 800
        assert len(image.convert("RGB").getcolors(2**24) or []) > 100
