"""UDAL, one decision at a time. Lazarow et al., WACV 2023: logits shifted by log p/target."""

from typing import Any

import numpy as np

from tests.reference.semi import FixMatch, Views, mean_probability


class UDAL(FixMatch):
    def __init__(
        self, prior: np.ndarray, alpha_min: float, power: float, momentum: float, threshold: list[float]
    ) -> None:
        super().__init__(threshold)
        self.prior, self.alpha_min, self.power, self.momentum = prior, alpha_min, power, momentum
        self.p_model: np.ndarray | None = None

    def loss(self, views: Views, y: np.ndarray, pseudo: dict[str, Any], step: int, total: int) -> dict[str, float]:
        batch = mean_probability(views["weak"] if "weak" in views else views["strong"])
        m = self.momentum
        self.p_model = batch if self.p_model is None else m * self.p_model + (1 - m) * batch
        f = 1 - (1 - self.alpha_min) * (step / total) ** self.power
        by_data, by_model = np.zeros(self.prior.shape), np.zeros(self.prior.shape)
        for decision in np.ndindex(self.prior.shape[:-1]):
            whole = sum(float(d) ** f for d in self.prior[decision])
            for k, d in enumerate(self.prior[decision]):
                target = float(d) ** f / whole
                by_data[(*decision, k)] = np.log(d / (target + 1e-9))
                by_model[(*decision, k)] = np.log(self.p_model[(*decision, k)] / (target + 1e-9))
        labelled = np.array([z + by_data for z in views["labelled"]])
        strong = np.array([z + by_model for z in views["strong"]])
        return super().loss(views | {"labelled": labelled, "strong": strong}, y, pseudo, step, total)

    def state(self) -> dict[str, Any]:
        return {"seen.value": self.p_model, "prior": self.prior}
