"""Where the patches of a scene lie, and which labels each of them shows.

Everything is counted in pixels of the scene: a point becomes the square of pixels around it, a polygon keeps its shape,
and both are cut to the patch. What is burnt into a patch's mask is text in the plan (`CODE:WKB;…`), so that a mask is a
function of its row.

Notation: N labels, S × S pixels of a patch.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from wherewhen.ingest.labels import Labels
from wherewhen.ingest.rasters import Grid, tiles
from wherewhen.maps import UNKNOWN
from wherewhen.scenes import Scene

COLUMNS = ("id", "place", "source", "top", "left", "lat", "lon", "time", "label", "burn")


class Touching(NamedTuple):
    """Labels that touch a grid: their rows, and their geometries as columns and rows of it."""

    rows: np.ndarray
    shapes: np.ndarray


def in_pixels(labels: Labels, grid: Grid) -> Touching:
    """Labels in the pixels of a grid, cut to it; one that only touches its edge has no pixel there."""
    import shapely

    a, _, c, _, e, f = grid.transform
    projected = labels.frame.geometry.to_crs(grid.crs).to_numpy()
    rows = np.flatnonzero(np.isfinite(shapely.bounds(projected)).all(axis=1))
    shapes = shapely.transform(projected[rows], lambda xy: (xy - (c, f)) / (a, e))
    height, width = grid.shape
    pixels = shapely.box(0, 0, np.nextafter(width, 0), np.nextafter(height, 0))  # the last edges are the next scene's
    cut = shapely.intersection(shapes, pixels)
    inside = ~shapely.is_empty(cut) & (shapely.get_dimensions(cut) == shapely.get_dimensions(shapes))
    return Touching(rows[inside], cut[inside])


def map_patches(scene: Scene, labels: Labels, touching: Touching, size: int, point_pixels: int) -> pd.DataFrame:
    """Patches on a grid over the scene that show labels, each label pixel in one of them.

    `label` is the class of the largest part of the labels of a patch: by it the patches are split.
    """
    import shapely

    shapes = np.array([_burnable(shape, point_pixels) for shape in touching.shapes], object)
    windows = tiles(scene.grid.shape, size, size)
    boxes = np.array([shapely.box(w.fresh_left, w.fresh_top, w.left + size, w.top + size) for w in windows], object)
    where, which = shapely.STRtree(shapes).query(boxes, predicate="intersects")
    parts = shapely.intersection(boxes[where], shapes[which])
    area = shapely.area(parts)
    where, which, parts, area = (values[area > 0] for values in (where, which, parts, area))
    codes, times = (labels.frame[name].to_numpy()[touching.rows[which]] for name in ("code", "time"))
    texts = [f"{code}:{text}" for code, text in zip(codes, shapely.to_wkb(parts, hex=True), strict=True)]
    order = np.argsort(where, kind="stable")
    found, starts = np.unique(where[order], return_index=True)
    mine = np.split(order, starts[1:]) if len(found) else []
    return _rows(
        scene,
        [windows[tile].top for tile in found],
        [windows[tile].left for tile in found],
        size,
        label=[int(np.bincount(codes[some], weights=area[some]).argmax()) for some in mine],
        burn=[";".join(texts[label] for label in some) for some in mine],
        time=[pd.Series(times[some]).min() for some in mine],
    )


def label_patches(scene: Scene, labels: Labels, touching: Touching, size: int) -> pd.DataFrame:
    """A patch a label with it in the middle; at the edge of the scene it is moved inwards."""
    import shapely

    points = shapely.point_on_surface(touching.shapes)
    height, width = scene.grid.shape
    tops = (np.floor(shapely.get_y(points)) - size // 2).clip(0, height - size).astype(int)
    lefts = (np.floor(shapely.get_x(points)) - size // 2).clip(0, width - size).astype(int)
    found = labels.frame.iloc[touching.rows]
    patches = _rows(scene, tops, lefts, size, label=found["code"].tolist(), burn="", time=found["time"].tolist())
    names = found["id"].to_numpy()
    return patches.assign(id=[f"{scene.name}-{name}" for name in names], place=names)


def grid_patches(scene: Scene, size: int) -> pd.DataFrame:
    """All patches on the grid of `map_patches`, without labels."""
    windows = tiles(scene.grid.shape, size, size)
    return _rows(scene, [w.top for w in windows], [w.left for w in windows], size, label=-1, burn="", time=pd.NaT)


def overlapping(plan: pd.DataFrame, others: pd.DataFrame, size: int) -> np.ndarray:
    """Mask (N,) of the patches that share a pixel with one of `others`, as the last of a row or column may."""
    import shapely

    found = np.zeros(len(plan), bool)
    for source, there in others.groupby("source"):
        here = np.flatnonzero(plan["source"] == source)
        tree, boxes = shapely.STRtree(_inner(there, size)), _inner(plan.iloc[here], size)
        found[here[np.unique(tree.query(boxes, predicate="intersects")[0])]] = True
    return found


def _inner(plan: pd.DataFrame, size: int) -> np.ndarray:
    """Outlines from the middle of the first pixel to that of the last: two meet where patches share a pixel."""
    import shapely

    left, top = plan["left"].to_numpy() + 0.5, plan["top"].to_numpy() + 0.5
    boxes: np.ndarray = shapely.box(left, top, left + size - 1, top + size - 1)
    return boxes


def _rows(scene: Scene, tops: Any, lefts: Any, size: int, **columns: Any) -> pd.DataFrame:
    """Rows of a plan; a patch without a time of its own has the scene's."""
    from rasterio.warp import transform

    tops, lefts = np.asarray(tops, int), np.asarray(lefts, int)
    a, _, c, _, e, f = scene.grid.transform
    middle = (c + a * (lefts + size / 2), f + e * (tops + size / 2))
    lon, lat = transform(scene.grid.crs, "EPSG:4326", *middle) if len(tops) else ([], [])
    frame = pd.DataFrame({"top": tops, "left": lefts, "lat": lat, "lon": lon, "source": scene.name, **columns})
    time = pd.to_datetime(frame["time"], utc=True)
    frame["time"] = time if scene.time is None else time.fillna(pd.Timestamp(scene.time))
    frame["id"] = [f"{scene.name}-r{top:05d}-c{left:05d}" for top, left in zip(tops, lefts, strict=True)]
    frame["place"] = [f"{y:.5f},{x:.5f}" for y, x in zip(lat, lon, strict=True)]
    return frame[list(COLUMNS)]


