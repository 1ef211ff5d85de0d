"""Every algorithm, plain and in ST-SSL, with one and with many labels: trains, goes on after a stop, is evaluated."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tasks.conftest import make_store, settings, write_config
from tests.tasks.test_resume import state
from wherewhen.cli import main
from wherewhen.tasks.task import LabelEfficient

ALGORITHMS: dict[str, dict[str, Any]] = {
    "FixMatch": {},
    "UDAL": {"momentum": 0.9},
    "SoftMatch": {"momentum": 0.9},
    "FreeMatch": {"momentum": 0.9},
    "DeFixMatch": {},
    "CAP": {"memory": 40, "keep_present": 0.8},
    "CDMAD": {"start": 4},
}
WITHOUT_THRESHOLD = ("SoftMatch", "FreeMatch", "CAP")
GRID = [
    (name, kind, framework)
    for name in ALGORITHMS
    for kind in ("one", "many")
    for framework in ("plain", "stssl")
    if (name, kind) != ("CAP", "one")
]
QUICK = [
    ("DeFixMatch", "one", "plain"),
    ("FreeMatch", "many", "plain"),
    ("SoftMatch", "one", "stssl"),
    ("UDAL", "many", "stssl"),
    ("CAP", "many", "stssl"),
    ("CDMAD", "one", "stssl"),
]  # FixMatch: test_resume
MARKED = [case if case in QUICK else pytest.param(*case, marks=pytest.mark.slow) for case in GRID]


def config_of(name: str, kind: str, framework: str, tmp_path: Path) -> dict[str, Any]:
    if kind == "one":
        config = settings(make_store(tmp_path / "store").path)
    else:
        labels = (np.random.default_rng(0).random((60, 3)) < 0.4).astype(np.int64)
        labels[:, 0] |= labels.sum(1) == 0
        config = settings(make_store(tmp_path / "store", labels=labels).path)
        config["data"] |= {"labels_per_class": None, "label_share": 0.3}
    threshold = {} if name in WITHOUT_THRESHOLD else {"threshold": 0.4 if kind == "one" else [0.7, 0.5]}
    config["model"]["algorithm"] = {"name": name, **ALGORITHMS[name], **threshold}
    if framework == "plain":
        config["model"]["teacher"] = None
    return config


@pytest.mark.parametrize(("name", "kind", "framework"), MARKED)
def test_every_algorithm_trains_goes_on_after_a_stop_and_is_evaluated(
    name: str, kind: str, framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config(tmp_path / "config.yaml", config_of(name, kind, framework, tmp_path))

    def words(verb: str, run: str) -> list[str]:
        return [verb, "--config", str(path), "--run", str(tmp_path / run)]

    assert main(words("fit", "calm")) == 0
    step = LabelEfficient.optimizer_step

    def stop_at_eight(self: LabelEfficient, *args: Any, **kwargs: Any) -> None:
        step(self, *args, **kwargs)
        if self.global_step + 1 == 8:  # two steps after the last checkpoint
            raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(LabelEfficient, "optimizer_step", stop_at_eight)
        assert main(words("fit", "stopped")) == 130
    assert main(words("fit", "stopped")) == 0

    calm, again = state(tmp_path / "calm"), state(tmp_path / "stopped")
    assert calm.keys() == again.keys()
    for key, value in calm.items():
        same = torch.equal(value, again[key]) if isinstance(value, torch.Tensor) else value == again[key]
        assert same, key
        assert not isinstance(value, torch.Tensor) or value.isfinite().all(), key
    metrics = (tmp_path / "calm" / "metrics.csv").read_text(encoding="utf-8")
    assert metrics == (tmp_path / "stopped" / "metrics.csv").read_text(encoding="utf-8")
    assert "nan" not in metrics

    for run in ("calm", "stopped"):
        assert main(words("test", run)) == 0
    results = [json.loads((tmp_path / run / "test.json").read_text(encoding="utf-8")) for run in ("calm", "stopped")]
    assert results[0] == results[1]
