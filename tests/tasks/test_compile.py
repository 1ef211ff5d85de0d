"""Compiled networks learn what the others learn."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from tests.tasks.conftest import settings, write_config
from wherewhen.cli import main

pytestmark = pytest.mark.slow  # a compiler is slow


def fit(store: Path, folder: Path, **model: Any) -> int:
    config = settings(store, **model)
    config["trainer"] |= {"max_steps": 6, "val_check_interval": 3}
    config["log_every"] = 1
    return main(["fit", "--config", str(write_config(folder / "config.yaml", config)), "--run", str(folder / "run")])


@pytest.mark.parametrize("teacher", [None, {"distill_weight": 0.5}])
def test_losses_are_the_same_but_for_rounding(store: Path, tmp_path: Path, teacher: dict[str, Any] | None) -> None:
    """With drop path: the random numbers are the same, too."""
    figures = []
    for compiled in (False, True):
        folder = tmp_path / str(compiled)
        folder.mkdir()
        torch.compiler.reset()
        assert fit(store, folder, teacher=teacher, compile=compiled) == 0
        figures.append(pd.read_csv(folder / "run" / "metrics.csv"))
    plain, compiled_ones = figures
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0  # something was compiled
    pd.testing.assert_frame_equal(plain[["step", "name"]], compiled_ones[["step", "name"]])
    assert (plain["value"] - compiled_ones["value"]).abs().max() < 1e-4


def test_without_a_compiler_it_says_so(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from torch._inductor import config

    torch.compiler.reset()
    monkeypatch.setattr(config.cpp, "cxx", (None, "/nonexistent"))
    monkeypatch.setattr(config, "force_disable_caches", True)
    assert fit(store, tmp_path, compile=True) == 2
    assert "model.compile: InvalidCxxCompiler" in capsys.readouterr().err
