"""Two processes that talk to each other, beside one alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.spawn import spawn

PROCESSES = 2
Run = Callable[[int | None], dict[str, Any]]


def process(rank: int, run: Run, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=PROCESSES)
    torch.save(run(rank), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def together_and_alone(run: Run, folder: Path) -> list[dict[str, Any]]:
    """What `run`, a function of a module, gives for the rank of each process, and for None in this one."""
    spawn(process, (run, str(folder)), nprocs=PROCESSES)
    seen = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]
    return [*seen, run(None)]
