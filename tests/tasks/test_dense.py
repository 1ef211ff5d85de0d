"""Labels of pixels, from the store to the files that a test writes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.tasks.conftest import make_store, write_config
from tests.tasks.dense_stores import CELL, CLASSES, LEVEL, SIDE, change_store, dense_settings, masked_store
from tests.tasks.test_blind import contents, nonsense, permuted, removed, rewritten
from tests.tasks.test_resume import fit, state
from wherewhen.cli import main
from wherewhen.files import read_json
from wherewhen.semi import UNKNOWN, Clock
from wherewhen.tasks.task import LabelEfficient
from wherewhen.tasks.verbs import Cli
from wherewhen.views import Draws, Views
from wherewhen.views.policy import GEOMETRIC, NAMES

SUPERVISED: dict[str, Any] = {"algorithm": None, "teacher": None}


@pytest.fixture
def masked(tmp_path: Path) -> Path:
    return masked_store(tmp_path / "store").path


def begun(tmp_path: Path, config: dict[str, Any]) -> Cli:
    """A command line whose task has done a step."""
    path = write_config(tmp_path / "config.yaml", config)
    cli = Cli(["--config", str(path), "--run", str(tmp_path / "begun"), "--trainer.max_steps", "1"])
    cli.trainer.fit(cli.model, cli.datamodule)
    return cli


def run(tmp_path: Path, config: dict[str, Any], *verbs: str) -> dict[str, Any]:
    """What `test` says in the end."""
    words = ["--config", str(write_config(tmp_path / "config.yaml", config)), "--run", str(tmp_path / "run")]
    for verb in verbs or ("fit", "test"):
        assert main([verb, *words]) == 0
    report: dict[str, Any] = read_json(tmp_path / "run" / "test.json")
    return report


def refused(tmp_path: Path, config: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    """What `fit` says when it refuses."""
    path = write_config(tmp_path / "config.yaml", config)
    assert main(["fit", "--config", str(path), "--run", str(tmp_path / "refused")]) == 2
    assert not (tmp_path / "refused").exists()
    return capsys.readouterr().err


# -- labels follow their pixels


DRAW = Views.draw


def only_geometric(self: Views, n: int, size: int, generator: torch.Generator) -> Draws:
    """Draws whose operations move pixels and do not change them."""
    draws = DRAW(self, n, size, generator)
    code = torch.tensor([NAMES.index(name) for name in GEOMETRIC])
    operation = code[torch.randint(len(code), draws.operation.shape, generator=generator)]
    value = 0.2 * torch.rand(operation.shape, generator=generator)
    value = torch.where(operation == NAMES.index("rotate"), 100 * value, value)
    return Draws(draws.size, draws.weak, draws.strong, operation, value, draws.cutout * 0)


def shown_classes(task: LabelEfficient, images: Tensor, band: int = 0) -> Tensor:
    """The class that each pixel's value tells, (N, H, W); a fraction where pixels were mixed."""
    return (images[:, band] * task.scale.spread + 0.5) * 255 / LEVEL


