import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wherewhen.errors import UserError
from wherewhen.ingest.world import prepare
from wherewhen.prepare import main
from wherewhen.store import PatchStore
from wherewhen.world import COVERS, digest, world


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PatchStore:
    return prepare(tmp_path_factory.mktemp("world") / "store", patches=80, seed=900)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> PatchStore:
    return prepare(
        tmp_path_factory.mktemp("series") / "store", patches=12, seed=900, visits=3, periods=2, labels="many"
    )


def test_the_store_holds_the_world(store: PatchStore) -> None:
    assert len(store) == 80
    assert store.shape == (12, 64, 64)
    assert store.dtype == np.uint16
    assert store.classes == COVERS
    assert store.label_kind == "one"
    assert store.has_masks
    assert {(band.scale, band.offset) for band in store.bands} == {(1e-4, -1000)}
    patch = world(900).patch(7)
    rows = np.array([7])
    assert np.array_equal(store.pixels(rows)[0], patch.pixels)
    assert np.array_equal(store.masks(rows)[0], patch.mask)
    assert store.place()[7] == pytest.approx([patch.lat, patch.lon])
    assert store.table["time"][7].tz_localize(None) == patch.time
    assert store.table["place"][7] == "world900-000007"


def test_the_store_says_that_it_is_synthetic_and_of_which_parameters(store: PatchStore) -> None:
    assert "SYNTHETIC" in store.header.provenance
    assert digest() in store.header.provenance
    assert "seed 900" in store.header.provenance


def test_statistics_are_reflectance(store: PatchStore) -> None:
    assert 0.02 < store.mean.min() < store.mean.max() < 0.5
    assert 0.01 < store.std.min() < store.std.max() < 0.4


def test_the_label_is_the_commonest_cover_of_the_mask(store: PatchStore) -> None:
    masks = store.masks(np.arange(len(store)))
    assert [int(np.bincount(mask.ravel()).argmax()) for mask in masks] == list(store.table["label"])


def test_many_labels_are_the_covers_with_their_share(series: PatchStore) -> None:
    masks, labels = series.masks(np.arange(len(series))), list(series.table["label"])
    for mask, label in zip(masks, labels, strict=True):
        shares = np.bincount(mask.ravel(), minlength=10) / mask.size
        assert list(label) == list(np.flatnonzero(shares >= 0.1))
    assert max(len(label) for label in labels) > 1


def test_all_images_of_a_place_are_in_one_split(series: PatchStore) -> None:
    assert (series.table.groupby("place")["split"].nunique() == 1).all()
    assert (series.table.groupby("place").size() == 6).all()


def test_the_split_has_its_shares(tmp_path: Path) -> None:
    from wherewhen.ingest.world import _plan

    share = _plan(5, 5000, 1, 1)["split"].value_counts(normalize=True)
    assert share["train"] == pytest.approx(0.7, abs=0.02)
    assert share["val"] == pytest.approx(0.1, abs=0.02)
    assert share["test"] == pytest.approx(0.2, abs=0.02)


def test_the_split_of_a_place_does_not_depend_on_what_else_is_prepared(store: PatchStore, series: PatchStore) -> None:
    alone = dict(zip(store.table["place"], store.table["split"], strict=True))
    several = dict(zip(series.table["place"], series.table["split"], strict=True))
    assert several.items() <= alone.items()


def test_targets_are_series_and_change_pairs(series: PatchStore) -> None:
    kinds = series.targets["kind"].value_counts()
    assert kinds["series"] == 12 * 2
    assert kinds["change"] == 12 * 3
    time = series.table.set_index("id")["time"]
    row = {name: number for number, name in enumerate(series.table["id"])}
    for number, target in series.targets.iterrows():
        members = list(target["members"])
        times = list(time[members])
        assert times == sorted(times)
        if target["kind"] == "series":
            assert len(members) == 3
            continue
        assert (times[1] - times[0]).days > 3 * 365
        before, after = series.masks(np.array([row[member] for member in members]))
        (mask,) = series.target_masks(np.array([number]))
        assert np.array_equal(mask == 1, before != after)


def test_workers_and_interruptions_do_not_change_a_byte(tmp_path: Path, store: PatchStore) -> None:
    again = prepare(tmp_path / "again", patches=80, seed=900, workers=2)
    assert again.header.files == store.header.files
    assert again.table.equals(store.table)


def test_a_larger_world_begins_with_the_smaller_one(tmp_path: Path, store: PatchStore) -> None:
    few = prepare(tmp_path / "few", patches=10, seed=900)
    rows = np.arange(10)
    assert np.array_equal(few.pixels(rows), store.pixels(rows))
    assert few.table["split"].equals(store.table["split"][:10])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--patches 0", "--patches 0 is out of range: it must be at least 1"),
        ("--seed -1", "--seed -1"),
        ("--visits 0", "--visits 0"),
        ("--periods 3", "--periods 3 is out of range: it must be 1 or 2"),
        ("--share 0", "--share 0"),
        ("--workers 0", "--workers 0"),
    ],
)
def test_a_value_out_of_range_is_named(tmp_path: Path, words: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        main(["world", str(tmp_path / "out"), *words.split()])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--geographic", "--geographic is about the records of an index"),
        ("--keep-snow-and-clouds", "--keep-snow-and-clouds is about the records of an index"),
        ("--index absent.csv --visits 2", "--visits does not go with --index"),
        ("--index absent.csv --periods 2", "--periods does not go with --index"),
        ("--index absent.csv --labels one", "--labels does not go with --index"),
        ("--index absent.csv --share 0.2", "--share does not go with --index"),
        ("--index absent.csv", "absent.csv cannot be read"),
    ],
)
def test_options_of_the_continent_and_of_real_ground_do_not_mix(tmp_path: Path, words: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        main(["world", str(tmp_path / "out"), *words.split()])
    assert not (tmp_path / "out").exists()


def test_the_command_prepares_a_store(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["world", str(out), "--patches", "5", "--seed", "901", "--workers", "1"]) == 0
    assert len(PatchStore.open(out)) == 5


def test_preparing_imports_no_training_library() -> None:
    code = (
        "import sys, wherewhen.ingest.world\n"
        "print([m for m in ('torch', 'lightning', 'rasterio', 'matplotlib.pyplot') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
