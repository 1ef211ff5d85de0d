"""What a model is shown and what it says of it: a patch, every pixel of a patch, or what changed between two dates.

Notation: N samples, n of them, C bands, H × W pixels, K classes. `rows` are positions among the samples.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from wherewhen.errors import UserError
from wherewhen.semi import UNKNOWN
from wherewhen.store import PatchStore
from wherewhen.tasks.facts import LabelKind

Target = Literal["patch", "mask", "change"]

CHANGE_CLASSES = ("same", "change")
AT_ONCE = 256  # masks read at a time


class Samples(ABC):
    """The samples of a store; the store's patches unless a subclass says otherwise.

    Args:
        store: Where they lie.
    """

    dates: ClassVar[int] = 1  # images of a sample, whose bands lie one after the other

    def __init__(self, store: PatchStore) -> None:
        self.store = store

    @property
    @abstractmethod
    def kind(self) -> LabelKind:
        """What a label is."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes."""
        return self.store.classes

    @property
    def ids(self) -> np.ndarray:
        """Names, (N,)."""
        ids: np.ndarray = self.store.table["id"].to_numpy(dtype=str)
        return ids

    @property
    def split(self) -> np.ndarray:
        """The store's own, (N,): `train`, `val`, `test` or None."""
        split: np.ndarray = self.store.table["split"].to_numpy(dtype=object)
        return split

    def place(self) -> np.ndarray:
        """Latitude and longitude in degrees, (N, 2), NaN unknown."""
        return self.store.place()

    def day(self) -> np.ndarray:
        """Share of the year that has gone by, (N,) in [0, 1), NaN unknown."""
        return self.store.day()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W), the bands of all dates."""
        return self.store.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored numbers."""
        return self.store.dtype

    def pixels(self, rows: np.ndarray, dtype: type[np.float32] | None = None) -> np.ndarray:
        """Stored numbers, (n, C, H, W), as they are stored or as float32."""
        return self.store.pixels(rows, dtype)

    def positions(self, ids: Sequence[str], tested: str | Path) -> np.ndarray:
        """Positions of named samples, (n,) int64.

        Args:
            ids: Their names.
            tested: What was tested on them, for the message.

        Raises:
            UserError: One is not there.
        """
        place = {name: row for row, name in enumerate(self.ids)}
        missing = next((name for name in ids if name not in place), None)
        if missing is not None:
            raise UserError(
                f"{self.store.path} has no {missing!r}, which {tested} was tested on; give its store by --store"
            )
        return np.array([place[name] for name in ids], np.int64)

    @abstractmethod
    def strata(self, rows: np.ndarray) -> np.ndarray:
        """By what a label budget is shared out: a class (n,), or classes (n, K) of 0 and 1; −1 unknown."""


def has_label(strata: np.ndarray) -> np.ndarray:
    """Which samples have any known label, (n,) bool, by their strata (n,) or (n, K)."""
    known: np.ndarray = (strata != UNKNOWN).reshape(len(strata), -1).any(1)
    return known


class Patches(Samples):
    """Patches with a label, or many."""

    def __init__(self, store: PatchStore) -> None:
        super().__init__(store)
        if store.label_kind not in ("one", "many"):
            raise UserError(f"{store.path} has no labels, so nothing can be trained or tested on it")
        self.labels = store.labels()

    @property
    def kind(self) -> LabelKind:
        """One label or many."""
        return "many" if self.store.label_kind == "many" else "one"

    def strata(self, rows: np.ndarray) -> np.ndarray:
        """The labels."""
        labels: np.ndarray = self.labels[rows]
        return labels


