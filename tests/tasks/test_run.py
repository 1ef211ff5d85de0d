import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wherewhen.tasks.run import Run, Stopwatch


@pytest.mark.parametrize(("goes_on", "seconds"), [(True, 107.0), (False, 7.0)])
def test_seconds_add_up_over_interruptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goes_on: bool, seconds: float
) -> None:
    folder = Run(tmp_path)
    folder.last.parent.mkdir()
    folder.timing.write_text('{"seconds": 100.0, "steps": 4}', encoding="utf-8")
    if goes_on:
        folder.last.touch()
    clock = iter((1000.0, 1007.0))
    monkeypatch.setattr("wherewhen.tasks.run.time.monotonic", lambda: next(clock))
    trainer: Any = SimpleNamespace(is_global_zero=True, global_step=8)
    watch, nothing = Stopwatch(folder), SimpleNamespace()
    watch.setup(trainer, nothing, "fit")  # type: ignore[arg-type]
    watch.on_save_checkpoint(trainer, nothing, {})  # type: ignore[arg-type]
    assert json.loads(folder.timing.read_text(encoding="utf-8")) == {"seconds": seconds, "steps": 8}
