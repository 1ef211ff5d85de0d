"""One worker's process: `python -m wherewhen.experiments.work FOLDER …` finishes cells, one after the other."""

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from wherewhen.errors import UserError
from wherewhen.experiments import pretrained, trained, untrained
from wherewhen.experiments.cells import RESULT, Order, result
from wherewhen.experiments.jobs import end_with_parent
from wherewhen.files import read_json, write_json

KINDS: dict[str, Callable[[Order, Path], trained.Figures]] = {
    "statistical": untrained.classify,
    "trained": trained.train,
    "asked": trained.asked,
    "pretrained": pretrained.train,
}


def main(folders: Sequence[str]) -> int:
    """Finish the cells in these folders; one that fails does not keep the others. 1 where one failed."""
    failures = []
    for folder in map(Path, folders):
        try:
            finish(folder)
        except UserError as error:
            failures.append(f"{folder}\nwherewhen: {error}")
        except Exception:
            failures.append(f"{folder}\n{traceback.format_exc()}")
    for failure in failures:  # last, where the end of the log shows them
        print(f"\nfailed: {failure}", flush=True)
    return int(bool(failures))


def finish(folder: Path) -> None:
    """Make a cell's result, unless it is there; it is written last, and at once."""
    if result(folder) is not None:
        return
    order, began = Order.read(folder), time.monotonic()
    print(f"\n{order.cell}", flush=True)
    figures = KINDS[order.kind](order, folder)
    value = asdict(order.cell) | read_json(folder / "test.json") | figures
    write_json(folder / RESULT, value | {"wall": time.monotonic() - began, "digest": order.digest})


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(sys.argv[1:]))
