"""Stores whose pixels tell their class: the first band of a pixel is its class times `LEVEL`, and no noise."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.tasks.conftest import settings
from wherewhen.bands import load_sensor
from wherewhen.ingest.engine import Shard, build
from wherewhen.store import PatchStore
from wherewhen.store_header import StoreHeader

CLASSES = ("field", "forest", "water")
LEVEL = 80  # of 255
SIDE, CELL = 16, 4  # pixels
VOID = 255


def random_masks(count: int, classes: int, seed: int = 0) -> np.ndarray:
    """Cells of one class, (count, SIDE, SIDE) uint8."""
    coarse = np.random.default_rng(seed).integers(0, classes, (count, SIDE // CELL, SIDE // CELL), np.uint8)
    return coarse.repeat(CELL, 1).repeat(CELL, 2)


def pictures(masks: np.ndarray) -> np.ndarray:
    """(n, H, W) classes -> (n, 3, H, W) uint8."""
    flat = np.full_like(masks, 128)
    return np.stack((masks * LEVEL, flat, flat), axis=1)


def where(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "place": np.column_stack((rng.uniform(40, 60, count), rng.uniform(0, 20, count))),
        "time": np.datetime64("2020-01-01T10:00", "ns") + rng.integers(0, 365, count) * np.timedelta64(1, "D"),
    }


def splits(count: int) -> np.ndarray:
    return np.array(["train", "train", "test"], dtype=object)[np.arange(count) % 3]


def masked_store(path: Path, count: int = 60, kinds: int = 3, void: bool = False, **overrides: Any) -> PatchStore:
    """Patches with masks of `kinds` classes, no label of the whole; where `void`, one row of cells is unknown."""
    masks = random_masks(count, kinds)
    shown = pictures(masks)
    if void:
        masks[:, :CELL] = VOID
    found = {"bands": load_sensor("rgb8").bands, "classes": CLASSES, "masks": masks, "split": splits(count)}
    return PatchStore.from_arrays(path, shown, **found | where(count) | overrides)


def change_store(path: Path, count: int = 60) -> PatchStore:
    """Pairs of which the second image is brighter where the mask is 1; the second date is a year later."""
    masks, known = random_masks(count, 2), where(count)
    images = np.stack((pictures(np.zeros_like(masks)), pictures(masks)), axis=1)  # (count, 2, 3, H, W)
    plan = pd.DataFrame(
        {
            "id": [f"{i:03d}-{date}" for i in range(count) for date in "ab"],
            "split": splits(count).repeat(2),
            "lat": known["place"][:, 0].repeat(2),
            "lon": known["place"][:, 1].repeat(2),
            "number": np.arange(2 * count),
        }
    )
    time = known["time"].repeat(2) + np.tile([0, 40], count) * np.timedelta64(1, "D")
    plan["time"] = pd.DatetimeIndex(time, tz="UTC")
    targets = pd.DataFrame(
        {
            "id": [f"{i:03d}" for i in range(count)],
            "kind": "change",
            "members": [[f"{i:03d}-a", f"{i:03d}-b"] for i in range(count)],
            "mask": list(masks),
        }
    )
    flat = images.reshape(-1, 3, SIDE, SIDE)
    header = StoreHeader(bands=load_sensor("rgb8").bands)

    def make(rows: pd.DataFrame) -> Shard:
        return Shard(rows, flat[rows["number"]])

    return build(path, plan, make, header, shard_size=1000, workers=1, title="test", targets=targets)


def dense_settings(store: Path, target: str = "mask", **model: Any) -> dict[str, Any]:
    """A configuration of a training of 12 steps."""
    config = settings(store, **model)
    if "encoder" not in model:
        config["model"]["encoder"] |= {"patch_size": 4, "stem": "convolutions"}
    config["data"] |= {"target": target, "labels_per_class": None, "label_share": 0.3}
    return config
