from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torchvision.datasets import ImageFolder

from tests.fakes import EUROSAT_CLASSES, make_eurosat
from wherewhen.bands import load_sensor
from wherewhen.errors import UserError
from wherewhen.ingest.eurosat import prepare
from wherewhen.label_sets import labelled_among, lie_class_by_class
from wherewhen.store import PatchStore


@pytest.fixture(scope="module")
def eurosat(tmp_path_factory: pytest.TempPathFactory) -> tuple[PatchStore, Path]:
    """A store of 12 pictures a class, and the folder that it was made of."""
    where = tmp_path_factory.mktemp("source")
    fake = make_eurosat(where, per_class=12)
    return prepare(fake.folder, where / "store"), fake.folder


def parts(store: PatchStore) -> tuple[np.ndarray, np.ndarray]:
    """Training rows, and none held out."""
    return np.flatnonzero(store.table["split"] == "train"), np.empty(0, dtype=np.int64)


def chosen(path: Path, store: PatchStore) -> list[str]:
    """Ids of the labelled patches."""
    train, held_out = parts(store)
    return list(store.table["id"].iloc[train[labelled_among(path, store, train, held_out)]])


def torchvision_order(folder: Path) -> tuple[list[str], list[int]]:
    """Names and classes of all pictures as torchvision lists them."""
    samples = ImageFolder(str(folder)).samples
    return [Path(path).stem for path, _ in samples], [label for _, label in samples]


def training_part(labels: list[int]) -> list[int]:
    """Positions of the first 80 % of each class, as USB's loader counts them."""
    of_class = [[i for i, label in enumerate(labels) if label == c] for c in range(10)]
    return [i for members in of_class for i in members[: int(0.8 * len(members))]]


def test_positions_count_as_torchvision_does(eurosat: tuple[PatchStore, Path], tmp_path: Path) -> None:
    store, folder = eurosat
    names, labels = torchvision_order(folder)
    assert names[:5] == ["AnnualCrop_1", "AnnualCrop_10", "AnnualCrop_11", "AnnualCrop_12", "AnnualCrop_2"]
    train = training_part(labels)
    index = np.random.default_rng(0).permutation(len(train))[:30]
    np.save(tmp_path / "index.npy", index)
    assert set(chosen(tmp_path / "index.npy", store)) == {names[train[i]] for i in index}


@pytest.mark.parametrize("name", ["list.npy", "list.txt", "list.csv", "list.parquet"])
def test_all_forms_say_the_same(eurosat: tuple[PatchStore, Path], tmp_path: Path, name: str) -> None:
    store, _ = eurosat
    wanted = ["Forest_12", "AnnualCrop_3", "River_10"]  # the 4th, 6th and 2nd training picture of their classes
    match Path(name).suffix:
        case ".npy":
            np.save(tmp_path / name, [9 + 3, 5, 8 * 9 + 1])
        case ".parquet":
            pd.DataFrame({"id": wanted}).to_parquet(tmp_path / name)
        case _:
            (tmp_path / name).write_text("\n".join(wanted))
    assert chosen(tmp_path / name, store) == ["AnnualCrop_3", "Forest_12", "River_10"]


