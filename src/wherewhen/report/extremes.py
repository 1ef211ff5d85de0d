"""The worst and the best patches as pictures, with truth and prediction."""

from collections.abc import Iterator

import numpy as np

from wherewhen.analyse.patches import colour
from wherewhen.maps import UNKNOWN as VOID
from wherewhen.report import pictures
from wherewhen.report.answers import Answers
from wherewhen.report.blocks import Card, Gallery, Note, Picture, Section
from wherewhen.report.points import date, sentences, spoken
from wherewhen.report.runs import Run
from wherewhen.report.subject import Subject
from wherewhen.semi import UNKNOWN
from wherewhen.tasks.samples import Samples

SHOWN = 8
ORDER = {
    "one": "Worst are the wrong patches of which a run is surest, best the right ones.",
    "many": "Worst are the patches with the highest mean cross-entropy over the classes, best those with the lowest.",
}


def section(subject: Subject) -> Section:
    """A gallery of the worst and one of the best patches of every run."""
    samples = subject.samples
    if samples is None or not subject.answered:
        return Section("patches", "Worst and best patches", ())
    blocks = [Note(ORDER.get(subject.first.kind, "Ordered by the share of wrong pixels."))]
    shown = [gallery for run, said in subject.answered for gallery in galleries(subject, samples, run, said)]
    return Section("patches", "Worst and best patches", [*blocks, *shown])


def galleries(subject: Subject, samples: Samples, run: Run, said: Answers) -> Iterator[Gallery]:
    """The two of a run."""
    order = np.argsort(-said.surprise, kind="stable")
    order = order[~np.isnan(said.error[order])]
    wrong = order[said.error[order] > 0][:SHOWN]
    best = order[::-1][: min(SHOWN, len(order) - len(wrong))]
    for title, chosen in ((f"Worst, {run.name}", wrong), (f"Best, {run.name}", best)):
        if len(chosen):
            yield Gallery(title, cards(subject, samples, said, chosen), legend(subject, said, chosen))


def cards(subject: Subject, samples: Samples, said: Answers, chosen: np.ndarray) -> list[Card]:
    """A card a patch: pictures, id, truth, prediction."""
    images = pictures.images(samples, subject.rows[chosen])
    words = sentences(subject, said, chosen)
    return [card(subject, samples, said, int(at), images[n], words[n]) for n, at in enumerate(chosen)]


def card(subject: Subject, samples: Samples, said: Answers, at: int, dates: np.ndarray, words: str) -> Card:
    """One; `dates` (D, H, W, 3) are its images."""
    name, row = subject.first.ids[at], int(subject.rows[at])
    titles = ("before", "after") if len(dates) > 1 else ("image" if subject.dense else "",)
    shown = [
        Picture(pictures.photograph(picture), f"Patch {name} {title}".strip(), title)
        for picture, title in zip(dates, titles, strict=True)
    ]
    day = date(samples, row)
    lines = [("patch", f"{name}, {day}" if day else name)]
    if subject.dense:
        classes = len(subject.classes)
        truth, map_ = said.truth[at], np.where(said.truth[at] == VOID, VOID, said.said[at])
        shown.append(Picture(pictures.painted(truth, classes), f"True classes of {name}", "truth"))
        shown.append(Picture(pictures.painted(map_, classes), f"Predicted classes of {name}", "prediction"))
        return Card(shown, [*lines, ("", words)])
    label = said.truth[at]
    if subject.first.kind == "one":
        truth_words = subject.classes[int(label.argmax())] if (label != UNKNOWN).any() else "unknown"
    else:
        truth_words = spoken(label, subject.classes)
    right = None if subject.first.kind == "many" and 0 < said.error[at] < 1 else bool(said.error[at] == 0)
    return Card(shown, [*lines, ("truth", truth_words), ("predicted", words)], right)


def legend(subject: Subject, said: Answers, chosen: np.ndarray) -> list[tuple[str, str]]:
    """Classes that the maps show, with their colours."""
    if not subject.dense:
        return []
    there = np.union1d(np.unique(said.truth[chosen]), np.unique(said.said[chosen]))
    count = len(subject.classes)
    found = [(subject.classes[i], rgb(colour(i, count))) for i in there.tolist() if i != VOID]
    return found + ([("unknown", rgb((0.93, 0.93, 0.93)))] if VOID in there else [])


def rgb(colour: tuple[float, float, float]) -> str:
    """As the style sheet wants it."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)
