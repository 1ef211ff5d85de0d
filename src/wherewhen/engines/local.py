"""Tasks in this process, or in processes of this machine."""

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TypeVar

from wherewhen.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

READY = 2  # tasks a worker that run or wait: the next one is there when a worker is free


@dataclass(frozen=True)
class Local:
    """Processes of this machine; when stopped, tasks under way are completed.

    Args:
        workers: Processes; 1 works in this one.

    Raises:
        UserError: There are none.
    """

    workers: int = 1

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UserError(f"--workers {self.workers} is out of range: it must be at least 1; change it")

    def flat_map(
        self, function: Callable[[Item], Iterable[Result]], items: Iterable[Item | None], folder: Path
    ) -> Generator[Result]:
        """See `wherewhen.engines.Engine`.

        Raises:
            UserError: A process was killed.
        """
        if self.workers == 1:
            for item in drawn(iter(items)):
                yield from function(item)
            return
        rest, running = iter(items), set[Future[list[Result]]]()
        # "spawn": a fork would copy the threads' locks of whatever the caller has imported.
        with ProcessPoolExecutor(self.workers, get_context("spawn"), initializer=_start_worker) as pool:
            try:
                while True:
                    for item in islice(drawn(rest), READY * self.workers - len(running)):
                        running.add(pool.submit(_results, function, item))
                    if not running:
                        return
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield from future.result()
            except BrokenProcessPool as error:
                raise UserError(
                    "a worker process was killed, perhaps for lack of memory; "
                    "run the same command again with fewer workers, it continues"
                ) from error
            finally:
                pool.shutdown(cancel_futures=True)


def drawn(items: Iterator[Item | None]) -> Iterator[Item]:
    """Items up to the end, or to a None."""
    for item in items:
        if item is None:
            return
        yield item


def _results(function: Callable[[Item], Iterable[Result]], item: Item) -> list[Result]:
    return list(function(item))


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end when the parent is gone: a pool's processes would wait for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None  # only pools call this

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
