import contextlib
import gzip
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from wherewhen.errors import UserError
from wherewhen.patch_lists import folder_order, read_names, read_positions, read_split

IDS = ["Forest_1", "Forest_2", "River_1", "River_10", "River_2"]
WANTED = ["River_10", "Forest_1"]


def written(path: Path, content: Any) -> Path:
    """A list in the form that its name says."""
    match path.suffix:
        case ".npy":
            np.save(path, content)
        case ".parquet":
            content.to_parquet(path)
        case ".gz":
            path.write_bytes(gzip.compress(content.encode()))
        case _:
            path.write_text(content, encoding="utf-8")
    return path


LISTS: list[tuple[str, Any]] = [
    ("a.txt", "River_10\nForest_1\n"),
    ("a.txt", "\ufeffRiver_10\r\n\r\nForest_1"),
    ("a.txt", "River_10.jpg\nForest_1.jpg\n"),  # torchgeo's lists of EuroSAT
    ("a.txt", "EuroSAT/River/River_10.tif\nForest/Forest_1.tif\n"),
    ("a.csv", "id\nRiver_10\nForest_1\n"),
    ("a.csv", "River_10\nForest_1\n"),  # BigEarthNet's official lists
    ("a.csv.gz", "River_10\nForest_1\n"),
    ("a.csv", "country,id\nX,River_10\nY,Forest_1\n"),
    ("a.csv", ",patch\n0,River_10\n1,Forest_1\n"),  # pandas' own index
    ("a.csv", "tile,country\nRiver_10,X\nForest_1,Y\n"),
    ("a.csv", "id\n River_10 \nForest_1\n"),
    ("a.parquet", pd.DataFrame({"id": WANTED, "x": [1, 2]})),
    ("a.parquet", pd.DataFrame({"x": [1, 2], "patch_id": WANTED})),
    ("a.parquet", pd.DataFrame({"x": [1, 2]}, index=pd.Index(WANTED, name="id"))),
]


@pytest.mark.parametrize(("name", "content"), LISTS)
def test_published_lists_are_read_as_they_are(tmp_path: Path, name: str, content: Any) -> None:
    assert read_names(written(tmp_path / name, content), IDS) == WANTED


def test_names_that_are_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": [3, 1]})
    assert read_names(written(tmp_path / "a.parquet", frame), ["0", "1", "2", "3"]) == ["3", "1"]
    assert read_names(written(tmp_path / "a.csv", "3\n1\n"), ["0", "1", "2", "3"]) == ["3", "1"]