def _burnable(shape: Any, point_pixels: int) -> Any:
    """The pixels around points, a polygon as it is, or the one pixel that a smaller polygon lies in."""
    import shapely

    if shape.geom_type in ("Point", "MultiPoint"):
        return shapely.union_all([_square(point, point_pixels) for point in shapely.get_parts(shape)])
    return shape if shape.area >= 1 else _square(shape.representative_point(), 1)


def _square(point: Any, pixels: int) -> Any:
    import shapely

    left, top = (np.floor(value) - (pixels - 1) // 2 for value in (point.x, point.y))
    return shapely.box(left, top, left + pixels, top + pixels)


def burnt(text: str, top: int, left: int, size: int) -> np.ndarray:
    """The mask (S, S) uint8 that a plan's `burn` means: 255 where nothing is known, or two classes are claimed."""
    import shapely
    from rasterio.features import rasterize
    from rasterio.transform import Affine

    mask = np.full((size, size), UNKNOWN, np.uint8)
    twice = np.zeros((size, size), bool)
    for code, shapes in _by_code(text.split(";") if text else ()).items():
        drawn = rasterize(
            shapely.from_wkb(shapes), (size, size), transform=Affine.translation(left, top), dtype="uint8"
        )
        twice |= (drawn == 1) & (mask != UNKNOWN)
        mask[drawn == 1] = code
    mask[twice] = UNKNOWN
    return mask


def _by_code(parts: Iterable[str]) -> dict[int, list[str]]:
    shapes: dict[int, list[str]] = {}
    for part in parts:
        code, shape = part.split(":")
        shapes.setdefault(int(code), []).append(shape)
    return shapes
