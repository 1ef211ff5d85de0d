"""Who is labelled, who is held out: choices that come out the same on any machine.

A choice ranks patches by a hash of seed and id, so it depends neither on the order of the table nor on a
library's random numbers, and a larger budget contains every smaller one of the same seed.
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from wherewhen.errors import UserError

EARTH_RADIUS_KM = 6371.0


def rank(ids: Sequence[str], seed: int) -> np.ndarray:
    """A number for each id, (N,) uint64, uniform and unrelated to anything but the id and the seed."""
    digests = [hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest() for name in ids]
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


def shuffled(ids: Sequence[str], seed: int) -> np.ndarray:
    """Positions of the ids by rank, (N,): at random, but always the same."""
    return np.argsort(rank(ids, seed), kind="stable")


def hold_out(ids: Sequence[str], share: float, seed: int) -> np.ndarray:
    """Mask (N,) of the `share` of ids that come first in the ranking, rounded to whole patches."""
    held = np.zeros(len(ids), dtype=bool)
    held[shuffled(ids, seed)[: round(share * len(ids))]] = True
    return held


def per_class(labels: np.ndarray, ids: Sequence[str], classes: Sequence[str], count: int, seed: int) -> np.ndarray:
    """Indices of `count` patches of every class, sorted.

    Args:
        labels: (N,) class index, −1 where unknown.
        ids: N patch ids.
        classes: Class names.
        count: Labels a class, at least 1.
        seed: Another seed, another choice.

    Raises:
        UserError: A class has fewer patches than that.
    """
    if count < 1:
        raise UserError(f"{count} labels a class cannot train anything; ask for 1 or more")
    order = shuffled(ids, seed)
    chosen = []
    for index, name in enumerate(classes):
        members = order[labels[order] == index]
        if len(members) < count:
            raise UserError(
                f"{count} labels a class were asked for, but class {name!r} has {len(members)} training "
                f"patches; ask for at most {len(members)}, or drop the class"
            )
        chosen.append(members[:count])
    return np.sort(np.concatenate(chosen))


def stratified(labels: np.ndarray, ids: Sequence[str], share: float, seed: int) -> np.ndarray:
    """Indices of about `share` of every class (at least one patch of each), sorted.

    Args:
        labels: (N,) class index, or (N, C) of 0 and 1: then classes are served from the rarest on, and a patch
            chosen for one counts for all that it shows. −1 is unknown.
        ids: N patch ids.
        share: Of the patches that have a label, in (0, 1].
        seed: Another seed, another choice.

    Raises:
        UserError: The share is outside (0, 1].
    """
    if not 0 < share <= 1:
        raise UserError(f"label share {share} is outside (0, 1]; 0.01 is one in a hundred")
    member = labels > 0 if labels.ndim == 2 else labels[:, None] == np.arange(labels.max(initial=-1) + 1)
    order = shuffled(ids, seed)
    chosen = np.zeros(len(ids), dtype=bool)
    for index in np.argsort(member.sum(0), kind="stable"):
        wanted = math.ceil(share * member[:, index].sum() - 1e-9)
        free = order[member[order, index] & ~chosen[order]]
        chosen[free[: max(0, wanted - int(chosen[member[:, index]].sum()))]] = True
    return np.flatnonzero(chosen)


def region(place: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """Mask (N,) of the places inside a box.

    Args:
        place: (N, 2) latitude and longitude in degrees.
        box: South, west, north, east in degrees; a west above the east crosses the date line.

    Raises:
        UserError: The box is none, a place is unknown, or all or no places are inside.
    """
    if len(box) != 4 or not -90 <= box[0] < box[2] <= 90 or not all(-180 <= x <= 180 for x in (box[1], box[3])):
        raise UserError(f"region {list(box)} is no box; give south, west, north, east in degrees, e.g. 36 -32 72 -5")
    if np.isnan(place).any():
        count = int(np.isnan(place).any(1).sum())
        raise UserError(f"{count} patches have no place, so no region can be held out; use the given split for them")
    south, west, north, east = box
    latitude, longitude = place.T
    beyond = (longitude >= west, longitude <= east)
    inside: np.ndarray = (latitude >= south) & (latitude <= north)
    inside &= beyond[0] & beyond[1] if west <= east else beyond[0] | beyond[1]
    if inside.all() or not inside.any():
        raise UserError(
            f"{'all' if inside.any() else 'none'} of the {len(place)} patches lie in the region {list(box)}; "
            "a test needs some inside and training some outside: choose another box"
        )
    return inside


def spatial_blocks(
    place: np.ndarray, share: float, block_km: float, gap_km: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split by square blocks of land, with a gap, so that train and test do not touch.

    Args:
        place: (N, 2) latitude and longitude in degrees.
        share: Of the patches that go to the test, about, in (0, 1).
        block_km: Side of a block.
        gap_km: Patches of training blocks nearer than this to any test patch are in neither part.
        seed: Another seed, other blocks.

    Returns:
        Masks (N,) of training and of test patches.

    Raises:
        UserError: A place is unknown, or one part came out empty.
    """
    if np.isnan(place).any():
        count = int(np.isnan(place).any(1).sum())
        raise UserError(f"{count} patches have no place, so no spatial blocks; use the given split for them")
    block = blocks(place, block_km)
    names, inverse, counts = np.unique(block, axis=0, return_inverse=True, return_counts=True)
    order = shuffled([f"{row}/{column}" for row, column in names], seed)
    before = np.cumsum(counts[order]) - counts[order]
    in_test = np.zeros(len(names), dtype=bool)
    in_test[order[before < share * len(place)]] = True
    test = in_test[inverse.reshape(-1)]
    train = ~test
    train[train] = distance_to_nearest(place[train], place[test]) > gap_km
    if not train.any() or not test.any():
        raise UserError(
            f"blocks of {block_km} km with a gap of {gap_km} km leave {int(train.sum())} training and "
            f"{int(test.sum())} test patches; choose smaller blocks or a smaller gap"
        )
    return train, test


