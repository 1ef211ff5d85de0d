"""How right pseudo-labels are while training goes on, where the labels of unlabelled patches are known after all.

Notation: U unlabelled images, * decisions of an image.
"""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from wherewhen.semi import UNKNOWN, PseudoLabels


class Watch(pl.Callback):
    """Add to every step's figures which share of the decisions is believed, and which is believed and right.

    `right` / `believed` is the quality of the pseudo-labels, `believed` their quantity ("Context Matters", figure 6);
    of many labels `right_present` / `believed_present` is the precision of what is said to be there. The hidden labels
    are looked up here, after the step: no training sees them.
    """

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Compare the step's pseudo-labels with the truth."""
        objective: Any = module.objective
        if getattr(objective, "believed", None) is not None:
            hidden = trainer.datamodule.hidden(batch.step).to(module.device)  # type: ignore[attr-defined]
            shown = module.as_weak_shows(hidden, batch)  # type: ignore[operator]
            outputs |= quality(objective.believed, objective.space.targets(shown))


def quality(pseudo: PseudoLabels, truth: Tensor) -> dict[str, Tensor]:
    """Shares of the decisions whose truth is known, weighted as in the loss.

    Args:
        pseudo: Of (U, *) decisions.
        truth: (U, *), `UNKNOWN` where nobody knows.
    """
    targets = pseudo.targets.argmax(-1) if pseudo.targets.is_floating_point() else pseudo.targets
    known = truth != UNKNOWN
    total = known.sum().clamp_min(1)
    weights = pseudo.weights * known
    right = weights * (targets == truth)
    shares = {"believed": weights.sum() / total, "right": right.sum() / total}
    if truth.ndim > 1:
        present = targets == 1
        shares["believed_present"] = torch.where(present, weights, 0).sum() / total
        shares["right_present"] = torch.where(present, right, 0).sum() / total
    return shares
