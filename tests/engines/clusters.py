"""Real Ray clusters on this machine, small ones, and what kills their parts."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MEMORY = 100_000_000  # bytes of a node's object store


@contextmanager
def cluster(nodes: int = 1, **head: Any) -> Iterator[Any]:
    """So many nodes of one core each; the first is the head, and all end with the block."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": MEMORY, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=node | head)
    try:
        for _ in range(nodes - 1):
            made.add_node(num_cpus=1, object_store_memory=MEMORY)
        yield made
    finally:
        made.shutdown()


def workers_of(node: Any) -> list[int]:
    """Processes of a node that are at work on a task of ours."""
    raylet = node.all_processes["raylet"][0].process.pid
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            title = (entry / "cmdline").read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        if parent == raylet and title.startswith(b"ray::_run"):
            found.append(int(entry.name))
    return found


def kill_workers(node: Any) -> bool:
    """Kill the processes that work on a task; whether there were any."""
    pids = workers_of(node)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return bool(pids)


@contextmanager
def once(when: Callable[[], bool], do: Callable[[], Any]) -> Iterator[list[Any]]:
    """Beside the block, do something as soon as it is time; what it gave."""
    given: list[Any] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if when():
                given.append(do())
                return
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield given
    finally:
        over.set()
        thread.join()
