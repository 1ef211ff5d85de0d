"""What a report is about: runs on the same test patches, and the store that these lie in.

Notation: N test patches, K classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from wherewhen.errors import UserError
from wherewhen.report.answers import Answers, of_many, of_one, of_pixels
from wherewhen.report.runs import Run
from wherewhen.store import PatchStore
from wherewhen.tasks.samples import Masked, Patches, Samples, samples_of, target_of


@dataclass(frozen=True)
class Subject:
    """Runs and samples.

    Args:
        runs: Shown in full.
        beside: Shown by their score alone.
        samples: Of the store; None where it is not at hand.
        rows: (N,) positions of the test patches among the samples.
        answers: Of each run; None where they cannot be known.
    """

    runs: Sequence[Run]
    beside: Sequence[Run]
    samples: Samples | None
    rows: np.ndarray
    answers: Sequence[Answers | None]

    @property
    def first(self) -> Run:
        """The run that the others are compared with."""
        return self.runs[0]

    @property
    def classes(self) -> list[str]:
        """K names."""
        return [str(name) for name in self.first.classes.index]

    @property
    def dense(self) -> bool:
        """Whether every pixel has a label."""
        return self.first.kind in ("mask", "change")

    @property
    def answered(self) -> list[tuple[Run, Answers]]:
        """Runs whose answers are known."""
        return [(run, said) for run, said in zip(self.runs, self.answers, strict=True) if said is not None]

    @property
    def compared(self) -> Iterator[tuple[Run, Answers]]:
        """All but the first, and what lies beside, with their answers, where these are known; one at a time."""
        others = zip(self.runs[1:], self.answers[1:], strict=True)
        near = ((run, answers(run, self.samples, self.rows)) for run in self.beside)
        return ((run, said) for run, said in chain(others, near) if said is not None)


def subject(runs: Sequence[Run], beside: Sequence[Run], store: Path | None) -> Subject:
    """Open what the runs were tested on.

    Args:
        runs: On the same test patches.
        beside: Likewise.
        store: Where it lies, if not where the first run's configuration says.

    Raises:
        UserError: The folder given is no store, or not that of the runs.
    """
    data = runs[0].config.get("data", {})
    path = store or (Path(data["store"]) if "store" in data else None)
    samples, rows = None, np.empty(0, np.int64)
    if path is not None and (store is not None or (path / "store.json").is_file()):
        samples = samples_of(PatchStore.open(path), data.get("target", target_of(runs[0].kind)))
        rows = found(samples, runs[0], path)
    return Subject(runs, beside, samples, rows, [answers(run, samples, rows) for run in runs])


def found(samples: Samples, run: Run, path: Path) -> np.ndarray:
    """Positions of the run's test patches among the samples, (N,).

    Raises:
        UserError: One is not there, or the classes are others.
    """
    rows = samples.positions(run.ids, run.folder)
    if list(samples.classes) != list(run.classes.index):
        raise UserError(f"{path} has other classes than {run.folder} was tested on; give its store by --store")
    return rows


def answers(run: Run, samples: Samples | None, rows: np.ndarray) -> Answers | None:
    """What the run says; of one label a patch its own files tell, else the truth comes from the store."""
    if run.kind == "one":
        return of_one(run)
    if isinstance(samples, Masked):
        return of_pixels(run, samples.masks(rows))
    return of_many(run, samples.labels[rows]) if isinstance(samples, Patches) else None
