"""The Lightning data module of pre-training: places of a store and their dates; no label is read."""

from pathlib import Path

import lightning.pytorch as pl
import numpy as np

from wherewhen.errors import UserError
from wherewhen.loader import PixelSource, Steps
from wherewhen.seasons import DatesBatch, DatesBatches, Places
from wherewhen.store import PatchStore


class PlacesData(pl.LightningDataModule):
    """Images of places at several dates.

    Args:
        store: Folder of a `PatchStore`.
        batch_size: Images of a date in the global batch; with two periods, both of a place count.
        image_size: Pixels; the store's own size by default.
        splits: Parts of the store that are shown; null takes every image, also the test's: pre-training knows no
            label, but what it has seen is no longer unseen.
        cache_gib: Hold the images in memory up to this size.
        seed: Of the order and the dates.
    """

    def __init__(
        self,
        store: str,
        batch_size: int = 256,
        image_size: int | None = None,
        splits: list[str] | None = ["train"],  # noqa: B006  (jsonargparse shows it, nobody changes it)
        cache_gib: float = 4.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 2:
            raise UserError(f"batch_size is {batch_size}; it must be at least 2")
        self.path, self.batch_size, self.seed = Path(store), batch_size, seed
        self.wanted_size, self.splits, self.cache_bytes = image_size, splits, int(cache_gib * 2**30)

    def choose(self, dates: int, periods: int) -> None:
        """Open the store and choose the places that have so many dates.

        Raises:
            UserError: There are none, or the store has changed.
        """
        self.opened = PatchStore.open(self.path)
        self.image_size = self.wanted_size or self.opened.shape[-1]
        table = self.opened.table
        shown = np.ones(len(table), dtype=bool) if self.splits is None else table["split"].isin(self.splits).to_numpy()
        self.rows = np.flatnonzero(shown)
        if not len(self.rows):
            raise UserError(f"{self.path} has no images in {self.splits}; set data.splits to null for all of them")
        times = table["time"].dt.tz_localize(None).to_numpy()[self.rows]
        names = table["place"].to_numpy(dtype=object)[self.rows]
        self.places = Places(names, times, dates, periods)
        self.opened.verify()

    def train_dataloader(self) -> Steps[DatesBatch]:
        """Endless batches, from the trainer's step on."""
        trainer = self.trainer
        if trainer is None:
            raise RuntimeError("training batches depend on the trainer's step; use this through a Trainer")
        device = trainer.strategy.root_device
        pixels = PixelSource(self.opened, self.rows, self.image_size, self.cache_bytes, device)
        self.batches = DatesBatches(
            pixels, self.places, self.batch_size, self.seed, trainer.global_rank, trainer.world_size
        )
        return Steps(self.batches, first=lambda: trainer.global_step)
