"""The plan of a store of one's own: patches with labels, their split, and patches without labels beside them.

Notation: N labelled patches.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from wherewhen import splits
from wherewhen.errors import UserError, note
from wherewhen.ingest import blocks, labels, own_patches
from wherewhen.ingest.labels import Labels
from wherewhen.scenes import Scene

Task = Literal["map", "patch"]
TASKS: tuple[Task, ...] = ("map", "patch")
AUTO, NONE = "auto", "none"

_PLACE = ["lat", "lon"]


class Split(NamedTuple):
    """How patches were split.

    Args:
        side: Of a block in kilometres; 0 where the split is at random.
        gap: Distance from a test patch, in kilometres, within which no other patch is.
    """

    side: float
    gap: float


def labelled(scenes: Sequence[Scene], read: Labels, task: Task, size: int, point_pixels: int) -> pd.DataFrame:
    """Patches with labels; labels outside every scene are told.

    Raises:
        UserError: All of them are.
    """
    inside = np.zeros(len(read.frame), bool)
    parts = []
    for scene in scenes:
        touching = own_patches.in_pixels(read, scene.grid)
        inside[touching.rows] = True
        if task == "map":
            parts.append(own_patches.map_patches(scene, read, touching, size, point_pixels))
        else:
            parts.append(own_patches.label_patches(scene, read, touching, size))
    plan = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    outside = read.frame["id"][~inside]
    if not len(plan):
        raise UserError(
            f"none of the {len(read.frame)} labels lies in a scene (first {labels.named(outside)}); check the "
            "reference system of the labels (--labels-crs) and that x and y are not swapped"
        )
    if len(outside):
        note(f"{len(outside)} labels lie outside every scene: {labels.named(outside)}")
    counts = read.frame["code"][inside].value_counts()
    told = ", ".join(f"{name} {counts.get(code, 0)}" for code, name in enumerate(read.classes))
    print(f"{int(inside.sum())} labels in {len(plan)} patches: {told}")
    return plan


def split(
    plan: pd.DataFrame, size: int, block_km: float | str, patch_km: float, overlap: bool, share: float, seed: int
) -> tuple[pd.DataFrame, Split]:
    """The plan with a column `split`, without patches that share ground with a test patch.

    Args:
        plan: N rows with `source`, `top`, `left`, `lat`, `lon`, `place` and `label`.
        size: Pixels of a patch's side.
        block_km: Side of a block, or `auto` or `none`.
        patch_km: Side of a patch.
        overlap: Whether any two patches may show the same ground, and not only the last of a row or column.
        share: Of the patches that go to the test, about.
        seed: Another seed, another split.
    """
    gap = 1.05 * float(np.sqrt(2)) * patch_km if overlap else 0.0  # beyond a diagonal, two patches share no pixel
    place, codes = plan[_PLACE].to_numpy(), plan["label"].to_numpy(int)
    if isinstance(block_km, str) and block_km == NONE:
        side, parts = 0.0, _at_random(plan["place"], place, gap, share, seed)
    else:
        wanted = blocks.Blocks(float(block_km), "as asked for") if block_km != AUTO else None
        wanted = wanted or blocks.suggest(place, codes, patch_km)
        parts, side = blocks.split(place, codes, wanted.side, gap, share, seed, least=patch_km / 2)
        smaller = (
            f", halved to {side:.3g} km, because larger ones leave too few labels for training"
            if side < wanted.side
            else ""
        )
        print(f"split by blocks of {wanted.side:.3g} km ({wanted.why}){smaller}")
    parts[own_patches.overlapping(plan, plan[parts == "test"], size) & (parts != "test")] = None
    if not (parts == "train").any():
        raise UserError(f"every labelled patch shares pixels with a test patch; take a smaller --size than {size}")
    kept = np.array([part is not None for part in parts])
    if not kept.all():
        note(f"{int((~kept).sum())} labelled patches are left out, because they are too near to a test patch")
    return plan.assign(split=parts)[kept].reset_index(drop=True), Split(side, gap)


def _at_random(places: pd.Series, place: np.ndarray, gap: float, share: float, seed: int) -> np.ndarray:
    """Part of each patch, (N,) objects: patches of one place go together, what overlaps a test patch has none."""
    test = places.isin(_held(places, share, seed)).to_numpy()
    if not test.any():
        raise UserError("one labelled place cannot be both for training and for testing; label more")
    val = ~test & places.isin(_held(places[~test], blocks.VALIDATION, seed + 1)).to_numpy()
    near = ~test & (splits.distance_to_nearest(place, place[test]) <= gap) & (gap > 0)
    parts = np.where(test, "test", np.where(val, "val", "train")).astype(object)
    parts[near] = None
    return parts


def _held(places: pd.Series, share: float, seed: int) -> np.ndarray:
    """A share of the places, at least one where there are two."""
    names = np.sort(places.unique().astype(str))
    chosen = splits.hold_out(list(names), max(share, 0.51 / len(names)), seed)
    return names[chosen] if len(names) > 1 else names[:0]


def unlabelled(
    scenes: Sequence[Scene], plan: pd.DataFrame, split: Split, size: int, count: int | None, seed: int
) -> pd.DataFrame:
    """Patches without labels, for training, from outside the blocks of test and validation; a choice by hash.

    Args:
        scenes: Where they are from.
        plan: The labelled patches.
        split: How these are split.
        size: Pixels of a side.
        count: At most so many; None takes all.
        seed: Another seed, another choice.
    """
    if count == 0:
        return plan[:0]
    free = pd.concat([own_patches.grid_patches(scene, size) for scene in scenes], ignore_index=True)
    free = free[~free["id"].isin(plan["id"])]
    if split.side:
        held = plan[plan["split"].isin(["test", "val"])]
        taken = {tuple(block) for block in splits.blocks(held[_PLACE].to_numpy(), split.side)}
        own = splits.blocks(free[_PLACE].to_numpy(), split.side)
        free = free[np.array([tuple(block) not in taken for block in own], bool)]
    test = plan[plan["split"] == "test"]
    free = free[splits.distance_to_nearest(free[_PLACE].to_numpy(), test[_PLACE].to_numpy()) > split.gap]
    free = free[~own_patches.overlapping(free, test, size)]
    chosen: pd.DataFrame = free.iloc[splits.shuffled(free["id"].tolist(), seed)[:count]].assign(split="train")
    return chosen
