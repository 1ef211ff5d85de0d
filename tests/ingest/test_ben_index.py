import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.ingest.fake_index import index_rows, write_index
from wherewhen.errors import UserError
from wherewhen.ingest.ben_index import COLUMNS, label_sets, read_index
from wherewhen.ingest.nomenclature import CLASSES_19


@pytest.mark.parametrize("name", ["index.csv", "index.csv.gz"])
def test_what_was_written_is_read(tmp_path: Path, name: str) -> None:
    rows = index_rows()
    index = read_index(write_index(tmp_path / name, rows))
    assert list(index.columns) == list(COLUMNS)
    for column in ("patch_id", "split", "country", "lat", "lon", "epsg", "x0", "y0", "labels_mask"):
        assert index[column].tolist() == rows[column].tolist(), column
    assert index["date"].tolist() == pd.to_datetime(rows["date"]).tolist()
    assert index["contains_seasonal_snow"].tolist() == rows["contains_seasonal_snow"].astype(bool).tolist()


def test_columns_may_come_in_any_order_and_with_others(tmp_path: Path) -> None:
    rows = index_rows(5)
    shuffled = rows[rows.columns[::-1]].assign(note="x")
    first, second = (
        read_index(write_index(tmp_path / name, table)) for name, table in (("a.csv", rows), ("b.csv", shuffled))
    )
    pd.testing.assert_frame_equal(first, second)


def test_label_sets_are_the_bits_of_the_mask() -> None:
    masks = np.array([1, 36874, 2**19 - 1], np.int32)
    sets = label_sets(masks)
    assert sets.shape == (3, len(CLASSES_19))
    assert sets[0].nonzero()[0].tolist() == [0]
    assert sets[1].nonzero()[0].tolist() == [1, 3, 12, 15]
    assert sets[2].all()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("labels_mask", 0, "labels_mask 0 is outside"),
        ("labels_mask", 2**19, "labels_mask 524288 is outside"),
        ("labels_mask", "many", "labels_mask 'many' is not a whole number"),
        ("labels_mask", 3.5, "labels_mask '3.5' is not a whole number"),
        ("date", "13 June", "date '13 June' is not a date"),
        ("date", "2017-02-30T10:00:00", "date '2017-02-30T10:00:00' is not a date"),
        ("date", "2014-06-13T10:10:31", "date 2014-06-13 10:10:31 is before the launch"),
        ("lat", 91.0, "lat 91.0 is outside"),
        ("lat", "north", "lat 'north' is not a number"),
        ("lat", "nan", "lat nan is outside"),
        ("lon", -181.0, "lon -181.0 is outside"),
        ("split", "training", "split training is none of train, validation, test"),
        ("epsg", None, "epsg is missing"),
        ("contains_seasonal_snow", 2, "contains_seasonal_snow '2' is not 0 or 1"),
    ],
)
def test_a_bad_value_is_named_with_its_row(tmp_path: Path, column: str, value: Any, message: str) -> None:
    rows = index_rows(9).astype(object)
    rows.loc[6, column] = value
    path = write_index(tmp_path / "index.csv.gz", rows)
    with pytest.raises(UserError) as caught:
        read_index(path)
    assert f"{path}: row 7, patch {rows.loc[6, 'patch_id']!r}: {message}" in str(caught.value)


@pytest.mark.parametrize("column", list(COLUMNS))
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    path = write_index(tmp_path / "index.csv", index_rows(3).drop(columns=column))
    with pytest.raises(UserError, match=f"{path} has no column '{column}'"):
        read_index(path)


def test_a_patch_appears_once(tmp_path: Path) -> None:
    rows = index_rows(4)
    path = write_index(tmp_path / "index.csv", pd.concat([rows, rows[2:3]]))
    with pytest.raises(UserError, match=f"patch '{rows.patch_id[2]}' appears more than once"):
        read_index(path)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    whole = write_index(tmp_path / "index.csv.gz", index_rows(50))
    whole.write_bytes(whole.read_bytes()[:700])
    empty = tmp_path / "empty.csv"
    empty.write_bytes(b"")
    ragged = tmp_path / "ragged.csv"
    ragged.write_text(index_rows(3).to_csv(index=False) + "one,two\n")
    bare = write_index(tmp_path / "bare.csv", index_rows(3)[:0])
    for path in (whole, empty, ragged, bare, tmp_path / "absent.csv", tmp_path):
        with pytest.raises(UserError, match=str(path)):
            read_index(path)


_OPEN = """
import sys
from pathlib import Path
from wherewhen.ingest.ben_index import read_index
index = read_index(Path(sys.argv[1]))
# not ru_maxrss: that begins with the memory of the process that started this one
print(len(index), Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.data
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_the_real_index_opens_within_a_gibibyte(real_data: Path) -> None:
    path = real_data / "bigearthnet_v2" / "ben_v2_index.csv.gz"
    shown = subprocess.run([sys.executable, "-c", _OPEN, str(path)], capture_output=True, text=True, check=True)
    count, kilobytes = shown.stdout.split()
    assert int(count) == 549_488
    assert int(kilobytes) < 2**20


@pytest.mark.data
def test_the_real_index_says_what_the_metadata_say(real_data: Path) -> None:
    """The 24 patches whose metadata are at hand, label names included."""
    folder = real_data / "bigearthnet_v2"
    index = read_index(folder / "ben_v2_index.csv.gz").set_index("patch_id")
    metadata = pd.read_csv(folder / "metadata_24.csv")
    found = index.loc[metadata["patch_id"]]
    assert found["split"].tolist() == metadata["split"].tolist()
    assert found["country"].tolist() == metadata["country"].tolist()
    assert found["date"].tolist() == pd.to_datetime(metadata["date"]).tolist()
    assert found[["lat", "lon"]].to_numpy() == pytest.approx(metadata[["lat", "lon"]].to_numpy(), abs=1e-4)
    for row, names in zip(label_sets(found["labels_mask"].to_numpy()), metadata["labels"], strict=True):
        assert {CLASSES_19[k] for k in np.flatnonzero(row)} == set(names.split("|"))
