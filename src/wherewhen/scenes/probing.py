"""A first look at a scene: numbers of another unit, nothing but "no data", a file that breaks off."""

import numpy as np

from wherewhen.scenes.scene import Scene, Window, on_grid

_PROBES, _PROBE = 4, 64  # windows a side, and pixels of each, that are looked at before anything long begins
_STRIP = 512  # rows read at a time in search of data
_LARGEST_REFLECTANCE = 10.0  # a float above it is no reflectance


def probe(scene: Scene, physical: bool) -> None:
    """Look at a few windows: numbers of another unit, nothing but "no data", a file that breaks off."""
    parts = np.concatenate([_probed(scene, window) for window in _windows(scene.grid.shape)])
    band, layer = scene.bands[0], scene.layers[0]
    reaches = 255 * layer.scale
    if layer.dtype == "uint8" and band.unit == "reflectance" and reaches < 0.5 and not physical:
        raise ValueError(
            "it holds 8-bit numbers, but digital numbers of reflectance are expected; if it is a picture of 0 to 255, "
            "give --sensor naip, rgb8 or a file of your own with unit 8-bit"
        )
    if band.unit == "8-bit" and layer.dtype != "uint8" and not physical:
        raise ValueError(f"it holds {layer.dtype}, but 8-bit numbers are expected; give the --sensor whose unit it has")
    if not len(parts):
        _search(scene)
    elif band.unit == "reflectance" and (physical or np.dtype(layer.dtype).kind == "f"):
        top = float(np.abs(parts).max())
        if not physical and top <= _LARGEST_REFLECTANCE and layer.scale < 0.01:
            raise ValueError(
                f"it holds floats up to {top:.3g}, which look like reflectance, but digital numbers (reflectance / "
                f"{band.scale:g}) are expected; if they are reflectance, give --physical"
            )
        if physical and top > _LARGEST_REFLECTANCE:
            raise ValueError(f"it holds numbers up to {top:.5g}, which are no reflectance; leave out --physical")


def _windows(shape: tuple[int, int]) -> list[Window]:
    """Windows spread over the scene, corners included."""
    size = [min(_PROBE, length) for length in shape]
    starts = [
        np.unique(np.linspace(0, length - side, _PROBES).astype(int)) for length, side in zip(shape, size, strict=True)
    ]
    return [Window(int(top), int(left), *size) for top in starts[0] for left in starts[1]]


def _probed(scene: Scene, window: Window) -> np.ndarray:
    """Numbers of the first layer in a window, as the file has them, without 0 and "no data"."""
    values, missing = on_grid(scene.layers[0], scene.grid, window)
    found: np.ndarray = values[~missing & (values != 0)]
    return found


def _search(scene: Scene) -> None:
    """Read strip by strip until there is data."""
    height, width = scene.grid.shape
    for top in range(0, height, _STRIP):
        if scene.look(Window(top, 0, min(_STRIP, height - top), width)).seen.any():
            return
    raise ValueError("it has no data anywhere, every pixel is 0 or its nodata value; leave it out, or fetch it again")
