"""A store as training, validation and test batches."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from wherewhen import label_sets, splits
from wherewhen.errors import UserError
from wherewhen.loader import PERMUTED, EvalBatches, MaskSource, PixelSource, StepBatch, Steps, TrainBatches, mix
from wherewhen.semi import UNKNOWN
from wherewhen.store import PatchStore
from wherewhen.tasks.elsewhere import permuted
from wherewhen.tasks.facts import Facts, frequencies, shares
from wherewhen.tasks.samples import Masked, Patches, Target, has_label, samples_of

VERIFIED_BYTES = 2 << 30  # checksums of a store up to this size are always read before a run: a second or two


class StoreData(pl.LightningDataModule):
    """Batches from a `PatchStore`.

    Args:
        store: Folder that `wherewhen prepare` made.
        target: What is learned: the label of a `patch`, the `mask` of its pixels, or the `change` between two images of
            a place, whose bands a network is given one after the other. Split and place of a pair are those of its
            first image, its time is the later one's.
        image_size: Pixels to which patches are resized; None keeps the store's.
        labels_per_class: Label budget by count; a mask counts for the class that most of its pixels have (classes that
            are nowhere the commonest have no count), a pair for whether anything changed. Or
        label_share: by share of the training patches of every such class, in (0, 1], or
        labelled_file: the labelled patches as a file names them (docs/label_sets.md). None of the three: every
            training label is used.
        labelled_batch: Labelled images a step, over all processes.
        unlabelled_batch: Unlabelled images a step, likewise; a supervised run loads none.
        validation: Share of the training split that is held out, images and labels, to tune on.
        block_km: Make the split anew from blocks of this side, so that train and test do not touch.
        gap_km: With blocks: training patches nearer than this to a test patch are left out.
        test_share: With blocks: share of the test.
        test_region: South, west, north, east in degrees: all patches in there are the test, whatever the store's
            split; the store's test patches elsewhere are left out.
        eval_batch: Images a batch in validation and test.
        cache_gib: Hold a part of the store in memory when it is no larger than this.
        permute_where: Control: give every training patch another one's place and time.
        seed: Chooses labelled, validation and block patches, and the order of training.
    """

    def __init__(
        self,
        store: str,
        target: Target = "patch",
        image_size: int | None = None,
        labels_per_class: int | None = None,
        label_share: float | None = None,
        labelled_file: str | None = None,
        labelled_batch: int = 8,
        unlabelled_batch: int = 8,
        validation: float = 0.1,
        block_km: float | None = None,
        gap_km: float = 5.0,
        test_share: float = 0.2,
        test_region: list[float] | None = None,
        eval_batch: int = 256,
        cache_gib: float = 4.0,
        permute_where: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        budgets = {"labels_per_class": labels_per_class, "label_share": label_share, "labelled_file": labelled_file}
        if len(given := [name for name, value in budgets.items() if value is not None]) > 1:
            raise UserError(f"{' and '.join(given)} are given; a label budget is one of them")
        if block_km is not None and test_region is not None:
            raise UserError("block_km and test_region are both given; the test is made of one of them")
        if not 0 <= validation < 1:
            raise UserError(f"validation share {validation} is outside [0, 1); 0.1 is a usual value")
        for name, value, least in (
            ("labelled_batch", labelled_batch, 1),
            ("unlabelled_batch", unlabelled_batch, 0),
            ("eval_batch", eval_batch, 1),
            ("seed", seed, 0),
        ):
            if value < least:
                raise UserError(f"{name} is {value}; it must be at least {least}")
        self.target: Target = target
        self.path, self.image_size, self.seed = Path(store), image_size, seed
        self.labels_per_class, self.label_share, self.labelled_file = labels_per_class, label_share, labelled_file
        self.sizes = (labelled_batch, unlabelled_batch)
        self.validation, self.block_km, self.gap_km = validation, block_km, gap_km
        self.test_share, self.test_region = test_share, test_region
        self.eval_batch, self.cache_bytes = eval_batch, int(cache_gib * 2**30)
        self.permute_where = permute_where

    def setup(self, stage: str | None = None) -> None:
        """Open the store, choose the parts; long work starts only after every check."""
        if hasattr(self, "facts"):
            return
        self.choose()
        if stage == "fit" and not len(self.labelled):
            patches, known = len(self.train_rows), len(self.labelled)
            raise UserError(
                f"{self.path} has {patches} training patches and {known} of them with a label; give patches a "
                "split and a label when the store is made, or set block_km to split by place"
            )
        self.facts = self._facts()
        if self._is_read_at_once():
            self.opened.verify()

    def choose(self) -> None:
        """Open the store and choose training, validation, test and labelled patches; no pixel is read.

        Raises:
            UserError: The store has no labels, or the split or the label budget cannot be had.
        """
        self.opened = PatchStore.open(self.path)
        self.ids = self.samples.ids
        self.train_rows, self.val_rows, self.test_rows = self._parts()
        self.labelled = self._budget() if len(self.train_rows) else np.empty(0, dtype=np.int64)

    @property
    def opened(self) -> PatchStore:
        """The store; it may be replaced by one of the same patches."""
        return self.samples.store

    @opened.setter
    def opened(self, store: PatchStore) -> None:
        self.samples = samples_of(store, self.target)

    @property
    def labels(self) -> np.ndarray:
        """Labels of all patches, (N,) or (N, K).

        Raises:
            UserError: What is learned is no label of a patch.
        """
        if not isinstance(self.samples, Patches):
            raise UserError(f"this is about labels of patches, but data.target is {self.target}; use a run with patch")
        return self.samples.labels

    def train_dataloader(self) -> Steps[StepBatch]:
        """Endless batches, from the trainer's step on."""
        trainer = self._trainer()
        batches = TrainBatches(
            self._pixels(self.train_rows),
            self.where(self._permuted() if self.permute_where else self.train_rows),
            self.labelled,
            self._labels(self.train_rows[self.labelled]),
            (self.sizes[0], self.sizes[1] if trainer.lightning_module.needs_unlabelled else 0),
            self.seed,
            trainer.global_rank,
            trainer.world_size,
        )
        self._batches = batches
        return Steps(batches, first=lambda: trainer.global_step)

    def hidden(self, step: int) -> Tensor:
        """Labels of this process's unlabelled patches of a step, for people who watch; training never asks."""
        labels = self._labels(self.train_rows[self._batches.unlabelled(step)])
        return labels[torch.arange(len(labels))] if isinstance(labels, MaskSource) else torch.from_numpy(labels).long()

    def val_dataloader(self) -> EvalBatches:
        """The held-out part of the training split, or the store's own validation split."""
        if not len(self.val_rows) and self._trainer().state.fn == "validate":
            raise UserError(f"{self.path} has no validation patches; set data.validation when training, 0.1 say")
        return self._evaluation(self.val_rows)

    def test_dataloader(self) -> EvalBatches:
        """The test split."""
        if not len(self.test_rows):
            raise UserError(f"{self.path} has no test patches; prepare it with a split, or set block_km")
        return self._evaluation(self.test_rows)

    def test_ids(self) -> list[str]:
        """Ids in the order of the test batches."""
        return list(self.ids[self.test_rows])

    def where(self, rows: np.ndarray) -> np.ndarray:
        """Rows (N,) of the table -> (N, 3) latitude, longitude in degrees, fraction of the year; NaN where unknown."""
        where: np.ndarray = np.column_stack((self.samples.place(), self.samples.day()))[rows]
        return where

    @property
    def split(self) -> dict[str, Any]:
        """What decides who is for training and who for testing: a model must be tested as it was trained."""
        return {
            "block_km": self.block_km,
            "gap_km": self.gap_km,
            "test_share": self.test_share,
            "test_region": self.test_region,
            "validation": self.validation,
            "seed": self.seed,
        }

    def labelled_ids(self) -> list[str]:
        """Ids of the patches whose label training may see."""
        return list(self.ids[self.train_rows[self.labelled]])

    def _parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self.block_km is not None:
            train, test = splits.spatial_blocks(
                self.samples.place(), self.test_share, self.block_km, self.gap_km, self.seed
            )
            val = np.zeros_like(train)
        else:
            name = self.samples.split
            train, val, test = name == "train", name == "val", name == "test"
            if self.test_region is not None:
                inside = splits.region(self.samples.place(), self.test_region)
                train, val, test = train & ~inside, val & ~inside, inside
        if self.validation and not val.any():
            rows = np.flatnonzero(train)
            val[rows[splits.hold_out(list(self.ids[rows]), self.validation, self.seed)]] = True
            train &= ~val
        if not self.validation:
            train, val = train | val, np.zeros_like(val)
        return np.flatnonzero(train), np.flatnonzero(val), np.flatnonzero(test)

    def _budget(self) -> np.ndarray:
        labels, ids = self.samples.strata(self.train_rows), list(self.ids[self.train_rows])
        dense = isinstance(self.samples, Masked)
        if self.labelled_file is not None:
            if self.target == "change":
                raise UserError("labelled_file names patches, and change is learned from pairs; use label_share")
            known = self._known_masks if dense else None
            return label_sets.labelled_among(
                Path(self.labelled_file), self.opened, self.train_rows, self.val_rows, known
            )
        if self.labels_per_class is not None:
            if labels.ndim == 2:
                raise UserError("labels_per_class needs one label a patch; use label_share for many labels")
            classes = np.array(self.samples.classes)
            if dense:
                classes, labels = among_commonest(classes, labels)
            return splits.per_class(labels, ids, list(classes), self.labels_per_class, self.seed)
        if self.label_share is not None:
            return splits.stratified(labels, ids, self.label_share, self.seed)
        return np.flatnonzero(has_label(labels))

    def _known_masks(self, rows: np.ndarray) -> np.ndarray:
        """Whether any pixel's class is known, (n,)."""
        return has_label(self.samples.strata(rows))

    def _is_read_at_once(self) -> bool:
        """Whether the store is small, or goes into memory: then its checksums cost little beside."""
        stored = sum(facts.bytes for facts in self.opened.header.files.values())
        item = self.opened.dtype.itemsize * self.opened.shape[0] * (self.image_size or self.opened.shape[-1]) ** 2
        return stored <= VERIFIED_BYTES or len(self.opened) * item <= self.cache_bytes

    def _facts(self) -> Facts:
        where = self.where(self.train_rows)
        missing = {"place": np.isnan(where[:, :2]).any(1), "time": np.isnan(where[:, 2])}
        size = self.image_size or self.opened.shape[-1]
        return Facts(
            self.opened.bands,
            self.samples.classes,
            self.samples.kind,
            size,
            tuple(self.opened.mean.tolist()),
            tuple(self.opened.std.tolist()),
            known=tuple(part for part, gone in missing.items() if not gone.any()),
            partly=tuple(part for part, gone in missing.items() if gone.any() and not gone.all()),
            labelled=self._frequencies(self.train_rows[self.labelled]),
        )

    def _frequencies(self, rows: np.ndarray) -> tuple[float, ...]:
        """How often each class is met in labelled samples, or in their pixels."""
        if isinstance(self.samples, Masked):
            return shares(self.samples.counts(rows).sum(0))
        return frequencies(self.labels[rows], len(self.opened.classes))

    def _labels(self, rows: np.ndarray) -> np.ndarray | MaskSource:
        """What is learned of some samples."""
        if isinstance(self.samples, Masked):
            return MaskSource(self.samples, rows, self.facts.image_size, self.cache_bytes)
        labels: np.ndarray = self.labels[rows]
        return labels

    def _evaluation(self, rows: np.ndarray) -> EvalBatches:
        return EvalBatches(self._pixels(rows), self._labels(rows), self.eval_batch)

    def _pixels(self, rows: np.ndarray) -> PixelSource:
        device = self._trainer().strategy.root_device
        return PixelSource(self.samples, rows, self.facts.image_size, self.cache_bytes, device)

    def _permuted(self) -> np.ndarray:
        """Training rows, each in the place of another: one round through all of them in random order."""
        return permuted(self.train_rows, mix(self.seed, PERMUTED))

    def _trainer(self) -> pl.Trainer:
        if self.trainer is None:
            raise RuntimeError("training batches depend on the trainer's step; use this through a Trainer")
        return self.trainer


def among_commonest(classes: np.ndarray, commonest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes (K,) that are the commonest of some sample, and which of them is a sample's, (N,); −1 unknown."""
    there = np.unique(commonest[commonest != UNKNOWN])
    return classes[there], np.where(commonest == UNKNOWN, UNKNOWN, np.searchsorted(there, commonest))
