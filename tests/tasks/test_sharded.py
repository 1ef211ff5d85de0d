"""A training whose networks are divided among processes is the training of one process."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

from tests.tasks.conftest import make_store, settings, write_config
from wherewhen.cli import main
from wherewhen.tasks.sharded import blocks

WORKER = """
import os, sys
import torch
from wherewhen.cli import main
from wherewhen.tasks.guard import GuardedModule

check, start = GuardedModule.on_before_optimizer_step, GuardedModule.on_train_batch_start

def poisoned(self, optimizer):
    if self.global_step == 2 and self.global_rank == 1:
        optimizer.param_groups[0]["params"][3].grad.to_local().fill_(torch.nan)
    check(self, optimizer)

def killed(self, batch, index):
    if self.global_step == 6:
        os._exit(9)
    if self.global_step == 5:
        weights = [p for n in (self.objective.student, self.objective.student_ema) for p in n.parameters()]
        here, whole = (sum(map(torch.numel, ws)) for ws in ([w.to_local() for w in weights], weights))
        print(f"{here / whole:.3f} of the weights are here")
    start(self, batch, index)

if sys.argv[1] == "poisoned":
    GuardedModule.on_before_optimizer_step = poisoned
if sys.argv[1] == "killed":
    GuardedModule.on_train_batch_start = killed
sys.exit(main(sys.argv[2:]))
"""


def fit(folder: Path, run: str, fault: str = "none") -> subprocess.CompletedProcess[str]:
    """Train on two processes."""
    script = folder / "worker.py"
    script.write_text(WORKER)
    words = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--", str(script), fault]
    words += ["fit", "--config", str(folder / "config.yaml"), "--run", str(folder / run)]
    words += ["--trainer.devices", "2", "--trainer.strategy", "fsdp"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration, a run of it by one process, and one by two that divide its networks."""
    folder = tmp_path_factory.mktemp("sharded")
    config = settings(make_store(folder / "store").path)
    config["model"]["encoder"]["drop_path"] = 0.0  # drawn by each process for itself
    config["trainer"] |= {"max_steps": 8, "val_check_interval": 4}
    config |= {"log_every": 1, "save_every": 4}
    path = write_config(folder / "config.yaml", config)
    assert main(["fit", "--config", str(path), "--run", str(folder / "alone")]) == 0
    done = fit(folder, "divided")
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return folder


def checkpoint(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return found


def test_every_step_costs_what_it_costs_one_process(folder: Path) -> None:
    alone, divided = (pd.read_csv(folder / run / "metrics.csv") for run in ("alone", "divided"))
    pd.testing.assert_frame_equal(alone[["step", "name"]], divided[["step", "name"]])
    assert set(alone["name"]) >= {"train/student/distill", "train/accepted", "val/accuracy"}
    assert (alone["value"] - divided["value"]).abs().max() < 1e-5


def test_a_checkpoint_is_that_of_one_process(folder: Path) -> None:
    alone, divided = (checkpoint(folder / run) for run in ("alone", "divided"))
    # keys' biases have no gradient but rounding, of which Adam makes steps as large as any
    torch.testing.assert_close(divided["state_dict"], alone["state_dict"], atol=1e-3, rtol=0)
    for ours, theirs in zip(divided["optimizer_states"], alone["optimizer_states"], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert main(["test", "--run", str(folder / "divided")]) == 0  # whatever its configuration says of processes
    assert main(["test", "--run", str(folder / "alone")]) == 0
    tested = [json.loads((folder / run / "test.json").read_text()) for run in ("alone", "divided")]
    assert tested[1]["accuracy"] == pytest.approx(tested[0]["accuracy"], abs=5)


def test_each_process_holds_its_part_and_goes_on_to_the_same_bits_after_a_kill(folder: Path) -> None:
    stopped = fit(folder, "killed", "killed")
    assert stopped.returncode != 0
    shares = re.findall(r"(\S+) of the weights are here", stopped.stdout)
    assert [float(share) for share in shares] == pytest.approx([0.5, 0.5], abs=0.1)
    assert checkpoint(folder / "killed")["global_step"] == 4
    done = fit(folder, "killed")
    assert done.returncode == 0, done.stderr
    assert (folder / "killed" / "metrics.csv").read_bytes() == (folder / "divided" / "metrics.csv").read_bytes()
    ended, whole = (checkpoint(folder / run) for run in ("killed", "divided"))
    for part in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(ended[part], whole[part], atol=0, rtol=0)


def test_blocks_within_blocks_come_first() -> None:
    inner = nn.ModuleDict({"blocks": nn.Sequential(nn.Linear(2, 2), nn.ReLU())})
    outer = nn.ModuleDict({"blocks": nn.ModuleList([inner, nn.ModuleList([nn.Linear(2, 2)])])})
    assert [type(block).__name__ for block in blocks(outer)] == ["Linear", "ReLU", "ModuleDict"]


def test_a_step_that_is_bad_in_one_part_is_passed_over_by_all(folder: Path) -> None:
    done = fit(folder, "poisoned", "poisoned")
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(folder / "poisoned" / "metrics.csv")
    assert list(rows[rows["name"] == "steps/skipped"].itertuples(index=False, name=None)) == [(3, "steps/skipped", 1.0)]
    assert all(value.isfinite().all() for value in checkpoint(folder / "poisoned")["state_dict"].values())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fit", "--model.micro_batch", "2"], "goes without model.compile and model.micro_batch"),
        (["fit", "--model.encoder.stem", "convolutions"], "is for networks without batch norm"),
        (["pretrain"], "is for `fit`"),
    ],
)
def test_what_cannot_be_divided_is_refused(folder: Path, words: list[str], said: str) -> None:
    verb, *more = words
    config = folder / "config.yaml"
    if verb == "pretrain":
        encoder = {"name": "ViT", "patch_size": 8, "width": 16, "depth": 1, "heads": 2}
        model = {"method": "moco_v2", "encoder": encoder, "queue": 16}
        data = {"store": str(folder / "store"), "image_size": 16, "batch_size": 4}
        config = write_config(folder / "pretrain.yaml", {"model": model, "data": data, "trainer": {"max_steps": 2}})
    run = ["--run", str(folder / "refused"), "--trainer.strategy", "fsdp", "--trainer.accelerator", "cpu"]
    # in a process of its own: the one that is refused has already met the others
    command = [sys.executable, "-m", "wherewhen", verb, "--config", str(config), *run, *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert said in done.stderr
