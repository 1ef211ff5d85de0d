"""EuroSAT: 27,000 patches of ten land covers, as RGB pictures or as 13-band GeoTIFFs.

Layout, in a folder or a zip, perhaps inside one more folder: `CLASS/CLASS_n.jpg` or `CLASS/CLASS_n.tif`.
The pictures carry no place (a table gives it); the GeoTIFFs do. Neither carries a date, so `time` stays null.
Tables and lists that others published can be used as they are: docs/label_sets.md.

Source: Helber et al., EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use and Land Cover
Classification, 2019.
"""

import argparse
import io
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image

from wherewhen.bands import load_sensor
from wherewhen.engines import Workers
from wherewhen.errors import UserError, note
from wherewhen.files import sha256_of
from wherewhen.ingest.archive import UNREADABLE, names_in, opened
from wherewhen.ingest.engine import Shard, build
from wherewhen.ingest.locations import read_locations
from wherewhen.patch_lists import read_split
from wherewhen.store import PatchStore
from wherewhen.store_header import StoreHeader

CLASSES = (
    "AnnualCrop",
    "Forest",
    "HerbaceousVegetation",
    "Highway",
    "Industrial",
    "Pasture",
    "PermanentCrop",
    "Residential",
    "River",
    "SeaLake",
)

# The GeoTIFFs name no bands; means over all files agree with this order and no other (B09 726, B10 12, B8A 2623).
TIFF_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A")

_JPEG, _TIFF = (".jpg", ".jpeg"), (".tif", ".tiff")
_SIZE = 64
_SHARD_SIZE = 1024
_NOWHERE = (np.nan, np.nan)
_LARGEST = 2**20  # bytes of an image file; 13 bands of 64 × 64 need a tenth of this


def prepare(
    source: Path,
    out: Path,
    *,
    locations: Path | None = None,
    split: Path | None = None,
    on_error: str = "stop",
    workers: Workers = 1,
) -> PatchStore:
    """Turn EuroSAT into a PatchStore with the split of the literature, or another one.

    Args:
        source: A zip or folder of JPEGs, or of 13-band GeoTIFFs.
        out: A new or empty folder, or an unfinished store of the same command.
        locations: For JPEGs, a CSV with the columns file, class_name, lat, lon (WGS 84 degrees), or a YAML file of
            `STEM: [longitude, latitude]`, which may go on after these two.
        split: Which patches are for training and which for the test, see `wherewhen.patch_lists.read_split`;
            positions of an `.npy` count all pictures in `ImageFolder` order.
        on_error: `stop` at the first bad file or row, or `skip` each and list them at the end.
        workers: Processes, or an engine.

    Raises:
        UserError: A file, a row of the table or the output is wrong; the message says what to do.
    """
    names = _image_names(source)
    tiff = _suffix(names[0]) in _TIFF
    if tiff:
        _check_tiff_options(locations)
    elif locations is None:
        note("without --locations the place of every patch stays unknown")
    plan = _plan(names)
    if split is not None:
        plan = plan.assign(split=read_split(split, list(plan["id"])))
    if locations is not None:
        plan = _with_places(plan, locations)
    bad = plan[plan["problem"] != ""]
    if on_error == "stop" and len(bad):
        raise _bad_image(source, bad["source"].iloc[0], bad["problem"].iloc[0])
    sensor = load_sensor("sentinel2_l1c" if tiff else "rgb8")
    header = StoreHeader(
        bands=sensor.select(TIFF_BANDS) if tiff else sensor.bands,
        classes=CLASSES,
        label_kind="one",
        pixel_size=10.0,
        provenance=_provenance(source, locations, split),
        licence="MIT",
    )
    make = _Make(source, tiff, on_error == "skip")
    return build(out, plan, make, header, shard_size=_SHARD_SIZE, workers=workers, title="EuroSAT")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `wherewhen prepare eurosat` takes."""
    parser.add_argument("source", type=Path, help="zip or folder: CLASS/CLASS_n.jpg, or 13-band CLASS/CLASS_n.tif")
    parser.add_argument("out", type=Path, help="folder of the new store")
    parser.add_argument(
        "--locations",
        type=Path,
        metavar="FILE",
        help="places of JPEGs: .csv with columns file, class_name, lat, lon; or .yaml, STEM: [lon, lat]",
    )
    parser.add_argument(
        "--split",
        type=Path,
        metavar="FILE",
        help="training patches, the rest is the test: .txt, .csv or .parquet of names, .npy of positions; "
        "or a table with a column split (default: the first 80 %% of each class)",
    )
    parser.add_argument(
        "--on-error", choices=("stop", "skip"), default="stop", help="at a bad file: stop (default), or skip and list"
    )


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    options = {name: getattr(args, name) for name in ("locations", "split", "on_error", "workers")}
    prepare(args.source, args.out, **options)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _image_names(source: Path) -> list[str]:
    """Names of the images in a folder or zip, of one kind; a note is printed where other files are ignored."""
    names = names_in(source)
    images = [name for name in names if _suffix(name) in _JPEG + _TIFF and "/" in name]
    if not images:
        raise UserError(f"{source} holds no CLASS/CLASS_n.jpg or .tif; give EuroSAT's zip or its unpacked folder")
    if len({_suffix(name) in _TIFF for name in images}) > 1:
        raise UserError(f"{source} holds both JPEGs and GeoTIFFs; give a folder or zip with one kind")
    if len(images) < len(names):
        note(f"ignored {len(names) - len(images)} other files in {source}")
    return images


def _check_tiff_options(locations: Path | None) -> None:
    if locations is not None:
        raise UserError(f"--locations {locations} is for JPEGs; GeoTIFFs know their place, leave it out")
    if find_spec("rasterio") is None:
        raise UserError("GeoTIFFs are read by rasterio, which is not installed; run: pip install 'wherewhen[geo]'")


def _plan(names: list[str]) -> pd.DataFrame:
    """One row an image, by class and file name; `problem` says why an image cannot be used, if so."""
    paths = [PurePosixPath(name) for name in names]
    plan = pd.DataFrame(
        {
            "id": [path.stem for path in paths],
            "class_name": [path.parent.name for path in paths],
            "file": [path.name for path in paths],
            "source": names,
        }
    )
    plan = plan.sort_values(["class_name", "file"], ignore_index=True)
    label = plan["class_name"].map({name: index for index, name in enumerate(CLASSES)}).astype("Int32")
    problem = pd.Series("", index=plan.index)
    problem[label.isna()] = f"its folder is none of EuroSAT's classes ({', '.join(CLASSES)})"
    return plan.assign(label=label, split=_literature_split(plan), problem=problem)


def _literature_split(plan: pd.DataFrame) -> np.ndarray:
    """The first 80 % of each class, in the order of file names, train; the rest test."""
    of_class = plan.groupby("class_name")["file"]
    train = of_class.cumcount() < of_class.transform("size") * 4 // 5  # whole numbers: no rounding to wonder about
    return np.where(train, "train", "test")


def _with_places(plan: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Add `lat` and `lon` of the table at `path`, and to `problem` what is wrong with them."""
    table = read_locations(path)
    plan = plan.join(table, on="id")
    wrong = {
        f"it has no row in {path}": plan["line"].isna(),
        f"its row in {path} has another class": plan["stated"].notna() & (plan["class_name"] != plan["stated"]),
        f"its latitude in {path} is no number in [-90, 90]": ~plan["lat"].between(-90, 90),
        f"its longitude in {path} is no number in [-180, 180]": ~plan["lon"].between(-180, 180),
    }
    for reason, rows in wrong.items():
        new = rows & (plan["problem"] == "")
        plan.loc[new, "problem"] = reason
    return plan


