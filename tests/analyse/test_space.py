"""Features in the plane: what the silhouettes say, and that pictures are made of both kinds of run."""

from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from tests.tasks.conftest import make_store, settings, write_config
from tests.tasks.test_configs import ROOT, read
from wherewhen.analyse.space import Points, chosen, described, flat, network, silhouette
from wherewhen.cli import main
from wherewhen.errors import UserError
from wherewhen.ingest import world
from wherewhen.store import PatchStore

TOY: dict[str, Any] = {"max_steps": 2, "accelerator": "cpu", "enable_progress_bar": False, "logger": False}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.prepare(tmp_path_factory.mktemp("space") / "store", patches=40, visits=2, periods=1).path


def pretrained(store: Path, tmp: Path, method: str) -> Path:
    config = read(ROOT / "pretrain" / f"{method}.yaml")
    config["model"]["queue"] = 16
    config["data"] |= {"store": str(store), "batch_size": 4}
    config["trainer"] |= TOY
    path = write_config(tmp / f"{method}.yaml", config)
    assert main(["pretrain", "--config", str(path), "--run", str(tmp / method)]) == 0
    return tmp / method


def test_pretrained_encoders_side_by_side(places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(pretrained(places, tmp_path, method)) for method in ("saco", "moco_v2")]
    out = tmp_path / "space.png"
    places.rename(moved := places.with_name("moved"))  # the store of the training is not needed
    try:
        assert main(["analyse", "space", *runs, "--store", str(moved), "--patches", "12", "--out", str(out)]) == 0
        told = capsys.readouterr().out
        points = described(network(Path(runs[0])), PatchStore.open(moved), chosen(PatchStore.open(moved), 5))
    finally:
        moved.rename(places)
    assert "saco: silhouette by class " in told
    assert ", by group " in told.splitlines()[0]
    assert told.splitlines()[1].startswith("moco_v2: silhouette by class ")
    assert ", by group " not in told.splitlines()[1]
    assert matplotlib.image.imread(out).shape[0] > 700  # two lines of panels
    whole, groups = points["class"], points["group"]
    assert len(groups.names) == 11
    assert groups.features.shape == (5 * 11, whole.features.shape[1])
    # the image is the mean of its groups, and the kinds go round as the groups do
    np.testing.assert_allclose(groups.features.reshape(5, 11, -1).mean(1), whole.features, atol=1e-5)
    assert groups.kind.tolist() == list(range(11)) * 5


def test_a_student_of_a_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "store").path
    config = settings(store)
    config["trainer"] |= {"max_steps": 2, "val_check_interval": 2}
    path = write_config(tmp_path / "c.yaml", config)
    assert main(["fit", "--config", str(path), "--run", str(tmp_path / "student")]) == 0
    assert main(["analyse", "space", str(tmp_path / "student"), "--out", str(tmp_path / "space.png")]) == 0
    assert "student: silhouette by class" in capsys.readouterr().out


def test_silhouettes_of_kinds_that_lie_apart_and_together() -> None:
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1, 2], 20)
    apart = np.eye(3)[kind] + 0.01 * rng.normal(size=(60, 3))
    assert silhouette(Points(apart, kind, "abc")) > 0.95
    assert abs(silhouette(Points(rng.normal(size=(60, 3)), kind, "abc"))) < 0.1
    assert np.isnan(silhouette(Points(apart, np.zeros(60), "a")))
    plane = flat(apart)
    centres = np.stack([plane[kind == k].mean(0) for k in range(3)])
    nearest = np.linalg.norm(plane[:, None] - centres, axis=2).argmin(1)
    assert (nearest == kind).all()


def test_what_cannot_be_drawn(places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyse", "space", str(tmp_path)]) == 2
    assert "is no run" in capsys.readouterr().err
    with pytest.raises(UserError, match="takes 3 or more"):
        chosen(PatchStore.open(places), 2)
