"""Maps and points made for the tests."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from rasterio import Affine

UTM = ("EPSG:32633", (30.0, 0.0, 400_000.0, 0.0, -30.0, 5_600_000.0))
DEGREES = ("EPSG:4326", (0.05, 0.0, -10.0, 0.0, -0.05, 68.0))
CLASSES = ("water", "forest", "field")


def write_map(
    path: Path,
    values: np.ndarray,
    system: tuple[str, tuple[float, ...]] = UTM,
    classes: Sequence[str] | None = CLASSES,
    nodata: int | None = 255,
    tags: dict[str, str] | None = None,
) -> Path:
    """A GeoTIFF of `values` (H, W) with class names in the JSON tag."""
    crs, transform = system
    form = {"driver": "GTiff", "count": 1, "dtype": values.dtype, "compress": "deflate", "nodata": nodata}
    size = {"height": values.shape[0], "width": values.shape[1]}
    with rasterio.open(path, "w", crs=crs or None, transform=Affine(*transform), **form, **size) as raster:
        raster.write(values, 1)
        raster.update_tags(**({} if classes is None else {"classes": json.dumps(list(classes))}), **(tags or {}))
    return path


def patches(shape: tuple[int, int], shares: Sequence[float], seed: int = 0) -> np.ndarray:
    """(H, W) uint8: blocks of 8 × 8 pixels, each of one class, drawn with these shares."""
    blocks = np.random.default_rng(seed).choice(len(shares), [-(-side // 8) for side in shape], p=shares)
    return np.kron(blocks, np.ones((8, 8), int))[: shape[0], : shape[1]].astype(np.uint8)


def frame(
    x: np.ndarray, y: np.ndarray, names: Sequence[str | None], strata: Sequence[str | None] | None = None
) -> pd.DataFrame:
    """Points as `read_points` gives them."""
    columns = {"point": [str(i) for i in range(1, len(x) + 1)], "x": x, "y": y}
    found = pd.DataFrame({**columns, "name": pd.Series(list(names), dtype=object)})
    return found.assign(stratum=pd.Series([None] * len(x) if strata is None else list(strata), dtype=object))
