"""Seconds from the shell to something useful: the help, and the first step of a training.

Each is a fresh process, in turn, beside `import lightning.pytorch`, which every training needs; compiled files and the
page cache are warm. A training ends when its first step has: a ViT of 4 blocks of 128, 20 + 40 images of 32 px,
FixMatch and ST-SSL. Run:

    python benchmarks/startup.py [--repeats 7]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml

HERE = Path(__file__).parent
CONFIGS = HERE.parent / "configs" / "eurosat" / "cpu"
HELP, IMPORT = "wherewhen --help", "import lightning.pytorch"
METHODS = {"fit, FixMatch": "fixmatch.yaml", "fit, ST-SSL": "stssl_fixmatch.yaml"}


class FirstStep(pl.Callback):
    """Ends the process after one step."""

    def on_train_batch_end(self, *_: Any) -> None:
        """Leave everything as it is."""
        os._exit(0)


def config_of(folder: Path, method: str, store: Path) -> Path:
    """A training with the small network of `steps.py`."""
    config = yaml.safe_load((CONFIGS / method).read_text(encoding="utf-8"))
    config["model"]["encoder"] = {"name": "ViT", "patch_size": 8, "width": 128, "depth": 4, "heads": 4}
    config["data"] |= {"store": str(store), "labelled_batch": 20, "unlabelled_batch": 40}
    config["trainer"] |= {"logger": False, "enable_progress_bar": False, "callbacks": "startup.FirstStep"}
    (folder / method).write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder / method


def timed(words: list[str]) -> Callable[[], float]:
    """Seconds of a process of this interpreter."""

    def clock() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *words], cwd=HERE, check=True, capture_output=True)
        return time.perf_counter() - start

    return clock


def main() -> None:
    """Print a table."""
    from steps import in_turn, make_store, table

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = make_store(folder, 32)
        clocks = {HELP: timed(["-m", "wherewhen", "--help"]), IMPORT: timed(["-c", IMPORT])}
        for title, method in METHODS.items():
            words = ["-m", "wherewhen", "fit", "--config", str(config_of(folder, method, store))]
            clocks[title] = timed([*words, "--run", str(folder / title)])
        taken = in_turn(clocks, arguments.repeats)
    rows = [["process", "seconds", f"beyond {IMPORT}"]]
    rows += [[name, f"{value:.2f}", f"{value - taken[IMPORT]:.2f}"] for name, value in taken.items()]
    print(f"median of {arguments.repeats}, in turn\n")
    print(table(rows))


if __name__ == "__main__":
    main()