BAD_LISTS: list[tuple[str, Any, str]] = [
    ("a.txt", "Forest_1\nRiver_3\n", r"names 'River_3', which is none of the 5 patches"),
    ("a.csv", "id\nForest_1\nRiver/River_3.jpg\n", r"names 'River/River_3\.jpg', which is none"),
    ("a.csv", "River_3\nForest_1\n", r"names 'River_3', which is none"),  # no heading: nothing is lost
    ("a.txt", "Forest_1\nForest/Forest_1.jpg\n", r"names 'Forest_1' twice; remove one"),
    ("a.csv", "id,split,split\nForest_1,train,test\n", r"two columns 'split'; rename one"),
    ("a.txt", "\n", r"names no patch"),
    ("a.csv", "id\n", r"names no patch"),
    ("a.csv", "", r"cannot read .*a\.csv"),
    ("a.csv", 'id\n"open', r"cannot read .*a\.csv"),
    ("a.csv", "Forest_1,train\nRiver_1,test\n", r"2 columns and no heading; give it one, id,split"),
    ("a.yaml", "Forest_1: [1, 2]", r"is no list of patches; a list of names is \.txt"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD_LISTS)
def test_wrong_lists_are_refused(tmp_path: Path, name: str, content: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_names(written(tmp_path / name, content), IDS)


def test_damaged_and_absent_lists_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no table")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    for name in ("a.parquet", "a.txt"):
        with pytest.raises(UserError, match="cannot read"):
            read_names(tmp_path / name, IDS)
    for name in ("b.txt", "b.npy"):
        with pytest.raises(UserError, match=rf"there is no file .*{name}"):
            (read_names(tmp_path / name, IDS) if name == "b.txt" else read_positions(tmp_path / name))


class Trap:
    """Raises when it is unpickled."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("the pickle was opened",))


@pytest.mark.parametrize("reader", [lambda path: read_names(path, IDS), read_positions, lambda p: read_split(p, IDS)])
def test_pickles_are_not_opened_and_their_conversion_is_told(tmp_path: Path, reader: Any) -> None:
    path = tmp_path / "train_0.01_lb_43.pkl"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UserError, match=r"is pickled.*python -c \"import pandas; .*read_pickle") as caught:
        reader(path)
    assert "train_0.01_lb_43.csv" in str(caught.value)


def test_the_conversion_that_is_told_works(tmp_path: Path) -> None:
    path = tmp_path / "train.pkl"
    pd.DataFrame({"lat": [1.0, 2.0], "patch": WANTED}).to_pickle(path)
    with pytest.raises(UserError) as caught:
        read_names(path, IDS)
    run_told(str(caught.value), tmp_path)
    assert read_names(tmp_path / "train.csv", IDS) == WANTED
    np.save(tmp_path / "lb.npy", np.array([3, 0], dtype=object))
    with pytest.raises(UserError) as caught:
        read_positions(tmp_path / "lb.npy", 5)
    run_told(str(caught.value), tmp_path)
    assert read_positions(tmp_path / "lb_plain.npy", 5).tolist() == [3, 0]


def run_told(message: str, folder: Path) -> None:
    """What a shell would do with the command in a message."""
    code = message.split('python -c "')[1].split('"')[0]
    with contextlib.chdir(folder):
        exec(code)


def test_object_arrays_are_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([Trap()], dtype=object))
    with pytest.raises(UserError, match=r"a\.npy is pickled.*allow_pickle=True"):
        read_positions(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (np.array([0, 5]), "position 5 is out of range, which is 0 to 4"),
        (np.array([0, -1]), "position -1 is out of range"),
        (np.array([2, 0, 2]), "position 2 is there twice"),
        (np.array([0.0, 1.0]), "holds float64 of shape"),
        (np.array([[0, 1]]), r"holds int64 of shape \(1, 2\)"),
        (np.array([True, False]), "holds bool"),
        (np.array([], dtype=np.int64), "holds no position"),
        (np.array(3), r"holds int64 of shape \(\)"),
    ],
)
def test_wrong_indices_are_refused(tmp_path: Path, index: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_positions(written(tmp_path / "a.npy", index), 5)


def test_damaged_and_zipped_indices_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00half")
    with pytest.raises(UserError, match=r"cannot read .*a\.npy"):
        read_positions(tmp_path / "a.npy")
    np.savez(tmp_path / "b.npz", a=np.arange(3))
    (tmp_path / "b.npz").rename(tmp_path / "b.npy")
    with pytest.raises(UserError, match="holds an archive"):
        read_positions(tmp_path / "b.npy")


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.uint64])
def test_positions_keep_their_order(tmp_path: Path, kind: Any) -> None:
    positions = read_positions(written(tmp_path / "a.npy", np.array([4, 0, 2], dtype=kind)), 5)
    assert positions.tolist() == [4, 0, 2]
    assert positions.dtype == np.int64


def test_names_come_in_the_order_of_text() -> None:
    classes = ["River", "Forest", "River", "Forest", "River", "River"]
    files = ["River_2.jpg", "Forest_9.jpg", "River_100.jpg", "Forest_10.jpg", "River_1.jpg", "River_10.jpg"]
    assert [files[i] for i in folder_order(classes, files)] == [
        *("Forest_10.jpg", "Forest_9.jpg"),
        *("River_1.jpg", "River_10.jpg", "River_100.jpg", "River_2.jpg"),
    ]


def test_a_split_names_the_training_part_or_every_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = ["train", "test", "test", "train", "test"]
    assert read_split(written(tmp_path / "a.txt", "Forest_1\nRiver_10\n"), IDS).tolist() == listed
    assert read_split(written(tmp_path / "a.npy", np.array([3, 0])), IDS).tolist() == listed
    assert capsys.readouterr().err == ""
    table = "id,split\nRiver_2,validation\nForest_1,train\nRiver_1,val\nRiver_10,test\n"
    assert read_split(written(tmp_path / "a.csv", table), IDS).tolist() == ["train", None, "val", "test", "val"]
    assert "note: 1 patches are not in" in capsys.readouterr().err
    frame = pd.DataFrame({"patch_id": IDS, "split": ["train"] * 4 + ["test"]})
    assert read_split(written(tmp_path / "a.parquet", frame), IDS).tolist() == ["train"] * 4 + ["test"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "id,split\nForest_1,training\n", "split 'training' is none of train, val, validation, test"),
        ("a.csv", "id,split\nForest_1,\n", "split '' is none of"),
        ("a.npy", np.array([5]), "position 5 is out of range"),
        ("lb_labels40_1_seed0_idx.npy", np.array([1]), "data.labelled_file"),
        ("ulb_labels40_1_seed0_idx.npy", np.array([1]), "data.labelled_file"),
    ],
)
def test_wrong_splits_are_refused(tmp_path: Path, name: str, content: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_split(written(tmp_path / name, content), IDS)
