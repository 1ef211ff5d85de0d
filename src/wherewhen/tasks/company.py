"""Whether other programs keep the processor busy, which slows a training of several threads many times over."""

import os
import time
from pathlib import Path

STAT = Path("/proc/stat")


def crowded(load: float, threads: int, cores: int) -> str | None:
    """What to say where threads will wait for each other; None where there is room.

    Threads of a step meet at every operation, and one that has lost its core to another program holds up all.

    Args:
        load: Cores that other programs keep busy.
        threads: Of the training.
        cores: That it may use.
    """
    others = round(load)
    if threads < 2 or threads + others <= cores:
        return None
    return (
        f"other programs keep about {min(others, cores)} of {cores} cores busy, and a training of {threads} threads "
        f"waits for them at every operation: OMP_NUM_THREADS={max(1, cores - others)} may be several times faster"
    )


def busy(seconds: float = 0.3) -> float | None:
    """Cores that work while this process sleeps; None where the system does not say (Linux does)."""
    if not STAT.is_file():
        return None
    idle, total = _jiffies()
    time.sleep(seconds)
    later, end = _jiffies()
    return (os.cpu_count() or 1) * (1 - (later - idle) / max(end - total, 1))


def _jiffies() -> tuple[int, int]:
    """Idle and all, of all cores since the start."""
    times = [int(word) for word in STAT.read_text().split("\n", 1)[0].split()[1:9]]
    return times[3] + times[4], sum(times)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def told() -> str | None:
    """As `crowded`, of this machine, now; None, too, where the system does not say."""
    import torch

    threads = torch.get_num_threads()
    load = busy() if threads > 1 else None
    return None if load is None else crowded(load, threads, available_cores())
