"""Jobs in processes of their own, a few at a time."""

import argparse
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wherewhen.errors import UserError
from wherewhen.experiments.cells import RESULT
from wherewhen.files import make_folder
from wherewhen.tasks.company import available_cores

WORKER = ("-m", "wherewhen.experiments.work")  # for Python; the folders of the cells follow
PATIENCE = 0.2  # seconds between two looks
Environment = Mapping[str, str]


@dataclass(frozen=True)
class Job:
    """Cells that one process finishes one after the other, because they share a training or what is loaded.

    Args:
        folders: Of the cells.
        log: File to which the process's output is appended.
    """

    folders: tuple[Path, ...]
    log: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where results go, and on how many processes and which devices they are made."""
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where cells, tables and picture go")
    parser.add_argument("--workers", type=int, help="processes at a time (default: one a GPU, or one a core)")
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto", help="(default: auto)")
    parser.add_argument("--report-only", action="store_true", help="tables of what is finished in --out; runs nothing")


def device_words(device: str) -> tuple[str, ...]:
    """Overrides of a configuration that say on what it runs, `--device`."""
    return ("--trainer.accelerator", "cpu") if device == "cpu" else ()


def environments(workers: int | None, device: str) -> list[Environment]:
    """What each worker's processes get: its share of the cores, its GPU.

    Args:
        workers: How many; None takes one a visible GPU, or one a core.
        device: "cpu", or "auto" for GPUs where there are some.

    Raises:
        UserError: There would be none.
    """
    if workers is not None and workers < 1:
        raise UserError(f"--workers is {workers}; it must be at least 1")
    cores, gpus = available_cores(), visible_gpus() if device == "auto" else []
    count = workers or len(gpus) or cores
    common = {"OMP_NUM_THREADS": str(max(1, cores // count)), "OMP_WAIT_POLICY": "passive"}
    return [common | {"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)] if gpus else ""} for i in range(count)]


def visible_gpus() -> list[str]:
    """Names under which CUDA shows its devices."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = named.split(",") if named else [str(i) for i in range(torch.cuda.device_count())]
    return names[: torch.cuda.device_count()]


def run(jobs: Sequence[Job], workers: Sequence[Environment], on_done: Callable[[Path], None]) -> list[Job]:
    """Run jobs in their order, one a worker at a time; returns those that did not finish all their cells.

    Whatever ends this function ends the processes too: a cell can be killed at any instant.

    Args:
        jobs: What to do; none of their cells has a result.
        workers: Environment variables of each worker.
        on_done: Called with a cell's folder when its result is there.
    """
    waiting, free = deque(jobs), deque(workers)
    running: list[Running] = []
    failed = []
    try:
        while waiting or running:
            while waiting and free:
                running.append(Running.start(waiting.popleft(), free.popleft()))
            time.sleep(PATIENCE)
            for one in [one for one in running if one.has_ended(on_done)]:
                running.remove(one)
                free.append(one.worker)
                if one.missing:
                    failed.append(one.job)
                    print(one.complaint(), flush=True)
    finally:
        for one in running:
            one.process.kill()
            one.process.wait()
    return failed


@dataclass
class Running:
    """A job under way: its process, its worker's environment, its cells without a result so far."""

    job: Job
    process: subprocess.Popen[bytes]
    worker: Environment
    missing: list[Path]

    @classmethod
    def start(cls, job: Job, worker: Environment) -> "Running":
        """Start its process."""
        make_folder(job.log.parent)
        words = [sys.executable, *WORKER, *map(str, job.folders)]
        with job.log.open("ab") as log:
            process = subprocess.Popen(
                words, env=os.environ | worker, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
            )
        return cls(job, process, worker, list(job.folders))

    def has_ended(self, on_done: Callable[[Path], None]) -> bool:
        """Report the cells that were finished since the last look."""
        ended = self.process.poll() is not None  # asked first, so that nothing is written after the look
        done = [folder for folder in self.missing if (folder / RESULT).exists()]
        self.missing = [folder for folder in self.missing if folder not in done]
        for folder in done:
            on_done(folder)
        return ended

    def complaint(self, lines: int = 15) -> str:
        """Which cells failed, and the end of the log."""
        text = self.job.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
        return "\n".join(
            [f"failed: {folder}" for folder in self.missing]
            + [f"the end of {self.job.log}:"]
            + [f"    {line}" for line in text]
        )


def end_with_parent() -> None:
    """Die when the leaderboard does, however it was killed: its end of our standard input closes then."""

    def wait() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
