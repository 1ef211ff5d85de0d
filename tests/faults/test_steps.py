"""Steps that cannot be made: losses that are not finite, and batches that do not fit into a GPU's memory."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import lightning.pytorch as pl
import pytest
import torch
from torch import nn

from tests.faults.verbs import places
from tests.tasks.conftest import settings, write_config
from tests.tasks.conftest import store as store  # a fixture
from wherewhen import cli
from wherewhen.cli import main
from wherewhen.errors import UserError
from wherewhen.tasks import guard
from wherewhen.tasks.task import LabelEfficient

FITS = 5  # images
CONVOLUTIONS = {"name": "tests.tasks.tiny.Tiny"}  # with batch norm


def fit(store: Path, folder: Path, steps: int = 12, **model: Any) -> int:
    config = settings(store, **model)
    config["trainer"] |= {"max_steps": steps, "val_check_interval": steps}
    return main(["fit", "--config", str(write_config(folder / "c.yaml", config)), "--run", str(folder / "run")])


def figures(run: Path, name: str) -> dict[int, float]:
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        return {int(row["step"]): float(row["value"]) for row in csv.DictReader(file) if row["name"] == name}


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Steps whose pictures are not numbers."""
    pictures, steps = LabelEfficient.pictures, set[int]()

    def some(self: LabelEfficient, batch: Any) -> Any:
        images, *rest = pictures(self, batch)
        return ({name: x * torch.nan if batch.step in steps else x for name, x in images.items()}, *rest)

    monkeypatch.setattr(LabelEfficient, "pictures", some)
    return steps


def test_skipped_steps_are_counted(store: Path, tmp_path: Path, broken: set[int]) -> None:
    broken |= {3, 4, 9}
    assert fit(store, tmp_path, algorithm=None, teacher=None) == 0
    assert figures(tmp_path / "run", "steps/skipped") == {4: 1, 6: 1, 10: 1}  # two steps a row


def test_gradients_are_clipped_in_mixed_precision(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    norms, step = list[float](), torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, closure: Any = None) -> Any:
        done = step(self, closure)
        weights = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norms.append(torch.stack(torch._foreach_norm(weights)).norm().item())
        return done

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    config = settings(store, algorithm=None, teacher=None)
    config["trainer"] |= {"max_steps": 3, "val_check_interval": 3, "precision": "bf16-mixed", "gradient_clip_val": 0.01}
    words = ["fit", "--config", str(write_config(tmp_path / "c.yaml", config)), "--run", str(tmp_path / "run")]
    assert main(words) == 0
    assert norms == pytest.approx([0.01] * 3, rel=1e-3)
    module = guard.GuardedModule()
    module.trainer = cast(pl.Trainer, SimpleNamespace(precision="16-mixed"))
    with pytest.raises(UserError, match="does not go with trainer"):
        module.configure_gradient_clipping(torch.optim.AdamW([torch.zeros(1)]), 0.01)


def test_weights_without_a_use_are_told_of_under_ddp(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unused(*_: Any, **__: Any) -> None:
        raise RuntimeError("Expected to have finished reduction …: enable find_unused_parameters=True")

    monkeypatch.setattr(pl.Trainer, "fit", unused)
    assert fit(store, tmp_path) == 2
    assert "give --trainer.strategy ddp_find_unused_parameters_true" in capsys.readouterr().err


def test_a_training_that_only_skips_ends_with_a_report(
    store: Path, tmp_path: Path, broken: set[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(guard, "LIMIT", 6)
    broken |= {*range(1, 6), *range(7, 100)}  # five in a row are borne
    assert fit(store, tmp_path, 100, algorithm=None, teacher=None) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert "the last 7 steps before step 14 had gradients that are not finite" in message
    assert "its weights are those of step 7" in message
    assert sum(figures(tmp_path / "run", "steps/skipped").values()) == 12
    kept = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert all(value.isfinite().all() for value in kept["state_dict"].values())


@pytest.fixture
def _small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that is shown more than `FITS` images with gradient runs out of memory."""
    call = nn.Module.__call__

    def counted(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self, nn.Conv2d) and torch.is_grad_enabled() and len(args[0]) > FITS:
            raise torch.OutOfMemoryError("as CUDA has it")
        return call(self, *args, **kwargs)

    monkeypatch.setattr(nn.Module, "__call__", counted)


@pytest.mark.usefixtures("_small_memory")
@pytest.mark.parametrize(
    ("model", "setting"),
    [
        ({}, "model.micro_batch 3"),
        ({"micro_batch": 8}, "model.micro_batch 4"),
        ({"encoder": CONVOLUTIONS, "teacher": None}, "data.labelled_batch 2 and data.unlabelled_batch 4"),
        ({"encoder": CONVOLUTIONS, "algorithm": None, "teacher": None}, None),
    ],
)
def test_a_step_that_does_not_fit_is_told_which_does(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: dict[str, Any], setting: str | None
) -> None:
    code = fit(store, tmp_path, 2, **model)
    if setting is None:  # four labelled images do fit
        assert code == 0
        return
    assert code == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert f"does not fit into the memory of cpu; one does with {setting}: set that" in message
    words = [word.split() for word in setting.split(" and ")]
    more = [text for name, value in words for text in (f"--{name}", value)]
    config = ["fit", "--config", str(tmp_path / "c.yaml"), "--run", str(tmp_path / "run")]
    assert main([*config, *more]) == 0  # in the same folder, because nothing was learned there


@pytest.mark.usefixtures("_small_memory")
def test_a_pretraining_step_that_does_not_fit_is_told_which_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {
        "model": {"method": "seco", "encoder": CONVOLUTIONS, "queue": 8},
        "data": {"store": str(places(tmp_path / "places")), "batch_size": 8},
        "trainer": {"max_steps": 2, "logger": False, "enable_progress_bar": False, "accelerator": "cpu"},
    }
    words = ["pretrain", "--config", str(write_config(tmp_path / "c.yaml", config)), "--run", str(tmp_path / "run")]
    assert main(words) == 2
    assert "memory of cpu; one does with data.batch_size 4: set that" in capsys.readouterr().err
    assert main([*words, "--data.batch_size", "4"]) == 0


def test_what_the_system_refuses_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = tmp_path / ("a" * 300)
    assert main(["doctor", str(name)]) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith("wherewhen: [Errno ")
    assert f"File name too long: '{name}" in message
    assert message.endswith("check that path, your rights there, and the disk")


def test_memory_that_is_full_elsewhere_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: Any) -> int:
        raise torch.OutOfMemoryError("as CUDA has it")

    monkeypatch.setattr("wherewhen.predict.verb.main", full)
    assert main(["predict"]) == 2
    assert capsys.readouterr().err == f"wherewhen: {cli.OUT_OF_MEMORY}\n"
