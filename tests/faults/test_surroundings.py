"""Clocks that jump, and files that vanish between the moment they are found and the moment they are read."""

import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeEuroSAT
from tests.faults.verbs import same, scene
from tests.students import Runs
from tests.tasks.conftest import settings, write_config
from tests.tasks.conftest import store as store  # a fixture
from wherewhen.cli import main
from wherewhen.files import alone
from wherewhen.ingest import engine


def test_a_clock_that_jumps_changes_nothing(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["fit", "--config", str(write_config(tmp_path / "c.yaml", settings(store))), "--run", str(tmp_path / "run")]
    assert main(words) == 0
    shutil.move(tmp_path / "run", tmp_path / "calm")
    chance = random.Random(0)
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: chance.uniform(0, 4e9))
        patched.setattr(time, "time_ns", lambda: chance.randrange(4 * 10**18))
        assert main(words) == 0
    same(tmp_path / "calm", tmp_path / "run")


def test_a_source_that_vanishes_while_it_is_prepared(
    fake_eurosat: FakeEuroSAT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build, picture = engine.build, fake_eurosat.folder / "River" / "River_3.jpg"

    def late(*args: Any, **kwargs: Any) -> Any:
        picture.unlink()
        return build(*args, **kwargs)

    monkeypatch.setattr("wherewhen.ingest.eurosat.build", late)
    words = ["prepare", "eurosat", str(fake_eurosat.folder), str(tmp_path / "out"), "--workers", "1"]
    assert main([*words, "--locations", str(fake_eurosat.locations)]) in (0, 2)
    assert "River_3" in capsys.readouterr().err


def test_a_scene_that_vanishes_while_it_is_mapped(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [scene(tmp_path / f"{name}.tif") for name in ("gone", "here")]

    def late(out: Path) -> Any:
        pictures[0].unlink()
        return alone(out)

    monkeypatch.setattr("wherewhen.predict.verb.alone", late)
    words = ["predict", "--run", str(runs("taught") / "run"), "--out", str(tmp_path / "maps"), "--device", "cpu"]
    assert main([*words, "--scenes", *map(str, pictures)]) == 1
    assert "failed: gone: " in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "maps").iterdir()} >= {"here_classes.tif"}
    assert not list((tmp_path / "maps").glob("*gone*"))


def test_pixels_that_vanish_while_they_are_trained_on_are_still_there(store: Path, tmp_path: Path) -> None:
    """A mapped file lives as long as somebody looks at it; a run started afterwards names it."""
    from wherewhen.tasks.verbs import Cli

    config = settings(store)
    config["trainer"] |= {"max_steps": 2, "val_check_interval": 2}
    path = write_config(tmp_path / "c.yaml", config)
    cli = Cli(["--config", str(path), "--run", str(tmp_path / "run")])
    cli.datamodule.setup("fit")
    (store / "pixels-00000.npy").unlink()
    with cli.begun(cli.datamodule.labelled_ids()):
        cli.train()
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()


def test_pixels_that_are_gone_are_named(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (store / "pixels-00000.npy").unlink()
    path = write_config(tmp_path / "c.yaml", settings(store))
    assert main(["fit", "--config", str(path), "--run", str(tmp_path / "run")]) == 2
    assert f"{store / 'pixels-00000.npy'} is missing" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
