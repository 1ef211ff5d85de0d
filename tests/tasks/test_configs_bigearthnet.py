"""Every configuration for BigEarthNet: the recipe it claims, built at full size without memory, run at toy size.

Those for the world on real ground have the same methods, and run here as well.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tests.tasks.conftest import CLASSES, make_store, write_config
from wherewhen import semi
from wherewhen.bands import load_sensor
from wherewhen.cli import main
from wherewhen.ingest.bigearthnet import RGB
from wherewhen.ingest.nomenclature import CLASSES_43
from wherewhen.tasks.facts import Facts
from wherewhen.tasks.task import LabelEfficient, Teacher

ROOT = Path(__file__).parents[2] / "configs" / "bigearthnet"
GROUND = ROOT.parent / "ground"
FOURIER = {"encoding": "fourier", "metadata_dropout": 0.5}

# "Context Matters", sections 4.1 and 4.2, and supplement
ENCODER = {
    "name": "ViT",
    "patch_size": 16,
    "width": 384,
    "depth": 12,
    "heads": 6,
    "drop_path": 0.2,
    "weights": "weights/vit_small_patch16_224_mlp_im_1k_224.pth",
}
OPTIMISER = {"learning_rate": 1e-4, "weight_decay": 5e-4, "lr_warmup_steps": 0, "schedule": "cosine"}
VIEWS = {"crop_ratio": 0.875, "operations": 3, "cutout": 0.0}
DATA = {
    "store": "stores/bigearthnet",
    "image_size": 128,
    "label_share": 0.01,
    "labelled_batch": 64,
    "unlabelled_batch": 448,
}
REST = {"trainer": {"max_steps": 64_000, "val_check_interval": 2_000}, "log_every": 250, "save_every": 2_000}
TEACHER = {"metadata": ["place", "time"], "distill_weight": 1.0}

# file -> the algorithm, what else differs, published mAP of the plain and of the ST-SSL variant (table 1)
CONFIDENT = {"threshold": [0.95, 0.7]}  # a decision is sure where p ≤ 0.05 or p ≥ 0.7
ALGORITHMS: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, str]]] = {
    "fixmatch": ({"name": "FixMatch", **CONFIDENT}, {}, ("42.56", "46.12")),
    "udal": (
        {"name": "UDAL", **CONFIDENT, "alpha_min": 0.5, "power": 2.0, "momentum": 0.999},
        {},
        ("42.32", "45.84"),
    ),
    "softmatch": ({"name": "SoftMatch", "sigmas": 2.0, "momentum": 0.999}, {}, ("41.95", "45.34")),
    "freematch": (
        {"name": "FreeMatch", "fairness": 0.001, "momentum": 0.999},
        {"warmup_steps": 2_000},
        ("42.46", "45.20"),
    ),
    "defixmatch": ({"name": "DeFixMatch", **CONFIDENT}, {"unlabelled_weight": 0.5}, ("43.09", "46.65")),
    "cap": (
        {
            "name": "CAP",
            "keep_present": 1.0,
            "keep_absent": 1.0,
            "memory": 64_000,
            "gamma": [4.0, 1.0],
            "clip": 0.05,
        },
        {},
        ("41.81", "45.53"),
    ),
    "cdmad": ({"name": "CDMAD", "threshold": [0.95, 0.95], "start": 2_000}, {}, ("41.48", "43.74")),
}
METHODS = ["supervised", *(prefix + name for name in ALGORITHMS for prefix in ("", "stssl_"))]


def read(method: str, folder: Path = ROOT) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((folder / f"{method}.yaml").read_text(encoding="utf-8"))
    return config


def recipe(method: str) -> dict[str, Any]:
    """The whole configuration."""
    model: dict[str, Any] = {"encoder": ENCODER, **OPTIMISER, **VIEWS}
    if method == "supervised":
        model["ema_momentum"] = 0.0
    else:
        algorithm, others, _ = ALGORITHMS[method.removeprefix("stssl_")]
        model |= {"algorithm": algorithm, "unlabelled_weight": 1.0, "ema_momentum": 0.999} | others
    if method.startswith("stssl_"):
        model["teacher"] = TEACHER
    return {"model": model, "data": DATA, **REST}


def test_there_is_a_file_for_each_method_and_no_other() -> None:
    assert sorted(path.stem for path in ROOT.iterdir()) == sorted(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_configs_are_the_recipe(method: str) -> None:
    assert read(method) == recipe(method)


@pytest.mark.parametrize("method", METHODS[1:])
def test_configs_state_the_published_figure(method: str) -> None:
    plain, with_teacher = ALGORITHMS[method.removeprefix("stssl_")][2]
    head = (ROOT / f"{method}.yaml").read_text(encoding="utf-8").split("model:")[0]
    assert f"Published mAP: {with_teacher if method.startswith('stssl_') else plain} %" in head
    assert f"configs/bigearthnet/{method}.yaml" in head


def facts() -> Facts:
    bands, statistics = load_sensor("sentinel2_l2a").select(RGB), ((0.05,) * 3, (0.04,) * 3)
    return Facts(bands, CLASSES_43, "many", 128, *statistics, ("place", "time"), (), (0.05,) * 43)


@pytest.mark.parametrize("method", METHODS)
def test_configs_build_at_full_size_on_the_meta_device(method: str) -> None:
    model = read(method)["model"]
    del model["encoder"]["weights"]
    if "teacher" in model:
        model["teacher"] = Teacher(**model["teacher"])
    task = LabelEfficient(**model)
    with torch.device("meta"):
        task.build(facts())
    learners = list(task.objective.learners())
    assert len(learners) == (2 if "teacher" in model else 1)
    parameters = sum(p.numel() for name, p in learners[0].named_parameters() if name.startswith("encoder."))
    assert 21.5e6 < parameters < 21.8e6  # ViT-S with patches of 16 on 8 × 8 positions
    assert all(p.is_meta for p in learners[0].parameters())
    if isinstance(task.objective, semi.SemiSupervised):
        assert type(task.objective.algorithm).__name__ == model["algorithm"]["name"]
        assert task.objective.warmup_steps == model.get("warmup_steps", 0)


def test_methods_on_real_ground_have_one_budget_and_the_paper_s_arguments() -> None:
    assert sorted(path.stem for path in GROUND.iterdir()) == sorted(METHODS)
    configs = {method: read(method, GROUND) for method in METHODS}
    first = configs["supervised"]
    for method, config in configs.items():
        algorithm = config["model"].pop("algorithm", {"name": None})
        if method != "supervised":
            paper = ALGORITHMS[method.removeprefix("stssl_")][0]
            for key in algorithm.keys() - {"threshold", "momentum", "start"}:  # a short run needs others of these
                assert algorithm[key] == paper[key]
            assert config["model"].pop("labels_from") == "ema"
            assert config["model"].pop("unlabelled_weight", 1.0) == (0.5 if "defixmatch" in method else 1.0)
        if method.startswith("stssl_"):
            assert config["model"].pop("teacher") == TEACHER | FOURIER
        assert config == first


@pytest.mark.parametrize("folder", [ROOT, GROUND], ids=lambda p: p.name)
@pytest.mark.parametrize("method", METHODS)
def test_configs_run_two_steps_at_toy_size(method: str, folder: Path, tmp_path: Path) -> None:
    config = read(method, folder)
    labels = (np.random.default_rng(0).random((90, len(CLASSES))) < 0.4).astype(np.int8)
    split = np.array(["train", "train", "val"], dtype=object)[np.arange(90) % 3]
    store = make_store(tmp_path / "store", 90, labels=labels, split=split)
    config["model"]["encoder"] |= {"patch_size": 8, "width": 16, "depth": 1, "heads": 2, "weights": None}
    config["data"] |= {"store": str(store.path), "image_size": 16, "label_share": 0.2}
    config["data"] |= {"labelled_batch": 4, "unlabelled_batch": 4}
    config["trainer"] |= {
        "max_steps": 2,
        "val_check_interval": 2,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "logger": False,
    }
    toy = write_config(tmp_path / "toy.yaml", config | {"log_every": 1})
    assert main(["fit", "--config", str(toy), "--run", str(tmp_path / "run")]) == 0
    metrics = (tmp_path / "run" / "metrics.csv").read_text(encoding="utf-8")
    assert "2,train/loss," in metrics
    assert "2,val/" in metrics
    assert "nan" not in metrics


def test_a_prepared_store_trains(tmp_path: Path) -> None:
    fake = pytest.importorskip("tests.ingest.test_bigearthnet")
    names = [name for name, *_ in fake.V1]
    lists = fake.write_lists(tmp_path / "lists", train="\n".join(names[:3]), val=names[3])
    store = fake.prepare(fake.make_v1(tmp_path / "in"), tmp_path / "store", classes=43, lists=lists)
    config = read("stssl_fixmatch")
    config["model"]["encoder"] |= {"width": 16, "depth": 1, "heads": 2, "weights": None}
    config["data"] |= {"store": str(store.path), "label_share": 1.0, "labelled_batch": 2, "unlabelled_batch": 2}
    config["trainer"] |= {"max_steps": 2, "val_check_interval": 2, "accelerator": "cpu", "logger": False}
    path = write_config(tmp_path / "config.yaml", config)
    assert main(["fit", "--config", str(path), "--run", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "labelled.csv").read_text().split() == ["id", *names[:3]]