@pytest.mark.parametrize("target", ["mask", "change"])
def test_an_image_that_is_its_mask_remains_so_in_every_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    make = change_store if target == "change" else lambda path: masked_store(path, kinds=2)
    config = dense_settings(make(tmp_path / "store").path, target, algorithm={"name": "DeFixMatch"}, teacher=None)
    cli = begun(tmp_path, config)
    task, batches = cli.model, cli.datamodule.train_dataloader().batches
    band = 3 if target == "change" else 0  # of the later date
    monkeypatch.setattr(Views, "draw", only_geometric)
    moved = 0
    for step in range(4):
        batch = batches(step)
        images, _, y, geometry = task.pictures(batch)
        shown = {name: shown_classes(task, pixels, band) for name, pixels in images.items()}
        assert torch.equal(shown["labelled"].round().long(), y)
        assert batch.labelled.label is not None
        assert not torch.equal(batch.labelled.label, y)
        hidden = task.as_weak_shows(cli.datamodule.hidden(step), batch)
        assert torch.equal(shown["weak"].round().long(), hidden)
        for view, labels in (("strong", hidden), ("labelled_strong", y)):
            valid, pixels = geometry[view].valid, shown[view]
            carried = task.objective.space.carry(labels.flatten(), *geometry[view], UNKNOWN).view_as(labels)
            assert (carried[~valid] == UNKNOWN).all()
            assert (carried[valid] != UNKNOWN).float().mean() > 0.9  # all ground shown is in both views, but for edges
            unmixed = (carried != UNKNOWN) & ((pixels - pixels.round()).abs() < 1e-3)
            assert unmixed.float().mean() > 0.3
            assert torch.equal(carried[unmixed], pixels[unmixed].round().long())
            moved += int((carried != labels)[unmixed].sum())
    assert moved > 100  # pixels onto which another class was carried


def test_defixmatch_pays_for_labels_where_the_strong_view_shows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With logits that say what the pixels show, both views cost nothing."""
    store = masked_store(tmp_path / "store", kinds=2).path
    cli = begun(tmp_path, dense_settings(store, algorithm={"name": "DeFixMatch"}, teacher=None))
    task = cli.model
    monkeypatch.setattr(Views, "draw", only_geometric)
    images, where, y, geometry = task.pictures(cli.datamodule.train_dataloader().batches(0))

    def sure(pixels: Tensor, told: Tensor | None) -> Any:
        shown = shown_classes(task, pixels)
        mixed = (shown - shown.round()).abs() > 1e-3
        says = 50 * torch.stack((1 - shown, shown, -torch.ones_like(shown)), 1).masked_fill(mixed[:, None], 0)
        return type("Said", (), {"logits": says.requires_grad_(), "token": None, "pooled": None})()

    monkeypatch.setattr(task.objective, "show", lambda model, *args: sure(*args))
    losses = task.objective(images, where, y, Clock(0, 1), geometry)
    mixed = np.log(3)  # the cost of a pixel of which nothing is said
    assert losses["supervised"].item() < 0.5 * mixed  # only mixed pixels of one of the two views cost
    geometry.pop("labelled_strong")
    wrong = task.objective(images, where, y, Clock(0, 1), geometry)
    assert wrong["supervised"].item() > 4 * losses["supervised"].item()


def test_masks_are_resized_with_their_images(tmp_path: Path) -> None:
    store = masked_store(tmp_path / "store").path
    config = dense_settings(store, **SUPERVISED)
    config["data"] |= {"image_size": 8}
    cli = begun(tmp_path, config)
    batch = cli.datamodule.train_dataloader().batches(0).labelled
    whole = cli.datamodule.opened.masks(cli.datamodule.train_rows[cli.datamodule.labelled])
    assert batch.label is not None
    assert batch.label.shape == (4, 8, 8)
    assert {m.tobytes() for m in batch.label.numpy()} <= {m[1::2, 1::2].astype(np.int64).tobytes() for m in whole}


# -- training


def learning(store: Path, target: str = "mask", **model: Any) -> dict[str, Any]:
    """Settings with which the class that is the pixel's colour is learned in seconds."""
    config = dense_settings(store, target, **model)
    config["model"] |= {"learning_rate": 1e-2, "ema_momentum": 0.9}
    config["trainer"] |= {"max_steps": 60, "val_check_interval": 60}
    return config


