"""GID-15: scenes of Gaofen-2 over China, 7200 × 6800 pixels of 4 m, with fifteen land covers as colours.

Layout: `image_RGB/SCENE.tif` or `image_NirRGB/SCENE.tif`, and `label_15classes/SCENE_label.tif` (colours) or
`SCENE_15label.png` (one band: 0 unlabelled, then the classes from 1). A scene is read window by window.
`docs/datasets.md` says what becomes of it.

Notation: C bands, S × S pixels of a window.

Source: Tong et al., Land-Cover Classification with High-Resolution Remote Sensing Images Using Transferable Deep
Models, 2020.
"""

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from wherewhen.bands import load_sensor
from wherewhen.engines import Workers
from wherewhen.errors import UserError, note
from wherewhen.files import sha256_of
from wherewhen.ingest.archive import names_in
from wherewhen.ingest.engine import Shard, build
from wherewhen.ingest.rasters import check_tiling, need_rasterio, readable, tiles
from wherewhen.maps import UNKNOWN
from wherewhen.patch_lists import read_split
from wherewhen.splits import rank
from wherewhen.store import PatchStore
from wherewhen.store_header import StoreHeader

Bands = Literal["rgb", "nirrgb"]

# Black is unlabelled. Colours as in the data set's own table, in the order in which it lists the classes.
COLOURS = {
    "industrial land": (200, 0, 0),
    "urban residential": (250, 0, 150),
    "rural residential": (200, 150, 150),
    "traffic land": (250, 150, 150),
    "paddy field": (0, 200, 0),
    "irrigated land": (150, 250, 0),
    "dry cropland": (150, 200, 150),
    "garden plot": (200, 0, 200),
    "arbor woodland": (150, 0, 250),
    "shrub land": (150, 150, 250),
    "natural grassland": (250, 200, 0),
    "artificial grassland": (200, 200, 0),
    "river": (0, 0, 200),
    "lake": (0, 150, 200),
    "pond": (0, 200, 250),
}
BANDS: dict[str, tuple[str, ...]] = {"rgb": ("red", "green", "blue"), "nirrgb": ("nir", "red", "green", "blue")}

_PALETTE = np.array([(0, 0, 0), *COLOURS.values()], np.int32)  # stored value of the one-band form -> colour
_INDEX = np.array([UNKNOWN, *range(len(COLOURS))], np.uint8)  # … -> class
_TRAIN, _SPLIT_SEED = 0.8, 0
_SHARD_BYTES = 2**26
_CACHE = 64  # MB of a scene that GDAL keeps: a row of windows needs 10


