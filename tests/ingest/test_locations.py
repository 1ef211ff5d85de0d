from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.fakes import FakeEuroSAT
from wherewhen import prepare as verb
from wherewhen.errors import UserError
from wherewhen.ingest.eurosat import prepare
from wherewhen.ingest.locations import read_locations
from wherewhen.store import PatchStore


def as_yaml(fake: FakeEuroSAT) -> Path:
    """The fake's table in the form of `eurosat_meta.yaml`: longitude, latitude, and a number that is not used."""
    table = pd.read_csv(fake.locations)
    rows = zip(table["file"], table["lon"], table["lat"], strict=True)
    lines = [f"{Path(file).stem}: [{lon}, {lat}, 0]" for file, lon, lat in rows]
    path = fake.locations.with_name("eurosat_meta.yaml")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_yaml_and_csv_give_the_same_store(fake_eurosat: FakeEuroSAT, tmp_path: Path) -> None:
    a = prepare(fake_eurosat.zip, tmp_path / "a", locations=fake_eurosat.locations)
    b = prepare(fake_eurosat.zip, tmp_path / "b", locations=as_yaml(fake_eurosat))
    np.testing.assert_array_equal(a.place(), b.place())
    assert np.isfinite(b.place()).all()
    pd.testing.assert_frame_equal(a.table, b.table)
    assert "eurosat_meta.yaml, sha256" in b.header.provenance


def test_both_ways_of_writing_yaml(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("River_1: [8.5, 50.25]\nRiver_2:\n- 9.0\n- -1.5e1\n- Germany\n")
    table = read_locations(path)
    assert table["lat"].tolist() == [50.25, -15]
    assert table["lon"].tolist() == [8.5, 9]
    assert table["line"].tolist() == [1, 2]


def test_the_example_of_the_docs(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "label_sets.md").read_text(encoding="utf-8")
    path = tmp_path / "a.yaml"
    path.write_text(page.split("```yaml\n")[1].split("```")[0])
    table = read_locations(path)
    assert table["lat"].tolist() == [45.1, 40.4]
    assert table["lon"].tolist() == [12.5, -3.7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("River_1: [8.5, 50]\nRiver_2: 9\n", r"line 2 is not STEM: \[longitude, latitude\]"),
        ("River_1: [8.5]\n", "line 1 is not STEM"),
        ("River_1: [[8.5, 50], 3]\n", "line 1 is not STEM"),
        ("River_1: [8.5, 50]\nRiver_1: [8.5, 51]\n", "line 2 names 'River_1' a second time"),
        ("- River_1\n", "is no mapping"),
        ("", "is no mapping"),
        ("River_1: [8.5, 50\n", "cannot read .* as YAML"),
        ("a: &a [1, 2]\n? {x: y}\n: *a\n", "line 2 is not STEM"),
    ],
)
def test_wrong_yaml_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_locations(path)


def test_yaml_runs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("River_1: !!python/object/apply:pytest.fail ['run']\n")
    with pytest.raises(UserError, match="line 1 is not STEM"):
        read_locations(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("River_3: ", "River_7: ", r"River_3\.jpg: it has no row in .*eurosat_meta\.yaml"),
        ("River_3: [", "River_3: [200, ", r"River_3\.jpg: its longitude in .*eurosat_meta\.yaml is no number"),
        ("River_3: [", "River_3: [east, ", r"River_3\.jpg: its longitude in"),
    ],
)
def test_a_bad_place_is_named(fake_eurosat: FakeEuroSAT, tmp_path: Path, old: str, new: str, message: str) -> None:
    path = as_yaml(fake_eurosat)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        prepare(fake_eurosat.zip, tmp_path / "s", locations=path)


def test_a_split_of_ones_own(fake_eurosat: FakeEuroSAT, tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("River_5.jpg\nForest_1.jpg\n")
    words = ["eurosat", str(fake_eurosat.zip), str(tmp_path / "s"), "--split", str(tmp_path / "train.txt")]
    assert verb.main(words) == 0
    store = PatchStore.open(tmp_path / "s")
    assert set(store.table["id"][store.table["split"] == "train"]) == {"River_5", "Forest_1"}
    assert (store.table["split"] == "test").sum() == 48
    assert "split from train.txt, sha256" in store.header.provenance
    np.save(tmp_path / "train.npy", [8 * 5 + 4, 5])  # the fifth of River, the first of Forest
    again = prepare(fake_eurosat.zip, tmp_path / "again", split=tmp_path / "train.npy")
    pd.testing.assert_series_equal(again.table["split"], store.table["split"])
    (tmp_path / "parts.csv").write_text("id,split\nRiver_5,train\nForest_1,train\nSeaLake_1,test\n")
    three = prepare(fake_eurosat.zip, tmp_path / "three", split=tmp_path / "parts.csv")
    assert three.table["split"].value_counts().to_dict() == {"train": 2, "test": 1}
    (tmp_path / "wrong.txt").write_text("River_6.jpg\n")
    with pytest.raises(UserError, match=r"wrong\.txt names 'River_6\.jpg', which is none of the 50 patches"):
        prepare(fake_eurosat.zip, tmp_path / "wrong", split=tmp_path / "wrong.txt")
    assert not (tmp_path / "wrong").exists()
