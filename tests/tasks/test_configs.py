"""Every configuration: equal to the recipe it claims, built at full size without memory, run at toy size."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.tasks.conftest import make_store, write_config
from wherewhen.bands import load_sensor
from wherewhen.cli import main
from wherewhen.tasks.facts import Facts
from wherewhen.tasks.task import LabelEfficient, Teacher

ROOT = Path(__file__).parents[2] / "configs"
MANY = set(ROOT.glob("bigearthnet/*")) | set(ROOT.glob("ground/*"))  # many labels: test_configs_bigearthnet.py
DENSE = set(ROOT.glob("world/dense/*")) | set(ROOT.glob("oscd/tasks/*"))  # labels of pixels: test_configs_dense.py
LATER = (
    set(ROOT.glob("**/pretrain/*")) | set(ROOT.glob("downstream/*")) | set(ROOT.glob("eurosat/tasks/*"))
)  # and these
ALL = sorted(set(ROOT.rglob("*.yaml")) - MANY - DENSE - LATER)
METHODS = ("supervised", "fixmatch", "stssl_fixmatch")
PAPER = [(m, n) for m in METHODS for n in (10, 20, 40, 80)]
TEN = tuple(f"class {i}" for i in range(10))

# "Context Matters", section 4.2 and supplement; USB's EuroSAT protocol
RECIPE: dict[str, Any] = {
    "data.image_size": 32,
    "model.encoder.patch_size": 2,
    "model.encoder.width": 384,
    "model.encoder.depth": 12,
    "model.encoder.heads": 6,
    "model.encoder.drop_path": 0.2,
    "model.encoder.weights": "weights/vit_small_patch2_32_mlp_im_1k_32.pth",
    "data.labelled_batch": 8,
    "data.unlabelled_batch": 8,
    "trainer.max_steps": 204_800,
    "model.learning_rate": 5e-5,
    "model.weight_decay": 5e-4,
    "model.lr_warmup_steps": 5_120,
    "model.schedule": "cosine",
    "model.crop_ratio": 0.875,
    "model.operations": 3,
    "model.cutout": 0.5,
}
UNLABELLED: dict[str, Any] = {
    "model.algorithm.name": "FixMatch",
    "model.algorithm.threshold": 0.95,
    "model.unlabelled_weight": 1.0,
    "model.ema_momentum": 0.999,
}
TEACHER: dict[str, Any] = {"model.teacher.metadata": ["place"], "model.teacher.distill_weight": 0.01}


def read(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return config


def at(config: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


@pytest.mark.parametrize(("method", "labels"), PAPER)
def test_paper_configs_are_the_recipe(method: str, labels: int) -> None:
    config = read(ROOT / "eurosat" / f"{method}_{labels}.yaml")
    expected = RECIPE | {"data.labels_per_class": labels // 10}
    expected |= {} if method == "supervised" else UNLABELLED
    expected |= TEACHER if method == "stssl_fixmatch" else {}
    for key, value in expected.items():
        assert at(config, key) == value, key
    assert ("algorithm" in config["model"]) == (method != "supervised")
    assert ("teacher" in config["model"]) == (method == "stssl_fixmatch")


@pytest.mark.parametrize("folder", ["eurosat/cpu", "world"])
def test_methods_that_are_compared_have_one_budget(folder: str) -> None:
    first, *others = [read(path) for path in sorted((ROOT / folder).glob("*.yaml")) if path.stem != "all_labels"]
    assert len(others) == 2 * 6
    for config in others:
        for key in ("data", "trainer", "log_every", "save_every"):
            assert config[key] == first[key]
        for key in first["model"].keys() - {"algorithm", "teacher", "labels_from"}:
            assert config["model"][key] == first["model"][key]
    taught = [config["model"]["teacher"] for config in (first, *others) if "teacher" in config["model"]]
    assert taught == 6 * [taught[0]]


def facts(config: dict[str, Any]) -> Facts:
    bands = load_sensor("sentinel2_l2a" if "world" in config["data"]["store"] else "rgb8").bands
    count = len(bands)
    statistics = (0.2,) * count, (0.1,) * count
    return Facts(bands, TEN, "one", config["data"]["image_size"], *statistics, ("place", "time"), (), (0.1,) * 10)


@pytest.mark.parametrize("path", ALL, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_config_builds_at_full_size_on_the_meta_device(path: Path) -> None:
    config = read(path)
    model = config["model"]
    model["encoder"].pop("weights", None)
    if "teacher" in model:
        model["teacher"] = Teacher(**model["teacher"])
    task = LabelEfficient(**model)
    with torch.device("meta"):
        task.build(facts(config))
    learners = list(task.objective.learners())
    assert len(learners) == (2 if "teacher" in model else 1)
    if path.parent.name == "eurosat":
        parameters = sum(p.numel() for name, p in learners[0].named_parameters() if name.startswith("encoder."))
        assert 21.2e6 < parameters < 21.6e6  # ViT-S


@pytest.mark.parametrize("path", ALL, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_config_runs_two_steps_at_toy_size(path: Path, tmp_path: Path) -> None:
    config = read(path)
    store = make_store(tmp_path / "store", 180)
    config["model"]["encoder"] |= {
        "patch_size": 8, "width": 16, "depth": 1, "heads": 2, "weights": None,
    }  # fmt: skip
    config["data"] |= {"store": str(store.path), "image_size": 16, "labelled_batch": 4, "unlabelled_batch": 4}
    config["trainer"] |= {
        "max_steps": 2, "accelerator": "cpu", "enable_progress_bar": False, "logger": False,
    }  # fmt: skip
    config["trainer"].pop("val_check_interval", None)
    toy = write_config(tmp_path / "toy.yaml", config | {"log_every": 1})
    assert main(["fit", "--config", str(toy), "--run", str(tmp_path / "run")]) == 0
    assert "2,train/loss," in (tmp_path / "run" / "metrics.csv").read_text(encoding="utf-8")


def test_a_paper_config_without_its_weights_stops_and_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(tmp_path / "store", 180).path
    words = ["fit", "--config", str(ROOT / "eurosat" / "fixmatch_20.yaml"), "--run", str(tmp_path / "run")]
    words += ["--data.store", str(store), "--trainer.accelerator", "cpu", "--trainer.logger", "false"]
    assert main(words) == 2
    assert "vit_small_patch2_32_mlp_im_1k_32.pth" in capsys.readouterr().err
    words += ["--from-scratch", "--trainer.max_steps", "1", "--trainer.enable_progress_bar", "false"]
    words += ["--model.encoder.depth", "1", "--data.labelled_batch", "1", "--data.unlabelled_batch", "1"]
    assert main(words) == 0  # in the same folder: a run that never began blocks nothing
