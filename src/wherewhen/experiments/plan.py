"""Which cells an experiment has, in which order they run, and what would fail later."""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import yaml

from wherewhen.errors import UserError
from wherewhen.experiments.cells import PLAN, Cell, Order, budget_words, content_id, digest, finished, result
from wherewhen.experiments.jobs import Job, device_words
from wherewhen.experiments.rows import Row, target_of
from wherewhen.files import read_yaml, write_json
from wherewhen.store import PatchStore
from wherewhen.tasks.data import StoreData
from wherewhen.tasks.evaluation import HEADLINE
from wherewhen.tasks.facts import LabelKind

SPLITS = ("store", "blocks", "region")
TEST_SHARE = 0.2  # of blocks
# Settings that count steps: a longer or shorter training stretches them.
MOMENTA = ("model.ema_momentum", "model.algorithm.momentum")
OTHERS = {"many": "many", "mask": "masks", "change": "change"}
IN_STEPS = ("trainer.val_check_interval", "model.lr_warmup_steps", "model.warmup_steps", "model.algorithm.start")


@dataclass
class Plan:
    """Every cell of an experiment.

    Args:
        args: As on the command line.
        rows: In the order of the tables.
        stores: Name -> folder.
        kind: What rows learn.
        orders: Folder of a cell -> what makes its result, in the order in which they run.
    """

    args: argparse.Namespace
    rows: list[Row]
    stores: dict[str, Path]
    kind: LabelKind
    orders: dict[Path, Order] = field(default_factory=dict)

    @classmethod
    def of(cls, args: argparse.Namespace, rows: list[Row]) -> "Plan":
        """The plan of a command line.

        Raises:
            UserError: A number is out of range, or the stores do not fit together.
        """
        if args.steps is not None and args.steps < 1:
            raise UserError(f"--steps is {args.steps}; it must be at least 1")
        stores = named(args.store)
        plan = cls(args, rows, stores, kind_of(stores.values(), rows))
        ids = {name: content_id(path) for name, path in plan.stores.items()}
        by_name = {row.name: row for row in plan.rows}
        for cell in plan.cells():
            plan.orders[cell.folder(args.out)] = plan.order(cell, by_name[cell.row], ids[cell.store])
        return plan

    @property
    def metric(self) -> str:
        """The figure by which rows are compared."""
        return HEADLINE[self.kind]

    def cells(self) -> Iterator[Cell]:
        """All cells, so that the seeds of all rows complete together."""
        labels = self.args.labels or self.args.usual_labels[self.kind]
        seeds, budgets, parts = (dict.fromkeys(v) for v in (self.args.seeds, labels, self.args.splits))
        for seed, store, split in product(seeds, self.stores, parts):
            for labels, row in product((*budgets, None), self.rows):
                if row.fixed == (labels is None):
                    yield Cell(store, split, labels, row.name, seed)

    def order(self, cell: Cell, row: Row, store_id: str) -> Order:
        """What makes one cell's result."""
        words = ["--seed", str(cell.seed), *self.split_words(cell.split), *budget_words(cell.labels)]
        if self.args.steps is not None:
            words += stretched(read_yaml(row.config), self.args.steps)
        words += row.words
        home = Cell(cell.store, cell.split, cell.labels, row.base or cell.row, cell.seed)
        return Order(
            cell,
            row.kind,
            str(row.config),
            str(self.stores[cell.store]),
            tuple(words),
            device_words(self.args.device),
            str(home.folder(self.args.out)),
            row.question,
            digest(row.config, store_id, f"{row.kind} {row.name} {tuple(row.question)}", words),
        )

    def split_words(self, split: str) -> list[str]:
        """A split as overrides of a configuration."""
        block, gap = (str(self.args.block_km), str(self.args.gap_km)) if split == "blocks" else ("null", "5.0")
        words = ["--data.block_km", block, "--data.gap_km", gap, "--data.test_share", str(TEST_SHARE)]
        return words + (["--data.test_region", str(list(self.args.region))] if split == "region" else [])

    def check(self) -> None:
        """Look for what would fail later, before long work.

        Raises:
            UserError: A finished cell has other settings, or a store lacks labels, a split, places or patches.
        """
        for folder, order in self.orders.items():
            finished(order, folder)
        choices = {repr(settings): settings for settings in map(data_settings, self.orders.values())}
        for settings in choices.values():
            data = StoreData(**settings)
            data.choose()
            for name, rows in (("train", data.labelled), ("test", data.test_rows)):
                if not len(rows):
                    raise UserError(f"{data.path} has no {name} patches with labels; try --splits blocks")

    def write(self, name: str) -> None:
        """Leave the plan for the report, and each worker's orders."""
        cells = [asdict(order.cell) for order in self.orders.values()]
        plan = {"experiment": name, "command": self.args.command, "kind": self.kind, "metric": self.metric}
        settings = {key: getattr(self.args, key) for key in ("block_km", "gap_km", "region")}
        write_json(self.args.out / PLAN, {**plan, **settings, "rows": [r.to_json() for r in self.rows], "cells": cells})
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
        UserError: Two have one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        name = path.resolve().name
        if name in found:
            raise UserError(f"{found[name]} and {path} have one name, {name!r}; rename one: results are kept by it")
        found[name] = path
    return found


def kind_of(stores: Iterable[Path], rows: Iterable[Row]) -> LabelKind:
    """What all rows learn: one label a patch, many, masks, or change.

    Raises:
        UserError: A path is no store, stores or rows differ, there are no labels, or a row is for one label a patch.
    """
    kinds = {PatchStore.open(path).label_kind: path for path in stores}
    targets = {target_of(row.config): row.name for row in rows}
    for found, what in ((kinds, "kind of label"), (targets, "data.target")):
        if len(found) > 1:
            names = " and ".join(f"{where} ({kind})" for kind, where in found.items())
            raise UserError(f"{names} differ in their {what}; compare one at a time")
    (kind, path), (target,) = *kinds.items(), targets
    if target != "patch":
        learnt: LabelKind = target
    elif kind != "none":
        learnt = kind
    else:
        raise UserError(f"{path} has no labels, so nothing can be compared on it")
    if learnt != "one" and (alone := [row.name for row in rows if row.kind == "statistical"]):
        raise UserError(f"row {alone[0]!r} is for one label a patch, {path} has {OTHERS[learnt]}; choose with --rows")
    return learnt


def stretched(config: dict[str, Any], steps: int) -> list[str]:
    """Overrides that make a training last so many steps, with all that is counted in steps in proportion.

    Momenta follow: their memory, 1 / (1 − m) steps, is the same part of the training.
    """

    def find(path: str) -> Any:
        value: Any = config
        for key in path.split("."):
            value = (value or {}).get(key)
        return value

    words = ["--trainer.max_steps", str(steps)]
    if (usual := find("trainer.max_steps")) is None:
        return words
    factor = steps / usual
    for path in IN_STEPS:
        if isinstance(value := find(path), int):
            words += [f"--{path}", str(max(1, round(value * factor)) if value else 0)]
    for path in MOMENTA:
        if (momentum := find(path)) is not None:
            words += [f"--{path}", f"{max(0.0, 1 - (1 - momentum) / factor):.6g}"]
    return words


def data_settings(order: Order) -> dict[str, Any]:
    """Arguments of the `StoreData` that an order trains on."""
    settings = dict(read_yaml(Path(order.config)).get("data") or {}) | {"store": order.store}
    for key, value in pairwise(order.words):
        if key.startswith("--data.") or key == "--seed":
            settings[key.removeprefix("--data.").removeprefix("--")] = yaml.safe_load(value)
    return settings
