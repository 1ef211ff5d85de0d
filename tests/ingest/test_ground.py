from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.ingest.fake_index import index_rows, write_index
from wherewhen.errors import UserError
from wherewhen.ingest.ben_index import label_sets, read_index
from wherewhen.ingest.ground import prepare
from wherewhen.ingest.nomenclature import CLASSES_19
from wherewhen.prepare import main
from wherewhen.store import PatchStore
from wherewhen.world.ground import digest


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_index(tmp_path_factory.mktemp("index") / "index.csv.gz", index_rows(90))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, index: Path) -> PatchStore:
    return prepare(tmp_path_factory.mktemp("ground") / "store", index, patches=40, seed=900)


def _equals_its_records(store: PatchStore, path: Path) -> None:
    """Splits, places, times and label sets are those of the index, bit by bit."""
    table = store.table
    records = read_index(path).set_index("patch_id").loc[table["id"]]
    assert np.array_equal(store.place(), records[["lat", "lon"]].to_numpy())
    assert table["time"].dt.tz_localize(None).tolist() == records["date"].tolist()
    assert np.array_equal(store.labels(), label_sets(records["labels_mask"].to_numpy()))
    assert table["split"].tolist() == records["split"].astype(str).replace("validation", "val").tolist()
    assert [source.split(",")[0] for source in table["source"]] == records["country"].tolist()
    corners = records[["epsg", "x0", "y0"]].astype(str).agg("/".join, axis=1)
    assert table["place"].tolist() == corners.tolist()


def test_the_store_holds_the_records(store: PatchStore, index: Path) -> None:
    assert len(store) == 40
    assert store.shape == (12, 64, 64)
    assert store.classes == CLASSES_19
    assert store.label_kind == "many"
    assert {(band.scale, band.offset) for band in store.bands} == {(1e-4, -1000)}
    _equals_its_records(store, index)


def test_masks_show_every_label_and_no_other(store: PatchStore) -> None:
    for mask, label in zip(store.masks(np.arange(len(store))), store.table["label"], strict=True):
        assert np.unique(mask).tolist() == list(label)


