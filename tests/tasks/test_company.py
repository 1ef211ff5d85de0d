"""A word on other programs, where there are some."""

import os
from pathlib import Path

import pytest

from tests.tasks.conftest import settings, write_config
from wherewhen.cli import main
from wherewhen.tasks import company


@pytest.mark.parametrize(
    ("load", "threads", "cores", "advice"),
    [
        (0.3, 2, 2, None),
        (1.2, 1, 2, None),  # one thread waits for nobody
        (1.2, 2, 2, "OMP_NUM_THREADS=1"),
        (9.0, 2, 2, "OMP_NUM_THREADS=1"),
        (3.1, 16, 16, "OMP_NUM_THREADS=13"),
        (3.1, 8, 16, None),
    ],
)
def test_advice_where_threads_would_wait(load: float, threads: int, cores: int, advice: str | None) -> None:
    said = company.crowded(load, threads, cores)
    assert (said is None) == (advice is None)
    assert advice is None or advice in str(said)


def test_a_training_tells_it(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(company, "busy", lambda: 2.0)
    monkeypatch.setattr("torch.get_num_threads", lambda: 64)
    path = write_config(tmp_path / "c.yaml", settings(store))
    assert main(["fit", "--config", str(path), "--run", str(tmp_path / "run")]) == 0
    assert "other programs keep about" in capsys.readouterr().err


@pytest.mark.skipif(not company.STAT.is_file(), reason="only Linux says how busy it is")
def test_the_share_of_busy_cores_is_one() -> None:
    found = company.busy(0.1)
    assert found is not None
    assert -0.1 <= found <= (os.cpu_count() or 1) + 0.1
