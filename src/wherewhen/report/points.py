"""Test and labelled patches as the columns of one table, which every map shows and from which hovering reads.

Notation: N test patches, M more that are labelled, O others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from wherewhen.globe import together
from wherewhen.report import pictures
from wherewhen.report.answers import Answers
from wherewhen.report.subject import Subject
from wherewhen.semi import UNKNOWN
from wherewhen.splits import shuffled
from wherewhen.tasks.samples import Masked, Patches, Samples

MOST = {"test": 5000, "labelled": 600, "other": 2000}  # patches of each role that are shown
ROLES = ("labelled", "test", "other")


@dataclass(frozen=True)
class Points:
    """What the page knows of patches.

    Args:
        rows: (N + M + O,) positions among the samples.
        chosen: (N,) positions of the shown test patches among all of them.
        columns: Name -> values, one a patch.
        lines: Heading and column of what hovering says.
        sheets: Thumbnails of the first N + M, see `pictures.sheets`.
        side: Of a thumbnail, in pixels.
        total: Test patches, shown or not.
    """

    rows: np.ndarray
    chosen: np.ndarray
    columns: Mapping[str, Sequence[Any]]
    lines: Sequence[tuple[str, str]]
    sheets: Sequence[str]
    side: int
    total: int

    @property
    def frame(self) -> pd.DataFrame:
        """The shown test patches alone."""
        return pd.DataFrame({name: list(values[: len(self.chosen)]) for name, values in self.columns.items()})

    def json(self) -> dict[str, Any]:
        """For the page; columns with repeated words as an index of words."""
        packed = {name: pack(values) for name, values in self.columns.items()}
        sheets = {"sheets": self.sheets, "side": self.side, "sheet": pictures.SHEET}
        return {"columns": packed, "lines": self.lines, **sheets}


def pack(values: Sequence[Any]) -> dict[str, Any]:
    """Values of a column, words as indices where that is shorter."""
    words = list(dict.fromkeys(v for v in values if isinstance(v, str)))
    if len(words) * 2 < len(values) and all(isinstance(v, str) for v in values):
        place = {word: i for i, word in enumerate(words)}
        return {"words": words, "values": [place[v] for v in values]}
    return {"values": list(values)}


def points(subject: Subject) -> Points | None:
    """All of it; None without a store."""
    samples = subject.samples
    if samples is None:
        return None
    chosen = some(np.arange(len(subject.rows)), list(subject.first.ids), MOST["test"])
    test = subject.rows[chosen]
    labelled, other = rest(subject, samples)
    rows = np.concatenate((test, labelled, other))
    shown = np.concatenate((test, labelled))
    side, sheets = pictures.sheets(samples, shown)
    place, dates = together(samples.place()[rows]), [date(samples, row) for row in rows]
    columns: dict[str, Sequence[Any]] = {
        "i": list(range(len(rows))),
        "id": [str(name) for name in samples.ids[rows]],
        "role": ["test"] * len(test) + ["labelled"] * len(labelled) + ["other"] * len(other),
        "longitude": rounded(place[:, 1], 4),
        "latitude": rounded(place[:, 0], 4),
        "month": [int(day[5:7]) if day else None for day in dates],
        "date": dates,
        "truth": truths(samples, rows, len(shown)),
    }
    lines = [("role", "role"), ("date", "date"), ("truth", "truth")]
    pad = [None] * (len(rows) - len(test))
    for number, (run, said) in enumerate(subject.answered):
        columns[f"error{number}"] = [*rounded(said.error[chosen], 3), *pad]
        columns[f"said{number}"] = [*sentences(subject, said, chosen), *[""] * len(pad)]
        lines.append((run.name, f"said{number}"))
        if subject.first.kind == "many":
            columns[f"seen{number}"] = [*present(said.said[chosen]), *pad]
    if isinstance(samples, Patches) and samples.kind == "many":
        columns["there"] = present(samples.labels[rows])
    return Points(rows, chosen, columns, lines, sheets, side, len(subject.rows))


def rest(subject: Subject, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Positions of labelled patches, of all runs, and of some that are neither labelled nor tested."""
    ids = {name for run in subject.runs for name in (run.text("labelled.csv") or "").splitlines()[1:]}
    is_test = np.isin(np.arange(len(samples.ids)), subject.rows)
    is_labelled = np.array([name in ids for name in samples.ids], bool) & ~is_test
    return (
        some(np.flatnonzero(is_labelled), list(samples.ids[is_labelled]), MOST["labelled"]),
        some(np.flatnonzero(~is_labelled & ~is_test), list(samples.ids[~is_labelled & ~is_test]), MOST["other"]),
    )


def some(rows: np.ndarray, ids: list[str], most: int) -> np.ndarray:
    """At random, but always the same."""
    kept: np.ndarray = np.sort(rows[shuffled(ids, 0)[:most]]) if len(rows) > most else rows
    return kept


def rounded(values: np.ndarray, digits: int) -> list[float | None]:
    """NaN becomes None."""
    return [None if np.isnan(value) else round(float(value), digits) for value in values]


def date(samples: Samples, row: int) -> str:
    """Of one sample, nothing where it is unknown."""
    times = samples.store.table["time"]
    members = getattr(samples, "members", None)
    time = times.iloc[row if members is None else members[row][-1]]
    return "" if time is None or time != time else f"{time:%Y-%m-%d}"


def truths(samples: Samples, rows: np.ndarray, count: int) -> list[str]:
    """The label in words of the first `count`; of a mask its commonest classes."""
    shown = rows[:count]
    empty = [""] * (len(rows) - count)
    if isinstance(samples, Masked):
        return [*(mixture(row, samples.classes) for row in samples.counts(shown)), *empty]
    labels = samples.labels[shown] if isinstance(samples, Patches) else np.empty(0)
    return [*(spoken(label, samples.classes) for label in labels), *empty]


def mixture(counts: np.ndarray, classes: Sequence[str]) -> str:
    """Pixels of each class (K,) as up to three shares."""
    if not counts.sum():
        return "unknown"
    share = counts / counts.sum()
    order = [int(i) for i in np.argsort(-share, kind="stable")[:3] if share[i] > 0]
    return ", ".join(f"{classes[i]} {share[i]:.0%}" for i in order)


def spoken(label: Any, classes: Sequence[str]) -> str:
    """One label, or many (K,), in words."""
    if np.ndim(label) == 0:
        return classes[int(label)] if label != UNKNOWN else "unknown"
    return ", ".join(classes[int(i)] for i in np.flatnonzero(label == 1)) or "none"


def present(said: np.ndarray) -> list[list[int]]:
    """(N, K) of 0 and 1 -> the classes that are there."""
    return [np.flatnonzero(row == 1).tolist() for row in said]


def sentences(subject: Subject, said: Answers, chosen: np.ndarray) -> list[str]:
    """What the run says of each, in words."""
    if said.probability is None:
        return ["" if np.isnan(e) else f"{1 - e:.0%} of pixels right" for e in said.error[chosen]]
    if subject.first.kind == "many":
        return [spoken(row, subject.classes) for row in said.said[chosen]]
    guess, sure = said.said[chosen].argmax(1), said.probability[chosen].max(1)
    return [f"{subject.classes[g]} ({p:.2f})" for g, p in zip(guess, sure, strict=True)]
