"""A map at pixel size from a scene of any size: window by window, strip by strip; a killed run goes on.

Finished strips lie in a hidden folder beside the map until all are there. Its name tells of what they depend on, so
strips of other weights, scenes or settings are never mixed.

Notation: C bands, K classes, h × w pixels of a part of the scene.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wherewhen.errors import UserError
from wherewhen.files import atomic_path, remove_leftovers
from wherewhen.ingest.rasters import Grid, readable
from wherewhen.predict import blend, cog
from wherewhen.predict.blend import Strip, Tiling
from wherewhen.predict.making import Part
from wherewhen.predict.network import Network
from wherewhen.scenes import Scene, Window

DIGEST = "wherewhen_digest"  # tag of a finished map
CLASSES, CONFIDENCE, PROBABILITIES = "classes", "confidence", "probabilities"
TOGETHER = 8  # strips of a part, where several work: the windows above are asked again for each part


@dataclass(frozen=True)
class Settings:
    """How a scene is looked at.

    Args:
        window: Side of a window in pixels.
        overlap: Context of a window in pixels, of both sides together.
        batch: Windows that the network sees at a time.
        probabilities: Write the probability of every class, too.
    """

    window: int = 512
    overlap: int = 128
    batch: int = 1
    probabilities: bool = False


def files(out: Path, name: str, probabilities: bool) -> dict[str, Path]:
    """What becomes of a scene: kind of map -> file."""
    kinds = (CLASSES, CONFIDENCE, *([PROBABILITIES] if probabilities else []))
    return {kind: out / f"{name}_{kind}.tif" for kind in kinds}


@dataclass(frozen=True)
class SceneMap:
    """The maps of a scene, or of what changed between two; see `wherewhen.predict.making.Map`.

    Args:
        scenes: One, or two dates on one grid.
        out: Folder.
        settings: How to look.
        tiling: Windows of the scene.
        classes: K names.
        digest: Of all that the maps depend on.
    """

    scenes: tuple[Scene, ...]
    out: Path
    settings: Settings
    tiling: Tiling
    classes: tuple[str, ...]
    digest: str

    @classmethod
    def of(cls, scenes: Sequence[Scene], network: Network, out: Path, settings: Settings) -> "SceneMap":
        """What a network of labels of pixels, for as many dates, would give.

        Raises:
            UserError: Windows do not advance.
        """
        side = network.side or settings.window
        overlap = settings.overlap if network.side is None else min(settings.overlap, side // 2 - blend.BLEND)
        tiling = Tiling(scenes[0].grid.shape, side, max(overlap, 0), network.align)
        tiling.check()
        digest = digest_of(scenes, network.digest, list(tiling), settings.probabilities)
        return cls(tuple(scenes), out, settings, tiling, network.classes, digest)

    @property
    def name(self) -> str:
        """Of the scene."""
        return self.scenes[0].name

    @property
    def units(self) -> int:
        """Strips."""
        return len(self.tiling.panels(len(self.classes))) * len(self.tiling.starts(0))

    @property
    def folder(self) -> Path:
        """Of the strips."""
        return self.out / f".{self.name}.{self.digest[:12]}.strips"

    def missing(self) -> dict[str, Path]:
        """Maps that are not there yet: kind -> file.

        Raises:
            UserError: A map of other settings is.
        """
        wanted = files(self.out, self.name, self.settings.probabilities)
        return {kind: path for kind, path in wanted.items() if not is_finished(path, self.digest)}

    def parts(self, split: bool) -> list[Part]:
        """Strips that are not there, a few of a panel together, or all where it need not be split."""
        if not self.missing():
            return []
        remove_leftovers(self.folder)
        rows = range(len(self.tiling.starts(0)))
        found = []
        for panel in range(len(self.tiling.panels(len(self.classes)))):
            for first in range(0, len(rows), TOGETHER if split else len(rows)):
                some = rows[first : first + TOGETHER] if split else rows
                left = tuple(row for row in some if not self.strip(panel, row).exists())
                found += [Part(panel, left)] if left else []
        return found

    def strip(self, panel: int, row: int) -> Path:
        """Its file."""
        return self.folder / f"{panel}-{row}.npz"

    def make(self, part: Part, network: Network) -> Iterator[None]:
        """Predict the strips of a part, and tell of each; those that a killed worker left are taken.

        Raises:
            UserError: Nothing can be written.
            ValueError: A scene cannot be read.
        """
        wanted = [row for row in part.rows if not self.strip(part.panel, row).exists()]
        yield from [None] * (len(part.rows) - len(wanted))
        panel, classes = self.tiling.panels(len(self.classes))[part.panel], len(self.classes)
        done = set(range(len(self.tiling.starts(0)))) - set(wanted)
        for strip in blend.strips(self.tiling, panel, classes, self._read, network, self.settings.batch, done):
            save(self.strip(part.panel, strip.number), strip, self.settings.probabilities)
            yield

    def _read(self, top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        looks = [scene.look(Window(top, left, height, width)) for scene in self.scenes]
        shown = np.logical_and.reduce([look.seen & look.clear for look in looks])
        return np.concatenate([look.pixels for look in looks]), shown

    def finish(self) -> list[Path]:
        """Put the maps together from their strips; the files."""
        for kind, path in self.missing().items():
            write(path, kind, self.scenes[0].grid, self.classes, self.digest, self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        return list(files(self.out, self.name, self.settings.probabilities).values())


def digest_of(scenes: Sequence[Scene], network: str, *more: Any) -> str:
    """SHA-256 of all that a map depends on: scenes, the network's digest, and what else there is."""
    layers = [layer for scene in scenes for layer in (*scene.layers, *([scene.mask] if scene.mask else []))]
    seen = [(Path(one.path).name, one.index, one.nodata, one.scale, one.offset, *changed(one.path)) for one in layers]
    value = [network, seen, [scene.mask_kind for scene in scenes], *more]
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def changed(path: str) -> tuple[int, int]:
    """Size and time of the last change of a file; zeros for what is no plain file."""
    file = Path(path)
    if not file.is_file():
        return 0, 0
    about = file.stat()
    return about.st_size, about.st_mtime_ns


