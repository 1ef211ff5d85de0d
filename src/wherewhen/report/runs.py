"""What tested runs left behind, read back.

Notation: N test patches, K classes.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wherewhen.errors import UserError
from wherewhen.files import read_json, read_yaml
from wherewhen.tasks.evaluation import HEADLINE
from wherewhen.tasks.facts import LabelKind

AGAIN = "test the run again: `wherewhen test`"
CELL = "cell.json"  # beside the run of an experiment


@dataclass(frozen=True)
class Run:
    """A folder that `wherewhen test` wrote into.

    Args:
        folder: Where.
        name: That tells it from the others.
        kind: Of its labels.
        test: `test.json`.
        classes: `test_classes.csv`, by class.
        predictions: `test_predictions.csv` as text, by id.
    """

    folder: Path
    name: str
    kind: LabelKind
    test: dict[str, Any]
    classes: pd.DataFrame
    predictions: pd.DataFrame

    @property
    def score(self) -> tuple[float, float, float]:
        """The headline metric with its 95 % interval, in %; NaN where the file has none."""
        metric = HEADLINE[self.kind]
        low, high = self.test.get(f"{metric}_interval", (np.nan, np.nan))
        return self.test[metric], low, high

    @property
    def ids(self) -> list[str]:
        """Of the test patches."""
        return [str(name) for name in self.predictions.index]

    @property
    def home(self) -> Path:
        """The training's folder, which holds that of another question."""
        inner = not (self.folder / "config.yaml").is_file() and (self.folder.parent / "config.yaml").is_file()
        return self.folder.parent if inner else self.folder

    @cached_property
    def config(self) -> dict[str, Any]:
        """Every setting; empty where none were left."""
        path = self.home / "config.yaml"
        return read_yaml(path) if path.is_file() else {}

    @property
    def labelled(self) -> int | None:
        """Labelled patches of the training, None where it did not say."""
        text = self.text("labelled.csv")
        return None if text is None else len(text.splitlines()) - 1

    @property
    def method(self) -> str:
        """What trained it: the algorithm, and whether a teacher knew place or time."""
        model = self.config.get("model") or {}
        algorithm = (model.get("algorithm") or {}).get("name", "supervised")
        return f"{algorithm} + ST-SSL" if model.get("teacher") else str(algorithm)

    def text(self, name: str) -> str | None:
        """A file of the training, None where it left none."""
        path = self.home / name
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file of the training, empty where it left none."""
        path = self.home / name
        return read_json(path) if path.is_file() else {}

    def table(self, name: str) -> pd.DataFrame | None:
        """A CSV file of the training, None where it left none."""
        path = self.home / name
        return pd.read_csv(path) if path.is_file() else None

    @cached_property
    def maps(self) -> np.ndarray | None:
        """Predicted classes of pixels, (N, H, W) uint8; None where there are none."""
        path = self.folder / "test_maps.npz"
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as content:
            if content["ids"].tolist() != self.ids:
                raise UserError(f"{path} is about other patches than test_predictions.csv beside it; {AGAIN}")
            maps: np.ndarray = content["maps"]
        return maps

    @property
    def questions(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What else the training's networks were asked: name and `test.json` of every folder within."""
        for path in sorted(self.home.glob("*/test.json")):
            if path.parent != self.folder:
                yield path.parent.name, read_json(path)


def read_all(folders: Sequence[Path]) -> tuple[list[Run], list[Run]]:
    """The runs, and others that lie beside them and were tested on the same patches.

    Raises:
        UserError: A folder holds no tested run, one is given twice, or the runs were tested on different patches.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError("a run is given twice; give every folder once")
    runs = [read(folder) for folder in folders]
    for other in runs[1:]:
        if not comparable(other, runs[0]):
            raise UserError(
                f"{other.folder} and {runs[0].folder} were tested on different patches or classes, so they cannot "
                "stand side by side; make a report for each"
            )
    near = []
    for folder in neighbours(folders):
        with suppress(UserError):  # nobody asked for it
            near.append(read(folder))
    near = [run for run in near if comparable(run, runs[0])]
    titles = names([run.folder for run in (*runs, *near)])
    named = [Run(**{**vars_of(run), "name": name}) for run, name in zip((*runs, *near), titles, strict=True)]
    return named[: len(runs)], named[len(runs) :]


def vars_of(run: Run) -> dict[str, Any]:
    """Fields of a run."""
    return {name: getattr(run, name) for name in Run.__dataclass_fields__}


def comparable(run: Run, other: Run) -> bool:
    """Whether two were tested on the same patches and classes."""
    same_classes = list(run.classes.index) == list(other.classes.index)
    return run.kind == other.kind and same_classes and run.ids == other.ids


def neighbours(folders: Sequence[Path]) -> list[Path]:
    """Tested runs in the folders in which these lie; for a cell of an experiment, the cells of its seed."""
    given = {folder.resolve() for folder in folders}
    found: dict[Path, None] = {}
    for folder in map(Path.resolve, folders):
        is_cell = (folder / CELL).is_file()
        around = folder.parent.parent.glob(f"*/{folder.name}") if is_cell else folder.parent.iterdir()
        for other in sorted(around):
            if other not in given and (other / "test.json").is_file() and (other / "test_classes.csv").is_file():
                found[other] = None
    return list(found)


def names(folders: Sequence[Path]) -> list[str]:
    """What tells folders apart: the end of each path, without the end that all have in common."""
    parts = [folder.resolve().parts for folder in folders]
    while len(parts) > 1 and len({part[-1] for part in parts}) == 1:
        parts = [part[:-1] for part in parts]
    for length in range(1, max(map(len, parts)) + 1):
        titles = ["/".join(part[-length:]) for part in parts]
        if len(set(titles)) == len(titles):
            return titles
    raise AssertionError("different paths differ somewhere")


def read(folder: Path) -> Run:
    """One run, under the name of its folder.

    Raises:
        UserError: The folder holds no tested run, or a file of it is damaged.
    """
    for name in ("test.json", "test_predictions.csv", "test_classes.csv"):
        if not (folder / name).is_file():
            raise UserError(f"{folder} has no {name}; give a folder that `wherewhen fit --run` made, and {AGAIN}")
    test = read_json(folder / "test.json")
    kind = next((kind for kind, metric in HEADLINE.items() if metric in test), None)
    if kind is None:
        raise UserError(f"{folder / 'test.json'} has no score, as no test patch has a known label; there is no report")
    classes = frame(folder / "test_classes.csv").set_index("class").apply(pd.to_numeric, errors="coerce")
    predictions = frame(folder / "test_predictions.csv")
    predictions = predictions.set_index(predictions.columns[0])
    if len(predictions) != test["images"] or (kind == "many" and predictions.shape[1] != len(classes)):
        raise UserError(f"{folder / 'test_predictions.csv'} and test.json beside it do not belong together; {AGAIN}")
    return Run(folder, folder.name, kind, test, classes, predictions)


def frame(path: Path) -> pd.DataFrame:
    """A CSV file as text, so that a class may be called `NA` and a patch `007`.

    Raises:
        UserError: It is no table.
    """
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError as error:
        raise UserError(f"{path} is no table ({error}); {AGAIN}") from error
