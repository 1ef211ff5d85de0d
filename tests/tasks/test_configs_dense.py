"""Configurations of segmentation and change: built at full size without memory, run at toy size."""

from pathlib import Path

import pytest
import torch

from tests.tasks.conftest import write_config
from tests.tasks.dense_stores import change_store, masked_store
from tests.tasks.test_configs import ROOT, read
from wherewhen.bands import load_sensor
from wherewhen.cli import main
from wherewhen.encoders import DenseLearner
from wherewhen.tasks.facts import Facts
from wherewhen.tasks.task import LabelEfficient, Teacher

DENSE = sorted((ROOT / "world" / "dense").glob("*.yaml")) + sorted((ROOT / "oscd" / "tasks").glob("*.yaml"))


def test_methods_that_are_compared_have_one_budget() -> None:
    first, *others = [read(path) for path in DENSE if path.parent.name == "dense"]
    assert len(others) == 2
    for config in others:
        for key in ("data", "trainer", "log_every", "save_every"):
            assert config[key] == first[key]
        for key in first["model"].keys() - {"algorithm", "teacher", "labels_from"}:
            assert config["model"][key] == first["model"][key]


@pytest.mark.parametrize("path", DENSE, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_config_builds_at_full_size_on_the_meta_device(path: Path) -> None:
    config = read(path)
    model, target = config["model"], config["data"]["target"]
    if "teacher" in model:
        model["teacher"] = Teacher(**model["teacher"])
    bands = load_sensor("sentinel2_l1c" if target == "change" else "sentinel2_l2a").bands
    statistics = (0.2,) * len(bands), (0.1,) * len(bands)
    classes = ("same", "change") if target == "change" else tuple(f"class {i}" for i in range(10))
    shares = (1 / len(classes),) * len(classes)
    task = LabelEfficient(**model)
    with torch.device("meta"):
        task.build(
            Facts(bands, classes, target, config["data"]["image_size"], *statistics, ("place", "time"), (), shares)
        )
        learners = list(task.objective.learners())
        size, dates = config["data"]["image_size"], 2 if target == "change" else 1
        assert all(isinstance(learner, DenseLearner) for learner in learners)
        logits = learners[0](torch.zeros(2, dates * len(bands), size, size)).logits
    assert logits.shape == (2, len(classes), size, size)
    assert len(learners) == (2 if "teacher" in model else 1)


@pytest.mark.parametrize("path", DENSE, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_config_runs_two_steps_at_toy_size(path: Path, tmp_path: Path) -> None:
    config = read(path)
    change = config["data"]["target"] == "change"
    store = (change_store if change else masked_store)(tmp_path / "store").path
    config["data"] |= {"store": str(store), "image_size": 32, "labelled_batch": 4, "unlabelled_batch": 4}
    config["trainer"] |= {"max_steps": 2, "accelerator": "cpu", "enable_progress_bar": False, "logger": False}
    config["trainer"].pop("val_check_interval")
    toy = write_config(tmp_path / "toy.yaml", config | {"log_every": 1})
    assert main(["fit", "--config", str(toy), "--run", str(tmp_path / "run")]) == 0
    assert "2,train/loss," in (tmp_path / "run" / "metrics.csv").read_text(encoding="utf-8")
