from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from tests.tasks.conftest import make_store, settings, write_config
from wherewhen.cli import main
from wherewhen.loader import Steps
from wherewhen.semi import Clock
from wherewhen.store import PatchStore
from wherewhen.tasks.task import LabelEfficient, Teacher
from wherewhen.tasks.verbs import Cli

DATES = np.datetime64("NaT", "ns")


def run(tmp_path: Path, config: dict[str, Any], verb: str = "fit", name: str = "run") -> int:
    path = write_config(tmp_path / f"{name}.yaml", config)
    return main([verb, "--config", str(path), "--run", str(tmp_path / name)])


def test_fit_and_test_leave_the_run_folder_as_documented(store: Path, tmp_path: Path) -> None:
    config = settings(store)
    config["trainer"].pop("logger")
    assert run(tmp_path, config) == 0
    assert run(tmp_path, config, "test") == 0
    assert run(tmp_path, config, "validate") == 0
    names = {p.name for p in (tmp_path / "run").rglob("*") if p.is_file()}
    assert {
        "config.yaml", "environment.json", "labelled.csv", "metrics.csv", "timing.json", "curves.png",
        "last.ckpt", "best.ckpt",
        "test.json", "test_predictions.csv", "confusion.png",
    } <= names  # fmt: skip
    assert any(name.startswith("events.out.tfevents") for name in names)
    rows = (tmp_path / "run" / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "step,name,value"
    assert {int(r.split(",")[0]) for r in rows[1:] if ",train/loss," in r} == {2, 4, 6, 8, 10, 12}
    assert {int(r.split(",")[0]) for r in rows[1:] if ",val/accuracy," in r} == {4, 8, 12}
    labelled = (tmp_path / "run" / "labelled.csv").read_text(encoding="utf-8").splitlines()
    assert len(labelled) == 1 + 2 * 3
    table = PatchStore.open(store).table.set_index("id")
    assert set(table.loc[labelled[1:], "split"]) == {"train"}


def test_the_resolved_config_repeats_the_run(store: Path, tmp_path: Path) -> None:
    assert run(tmp_path, settings(store)) == 0
    resolved = tmp_path / "run" / "config.yaml"
    assert main(["fit", "--config", str(resolved), "--run", str(tmp_path / "again")]) == 0
    first, second = (tmp_path / name / "metrics.csv" for name in ("run", "again"))
    assert first.read_bytes() == second.read_bytes()


def test_a_flag_beats_the_file(store: Path, tmp_path: Path) -> None:
    path = write_config(tmp_path / "config.yaml", settings(store))
    words = ["--model.algorithm.threshold", "0.8", "--model.teacher.distance", "cosine", "--seed", "3"]
    cli = Cli(["--config", str(path), *words])
    assert cli.model.algorithm_spec["threshold"] == 0.8
    assert cli.model.teacher == Teacher(distill_weight=0.5, distance="cosine")
    assert Cli(["--config", str(path), "--model.teacher", "null"]).model.teacher is None
    assert cli.model.seed == cli.datamodule.seed == 3


@pytest.mark.parametrize("as_list", [True, False])
def test_callbacks_of_ones_own(store: Path, tmp_path: Path, as_list: bool) -> None:
    own = {"class_path": "lightning.pytorch.callbacks.ModelSummary"}
    config = settings(store)
    config["trainer"]["callbacks"] = [own] if as_list else own
    cli = Cli(["--config", str(write_config(tmp_path / "config.yaml", config))])
    kinds = [type(callback).__name__ for callback in cast(Any, cli.trainer).callbacks]
    assert kinds[0] == "ModelSummary"
    assert "Journal" in kinds


@pytest.mark.parametrize("teacher", [True, False])
def test_averages_are_in_no_optimiser_group_and_every_learner_is(store: Path, tmp_path: Path, teacher: bool) -> None:
    config = settings(store)
    if not teacher:
        del config["model"]["teacher"]
    path = write_config(tmp_path / "config.yaml", config)
    cli = Cli(["--config", str(path), "--run", str(tmp_path / "run")])
    cli.trainer.fit(cli.model, cli.datamodule)
    optimised = {id(p) for group in cli.trainer.optimizers[0].param_groups for p in group["params"]}
    learned = {id(p) for m in cli.model.objective.learners() for p in m.parameters()}
    assert optimised == learned
    images, where, y, geometry = cli.model.pictures(cli.datamodule.train_dataloader().batches(0))
    loss = torch.stack(list(cli.model.objective(images, where, y, Clock(0, 1), geometry).values())).sum()
    parameters = [p for m in cli.model.objective.learners() for p in m.parameters()]
    assert len(torch.autograd.grad(loss, parameters)) == len(learned)  # fails on one without part in the loss, as DDP
    assert len(learned) == sum(p.requires_grad for p in cli.model.parameters())


def test_all_methods_get_the_same_labelled_pictures(store: Path, tmp_path: Path) -> None:
    """Common random numbers: methods are compared on one set of labels, one order, one set of draws."""
    seen = []
    for changes in ({"algorithm": None, "teacher": None}, {"teacher": None}, {}):
        path = write_config(tmp_path / "config.yaml", settings(store, **changes))
        cli = Cli(["--config", str(path), "--run", str(tmp_path / "run")])
        cli.trainer.fit(cli.model, cli.datamodule)
        loader = cli.datamodule.train_dataloader()
        seen.append(cli.model.pictures(next(iter(Steps(loader.batches, lambda: 5))))[0]["labelled"])
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])


