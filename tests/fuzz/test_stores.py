"""Damaged stores, labels, imagery and lists."""

import importlib.resources
import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import yaml
from hypothesis import strategies as st

from tests.fuzz.harness import CASES, bear, cases
from tests.fuzz.mutations import damaged, replaced
from tests.tasks.conftest import make_store
from tests.tasks.dense_stores import change_store
from wherewhen import doctor, patch_lists
from wherewhen.bands import load_sensor
from wherewhen.errors import UserError
from wherewhen.ingest import archive, labels
from wherewhen.scenes import Window, find
from wherewhen.store import PatchStore

IDS = [f"p{number:03d}" for number in range(20)]


def use(folder: Path) -> None:
    """What `doctor` and a training ask of a store."""
    doctor.main([str(folder)])
    store = PatchStore.open(folder)
    store.day()
    store.pixels(np.arange(len(store)))


def test_the_slow_suite_holds_fifty_thousand_cases() -> None:
    assert sum(many for _, many in CASES.values()) >= 50_000


@cases("store.json")
def test_store_json(count: int, tmp_path: Path) -> None:
    path = make_store(tmp_path / "store", 12).path / "store.json"
    text = path.read_text(encoding="utf-8")
    values = replaced(json.loads(text)).map(lambda value: json.dumps(value).encode())

    def write(content: bytes) -> Path:
        path.write_bytes(content)
        return path

    bear(count, st.one_of(values, damaged(text.encode())), write, lambda file: use(file.parent))


@cases("patches.parquet")
def test_patches(count: int, tmp_path: Path) -> None:
    path = make_store(tmp_path / "store", 12).path / "patches.parquet"
    whole, frame = path.read_bytes(), pd.read_parquet(path)

    def write(content: bytes | dict[str, Any]) -> Path:
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            frame.assign(**content).to_parquet(path)
        return path

    columns = st.dictionaries(
        st.sampled_from([str(name) for name in frame.columns]),
        st.one_of(st.none(), st.integers(-(2**31), 2**31), st.floats(), st.text(max_size=5), st.binary(max_size=25)),
        min_size=1,
        max_size=2,
    )
    bear(count, st.one_of(damaged(whole), columns), write, lambda file: use(file.parent))


@cases("pixels")
def test_pixels(count: int, tmp_path: Path) -> None:
    path = make_store(tmp_path / "store", 12).path / "pixels-00000.npy"
    whole = path.read_bytes()
    long = damaged(whole).map(lambda content: (content + whole)[: len(whole)])  # so that the length tells nothing

    def write(content: bytes) -> Path:
        path.write_bytes(content)
        return path

    bear(count, st.one_of(long, long, damaged(whole)), write, lambda file: use(file.parent))


@cases("targets")
def test_targets(count: int, tmp_path: Path) -> None:
    path = change_store(tmp_path / "store", 6).path / "targets.parquet"
    whole = path.read_bytes()

    def write(content: bytes) -> Path:
        path.write_bytes(content)
        return path

    def read(file: Path) -> None:
        store = PatchStore.open(file.parent)
        store.target_masks(np.arange(len(store.targets)))

    bear(count, damaged(whole), write, read)


@cases("index")
def test_lists_of_patches(count: int, tmp_path: Path) -> None:
    frame, seeds = pd.DataFrame({"id": IDS[:10], "split": ["train", "val"] * 5}), dict[str, bytes]()
    for suffix in ("csv", "csv.gz", "csv.bz2", "parquet", "txt", "npy"):
        path = tmp_path / f"seed.{suffix}"
        match suffix:
            case "txt":
                path.write_text("\n".join(IDS[:10]))
            case "npy":
                np.save(path, np.arange(10))
            case "parquet":
                frame.to_parquet(path)
            case _:
                frame.to_csv(path, index=False)
        seeds[suffix] = path.read_bytes()
    inputs = st.sampled_from(sorted(seeds)).flatmap(lambda s: st.tuples(st.just(s), damaged(seeds[s])))

    def write(value: tuple[str, bytes]) -> Path:
        path = tmp_path / f"list.{value[0]}"
        path.write_bytes(value[1])
        return path

    def read(path: Path) -> None:
        patch_lists.read_split(path, IDS)
        if path.suffix != ".npy":
            patch_lists.read_names(path, IDS)

    bear(count, inputs, write, read)


