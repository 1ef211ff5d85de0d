"""DeFixMatch. Schmutz et al., ICLR 2023: FixMatch minus the unlabelled loss of the labelled images."""

from typing import Any

import numpy as np

from tests.reference.semi import FixMatch, Views, fixmatch_label, fixmatch_loss, supervised


class DeFixMatch(FixMatch):
    def label(self, views: Views, step: int, total: int) -> dict[str, Any]:
        labelled = fixmatch_label(views["labelled"], self.threshold)
        return super().label(views, step, total) | {"labelled": labelled}

    def loss(self, views: Views, y: np.ndarray, pseudo: dict[str, Any], step: int, total: int) -> dict[str, float]:
        strong = views["labelled_strong"]
        paid = fixmatch_loss(views["strong"], pseudo["targets"], pseudo["weights"])
        return {
            "supervised": 0.5 * (supervised(views["labelled"], y) + supervised(strong, y)),
            "unlabelled": paid - fixmatch_loss(strong, *pseudo["labelled"]),
        }
