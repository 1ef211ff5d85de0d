"""Configurations of pre-training: one budget, and two steps at toy size; those of what comes after it likewise."""

from pathlib import Path
from typing import Any

import pytest

from tests.tasks.conftest import write_config
from tests.tasks.test_configs import ROOT, read
from wherewhen.cli import main
from wherewhen.contrast.methods import METHODS
from wherewhen.ingest import world

PRETRAIN = sorted((ROOT / "pretrain").glob("*.yaml"))
OTHERS = sorted(ROOT.glob("*/pretrain/*.yaml"))  # on other images
DOWNSTREAM = [*sorted((ROOT / "downstream").glob("*.yaml")), *sorted(ROOT.glob("eurosat/tasks/*.yaml"))]
TOY: dict[str, Any] = {"max_steps": 2, "accelerator": "cpu", "enable_progress_bar": False, "logger": False}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small world of two periods and two dates, with labels, masks and change."""
    return world.prepare(tmp_path_factory.mktemp("world") / "store", patches=80, visits=2, periods=2).path


def test_there_is_one_for_every_method() -> None:
    assert {path.stem for path in PRETRAIN} == set(METHODS)


@pytest.mark.parametrize("folder", sorted({path.parent for path in PRETRAIN + OTHERS}), ids=lambda p: p.parent.name)
def test_all_of_a_folder_have_one_budget(folder: Path) -> None:
    paths = sorted(folder.glob("*.yaml"))
    first, *others = [read(path) for path in paths]
    for config in others:
        assert {key: value for key, value in config.items() if key != "model"} == {
            key: value for key, value in first.items() if key != "model"
        }
        for key in first["model"].keys() - {"method"}:
            assert config["model"][key] == first["model"][key]
    for path, config in zip(paths, [first, *others], strict=True):
        assert config["model"]["method"] == path.stem


@pytest.mark.parametrize("path", [*PRETRAIN, *OTHERS], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_pretraining_runs_two_steps_at_toy_size(path: Path, store: Path, tmp_path: Path) -> None:
    config = read(path)
    config["model"]["queue"] = 16
    config["data"] |= {"store": str(store), "image_size": 32, "batch_size": 4}
    config["trainer"] |= TOY
    toy = write_config(tmp_path / "toy.yaml", config | {"log_every": 1, "save_every": 2})
    assert main(["pretrain", "--config", str(toy), "--run", str(tmp_path / "run")]) == 0
    assert "2,train/loss," in (tmp_path / "run" / "metrics.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DOWNSTREAM, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_task_runs_two_steps_at_toy_size(path: Path, store: Path, tmp_path: Path) -> None:
    config = read(path)
    config["model"]["encoder"].pop("weights", None)
    config["data"] |= {"store": str(store), "labelled_batch": 4, "unlabelled_batch": 4}
    config["data"] |= {"label_share": 0.5} if "label_share" in config["data"] else {"labels_per_class": 1}
    config["trainer"] |= TOY
    config["trainer"].pop("val_check_interval")
    toy = write_config(tmp_path / "toy.yaml", config | {"log_every": 1})
    assert main(["fit", "--config", str(toy), "--run", str(tmp_path / "run")]) == 0
    assert "2,train/loss," in (tmp_path / "run" / "metrics.csv").read_text(encoding="utf-8")


def test_pretraining_shows_its_progress(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = read(ROOT / "pretrain" / "seco.yaml")
    config["model"]["queue"] = 16
    config["data"] |= {"store": str(store), "batch_size": 4}
    config["trainer"] |= {"max_steps": 20, "accelerator": "cpu"}  # a bar, as by default
    shown = write_config(tmp_path / "shown.yaml", config | {"log_every": 5})
    assert main(["pretrain", "--config", str(shown), "--run", str(tmp_path / "run")]) == 0
    bar = "".join(capsys.readouterr())
    assert "img/s=" in bar
    assert "loss=" in bar


VIT = {"name": "ViT", "patch_size": 8, "width": 16, "depth": 1, "heads": 2, "stem": "convolutions", "statistics": True}


@pytest.mark.parametrize("method", ["moco_v2", pytest.param("saco", marks=pytest.mark.slow)])
def test_a_vit_goes_from_pretraining_to_a_student(method: str, store: Path, tmp_path: Path) -> None:
    pretrain = read(ROOT / "pretrain" / f"{method}.yaml")
    pretrain["model"] |= {"encoder": VIT, "queue": 16}
    pretrain["data"] |= {"store": str(store), "batch_size": 4}
    pretrain["trainer"] |= TOY
    first = write_config(tmp_path / "first.yaml", pretrain)
    assert main(["pretrain", "--config", str(first), "--run", str(tmp_path / "encoder")]) == 0

    fit = read(ROOT / "downstream" / "stssl.yaml")
    weights = {"weights": str(tmp_path / "encoder" / "encoder.safetensors")}
    grouped = {"name": "Grouped", "encoder": VIT, "texture": "bands"}
    fit["model"]["encoder"] = (grouped if method == "saco" else VIT) | weights
    fit["data"] |= {"store": str(store), "labels_per_class": 1, "labelled_batch": 4, "unlabelled_batch": 4}
    fit["trainer"] |= TOY
    fit["trainer"].pop("val_check_interval")
    then = write_config(tmp_path / "then.yaml", fit)
    assert main(["fit", "--config", str(then), "--run", str(tmp_path / "student")]) == 0
    assert main(["test", "--config", str(then), "--run", str(tmp_path / "student")]) == 0
    assert (tmp_path / "student" / "test.json").is_file()
