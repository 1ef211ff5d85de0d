"""Cloud Optimized GeoTIFFs of classes and of shares in per cent.

Notation: K classes, B bands, H × W pixels.
"""

import colorsys
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wherewhen.files import atomic_path
from wherewhen.ingest.rasters import Grid

NODATA = 255  # of classes and of per cent
BLOCK = 512
# how maps show land, by the beginnings of words in class names
CUSTOM = (
    ("wetland|marsh|swamp|bog|peat", (110, 160, 170)),
    ("water|sea|lake|river|ocean|lagoon|estuar", (70, 130, 200)),
    ("snow|ice|glacier", (225, 240, 250)),
    ("forest|tree|wood", (40, 120, 60)),
    ("shrub|heath|moor|bush", (165, 150, 90)),
    ("grass|pasture|meadow|herb", (155, 205, 100)),
    ("crop|field|arable|agri|orchard|vineyard|plantation", (235, 195, 95)),
    ("built|urban|resident|industr|city|town|house|building|road|highway", (205, 80, 75)),
    ("bare|sand|rock|soil|desert|beach|quarry|mine", (195, 175, 150)),
)
_SHADES = 5  # of a colour, each darker than the one before


class Layer(NamedTuple):
    """What a map shows.

    Args:
        names: Of the B bands.
        classes: Names by class index, of a map of classes; empty for per cent.
        tags: More that a reader should know.
    """

    names: Sequence[str]
    classes: Sequence[str] = ()
    tags: dict[str, str] = {}  # noqa: RUF012  (never changed)


def per_cent(share: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Shares in [0, 1] (…, h, w) -> whole per cent uint8, `NODATA` where nothing is seen (h, w)."""
    rounded: np.ndarray = np.where(seen, np.rint(100 * share), NODATA).astype(np.uint8)
    return rounded


def colour_table(classes: Sequence[str]) -> dict[int, tuple[int, int, int, int]]:
    """A colour for each class, all different; nodata is transparent.

    A name with a word of `CUSTOM` has the colour that maps give such land, a darker one where another class has it.
    Others get hues far apart.
    """
    table = {NODATA: (0, 0, 0, 0)}
    uses = Counter[tuple[int, int, int]]()
    for index, name in enumerate(classes):
        custom = next((colour for words, colour in CUSTOM if re.search(rf"\b({words})", name.lower())), None)
        if custom is None or uses[custom] == _SHADES:
            colour = _far_apart(index)
        else:
            red, green, blue = (round(part * 0.8 ** uses[custom]) for part in custom)
            colour = red, green, blue
            uses[custom] += 1
        table[index] = (*colour, 255)
    return table


def _far_apart(index: int) -> tuple[int, int, int]:
    hue, level = (index * 0.61803398875) % 1, (0.85, 0.6)[index // 7 % 2]  # the golden ratio spreads hues
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.65, level)
    return round(255 * red), round(255 * green), round(255 * blue)


def write(path: Path, grid: Grid, layer: Layer, fill: Callable[[Any], None]) -> None:
    """Write a Cloud Optimized GeoTIFF of uint8, whole or not at all.

    Args:
        path: The file.
        grid: Where its pixels lie; system and transform are kept to the bit.
        layer: What it shows.
        fill: Writes into an open dataset of the same size, by windows.

    Raises:
        UserError: It cannot be written there.
    """
    import rasterio
    from rasterio.shutil import copy

    height, width = grid.shape
    profile = {"driver": "GTiff", "dtype": "uint8", "count": len(layer.names), "height": height, "width": width}
    profile |= {"crs": grid.crs, "transform": rasterio.Affine(*grid.transform), "nodata": NODATA}
    tiled = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate", "bigtiff": "if_safer"}
    with atomic_path(path) as temporary, rasterio.Env(GDAL_CACHEMAX=128):
        plain = temporary.with_name(f"{temporary.name}.tif.part")
        try:
            with rasterio.open(plain, "w", **profile, **tiled) as raster:
                fill(raster)
                for number, name in enumerate(layer.names, 1):
                    raster.set_band_description(number, name)
                if layer.classes:
                    raster.write_colormap(1, colour_table(layer.classes))
                raster.update_tags(**layer.tags, **class_tags(layer.classes))
            overviews = "NEAREST" if layer.classes else "AVERAGE"
            copy(plain, temporary, driver="COG", COMPRESS="DEFLATE", BLOCKSIZE=BLOCK, OVERVIEW_RESAMPLING=overviews)
        finally:
            plain.unlink(missing_ok=True)


def class_tags(classes: Sequence[str]) -> dict[str, str]:
    """`CLASS_0=…` for people, and all of them as JSON for programs."""
    if not classes:
        return {}
    named = {f"CLASS_{index}": name for index, name in enumerate(classes)}
    return named | {"classes": json.dumps(list(classes), ensure_ascii=False)}
