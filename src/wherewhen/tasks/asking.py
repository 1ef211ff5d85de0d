"""Ask a trained student or teacher about images, telling it any place and time.

Notation: N images of a batch, M in all, C bands, K outcomes.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from wherewhen.errors import UserError
from wherewhen.loader import EvalBatches
from wherewhen.semi import SpatioTemporal
from wherewhen.semi.objectives import one_answer
from wherewhen.tasks.dense import evaluation_of
from wherewhen.tasks.elsewhere import Network
from wherewhen.tasks.evaluation import Evaluation
from wherewhen.tasks.task import LabelEfficient

Answer = Callable[[Tensor, Tensor | None], Tensor]  # images (N, C, H, W), place and time (N, 3) -> canonical logits


@torch.no_grad()
def ask(task: LabelEfficient, batches: EvalBatches, network: Network, where: np.ndarray) -> Evaluation:
    """Predictions of a trained network's average.

    Args:
        task: As `Cli.trained` gives it.
        batches: The M images; they can be asked about again and again.
        network: `student` (what is kept in the end, whatever the objective), which takes no place and no time; or
            `teacher`.
        where: (M, 3) what the teacher is told: latitude and longitude in degrees, fraction of the year; NaN unknown.
            When all is unknown, a teacher that never learned what unknown means goes without its metatoken.

    Raises:
        UserError: There is no teacher, or it is told of unknown places or times and never learned what that means.
    """
    assert task.facts is not None
    answer = student_of(task) if network == "student" else teacher_of(task)
    learned_unknown = task.teacher is not None and task.teacher.metadata_dropout > 0
    nothing = bool(np.isnan(where).all()) and not learned_unknown
    evaluation = evaluation_of(task.facts, keep=True)
    told = torch.from_numpy(where.astype(np.float32)).split(batches.size)
    task.eval()
    for batch, there in zip(batches, told, strict=True):
        with task.trainer.precision_plugin.forward_context():
            images = task.scale(task.scale.unit(batch.pixels.to(task.device)))
            logits = answer(images, None if nothing else there.to(task.device))
        if network == "teacher" and logits.isnan().any():
            raise UserError(
                "the place or time of some patches is unknown, and this teacher never learned what unknown means; "
                "ask the student, train with metadata_dropout, or leave the teacher's rows of an experiment out"
            )
        evaluation.add(logits, batch.label)
    return evaluation


def student_of(task: LabelEfficient) -> Answer:
    """What is kept: images alone."""
    return lambda images, where: task.objective.predict(images, blank_of(task, images))


def teacher_of(task: LabelEfficient) -> Answer:
    """The teacher's average, corrected as its algorithm wants.

    Raises:
        UserError: It was trained without one.
    """
    objective = task.objective
    if not isinstance(objective, SpatioTemporal):
        raise UserError(
            "this run has no teacher that knows place and time; train with model.teacher, or ask the student"
        )

    def answer(images: Tensor, where: Tensor | None) -> Tensor:
        blank = blank_of(task, images)
        nothing = None if blank is None else one_answer(objective.space.logits(objective.ema(blank).logits))
        return objective.algorithm.predict(objective.space.logits(objective.ema(images, where).logits), nothing)

    return answer


def blank_of(task: LabelEfficient, images: Tensor) -> Tensor | None:
    """The image without content, for algorithms that ask for one."""
    return task.blank(images) if "blank" in task.objective.views else None
