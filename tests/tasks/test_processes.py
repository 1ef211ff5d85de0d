"""A training by one, two or four processes with the same global batch is one training."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.processes import PROCESSES, together_and_alone
from tests.tasks.conftest import make_store, settings, write_config
from wherewhen.tasks.run import Journal, Run

COUNTS = (1, 2, 4)
TRAININGS = """
import sys
from wherewhen.cli import main
for count in sys.argv[3:]:
    words = ["fit", "--config", sys.argv[1], "--run", f"{sys.argv[2]}/{count}", "--trainer.devices", count]
    assert main([*words, "--trainer.strategy", "ddp_fork" if int(count) > 1 else "auto"]) == 0
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each number of processes: ST-SSL, which has all there is to share."""
    folder = tmp_path_factory.mktemp("runs")
    config = settings(make_store(folder / "store").path)
    config["model"]["encoder"]["drop_path"] = 0.0  # drawn by each process for itself
    config["trainer"] |= {"max_steps": 8, "val_check_interval": 4}
    config |= {"log_every": 1, "save_every": 8}
    words = [str(write_config(folder / "config.yaml", config)), str(folder), *map(str, reversed(COUNTS))]
    # in a process of its own: what is forked must not have used threads before
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", TRAININGS, *words], env=environment, check=True, timeout=600)
    return folder


@pytest.mark.parametrize("count", COUNTS[1:])
def test_every_step_costs_what_it_costs_one_process(runs: Path, count: int) -> None:
    alone, together = (pd.read_csv(runs / str(n) / "metrics.csv") for n in (1, count))
    pd.testing.assert_frame_equal(alone[["step", "name"]], together[["step", "name"]])
    assert set(alone["name"]) >= {"train/loss", "train/student/unlabelled", "train/accepted", "val/accuracy"}
    assert (alone["value"] - together["value"]).abs().max() < 1e-5
    weights = [torch.load(runs / str(n) / "checkpoints" / "last.ckpt", weights_only=True) for n in (1, count)]
    for name, value in weights[0]["state_dict"].items():
        # keys' biases have no gradient but rounding, of which AdamW makes steps as large as any
        torch.testing.assert_close(weights[1]["state_dict"][name], value, atol=1e-3, rtol=0)


def sums(rank: int | None) -> dict[str, torch.Tensor]:
    """What a journal keeps for a checkpoint after a step of each process, and after another."""
    journal = Journal(Run("unused"), every=3)
    found = {}
    for step in range(2):
        loss = {0: 1.0, 1: 5.0, None: 3.0}[rank] + step
        journal.sums = {"loss": journal.sums.get("loss", torch.zeros(())) + torch.tensor(loss)}
        found[f"after {step}"] = journal.state_dict()["sums"]["loss"]
    return found


def test_a_checkpoint_keeps_the_losses_of_all_processes(tmp_path: Path) -> None:
    assert PROCESSES == 2
    first, second, alone = together_and_alone(sums, tmp_path)
    assert first == second == alone == {"after 0": torch.tensor(3.0), "after 1": torch.tensor(7.0)}
