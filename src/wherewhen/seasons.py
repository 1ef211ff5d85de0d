"""Which dates of which places make step t of a pre-training: a pure function of seed, step and slot.

Notation: P places, T dates of a place in a batch, N images of a date, C bands, S image size.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from wherewhen.errors import UserError
from wherewhen.loader import Order, PixelSource, mix

PLACES, DATES = 11, 12  # the streams that a seed feeds here; `wherewhen.loader` has the others


class DatesBatch(NamedTuple):
    """One process's share of step `step`: its slots of the global batch."""

    step: int
    pixels: Tensor  # (T, N, C, S, S) stored numbers, float32
    place: Tensor  # (N,) int64; with two periods the two of a place stand side by side

    @property
    def images(self) -> int:
        """How many are loaded, all dates."""
        return self.pixels.shape[0] * self.pixels.shape[1]


class Places:
    """Images by place, each place's in the order of their dates.

    Args:
        names: (M,) name of the place of each image; an image without one is a place of its own.
        times: (M,) datetime64, NaT where unknown: these come last.
        dates: T, how many dates of a place a step shows.
        periods: 2 parts the images of a place into an older and a newer half, which are drawn apart (CACo).

    Attributes:
        images: For each place, for each period, positions (n,) of its images.
        left_out: Names of the places that have too few.

    Raises:
        UserError: No place has enough.
    """

    def __init__(
        self, names: Sequence[str | None] | np.ndarray, times: np.ndarray, dates: int = 1, periods: int = 1
    ) -> None:
        self.dates, self.periods = dates, periods
        self.least = periods * min(dates, 2)  # a third date may be the second again
        names = np.array(names, dtype=object)
        alone = np.array([f"\0{i}" for i in range(len(names))], dtype=object)
        code, place = pd.factorize(np.where(pd.isna(names), alone, names))
        order = np.lexsort((times, code))  # stable, and NaT comes last
        groups = np.split(order, np.flatnonzero(np.diff(code[order])) + 1)
        self.images = [np.array_split(group, periods) for group in groups if len(group) >= self.least]
        self.left_out = [str(name) for name, group in zip(place, groups, strict=True) if len(group) < self.least]
        if not self.images:
            raise UserError(
                f"no place has {self.least} images, but {dates} dates in {periods} period(s) are needed; prepare the "
                "store with several dates a place (prepare world --visits 3 --periods 2, say), or choose moco_v2"
            )

    def __len__(self) -> int:
        return len(self.images)


class DatesBatches:
    """Step -> this process's share of the global batch.

    Dates of a place are drawn without replacement. Where it has fewer than T, the last drawn stands for those that
    lack, so that the first two always differ.

    Args:
        pixels: Of all images, in the order of `places`' positions.
        places: Which images belong together.
        size: Slots of the global batch: places × periods.
        seed: Of the order and of the dates.
        rank: This process.
        processes: How many there are.

    Raises:
        UserError: The batch does not divide by processes and periods.
    """

    def __init__(
        self, pixels: PixelSource, places: Places, size: int, seed: int, rank: int = 0, processes: int = 1
    ) -> None:
        if size % (processes * places.periods):
            raise UserError(
                f"batch of {size} does not divide by {processes} process(es) times {places.periods} period(s); "
                "choose another batch_size"
            )
        self.pixels, self.places, self.size, self.seed = pixels, places, size, seed
        self.mine = range(rank * size // processes, (rank + 1) * size // processes)
        self._order = Order(len(places), mix(seed, PLACES))

    @property
    def round(self) -> int:
        """Steps in which every place is met about once."""
        return -(-len(self.places) * self.places.periods // self.size)

    def __call__(self, step: int) -> DatesBatch:
        """Step t, from 0."""
        image, place = self.images(step)
        pixels = torch.stack([self.pixels(date) for date in image])
        return DatesBatch(step, pixels, torch.from_numpy(place))

    def images(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions (T, n) of this process's images of a step, and their places (n,)."""
        periods, first = self.places.periods, step * self.size // self.places.periods
        place = np.repeat(self._order(range(first, first + self.size // periods)), periods)
        pools = [self.places.images[p][slot % periods] for slot, p in enumerate(place)]
        chance = np.random.default_rng(mix(self.seed, DATES, step)).random((self.size, max(map(len, pools))))
        drawn = [pools[slot][np.argsort(chance[slot, : len(pools[slot])])] for slot in self.mine]
        dates = [[one[min(t, len(one) - 1)] for one in drawn] for t in range(self.places.dates)]
        return np.array(dates, dtype=np.int64), place[self.mine.start : self.mine.stop]
