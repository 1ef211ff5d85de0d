"""Where a class is, and where networks see it ("Context Matters", figure 4).

Notation: M test patches.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from wherewhen.analyse import graticule
from wherewhen.analyse.runs import add_arguments as add_run
from wherewhen.analyse.runs import answers, chosen_classes, opened
from wherewhen.errors import UserError
from wherewhen.files import make_folder, write_text
from wherewhen.globe import together
from wherewhen.plots import save
from wherewhen.semi import SpatioTemporal
from wherewhen.tasks.metrics import Decisions
from wherewhen.tasks.task import LabelEfficient

# what is drawn, in this order: (truth, predicted) -> word, colour
OUTCOMES = {(1, 0): ("missed", "#e69f00"), (0, 1): ("wrongly seen", "#d55e00"), (1, 1): ("rightly seen", "#0072b2")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the analysis takes."""
    add_run(parser)
    parser.add_argument("--against", type=Path, metavar="RUN", help="another run on the same split, plain FixMatch say")
    parser.add_argument(
        "--class", nargs="+", dest="classes", metavar="C", help="(default: the two on which networks differ most)"
    )


def run(args: argparse.Namespace) -> None:
    """Write `map.png`, and `map.csv` with a line a test patch and class.

    Raises:
        UserError: A run or class does not exist, the runs test other patches, or no test patch has a place.
    """
    cli = opened(args.folder, args.store)
    data = cli.datamodule
    ids, place = data.test_ids(), data.where(data.test_rows)[:, :2]
    if np.isnan(place).all():
        raise UserError(f"no test patch of {data.path} has a place; there is nothing to draw a map of")
    said = {}
    if args.against is not None:
        other = opened(args.against, args.store)
        if other.datamodule.test_ids() != ids:
            raise UserError(f"{args.against} and {args.folder} test other patches; compare runs of one split and seed")
        plain = other.trained()
        said[plain_name(plain)] = answers(plain, other.datamodule, "student")
    task = cli.trained()
    if isinstance(task.objective, SpatioTemporal):
        said["teacher"] = answers(task, data, "teacher")
    said["student" if "teacher" in said else args.folder.name] = answers(task, data, "student")
    assert task.facts is not None
    seen = {name: sightings(task.facts.label_kind, p, data.labels[data.test_rows]) for name, p in said.items()}
    differences = sum(np.abs(a[1] - b[1]).sum(0) for a in seen.values() for b in seen.values())
    chosen = chosen_classes(args.classes, task.facts.classes, np.argsort(-np.asarray(differences))[:2].tolist())
    out = make_folder(args.out or args.folder)
    names = {index: task.facts.classes[index] for index in chosen}
    write_text(out / "map.csv", table(ids, place, seen, names).to_csv(index=False))
    draw(place, seen, names, out / "map.png")
    print(f"{out / 'map.png'}: {', '.join(names.values())}")


def plain_name(task: LabelEfficient) -> str:
    """What the other run is called: after its algorithm."""
    name = "supervised" if task.algorithm_spec is None else str(task.algorithm_spec["name"])
    return name if task.teacher is None else f"{name} + ST-SSL, other run"


def sightings(kind: str, p: Tensor, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction (M, K), 1 where a class is there; patches without any label count as showing nothing."""
    import torch

    known = Decisions.of("many" if kind == "many" else "one", p, torch.from_numpy(labels.astype(np.int64)))
    truth, predicted = np.zeros(p.shape, dtype=int), np.zeros(p.shape, dtype=int)
    rows = (labels != -1).reshape(len(labels), -1).any(1)
    truth[rows], predicted[rows] = (known.truth == 1).numpy(), known.predicted.numpy()
    return truth, predicted


def table(
    ids: list[str],
    place: np.ndarray,
    seen: Mapping[str, tuple[np.ndarray, np.ndarray]],
    classes: Mapping[int, str],
) -> pd.DataFrame:
    """A line a patch and class: place, truth, and what each network says."""
    parts = []
    for index, name in classes.items():
        frame = pd.DataFrame({"id": ids, "lat": place[:, 0], "lon": place[:, 1], "class": name})
        frame["true"] = next(iter(seen.values()))[0][:, index]
        parts.append(frame.assign(**{network: predicted[:, index] for network, (_, predicted) in seen.items()}))
    return pd.concat(parts)


def draw(
    place: np.ndarray, seen: Mapping[str, tuple[np.ndarray, np.ndarray]], classes: Mapping[int, str], path: Path
) -> None:
    """A row a class: where it is, then what each network makes of it."""
    place = together(place)
    figure = Figure(figsize=(3.3 * (1 + len(seen)), 3.2 * len(classes)))
    axes = figure.subplots(len(classes), 1 + len(seen), squeeze=False, sharex=True, sharey=True)
    for line, (index, name) in zip(axes, classes.items(), strict=True):
        truth = next(iter(seen.values()))[0][:, index]
        panels = {f"{name}: truth": truth} | {network: predicted[:, index] for network, (_, predicted) in seen.items()}
        for axis, (title, predicted) in zip(line, panels.items(), strict=True):
            graticule.prepare(axis, place)
            nothing = (truth == 0) & (predicted == 0)
            axis.plot(place[nothing, 1], place[nothing, 0], ".", color="0.85", markersize=1.5)
            for (true, said), (word, colour) in OUTCOMES.items():
                these = (truth == true) & (predicted == said)
                axis.plot(place[these, 1], place[these, 0], ".", color=colour, markersize=3, label=word)
            wrong = int(((truth == 0) & (predicted == 1)).sum()), int(((truth == 1) & (predicted == 0)).sum())
            axis.set_title(title if predicted is truth else f"{title}: {wrong[0]} wrong, {wrong[1]} missed", fontsize=9)
    axes[0, -1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), markerscale=2)
    figure.tight_layout()
    save(figure, path)
