"""Memory and open files of a long training: `python -m tests.faults.long_run [--steps 100000]`.

FixMatch with a network of a few thousand weights, with checkpoints, validation and figures as in a real run. What
is looked at is resident memory and the number of open files, a hundred times after the first tenth of the run.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl

from tests.tasks.conftest import make_store, settings
from wherewhen.tasks.command import RunCli
from wherewhen.tasks.run import Journal
from wherewhen.tasks.verbs import Cli

LOOKS = 100
GROWTH = 0.02


class Seen(NamedTuple):
    """What the process held at a step: resident memory in bytes, open files."""

    step: int
    memory: int
    files: int


class Looking(pl.Callback):
    """Look every so many steps, after a tenth of them: until then libraries still warm up."""

    def __init__(self, steps: int) -> None:
        self.first, self.every = steps // 10, max(1, steps // LOOKS)
        self.seen: list[Seen] = []

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Look."""
        if trainer.global_step >= self.first and trainer.global_step % self.every == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            files = len(list(Path("/proc/self/fd").iterdir()))
            self.seen.append(Seen(trainer.global_step, pages * os.sysconf("SC_PAGE_SIZE"), files))


def train(folder: Path, steps: int) -> list[Seen]:
    """What was seen in a training of so many steps."""
    encoder = {"name": "ViT", "patch_size": 8, "width": 8, "depth": 1, "heads": 1}
    config = settings(make_store(folder / "store", 30).path, encoder=encoder, teacher=None)
    config["data"] |= {"labelled_batch": 2, "unlabelled_batch": 2}
    config["trainer"] |= {"max_steps": steps, "val_check_interval": max(500, steps // 50)}
    config |= {"log_every": 20, "save_every": max(500, steps // 200), "run": str(folder / "run")}
    looking = Looking(steps)

    class Watched(Cli):
        def callbacks(self, journal: Journal) -> list[pl.Callback]:
            return [looking]

    (folder / "c.yaml").write_text(json.dumps(config), encoding="utf-8")
    cli: RunCli = Watched(["--config", str(folder / "c.yaml")])
    cli.datamodule.setup("fit")
    with cli.begun(cli.datamodule.labelled_ids()):
        cli.train()
    return looking.seen


def growth(seen: list[Seen]) -> float:
    """By how much the last tenth of the looks holds more memory than the first."""
    part = max(1, len(seen) // 10)
    first, last = (max(look.memory for look in some) for some in (seen[:part], seen[-part:]))
    return last / first - 1


def main() -> int:
    """Print what a run says; 1 where memory grew by more than `GROWTH`, or files stayed open."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    steps: int = parser.parse_args().steps
    with tempfile.TemporaryDirectory() as folder:
        seen = train(Path(folder), steps)
    memory = [look.memory / 2**20 for look in seen]
    files = sorted({look.files for look in seen})
    print(f"{steps} steps: memory {memory[0]:.1f} MiB at step {seen[0].step}, {memory[-1]:.1f} at {seen[-1].step}, ")
    print(f"from {min(memory):.1f} to {max(memory):.1f}; growth {growth(seen):+.2%}; open files {files}")
    return int(growth(seen) > GROWTH or len(files) > 1)


if __name__ == "__main__":
    sys.exit(main())