def square(left: float) -> dict[str, Any]:
    ring = [[left, 50.0], [left + 0.1, 50.0], [left + 0.1, 50.1], [left, 50.0]]
    return {"type": "Polygon", "coordinates": [ring]}


@cases("geojson")
@pytest.mark.filterwarnings("ignore")
def test_geojson(count: int, tmp_path: Path) -> None:
    shapes = [{"type": "Point", "coordinates": [10.0, 50.0]}, square(10.0), square(11.0)]
    features = [
        {"type": "Feature", "properties": {"id": n, "class": "ab"[n % 2], "time": f"2020-0{n + 1}-01"}, "geometry": one}
        for n, one in enumerate(shapes)
    ]
    whole = {"type": "FeatureCollection", "features": features}
    path = tmp_path / "labels.geojson"

    def write(content: bytes) -> Path:
        path.write_bytes(content)
        return path

    values = replaced(whole).map(lambda value: json.dumps(value).encode())
    inputs = st.one_of(values, damaged(json.dumps(whole).encode()))
    bear(count, inputs, write, lambda file: labels.read(file, "class", "time"))


@cases("csv")
def test_csv_of_labels(count: int, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    whole = b"id,class,time,lon,lat\n1,a,2020-01-01,10,50\n2,b,2020-01-02T10:00,10.1,50.1\n"

    def write(content: bytes) -> Path:
        path.write_bytes(content)
        return path

    bear(count, damaged(whole), write, lambda file: labels.read(file, "class", "time"))


def geotiffs(folder: Path) -> list[bytes]:
    """Plain, deflated, and tiled."""
    made = []
    forms: Sequence[dict[str, Any]] = (
        {},
        {"compress": "deflate"},
        {"compress": "lzw", "tiled": True, "blockxsize": 16, "blockysize": 16},
    )
    for form in forms:
        profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": 40, "width": 50, "crs": "EPSG:32633"}
        with rasterio.open(
            folder / "seed.tif", "w", transform=rasterio.Affine(10, 0, 4e5, 0, -10, 5e6), **profile, **form
        ) as raster:
            raster.write(np.random.default_rng(0).integers(1, 255, (3, 40, 50), np.uint8))
            raster.descriptions = ("red", "green", "blue")
        made.append((folder / "seed.tif").read_bytes())
    return made


@cases("tiff")
def test_geotiffs(count: int, tmp_path: Path) -> None:
    seeds, path = geotiffs(tmp_path), tmp_path / "scene.tif"

    def write(content: bytes) -> Path:
        path.write_bytes(content)
        return path

    def read(file: Path) -> None:
        for scene in find([file], "rgb8"):
            height, width = scene.grid.shape
            try:
                scene.look(Window(0, 0, min(height, 256), min(width, 256)))
            except ValueError as error:  # as the verbs expect it
                raise UserError(f"{file}: {error}") from error

    bear(count, st.sampled_from(seeds).flatmap(damaged), write, read)


@cases("zip")
def test_archives(count: int, tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name in "abc":
            made.writestr(f"{name}/{name}.txt", "text " * 50)
    whole = path.read_bytes()

    def write(content: bytes) -> Path:
        path.write_bytes(content)
        return path

    def read(file: Path) -> None:
        names = archive.names_in(file)
        try:
            with archive.opened(file, largest=1000) as content:
                assert all(len(content(name)) <= 1000 for name in names)
        except archive.UNREADABLE as error:  # as the readers of datasets expect it
            raise UserError(f"{file}: {error}") from error

    bear(count, damaged(whole), write, read)


@cases("sensor")
def test_sensors(count: int, tmp_path: Path) -> None:
    file = importlib.resources.files("wherewhen.bands") / "sensors" / "sentinel2_l2a.yaml"
    text, path = file.read_text(encoding="utf-8"), tmp_path / "mine.yaml"
    values = replaced(yaml.safe_load(text)).map(lambda value: yaml.safe_dump(value).encode())

    def write(content: bytes) -> Path:
        path.write_bytes(content)
        return path

    bear(count, st.one_of(values, damaged(text.encode())), write, load_sensor)


def test_a_vanished_file_is_named(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", 12).path
    for name in ("patches.parquet", "pixels-00000.npy", "store.json"):
        shutil.move(store / name, tmp_path / name)
        with pytest.raises(UserError, match=name.replace(".", r"\.")):
            PatchStore.open(store)
        shutil.move(tmp_path / name, store / name)