def test_the_store_says_that_its_pixels_are_simulated(
    store: PatchStore, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ("SIMULATED pixels on real places", "no pixel is an observation", digest(), "seed 900", index.name):
        assert words in store.header.provenance
    prepare(tmp_path / "store", index, patches=4)
    assert "SIMULATED pixels on real places, times and label sets: " in capsys.readouterr().err


def test_rare_classes_are_told_of(index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = prepare(tmp_path / "store", index, patches=30, seed=2)
    told = capsys.readouterr().err
    for number, name in enumerate(store.classes):
        having = store.table["split"][store.labels()[:, number] == 1].value_counts()
        line = ", ".join(f"{having.get(split, 0)} {split}" for split in ("train", "val", "test"))
        assert f"few patches of {name!r}: {line}\n" in told


def test_a_larger_store_begins_with_the_smaller_one(store: PatchStore, index: Path, tmp_path: Path) -> None:
    few = prepare(tmp_path / "few", index, patches=7, seed=900)
    assert few.table["id"].tolist() == store.table["id"][:7].tolist()
    assert np.array_equal(few.pixels(np.arange(7)), store.pixels(np.arange(7)))


def test_the_choice_depends_on_seed_and_names_and_not_on_the_order_of_rows(tmp_path: Path) -> None:
    rows = index_rows(50)
    ids = []
    for name, table, seed in (("a", rows, 0), ("b", rows[::-1], 0), ("c", rows, 1)):
        path = write_index(tmp_path / f"{name}.csv", table)
        ids.append(prepare(tmp_path / name, path, patches=10, seed=seed).table["id"].tolist())
    assert ids[0] == ids[1]
    assert set(ids[0]) != set(ids[2])


def test_a_choice_has_the_proportions_of_the_index(tmp_path: Path) -> None:
    from wherewhen.ingest.ground import _drawn

    path = write_index(tmp_path / "index.csv", index_rows(3000))
    drawn = _drawn(path, 1000, 0, keep_snow_and_clouds=True)
    assert drawn["country"].value_counts(normalize=True).to_numpy() == pytest.approx(1 / 3, abs=0.04)
    assert drawn["split"].value_counts(normalize=True).to_numpy() == pytest.approx(1 / 3, abs=0.04)
    assert drawn["contains_seasonal_snow"].mean() == pytest.approx(0.1, abs=0.025)


def test_snow_and_clouds_are_left_out_unless_asked_for(index: Path, tmp_path: Path) -> None:
    rows = index_rows(90)
    clear = rows.query("contains_seasonal_snow == 0 and contains_cloud_or_shadow == 0")
    all_clear = prepare(tmp_path / "clear", index, patches=len(clear))
    assert set(all_clear.table["id"]) == set(clear["patch_id"])
    with pytest.raises(UserError, match=rf"--patches {len(clear) + 1} is out of range: .* has {len(clear)} records"):
        prepare(tmp_path / "more", index, patches=len(clear) + 1)
    everything = prepare(tmp_path / "all", index, patches=90, keep_snow_and_clouds=True)
    assert set(everything.table["id"]) == set(rows["patch_id"])
    assert "snow, clouds or shadows kept" in everything.header.provenance


def test_the_geographic_split_tests_on_portugal_and_ireland(index: Path, tmp_path: Path, store: PatchStore) -> None:
    west = prepare(tmp_path / "west", index, patches=40, seed=900, geographic=True)
    for (_, one), (_, other) in zip(west.table.iterrows(), store.table.iterrows(), strict=True):
        assert one["id"] == other["id"]
        if one["source"].startswith(("Portugal", "Ireland")):
            assert one["split"] == "test"
        elif other["split"] == "test":
            assert pd.isna(one["split"])
        else:
            assert one["split"] == other["split"]


def test_workers_do_not_change_a_byte(store: PatchStore, index: Path, tmp_path: Path) -> None:
    again = prepare(tmp_path / "again", index, patches=40, seed=900, workers=2)
    assert again.header.files == store.header.files
    assert again.table.equals(store.table)


def test_another_seed_draws_other_pictures(tmp_path: Path, index: Path) -> None:
    path = write_index(tmp_path / "one.csv", index_rows(1))
    one, other = (prepare(tmp_path / str(seed), path, patches=1, seed=seed) for seed in (1, 2))
    assert not np.array_equal(one.pixels(np.array([0])), other.pixels(np.array([0])))


def test_a_place_outside_the_seasons_is_refused(tmp_path: Path) -> None:
    rows = index_rows(3)
    rows.loc[1, "lat"] = -33.0
    with pytest.raises(UserError, match=r"lies at latitude -33\.0; seasons and climate are made for 30° to 75° N"):
        prepare(tmp_path / "store", write_index(tmp_path / "index.csv", rows), patches=3)


@pytest.mark.parametrize(
    ("words", "message"),
    [("--patches 0", "--patches 0"), ("--seed -1", "--seed -1"), ("--workers 0", "--workers 0")],
)
def test_a_value_out_of_range_is_named(tmp_path: Path, index: Path, words: str, message: str) -> None:
    with pytest.raises(UserError, match=f"{message} is out of range"):
        main(["world", str(tmp_path / "out"), "--index", str(index), *words.split()])
    assert not (tmp_path / "out").exists()


def test_the_command_prepares_a_store(tmp_path: Path, index: Path) -> None:
    out = tmp_path / "out"
    assert main(["world", str(out), "--index", str(index), "--patches", "3", "--workers", "1"]) == 0
    _equals_its_records(PatchStore.open(out), index)


@pytest.mark.data
def test_the_real_index_becomes_a_store(tmp_path: Path, real_data: Path) -> None:
    path = real_data / "bigearthnet_v2" / "ben_v2_index.csv.gz"
    store = prepare(tmp_path / "store", path, patches=60, seed=900)
    _equals_its_records(store, path)
    for mask, label in zip(store.masks(np.arange(60)), store.table["label"], strict=True):
        assert np.unique(mask).tolist() == list(label)
