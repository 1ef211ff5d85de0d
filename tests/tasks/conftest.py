"""A store and a configuration small enough to train in seconds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from wherewhen.bands import load_sensor
from wherewhen.store import PatchStore

CLASSES = ("field", "forest", "water")


def make_store(path: Path, count: int = 60, seed: int = 0, **overrides: Any) -> PatchStore:
    """Noisy pictures whose colour tells the class, with place and time."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    pixels = rng.normal(90, 20, (count, 3, 16, 16))
    pixels[np.arange(count), labels] += 60
    settings: dict[str, Any] = {
        "bands": load_sensor("rgb8").bands,
        "place": np.column_stack((rng.uniform(40, 60, count), rng.uniform(0, 20, count))),
        "time": np.datetime64("2020-01-01T10:00", "ns") + rng.integers(0, 365, count) * np.timedelta64(1, "D"),
        "labels": labels,
        "classes": CLASSES,
        "split": np.array(["train", "train", "test"], dtype=object)[np.arange(count) // len(CLASSES) % 3],
    }
    return PatchStore.from_arrays(path, pixels.clip(0, 255).astype(np.uint8), **settings | overrides)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make_store(tmp_path / "store").path


def settings(store: Path, **model: Any) -> dict[str, Any]:
    """A configuration of a training of 12 steps."""
    return {
        "model": {
            "encoder": {
                "name": "ViT",
                "patch_size": 8,
                "width": 16,
                "depth": 2,
                "heads": 2,
                "drop_path": 0.2,
            },
            "algorithm": {"name": "FixMatch", "threshold": 0.4},
            "teacher": {"distill_weight": 0.5},
            "ema_momentum": 0.9,
            "learning_rate": 1e-3,
            **model,
        },
        "data": {
            "store": str(store),
            "labels_per_class": 2,
            "labelled_batch": 4,
            "unlabelled_batch": 8,
            "validation": 0.2,
        },
        "trainer": {
            "max_steps": 12,
            "val_check_interval": 4,
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "logger": False,
        },
        "log_every": 2,
        "save_every": 3,
    }


def write_config(path: Path, config: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path