def test_many_labels_train_and_are_evaluated(tmp_path: Path) -> None:
    labels = (np.random.default_rng(0).random((60, 3)) < 0.4).astype(np.int64)
    labels[:, 0] |= labels.sum(1) == 0
    store = make_store(tmp_path / "store", labels=labels).path
    config = settings(store)
    config["model"]["algorithm"]["threshold"] = [0.95, 0.7]
    config["data"]["label_share"] = 0.2
    del config["data"]["labels_per_class"]
    assert run(tmp_path, config) == 0
    assert run(tmp_path, config, "test") == 0
    assert '"map_macro"' in (tmp_path / "run" / "test.json").read_text(encoding="utf-8")
    assert ",val/map_macro," in (tmp_path / "run" / "metrics.csv").read_text(encoding="utf-8")


def test_learning_rate_follows_the_recipe() -> None:
    task = LabelEfficient({}, lr_warmup_steps=10)
    assert [task.rate(step, 110) for step in (0, 5, 10)] == [0, 0.5, 1]
    assert task.rate(110, 110) == pytest.approx(np.cos(7 * np.pi / 16))
    assert task.rate(60, 110) == pytest.approx(np.cos(7 * np.pi / 32))
    assert LabelEfficient({}, schedule="constant").rate(90, 110) == 1


