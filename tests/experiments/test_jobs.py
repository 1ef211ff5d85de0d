"""The pool, with workers that need no time to start."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wherewhen.errors import UserError
from wherewhen.experiments import jobs
from wherewhen.experiments.jobs import Job, environments

WORKER = """
import os, sys, time
from pathlib import Path
for folder in map(Path, sys.argv[1:]):
    folder.mkdir(parents=True)
    if folder.name == "bad":
        raise SystemExit("this one fails")
    if folder.name == "slow":
        (folder / "pid").write_text(str(os.getpid()))
        time.sleep(60)
    (folder / "result.json").write_text(os.environ["NAME"])
"""


@pytest.fixture(autouse=True)
def _worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "WORKER", ("-c", WORKER))
    monkeypatch.setattr(jobs, "PATIENCE", 0.02)


def job(folder: Path, *names: str) -> Job:
    return Job(tuple(folder / name for name in names), folder / "logs" / f"{names[0]}.txt")


def test_a_job_that_fails_is_named_and_the_others_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done: list[str] = []
    all_jobs = [job(tmp_path, "a", "bad", "never"), job(tmp_path, "b"), job(tmp_path, "c", "d")]
    failed = jobs.run(all_jobs, [{"NAME": "x"}, {"NAME": "y"}], lambda folder: done.append(folder.name))
    assert failed == all_jobs[:1]
    assert sorted(done) == ["a", "b", "c", "d"]
    shown = capsys.readouterr().out
    assert f"failed: {tmp_path / 'bad'}\nfailed: {tmp_path / 'never'}" in shown
    assert f"{all_jobs[0].log}:\n    this one fails" in shown
    assert (tmp_path / "a" / "result.json").read_text(encoding="utf-8") == "x"


def test_what_ends_the_pool_ends_its_processes(tmp_path: Path) -> None:
    def stop(folder: Path) -> None:
        wait_for(tmp_path / "slow" / "pid")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jobs.run([job(tmp_path, "slow"), job(tmp_path, "a")], [{"NAME": "x"}] * 2, stop)
    assert is_gone(int((tmp_path / "slow" / "pid").read_text(encoding="utf-8")))


def test_workers_die_with_a_pool_that_is_killed(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from wherewhen.experiments import jobs;"
        f"jobs.WORKER = ('-c', 'from wherewhen.experiments.jobs import end_with_parent as e; e()\\n' + {WORKER!r});"
        f"jobs.run([jobs.Job((Path({str(tmp_path / 'slow')!r}),), Path({str(tmp_path / 'log')!r}))], [{{}}], print)"
    )
    pool = subprocess.Popen([sys.executable, "-c", code])
    wait_for(tmp_path / "slow" / "pid")
    worker = int((tmp_path / "slow" / "pid").read_text(encoding="utf-8"))
    pool.send_signal(signal.SIGKILL)
    pool.wait()
    assert is_gone(worker)


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists() and path.read_text(encoding="utf-8"):
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} never came")


def is_gone(process: int) -> bool:
    """Within a second or two; a zombie, which somebody else has to bury, is gone too."""
    for _ in range(100):
        state = Path(f"/proc/{process}/stat")
        if not state.exists() or state.read_text(encoding="utf-8").split(")")[-1].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def test_no_workers_are_refused() -> None:
    with pytest.raises(UserError, match="--workers is -1"):
        jobs.environments(-1, "cpu")


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "available_cores", lambda: 8)
    assert [e["OMP_NUM_THREADS"] for e in environments(3, "cpu")] == ["2"] * 3
    assert len(environments(None, "cpu")) == 8
    assert environments(20, "cpu")[0] == {
        "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    monkeypatch.setattr(jobs, "visible_gpus", lambda: ["2", "3"])
    assert [e["CUDA_VISIBLE_DEVICES"] for e in environments(None, "auto")] == ["2", "3"]
    assert [e["CUDA_VISIBLE_DEVICES"] for e in environments(3, "auto")] == ["2", "3", "2"]
    assert environments(2, "auto")[0]["OMP_NUM_THREADS"] == "4"
