"""What every experiment is: rows × label budgets × seeds × splits × stores, trained where missing, and compared."""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wherewhen.errors import UserError
from wherewhen.experiments import jobs
from wherewhen.experiments.cells import RESULT, result
from wherewhen.experiments.plan import SPLITS, Plan
from wherewhen.experiments.rows import Row, chosen
from wherewhen.files import alone, read_json

PORTUGAL_AND_IRELAND = (36.0, -32.0, 72.0, -5.0)  # of BigEarthNet's countries no other lies so far west
# label budgets by what is learnt
USUAL: Mapping[str, Sequence[float]] = {"one": (4,), "many": (0.01,), "mask": (0.01,), "change": (0.1,)}


def add_arguments(
    parser: argparse.ArgumentParser, budgets: Mapping[str, Sequence[float]] = USUAL, splits: Sequence[str] = ("store",)
) -> None:
    """What every experiment takes.

    Args:
        parser: Of the experiment.
        budgets: Label budgets where none are given, by what is learnt.
        splits: Where none are given.
    """
    usual = ", or ".join(" ".join(f"{budget:g}" for budget in some) for some in budgets.values())
    parser.set_defaults(usual_labels=budgets)
    jobs.add_arguments(parser)
    parser.add_argument("--store", type=Path, nargs="+", default=[], metavar="S", help="folders of prepared stores")
    parser.add_argument("--configs", type=Path, metavar="FOLDER", help="folder of configurations (*.yaml)")
    parser.add_argument(
        "--labels",
        type=budget,
        nargs="+",
        metavar="L",
        help=f"labels a class, or below 1 the share of the labels (default: {usual} for many labels)",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="N", help="(default: 1 2 3)")
    parser.add_argument("--steps", type=int, metavar="N", help="training steps (default: the configuration's)")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=splits, help=f"(default: {' '.join(splits)})")
    parser.add_argument("--block-km", type=float, default=25.0, help="side of a block (default: 25)")
    parser.add_argument("--gap-km", type=float, default=5.0, help="between training and test (default: 5)")
    parser.add_argument(
        "--region",
        type=float,
        nargs=4,
        default=PORTUGAL_AND_IRELAND,
        metavar=("S", "W", "N", "E"),
        help="the test of the split `region`, in degrees (default: west of 5° W in Europe)",
    )
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these rows (default: all)")


def budget(text: str) -> float:
    """A label budget as it is typed."""
    value = float(text)
    if not 0 < value < 1 and (value < 1 or value != int(value)):
        raise argparse.ArgumentTypeError(f"{text} is neither a number of labels a class nor a share between 0 and 1")
    return value


def run(
    args: argparse.Namespace,
    name: str,
    rows_of: Callable[[Path], list[Row]],
    note: Callable[[Path], str] = lambda out: "",
) -> int:
    """Run what is not finished, and report; 1 where a cell failed.

    Args:
        args: Of the command line.
        name: Of the experiment, and of its files.
        rows_of: Makes its rows from the folder of configurations.
        note: Says something more of what is finished in the experiment's folder.

    Raises:
        UserError: The call cannot work, or a finished cell has other settings.
    """
    from wherewhen.experiments import report

    failed = [] if args.report_only else run_missing(args, name, rows_of)
    print("\n" + report.write(args.out, name, note(args.out)) + f"\nTables and picture: {args.out}")
    return int(bool(failed))


def run_missing(args: argparse.Namespace, name: str, rows_of: Callable[[Path], list[Row]]) -> list[jobs.Job]:
    """Plan all cells, run those without a result; the jobs that failed.

    Raises:
        UserError: The call cannot work, or another experiment is writing to the same folder.
    """
    if not args.store or args.configs is None:
        raise UserError("--store and --configs are missing; only --report-only can do without them")
    workers = jobs.environments(args.workers, args.device)
    plan = Plan.of(args, chosen(rows_of(args.configs), args.rows))
    plan.check()
    with alone(args.out):
        plan.write(name)
        progress = Progress(plan, len(workers))
        print(f"{len(progress.missing())} of {len(plan.orders)} cells to run, {len(workers)} at a time", flush=True)
        return jobs.run(list(plan.jobs()), workers, progress)


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
        print(f"{done}/{len(self.plan.orders)}  {cell}: {figures[self.plan.metric]:.1f} % ({left})", flush=True)

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
