"""A configuration for any store: it trains as it stands, and says what it found."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.tasks.conftest import make_store
from tests.tasks.dense_stores import change_store, masked_store, random_masks
from wherewhen.cli import main
from wherewhen.ingest import world
from wherewhen.store import PatchStore

QUICK = ["--trainer.max_steps", "2", "--trainer.val_check_interval", "2", "--trainer.accelerator", "cpu"]
QUICK += ["--trainer.enable_progress_bar", "false", "--trainer.logger", "false", "--model.lr_warmup_steps", "0"]


def sparse(path: Path) -> PatchStore:
    masks = random_masks(60, 3)
    masks[np.arange(60) % 5 > 0] = 255  # only every fifth patch has labels
    return masked_store(path, masks=masks)


def points(path: Path) -> PatchStore:
    """Every patch has labels, of one pixel in sixteen."""
    masks = random_masks(60, 3)
    masks[:, np.arange(masks.shape[1]) % 4 > 0] = 255
    masks[:, :, np.arange(masks.shape[2]) % 4 > 0] = 255
    return masked_store(path, masks=masks)


def few(path: Path) -> PatchStore:
    labels = np.arange(60) % 3
    labels[np.arange(60) % 4 > 0] = -1
    return make_store(path, labels=labels)


def nowhere(path: Path) -> PatchStore:
    labels = np.arange(60) % 3
    labels[np.arange(60) % 4 > 0] = -1
    return make_store(path, labels=labels, place=None, time=None)


STORES: dict[str, Any] = {"few": few, "nowhere": nowhere, "all": make_store, "sparse": sparse, "points": points}
STORES["change"] = change_store


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("machine", ["cpu", pytest.param("gpu", marks=pytest.mark.slow)])
def test_it_trains_as_it_stands(name: str, machine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = STORES[name](tmp_path / "store")
    out = tmp_path / "config.yaml"
    assert main(["init", str(store.path), "--for", machine, "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert f"wherewhen fit --config {out}" in told
    config = yaml.safe_load(out.read_text(encoding="utf-8"))
    expected = {
        "few": "patch",
        "nowhere": "patch",
        "all": "patch",
        "sparse": "mask",
        "points": "mask",
        "change": "change",
    }
    assert config["data"]["target"] == expected[name]
    assert ("algorithm" in config["model"]) == (name in ("few", "nowhere", "sparse", "points"))
    assert ("teacher" in config["model"]) == (name in ("few", "sparse", "points"))
    assert ("a teacher that knows place and time" in told) == (name in ("few", "sparse", "points"))
    assert ("no teacher: no labels to guess" in told) == (name in ("all", "change"))
    assert ("(6.25% of all pixels)" in told) == (name == "points")
    words = ["--config", str(out), "--run", str(tmp_path / "run"), *QUICK]
    assert main(["fit", *words]) == 0
    assert main(["test", *words]) == 0
    assert (tmp_path / "run" / "test.json").is_file()
    assert main(["init", str(store.path), "--out", str(out)]) == 2
    assert "exists; give another --out" in capsys.readouterr().err


def test_the_target_can_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = world.prepare(tmp_path / "store", patches=30, visits=2, periods=2).path
    for target in ("patch", "mask", "change"):
        out = tmp_path / f"{target}.yaml"
        assert main(["init", str(store), "--target", target, "--out", str(out)]) == 0
        assert yaml.safe_load(out.read_text(encoding="utf-8"))["data"]["target"] == target
    assert main(["init", str(store), "--out", str(tmp_path / "usual.yaml")]) == 0
    assert "change, " in capsys.readouterr().out
    plain = make_store(tmp_path / "plain").path
    assert main(["init", str(plain), "--target", "mask", "--out", str(tmp_path / "x.yaml")]) == 2
    assert "has no labels for --target mask; it has patch" in capsys.readouterr().err
    none = make_store(tmp_path / "none", labels=None, classes=()).path
    assert main(["init", str(none), "--out", str(tmp_path / "x.yaml")]) == 2
    assert "nothing to learn from" in capsys.readouterr().err
    untrained = make_store(tmp_path / "untrained", split=np.full(60, "test", dtype=object)).path
    assert main(["init", str(untrained), "--out", str(tmp_path / "x.yaml")]) == 2
    assert "no training patches" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["#1", "area: north", "- 'x'", "true", "a\tb", "äö" * 60])
def test_names_mean_what_they_are(tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_store(Path(folder), classes=("a\nmodel: b", "c: d", "# e"))
    assert main(["init", folder, "--out", "c.yaml"]) == 0
    config = yaml.safe_load(Path("c.yaml").read_text(encoding="utf-8"))
    assert config["data"]["store"] == folder
    assert config["model"]["encoder"]["name"] == "ViT"


def test_fit_takes_it_for_a_store_alone_and_later_the_runs_own(tmp_path: Path) -> None:
    store, out = str(few(tmp_path / "store").path), tmp_path / "config.yaml"
    assert main(["init", store, "--out", str(out)]) == 0
    assert main(["fit", "--config", str(out), "--run", str(tmp_path / "one"), *QUICK]) == 0
    assert main(["fit", "--data.store", store, "--run", str(tmp_path / "two"), *QUICK]) == 0
    one, two = (yaml.safe_load((tmp_path / name / "config.yaml").read_text()) for name in ("one", "two"))
    assert one.pop("run") != two.pop("run")
    assert one == two
    assert main(["fit", "--run", str(tmp_path / "two"), "--trainer.max_steps", "3"]) == 2  # other settings
    assert main(["fit", "--run", str(tmp_path / "two")]) == 0
    for name in ("one", "two"):
        assert main(["test", "--run", str(tmp_path / name)]) == 0
    assert (tmp_path / "one" / "test.json").read_bytes() == (tmp_path / "two" / "test.json").read_bytes()


def test_a_command_line_of_its_own_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(few(tmp_path / "store").path)
    words = [
        "--data.store",
        store,
        "--data.image_size",
        "8",
        "--data.labelled_batch",
        "4",
        "--run",
        str(tmp_path / "run"),
    ]
    encoder = ["--model.encoder.name", "ViT", "--model.encoder.patch_size", "4", "--model.encoder.width", "16"]
    encoder += ["--model.encoder.depth", "1", "--model.encoder.heads", "2"]
    assert main(["fit", *words, *encoder, *QUICK]) == 0, capsys.readouterr().err
    assert "algorithm: null" in (tmp_path / "run" / "config.yaml").read_text()  # `init` would take one
