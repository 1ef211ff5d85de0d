from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from tests.tasks.conftest import write_config
from tests.tasks.dense_stores import change_store, dense_settings, masked_store
from wherewhen.analyse.patches import colour
from wherewhen.analyse.pictures import choose, scored
from wherewhen.cli import main
from wherewhen.store import PatchStore
from wherewhen.tasks.samples import Masked


def finished(tmp: Path, store: Path, target: str, name: str, **data: Any) -> Path:
    """The folder of a run of two steps."""
    config = dense_settings(store, target, algorithm=None, teacher=None)
    config["trainer"]["max_steps"] = 2
    config["data"] |= data
    words = ["--config", str(write_config(tmp / f"{name}.yaml", config)), "--run", str(tmp / name)]
    assert main(["fit", *words]) == main(["test", *words]) == 0
    return tmp / name


@pytest.mark.parametrize("target", ["mask", "change"])
def test_two_runs_side_by_side(tmp_path: Path, target: str) -> None:
    make = change_store if target == "change" else masked_store
    store = make(tmp_path / "store").path
    runs = [str(finished(tmp_path, store, target, name)) for name in ("one", "other")]
    out = tmp_path / "pictures.png"
    store.rename(tmp_path / "moved")
    words = ["analyse", "pictures", *runs, "--store", str(tmp_path / "moved"), "--out", str(out), "--patches", "3"]
    assert main(words) == 0
    picture = matplotlib.image.imread(out)[..., :3]
    for index in range(2):  # classes of the truth are there in their colours
        assert (np.abs(picture - colour(index, 2 if target == "change" else 3)).max(-1) < 0.01).sum() > 500
    before = out.read_bytes()
    assert main(words) == 0
    assert out.read_bytes() == before


def test_runs_of_other_samples_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = masked_store(tmp_path / "store").path
    one, other = (finished(tmp_path, store, "mask", f"at{size}", image_size=size) for size in (16, 8))
    assert main(["analyse", "pictures", str(one), str(other), "--out", str(tmp_path / "p.png")]) == 2
    assert "other samples or sizes" in capsys.readouterr().err
    elsewhere = masked_store(tmp_path / "elsewhere", ids=[f"x{i}" for i in range(60)]).path
    assert main(["analyse", "pictures", str(one), "--store", str(elsewhere), "--out", str(tmp_path / "p.png")]) == 2
    assert "--store" in capsys.readouterr().err
    (one / "test_maps.npz").unlink()
    assert main(["analyse", "pictures", str(one), "--out", str(tmp_path / "p.png")]) == 2
    assert "wherewhen test" in capsys.readouterr().err


def test_scores_leave_out_what_nobody_knows() -> None:
    truth, said = np.array([[0, 1], [255, 1]], np.uint8), np.array([[0, 0], [1, 1]], np.uint8)
    assert scored(said, truth, change=False) == "67 % right"
    assert scored(said, truth, change=True) == "F1 67 %"
    assert scored(said, np.full_like(truth, 255), change=True) == ""
    assert scored(said * 0, truth * 0, change=True) == "no change"


def test_the_chosen_show_many_classes(tmp_path: Path) -> None:
    masks = np.zeros((60, 16, 16), np.uint8)
    masks[10:13, :8] = 1
    masks[20, :4], masks[20, 4:8] = 1, 2
    samples = Masked(PatchStore.open(masked_store(tmp_path / "store", masks=masks).path))
    rows = np.arange(5, 60)
    assert choose(samples, rows, 1).tolist() == [15]
    assert choose(samples, rows, 4).tolist() == [5, 6, 7, 15]
    assert len(choose(samples, rows, 100)) == 55
