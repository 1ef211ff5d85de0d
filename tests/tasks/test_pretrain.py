"""Pre-training: all methods train, probe, resume to the same bits, and leave an encoder."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tasks.conftest import write_config
from tests.tasks.test_resume import tensors
from wherewhen.bands import load_sensor
from wherewhen.cli import main
from wherewhen.contrast.methods import METHODS
from wherewhen.scale import Scale
from wherewhen.store import PatchStore
from wherewhen.tasks.pretrain import Pretraining
from wherewhen.views.contrast import ContrastViews

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
PLACES, VISITS = 14, 4
STEPS = 9

# Dies without a word at the end of a given step.
DIE = """
import os, signal, sys
from wherewhen.tasks.pretrain import Pretraining
when = int(sys.argv[1])
after = Pretraining.optimizer_step
def optimizer_step(self, *args, **kwargs):
    after(self, *args, **kwargs)
    if self.global_step + 1 == when:
        os.kill(os.getpid(), signal.SIGKILL)
Pretraining.optimizer_step = optimizer_step
from wherewhen.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve bands of fourteen places at four dates, in two years; a label tells the brightness."""
    rng = np.random.default_rng(0)
    count = PLACES * VISITS
    number, visit = np.divmod(np.arange(count), VISITS)
    days = np.array(["2018-02-01", "2018-08-01", "2021-02-01", "2021-08-01"], dtype="datetime64[ns]")
    look = rng.normal(2000, 400, (PLACES, 12, 1, 1)) + 600 * (np.arange(PLACES) % 2)[:, None, None, None]
    pixels = look[number] + rng.normal(0, 200, (count, 12, 16, 16)) + 150 * visit[:, None, None, None]
    path = tmp_path_factory.mktemp("places") / "store"
    PatchStore.from_arrays(
        path,
        pixels.clip(0, 9000).astype(np.uint16),
        bands=load_sensor("sentinel2_l2a").select(BANDS),
        place=np.column_stack((40 + number, visit * 0.0)),
        time=days[visit],
        labels=number % 2,
        classes=("dark", "bright"),
        places=[f"p{n}" for n in number],
        split=np.where(number < 10, "train", "test").tolist(),
    )
    return path


def config(places: Path, method: str, **model: Any) -> dict[str, Any]:
    """A pre-training of nine steps."""
    settings = {
        "method": method,
        "encoder": {"name": "tests.tasks.tiny.Tiny"},
        "queue": 16,
        "learning_rate": 0.01,
    }
    return {
        "model": settings | model,
        "data": {"store": str(places), "batch_size": 4},
        "trainer": {"max_steps": STEPS, "logger": False, "enable_progress_bar": False, "accelerator": "cpu"},
        "log_every": 2,
        "save_every": 3,
        "probe": str(places),
        "probe_every": 4,
    }


def journal(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_leaves_an_encoder_and_a_journal(method: str, places: Path, tmp_path: Path) -> None:
    path, run = write_config(tmp_path / "c.yaml", config(places, method)), tmp_path / "run"
    assert main(["pretrain", "--config", str(path), "--run", str(run)]) == 0
    assert {"encoder.safetensors", "curves.png", "metrics.csv"} <= {file.name for file in run.iterdir()}
    rows = journal(run)
    assert [row["step"] for row in rows if row["name"] == "probe/knn"] == ["0", "4", "8", "9"]
    losses = {row["name"] for row in rows if row["name"].startswith("train/")}
    spaces = {f"train/space{s}" for s in range(len(METHODS[method].spaces))}
    assert losses == {"train/loss", *spaces} | ({"train/agreement"} if METHODS[method].grouped else set())
    assert all(np.isfinite(float(row["value"])) for row in rows)


# the two that hold all there is to resume: a book of changes, and groups with texture
OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in METHODS if name not in ("caco", "saco")]


@pytest.mark.parametrize("method", ["caco", "saco", *OTHERS])
def test_killed_and_started_again_equals_an_uninterrupted_run(method: str, places: Path, tmp_path: Path) -> None:
    path = write_config(tmp_path / "c.yaml", config(places, method))
    words = ["pretrain", "--config", str(path), "--run"]
    assert main([*words, str(tmp_path / "whole")]) == 0
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    killed = [sys.executable, "-c", DIE, "8", *words, str(tmp_path / "killed")]
    died = subprocess.run(killed, env=environment, capture_output=True, timeout=300)
    assert died.returncode == -9, died.stderr.decode()[-2000:]
    assert main([*words, str(tmp_path / "killed")]) == 0
    whole, other = (state(tmp_path / name) for name in ("whole", "killed"))
    assert whole.keys() == other.keys()
    for name, value in whole.items():
        assert torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name], name
    for file in ("metrics.csv", "curves.png", "encoder.safetensors"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "killed" / file).read_bytes(), file


def state(run: Path) -> dict[str, Any]:
    """Weights, queue, book of changes, optimiser and schedule of a run's last checkpoint."""
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == STEPS
    return tensors({k: checkpoint[k] for k in ("state_dict", "optimizer_states", "lr_schedulers", "callbacks")})


def test_labels_and_places_of_the_test_are_not_read(places: Path, tmp_path: Path) -> None:
    store = PatchStore.open(places)
    arrays: dict[str, Any] = store.to_arrays()
    changed = arrays | {"pixels": np.where((arrays["split"] == "test")[:, None, None, None], 0, arrays["pixels"])}
    changed["labels"] = 1 - arrays["labels"]
    PatchStore.from_arrays(tmp_path / "store", bands=store.bands, classes=store.classes, **changed)
    runs = []
    for name, where in (("a", places), ("b", tmp_path / "store")):
        path = write_config(tmp_path / f"{name}.yaml", config(where, "seco") | {"probe": None})
        assert main(["pretrain", "--config", str(path), "--run", str(tmp_path / name)]) == 0
        runs.append((tmp_path / name / "encoder.safetensors").read_bytes())
    assert runs[0] == runs[1]


def test_the_augmentation_is_that_of_the_configuration() -> None:
    task = Pretraining(
        {"name": "tests.tasks.tiny.Tiny"}, "moco_v2", queue=4, augmentation={"grey": 0.0, "contrast": 0.1}
    )
    bands = load_sensor("sentinel2_l2a").bands
    task.build(bands, Scale.of(bands, np.zeros(len(bands)), np.ones(len(bands))), image_size=8, places=2)
    assert task.views == ContrastViews(grey=0.0, contrast=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {"batch_size": 6}}, "16 keys cannot be filled by batches of 6"),
        ({"data": {"batch_size": 1}}, "batch_size is 1"),
        ({"data": {"splits": ["val"]}}, "no images in"),
        ({"model": {"groups": {"odd": ["B01", "B02"]}}}, "odd"),
        ({"model": {"groups": {"odd": ["B01", "B02", "B10"]}}}, "B10"),
        ({"model": {"augmentation": {"gray": 0.0}}}, "model.augmentation has no 'gray'; it has brightness"),
        ({"model": {"augmentation": {"blur": 2.0}}}, "blur"),
        ({"probe_every": 0}, "probe_every is 0"),
    ],
)
def test_mistakes_are_told_before_the_training(
    change: dict[str, Any], message: str, places: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = config(places, "saco")
    for key, value in change.items():
        settings[key] = settings[key] | value if isinstance(value, dict) else value
    path = write_config(tmp_path / "c.yaml", settings)
    assert main(["pretrain", "--config", str(path), "--run", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run" / "metrics.csv").exists()
