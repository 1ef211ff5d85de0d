"""Generated imagery in the layouts that users have."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import Affine

UTM32, UTM33 = "EPSG:32632", "EPSG:32633"
LEFT, TOP = 500_000.0, 5_300_000.0


def plane(shape: tuple[int, int], start: int = 1000, dtype: str = "uint16") -> np.ndarray:
    """Numbers that grow by 3 a row and 2 a column: bilinear between them is exact."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    numbers = start + 3 * rows + 2 * columns
    return np.asarray(numbers % 251 + 1 if dtype == "uint8" else numbers, dtype)


def write(
    path: Path,
    pixels: np.ndarray,
    *,
    crs: str | None = UTM32,
    side: float = 10.0,
    left: float = LEFT,
    top: float = TOP,
    transform: Affine | None = None,
    names: Sequence[str] = (),
    tags: dict[str, str] | None = None,
    **form: Any,
) -> Path:
    """Write (C, H, W) or (H, W) numbers as a GeoTIFF (or by the suffix) and give its path."""
    pixels = pixels if pixels.ndim == 3 else pixels[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    here = transform or Affine(side, 0, left, 0, -side, top)
    shape = {"count": len(pixels), "height": pixels.shape[1], "width": pixels.shape[2], "dtype": pixels.dtype}
    driver = "JP2OpenJPEG" if path.suffix == ".jp2" else "GTiff"
    exact = {"QUALITY": "100", "REVERSIBLE": "YES"} if path.suffix == ".jp2" else {}
    with rasterio.open(path, "w", driver=driver, crs=crs, transform=here, **shape, **exact, **form) as raster:
        raster.write(pixels)
        for number, name in enumerate(names, 1):
            raster.set_band_description(number, name)
        raster.update_tags(**(tags or {}))
    return path


def write_bands(folder: Path, prefix: str, bands: Mapping[str, tuple[float, int]], shape: tuple[int, int]) -> None:
    """A file a band; each has the side of its pixels and the number it starts from, on `shape` pixels of 10 m."""
    for name, (side, start) in bands.items():
        step = int(side / 10)
        whole = plane(shape, start).astype(float)
        coarse = whole.reshape(shape[0] // step, step, shape[1] // step, step).mean((1, 3))
        write(folder / f"{prefix}{name}.tif", np.asarray(coarse, "uint16"), side=side)


def write_safe(folder: Path, name: str, shape: tuple[int, int] = (60, 48)) -> Path:
    """A Level-2A product: bands at 10 and 20 m as JPEG 2000, and the scene classification."""
    granule = folder / f"{name}.SAFE" / "GRANULE" / "L2A_T32TQM_A1" / "IMG_DATA"
    for band, side in (("B02", 10), ("B02", 20), ("B04", 10), ("B8A", 20), ("SCL", 20)):
        step = side // 10
        pixels = plane((shape[0] // step, shape[1] // step), 1500)
        if band == "SCL":
            pixels = np.full(pixels.shape, 4, "uint8")
            pixels[:5, :6] = 9
        write(granule / f"R{side}m" / f"T32TQM_20220701T101031_{band}_{side}m.jp2", pixels, side=float(side))
    return folder / f"{name}.SAFE"
