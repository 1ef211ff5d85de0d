"""Seconds from the shell to something useful: the help, and the first step of a training.

Each is a fresh process, in turn, beside `import lightning.pytorch`, which every training needs. Compiled files and the
page cache are warm, where memory is free enough to keep them; else the clock tells of the disk, seconds of processors
do not. A training ends when its first step has: a ViT of 4 blocks of 128, 20 + 40 images of 32 px, FixMatch and ST-SSL.
Run:

    python benchmarks/startup.py [--repeats 7]
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import yaml

HERE = Path(__file__).parent
HELP, IMPORT = "wherewhen --help", "import lightning.pytorch"


class FirstStep(pl.Callback):
    """Ends the process after one step."""

    def on_train_batch_end(self, *_: Any) -> None:
        """Leave everything as it is."""
        os._exit(0)


def config_of(folder: Path, method: str, store: Path) -> Path:
    """A training with the small network of `steps.py`."""
    from steps import CASES, CONFIGS

    case, config = CASES["small"], yaml.safe_load((CONFIGS / method).read_text(encoding="utf-8"))
    config["model"]["encoder"] = {"name": "ViT"} | case.encoder
    config["data"] |= {"store": str(store), "labelled_batch": case.labelled, "unlabelled_batch": case.unlabelled}
    config["trainer"] |= {"logger": False, "enable_progress_bar": False, "callbacks": "startup.FirstStep"}
    (folder / method).write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder / method


def seconds(words: list[str]) -> tuple[float, float]:
    """Of a process of this interpreter, by the clock and of processors."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began, before = time.perf_counter(), spent()
    subprocess.run([sys.executable, *words], cwd=HERE, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began, spent() - before


def spent() -> float:
    """Seconds of processors of all processes that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print a table."""
    from steps import CASES, METHODS, make_store, table

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        store = make_store(folder, CASES["small"].size)
        processes = {HELP: ["-m", "wherewhen", "--help"], IMPORT: ["-c", IMPORT]}
        for name, method in METHODS.items():
            title = f"fit, {name}"
            words = ["-m", "wherewhen", "fit", "--config", str(config_of(folder, method, store))]
            processes[title] = [*words, "--run", str(folder / title)]
        rounds = [{title: seconds(words) for title, words in processes.items()} for _ in range(arguments.repeats + 1)]
    taken = {title: np.median([one[title] for one in rounds[1:]], axis=0) for title in processes}  # the first warms up
    rows = [["process", "seconds", "beyond the import", "seconds of processors", "beyond the import"]]
    for title, (clock, processors) in taken.items():
        beyond = taken[title] - taken[IMPORT]
        rows.append([title, f"{clock:.2f}", f"{beyond[0]:.2f}", f"{processors:.2f}", f"{beyond[1]:.2f}"])
    print(f"median of {arguments.repeats}, in turn\n")
    print(table(rows))


if __name__ == "__main__":
    main()
