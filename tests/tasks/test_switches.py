"""Every switch of the framework is one key of the configuration (Table 2 of "Context Matters", and more)."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tasks.conftest import settings, write_config
from wherewhen.semi import Clock
from wherewhen.tasks.verbs import Cli

SWITCHES: dict[str, dict[str, Any]] = {
    "as published": {},
    "no time": {"metadata": ["place"]},
    "no place": {"metadata": ["time"]},
    "late fusion": {"fusion": "late"},
    "one network": {"one_network": True},
    "no distillation": {"distill_weight": 0.0},
    "MAE": {"distance": "mae"},
    "cosine": {"distance": "cosine"},
    "class token": {"distill_from": "class_token"},
    "no gradient stop": {"stop_gradient": False},
    "λ_D = 2": {"distill_weight": 2.0},
    "cyclic": {"encoding": "cyclic"},
    "fourier": {"encoding": "fourier"},
    "spherical": {"encoding": "spherical"},
    "metadata dropout": {"metadata_dropout": 0.3},
}


def trained(store: Path, tmp_path: Path, **teacher: Any) -> Cli:
    config = settings(store, teacher={"distill_weight": 1.0} | teacher)
    config["trainer"]["max_steps"] = 2
    cli = Cli(["--config", str(write_config(tmp_path / "config.yaml", config)), "--run", str(tmp_path / "run")])
    cli.trainer.fit(cli.model, cli.datamodule)
    return cli


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_trains_and_every_weight_has_a_part_in_the_loss(store: Path, tmp_path: Path, name: str) -> None:
    cli = trained(store, tmp_path, **SWITCHES[name])
    images, where, y, _ = cli.model.pictures(cli.datamodule.train_dataloader().batches(2))
    losses = cli.model.objective(images, where, y, Clock(2, 2))
    parameters = list(torch.nn.ModuleList(cli.model.objective.learners()).parameters())
    torch.autograd.grad(torch.stack(list(losses.values())).sum(), parameters)  # fails on one without part, as DDP
    assert ("student/distill" in losses) == (name not in ("late fusion", "no distillation"))
    assert cli.model.objective.predict(images["weak"]).isfinite().all()


@pytest.mark.parametrize("name", [name for name in SWITCHES if name != "as published"])
def test_a_switch_changes_the_losses(store: Path, tmp_path: Path, name: str) -> None:
    seen = []
    for changes in ({}, SWITCHES[name]):
        cli = trained(store, tmp_path, **changes)
        images, where, y, _ = cli.model.pictures(cli.datamodule.train_dataloader().batches(2))
        seen.append(cli.model.objective(images, where, y, Clock(2, 2)))
        (tmp_path / "run" / "checkpoints" / "last.ckpt").unlink()
    assert {k: v.item() for k, v in seen[0].items()} != {k: v.item() for k, v in seen[1].items()}


def test_late_fusion_may_follow_the_class_token(store: Path, tmp_path: Path) -> None:
    cli = trained(store, tmp_path, fusion="late", distill_from="class_token")
    assert cli.model.objective.student.token is not None
    assert cli.model.objective.model.position is None
