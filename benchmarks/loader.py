"""Patches a second that the loader gives, beside plain NumPy and torch's DataLoader, on one small store.

Batches of 64 in shuffled order, the contestants in turn in one process:

- ours, in memory: `TrainBatches` over a `PixelSource` that holds the patches;
- ours, memory-mapped: the same with cache_bytes=0, read from the store at every batch;
- NumPy, stored numbers: the same bytes as one file, a fancy index into the memory map and nothing else; a network
  cannot take these numbers yet;
- NumPy, float32: the same, and the conversion that the others make as well;
- DataLoader: a data set as people write it over the store's files, a float32 patch an item, with worker processes
  (what they make goes through shared memory) and without.

All but plain NumPy give float32 tensors; all but NumPy give labels, ours place and time too. Files are warm: they
were just written and are in the page cache, which nobody dropped, so no disk is timed. Every turn begins with a few
batches that are not timed, so that what workers made ahead does not count. Run:

    python benchmarks/loader.py [--threads 1] [--workers 2] [--repeats 7]
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from steps import in_turn, seconds, table
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from wherewhen.bands import load_sensor
from wherewhen.loader import Order, PixelSource, TrainBatches
from wherewhen.store import PatchStore

BATCH, SIZE = 64, 64
UNTIMED = 8  # batches at the start of a turn: more than two workers hold ready
NUMPY, NUMPY_FLOAT = "NumPy, stored numbers", "NumPy, float32"
CPU = torch.device("cpu")


class Case(NamedTuple):
    """One kind of patch."""

    title: str
    sensor: str
    bands: int
    dtype: type[np.unsignedinteger[Any]]
    patches: int


CASES = (
    Case("3 × 64 × 64 uint8", "rgb8", 3, np.uint8, 20_000),
    Case("12 × 64 × 64 uint16", "sentinel2_l2a", 12, np.uint16, 6_000),
)


def make_store(folder: Path, case: Case) -> PatchStore:
    """Noise in a store, and the same bytes in one file beside it."""
    rng = np.random.default_rng(0)
    top = 256 if case.dtype is np.uint8 else 10_000
    pixels = rng.integers(0, top, (case.patches, case.bands, SIZE, SIZE), dtype=case.dtype)
    np.save(folder / "pixels.npy", pixels)
    return PatchStore.from_arrays(
        folder / "store",
        pixels,
        bands=load_sensor(case.sensor).bands[: case.bands],
        place=np.column_stack((rng.uniform(35, 65, case.patches), rng.uniform(-10, 30, case.patches))),
        labels=np.arange(case.patches) % 10,
        classes=tuple(f"class {i}" for i in range(10)),
        split=["train"] * case.patches,
    )


def ours(store: PatchStore, cache_bytes: int) -> Iterator[Any]:
    """Our batches."""
    rows = np.arange(len(store))
    pixels = PixelSource(store, rows, SIZE, cache_bytes)
    where = np.column_stack((store.place(), store.day()))
    return map(TrainBatches(pixels, where, rows, store.labels(), (BATCH, 0), seed=0), range(1 << 62))


def numpy(path: Path, convert: Callable[[np.ndarray], object]) -> Iterator[object]:
    """Fancy indices into one memory-mapped file."""
    pixels = np.load(path, mmap_mode="r")
    order = Order(len(pixels), seed=0)
    return (convert(pixels[order(range(t * BATCH, (t + 1) * BATCH))]) for t in range(1 << 62))


def as_floats(stored: np.ndarray) -> Tensor:
    return torch.from_numpy(stored.astype(np.float32))


class StorePatches(Dataset[tuple[Tensor, int]]):
    """A patch and its label by number, from the store's memory-mapped files."""

    def __init__(self, store: PatchStore) -> None:
        self.shards = [np.load(path, mmap_mode="r") for path in sorted(store.path.glob("pixels-*.npy"))]
        self.where, self.labels = store.table[["shard", "row"]].to_numpy(), store.labels()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        shard, row = self.where[index]
        return as_floats(self.shards[shard][row]), int(self.labels[index])


def dataloader(store: PatchStore, workers: int) -> Iterator[object]:
    """Batches of epoch after epoch."""
    loader = DataLoader(StorePatches(store), BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    while True:
        yield from loader


def clock(batches: Iterator[object], times: int) -> float:
    """Seconds a batch, in the steady state."""
    for _ in range(UNTIMED):
        next(batches)
    return seconds(partial(next, batches), times, CPU)


def measure(case: Case, arguments: argparse.Namespace) -> dict[str, float]:
    """Patches a second by name."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        store = make_store(folder, case)
        ways = {
            "ours, in memory": ours(store, 4 << 30),
            "ours, memory-mapped": ours(store, 0),
            NUMPY: numpy(folder / "pixels.npy", np.asarray),
            NUMPY_FLOAT: numpy(folder / "pixels.npy", as_floats),
            "DataLoader, no workers": dataloader(store, 0),
            f"DataLoader, {arguments.workers} workers": dataloader(store, arguments.workers),
        }
        clocks = {name: partial(clock, batches, arguments.batches) for name, batches in ways.items()}
        return {name: BATCH / taken for name, taken in in_turn(clocks, arguments.repeats).items()}


def report(rates: dict[str, float], case: Case) -> str:
    """Markdown: the rate of each way, and how many times it is each rival's."""
    rivals = [name for name in rates if not name.startswith("ours")]
    rows = [[name, f"{rate:,.0f}", *(f"{rate / rates[rival]:.2f}" for rival in rivals)] for name, rate in rates.items()]
    return table([[case.title, "patches/s", *(f"× {rival}" for rival in rivals)], *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the stores are made for the time being, 1.3 GB")
    parser.add_argument("--batches", type=int, default=100, help="in a row")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.empty(31 << 20, dtype=torch.uint8).fill_(0)  # as a training step leaves the allocator, see views.py
    print(f"batch {BATCH}, shuffled, warm files; {arguments.threads} thread(s), torch {torch.__version__}, CPU;")
    print(f"median of {arguments.repeats} × {arguments.batches} batches, in turn\n")
    print("\n\n".join(report(measure(case, arguments), case) for case in CASES))


if __name__ == "__main__":
    main()
