"""The progress bar: losses, share of accepted pseudo-labels, images a second."""

import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import TQDMProgressBar

from wherewhen.tasks.run import Journal

SHOWN = ("train/loss", "train/accepted", "val/accuracy", "val/map_macro", "val/miou", "val/f1", "probe/knn")


class Progress(TQDMProgressBar):
    """Lightning's bar with the journal's figures; nothing is read from the device for it.

    Args:
        journal: Where the figures come from.
        refresh: Steps between two looks.
    """

    def __init__(self, journal: Journal, refresh: int = 10) -> None:
        super().__init__(refresh_rate=refresh)
        self.journal = journal
        self.began: tuple[float, int] | None = None
        self.images = 0

    @property
    def total_train_batches(self) -> int | float:
        """All steps: batches are endless, a training is not."""
        return self.trainer.max_steps

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Count images from the second step on; the first one warms up."""
        super().on_train_batch_start(trainer, module, batch, batch_idx)
        if self.began is None:
            self.began = (time.monotonic(), trainer.global_step)
        self.images = trainer.world_size * batch.images

    def get_metrics(self, trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, Any]:
        """What stands behind the bar."""
        shown: dict[str, Any] = {
            name.partition("/")[2]: f"{self.journal.latest[name]:.3g}" for name in SHOWN if name in self.journal.latest
        }
        if self.began is not None and trainer.global_step > self.began[1]:
            seconds = time.monotonic() - self.began[0]
            shown["img/s"] = f"{self.images * (trainer.global_step - self.began[1]) / seconds:.0f}"
        return shown
