"""Which patches make step t: a pure function of seed, step and slot, whatever the number of processes.

Notation: N patches, C bands, S image size, B slots of the global batch.
"""

from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from wherewhen.errors import UserError
from wherewhen.maps import UNKNOWN as NOBODY_KNOWS
from wherewhen.views import resize, resize_mask

NO_LABEL = -1  # as `wherewhen.semi.UNKNOWN`, which lies above this module
CPU = torch.device("cpu")
Batch = TypeVar("Batch")
LABELLED, UNLABELLED, VIEWS, NOISE, START, PERMUTED = range(1, 7)  # the streams that one seed feeds


def mix(*numbers: int) -> int:
    """One 63-bit seed out of several whole numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


class Patches(NamedTuple):
    """A batch as it lies in the store."""

    pixels: Tensor  # (N, C, S, S) stored numbers, float32
    where: Tensor  # (N, 3) latitude, longitude in degrees, fraction of the year; NaN where unknown
    label: Tensor | None  # (N,) or (N, C) or (N, H, W) int64; None where training must not know it

    def first(self, count: int) -> "Patches":
        """So many of them."""
        label = None if self.label is None else self.label[:count]
        return Patches(self.pixels[:count], self.where[:count], label)


class StepBatch(NamedTuple):
    """One process's share of step `step`: its slots of the labelled and of the unlabelled batch."""

    step: int
    labelled: Patches
    unlabelled: Patches | None

    @property
    def images(self) -> int:
        """How many are loaded."""
        return sum(len(part.pixels) for part in (self.labelled, self.unlabelled) if part is not None)


class Order:
    """An endless shuffled walk over N things: position -> index, every index once a round.

    Args:
        count: N.
        seed: Mixed with the round's number for each round's order.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._round, self._order = -1, np.empty(0, dtype=np.int64)

    def __call__(self, positions: range) -> np.ndarray:
        """Indices (len(positions),) int64 at positions that follow each other."""
        parts, start = [np.empty(0, np.int64)], positions.start
        while start < positions.stop:
            lap, place = divmod(start, self.count)
            parts.append(self._of(lap)[place : place + positions.stop - start])
            start += len(parts[-1])
        return np.concatenate(parts)

    def _of(self, lap: int) -> np.ndarray:
        """The order of a round; the last one asked for is at hand."""
        if lap != self._round:
            self._round = lap
            self._order = np.random.default_rng(mix(self.seed, lap)).permutation(self.count)
        return self._order


class Pixels(Protocol):
    """Where pixels lie, such as a `PatchStore`."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a patch."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored numbers."""
        ...

    def pixels(self, rows: np.ndarray, dtype: type[np.float32] | None = None) -> np.ndarray:
        """Stored numbers, (n, C, H, W), as they are stored or as float32."""
        ...


class Masks(Protocol):
    """Where masks lie, such as a `PatchStore`."""

    def masks(self, rows: np.ndarray) -> np.ndarray:
        """Class index a pixel, (n, H, W) uint8; 255 unknown."""
        ...


class PixelSource:
    """Pixels of some patches of a store at the training size: held in memory when they fit, else read anew.

    Args:
        store: Where they lie.
        rows: (N,) rows of the store's table.
        size: Image size in pixels; patches of another size are resized (antialiased, as PIL does).
        cache_bytes: Hold the patches in memory up to this many bytes.
        device: In whose memory; on a GPU only where they take at most a quarter of what is free there.
    """

    def __init__(
        self,
        store: Pixels,
        rows: np.ndarray,
        size: int,
        cache_bytes: int = 4 << 30,
        device: torch.device = CPU,
    ) -> None:
        self.store, self.rows, self.size = store, rows, size
        item = store.dtype.itemsize * store.shape[0] * size * size
        self.cache: Tensor | None = None
        if len(rows) * item <= cache_bytes:
            cache = np.empty((len(rows), store.shape[0], size, size), store.dtype)
            for start in range(0, len(rows), 1024):
                cache[start : start + 1024] = self._read(rows[start : start + 1024])
            self.cache = _raw(cache).to(device if cache.nbytes <= _free(device) // 4 else CPU)

    def __call__(self, index: np.ndarray) -> Tensor:
        """Indices into `rows` (n,) -> (n, C, S, S) float32, in stored numbers."""
        if self.cache is None:
            return torch.from_numpy(self._read(self.rows[index], np.float32))
        if self.cache.device == CPU:
            return _copied(self.cache.numpy().view(self.store.dtype), index)
        return _floats(self.cache.index_select(0, torch.from_numpy(index).to(self.cache.device)), self.store.dtype)

    def _read(self, rows: np.ndarray, dtype: type[np.float32] | None = None) -> np.ndarray:
        if self.store.shape[1:] == (self.size, self.size):
            return self.store.pixels(rows, dtype)
        stored = self.store.dtype
        resized = resize(torch.from_numpy(self.store.pixels(rows, np.float32)), self.size).numpy()
        if np.issubdtype(stored, np.integer):
            limits = np.iinfo(stored)
            resized = resized.round().clip(limits.min, limits.max)
        return resized.astype(dtype or stored)


class MaskSource:
    """Masks of some patches at the training size, indexed like a tensor (N, S, S) int64, −1 where nobody knows.

    Args:
        store: Where they lie.
        rows: (N,) rows of the store's table.
        size: Image size in pixels; each pixel takes the class at its centre.
        cache_bytes: Hold the masks in memory up to this many bytes.
    """

    def __init__(self, store: Masks, rows: np.ndarray, size: int, cache_bytes: int = 4 << 30) -> None:
        self.store, self.rows, self.size = store, rows, size
        self.cache: Tensor | None = None
        if len(rows) * size * size <= cache_bytes:
            starts = range(0, len(rows), 1024)
            parts = [self._read(rows[start : start + 1024]) for start in starts]
            self.cache = torch.cat([torch.empty(0, size, size, dtype=torch.uint8), *parts])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Tensor) -> Tensor:
        """Indices into `rows` (n,) -> (n, S, S) int64."""
        stored = self._read(self.rows[index.numpy()]) if self.cache is None else self.cache[index]
        masks = stored.long()
        return masks.masked_fill_(masks == NOBODY_KNOWS, NO_LABEL)

    def _read(self, rows: np.ndarray) -> Tensor:
        return resize_mask(torch.from_numpy(self.store.masks(rows)), self.size)


def _copied(stored: np.ndarray, index: np.ndarray) -> Tensor:
    """Some rows as float32; each is gone through once."""
    out = np.empty((len(index), *stored.shape[1:]), np.float32)
    for place, row in enumerate(index.tolist()):
        out[place] = stored[row]
    return torch.from_numpy(out)


def _raw(stored: np.ndarray) -> Tensor:
    """The same bytes as a tensor; uint16, which torch can hardly index, as int16."""
    return torch.from_numpy(stored.view(np.int16) if stored.dtype == np.uint16 else stored)


def _floats(raw: Tensor, stored: np.dtype[Any]) -> Tensor:
    """Stored numbers as float32."""
    return (raw.view(torch.uint16) if stored == np.uint16 else raw).float()


def _free(device: torch.device) -> int:
    """Bytes free in a GPU's memory; in the computer's own, as many as asked for."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 1 << 62


