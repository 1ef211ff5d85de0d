"""SACo's table: what pre-trainings are worth for classification, segmentation and change detection.

A method's pre-training comes first, and its three tasks start from the encoder that it leaves; all of a method and a
seed share a process.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from wherewhen.contrast.methods import METHODS
from wherewhen.errors import UserError
from wherewhen.experiments import jobs
from wherewhen.experiments.cells import PLAN, STUDENT, Cell, Order, content_id, digest, finished, result
from wherewhen.experiments.rows import configuration, target_of
from wherewhen.files import alone, read_yaml, write_json
from wherewhen.store import PatchStore
from wherewhen.tasks.pretrain import GROUPS, shown_groups
from wherewhen.tasks.pretrain_verb import ENCODER
from wherewhen.tasks.samples import samples_of

TASKS = ("classify", "segment", "change")
PRETRAIN = "pretrain"
SCRATCH, SCRATCH_GROUPS = "scratch", "scratch_groups"  # the same encoders, as a seed begins them
LIKE = {SCRATCH: "moco_v2", SCRATCH_GROUPS: "saco"}
EXAMPLE = "configs/downstream"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the experiment takes."""
    jobs.add_arguments(parser)
    parser.add_argument("--places", type=Path, metavar="S", help="store to pre-train on, with several dates a place")
    parser.add_argument("--store", type=Path, metavar="S", help="store with the labels, masks or change of the tasks")
    parser.add_argument("--configs", type=Path, metavar="FOLDER", help="of the pre-trainings, such as configs/pretrain")
    parser.add_argument("--tasks", type=Path, metavar="FOLDER", help="of the tasks, such as configs/downstream")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], metavar="N", help="(default: 1 2)")
    rows = (*LIKE, *METHODS)
    parser.add_argument("--rows", nargs="+", choices=rows, metavar="ROW", help="(default: all configured)")


def run(args: argparse.Namespace) -> int:
    """Run what is not finished, and report; 1 where a cell failed.

    Raises:
        UserError: The call cannot work, or a finished cell has other settings.
    """
    from wherewhen.experiments import transfer_report

    failed = [] if args.report_only else run_missing(args)
    print("\n" + transfer_report.write(args.out) + f"\nTables and picture: {args.out}")
    return int(bool(failed))


def run_missing(args: argparse.Namespace) -> list[jobs.Job]:
    """Plan all cells, run those without a result; the jobs that failed.

    Raises:
        UserError: The call cannot work, or another experiment is writing to the same folder.
    """
    if any(value is None for value in (args.places, args.store, args.configs, args.tasks)):
        raise UserError("--places, --store, --configs and --tasks are missing; only --report-only can do without them")
    workers = jobs.environments(args.workers, args.device)
    plan = Plan.of(args)
    for folder, order in plan.orders.items():
        finished(order, folder)
    with alone(args.out):
        plan.write()
        print(f"{len(plan.missing())} of {len(plan.orders)} cells to run, {len(workers)} at a time", flush=True)
        return jobs.run(list(plan.jobs()), workers, plan.tell)


def there(folder: Path) -> list[str]:
    """Rows whose configuration a folder has; all, and so an error later, where it has none."""
    return [row for row in (*LIKE, *METHODS) if (folder / f"{LIKE.get(row, row)}.yaml").is_file()] or [*LIKE, *METHODS]


@dataclass
class Plan:
    """Every cell of the experiment.

    Args:
        args: As on the command line.
        tasks: Name of a task -> its configuration.
        ids: Path of a store -> what it holds.
        probed: Pre-trainings are looked at on the way; only a store with one label a patch allows it.
        orders: Folder of a cell -> what makes its result, those of a method and seed after its pre-training.
    """

    args: argparse.Namespace
    tasks: dict[str, Path]
    ids: dict[Path, str]
    probed: bool
    orders: dict[Path, Order] = field(default_factory=dict)

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Plan":
        """The plan of a command line.

        Raises:
            UserError: A configuration or a store is missing, or the store has not what a task learns.
        """
        tasks = {task: args.tasks / f"{task}.yaml" for task in TASKS if (args.tasks / f"{task}.yaml").is_file()}
        if not tasks:
            raise UserError(f"{args.tasks} holds none of {', '.join(TASKS)} (.yaml); give a folder such as {EXAMPLE}")
        ids, store = {path: content_id(path) for path in (args.places, args.store)}, PatchStore.open(args.store)
        for config in tasks.values():
            samples_of(store, target_of(config))
        plan = cls(args, tasks, ids, store.label_kind == "one")
        for seed in args.seeds:
            for row in args.rows or there(args.configs):
                plan.add(row, seed)
        return plan

    def add(self, row: str, seed: int) -> None:
        """A row's cells of one seed."""
        config = configuration(self.args.configs, LIKE.get(row, row))
        model, source, words = read_yaml(config)["model"], row, ["--seed", str(seed)]
        method = METHODS[model.get("method", "saco")]
        settings = model.get("groups", GROUPS), model.get("texture", "bands")
        spec = shown_groups(model["encoder"], method, *settings)
        if row not in LIKE:
            cell = Cell(PRETRAIN, "store", None, row, seed)
            made_by = digest(config, self.ids[self.args.places], f"pretrained {row}", words)
            looked = [*words, "--probe", str(self.args.store)] if self.probed else words
            folder = self.order(cell, "pretrained", config, self.args.places, looked, made_by)
            spec, source = spec | {"weights": str(folder / ENCODER)}, made_by
        for task, config in self.tasks.items():
            kind, more = f"transferred {row} {source}", {k: v for k, v in spec.items() if k != "weights"}
            made_of = digest(config, self.ids[self.args.store], kind, [*words, json.dumps(more)])
            started = [*words, "--model.encoder", json.dumps(spec)]
            self.order(Cell(task, "store", None, row, seed), "trained", config, self.args.store, started, made_of)

    def order(self, cell: Cell, kind: str, config: Path, store: Path, words: Sequence[str], settings: str) -> Path:
        """One cell; its folder."""
        folder = cell.folder(self.args.out)
        self.orders[folder] = Order(
            cell,
            kind,
            str(config),
            str(store),
            tuple(words),
            jobs.device_words(self.args.device),
            str(folder),
            STUDENT,
            settings,
        )
        return folder

    def missing(self) -> list[Path]:
        """Folders of cells without a result."""
        return [folder for folder in self.orders if result(folder) is None]

    def write(self) -> None:
        """Leave the plan for the report, and each worker's orders."""
        cells = [asdict(order.cell) for order in self.orders.values()]
        write_json(self.args.out / PLAN, {"experiment": "transfer", "command": self.args.command, "cells": cells})
        for folder in self.missing():
            self.orders[folder].write(folder)

    def jobs(self) -> Iterator[jobs.Job]:
        """Missing cells, those of one method and seed together."""
        groups: dict[tuple[str, int], list[Path]] = {}
        for folder in self.missing():
            cell = self.orders[folder].cell
            groups.setdefault((cell.row, cell.seed), []).append(folder)
        for (row, seed), folders in groups.items():
            yield jobs.Job(tuple(folders), self.args.out / "logs" / f"{row}-seed-{seed}.txt")

    def tell(self, folder: Path) -> None:
        """Say that this cell is finished."""
        done = len(self.orders) - len(self.missing())
        cell = self.orders[folder].cell
        print(f"{done}/{len(self.orders)}  {cell.store}, {cell.row}, seed {cell.seed}", flush=True)
