"""PASTIS: 2,433 patches of French farmland, each a Sentinel-2 series of a season, with the crop of every pixel.

Layout: `metadata.geojson` (for each patch its days, fold and outline), `DATA_S2/S2_ID.npy` (T, 10, 128, 128) int16 and
`ANNOTATIONS/TARGET_ID.npy` (3, 128, 128), whose first plane is the class. PASTIS-R's radar is not read.
`docs/datasets.md` says what becomes of it.

Notation: T dates of a patch, C bands, H × W pixels.

Source: Sainte Fare Garnot and Landrieu, Panoptic Segmentation of Satellite Image Time Series with Convolutional
Temporal Attention Networks, 2021.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wherewhen.bands import load_sensor
from wherewhen.engines import Workers
from wherewhen.errors import UserError, note
from wherewhen.files import read_json, sha256_of
from wherewhen.ingest.archive import UNREADABLE
from wherewhen.ingest.engine import Shard, build
from wherewhen.maps import UNKNOWN
from wherewhen.store import PatchStore
from wherewhen.store_header import StoreHeader

CLASSES = (
    *("Background", "Meadow", "Soft winter wheat", "Corn", "Winter barley", "Winter rapeseed", "Spring barley"),
    *("Sunflower", "Grapevine", "Beet", "Winter triticale", "Winter durum wheat", "Fruits, vegetables, flowers"),
    *("Potatoes", "Leguminous fodder", "Soybeans", "Orchard", "Mixed cereal", "Sorghum"),
)
VOID = len(CLASSES)  # parcels that lie mostly outside their patch

# In the order of wavelength, as the authors say (their repository's issue 19): without the bands of 60 m.
BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
ALL = "all"

_SIZE = 128
_FOLDS = 5
_SHARD_SIZE = 256
_OUTLINES = "EPSG:2154"


def prepare(
    source: Path,
    out: Path,
    *,
    dates: str = "2018-09-01",
    test_fold: int = 5,
    on_error: str = "stop",
    workers: Workers = 1,
) -> PatchStore:
    """Turn PASTIS into a PatchStore whose masks are the crops, 255 for the void class.

    Args:
        source: The folder of `metadata.geojson`, as unpacked.
        out: A new or empty folder, or an unfinished store of the same command.
        dates: A day, YYYY-MM-DD: of every patch the image nearest to it (the earlier of two); or `all`, every image of
            the series with the patch's mask, and a target of kind `series` for each patch.
        test_fold: From 1 to 5. The fold before it (5 before 1) is for validation, the other three for training.
        on_error: `stop` at the first bad patch, or `skip` each and list them at the end.
        workers: Processes, or an engine.

    Raises:
        UserError: An option, a file or the output is wrong; the message says what to do.
    """
    if not 1 <= test_fold <= _FOLDS:
        raise UserError(f"--test-fold {test_fold} is out of range; it must be from 1 to {_FOLDS}")
    day = None if dates == ALL else _day(dates)
    if find_spec("pyproj") is None:
        raise UserError("places are projected by pyproj, which is not installed; run: pip install 'wherewhen[geo]'")
    source = Path(source)
    metadata = source / "metadata.geojson"
    plan = pd.DataFrame([row for patch in _patches(metadata) for row in _rows(patch, day, test_fold)])
    plan = _present(plan, source)
    bad = plan[plan["problem"] != ""]
    if len(bad) and on_error != "skip":
        raise _bad_patch(metadata, bad["place"].iloc[0], bad["problem"].iloc[0])
    header = StoreHeader(
        bands=load_sensor("sentinel2_l2a").select(BANDS),
        classes=CLASSES,
        pixel_size=10.0,
        provenance=(
            f"PASTIS (Sainte Fare Garnot and Landrieu, 2021), metadata.geojson sha256 {sha256_of(metadata)}; "
            f"{'all dates' if day is None else f'the date nearest to {dates}'}; test: fold {test_fold}; "
            "days from the metadata, at midnight"
        ),
        licence="Etalab Open Licence 2.0",
    )
    return build(
        out, plan, _Make(source, on_error == "skip"), header,
        shard_size=_SHARD_SIZE, workers=workers, title="PASTIS", targets=_series(plan) if day is None else None,
    )  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `wherewhen prepare pastis` takes."""
    parser.add_argument("source", type=Path, help="folder of metadata.geojson, DATA_S2 and ANNOTATIONS")
    parser.add_argument("out", type=Path, help="folder of the new store")
    parser.add_argument(
        "--dates", default="2018-09-01", metavar="DAY", help="the image nearest to it (default 2018-09-01), or all"
    )
    parser.add_argument(
        "--test-fold", type=int, default=5, metavar="N", help="1 to 5 (default 5); the one before is for validation"
    )
    parser.add_argument(
        "--on-error", choices=("stop", "skip"), default="stop", help="at a bad patch: stop (default), or skip and list"
    )


