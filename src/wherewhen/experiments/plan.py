"""Which cells a leaderboard has, in which order they run, and what would fail later."""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path

import numpy as np

from wherewhen import splits
from wherewhen.errors import UserError
from wherewhen.experiments.cells import Cell, Order, content_id, digest, finished, result
from wherewhen.experiments.jobs import Job
from wherewhen.experiments.rows import Row, rows_of
from wherewhen.files import write_json
from wherewhen.store import PatchStore

SPLITS = ("store", "blocks")
PLAN = "plan.json"
TEST_SHARE = 0.2  # of blocks


@dataclass
class Plan:
    """Every cell of a leaderboard.

    Args:
        args: As on the command line.
        rows: In the order of the tables.
        stores: Name -> folder.
        orders: Folder of a cell -> what makes its result, in the order in which they run.
    """

    args: argparse.Namespace
    rows: list[Row]
    stores: dict[str, Path]
    orders: dict[Path, Order] = field(default_factory=dict)

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Plan":
        """The plan of a command line.

        Raises:
            UserError: Stores or configurations are missing.
        """
        if not args.store or args.configs is None:
            raise UserError("--store and --configs are missing; only --report-only can do without them")
        if args.workers is not None and args.workers < 1:
            raise UserError(f"--workers is {args.workers}; it must be at least 1")
        plan = cls(args, rows_of(args.configs, args.controls, args.rows), named(args.store))
        ids = {name: content_id(path) for name, path in plan.stores.items()}
        by_name = {row.name: row for row in plan.rows}
        for cell in plan.cells():
            plan.orders[cell.folder(args.out)] = plan.order(cell, by_name[cell.row], ids[cell.store])
        return plan

    def cells(self) -> Iterator[Cell]:
        """All cells, so that the seeds of all rows complete together."""
        seeds, budgets, parts = (dict.fromkeys(v) for v in (self.args.seeds, self.args.labels, self.args.splits))
        for seed, store, split in product(seeds, self.stores, parts):
            for labels, row in product((*budgets, None), self.rows):
                if row.fixed == (labels is None):
                    yield Cell(store, split, labels, row.name, seed)

    def order(self, cell: Cell, row: Row, store_id: str) -> Order:
        """What makes one cell's result."""
        blocks = (str(self.args.block_km), str(self.args.gap_km)) if cell.split == "blocks" else ("null", "5.0")
        words = ["--seed", str(cell.seed), "--data.block_km", blocks[0], "--data.gap_km", blocks[1]]
        words += ["--data.test_share", str(TEST_SHARE), *row.words]
        if cell.labels is not None:
            words += ["--data.labels_per_class", str(cell.labels), "--data.label_share", "null"]
        home = Cell(cell.store, cell.split, cell.labels, row.base or cell.row, cell.seed)
        return Order(
            cell,
            row.kind,
            str(row.config),
            str(self.stores[cell.store]),
            tuple(words),
            ("--trainer.accelerator", "cpu") if self.args.device == "cpu" else (),
            str(home.folder(self.args.out)),
            digest(row.config, store_id, f"{row.kind} {row.name}", words),
        )

    def check(self) -> None:
        """Look for what would fail later, before long work.

        Raises:
            UserError: A finished cell has other settings, or a store lacks labels, a split, places or patches.
        """
        for folder, order in self.orders.items():
            finished(order, folder)
        for path in self.stores.values():
            store = PatchStore.open(path)
            if store.label_kind != "one":
                raise UserError(f"{path} has not one label a patch; the leaderboard compares classifiers only")
            for split, seed in product(self.args.splits, self.args.seeds):
                train = training_part(store, split, seed, self.args.block_km, self.args.gap_km)
                ids = list(store.table["id"].to_numpy(dtype=str)[train])
                for count in self.args.labels:
                    splits.per_class(store.labels()[train], ids, store.classes, count, seed)

    def write(self, command: str) -> None:
        """Leave the plan for the report, and each worker's orders."""
        rows = [{key: getattr(row, key) for key in ("name", "title", "kind", "control", "rivals")} for row in self.rows]
        cells = [asdict(order.cell) for order in self.orders.values()]
        blocks = {"block_km": self.args.block_km, "gap_km": self.args.gap_km}
        write_json(self.args.out / PLAN, {"command": command, **blocks, "rows": rows, "cells": cells})
        for folder, order in self.orders.items():
            if result(folder) is None:
                order.write(folder)

    def jobs(self) -> Iterator[Job]:
        """Missing cells, those of one training together, and the statistical ones of one seed, store and split."""
        groups: dict[tuple[str, ...], list[Path]] = {}
        for folder, order in self.orders.items():
            cell = order.cell
            key = (str(cell.seed), cell.store, cell.split, "statistical" if order.kind == "statistical" else order.run)
            groups.setdefault(key, []).append(folder)
        for folders in groups.values():
            missing = tuple(folder for folder in folders if result(folder) is None)
            if missing:
                name = "-".join(missing[0].relative_to(self.args.out / "cells").parts)
                yield Job(missing, self.args.out / "logs" / f"{name}.txt")


def named(paths: Iterable[Path]) -> dict[str, Path]:
    """Folders by the name under which their results are kept.

    Raises:
        UserError: Two have one name, or one is no store.
    """
    found: dict[str, Path] = {}
    for path in paths:
        PatchStore.open(path)
        name = path.resolve().name
        if name in found:
            raise UserError(f"{found[name]} and {path} have one name, {name!r}; rename one: results are kept by it")
        found[name] = path
    return found


def training_part(store: PatchStore, split: str, seed: int, block_km: float, gap_km: float) -> np.ndarray:
    """(N,) mask of the patches that a split leaves for training.

    Raises:
        UserError: The split cannot be made, or has no test patches.
    """
    if split == "blocks":
        return splits.spatial_blocks(store.place(), TEST_SHARE, block_km, gap_km, seed)[0]
    part = store.table["split"].to_numpy(dtype=object)
    for name in ("train", "test"):
        if not (part == name).any():
            raise UserError(f"{store.path} has no {name} patches of its own; use --splits blocks")
    train: np.ndarray = part == "train"
    return train
