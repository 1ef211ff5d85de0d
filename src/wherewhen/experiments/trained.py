"""Cells that train a network, and those that look at a trained one.

Notation: N training patches.
"""

from pathlib import Path

import numpy as np

from wherewhen.errors import UserError
from wherewhen.experiments.cells import Order
from wherewhen.experiments.flops import step_flops
from wherewhen.files import read_json
from wherewhen.tasks import verbs
from wherewhen.tasks.asking import ask
from wherewhen.tasks.elsewhere import replaced

Figures = dict[str, float]


def train(order: Order, folder: Path) -> Figures:
    """Fit, or go on with it, and test: images alone."""
    verbs.fit(order.command_line())
    verbs.test(order.command_line())
    cli = opened(order)
    timing = read_json(folder / "timing.json")
    flops = timing["steps"] * step_flops(cli.trained(), cli.datamodule.sizes)
    return sizes(cli) | {"seconds": timing["seconds"], "steps": timing["steps"], "flops": flops}


def asked(order: Order, folder: Path) -> Figures:
    """A network of a finished training, told what the order says; the files of an evaluation in the cell's folder.

    Raises:
        UserError: The answer is no number, because a place or time is unknown.
    """
    cli = opened(order)
    task, data, question = cli.trained(), cli.datamodule, order.question
    day = question.day if question.unseen is None else unseen_days(data.where(data.train_rows)[:, 2])[question.unseen]
    where = replaced(data.where(data.test_rows), question.told, day)
    ask(task, data.test_dataloader(), question.network, where).write(folder, data.test_ids())
    return sizes(cli) | ({} if day is None else {"day": day})


def unseen_days(fractions: np.ndarray, count: int = 5) -> list[int]:
    """The days of the year, 1 to 365, that lie farthest from all acquisitions and from each other, round the year.

    Args:
        fractions: (N,) of the year in [0, 1); NaN unknown.
        count: How many.

    Raises:
        UserError: No time is known.
    """
    seen = fractions[~np.isnan(fractions)]
    if not len(seen):
        raise UserError("no training patch has a time, so no day is an unusual one; leave these rows out with --rows")
    days = np.arange(1, 366)
    chosen: list[int] = []
    for _ in range(count):
        others = np.concatenate((seen, (np.array(chosen) - 0.5) / 365))
        apart = np.abs((days[:, None] - 0.5) / 365 - others)
        chosen.append(int(days[np.minimum(apart, 1 - apart).min(1).argmax()]))
    return chosen


def opened(order: Order) -> verbs.Cli:
    """A run's parts without training it: its data chosen, its task not built."""
    cli = verbs.Cli(order.command_line(), training=False)
    cli.datamodule.setup()
    cli.model.trainer = cli.trainer
    return cli


def sizes(cli: verbs.Cli) -> Figures:
    """How many patches are for training, and how many of them labelled."""
    return {"labelled": len(cli.datamodule.labelled), "train": len(cli.datamodule.train_rows)}
