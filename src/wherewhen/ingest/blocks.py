"""A split by blocks of land whose side the labels themselves suggest.

Nearby labels are alike, so a test beside the training flatters. How far they are alike is read off the labels: the
share of pairs of one class, by distance (a join count; for classes, what a variogram is for numbers), against the share
that chance gives. The side of a block is the distance at which nine tenths of the excess are gone.

Notation: N labelled patches, K classes.

Sources: Roberts et al., Cross-validation strategies for data with temporal, spatial, hierarchical, or phylogenetic
structure, 2017 (blocks at least as long as the autocorrelation); Cliff and Ord, Spatial Autocorrelation, 1973 (join
counts).
"""

from typing import NamedTuple

import numpy as np

from wherewhen import splits
from wherewhen.errors import UserError

_LEFT = 0.1  # of the excess of agreement, at the end of the range
_BINS = 12  # of distance, each 1.6 times the one before or so
_PAIRS = 50  # a bin needs, to say anything
_LABELS = 3000  # at most, of those chosen by hash: pairs are their square
_DEFAULT_SIDES = 8  # sides of a patch that a block has when the labels tell nothing
_DRAWS = 20  # of blocks; the one whose test has the classes most alike the whole is taken
_TOO_MUCH = 2  # times the share of the test that was asked for: then the blocks are halved
VALIDATION = 0.1  # of the labelled patches


class Blocks(NamedTuple):
    """The side of a block in kilometres, and why."""

    side: float
    why: str


def suggest(place: np.ndarray, labels: np.ndarray, patch_km: float) -> Blocks:
    """The side of the blocks.

    Args:
        place: (N, 2) latitude and longitude in degrees.
        labels: (N,) class index.
        patch_km: Side of a patch, which a block is never smaller than.
    """
    reach = agreement_range(place, labels)
    if reach is None:
        side = _DEFAULT_SIDES * patch_km
        return Blocks(
            side, f"a guess, {_DEFAULT_SIDES} sides of a patch: {len(labels)} labels do not tell how far alike"
        )
    if reach < patch_km:
        return Blocks(patch_km, f"the side of a patch; labels agree no more than by chance beyond {reach:.3g} km")
    return Blocks(reach, f"labels agree hardly more than by chance beyond {reach:.3g} km")


def agreement_range(place: np.ndarray, labels: np.ndarray) -> float | None:
    """Kilometres at which a tenth of the agreement of neighbours is left; None where that cannot be said.

    The excess in a bin is (share of pairs of one class − chance) / (1 − chance), chance being the sum of the squared
    shares of the classes. The range is the middle of the first bin in which it is a tenth of what it is in the first,
    or within two standard errors of nothing.
    """
    chosen = splits.shuffled([str(row) for row in range(len(labels))], 0)[:_LABELS]
    place, labels = place[chosen], labels[chosen]
    shares = np.bincount(labels) / max(1, len(labels))
    chance = float((shares**2).sum())
    if len(labels) < 3 or chance > 1 - 1e-9:
        return None
    vectors = splits.unit_vectors(place)
    first, second = np.triu_indices(len(labels), k=1)
    chord = np.concatenate([np.linalg.norm(vectors[a] - vectors[b], axis=1) for a, b in _pieces(first, second)])
    distance = splits.kilometres(chord)
    alike = labels[first] == labels[second]
    apart = distance > 0
    if not apart.any():
        return None
    near, far = np.quantile(distance[apart], [0.005, 1.0])
    edges = np.geomspace(max(near, far / 500), far / 2, _BINS)  # beyond half the extent pairs are few and at the edges
    into = np.digitize(distance, edges)
    count = np.bincount(into, minlength=_BINS + 1)[:_BINS]
    agree = np.bincount(into, weights=alike, minlength=_BINS + 1)[:_BINS]
    middle = np.append(edges[0], np.sqrt(edges[1:] * edges[:-1]))
    enough = count >= _PAIRS
    if enough.sum() < 3:
        return None
    excess = (agree[enough] / count[enough] - chance) / (1 - chance)
    noise = np.sqrt(chance / (1 - chance) / count[enough])  # standard error where labels agree by chance alone
    over = np.flatnonzero(excess <= np.maximum(_LEFT * excess[0], 2 * noise))
    if not len(over):
        return None
    return float(middle[enough][over[0]])


def _pieces(first: np.ndarray, second: np.ndarray, size: int = 2**18) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(first[at : at + size], second[at : at + size]) for at in range(0, len(first), size)]


def split(
    place: np.ndarray, labels: np.ndarray, side: float, gap: float, share: float, seed: int, least: float
) -> tuple[np.ndarray, float]:
    """Which part each patch is in.

    Args:
        place: (N, 2) latitude and longitude in degrees.
        labels: (N,) class index.
        side: Of a block, in kilometres.
        gap: Patches of other blocks nearer than this to a test patch are in no part, in kilometres.
        share: Of the patches that go to the test, about.
        seed: Another seed, other blocks.
        least: Blocks are halved until both parts have patches, and the test not too many, but not below this side.

    Returns:
        `train`, `val`, `test` or None for each patch, (N,) objects; and the side that was used.

    Raises:
        UserError: Even the smallest blocks leave a part empty.
    """
    best: tuple[np.ndarray, np.ndarray] | None = None
    used = side
    while best is None or best[1].mean() > _TOO_MUCH * share:
        drawn = [_draw(place, side, gap, share, seed + 1000 * number) for number in range(_DRAWS)]
        for parts in drawn:
            if parts is not None and (best is None or _cost(labels, parts, share) < _cost(labels, best, share)):
                best, used = parts, side
        side /= 2
        if side < least:
            break
    if best is None:
        raise UserError(
            f"no blocks of {used:.3g} km or less leave labels for both training and test: they are too few or too "
            "close; label another area, or refuse the split by blocks with --block-km none"
        )
    train, test = best
    split_of = np.full(len(place), None, object)
    split_of[train], split_of[test] = "train", "test"
    block = splits.blocks(place, used)
    names = np.array([f"{row}/{column}" for row, column in block])
    own = np.unique(names[train])
    held = own[splits.hold_out(list(own), VALIDATION, seed)]
    split_of[train & np.isin(names, held)] = "val"
    return split_of, used


def _draw(place: np.ndarray, side: float, gap: float, share: float, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    try:
        return splits.spatial_blocks(place, share, side, gap, seed)
    except UserError:
        return None


def _cost(labels: np.ndarray, parts: tuple[np.ndarray, np.ndarray], share: float) -> float:
    """What is wrong with training and test: classes unlike those of all, patches lost to the gap, another share."""
    train, test = parts
    classes = labels.max() + 1
    alike = [np.bincount(some, minlength=classes) / len(some) for some in (labels, labels[test], labels[train])]
    unlike = np.abs(alike[1] - alike[0]).sum() + np.abs(alike[2] - alike[0]).sum()
    return float(unlike / 2 + (~(train | test)).mean() + abs(test.mean() - share))
