"""The step that is timed is the step that a Trainer makes."""

from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

steps = pytest.importorskip("steps")
STEPS = 3
CASE = steps.Case("tiny", 16, 4, 8, {"patch_size": 8, "width": 16, "depth": 1, "heads": 2})


@pytest.mark.parametrize("method", steps.METHODS)
def test_it_trains_as_lightning_does(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "PATCHES", 60)
    cpu = torch.device("cpu")
    store = steps.make_store(tmp_path, CASE.size)
    timed = steps.build(steps.METHODS[method], CASE, store, cpu)
    timed.trainer.estimated_stepping_batches = STEPS
    for _ in range(STEPS):
        timed.step()
    trainer = pl.Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    steps.through_weak(steps.build(steps.METHODS[method], CASE, store, cpu)).step()
    task, data = steps.parts(steps.METHODS[method], CASE, store)
    trainer.fit(task, datamodule=data)
    for name, value in task.state_dict().items():
        torch.testing.assert_close(timed.task.state_dict()[name], value, msg=name)