def prepare(
    source: Path,
    out: Path,
    *,
    bands: Bands = "rgb",
    size: int = 224,
    stride: int | None = None,
    split: Path | None = None,
    on_error: str = "stop",
    workers: Workers = 1,
) -> PatchStore:
    """Turn GID-15 into a PatchStore: windows with masks; place and time are not published, so they stay unknown.

    Args:
        source: The unpacked folder, at any depth.
        out: A new or empty folder, or an unfinished store of the same command.
        bands: `rgb`, or `nirrgb` (near infrared before red, green, blue).
        size: Pixels of a window's side.
        stride: From window to window, `size` by default.
        split: Which scenes are for training and which for the test, see `wherewhen.patch_lists.read_split`; by default
            four in five for training, by a hash of their names. Scenes without labels are for training.
        on_error: `stop` at the first bad scene or window, or `skip` each and list them at the end.
        workers: Processes, or an engine.

    Raises:
        UserError: An option, a file or the output is wrong; the message says what to do.
    """
    stride, source = check_tiling(size, stride), Path(source)
    need_rasterio()
    scenes = find(source, bands)
    parts = _split(scenes, split)
    plan = pd.concat([_plan(source, row, size, stride) for row in parts.to_dict("records")], ignore_index=True)
    bad = plan[plan["problem"] != ""]
    if len(bad) and on_error != "skip":
        raise _bad(source, bad["problem"].iloc[0])
    header = StoreHeader(
        bands=load_sensor("gaofen2_8bit").select(BANDS[bands]),
        classes=tuple(COLOURS),
        pixel_size=4.0,
        provenance=(
            f"GID-15 (Tong et al., 2020) from {source.name}: {len(scenes)} scenes; windows of {size} × {size} every "
            f"{stride} pixels; split by scene, "
            + ("by hash" if split is None else f"from {split.name}, sha256 {sha256_of(split)}")
        ),
        licence="unknown: see the data set's site",
    )
    return build(
        out, plan, _Make(source, len(BANDS[bands]), size, on_error == "skip"), header,
        shard_size=max(1, _SHARD_BYTES // (len(BANDS[bands]) * size**2)), workers=workers, title="GID-15",
    )  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `wherewhen prepare gid15` takes."""
    parser.add_argument("source", type=Path, help="folder of image_RGB or image_NirRGB, and label_15classes")
    parser.add_argument("out", type=Path, help="folder of the new store")
    parser.add_argument("--bands", choices=tuple(BANDS), default="rgb", help="(default rgb)")
    parser.add_argument("--size", type=int, default=224, metavar="PX", help="side of a window (default 224)")
    parser.add_argument("--stride", type=int, metavar="PX", help="from window to window (default: --size)")
    parser.add_argument(
        "--split", type=Path, metavar="FILE", help="scenes for training, the rest is the test; or a table with a split"
    )
    parser.add_argument(
        "--on-error", choices=("stop", "skip"), default="stop", help="at a bad scene: stop (default), or skip and list"
    )


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    names = ("bands", "size", "stride", "split", "on_error", "workers")
    prepare(args.source, args.out, **{name: getattr(args, name) for name in names})


# -- the plan -------------------------------------------------------------------------------------


def find(source: Path, bands: Bands) -> pd.DataFrame:
    """The scenes, by name: `scene`, `source` (its image) and `annotation` (empty where there is none), relative.

    Raises:
        UserError: There is none, or one is there twice.
    """
    if not source.is_dir():
        raise UserError(f"{source} is no folder; unpack the archive and give the folder of images and labels")
    rows: dict[str, list[dict[str, str]]] = {"image": [], "label": []}
    for name in sorted(names_in(source)):
        path = Path(name)
        if path.suffix.lower() not in (".tif", ".tiff", ".png"):
            continue
        scene, is_label = re.subn(r"_(?:15)?label$", "", path.stem)
        folder = path.parent.as_posix().lower()
        if is_label or "label" in folder:
            rows["label"].append({"scene": scene, "annotation": name})
        elif ("nirrgb" in folder) == (bands == "nirrgb"):
            rows["image"].append({"scene": scene, "source": name})
    for kind, found in rows.items():
        names = pd.Series([row["scene"] for row in found], dtype=object)
        if (twice := names.duplicated()).any():
            raise UserError(f"{source} has more than one {kind} of scene {names[twice].iloc[0]!r}; remove the copies")
    if not rows["image"]:
        folder = {"rgb": "image_RGB", "nirrgb": "image_NirRGB"}[bands]
        raise UserError(f"{source} holds no {folder}/SCENE.tif for --bands {bands}; give the unpacked folder")
    labels = pd.DataFrame(rows["label"], columns=["scene", "annotation"])
    scenes = pd.DataFrame(rows["image"]).merge(labels, on="scene", how="left").fillna({"annotation": ""})
    if bare := int((scenes["annotation"] == "").sum()):
        note(f"{bare} of {len(scenes)} scenes have no labels; they are for pre-training only")
    return scenes.sort_values("scene", ignore_index=True)


def _split(scenes: pd.DataFrame, path: Path | None) -> pd.DataFrame:
    names = scenes["scene"].tolist()
    if path is None:
        parts = np.where(rank(names, _SPLIT_SEED) / 2.0**64 < _TRAIN, "train", "test").astype(object)
    else:
        parts = read_split(path, names)
    parts[(scenes["annotation"] == "").to_numpy()] = "train"
    return scenes.assign(split=parts)


def _plan(source: Path, scene: dict[Any, Any], size: int, stride: int) -> pd.DataFrame:
    """A row a window; a scene that cannot be opened is one row that says why."""
    try:
        with _opened(source, scene["source"], scene["annotation"]) as (image, _):
            windows = tiles((image.height, image.width), size, stride)
    except ValueError as error:
        return pd.DataFrame([scene | {"id": scene["scene"], "problem": f"{scene['source']}: {error}"}])
    names = [f"{scene['scene']}-r{tile.top:05d}-c{tile.left:05d}" for tile in windows]
    return pd.DataFrame(windows).assign(**scene, id=names, problem="")


@contextmanager
def _opened(source: Path, image: str, label: str) -> Iterator[tuple[Any, Any]]:
    """Both rasters of a scene; None for the labels of one that has none.

    Raises:
        ValueError: One cannot be opened, or they differ in size.
    """
    import rasterio

    with readable(), rasterio.Env(GDAL_CACHEMAX=_CACHE), rasterio.open(source / image) as pixels:
        if not label:
            yield pixels, None
            return
        with rasterio.open(source / label) as colours:
            if colours.shape != pixels.shape:
                raise ValueError(f"it has {pixels.shape} pixels, but {label} has {colours.shape}")
            yield pixels, colours


# -- the windows ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Make:
    """Reads the windows of one slice of the plan; a bad one stops it, or is skipped."""

    source: Path
    bands: int
    size: int
    skip: bool

    def __call__(self, plan: pd.DataFrame) -> Shard:
        pixels = np.empty((len(plan), self.bands, self.size, self.size), np.uint8)
        masks = np.full((len(plan), self.size, self.size), UNKNOWN, np.uint8)
        bad = plan[plan["problem"] != ""]
        skipped = list(zip(bad["id"], bad["problem"], strict=True))
        kept: list[str] = []
        for (image, label), rows in plan[plan["problem"] == ""].groupby(["source", "annotation"], sort=False):
            with _opened(self.source, str(image), str(label)) as (scene, colours):
                for row in rows.to_dict("records"):
                    try:
                        self._read(row, scene, colours, pixels[len(kept)], masks[len(kept)])
                        kept.append(row["id"])
                    except ValueError as error:
                        if not self.skip:
                            raise _bad(self.source, str(error)) from error
                        skipped.append((row["id"], str(error)))
        return Shard(plan[plan["id"].isin(kept)], pixels[: len(kept)], masks[: len(kept)], skipped)

    def _read(self, row: dict[Any, Any], scene: Any, colours: Any, pixels: np.ndarray, mask: np.ndarray) -> None:
        """Fill `pixels` (C, S, S) and `mask` (S, S) with one window."""
        top, left = int(row["top"]), int(row["left"])
        pixels[:] = _window(scene, row["source"], (self.bands,), top, left, self.size)
        mask[:] = UNKNOWN
        if colours is None:
            return
        stored = _window(colours, row["annotation"], (1, 3), top, left, self.size)
        fresh = np.s_[int(row["fresh_top"]) - top :, int(row["fresh_left"]) - left :]
        try:
            mask[fresh] = classes_of(stored)[fresh]
        except _ColourError as error:
            at = f"row {top + error.row}, column {left + error.column}"
            raise ValueError(
                f"{row['annotation']}: {error} at {at} is none of GID-15's {len(COLOURS)} classes"
            ) from error


def _window(raster: Any, name: str, counts: tuple[int, ...], top: int, left: int, size: int) -> np.ndarray:
    """A window (C, S, S) of a raster of 8 bits."""
    from rasterio.windows import Window

    if raster.count not in counts or raster.dtypes[0] != "uint8":
        wanted = " or ".join(map(str, counts))
        raise ValueError(f"{name}: it has {raster.count} bands of {raster.dtypes[0]}, not {wanted} of uint8")
    try:
        with readable():
            window: np.ndarray = raster.read(window=Window(left, top, size, size))
    except ValueError as error:
        raise ValueError(f"{name}: rows {top} to {top + size - 1}: {error}") from error
    return window


class _ColourError(ValueError):
    """A colour of no class, and where in the window it first comes."""

    def __init__(self, colour: tuple[int, ...], row: int, column: int) -> None:
        super().__init__(f"colour {colour}" if len(colour) > 1 else f"value {colour[0]}")
        self.row, self.column = row, column


def classes_of(stored: np.ndarray) -> np.ndarray:
    """Class indices (S, S) uint8, 255 unlabelled.

    Args:
        stored: Colours (3, S, S), or one band (1, S, S) that holds 0 for unlabelled, then the classes from 1.

    Raises:
        ValueError: A colour belongs to no class; the message holds the first, row by row.
    """
    codes, palette = stored[0].astype(np.int32), np.arange(len(_INDEX))
    if len(stored) == 3:
        codes, palette = _code(stored.astype(np.int32)), _code(_PALETTE.T)
    order = np.argsort(palette)
    found = order[np.searchsorted(palette, codes, sorter=order).clip(max=len(palette) - 1)]
    if (wrong := palette[found] != codes).any():
        row, column = np.argwhere(wrong)[0].tolist()
        raise _ColourError(tuple(stored[:, row, column].tolist()), row, column)
    classes: np.ndarray = _INDEX[found]
    return classes


def _code(colour: np.ndarray) -> np.ndarray:
    """Red, green and blue (3, …) as one number."""
    code: np.ndarray = (colour[0] << 16) | (colour[1] << 8) | colour[2]
    return code


def _bad(source: Path, problem: str) -> UserError:
    return UserError(f"{source}: {problem}; mend it, or leave out whatever is bad with --on-error skip")
