"""A map of patches: a classifier of images asked at every step of a grid over a scene.

Notation: N patches, C bands, K classes, S side of a patch in pixels of the scene.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from wherewhen.files import atomic_path
from wherewhen.ingest.rasters import Grid
from wherewhen.predict import cog
from wherewhen.predict.network import Network
from wherewhen.scenes import Scene, Window

FEWEST = 0.5  # share of a patch that must show ground
ROW_BYTES = 1 << 28  # of pixels read at a time


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


def predict(
    scene: Scene, network: Network, out: Path, step: int | None, batch: int, tell: Callable[[float], None]
) -> list[Path]:
    """Write a map of classes and confidence, or of many labels' probabilities, and a table of the patches; the files.

    Args:
        scene: To look at.
        network: A classifier of images.
        out: Folder.
        step: Side of a cell in pixels; that of a patch by default.
        batch: Patches that the network sees at a time.
        tell: Is told the share that is done.

    Raises:
        UserError: Nothing can be written.
        ValueError: The scene is smaller than a patch, or cannot be read.
    """
    side = network.patch
    if min(scene.grid.shape) < side:
        height, width = scene.grid.shape
        raise ValueError(f"it has {height} × {width} pixels, less than a patch of {side} × {side}")
    cells = Cells(scene.grid.shape, side, step or side)
    probability, seen = asked(scene, cells, network, batch, tell)
    many = network.student.kind == "many"
    grid, start = cells.grid(scene.grid), out / scene.name
    written = []
    if not many:
        maps = np.where(seen, probability.argmax(0), cog.NODATA).astype(np.uint8)[None]
        written.append(_write(start, "classes", grid, cog.Layer(["classes"], network.classes), maps))
        sure = cog.per_cent(probability.max(0), seen)[None]
        written.append(_write(start, "confidence", grid, cog.Layer(["confidence"]), sure))
    else:
        names = [f"probability of {name} (%)" for name in network.classes]
        written.append(_write(start, "probabilities", grid, cog.Layer(names), cog.per_cent(probability, seen)))
    table = start.with_name(f"{scene.name}_patches.parquet")
    write_table(table, grid, network.classes, probability, seen, many)
    return [*written, table]


def _write(start: Path, kind: str, grid: Grid, layer: cog.Layer, values: np.ndarray) -> Path:
    path = start.with_name(f"{start.name}_{kind}.tif")

    def fill(raster: Any) -> None:
        raster.write(values)

    cog.write(path, grid, layer, fill)
    return path


def asked(
    scene: Scene, cells: Cells, network: Network, batch: int, tell: Callable[[float], None]
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (K, rows, columns), and which cells show enough ground."""
    probability = np.zeros((len(network.classes), *cells.size), np.float32)
    seen = np.zeros(cells.size, bool)
    columns = cells.starts(1)
    across = max(1, ROW_BYTES // (cells.side * len(scene.bands) * 2 * cells.step))  # cells of a row read at a time
    for row, top in enumerate(cells.starts(0)):
        for begin in range(0, len(columns), across):
            some = columns[begin : begin + across]
            left = int(some[0])
            look = scene.look(Window(int(top), left, cells.side, int(some[-1]) + cells.side - left))
            shown = look.seen & look.clear
            for number in range(0, len(some), batch):
                part = [(begin + number + i, int(s) - left) for i, s in enumerate(some[number : number + batch])]
                part = [(c, s) for c, s in part if shown[:, s : s + cells.side].mean() >= FEWEST]
                if part:
                    patches = np.stack([look.pixels[..., s : s + cells.side] for _, s in part])
                    index = [c for c, _ in part]
                    probability[:, row, index] = network(patches).T
                    seen[row, index] = True
        tell((row + 1) / cells.size[0])
    return probability, seen


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