class Masked(Samples):
    """Patches with a class for every pixel."""

    kind: LabelKind = "mask"

    def __init__(self, store: PatchStore) -> None:
        super().__init__(store)
        if not store.has_masks or not store.classes:
            raise UserError(f"{store.path} has no masks of classes; prepare it with some, or set data.target to patch")

    def masks(self, rows: np.ndarray) -> np.ndarray:
        """Class of every pixel, (n, H, W) uint8, 255 unknown."""
        return self.store.masks(rows)

    def strata(self, rows: np.ndarray) -> np.ndarray:
        """The class that most known pixels of a mask have, (n,); −1 where none is known."""
        counts = self.counts(rows)
        return np.where(counts.any(1), counts.argmax(1), UNKNOWN)

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """Pixels of each class in each mask, (n, K) int64."""
        parts = [(mask[:, None] == np.arange(len(self.classes))[:, None]).sum(-1) for mask in self._flat(rows)]
        return np.concatenate([np.empty((0, len(self.classes)), np.int64), *parts])

    def _flat(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        for start in range(0, len(rows), AT_ONCE):
            masks = self.masks(rows[start : start + AT_ONCE])
            yield masks.reshape(len(masks), -1)


class Pairs(Masked):
    """Two images of a place, before and after, and where it changed: the store's targets of kind `change`.

    A pair's split and place are its first image's; its time is the later one's, when the change was seen.
    """

    kind: LabelKind = "change"
    dates = 2

    def __init__(self, store: PatchStore) -> None:
        Samples.__init__(self, store)
        self.targets = np.flatnonzero(store.targets["kind"] == "change")
        members = store.targets["members"].iloc[self.targets]
        if not len(members):
            raise UserError(f"{store.path} has no pairs of images with a change mask; prepare it with two periods")
        if (members.map(len) != self.dates).any():
            name = store.targets["id"].iloc[self.targets[(members.map(len) != self.dates).to_numpy()][0]]
            raise UserError(f"{store.path}: change {name!r} has not two members, before and after; prepare it anew")
        row_of = {name: row for row, name in enumerate(store.table["id"])}
        self.members = np.array([[row_of[name] for name in pair] for pair in members])  # (N, 2)

    @property
    def classes(self) -> tuple[str, ...]:
        """Two: what stayed, what changed."""
        return CHANGE_CLASSES

    @property
    def ids(self) -> np.ndarray:
        """Names of the pairs, (N,)."""
        ids: np.ndarray = self.store.targets["id"].to_numpy(dtype=str)[self.targets]
        return ids

    @property
    def split(self) -> np.ndarray:
        """Of the first image."""
        split: np.ndarray = super().split[self.members[:, 0]]
        return split

    def place(self) -> np.ndarray:
        """Of the first image."""
        place: np.ndarray = super().place()[self.members[:, 0]]
        return place

    def day(self) -> np.ndarray:
        """Of the second image."""
        day: np.ndarray = super().day()[self.members[:, 1]]
        return day

    @property
    def shape(self) -> tuple[int, int, int]:
        """(2C, H, W)."""
        bands, height, width = self.store.shape
        return self.dates * bands, height, width

    def pixels(self, rows: np.ndarray, dtype: type[np.float32] | None = None) -> np.ndarray:
        """Bands of the first image, then of the second, (n, 2C, H, W)."""
        return np.concatenate([self.store.pixels(image, dtype) for image in self.members[rows].T], axis=1)

    def masks(self, rows: np.ndarray) -> np.ndarray:
        """1 where the place changed, else 0, (n, H, W) uint8; 255 unknown."""
        masks = self.store.target_masks(self.targets[rows])
        if ((masks > 1) & (masks != 255)).any():
            raise UserError(
                f"{self.store.path}: a change mask holds other than 0, 1 and 255 (unknown); prepare it anew"
            )
        return masks

    def strata(self, rows: np.ndarray) -> np.ndarray:
        """1 where anything changed, 0 where nothing did, −1 unknown, (n,): change is never what most pixels show."""
        counts = self.counts(rows)
        return np.where(counts.any(1), counts[:, 1] > 0, UNKNOWN)


KINDS: dict[Target, type[Samples]] = {"patch": Patches, "mask": Masked, "change": Pairs}


def target_of(kind: LabelKind) -> Target:
    """The target that has labels of this kind."""
    return kind if kind == "mask" or kind == "change" else "patch"


def samples_of(store: PatchStore, target: Target) -> Samples:
    """The samples that a target makes of a store.

    Raises:
        UserError: The store has no such labels.
    """
    return KINDS[target](store)