def test_a_trivial_world_is_learned_and_the_files_say_so(tmp_path: Path) -> None:
    store = masked_store(tmp_path / "store", void=True).path
    report = run(tmp_path, learning(store, **SUPERVISED))
    assert report["images"] == 20
    assert report["miou"] > 90
    low, high = report["miou_interval"]
    assert low <= report["miou"] <= high
    folder = tmp_path / "run"
    written = np.load(folder / "test_maps.npz")
    cli = Cli(["--config", str(folder / "config.yaml"), "--run", str(folder)], training=False)
    cli.datamodule.choose()
    truth = cli.datamodule.opened.masks(cli.datamodule.test_rows)
    assert written["ids"].tolist() == cli.datamodule.test_ids()
    assert written["maps"].dtype == np.uint8
    known = truth != 255
    assert known.sum() == 20 * SIDE * (SIDE - CELL)
    assert report["overall_accuracy"] == pytest.approx(100 * (written["maps"] == truth)[known].mean(), abs=1e-9)
    rows = (folder / "test_predictions.csv").read_text(encoding="utf-8").splitlines()
    right = ((written["maps"] == truth) & known).sum((1, 2))
    assert rows[1:] == [f"{name},{SIDE * (SIDE - CELL)},{n}" for name, n in zip(written["ids"], right, strict=True)]
    assert (folder / "confusion.png").stat().st_size > 1000
    assert "val/miou" in (folder / "metrics.csv").read_text(encoding="utf-8")
    assert (folder / "checkpoints" / "best.ckpt").exists()


def test_change_is_learned_from_two_dates(tmp_path: Path) -> None:
    store = change_store(tmp_path / "store").path
    config = learning(store, "change", **SUPERVISED, positive_weight=2.0, dense_loss="cross_entropy+dice")
    report = run(tmp_path, config)
    assert report["f1"] > 90
    assert {"precision", "recall", "iou"} <= report.keys()


@pytest.mark.parametrize("algorithm", ["FixMatch", "UDAL", "SoftMatch", "FreeMatch", "DeFixMatch", "CDMAD"])
@pytest.mark.parametrize("target", ["mask", "change"])
def test_a_teacher_and_every_algorithm_train_on_pixels(tmp_path: Path, algorithm: str, target: str) -> None:
    store = (change_store if target == "change" else masked_store)(tmp_path / "store").path
    config = dense_settings(store, target, algorithm={"name": algorithm})
    config["trainer"]["max_steps"] = 4
    config["watch"] = True
    run(tmp_path, config)
    rows = (tmp_path / "run" / "metrics.csv").read_text(encoding="utf-8")
    assert "train/student/unlabelled" in rows
    assert "train/right" in rows
    assert "nan" not in rows


@pytest.mark.parametrize("algorithm", ["FixMatch", "DeFixMatch"])
def test_labelled_pixels_may_cost_something_else(tmp_path: Path, algorithm: str) -> None:
    """All else costs what the algorithm says."""
    store = masked_store(tmp_path / "store").path
    settings = dense_settings(store, algorithm={"name": algorithm, "threshold": 0.0}, dense_loss="focal+dice")
    cli = begun(tmp_path, settings)
    images, where, y, geometry = cli.model.pictures(cli.datamodule.train_dataloader().batches(5))
    costs = []
    for cost in (cli.model.objective.cost, None):
        cli.model.objective.cost = cost
        torch.manual_seed(0)  # of drop path
        costs.append(cli.model.objective(images, where, y, Clock(5, 9), geometry))
    for name, ours in costs[0].items():
        assert torch.equal(ours, costs[1][name]) == ("supervised" not in name), name
    assert {"teacher/supervised", "student/supervised", "student/unlabelled"} <= costs[0].keys()


def test_a_sure_teacher_labels_what_is_there(tmp_path: Path) -> None:
    store = masked_store(tmp_path / "store").path
    config = learning(store, algorithm={"name": "FixMatch", "threshold": 0.5})
    config["watch"] = True
    assert run(tmp_path, config)["miou"] > 90
    rows = [r.split(",") for r in (tmp_path / "run" / "metrics.csv").read_text(encoding="utf-8").splitlines()[1:]]
    last = {name: float(value) for _, name, value in rows}
    assert last["train/believed"] > 0.9
    assert last["train/right"] > 0.9 * last["train/believed"]


