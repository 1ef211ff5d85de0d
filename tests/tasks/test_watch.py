from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.tasks.conftest import settings, write_config
from wherewhen.cli import main
from wherewhen.semi import UNKNOWN, PseudoLabels
from wherewhen.tasks.watch import quality


def shares(targets: torch.Tensor, weights: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    return {name: value.item() for name, value in quality(PseudoLabels(targets, weights), truth).items()}


def test_one_label() -> None:
    truth = torch.tensor([0, 1, 2, UNKNOWN])
    found = shares(torch.tensor([0, 0, 2, 1]), torch.tensor([1.0, 1.0, 0.0, 1.0]), truth)
    assert found == pytest.approx({"believed": 2 / 3, "right": 1 / 3})
    soft = torch.eye(3)[[0, 0, 2, 1]] * 0.6
    assert shares(soft, torch.tensor([1.0, 1.0, 0.0, 1.0]), truth) == pytest.approx(found)


def test_many_labels_have_a_precision() -> None:
    targets, truth = torch.tensor([[1, 0], [1, 0]]), torch.tensor([[1, 0], [0, UNKNOWN]])
    found = shares(targets, torch.tensor([[1.0, 1.0], [0.5, 1.0]]), truth)
    assert found == pytest.approx(
        {"believed": 2.5 / 3, "right": 2 / 3, "believed_present": 1.5 / 3, "right_present": 1 / 3}
    )


def test_watching_changes_nothing_but_the_figures(store: Path, tmp_path: Path) -> None:
    tables = []
    for watch in (False, True):
        config = settings(store) | {"watch": watch}
        path, run = write_config(tmp_path / f"{watch}.yaml", config), tmp_path / f"run-{watch}"
        assert main(["fit", "--config", str(path), "--run", str(run)]) == 0
        tables.append(pd.read_csv(run / "metrics.csv"))
    plain, watched = tables
    extra = watched["name"].isin({"train/believed", "train/right"})
    pd.testing.assert_frame_equal(watched[~extra].reset_index(drop=True), plain)
    figures = watched[extra].pivot(index="step", columns="name", values="value")
    assert len(figures) == 6
    assert (figures["train/right"] <= figures["train/believed"]).all()
    accepted = plain[plain["name"] == "train/accepted"].set_index("step")["value"]
    pd.testing.assert_series_equal(figures["train/believed"], accepted, check_names=False)  # every label is known