class TrainBatches:
    """Step -> this process's share of the global batch.

    Args:
        pixels: Of all training patches.
        where: (N, 3) of the same patches.
        labelled: (L,) indices of the labelled ones among them.
        labels: Their labels, first axis L, or masks. No other label is here.
        sizes: Labelled and unlabelled slots of the global batch; the second may be 0.
        seed: Feeds both streams.
        rank: This process.
        processes: How many there are; both sizes must divide by it.

    The unlabelled stream runs over all N: labelled images stay in the pool.
    """

    def __init__(
        self,
        pixels: PixelSource,
        where: np.ndarray,
        labelled: np.ndarray,
        labels: np.ndarray | MaskSource,
        sizes: tuple[int, int],
        seed: int,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        if any(size % processes for size in sizes):
            raise UserError(f"batch of {sizes[0]} + {sizes[1]} does not divide by {processes} processes")
        self.pixels, self.where = pixels, where.astype(np.float32)
        self.labelled, self.labels = labelled, _indexed(labels)
        self.sizes, self.rank, self.processes = sizes, rank, processes
        self._labelled = Order(len(labelled), mix(seed, LABELLED))
        self._unlabelled = Order(len(where), mix(seed, UNLABELLED))

    def __call__(self, step: int) -> StepBatch:
        """Step t, from 0."""
        some = self._labelled(self.slots(step, self.sizes[0]))
        known = self._patches(self.labelled[some], self.labels[torch.from_numpy(some)])
        if not self.sizes[1]:
            return StepBatch(step, known, None)
        return StepBatch(step, known, self._patches(self.unlabelled(step), None))

    def unlabelled(self, step: int) -> np.ndarray:
        """Indices (n,) of this process's unlabelled patches of a step."""
        return self._unlabelled(self.slots(step, self.sizes[1]))

    def slots(self, step: int, size: int) -> range:
        """Positions of this process's slots in the stream."""
        mine = size // self.processes
        start = step * size + self.rank * mine
        return range(start, start + mine)

    def _patches(self, index: np.ndarray, label: Tensor | None) -> Patches:
        return Patches(self.pixels(index), torch.from_numpy(self.where[index]), label)


class Steps(Generic[Batch]):
    """Endless batches from the step at which training stands: a resumed run goes on where it was.

    Args:
        batches: Step -> batch.
        first: Asked for the first step whenever an iteration begins.
    """

    def __init__(self, batches: Callable[[int], Batch], first: Callable[[], int]) -> None:
        self.batches, self.first = batches, first

    def __iter__(self) -> Iterator[Batch]:
        step = self.first()
        while True:
            yield self.batches(step)
            step += 1


def _indexed(labels: np.ndarray | MaskSource) -> Tensor | MaskSource:
    """Labels that a tensor of indices picks from."""
    return labels if isinstance(labels, MaskSource) else torch.from_numpy(labels.astype(np.int64))


class EvalBatch(NamedTuple):
    """A batch to evaluate on: the image alone. Place and time are not read."""

    pixels: Tensor  # (N, C, S, S) stored numbers, float32
    label: Tensor  # as `Patches.label`


class EvalBatches:
    """Patches in their order, in batches; the last may be smaller.

    Args:
        pixels: Of the patches to evaluate.
        labels: Their labels.
        size: Batch size.
    """

    def __init__(self, pixels: PixelSource, labels: np.ndarray | MaskSource, size: int) -> None:
        self.pixels, self.labels, self.size = pixels, _indexed(labels), size

    def __len__(self) -> int:
        return -(-len(self.labels) // self.size)

    def __iter__(self) -> Iterator[EvalBatch]:
        for index in torch.arange(len(self.labels)).split(self.size):
            yield EvalBatch(self.pixels(index.numpy()), self.labels[index])
