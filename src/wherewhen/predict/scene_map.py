"""A map at pixel size from a scene of any size: window by window, strip by strip; a killed run goes on.

Finished strips lie in a hidden folder beside the map until all are there. Its name tells of what they depend on, so
strips of other weights, scenes or settings are never mixed.

Notation: C bands, K classes, h × w pixels of a part of the scene.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wherewhen.errors import UserError
from wherewhen.files import atomic_path, make_folder, remove_leftovers
from wherewhen.ingest.rasters import Grid
from wherewhen.predict import blend, cog
from wherewhen.predict.blend import Strip, Tiling
from wherewhen.predict.network import Network
from wherewhen.scenes import Scene, Window

DIGEST = "wherewhen_digest"  # tag of a finished map
CLASSES, CONFIDENCE, PROBABILITIES = "classes", "confidence", "probabilities"


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


def predict(
    scenes: Sequence[Scene], network: Network, out: Path, settings: Settings, tell: Callable[[float], None]
) -> list[Path]:
    """Write the maps of a scene, or of what changed between two; the files.

    Args:
        scenes: One, or two dates on one grid.
        network: Of labels of pixels, for as many dates.
        out: Folder.
        settings: How to look.
        tell: Is told the share that is done.

    Raises:
        UserError: Windows do not advance, a map of other settings is there, or nothing can be written.
        ValueError: A scene cannot be read.
    """
    scene = scenes[0]
    side = network.side or settings.window
    overlap = settings.overlap if network.side is None else min(settings.overlap, side // 2 - blend.BLEND)
    tiling = Tiling(scene.grid.shape, side, max(overlap, 0), network.align)
    tiling.check()
    digest = digest_of(scenes, network, tiling, settings)
    wanted = files(out, scene.name, settings.probabilities)
    missing = [kind for kind, path in wanted.items() if not is_finished(path, digest)]
    if missing:
        parts = out / f".{scene.name}.{digest[:12]}.strips"
        make_folder(parts)
        remove_leftovers(parts)
        make_strips(scenes, network, tiling, settings, parts, tell)
        for kind in missing:
            write(wanted[kind], kind, scene.grid, network.classes, digest, parts)
        shutil.rmtree(parts)
    tell(1.0)
    return list(wanted.values())


def digest_of(scenes: Sequence[Scene], network: Network, tiling: Tiling, settings: Settings) -> str:
    """SHA-256 of all that a map depends on."""
    layers = [layer for scene in scenes for layer in (*scene.layers, *([scene.mask] if scene.mask else []))]
    seen = [(Path(layer.path).name, layer.index, *changed(layer.path)) for layer in layers]
    value = [network.digest, seen, list(tiling), settings.probabilities]
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
    with rasterio.open(path) as raster:
        if raster.tags().get(DIGEST) != digest:
            raise UserError(
                f"{path} is a map of other weights, scenes or settings; give another --out, or remove that file"
            )
    return True


def make_strips(
    scenes: Sequence[Scene],
    network: Network,
    tiling: Tiling,
    settings: Settings,
    parts: Path,
    tell: Callable[[float], None],
) -> None:
    """Predict every strip that is not in the folder yet."""
    panels = tiling.panels(len(network.classes))
    total, finished = len(panels) * len(tiling.starts(0)), len(list(parts.glob("*.npz")))
    tell(finished / total)

    def read(top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        looks = [scene.look(Window(top, left, height, width)) for scene in scenes]
        shown = np.logical_and.reduce([look.seen & look.clear for look in looks])
        return np.concatenate([look.pixels for look in looks]), shown

    for number, panel in enumerate(panels):
        done = {int(path.stem.split("-")[1]) for path in parts.glob(f"{number}-*.npz")}
        for strip in blend.strips(tiling, panel, len(network.classes), read, network, settings.batch, done):
            save(parts / f"{number}-{strip.number}.npz", strip, settings.probabilities)
            finished += 1
            tell(finished / total)


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

    names = [f"probability of {name} (%)" for name in classes] if kind == PROBABILITIES else [f"{kind}"]
    layer = cog.Layer(names, classes if kind == CLASSES else (), {DIGEST: digest})
    cog.write(path, grid, layer, fill)