@pytest.mark.parametrize("encoder", [{"name": "Timm", "model": "resnet18"}, None])
def test_a_teacher_may_be_told_late(tmp_path: Path, encoder: dict[str, Any] | None) -> None:
    store = masked_store(tmp_path / "store").path
    config = dense_settings(store, teacher={"fusion": "late", "distill_weight": 0.0})
    config["model"]["encoder"] = encoder or config["model"]["encoder"]
    config["trainer"]["max_steps"] = 2
    config["data"] |= {"image_size": 32}
    task = begun(tmp_path, config).model
    images = torch.randn(2, 3, 32, 32)
    told = [task.objective.model.eval()(images, torch.tensor([[lat, 10.0, 0.5]] * 2)).logits for lat in (10.0, 60.0)]
    assert told[0].shape == (2, 3, 32, 32)
    assert not torch.equal(told[0], told[1])


def test_a_frozen_encoder_stays_as_it_is(tmp_path: Path) -> None:
    store = masked_store(tmp_path / "store").path
    config = dense_settings(store, **SUPERVISED, freeze_encoder=True)
    path = write_config(tmp_path / "config.yaml", config)
    cli = Cli(["--config", str(path), "--run", str(tmp_path / "run")])
    cli.datamodule.setup("fit")
    cli.model.build(cli.datamodule.facts)
    before = {name: value.clone() for name, value in cli.model.objective.model.state_dict().items()}
    cli.trainer.fit(cli.model, cli.datamodule)
    after = cli.model.objective.model.state_dict()
    for name, value in before.items():  # weights, and statistics of batch norms
        assert torch.equal(value, after[name]) == name.startswith("encoder."), name
    assert any("running_mean" in name for name in before if name.startswith("encoder."))


def test_a_killed_run_goes_on_bit_by_bit(tmp_path: Path, masked: Path) -> None:
    config = write_config(tmp_path / "config.yaml", dense_settings(masked))
    assert fit(config, tmp_path / "calm") == 0
    assert fit(config, tmp_path / "killed", "step", "8") == -9
    assert fit(config, tmp_path / "killed") == 0
    calm, killed = state(tmp_path / "calm"), state(tmp_path / "killed")
    assert any("student_ema" in name and "decoder" in name for name in calm)
    assert calm.keys() == killed.keys()
    for name, value in calm.items():
        same = torch.equal(value, killed[name]) if isinstance(value, torch.Tensor) else value == killed[name]
        assert same, name
    assert contents(tmp_path / "calm" / "checkpoints").keys()
    assert (tmp_path / "calm" / "metrics.csv").read_bytes() == (tmp_path / "killed" / "metrics.csv").read_bytes()


@pytest.mark.parametrize("change", [permuted, nonsense, removed], ids=lambda f: f.__name__)
def test_maps_are_byte_equal_under_false_metadata(tmp_path: Path, masked: Path, change: Any) -> None:
    config = dense_settings(masked)
    run(tmp_path, config)
    before = contents(tmp_path / "run")
    assert "test_maps.npz" in {path.name for path in before}
    rewritten(masked, change)
    run(tmp_path, config, "test")
    assert contents(tmp_path / "run") == before


def test_the_teacher_may_be_asked(tmp_path: Path, masked: Path) -> None:
    config = dense_settings(masked)
    run(tmp_path, config)
    words = ["--config", str(tmp_path / "config.yaml"), "--run", str(tmp_path / "run"), "--network", "teacher"]
    assert main(["test", *words]) == 0
    assert main(["test", *words, "--where", "far"]) == 0
    true, far = (np.load(tmp_path / "run" / name / "test_maps.npz") for name in ("teacher", "teacher-far"))
    assert true["maps"].shape == far["maps"].shape == (20, SIDE, SIDE)


# -- budgets and refusals


def labelled(tmp_path: Path, config: dict[str, Any]) -> tuple[Cli, np.ndarray]:
    """Data, and the rows of its labelled samples."""
    cli = Cli(["--config", str(write_config(tmp_path / "config.yaml", config))])
    cli.datamodule.choose()
    return cli, cli.datamodule.train_rows[cli.datamodule.labelled]