@pytest.mark.parametrize(
    ("model", "data", "overrides", "words"),
    [
        ({"teacher": {"metadata": ["time"]}}, {}, {"time": None}, "the time of no training patch"),
        ({}, {}, {"time": None, "place": None}, "neither"),
        ({"algorithm": None}, {}, {}, "model.algorithm"),
        ({"algorithm": {"name": "FlexMatch"}}, {}, {}, "FixMatch"),
        ({"algorithm": {"name": "FixMatch", "tau": 1}}, {}, {}, "threshold"),
        ({"algorithm": {"name": "SingleLabel"}}, {}, {}, "no Algorithm"),
        ({"encoder": {"name": "ViT", "patch_size": 5}}, {}, {}, "patch size 5"),
        ({}, {"labels_per_class": 99}, {}, "99 labels"),
        ({}, {"label_share": 0.5}, {}, "label budget is one"),
        ({}, {"validation": 1.5}, {}, "validation share 1.5"),
        ({}, {"store": "nowhere"}, {}, "nowhere"),
        ({}, {}, {"split": None}, "has 0 training patches"),
        ({}, {"labels_per_class": None}, {"split": None}, "0 training patches"),
        ({}, {"labelled_batch": 0}, {}, "labelled_batch is 0"),
        ({}, {"unlabelled_batch": 0}, {}, "unlabelled_batch"),
        ({"ema_momentum": 1.5}, {}, {}, "momentum 1.5"),
        ({"algorithm": {"name": "FixMatch", "threshold": 95}}, {}, {}, "no probability"),
        ({"algorithm": {"name": "FixMatch", "threshold": [0.9, 0.9]}}, {}, {}, "2 thresholds for 3 outcomes"),
        ({}, {"block_km": 50.0, "gap_km": 5000.0}, {}, "smaller"),
    ],
)
def test_mistakes_are_named_before_long_work_starts(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    model: dict[str, Any],
    data: dict[str, Any],
    overrides: dict[str, Any],
    words: str,
) -> None:
    store = make_store(tmp_path / "store", **overrides).path
    config = settings(store, **model)
    config["data"] |= data
    assert run(tmp_path, config) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--log_every", "0"], "log_every is 0"),
        (["--seed_everything", "3"], "seed_everything is 3; a run has one seed, which --seed sets"),
        (["--save_every", "0"], "save_every is 0"),
        (["--seed", "-1"], "seed is -1"),
        (["--trainer.accumulate_grad_batches", "2"], "accumulate_grad_batches"),
        (["--trainer.strategy", "deepspeed"], "trainer.strategy deepspeed divides one network"),
        (["--trainer.val_check_interval", "0.5"], "settings"),
        (["--trainer.max_steps", "-1"], "max_steps"),
    ],
)
def test_flags_that_cannot_work_are_named(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    path = write_config(tmp_path / "config.yaml", settings(store))
    assert main(["fit", "--config", str(path), "--run", str(tmp_path / "run"), *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--data.block_km", "200"], ["--seed", "5"], ["--data.validation", "0.3"]])
def test_a_model_is_tested_on_the_split_that_it_was_trained_with(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    path = write_config(tmp_path / "config.yaml", settings(store))
    common = ["--config", str(path), "--run", str(tmp_path / "run")]
    assert main(["fit", *common]) == 0
    assert main(["test", *common, *words]) == 2
    assert "training patches would be among the test's" in capsys.readouterr().err
    assert not (tmp_path / "run" / "test.json").exists()


def test_a_checkpoint_says_how_its_networks_are_built(store: Path, tmp_path: Path) -> None:
    path = write_config(tmp_path / "config.yaml", settings(store))
    common = ["--config", str(path), "--run", str(tmp_path / "run")]
    assert main(["fit", *common]) == 0
    assert main(["test", *common]) == 0
    before = (tmp_path / "run" / "test_predictions.csv").read_bytes()
    assert main(["test", *common, "--model.teacher", "null", "--model.encoder.width", "32"]) == 0
    assert (tmp_path / "run" / "test_predictions.csv").read_bytes() == before


@pytest.mark.parametrize("algorithm", [None, {"name": "UDAL", "threshold": 0.4, "momentum": 0.9}])
def test_a_step_that_is_not_finite_changes_nothing_and_is_seen(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: dict[str, Any] | None
) -> None:
    changes: dict[str, Any] = {"algorithm": algorithm} if algorithm else {"algorithm": None, "teacher": None}
    config = settings(store, **changes)
    config["model"]["encoder"] |= {"stem": "convolutions"}  # batch norm
    pictures, step, seen = LabelEfficient.pictures, LabelEfficient.optimizer_step, []

    def broken(self: LabelEfficient, batch: Any) -> Any:
        images, *rest = pictures(self, batch)
        return ({name: x * torch.nan if batch.step == 5 else x for name, x in images.items()}, *rest)

    def watched(self: LabelEfficient, *args: Any, **kwargs: Any) -> None:
        step(self, *args, **kwargs)
        seen.append({name: value.clone() for name, value in self.objective.state_dict().items()})

    monkeypatch.setattr(LabelEfficient, "pictures", broken)
    monkeypatch.setattr(LabelEfficient, "optimizer_step", watched)
    assert run(tmp_path, config) == 0
    assert all(value.isfinite().all() for state in seen for value in state.values())
    weights = [name for name in seen[0] if "ema" not in name and "running" not in name and "tracked" not in name]
    assert any("algorithm.seen" in name for name in weights) == (algorithm is not None)
    assert all(torch.equal(seen[4][name], seen[5][name]) for name in weights)
    assert not all(torch.equal(seen[5][name], seen[6][name]) for name in weights)
    assert "6,train/loss,nan" in (tmp_path / "run" / "metrics.csv").read_text(encoding="utf-8")


def test_validate_needs_a_validation_part(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = settings(store)
    config["data"]["validation"] = 0.0
    assert run(tmp_path, config) == 0
    assert run(tmp_path, config, "validate") == 2
    assert "data.validation" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def press(self: LabelEfficient, batch: Any, batch_idx: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LabelEfficient, "training_step", press)
    assert run(tmp_path, settings(store)) == 130
    assert "same command" in capsys.readouterr().err


def test_partly_known_time_asks_for_metadata_dropout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    time = np.full(60, np.datetime64("2020-06-01T10:00", "ns"))
    time[::7] = DATES
    store = make_store(tmp_path / "store", time=time).path
    teacher = {"metadata": ["place", "time"], "distill_weight": 0.5}
    assert run(tmp_path, settings(store, teacher=teacher)) == 2
    assert "metadata_dropout" in capsys.readouterr().err
    assert run(tmp_path, settings(store, teacher=teacher | {"metadata_dropout": 0.2}), name="again") == 0
    assert "nan" not in (tmp_path / "again" / "metrics.csv").read_text(encoding="utf-8")


def test_a_model_refuses_a_store_in_another_unit(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from wherewhen.bands import load_sensor

    assert run(tmp_path, settings(store)) == 0
    other = make_store(tmp_path / "other", bands=load_sensor("sentinel2_l1c").bands[:3]).path
    path = write_config(tmp_path / "config.yaml", settings(other))
    checkpoint = str(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert main(["test", "--config", str(path), "--run", str(tmp_path / "b"), "--checkpoint", checkpoint]) == 2
    assert "bands red, green, blue" in capsys.readouterr().err


def test_a_changed_byte_is_found_before_training(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = store / "pixels-00000.npy"
    content = bytearray(shard.read_bytes())
    content[-100] ^= 1
    shard.write_bytes(content)
    assert run(tmp_path, settings(store)) == 2
    assert "pixels-00000.npy" in capsys.readouterr().err


def test_a_full_disk_is_one_clear_error(
    store: Path, tmp_path: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = {"name": "ViT", "patch_size": 8, "width": 64, "depth": 4, "heads": 2}
    path = write_config(tmp_path / "config.yaml", settings(store, encoder=wide))
    assert main(["fit", "--config", str(path), "--run", str(small_disk / "run")]) == 2
    error = capsys.readouterr().err
    assert "cannot write" in error
    assert "Traceback" not in error
    assert not list((small_disk / "run" / "checkpoints").iterdir())


def test_an_encoder_of_ones_own_trains_by_its_import_path(store: Path, tmp_path: Path) -> None:
    encoder = {"name": "tests.encoders.test_learner.Plain"}
    config = settings(store, encoder=encoder, teacher={"distill_weight": 0.0})
    assert run(tmp_path, config) == 0


def test_teacher_defaults_to_what_is_known(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", time=None).path
    path = write_config(tmp_path / "config.yaml", settings(store))
    cli = Cli(["--config", str(path), "--run", str(tmp_path / "run")])
    cli.datamodule.setup()
    cli.model.build(cli.datamodule.facts)
    assert cli.model.teacher == Teacher(distill_weight=0.5)
    metadata = next(iter(cli.model.objective.learners())).metadata
    assert metadata is not None
    assert metadata.use == ("place",)
