"""Published label sets: a file says which training patches are labelled.

It names them (`wherewhen.patch_lists`), or gives their positions in an order that it does not name. That order is
torchvision's `ImageFolder` over the training part, unless the labels say otherwise: those of a balanced set lie class
by class, equally many of each, in the right order, and by chance in no other.
"""

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np

from wherewhen.errors import UserError, note
from wherewhen.patch_lists import folder_order, read_names, read_positions
from wherewhen.store import PatchStore

CHANCE = 1e-6  # an order is believed when random labels would look like it less often than this


def labelled_among(
    path: Path,
    store: PatchStore,
    train: np.ndarray,
    held_out: np.ndarray,
    known: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Which training patches a file says are labelled: positions (n,) in `train`, sorted.

    Args:
        path: `.txt`, `.csv` or `.parquet` of names; `.npy` of positions.
        store: Where the patches are.
        train: Rows of the training part, sorted.
        held_out: Rows that validation is made on.
        known: Rows (n,) -> whether the label is known that is learned, (n,); by default the patches' own.

    Raises:
        UserError: The file cannot be read; it names something else than patches of the store, each once; or one of
            them is held out, outside the training part, or without a label.
    """
    if path.name.startswith("ulb_"):
        raise UserError(f"{path} names the unlabelled patches; give the file beside it whose name begins with lb_")
    rows = _rows_at(path, store) if path.suffix == ".npy" else _rows_of(path, store)
    unlabelled = ~known(rows) if known else (store.labels()[rows] < 0).reshape(len(rows), -1).all(1)
    for wrong, why in (
        (np.isin(rows, held_out), "held out for validation; set data.validation to 0"),
        (~np.isin(rows, train), "outside the training part; use the split that the list was made for"),
        (unlabelled, "without a label in the store; leave them out"),
    ):
        if wrong.any():
            name = store.table["id"].iloc[rows[wrong][0]]
            raise UserError(f"{path} names {name!r}, one of {int(wrong.sum())} patches {why}")
    return np.searchsorted(train, np.sort(rows))


def _rows_of(path: Path, store: PatchStore) -> np.ndarray:
    """Rows of the patches that a list names."""
    of = {name: row for row, name in enumerate(store.table["id"])}
    return np.array([of[name] for name in read_names(path, of)], dtype=np.int64)


def _rows_at(path: Path, store: PatchStore) -> np.ndarray:
    """Rows that an index means: the first order in which its labels lie class by class, else the first order."""
    labels = store.labels()
    if store.label_kind != "one" or (labels < 0).any():
        raise UserError(
            f"{path} counts pictures in folders of classes, but not every patch of {store.path} has one class; "
            "give a list of names"
        )
    if store.header.skipped:
        raise UserError(
            f"{path} counts pictures, but {len(store.header.skipped)} were skipped when {store.path} was made, so "
            "positions have shifted; prepare it from whole files, or give a list of names"
        )
    index = read_positions(path, len(store))
    classes = np.array(store.classes)[labels]
    files = store.table["source"].fillna(store.table["id"])
    whole = folder_order(list(classes), [PurePosixPath(name).name for name in files])
    training = whole[(store.table["split"] == "train").to_numpy(dtype=bool)[whole]]
    seed = int(found[1]) if (found := re.search(r"seed(\d+)", path.name)) else 0
    orders = {
        "of the training part": training,
        f"of the training part, shuffled with NumPy's seed {seed}": shuffled(training, seed),
        "of all patches": whole,
    }
    top, names = index.max(), sorted(store.classes)
    fits = [t for t, order in orders.items() if top < len(order) and lie_class_by_class(classes[order[index]], names)]
    title = (fits or list(orders))[0]
    if top >= len(orders[title]):
        raise UserError(
            f"{path}: position {top} is out of range, {store.path} has {len(training)} training patches; "
            "is it an index of this data set?"
        )
    note(f"{path} counts in the ImageFolder order {title}")
    rows: np.ndarray = orders[title][index]
    return rows


def shuffled(order: np.ndarray, seed: int) -> np.ndarray:
    """The order in which the loaders of USB and of ST-SSL draw their labelled patches: seeded, and shuffled once."""
    places = list(range(len(order)))
    np.random.RandomState(seed).shuffle(places)  # its numbers are frozen for ever, unlike default_rng's
    return order[places]


def lie_class_by_class(labels: np.ndarray, classes: list[str]) -> bool:
    """Whether class names (n,) are those of a balanced draw, class after class, and that is no chance."""
    each, rest = divmod(len(labels), len(classes))
    balanced = not rest and bool((labels == np.repeat(classes, each)).all())
    return balanced and len(classes) ** -float(len(labels)) < CHANCE