def _provenance(source: Path, locations: Path | None, split: Path | None) -> str:
    parts = [f"EuroSAT (Helber et al., 2019) from {source.name}"]
    if source.is_file():
        parts[0] += f", sha256 {sha256_of(source)}"
    if locations is not None:
        parts.append(f"places from {locations.name}, sha256 {sha256_of(locations)}")
    if split is not None:
        parts.append(f"split from {split.name}, sha256 {sha256_of(split)}")
    return "; ".join(parts)


@dataclass(frozen=True)
class _Make:
    """Reads the images of one slice of the plan; a bad one stops it, or is skipped."""

    source: Path
    tiff: bool
    skip: bool

    def __call__(self, plan: pd.DataFrame) -> Shard:
        decode = _decode_tiff if self.tiff else _decode_jpeg
        columns = (plan["id"], plan["source"], plan["problem"])
        kept, images, places, skipped = [], [], [], []
        with opened(self.source, largest=_LARGEST) as read:
            for position, (identifier, name, problem) in enumerate(zip(*columns, strict=True)):
                try:
                    if problem:
                        raise ValueError(problem)
                    image, place = decode(read(name))
                except UNREADABLE as error:
                    if not self.skip:
                        raise _bad_image(self.source, name, str(error)) from error
                    skipped.append((identifier, f"{name}: {error}"))
                else:
                    kept.append(position)
                    images.append(image)
                    places.append(place)
        rows = plan.iloc[kept]
        if self.tiff:
            rows = rows.assign(lat=[lat for lat, _ in places], lon=[lon for _, lon in places])
        pixels = np.stack(images) if images else np.empty(0)
        return Shard(rows, pixels, skipped=skipped)


def _bad_image(source: Path, name: str, problem: str) -> UserError:
    return UserError(f"{source}: {name}: {problem}; replace it, or leave out whatever is bad with --on-error skip")


def _decode_jpeg(data: bytes) -> tuple[np.ndarray, tuple[float, float]]:
    """(3, 64, 64) uint8, and no place."""
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        if image.size != (_SIZE, _SIZE) or image.mode != "RGB":  # known before any pixel is decoded
            raise ValueError(f"it is {image.width}×{image.height} {image.mode}, not {_SIZE}×{_SIZE} RGB")
        return np.asarray(image).transpose(2, 0, 1), _NOWHERE


def _decode_tiff(data: bytes) -> tuple[np.ndarray, tuple[float, float]]:
    """(13, 64, 64) uint16, and latitude and longitude of the centre in WGS 84 degrees."""
    from rasterio.io import MemoryFile
    from rasterio.warp import transform

    with MemoryFile(data) as memory, memory.open() as raster:
        form = (raster.count, raster.height, raster.width, raster.dtypes[0])
        if form != (len(TIFF_BANDS), _SIZE, _SIZE, "uint16"):
            raise ValueError(f"it is {form}, not {len(TIFF_BANDS)} bands of {_SIZE}×{_SIZE} uint16")
        if raster.crs is None:
            raise ValueError("it has no coordinate reference system, so its place is unknown")
        x, y = raster.xy((raster.height - 1) / 2, (raster.width - 1) / 2)  # between the two middle pixels
        (lon,), (lat,) = transform(raster.crs, "EPSG:4326", [x], [y])
        return raster.read(), (lat, lon)
