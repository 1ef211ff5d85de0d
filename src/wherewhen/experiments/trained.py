"""Cells that train a network, and those that look at a trained one.

Notation: N images, K classes, M test patches.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wherewhen.errors import UserError
from wherewhen.experiments.cells import Order
from wherewhen.experiments.flops import step_flops
from wherewhen.files import read_json
from wherewhen.loader import EvalBatches, PixelSource
from wherewhen.semi import SpatioTemporal
from wherewhen.tasks import verbs
from wherewhen.tasks.evaluation import Evaluation
from wherewhen.tasks.run import AtomicCheckpoints
from wherewhen.tasks.task import LabelEfficient

Figures = dict[str, float]
Answer = Callable[[Tensor, Tensor], Tensor]  # images (N, C, H, W), place and time (N, 3) -> logits (N, K)


def train(order: Order, folder: Path) -> Figures:
    """Fit, or go on with it, and test: images alone."""
    verbs.fit(order.command_line())
    verbs.test(order.command_line())
    cli = opened(order)
    timing = read_json(folder / "timing.json")
    flops = timing["steps"] * step_flops(as_trained(cli), cli.datamodule.sizes)
    return sizes(cli) | {"seconds": timing["seconds"], "steps": timing["steps"], "flops": flops}


def teacher(order: Order, folder: Path) -> Figures:
    """The teacher of a finished training, with the true place and time of the test patches."""
    cli = opened(order)
    return evaluate(cli, teacher_of(as_trained(cli)), cli.datamodule.where(cli.datamodule.test_rows), folder)


def teacher_far(order: Order, folder: Path) -> Figures:
    """The same teacher, told that it is far away, half a year later."""
    cli = opened(order)
    return evaluate(cli, teacher_of(as_trained(cli)), far_away(cli.datamodule.where(cli.datamodule.test_rows)), folder)


def student_far(order: Order, folder: Path) -> Figures:
    """The student, asked in the same way: it takes no place and no time, so nothing can change."""
    cli = opened(order)
    task = as_trained(cli)

    def student(images: Tensor, where: Tensor) -> Tensor:
        return task.objective.predict(images, blank_of(task, images))

    return evaluate(cli, student, far_away(cli.datamodule.where(cli.datamodule.test_rows)), folder)


def opened(order: Order) -> verbs.Cli:
    """A run's parts without training it: its data chosen, its task not built."""
    cli = verbs.Cli(order.command_line(), training=False)
    cli.datamodule.setup()
    cli.model.trainer = cli.trainer
    return cli


def sizes(cli: verbs.Cli) -> Figures:
    """How many patches are for training, and how many of them labelled."""
    return {"labelled": len(cli.datamodule.labelled), "train": len(cli.datamodule.train_rows)}


def as_trained(cli: verbs.Cli) -> LabelEfficient:
    """The task with the weights of the run's last checkpoint, on the trainer's device."""
    checkpoint = AtomicCheckpoints().load_checkpoint(cli.run.last)
    task: LabelEfficient = cli.model
    task.build_as_trained(checkpoint, cli.datamodule.split)
    task.load_state_dict(checkpoint["state_dict"])
    return task.to(cli.trainer.strategy.root_device)


def teacher_of(task: LabelEfficient) -> Answer:
    """What the teacher's average answers, corrected as its algorithm wants."""
    objective = task.objective
    assert isinstance(objective, SpatioTemporal)

    def answer(images: Tensor, where: Tensor) -> Tensor:
        blank = blank_of(task, images)
        nothing = None if blank is None else objective.space.logits(objective.ema(blank).logits)
        return objective.algorithm.predict(objective.space.logits(objective.ema(images, where).logits), nothing)

    return answer


def blank_of(task: LabelEfficient, images: Tensor) -> Tensor | None:
    """The image without content, for algorithms that ask for one."""
    return task.blank(images) if "blank" in task.objective.views else None


def far_away(where: np.ndarray) -> np.ndarray:
    """(M, 3) -> each patch with the place of the one half the list away by longitude, and a day half a year off."""
    order = np.argsort(where[:, 1], kind="stable")
    far = where.copy()
    far[order, :2] = where[np.roll(order, len(order) // 2), :2]
    far[:, 2] = (where[:, 2] + 0.5) % 1
    return far


@torch.no_grad()
def evaluate(cli: verbs.Cli, answer: Answer, where: np.ndarray, folder: Path) -> Figures:
    """Ask about every test patch; write `test.json` and `test_predictions.csv` into the cell's folder.

    Raises:
        UserError: The answer is no number, because a place or time is unknown.
    """
    data, task = cli.datamodule, cli.model
    task.eval()
    pixels = PixelSource(data.opened, data.test_rows, task.facts.image_size, cache_bytes=0)
    evaluation = Evaluation("one", task.facts.classes)
    batches = EvalBatches(pixels, data.labels[data.test_rows], data.eval_batch)
    for batch, place in zip(batches, torch.from_numpy(where.astype(np.float32)).split(data.eval_batch), strict=True):
        with cli.trainer.precision_plugin.forward_context():
            images = task.scale(task.scale.unit(batch.pixels.to(task.device)))
            logits = answer(images, place.to(task.device))
        if logits.isnan().any():
            raise UserError(
                f"the place or time of some test patches of {data.path} is unknown, and this teacher never learned "
                "what unknown means; leave that row out with --rows, or train with metadata_dropout"
            )
        evaluation.add(logits.cpu(), batch.label)
    evaluation.write(folder, data.test_ids())
    return sizes(cli)
