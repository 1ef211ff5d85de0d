"""A map of patches: a classifier of images asked at every step of a grid over a scene.

Notation: N patches, C bands, K classes, S side of a patch in pixels of the scene.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from wherewhen.files import atomic_path, remove_leftovers
from wherewhen.ingest.rasters import Grid
from wherewhen.predict import cog
from wherewhen.predict.making import Part
from wherewhen.predict.network import Network
from wherewhen.predict.scene_map import DIGEST, digest_of, is_finished
from wherewhen.scenes import Scene, Window

FEWEST = 0.5  # share of a patch that must show ground
ROW_BYTES = 1 << 28  # of pixels read at a time
TOGETHER = 16  # rows of cells in a part


class Cells(NamedTuple):
    """A grid of patches over a scene; the patch of a cell has its middle where the cell has it, or as near as fits.

    Args:
        shape: H and W of the scene.
        side: S, at most the scene's.
        step: Side of a cell.
    """

    shape: tuple[int, int]
    side: int
    step: int

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of cells; those at the lower and right edge may reach beyond the scene."""
        return -(-self.shape[0] // self.step), -(-self.shape[1] // self.step)

    def starts(self, axis: int) -> np.ndarray:
        """First pixel of the patch of each cell, along rows (0) or columns (1)."""
        middle = np.arange(self.size[axis]) * self.step + self.step // 2
        starts: np.ndarray = (middle - self.side // 2).clip(0, self.shape[axis] - self.side)
        return starts

    def grid(self, scene: Grid) -> Grid:
        """Where the cells lie."""
        a, b, c, d, e, f = scene.transform
        return Grid(scene.crs, (a * self.step, b * self.step, c, d * self.step, e * self.step, f), self.size)


@dataclass(frozen=True)
class GridMap:
    """A map of classes and confidence, or of many labels' probabilities, and a table; see `making.Map`.

    Args:
        scene: To look at.
        out: Folder.
        cells: Of the map.
        batch: Patches that the network sees at a time.
        classes: K names.
        many: Whether a patch has many labels.
        digest: Of all that the map depends on.
    """

    scene: Scene
    out: Path
    cells: Cells
    batch: int
    classes: tuple[str, ...]
    many: bool
    digest: str

    @classmethod
    def of(cls, scene: Scene, network: Network, out: Path, step: int | None, batch: int) -> "GridMap":
        """What a classifier of images would give, with cells of `step` pixels; those of a patch by default.

        Raises:
            ValueError: The scene is smaller than a patch.
        """
        side = network.patch
        if min(scene.grid.shape) < side:
            height, width = scene.grid.shape
            raise ValueError(f"it has {height} × {width} pixels, less than a patch of {side} × {side}")
        cells = Cells(scene.grid.shape, side, step or side)
        digest = digest_of([scene], network.digest, list(cells))
        return cls(scene, out, cells, batch, network.classes, network.student.kind == "many", digest)

    @property
    def name(self) -> str:
        """Of the scene."""
        return self.scene.name

    @property
    def units(self) -> int:
        """Rows of cells."""
        return self.cells.size[0]

    @property
    def folder(self) -> Path:
        """Of the rows of cells that are done."""
        return self.out / f".{self.name}.{self.digest[:12]}.rows"

    def file(self, first: int) -> Path:
        """Of the rows from the first."""
        return self.folder / f"{first}.npz"

    def firsts(self) -> range:
        """The first row of each part."""
        return range(0, self.cells.size[0], TOGETHER)

    def parts(self, split: bool) -> list[Part]:
        """Rows that are not there, some together, whether or not they are for several workers.

        Raises:
            UserError: A map of other weights, scenes or settings is there.
        """
        finished = [is_finished(path, self.digest) for path in self._maps()]
        if all(finished) and self._table().exists():
            return []
        remove_leftovers(self.folder)
        left = [first for first in self.firsts() if not self.file(first).exists()]
        return [Part(0, tuple(range(first, min(first + TOGETHER, self.cells.size[0])))) for first in left]

    def make(self, part: Part, network: Network) -> Iterator[None]:
        """Ask for the cells of some rows, and tell of each.

        Raises:
            UserError: Nothing can be written.
            ValueError: The scene cannot be read.
        """
        shape = (len(part.rows), self.cells.size[1])
        probability, seen = np.zeros((len(self.classes), *shape), np.float32), np.zeros(shape, bool)
        for place, row in enumerate(part.rows):
            self._ask(row, network, probability[:, place], seen[place])
            yield
        with atomic_path(self.file(part.rows[0])) as temporary, temporary.open("wb") as file:
            np.savez(file, probability=probability, seen=seen)

    def _ask(self, row: int, network: Network, probability: np.ndarray, seen: np.ndarray) -> None:
        """Fill in the probabilities (K, columns) of a row, and which cells show enough ground."""
        side, top, columns = self.cells.side, int(self.cells.starts(0)[row]), self.cells.starts(1)
        across = max(1, ROW_BYTES // (side * len(self.scene.bands) * 2 * self.cells.step))  # cells read at a time
        for begin in range(0, len(columns), across):
            some = columns[begin : begin + across]
            left = int(some[0])
            look = self.scene.look(Window(top, left, side, int(some[-1]) + side - left))
            shown = look.seen & look.clear
            for number in range(0, len(some), self.batch):
                part = [(begin + number + i, int(s) - left) for i, s in enumerate(some[number : number + self.batch])]
                part = [(c, s) for c, s in part if shown[:, s : s + side].mean() >= FEWEST]
                if part:
                    index = [c for c, _ in part]
                    probability[:, index] = network(np.stack([look.pixels[..., s : s + side] for _, s in part])).T
                    seen[index] = True

    def finish(self) -> list[Path]:
        """Write the maps and the table; the files."""
        if all(self.file(first).exists() for first in self.firsts()):  # else a worker died when all was written
            self._write()
        shutil.rmtree(self.folder, ignore_errors=True)
        return [*self._maps(), self._table()]

    def _maps(self) -> list[Path]:
        kinds = ("probabilities",) if self.many else ("classes", "confidence")
        return [self.out / f"{self.name}_{kind}.tif" for kind in kinds]

    def _table(self) -> Path:
        return self.out / f"{self.name}_patches.parquet"

    def _write(self) -> None:
        probability, seen = self._read()
        per_cent = cog.per_cent(probability, seen)
        grid, tags = self.cells.grid(self.scene.grid), {DIGEST: self.digest}
        if self.many:
            names = [f"probability of {name} (%)" for name in self.classes]
            shown = [(cog.Layer(names, tags=tags), per_cent)]
        else:
            best = np.where(seen, probability.argmax(0), cog.NODATA).astype(np.uint8)
            shown = [(cog.Layer(["classes"], self.classes, tags), best[None])]
            shown += [(cog.Layer(["confidence"], tags=tags), per_cent.max(0, keepdims=True))]
        for path, (layer, values) in zip(self._maps(), shown, strict=True):
            _write_map(path, grid, layer, values)
        write_table(self._table(), grid, self.classes, probability, seen, self.many)

    def _read(self) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (K, rows, columns), and which cells show enough ground."""
        found = []
        for first in self.firsts():
            with np.load(self.file(first), allow_pickle=False) as rows:
                found.append((rows["probability"], rows["seen"]))
        return np.concatenate([p for p, _ in found], 1), np.concatenate([seen for _, seen in found])


def _write_map(path: Path, grid: Grid, layer: cog.Layer, values: np.ndarray) -> None:
    def fill(raster: Any) -> None:
        raster.write(values)

    cog.write(path, grid, layer, fill)


def write_table(
    path: Path, grid: Grid, classes: Sequence[str], probability: np.ndarray, seen: np.ndarray, many: bool
) -> None:
    """A GeoParquet of the cells that were seen: outline, class, confidence, probability of each class."""
    import geopandas as gpd
    import shapely

    rows, columns = np.nonzero(seen)
    p = probability[:, rows, columns].T
    a, b, c, d, e, f = grid.transform
    corners = [(columns + x, rows + y) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))]
    rings = np.stack([np.stack((a * x + b * y + c, d * x + e * y + f), 1) for x, y in corners], axis=1)
    table = pd.DataFrame({"row": rows, "column": columns})
    if not many:
        table["class"] = np.array(classes, dtype=object)[p.argmax(1)] if len(p) else []
        table["confidence"] = p.max(1) if len(p) else []
    table = table.assign(**{f"p_{name}": p[:, index] for index, name in enumerate(classes)})
    outlines = shapely.polygons(rings) if len(p) else []
    with atomic_path(path) as temporary:
        gpd.GeoDataFrame(table, geometry=outlines, crs=grid.crs).to_parquet(temporary)
