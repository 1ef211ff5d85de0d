"""The five verbs that write: what each needs, made once, and the words that run it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch

from tests.fakes import make_eurosat
from tests.faults.zygote import Zygote
from tests.tasks.conftest import make_store, settings, write_config
from tests.tasks.dense_stores import dense_settings, masked_store
from tests.tasks.test_resume import tensors
from wherewhen.bands import load_sensor
from wherewhen.store import PatchStore

OF_THE_MOMENT = ("timing.json", "environment.json")  # they tell of a clock and of the checkout
SEGMENTER: dict[str, Any] = {
    "encoder": {"name": "Timm", "model": "test_resnet"}, "decoder": {"name": "UNet", "width": 8},
    "algorithm": None, "teacher": None,
}  # fmt: skip


def places(path: Path) -> Path:
    """A store of ten places at two dates."""
    count = 10
    pixels = np.random.default_rng(0).integers(0, 255, (2 * count, 3, 16, 16), np.uint8)
    PatchStore.from_arrays(
        path,
        pixels,
        bands=load_sensor("rgb8").bands,
        place=np.column_stack((np.linspace(40, 50, 2 * count), np.zeros(2 * count))),
        time=np.tile(np.array(["2018-02-01", "2018-08-01"], "datetime64[ns]"), count),
        places=[f"p{n}" for n in range(count) for _ in range(2)],
        split=["train"] * (2 * count),
    )
    return path


def scene(path: Path) -> Path:
    """A picture of 130 × 90 pixels."""
    pixels = np.random.default_rng(1).integers(1, 255, (3, 130, 90), np.uint8)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": 130, "width": 90, "crs": "EPSG:32633"}
    with rasterio.open(path, "w", transform=rasterio.Affine(10, 0, 4e5, 0, -10, 5e6), **profile) as raster:
        raster.write(pixels)
        raster.descriptions = ("red", "green", "blue")
    return path


class Verbs:
    """Words of each verb, writing to one folder.

    Args:
        folder: For what is made here.
        zygote: Trains what is needed.
    """

    NAMES = ("prepare", "fit", "pretrain", "predict", "export")

    def __init__(self, folder: Path, zygote: Zygote) -> None:
        self.folder, self.zygote = folder, zygote
        folder.mkdir()

    def words(self, verb: str, out: Path) -> Sequence[str]:
        """The command line."""
        return [verb, *getattr(self, f"_{verb}")(out)]

    def _prepare(self, out: Path) -> list[str]:
        source = self.folder / "eurosat"
        if not source.exists():
            source.mkdir()
            make_eurosat(source)
        zipped, places = str(source / "EuroSAT_RGB.zip"), str(source / "locations.csv")
        return ["eurosat", zipped, str(out), "--locations", places, "--workers", "1"]

    def _fit(self, out: Path) -> list[str]:
        if not (store := self.folder / "store").exists():
            make_store(store)
        return ["--config", str(write_config(self.folder / "fit.yaml", settings(store))), "--run", str(out)]

    def _pretrain(self, out: Path) -> list[str]:
        if not (store := self.folder / "places").exists():
            places(store)
        config = {
            "model": {
                "method": "seco",
                "encoder": {"name": "tests.tasks.tiny.Tiny"},
                "queue": 8,
                "learning_rate": 0.01,
            },
            "data": {"store": str(store), "batch_size": 4},
            "trainer": {"max_steps": 9, "logger": False, "enable_progress_bar": False, "accelerator": "cpu"},
            "log_every": 2,
            "save_every": 3,
        }
        return ["--config", str(write_config(self.folder / "pretrain.yaml", config)), "--run", str(out)]

    def _predict(self, out: Path) -> list[str]:
        if not (picture := self.folder / "scene.tif").exists():
            scene(picture)
        words = ["--run", str(self._trained()), "--scenes", str(picture), "--out", str(out), "--probabilities"]
        return [*words, "--window", "64", "--overlap", "16", "--device", "cpu"]

    def _export(self, out: Path) -> list[str]:
        return [str(self._trained()), "--out", str(out / "student.safetensors")]

    def _trained(self) -> Path:
        """A segmenter."""
        run = self.folder / "segmenter"
        if not run.exists():
            config = dense_settings(masked_store(self.folder / "masks").path, **SEGMENTER)
            config["trainer"] |= {"max_steps": 2, "val_check_interval": 2}
            words = ["fit", "--config", str(write_config(self.folder / "segmenter.yaml", config)), "--run", str(run)]
            done = self.zygote(words, run)
            assert done.code == 0, done.said
        return run


def same(one: Path, other: Path) -> None:
    """Assert that two folders hold the same files, hidden ones too, and the same bits in them."""
    names = [sorted(path.relative_to(folder) for path in folder.rglob("*")) for folder in (one, other)]
    assert names[0] == names[1]
    for name in names[0]:
        if (one / name).is_file() and name.name not in OF_THE_MOMENT:
            a, b = ((folder / name).read_bytes() for folder in (one, other))
            assert a == b or name.suffix == ".ckpt", name
            if a != b:
                alike(one / name, other / name)


def alike(one: Path, other: Path) -> None:
    """Assert that two checkpoints hold the same values, but for Lightning's own counters, which count resumes, too."""
    whole = [torch.load(path, weights_only=True) for path in (one, other)]
    a, b = (tensors({key: value for key, value in kept.items() if key != "loops"}) for kept in whole)
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.equal(value, b[name]) if isinstance(value, torch.Tensor) else value == b[name], name
