"""A store as training, validation and test batches."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from wherewhen import label_sets, splits
from wherewhen.errors import UserError
from wherewhen.loader import PERMUTED, EvalBatches, PixelSource, Steps, TrainBatches, mix
from wherewhen.semi import UNKNOWN
from wherewhen.store import PatchStore
from wherewhen.tasks.elsewhere import permuted
from wherewhen.tasks.facts import Facts, frequencies

VERIFIED_BYTES = 2 << 30  # checksums of a store up to this size are always read before a run: a second or two


class StoreData(pl.LightningDataModule):
    """Batches from a `PatchStore`.

    Args:
        store: Folder that `wherewhen prepare` made.
        image_size: Pixels to which patches are resized; None keeps the store's.
        labels_per_class: Label budget by count, or
        label_share: by share of the training patches, in (0, 1], or
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
        if self.opened.label_kind not in ("one", "many"):
            raise UserError(f"{self.path} has no labels, so nothing can be trained or tested on it")
        self.labels = self.opened.labels()
        self.ids = self.opened.table["id"].to_numpy(dtype=str)
        self.train_rows, self.val_rows, self.test_rows = self._parts()
        self.labelled = self._budget() if len(self.train_rows) else np.empty(0, dtype=np.int64)

    def train_dataloader(self) -> Steps:
        """Endless batches, from the trainer's step on."""
        trainer = self._trainer()
        batches = TrainBatches(
            self._pixels(self.train_rows),
            self.where(self._permuted() if self.permute_where else self.train_rows),
            self.labelled,
            self.labels[self.train_rows[self.labelled]],
            (self.sizes[0], self.sizes[1] if trainer.lightning_module.needs_unlabelled else 0),
            self.seed,
            trainer.global_rank,
            trainer.world_size,
        )
        self._batches = batches
        return Steps(batches, first=lambda: trainer.global_step)

    def hidden(self, step: int) -> Tensor:
        """Labels of this process's unlabelled patches of a step, for people who watch; training never asks."""
        return torch.from_numpy(self.labels[self.train_rows[self._batches.unlabelled(step)]].astype(np.int64))

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
        where: np.ndarray = np.column_stack((self.opened.place(), self.opened.day()))[rows]
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
                self.opened.place(), self.test_share, self.block_km, self.gap_km, self.seed
            )
            val = np.zeros_like(train)
        else:
            name = self.opened.table["split"].to_numpy(dtype=object)
            train, val, test = name == "train", name == "val", name == "test"
            if self.test_region is not None:
                inside = splits.region(self.opened.place(), self.test_region)
                train, val, test = train & ~inside, val & ~inside, inside
        if self.validation and not val.any():
            rows = np.flatnonzero(train)
            val[rows[splits.hold_out(list(self.ids[rows]), self.validation, self.seed)]] = True
            train &= ~val
        if not self.validation:
            train, val = train | val, np.zeros_like(val)
        return np.flatnonzero(train), np.flatnonzero(val), np.flatnonzero(test)

    def _budget(self) -> np.ndarray:
        if self.labelled_file is not None:
            return label_sets.labelled_among(Path(self.labelled_file), self.opened, self.train_rows, self.val_rows)
        labels, ids = self.labels[self.train_rows], list(self.ids[self.train_rows])
        if self.labels_per_class is not None:
            if labels.ndim == 2:
                raise UserError("labels_per_class needs one label a patch; use label_share for many labels")
            return splits.per_class(labels, ids, self.opened.classes, self.labels_per_class, self.seed)
        if self.label_share is not None:
            return splits.stratified(labels, ids, self.label_share, self.seed)
        return np.flatnonzero((labels != UNKNOWN).reshape(len(labels), -1).any(1))

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
            self.opened.classes,
            "many" if self.opened.label_kind == "many" else "one",
            size,
            tuple(self.opened.mean.tolist()),
            tuple(self.opened.std.tolist()),
            known=tuple(part for part, gone in missing.items() if not gone.any()),
            partly=tuple(part for part, gone in missing.items() if gone.any() and not gone.all()),
            labelled=frequencies(self.labels[self.train_rows[self.labelled]], len(self.opened.classes)),
        )

    def _evaluation(self, rows: np.ndarray) -> EvalBatches:
        return EvalBatches(self._pixels(rows), self.labels[rows], self.eval_batch)

    def _pixels(self, rows: np.ndarray) -> PixelSource:
        device = self._trainer().strategy.root_device
        return PixelSource(self.opened, rows, self.facts.image_size, self.cache_bytes, device)

    def _permuted(self) -> np.ndarray:
        """Training rows, each in the place of another: one round through all of them in random order."""
        return permuted(self.train_rows, mix(self.seed, PERMUTED))

    def _trainer(self) -> pl.Trainer:
        if self.trainer is None:
            raise RuntimeError("training batches depend on the trainer's step; use this through a Trainer")
        return self.trainer
