"""A cell: one row, on one store, split and label budget, with one seed; its folder says whether it is finished.

A label budget is a number of labels a class, 1 or more, or a share of the training patches, below 1.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from wherewhen.errors import UserError
from wherewhen.files import read_json, sha256_of, write_json
from wherewhen.tasks.elsewhere import Network

ORDER, RESULT, PLAN = "cell.json", "result.json", "plan.json"


@dataclass(frozen=True)
class Cell:
    """One place in the table; `labels` is the budget, None where the row has its own."""

    store: str
    split: str
    labels: float | None
    row: str
    seed: int

    def __str__(self) -> str:
        return f"{self.row}, {self.store}, {self.split} split, {budget_title(self.labels)}, seed {self.seed}"

    def folder(self, out: Path) -> Path:
        """Where its run and its result lie."""
        budget = "labels-own" if self.labels is None else f"labels-{self.labels:g}"
        return out / "cells" / self.store / self.split / budget / self.row / f"seed-{self.seed}"


def budget_title(labels: float | None) -> str:
    """A label budget for people."""
    if labels is None:
        return "all labels, or those of a file"
    if labels < 1:
        return f"{100 * labels:g} % of the labels"
    return f"{labels:g} label{'s' if labels > 1 else ''} a class"


def budget_words(labels: float | None) -> list[str]:
    """A label budget as overrides of a configuration."""
    if labels is None:
        return []
    per_class, share = ("null", str(labels)) if labels < 1 else (f"{labels:g}", "null")
    return ["--data.labels_per_class", per_class, "--data.label_share", share]


class Question(NamedTuple):
    """What a trained network is told about the test patches, see `tasks.elsewhere.replaced`.

    Args:
        network: Which is asked.
        told: Of place and time.
        day: One day of the year for all, or
        unseen: the one of this number among the days that are farthest from those of the training.
    """

    network: Network = "student"
    told: str = "true"
    day: int | None = None
    unseen: int | None = None


STUDENT = Question()


@dataclass(frozen=True)
class Order:
    """What a worker is told: everything that makes the cell's result.

    Args:
        cell: Whose.
        kind: A key of `work.KINDS`.
        config: The YAML file.
        store: The store's folder.
        words: Overrides of the configuration.
        device: Overrides that say on what it runs.
        run: Folder of the training that it makes or looks at.
        question: What its network is asked, of cells that look at a training.
        digest: Of all that can change the result.
    """

    cell: Cell
    kind: str
    config: str
    store: str
    words: tuple[str, ...]
    device: tuple[str, ...]
    run: str
    question: Question
    digest: str

    def command_line(self) -> list[str]:
        """The words that `wherewhen fit` takes."""
        quiet = ("--trainer.logger", "false", "--trainer.enable_progress_bar", "false")
        where = ("--config", self.config, "--data.store", self.store, "--run", self.run)
        return [*where, *quiet, *self.device, *self.words]

    def write(self, folder: Path) -> None:
        """Leave it in the cell's folder."""
        write_json(folder / ORDER, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "Order":
        """What was left there."""
        value = read_json(folder / ORDER)
        return cls(**value | {"cell": Cell(**value["cell"]), "question": Question(*value["question"])})


def digest(config: Path, store: str, kind: str, words: Sequence[str]) -> str:
    """SHA-256 of the configuration's text, the store's content and the overrides; no path is in it."""
    value = [sha256_of(config), store, kind, *words]
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def content_id(store: Path) -> str:
    """SHA-256 of what a store says of its pixels, and of its table."""
    return sha256_of(store / "store.json") + sha256_of(store / "patches.parquet")


def finished(order: Order, folder: Path) -> bool:
    """Whether the cell has its result.

    Raises:
        UserError: It has one, of other settings.
    """
    if not (folder / RESULT).exists():
        return False
    if read_json(folder / RESULT)["digest"] != order.digest:
        raise UserError(
            f"{folder} holds the result of other settings (configuration, overrides or store have changed since); "
            "remove that folder to run the cell again, or give another --out"
        )
    return True


def result(folder: Path) -> dict[str, Any] | None:
    """The figures of a cell, None where it is not finished."""
    return read_json(folder / RESULT) if (folder / RESULT).exists() else None
