"""A run that is also in a bucket outlives the machine it was on."""

import shutil
from pathlib import Path

import pytest
import torch

pytest.importorskip("obstore", reason="the extra `buckets` is not installed")

from tests.s3 import address, bucket  # noqa: F401
from tests.tasks.conftest import settings, write_config
from tests.tasks.test_resume import fit, state
from wherewhen import buckets
from wherewhen.cli import main
from wherewhen.errors import UserError

URL = "s3://archive/runs/mine"
MIRRORED = ("--mirror", URL)


@pytest.fixture
def config(store: Path, tmp_path: Path) -> Path:
    """Twelve steps, a checkpoint every four."""
    return write_config(tmp_path / "config.yaml", settings(store) | {"save_every": 4})


def test_another_machine_goes_on_to_the_same_bits(config: Path, tmp_path: Path) -> None:
    assert fit(config, tmp_path / "calm") == 0
    assert fit(config, tmp_path / "first", "step", "10", more=MIRRORED) == -9
    shutil.rmtree(tmp_path / "first")
    assert buckets.Bucket(URL).files().keys() >= {"config.yaml", "metrics.csv", "checkpoints/last.ckpt"}
    assert fit(config, tmp_path / "second", "step", "9", more=MIRRORED) == -9  # before it has sent anything
    assert fit(config, tmp_path / "second", more=MIRRORED) == 0
    rows = (tmp_path / "second" / "metrics.csv").read_bytes()
    assert rows == (tmp_path / "calm" / "metrics.csv").read_bytes()
    calm, moved = state(tmp_path / "calm"), state(tmp_path / "second")
    for name, value in calm.items():
        assert torch.equal(value, moved[name]) if isinstance(value, torch.Tensor) else value == moved[name], name
    assert main(["copy", URL, str(tmp_path / "third")]) == 0
    for path in (tmp_path / "second").rglob("*"):
        if path.is_file() and path.name != buckets.LISTING:
            there = tmp_path / "third" / path.relative_to(tmp_path / "second")
            assert there.read_bytes() == path.read_bytes(), path


def test_a_mirror_that_fails_meanwhile_does_not_end_the_training(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy, calls = buckets.copy, []

    def late(source: str, target: str) -> tuple[int, int, int]:
        calls.append(target)
        if len(calls) < 2:
            raise UserError(f"{target}: no route to host")
        return copy(source, target)

    monkeypatch.setattr(buckets, "copy", late)
    assert fit(config, tmp_path / "run", more=MIRRORED) == 0
    assert len(calls) == 3
    assert f"note: {URL}: no route to host; the training goes on" in capsys.readouterr().err
    assert buckets.Bucket(URL).files()["checkpoints/last.ckpt"]


def test_what_cannot_be_a_mirror_is_refused_before_long_work(
    config: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(config, tmp_path / "run", more=["--mirror", "s3://nowhere/runs"]) == 2
    assert fit(config, tmp_path / "run", more=["--mirror", "mirror"]) == 2
    said = write_config(tmp_path / "said.yaml", settings(store) | {"mirror": URL})
    assert fit(said, tmp_path / "run") == 2
    assert not (tmp_path / "run").exists()
    told = capsys.readouterr().err
    for words in ("s3://nowhere/runs: ", "give a folder in a bucket", "say it as --mirror"):
        assert words in told
    assert fit(config, tmp_path / "run", more=MIRRORED) == 0
    assert fit(config, tmp_path / "other", more=["--seed", "1"]) == 0
    assert fit(config, tmp_path / "other", more=["--seed", "1", *MIRRORED]) == 2
    assert f"{URL} holds another run than {tmp_path / 'other'}" in capsys.readouterr().err