def drawn_by_usb(names: list[str], labels: list[int], each: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """What USB's loader saves as `lb_labels…_idx.npy`, and the pictures it means."""
    numpy = np.random.RandomState(seed)
    train = training_part(labels)
    places = list(range(len(train)))
    numpy.shuffle(places)
    shuffled = np.array(train)[places]
    drawn: list[int] = []
    for c in range(10):
        members = np.flatnonzero(np.array(labels)[shuffled] == c)
        numpy.shuffle(members)
        drawn.extend(members[:each])
    return np.array(drawn), [names[i] for i in shuffled[drawn]]


@pytest.mark.parametrize(("each", "seed"), [(1, 0), (2, 0), (4, 7)])
def test_an_index_of_the_shuffled_training_part_is_recognised(
    eurosat: tuple[PatchStore, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], each: int, seed: int
) -> None:
    store, folder = eurosat
    index, wanted = drawn_by_usb(*torchvision_order(folder), each, seed)
    path = tmp_path / f"lb_labels{10 * each}_1_seed{seed}_idx.npy"
    np.save(path, index)
    assert set(chosen(path, store)) == set(wanted)
    assert f"training part, shuffled with NumPy's seed {seed}" in capsys.readouterr().err
    np.save(path, index[::-1])  # not as the loader writes it: nothing speaks for the shuffled order any more
    assert set(chosen(path, store)) != set(wanted)
    assert "ImageFolder order of the training part\n" in capsys.readouterr().err


def test_an_index_of_all_pictures_is_recognised(
    eurosat: tuple[PatchStore, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, folder = eurosat
    names, _ = torchvision_order(folder)
    index = np.array([12 * c + k for c in range(10) for k in (8, 0)])
    np.save(tmp_path / "index.npy", index)
    assert set(chosen(tmp_path / "index.npy", store)) == {names[i] for i in index}
    assert "order of all patches" in capsys.readouterr().err
    np.save(tmp_path / "index.npy", [9 * c + k for c in range(10) for k in (8, 0)])
    chosen(tmp_path / "index.npy", store)
    assert "order of the training part\n" in capsys.readouterr().err


def test_real_names_and_class_sizes(tmp_path: Path) -> None:
    """The 27,000 names of EuroSAT, on grey pictures of one pixel; every budget of the paper, by its loader's draw."""
    sizes = (3000, 3000, 3000, 2500, 2500, 2000, 2500, 3000, 2500, 3000)
    made = [(f"{c}_{n}", label) for label, c in enumerate(EUROSAT_CLASSES) for n in range(1, sizes[label] + 1)]
    names, labels = zip(*sorted(made, key=lambda one: (one[1], one[0] + ".jpg")), strict=True)
    split = np.full(27_000, "test", dtype=object)
    split[training_part(list(labels))] = "train"
    store = PatchStore.from_arrays(
        tmp_path / "store",
        np.zeros((27_000, 3, 1, 1), dtype=np.uint8),
        bands=load_sensor("rgb8").bands,
        ids=list(names),
        labels=np.array(labels),
        classes=EUROSAT_CLASSES,
        split=split,
    )
    for each in (1, 2, 4, 8):
        index, wanted = drawn_by_usb(list(names), list(labels), each, 0)
        np.save(tmp_path / "lb_labels_idx.npy", index)
        assert set(chosen(tmp_path / "lb_labels_idx.npy", store)) == set(wanted)


def test_chance_does_not_choose_an_order() -> None:
    classes = [f"{i}" for i in range(10)]
    assert lie_class_by_class(np.repeat(classes, 2), classes)
    assert not lie_class_by_class(np.repeat(classes, 2)[::-1], classes)
    assert not lie_class_by_class(np.array([*np.repeat(classes, 2)[:-1], "8"]), classes)
    assert not lie_class_by_class(np.array(["0", "1"]), ["0", "1"])  # a quarter of all pairs look like that
    assert lie_class_by_class(np.repeat(["0", "1"], 10), ["0", "1"])


def test_what_is_not_for_labelling_is_refused(eurosat: tuple[PatchStore, Path], tmp_path: Path) -> None:
    store, _ = eurosat
    train, _ = parts(store)
    ids = store.table["id"]
    path = tmp_path / "list.txt"

    def refuse(name: str, message: str, held_out: int = 0) -> None:
        path.write_text(f"AnnualCrop_1\n{name}\n")
        with pytest.raises(UserError, match=rf"list\.txt names '{name}'.*{message}"):
            labelled_among(path, store, train[held_out:], train[:held_out])

    refuse("River_9", "one of 1 patches outside the training part")  # the last fifth in order of text: 7, 8, 9
    refuse("River_13", "none of the 120 patches")
    refuse("AnnualCrop_1", "twice")
    path.write_text(f"{ids[train[0]]}\n{ids[train[1]]}\n")
    with pytest.raises(UserError, match=r"one of 2 patches held out for validation; set data\.validation to 0"):
        labelled_among(path, store, train[5:], train[:5])
    with pytest.raises(UserError, match=r"ulb_labels40_1_seed0_idx\.npy names the unlabelled patches.*lb_"):
        labelled_among(tmp_path / "ulb_labels40_1_seed0_idx.npy", store, *parts(store))


def grey(path: Path, **columns: Any) -> PatchStore:
    """Four patches of one pixel."""
    pixels = np.zeros((4, 3, 1, 1), dtype=np.uint8)
    return PatchStore.from_arrays(
        path, pixels, bands=load_sensor("rgb8").bands, classes=("a", "b"), split=["train"] * 4, **columns
    )


def test_a_patch_without_a_label_is_refused(tmp_path: Path) -> None:
    some = grey(tmp_path / "some", labels=np.array([0, 1, -1, 0]))
    many = grey(tmp_path / "many", labels=np.array([[0, 1], [-1, -1], [-1, 0], [0, 0]]))
    (tmp_path / "list.txt").write_text("1\n2\n")
    for store, missing in ((some, "2"), (many, "1")):
        with pytest.raises(UserError, match=rf"names '{missing}', one of 1 patches without a label"):
            chosen(tmp_path / "list.txt", store)
    (tmp_path / "list.txt").write_text("2\n3\n")
    assert chosen(tmp_path / "list.txt", many) == ["2", "3"]
    np.save(tmp_path / "index.npy", [0])
    for store in (some, many):
        with pytest.raises(UserError, match=r"counts pictures in folders of classes.*give a list of names"):
            chosen(tmp_path / "index.npy", store)


def test_positions_need_every_picture(tmp_path: Path) -> None:
    fake = make_eurosat(tmp_path)
    (fake.folder / "River" / "River_2.jpg").write_bytes(b"no picture")
    store = prepare(fake.folder, tmp_path / "store", on_error="skip")
    np.save(tmp_path / "index.npy", [0])
    with pytest.raises(UserError, match=r"1 were skipped when .* positions have shifted"):
        chosen(tmp_path / "index.npy", store)
    whole = prepare(fake.zip, tmp_path / "whole")
    np.save(tmp_path / "index.npy", [0, 40])
    with pytest.raises(UserError, match=r"position 40 is out of range, .* has 40 training patches"):
        chosen(tmp_path / "index.npy", whole)