def blocks(place: np.ndarray, block_km: float) -> np.ndarray:
    """(N, 2) row and column of each place on a grid of about square blocks, the rows along parallels."""
    degree = math.pi * EARTH_RADIUS_KM / 180
    row = np.floor(place[:, 0] * degree / block_km)
    parallel = np.cos(np.radians((row + 0.5) * block_km / degree).clip(-math.pi / 2, math.pi / 2))
    column = np.floor(place[:, 1] * degree * parallel / block_km)
    return np.stack((row, column), axis=1).astype(np.int64)


def distance_to_nearest(place: np.ndarray, others: np.ndarray, chunk: int = 1024) -> np.ndarray:
    """Great-circle distance in km from each place (N, 2) to the nearest of `others` (M, 2)."""
    if not len(others):
        return np.full(len(place), np.inf)
    here, there = unit_vectors(place), unit_vectors(others)
    chords = [np.empty(0)]
    for start in range(0, len(here), chunk):
        part = here[start : start + chunk]
        nearest = there[(part @ there.T).argmax(1)]
        chords.append(np.linalg.norm(part - nearest, axis=1))
    return kilometres(np.concatenate(chords))


def kilometres(chord: np.ndarray) -> np.ndarray:
    """Great-circle distance from a chord of the unit sphere; the cosine has no digits left for short ways."""
    distance: np.ndarray = 2 * EARTH_RADIUS_KM * np.arcsin((chord / 2).clip(0, 1))
    return distance


def unit_vectors(place: np.ndarray) -> np.ndarray:
    """(N, 2) latitude and longitude in degrees -> (N, 3) on the unit sphere."""
    latitude, longitude = np.radians(place).T
    return np.stack(
        (np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)), axis=1
    )
