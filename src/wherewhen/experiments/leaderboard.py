"""Methods × label budgets × seeds × splits × stores: trained where that is not done yet, and compared."""

import argparse
import math
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from wherewhen.errors import UserError
from wherewhen.experiments import jobs
from wherewhen.experiments.cells import RESULT, result
from wherewhen.experiments.plan import SPLITS, Plan
from wherewhen.files import make_folder, read_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the experiment takes."""
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where cells, tables and picture go")
    parser.add_argument("--store", type=Path, nargs="+", default=[], metavar="S", help="folders of prepared stores")
    parser.add_argument("--configs", type=Path, metavar="FOLDER", help="folder of configurations, one a row")
    parser.add_argument("--labels", type=int, nargs="+", default=[4], metavar="L", help="labels a class (default: 4)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="N", help="(default: 1 2 3)")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=["store"], help="(default: store)")
    parser.add_argument("--block-km", type=float, default=25.0, help="side of a block (default: 25)")
    parser.add_argument("--gap-km", type=float, default=5.0, help="between training and test (default: 5)")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these rows (default: all)")
    parser.add_argument("--controls", action="store_true", help="also what could explain the figures otherwise")
    parser.add_argument("--workers", type=int, help="processes at a time (default: one a GPU, or one a core)")
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto", help="(default: auto)")
    parser.add_argument("--report-only", action="store_true", help="tables of what is finished in --out; runs nothing")


def run(args: argparse.Namespace) -> int:
    """Run what is not finished, and report; 1 where a cell failed.

    Raises:
        UserError: The call cannot work, or a finished cell has other settings.
    """
    if find_spec("sklearn") is None:
        raise UserError("the leaderboard needs scikit-learn; install it with `pip install 'wherewhen[experiments]'`")
    from wherewhen.experiments import report

    failed = [] if args.report_only else run_missing(args)
    print("\n" + report.write(args.out) + f"\nTables and picture: {args.out}")
    return int(bool(failed))


def run_missing(args: argparse.Namespace) -> list[jobs.Job]:
    """Plan all cells, run those without a result; the jobs that failed.

    Raises:
        UserError: The call cannot work, or another leaderboard is writing to the same folder.
    """
    plan = Plan.of(args)
    plan.check()
    make_folder(args.out)
    try:
        with FileLock(args.out / ".lock", blocking=False):  # the system lets go of it however this process ends
            plan.write(args.command)
            workers = jobs.environments(args.workers, args.device)
            progress = Progress(plan, len(workers))
            print(f"{len(progress.missing())} of {len(plan.orders)} cells to run, {len(workers)} at a time", flush=True)
            return jobs.run(list(plan.jobs()), workers, progress)
    except Timeout as error:
        raise UserError(f"another leaderboard is at work in {args.out}; wait for it, or give another --out") from error


@dataclass
class Progress:
    """A line a finished cell, with the time that is left.

    Args:
        plan: Whose cells.
        workers: At a time.
    """

    plan: Plan
    workers: int

    def __call__(self, folder: Path) -> None:
        """Say that this cell is finished."""
        cell, figures = self.plan.orders[folder].cell, read_json(folder / RESULT)
        done = len(self.plan.orders) - len(self.missing())
        left = f"about {math.ceil(self.seconds_left() / 60)} min left" if self.missing() else "all done"
        print(f"{done}/{len(self.plan.orders)}  {cell}: {figures['accuracy']:.1f} % ({left})", flush=True)

    def missing(self) -> list[Path]:
        """Folders of cells without a result."""
        return [folder for folder in self.plan.orders if result(folder) is None]

    def seconds_left(self) -> float:
        """Seconds of the missing cells: each taken to last as its row did so far."""
        known: dict[str, list[float]] = {}
        for folder, order in self.plan.orders.items():
            if (figures := result(folder)) is not None:
                known.setdefault(order.cell.row, []).append(figures["wall"])
        means = {row: float(np.mean(seconds)) for row, seconds in known.items()}
        usual = float(np.mean(list(means.values())))
        return sum(means.get(self.plan.orders[f].cell.row, usual) for f in self.missing()) / self.workers
