"""Predictions for the patches of a store, as a table.

Notation: N patches, K classes.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from wherewhen.engines import Engine
from wherewhen.errors import UserError
from wherewhen.files import atomic_path
from wherewhen.predict.network import Weights
from wherewhen.scale import check_bands
from wherewhen.store import PatchStore
from wherewhen.student import Student

TOGETHER = 16  # batches of a task


@dataclass(frozen=True)
class Asking:
    """Asks for rows of a store, batch by batch: gives their first position and probabilities (n, K)."""

    store: PatchStore
    weights: Weights
    batch: int

    def __call__(self, task: tuple[int, np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """Ask, given the position of the first row and all rows."""
        position, rows = task
        student = self.weights.network().student
        for start in range(0, len(rows), self.batch):
            pixels = self.store.pixels(rows[start : start + self.batch])
            yield position + start, student.predict_proba(pixels, batch=self.batch)


def predict(
    store: PatchStore,
    student: Student,
    weights: Weights,
    path: Path,
    batch: int,
    engine: Engine,
    tell: Callable[[float], None],
    split: str | None = None,
) -> int:
    """Write a line a patch: id, class and confidence (or, of many labels, none), probability of each class.

    Args:
        store: Of the student's bands.
        student: A classifier of images.
        weights: Where it comes from.
        path: A .parquet or .csv file.
        batch: Patches at a time.
        engine: Asks the student.
        tell: Is told the share that is done.
        split: Only this part of the store.

    Returns:
        N.

    Raises:
        UserError: The store has other bands, no such part, or the file is of another kind.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise UserError(f"{path} is neither .parquet nor .csv; choose one of them for --out")
    if student.about.facts.dense:
        raise UserError("this student answers for pixels, which no table holds; give --scenes for a map")
    check_bands(student.bands, store.bands, str(store.path))
    rows = np.arange(len(store))
    if split is not None:
        rows = np.flatnonzero((store.table["split"] == split).to_numpy())
        if not len(rows):
            raise UserError(f"{store.path} has no patches in the split {split!r}; leave --split out for all")
    p, done = np.empty((len(rows), len(student.classes)), np.float32), 0
    tasks = ((start, rows[start : start + TOGETHER * batch]) for start in range(0, len(rows), TOGETHER * batch))
    with closing(engine.flat_map(Asking(store, weights, batch), tasks, path.parent)) as answers:
        for start, some in answers:
            p[start : start + len(some)] = some
            tell((done := done + len(some)) / len(rows))
    table = pd.DataFrame({"id": store.table["id"].to_numpy(dtype=object)[rows]})
    if student.kind == "one":
        table["class"] = np.array(student.classes, dtype=object)[p.argmax(1)]
        table["confidence"] = p.max(1)
    table = table.assign(**{f"p_{name}": p[:, index] for index, name in enumerate(student.classes)})
    with atomic_path(path) as temporary:
        if path.suffix == ".csv":
            table.to_csv(temporary, index=False, float_format="%.6g")
        else:
            table.to_parquet(temporary, index=False)
    return len(table)
