"""A process that has imported all that the verbs need, and forks a child for every call: a training starts in no time.

A child counts the events in which it changes a folder, or takes a training step, and can be told to kill itself with
SIGKILL at any of them. A file that is being written then keeps half of its bytes.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple

ROOT = Path(__file__).parents[2]
MODULES = (
    *("tasks.verbs", "tasks.pretrain_verb", "export", "export_formats", "model_card", "student", "prepare"),
    *("ingest.eurosat", "predict.verb", "predict.scene_map", "predict.network", "scenes", "decoders"),
)
SHARD = 8  # patches of a shard of EuroSAT, so that fifty make seven


class Ended(NamedTuple):
    """How a call ended.

    Args:
        code: Exit code, negative for a signal.
        events: How many there were; of a killed call, at which it died.
        said: On both streams.
    """

    code: int
    events: int
    said: str


def started(*words: str, **streams: Any) -> subprocess.Popen[Any]:
    """This module in a process of its own: a zygote, or `wherewhen WORDS`."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join((str(ROOT), *sys.path))}
    return subprocess.Popen([sys.executable, "-m", "tests.faults.zygote", *words], env=environment, cwd=ROOT, **streams)


class Zygote:
    """The process, seen from the test.

    Args:
        log: File for what children say.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self.process = started(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, words: Sequence[str], watched: Path, kill_at: int = 0) -> Ended:
        """Run `wherewhen WORDS` in a child.

        Args:
            words: Verb and arguments.
            watched: Folder whose changes count.
            kill_at: Event at which it dies; 0 lets it live.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        order = {"words": list(words), "watched": str(watched), "kill_at": kill_at, "log": str(self.log)}
        print(json.dumps(order), file=self.process.stdin, flush=True)
        code, events = json.loads(self.process.stdout.readline())
        return Ended(code, events, self.log.read_text(encoding="utf-8", errors="replace"))

    def close(self) -> None:
        """End it."""
        self.process.communicate()


class Events:
    """Counts what changes a folder, and dies at the right moment.

    Args:
        folder: Which.
        kill_at: Number of the event.
        told: Gets a byte an event, so that the count outlives a kill.
    """

    def __init__(self, folder: str, kill_at: int, told: int) -> None:
        self.folder, self.kill_at, self.told, self.count = folder, kill_at, told, 0

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        """An audit hook: files are opened to be written or synchronised, moved, removed; folders are made."""
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
            path = args[0]
            if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self.folder):
                name = os.fspath(path)
                if event != "open" or args[2] & (os.O_WRONLY | os.O_RDWR) or name.endswith(".part"):
                    self.happens(name)

    def happens(self, path: str | None = None) -> None:
        """One more event, about to happen to a path."""
        self.count += 1
        os.write(self.told, b".")
        if self.count == self.kill_at:
            if path is not None and path.endswith(".part") and os.path.isfile(path):  # noqa: PTH113  (as text)
                os.truncate(path, os.path.getsize(path) // 2)  # noqa: PTH202
            os.kill(os.getpid(), signal.SIGKILL)


def run(order: dict[str, Any], told: int) -> int:
    """What a child does."""
    from wherewhen.cli import main
    from wherewhen.tasks.guard import GuardedModule

    with Path(order["log"]).open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    events, step = Events(order["watched"], order["kill_at"], told), GuardedModule.optimizer_step

    def counted(self: GuardedModule, *args: Any, **kwargs: Any) -> None:
        events.happens()
        step(self, *args, **kwargs)
        events.happens()

    GuardedModule.optimizer_step = counted  # type: ignore[method-assign]
    sys.addaudithook(events.hear)
    return main(order["words"])


def small_shards() -> None:
    """Make a store of many files from a few patches."""
    setattr(import_module("wherewhen.ingest.eurosat"), "_SHARD_SIZE", SHARD)  # noqa: B010  # for mypy it has none


def serve(orders: IO[str], answers: IO[str]) -> None:
    """Fork a child an order, one after the other."""
    import torch

    torch.set_num_threads(1)
    for name in MODULES:
        import_module(f"wherewhen.{name}")
    small_shards()
    for line in orders:
        heard, told = os.pipe()
        child = os.fork()
        if not child:
            code = 1
            try:
                code = run(json.loads(line), told)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        os.close(told)
        events = 0
        while part := os.read(heard, 1 << 16):
            events += len(part)
        os.close(heard)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([code, events]), file=answers, flush=True)


def alone(words: Sequence[str]) -> int:
    """The command line in a process of its own."""
    from wherewhen.cli import main

    small_shards()
    return main(words)


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(alone(sys.argv[1:]))
    serve(sys.stdin, sys.stdout)