def test_a_count_of_labels_is_of_the_commonest_class(tmp_path: Path) -> None:
    store = masked_store(tmp_path / "store", kinds=2)  # the third class is nowhere
    config = dense_settings(store.path, **SUPERVISED)
    config["data"] |= {"label_share": None, "labels_per_class": 3}
    rows = labelled(tmp_path, config)[1]
    commonest = [np.bincount(mask.ravel(), minlength=3).argmax() for mask in store.masks(rows)]
    assert sorted(commonest) == [0] * 3 + [1] * 3


def test_frequencies_are_of_labelled_pixels(tmp_path: Path) -> None:
    store = masked_store(tmp_path / "store", void=True)
    cli, rows = labelled(tmp_path, dense_settings(store.path, **SUPERVISED))
    cli.datamodule.setup()
    masks = store.masks(rows)
    counts = np.bincount(masks[masks != 255], minlength=3)
    np.testing.assert_allclose(cli.datamodule.facts.labelled, (counts + 0.5) / (counts.sum() + 1.5))


def test_a_file_may_name_the_labelled_patches(tmp_path: Path) -> None:
    store = masked_store(tmp_path / "store")
    config = dense_settings(store.path, **SUPERVISED)
    (tmp_path / "names.txt").write_text("0\n4\n", encoding="utf-8")
    config["data"] |= {"label_share": None, "labelled_file": str(tmp_path / "names.txt"), "validation": 0.0}
    assert labelled(tmp_path, config)[1].tolist() == [0, 4]


def test_a_pair_has_the_place_of_its_first_and_the_time_of_its_second_image(tmp_path: Path) -> None:
    store = change_store(tmp_path / "store")
    config = dense_settings(store.path, "change", **SUPERVISED)
    config["data"] |= {"label_share": None, "labels_per_class": 4}
    cli, rows = labelled(tmp_path, config)
    data = cli.datamodule
    assert data.ids.tolist() == [f"{i:03d}" for i in range(60)]
    np.testing.assert_array_equal(data.where(np.arange(60))[:, :2], store.place()[::2])
    np.testing.assert_array_equal(data.where(np.arange(60))[:, 2], store.day()[1::2])
    assert not np.array_equal(store.day()[1::2], store.day()[::2])
    changed = data.opened.target_masks(rows).any((1, 2))
    assert changed.sum() == 4 or changed.all()


@pytest.mark.parametrize(
    ("changes", "model", "message"),
    [
        ({"target": "patch"}, {}, "has no labels"),
        ({"target": "change"}, {}, "no pairs of images"),
        ({}, {"positive_weight": 3.0}, "positive_weight 3 is the weight of changed pixels"),
        ({}, {"encoder": {"name": "tests.encoders.test_learner.Plain"}}, "gives no feature maps"),
        ({}, {"algorithm": {"name": "CAP"}}, "CAP is for many labels"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, masked: Path, capsys: pytest.CaptureFixture[str], changes: Any, model: Any, message: str
) -> None:
    config = dense_settings(masked, **SUPERVISED | model)
    config["data"] |= changes
    path = write_config(tmp_path / "config.yaml", config)
    assert main(["fit", "--config", str(path), "--run", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err


def test_a_store_without_masks_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "plain").path
    assert "has no masks" in refused(tmp_path, dense_settings(store, **SUPERVISED), capsys)


def test_a_model_of_pixels_refuses_to_label_patches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = masked_store(tmp_path / "store", labels=np.arange(60) % len(CLASSES)).path
    config = dense_settings(store, **SUPERVISED)
    run(tmp_path, config)
    words = ["--config", str(tmp_path / "config.yaml"), "--run", str(tmp_path / "run"), "--data.target", "patch"]
    assert main(["test", *words]) == 2
    assert "labels mask" in capsys.readouterr().err
