"""What a run says of the test patches, beside what is true.

Notation: N test patches, K classes, H × W pixels.
"""

from typing import NamedTuple

import numpy as np
import torch

from wherewhen.maps import UNKNOWN as VOID
from wherewhen.report.runs import Run
from wherewhen.semi import UNKNOWN
from wherewhen.tasks.metrics import THRESHOLD


class Answers(NamedTuple):
    """One run's.

    Args:
        truth: (N, K) int64, 1 where a class is there, `UNKNOWN` where nobody knows; of pixels (N, H, W) class, 255
            unknown.
        said: The same for the prediction.
        probability: (N, K), of one label a patch that of the predicted class alone; None of pixels.
        error: (N,) share of the decisions that are wrong, NaN where none is known.
        surprise: (N,) by which patches are ordered, the worst has the highest.
    """

    truth: np.ndarray
    said: np.ndarray
    probability: np.ndarray | None
    error: np.ndarray
    surprise: np.ndarray


def of_one(run: Run) -> Answers:
    """One label a patch; a wrong patch is the worse, a right one the better, the surer the run is."""
    index = {name: i for i, name in enumerate(run.classes.index)}
    label, guess = (
        np.array([index.get(name, UNKNOWN) for name in run.predictions[c]]) for c in ("label", "prediction")
    )
    p = run.predictions["probability"].to_numpy(dtype=float)
    each = np.arange(len(index))
    truth = np.where((label != UNKNOWN)[:, None], label[:, None] == each, UNKNOWN).astype(np.int64)
    said = (guess[:, None] == each).astype(np.int64)
    error = np.where(label == UNKNOWN, np.nan, label != guess)
    return Answers(truth, said, said * p[:, None], error, np.where(error == 1, p, -p))


def of_many(run: Run, truth: np.ndarray) -> Answers:
    """Many labels (N, K); the surprise is the mean cross-entropy of the known ones."""
    p = run.predictions.to_numpy(dtype=float)
    known, said = truth != UNKNOWN, (p >= THRESHOLD).astype(np.int64)
    loss = -np.log(np.where(truth == 1, p, 1 - p).clip(1e-6))
    count = known.sum(1)
    with np.errstate(invalid="ignore"):
        error, surprise = (((part * known).sum(1) / count) for part in (said != truth, loss))
    return Answers(truth.astype(np.int64), said, p, error, surprise)


def of_pixels(run: Run, masks: np.ndarray) -> Answers | None:
    """Classes of pixels, the truth (N, H, W) at any size; None where the run kept no maps."""
    from wherewhen.views import resize_mask

    if run.maps is None:
        return None
    truth = resize_mask(torch.from_numpy(masks), run.maps.shape[-1]).numpy()
    known = truth != VOID
    wrong, count = ((run.maps != truth) & known).sum((1, 2)), known.sum((1, 2))
    error = np.where(count > 0, wrong / np.maximum(count, 1), np.nan)
    return Answers(truth, run.maps, None, error, error)