def run(args: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    options = {name: getattr(args, name) for name in ("dates", "test_fold", "on_error", "workers")}
    prepare(args.source, args.out, **options)


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise UserError(f"--dates {text!r} is neither a day like 2018-09-01 nor {ALL!r}; correct it") from error


# -- the plan -------------------------------------------------------------------------------------


def _patches(path: Path) -> list[dict[str, Any]]:
    """The features of the metadata, by number of the patch.

    Raises:
        UserError: The file is none of PASTIS.
    """
    content = read_json(path)
    try:
        features: list[dict[str, Any]] = content["features"]
        for feature in features:
            feature["properties"]["ID_PATCH"] = int(feature["properties"]["ID_PATCH"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no metadata of PASTIS, features with an ID_PATCH: {error!r}; restore it") from error
    if not features:
        raise UserError(f"{path} names no patch; restore it")
    return sorted(features, key=lambda feature: feature["properties"]["ID_PATCH"])


def _rows(patch: dict[str, Any], day: datetime | None, test_fold: int) -> Iterator[dict[str, Any]]:
    """A row an image that is wanted; a patch whose entry is wrong is one row that says why."""
    number = patch["properties"]["ID_PATCH"]
    row: dict[str, Any] = {
        "id": str(number), "place": str(number), "source": f"DATA_S2/S2_{number}.npy", "problem": ""
    }  # fmt: skip
    try:
        times, (lat, lon) = _times(patch["properties"]), _centre(patch["geometry"])
        row |= {"split": _split(int(patch["properties"]["Fold"]), test_fold)}
    except (TypeError, ValueError, LookupError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        yield row | {"problem": f"its entry is wrong: {what}"}
        return
    row |= {"lat": lat, "lon": lon, "dates": len(times)}
    wanted = list(range(len(times)))
    if day is not None:
        wanted = [min(wanted, key=lambda index: (abs(times[index] - day), times[index]))]
    for index in wanted:
        yield row | {"id": f"{number}-{times[index]:%Y%m%d}", "index": index, "time": times[index]}


def _times(properties: dict[str, Any]) -> list[datetime]:
    """Midnight of every image's day, in the order of the series."""
    days = sorted(properties["dates-S2"].items(), key=lambda item: int(item[0]))
    if not days:
        raise ValueError("dates-S2 names no day")
    times = []
    for _, written in days:
        try:
            times.append(datetime.strptime(str(written), "%Y%m%d").replace(tzinfo=UTC))
        except ValueError as error:
            raise ValueError(f"dates-S2 holds {written!r}, which is no day like 20180924") from error
    return times


def _split(fold: int, test_fold: int) -> str:
    if not 1 <= fold <= _FOLDS:
        raise ValueError(f"Fold {fold} is not from 1 to {_FOLDS}")
    before = (test_fold - 2) % _FOLDS + 1
    return {test_fold: "test", before: "val"}.get(fold, "train")


def _centre(geometry: dict[str, Any]) -> tuple[float, float]:
    """Latitude and longitude of the middle of the outline's corners."""
    polygon = geometry["coordinates"][0] if geometry["type"] == "MultiPolygon" else geometry["coordinates"]
    x, y = np.asarray(polygon[0], float)[:-1, :2].mean(axis=0)  # the last corner is the first again
    lat, lon = _to_wgs84().transform(x, y)
    if not (np.isfinite(lat) and np.isfinite(lon)):
        raise ValueError(f"its outline around ({x:g}, {y:g}) lies outside {_OUTLINES}")
    return float(lat), float(lon)


@lru_cache(maxsize=1)
def _to_wgs84() -> Any:
    from pyproj import Transformer

    return Transformer.from_crs(_OUTLINES, "EPSG:4326")


def _present(plan: pd.DataFrame, source: Path) -> pd.DataFrame:
    """The rows whose series is there: a part of the data set is enough."""
    files = plan["source"].unique()
    here = plan["source"].isin([name for name in files if (source / name).exists()])
    absent = plan["place"][~here].nunique()
    if not here.any():
        raise UserError(f"{source} has no series of the {absent} patches in its metadata, such as {files[0]}")
    if absent:
        note(f"{absent} patches of the metadata are not in {source / 'DATA_S2'}")
    return plan[here].reset_index(drop=True)


def _series(plan: pd.DataFrame) -> pd.DataFrame:
    """A target a patch: its images in the order of their dates."""
    ordered = plan[plan["problem"] == ""].sort_values("time", kind="stable")
    members = ordered.groupby("place")["id"].agg(list)
    return pd.DataFrame({"id": members.index, "kind": "series", "members": members.to_numpy()})


# -- the arrays -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Make:
    """Reads the images of one slice of the plan; a patch that is bad stops it, or is skipped."""

    source: Path
    skip: bool

    def __call__(self, plan: pd.DataFrame) -> Shard:
        pixels = np.empty((len(plan), len(BANDS), _SIZE, _SIZE), np.int16)
        masks = np.empty((len(plan), _SIZE, _SIZE), np.uint8)
        kept: list[int] = []
        skipped: list[tuple[str, str]] = []
        rows: Iterator[tuple[int, dict[Any, Any]]] = enumerate(plan.to_dict("records"))
        for place, group in groupby(rows, key=lambda pair: pair[1]["place"]):
            images = list(group)
            new = slice(len(kept), len(kept) + len(images))
            try:
                self._read([row for _, row in images], pixels[new], masks[new])
            except UNREADABLE as error:
                if not self.skip:
                    raise _bad_patch(self.source, str(place), str(error)) from error
                skipped += [(row["id"], str(error)) for _, row in images]
            else:
                kept += [position for position, _ in images]
        return Shard(plan.iloc[kept], pixels[: len(kept)], masks[: len(kept)], skipped)

    def _read(self, images: list[dict[Any, Any]], pixels: np.ndarray, masks: np.ndarray) -> None:
        """Fill `pixels` (n, C, H, W) and `masks` (n, H, W) with images of one patch."""
        first = images[0]
        if first["problem"]:
            raise ValueError(first["problem"])
        series = _load(self.source / first["source"], (int(first["dates"]), len(BANDS), _SIZE, _SIZE))
        if not np.can_cast(series.dtype, np.int16):
            raise ValueError(f"{Path(first['source']).name}: it holds {series.dtype}, not int16")
        pixels[:] = series[[int(row["index"]) for row in images]]
        annotation = self.source / "ANNOTATIONS" / f"TARGET_{first['place']}.npy"
        crops = np.asarray(_load(annotation, (None, _SIZE, _SIZE))[0])
        if crops.min() < 0 or crops.max() > VOID:
            raise ValueError(f"{annotation.name}: it holds {crops.min()} to {crops.max()}, classes are 0 to {VOID}")
        masks[:] = np.where(crops == VOID, UNKNOWN, crops)


def _load(path: Path, shape: tuple[int | None, ...]) -> np.ndarray:
    """An array of whole numbers in a file, mapped, so that only what is used is read; None fits any length.

    Raises:
        ValueError: The file is missing, damaged, or holds something else.
    """
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise ValueError(f"{path.name} is missing") from error
    except UNREADABLE as error:
        raise ValueError(f"{path.name}: {error}") from error
    fits = len(array.shape) == len(shape) and all(b in (None, a) for a, b in zip(array.shape, shape, strict=True))
    if not fits or not np.issubdtype(array.dtype, np.integer):
        wanted = ", ".join("n" if length is None else str(length) for length in shape)
        raise ValueError(f"{path.name}: it holds {array.dtype} of shape {array.shape}, not whole numbers of ({wanted})")
    return array


def _bad_patch(where: Path, patch: str, problem: str) -> UserError:
    return UserError(
        f"{where}: patch {patch}: {problem}; restore it, or leave out whatever is bad with --on-error skip"
    )
