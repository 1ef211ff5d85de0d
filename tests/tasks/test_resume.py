"""A run that is killed and started again ends in the same bits as one that was left alone."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tasks.conftest import settings, write_config
from wherewhen.cli import main

# Runs the command line in a process that kills itself without a word: at the end of a given step, or when half of
# the n-th checkpoint is written.
DIE = """
import os, signal, sys, io, torch
import wherewhen.tasks.run as run
from wherewhen.tasks.task import LabelEfficient
where, when = sys.argv[1], int(sys.argv[2])

def die():
    os.kill(os.getpid(), signal.SIGKILL)

if where == "step":
    after = LabelEfficient.optimizer_step
    def optimizer_step(self, *args, **kwargs):
        after(self, *args, **kwargs)
        if self.global_step + 1 == when:
            die()
    LabelEfficient.optimizer_step = optimizer_step
elif where == "checkpoint":
    count = 0
    save = torch.save
    def half(value, path):
        global count
        count += 1
        if count < when:
            return save(value, path)
        whole = io.BytesIO()
        save(value, whole)
        with open(path, "wb") as file:
            file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
        die()
    run.torch.save = half
from wherewhen.cli import main
sys.exit(main(sys.argv[3:]))
"""


def fit(config: Path, run: Path, *death: str, more: Sequence[str] = ()) -> int:
    """Exit code of a training, negative where it died so."""
    words = ["fit", "--config", str(config), "--run", str(run), *more]
    if not death:
        return main(words)
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.run(
        [sys.executable, "-c", DIE, *death, *words], env=environment, capture_output=True, timeout=300
    ).returncode


def tensors(value: Any, path: str = "") -> dict[str, Any]:
    """Every leaf of a nested structure by its path."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in tensors(item, f"{path}/{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for i, item in enumerate(value) for k, v in tensors(item, f"{path}/{i}").items()}
    return {path: value}


def state(run: Path) -> dict[str, Any]:
    """Weights, both averages, optimiser and schedule of a run's last checkpoint."""
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 12
    return tensors({k: checkpoint[k] for k in ("state_dict", "optimizer_states", "lr_schedulers", "callbacks")})


@pytest.mark.parametrize(
    "deaths",
    [pytest.param([("step", "8")], marks=pytest.mark.slow), [("checkpoint", "4")], [("step", "2"), ("step", "10")]],
)
def test_killed_and_started_again_equals_an_uninterrupted_run(
    store: Path, tmp_path: Path, deaths: list[tuple[str, str]]
) -> None:
    config = write_config(tmp_path / "config.yaml", settings(store))
    assert fit(config, tmp_path / "calm") == 0
    for death in deaths:
        assert fit(config, tmp_path / "killed", *death) == -9
    assert fit(config, tmp_path / "killed") == 0

    calm, killed = state(tmp_path / "calm"), state(tmp_path / "killed")
    assert any("student_ema" in name for name in calm)
    assert calm.keys() == killed.keys()
    for name, value in calm.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, killed[name]), name
        else:
            assert value == killed[name], name
    names = {p.relative_to(tmp_path / "calm") for p in (tmp_path / "calm").rglob("*")}
    assert names == {p.relative_to(tmp_path / "killed") for p in (tmp_path / "killed").rglob("*")}
    for file in ("metrics.csv", "curves.png"):
        assert (tmp_path / "calm" / file).read_bytes() == (tmp_path / "killed" / file).read_bytes()


def test_the_same_command_on_a_finished_run_changes_nothing(store: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "config.yaml", settings(store))
    assert fit(config, tmp_path / "run") == 0
    before = state(tmp_path / "run"), (tmp_path / "run" / "metrics.csv").read_bytes()
    assert fit(config, tmp_path / "run") == 0
    after = state(tmp_path / "run")
    assert all(torch.equal(v, after[k]) for k, v in before[0].items() if isinstance(v, torch.Tensor))
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == before[1]


def test_a_folder_with_another_run_is_refused(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path / "config.yaml", settings(store))
    assert fit(config, tmp_path / "run") == 0
    other = write_config(tmp_path / "other.yaml", settings(store, learning_rate=2e-3))
    assert fit(other, tmp_path / "run") == 2
    assert "learning_rate" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_named(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path / "config.yaml", settings(store))
    assert fit(config, tmp_path / "run") == 0
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    assert fit(config, tmp_path / "run") == 2
    assert "last.ckpt" in capsys.readouterr().err
