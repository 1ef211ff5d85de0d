"""Scene to map beside the bare forward pass on the same tiles.

A generated scene of four bands, tiled and compressed as scenes are, is mapped by `wherewhen predict`, called in this
process: found, read window by window, asked, blended or gridded, written as Cloud Optimized GeoTIFF with overviews.
The bare pass is the same network on the same batches of tiles, which lie in memory as float32 on the network's scale;
what it answers is dropped. Both in turn; weights are read and files are in the page cache. Run:

    python benchmarks/predicting.py [--threads 2] [--device cpu] [--side 2048] [--repeats 5]
"""

import argparse
import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import rasterio
import torch
import yaml
from steps import clocks, in_turn, machine, table
from torch import Tensor

from wherewhen.bands import load_sensor
from wherewhen.cli import main as wherewhen
from wherewhen.predict.network import Network, Weights
from wherewhen.store import PatchStore

BANDS = ("B02", "B03", "B04", "B08")
CLASSES = tuple(f"class {i}" for i in range(6))
PATCHES, SIDE = 24, 64  # of the training


class Case(NamedTuple):
    """One kind of map."""

    title: str
    target: str
    model: dict[str, Any]


CASES = (
    Case("pixels: ResNet-18 and U-Net", "mask", {"encoder": {"name": "Timm", "model": "resnet18"}}),
    Case("patches: ViT-S/16", "patch", {"encoder": {"name": "ViT", "patch_size": 16}}),
    Case(
        "patches: ViT of 4 blocks of 128",
        "patch",
        {"encoder": {"name": "ViT", "patch_size": 8, "width": 128, "depth": 4, "heads": 4}},
    ),
)


def make_scene(path: Path, side: int) -> Path:
    """Fields with noise, uint16, tiled and compressed."""
    rng = np.random.default_rng(0)
    about = {"driver": "GTiff", "dtype": "uint16", "count": len(BANDS), "height": side, "width": side, "nodata": 0}
    where = {"crs": "EPSG:32633", "transform": rasterio.Affine(10.0, 0, 400_000, 0, -10.0, 5_300_000)}
    cells = rng.integers(300, 3000, (len(BANDS), -(-side // 32), -(-side // 32)))
    fields = cells.repeat(32, 1).repeat(32, 2)[:, :side, :side]
    with rasterio.open(path, "w", tiled=True, compress="deflate", predictor=2, **about, **where) as raster:
        raster.write((fields + rng.normal(0, 60, fields.shape)).clip(1, None).astype(np.uint16))
        raster.descriptions = BANDS
    return path


def make_run(folder: Path, case: Case) -> Path:
    """A run of one step."""
    rng = np.random.default_rng(0)
    bands = {band.name: band for band in load_sensor("sentinel2_l2a").bands}
    labels = rng.integers(0, len(CLASSES), PATCHES)
    PatchStore.from_arrays(
        folder / "store",
        rng.integers(300, 3000, (PATCHES, len(BANDS), SIDE, SIDE), dtype=np.uint16),
        bands=tuple(bands[name] for name in BANDS),
        labels=labels if case.target == "patch" else None,
        masks=np.full((PATCHES, SIDE, SIDE), labels[:, None, None], np.uint8) if case.target == "mask" else None,
        classes=CLASSES,
        split=["train"] * PATCHES,
    )
    config = {
        "model": case.model,
        "data": {"store": str(folder / "store"), "target": case.target, "labelled_batch": 4, "validation": 0.0},
        "trainer": {"max_steps": 1, "accelerator": "cpu", "logger": False, "enable_progress_bar": False},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert wherewhen(["fit", "--config", str(folder / "config.yaml"), "--run", str(folder / "run")]) == 0
    return folder / "run"


def mapping(run: Path, scene: Path, folder: Path, device: str) -> Callable[[], None]:
    """Map the scene into a fresh folder."""

    def work() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as out, quiet():
            words = ["--run", str(run), "--scenes", str(scene), "--out", out, "--device", device]
            assert wherewhen(["predict", *words]) == 0

    return work


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without a word."""
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def tiles_of(work: Callable[[], None]) -> list[np.ndarray]:
    """The batches of stored numbers that a network is asked for in the meantime."""
    seen, ask = [], Network.__call__

    def watched(network: Network, images: np.ndarray) -> np.ndarray:
        seen.append(images.copy())
        return ask(network, images)

    with patch.object(Network, "__call__", watched):
        work()
    return seen


def bare(run: Path, tiles: list[np.ndarray], device: str) -> Callable[[], None]:
    """The network on tiles that are ready for it."""
    answer: Any = Weights.of(run, device=device).network().student.answer
    ready: list[Tensor] = []
    for images in tiles:
        pixels = torch.from_numpy(images.astype(np.float32)).to(device)
        ready.append(answer.scale(answer.scale.unit(pixels)))

    @torch.no_grad()
    def work() -> None:
        for images in ready:
            answer.network(images)

    return work


def measure(case: Case, folder: Path, arguments: argparse.Namespace) -> tuple[list[np.ndarray], dict[str, float]]:
    """Tiles of the scene, and seconds by name."""
    device = str(arguments.device)
    run, scene = make_run(folder, case), make_scene(folder / "scene.tif", arguments.side)
    ours = mapping(run, scene, folder, device)
    tiles = tiles_of(ours)
    contestants = {"predict": ours, "bare": bare(run, tiles, device)}
    return tiles, in_turn(clocks(contestants, 1, arguments.device), arguments.repeats)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--side", type=int, default=2048, help="of the scene, in pixels")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [["map of", "tiles", "predict, s", "bare forward, s", "throughput, × bare", "megapixels/s"]]
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            tiles, times = measure(case, Path(folder), arguments)
        count, shape = sum(map(len, tiles)), " × ".join(map(str, tiles[0].shape[1:]))
        ratio, speed = times["bare"] / times["predict"], arguments.side**2 / times["predict"] / 1e6
        seen = [f"{count} of {shape}", f"{times['predict']:.2f}", f"{times['bare']:.2f}"]
        rows.append([case.title, *seen, f"{ratio:.2f}", f"{speed:.3f}"])
    print(f"{arguments.side} × {arguments.side} pixels of {len(BANDS)} bands; {machine(arguments.device)}; ", end="")
    print(f"median of {arguments.repeats}, in turn\n")
    print(table(rows))


if __name__ == "__main__":
    main()
