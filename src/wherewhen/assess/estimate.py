"""Accuracy and area from a stratified random sample, by the formulas of Olofsson et al. (2014).

"Good practices for estimating area and assessing accuracy of land change", Remote Sensing of Environment 148: 42–57,
equations 1–11, in the form of Stehman (2014), International Journal of Remote Sensing 35: 4923–4939, equations 2–3,
14 and 25–28, which also holds where the strata are not the classes of the map. Where they are, both are the same.

Notation: H strata, K classes; n sample sizes, W shares of the area, p shares within a stratum.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Z = 1.96  # standard errors on either side of a 95 % interval, as in the paper


class Estimate(NamedTuple):
    """Shares in [0, 1] and their standard errors, arrays of one shape; NaN where the sample says nothing."""

    value: np.ndarray
    error: np.ndarray

    @property
    def low(self) -> np.ndarray:
        """Lower end of the 95 % interval, at least 0."""
        return np.maximum(self.value - Z * self.error, 0)

    @property
    def high(self) -> np.ndarray:
        """Upper end of the 95 % interval, at most 1."""
        return np.minimum(self.value + Z * self.error, 1)


@dataclass(frozen=True)
class Assessment:
    """What a sample says of a map.

    Args:
        proportions: (K, K) estimated share of the area that the map calls the row and the reference the column (eq. 4).
        overall: Overall accuracy, of shape () (eqs. 1 and 5).
        user: (K,) user's accuracy of each class: how much of what the map calls it, is it (eqs. 2 and 6).
        producer: (K,) producer's accuracy: how much of what is it, the map calls it (eqs. 3 and 7).
        share: (K,) of the area that is the class by the reference (eqs. 9 and 10); times the area it is eq. 11.
    """

    proportions: np.ndarray
    overall: Estimate
    user: Estimate
    producer: Estimate
    share: Estimate


def estimate(counts: np.ndarray, area: np.ndarray) -> Assessment:
    """Accuracies and shares of the area, with standard errors.

    There is no finite population correction, as in Olofsson et al.: where a stratum has been looked at nearly whole,
    the errors are too large.

    Args:
        counts: (H, K, K) points of each stratum by class in the map and class in the reference, at least 2 a stratum.
            With the map's classes as strata, only `counts[k, k]` has any.
        area: (H,) of the strata, positive, in any unit.

    Raises:
        ValueError: A stratum has fewer than two points or no area.
    """
    points = counts.sum((1, 2))
    if points.min(initial=2) < 2 or not (area > 0).all():
        raise ValueError(f"every stratum needs two points and an area, not {points} and {area}")
    weights, shares = area / area.sum(), counts / points[:, None, None]
    right = np.diagonal(shares, axis1=1, axis2=2)  # (H, K)
    mapped, true = shares.sum(2), shares.sum(1)
    all_of_it = np.ones_like(weights)

    def ratio(part: np.ndarray, whole: np.ndarray) -> Estimate:
        return _ratio(part.T, whole.T, weights, points)

    return Assessment(
        proportions=np.einsum("h,hij->ij", weights, shares),
        overall=ratio(right.sum(1), all_of_it),
        user=ratio(right, mapped),
        producer=ratio(right, true),
        share=ratio(true, all_of_it),
    )


def _ratio(part: np.ndarray, whole: np.ndarray, weights: np.ndarray, points: np.ndarray) -> Estimate:
    """Area of a part over the area of the whole that it lies in (Stehman 2014, eqs. 27 and 28).

    Within a stratum the two are means of 0 and 1, so the variances of the means are p(1 − p)/(n − 1), and, a part being
    inside its whole, their covariance is p_part (1 − p_whole)/(n − 1).

    Args:
        part: (*, H) share of a stratum's points.
        whole: (*, H) or (H,) likewise.
        weights: (H,) W.
        points: (H,) n.
    """
    total = whole @ weights
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(total > 0, part @ weights / total, np.nan)
        r = value[..., None]
        spread = part * (1 - part) + r**2 * whole * (1 - whole) - 2 * r * part * (1 - whole)
        variance = np.maximum(spread / (points - 1) @ weights**2, 0) / total**2  # rounding may leave it at −1e−20
    return Estimate(value, np.sqrt(variance))
