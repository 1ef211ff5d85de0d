"""Whether other programs keep the processor busy, which slows a training of several threads many times over."""

import os

import torch


def crowded(load: float, threads: int, cores: int) -> str | None:
    """What to say where threads will wait for each other; None where there is room.

    Threads of a step meet at every operation, and one that has lost its core to another program holds up all.

    Args:
        load: Other programs that want a core, such as the mean of the last minute.
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


def told() -> str | None:
    """The same of this machine, now; None where it cannot be known."""
    if not hasattr(os, "getloadavg") or not hasattr(os, "sched_getaffinity"):
        return None
    return crowded(os.getloadavg()[0], torch.get_num_threads(), len(os.sched_getaffinity(0)))