def is_finished(path: Path, digest: str) -> bool:
    """Whether a map is there.

    Raises:
        UserError: One of other weights, scenes or settings is.
    """
    import rasterio

    if not path.exists():
        return False
    try:
        with readable(), rasterio.open(path) as raster:
            found = raster.tags().get(DIGEST)
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {error}; give another --out, or remove that file") from error
    if found != digest:
        raise UserError(
            f"{path} is a map of other weights, scenes or settings; give another --out, or remove that file"
        )
    return True


def save(path: Path, strip: Strip, probabilities: bool) -> None:
    """Keep a strip: classes, confidence, and by choice all probabilities."""
    p, seen = strip.probability, strip.seen
    kept = {
        "where": np.array([strip.top, strip.left]),
        CLASSES: np.where(seen, p.argmax(0), cog.NODATA).astype(np.uint8)[None],
        CONFIDENCE: cog.per_cent(p.max(0), seen)[None],
    }
    if probabilities:
        kept[PROBABILITIES] = cog.per_cent(p, seen)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **kept)  # type: ignore[arg-type]


def write(path: Path, kind: str, grid: Grid, classes: Sequence[str], digest: str, parts: Path) -> None:
    """Put a map together from its strips."""
    from rasterio.windows import Window as Part

    def fill(raster: Any) -> None:
        for file in sorted(parts.glob("*.npz")):
            with np.load(file, allow_pickle=False) as strip:
                (top, left), values = strip["where"].tolist(), strip[kind]
            raster.write(values, window=Part(left, top, values.shape[2], values.shape[1]))

    names = [f"probability of {name} (%)" for name in classes] if kind == PROBABILITIES else [kind]
    layer = cog.Layer(names, classes if kind == CLASSES else (), {DIGEST: digest})
    cog.write(path, grid, layer, fill)
