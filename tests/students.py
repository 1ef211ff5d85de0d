"""Finished runs of every kind of student, each trained for a few steps when it is first asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.tasks.conftest import make_store, settings, write_config
from tests.tasks.dense_stores import CLASSES, change_store, dense_settings, masked_store, pictures, random_masks, splits
from wherewhen.bands import load_sensor
from wherewhen.cli import main
from wherewhen.store import PatchStore
from wherewhen.tasks.samples import samples_of

CONVOLUTIONS = {"name": "ViT", "patch_size": 8, "width": 16, "depth": 1, "heads": 2, "stem": "convolutions"}
RESNET = {"name": "Timm", "model": "test_resnet"}
TEXTURE = {"name": "Grouped", "groups": {"colour": ["red", "green", "blue"]}, "texture": "semantic", "encoder": RESNET}
ALONE: dict[str, Any] = {"teacher": None}


def many_labels(path: Path) -> PatchStore:
    labels = (np.random.default_rng(0).random((60, 3)) < 0.4).astype(np.int64)
    return make_store(path, labels=labels)


def masks_of_64(path: Path) -> PatchStore:
    """Masks as wide as two pixels of a ResNet's coarsest map."""
    masks = random_masks(60, len(CLASSES)).repeat(4, 1).repeat(4, 2)
    found: dict[str, Any] = {"bands": load_sensor("rgb8").bands, "classes": CLASSES, "split": splits(60)}
    return PatchStore.from_arrays(path, pictures(masks), masks=masks, **found)


def of_many(store: Path) -> dict[str, Any]:
    """Many labels, of images at half their size."""
    config = settings(store, algorithm={"name": "CDMAD", "threshold": [0.95, 0.7]}, **ALONE)
    config["model"]["encoder"] |= {"patch_size": 4}
    config["data"] |= {"labels_per_class": None, "label_share": 0.3, "image_size": 8}
    return config


Recipe = tuple[Callable[[Path], PatchStore], Callable[[Path], dict[str, Any]]]
RECIPES: dict[str, Recipe] = {
    "taught": (make_store, settings),
    "cdmad": (
        make_store,
        lambda store: settings(
            store, encoder=CONVOLUTIONS | {"statistics": True}, algorithm={"name": "CDMAD"}, ema_momentum=0.5, **ALONE
        ),
    ),
    "resnet": (make_store, lambda store: settings(store, encoder=RESNET, algorithm=None, **ALONE)),
    "texture": (make_store, lambda store: settings(store, encoder=TEXTURE, algorithm=None, **ALONE)),
    "many": (many_labels, of_many),
    "unet": (masks_of_64, lambda store: dense_settings(store, encoder=RESNET, algorithm={"name": "CDMAD"}, **ALONE)),
    "tokens": (masked_store, dense_settings),
    "change": (change_store, lambda store: dense_settings(store, "change", encoder=RESNET, algorithm=None, **ALONE)),
}


class Runs:
    """Folders of finished runs by the names of `RECIPES`; each holds `store` and `run`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str) -> Path:
        there = self.folder / name
        if not there.exists():
            make, configure = RECIPES[name]
            config = configure(make(there / "store").path)
            config["trainer"] |= {"max_steps": 3, "val_check_interval": 3}
            words = ["--config", str(write_config(there / "config.yaml", config)), "--run", str(there / "run")]
            assert main(["fit", *words]) == 0
            assert main(["test", *words]) == 0
        return there


def asked_of(there: Path, name: str) -> np.ndarray:
    """The images that `test` asked about: (M, C, H, W), of change (M, 2, C, H, W)."""
    store = PatchStore.open(there / "store")
    target: Any = {"change": "change", "unet": "mask", "tokens": "mask"}.get(name, "patch")
    samples = samples_of(store, target)
    images = samples.pixels(np.flatnonzero(samples.split == "test"))
    return images.reshape(len(images), 2, -1, *images.shape[2:]) if name == "change" else images
