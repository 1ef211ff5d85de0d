"""Embedding spaces as tables: which key views agree with the query, and which it must be told apart from.

Key views are numbered: 0 another date, augmented; 1 another date; 2 the query's own date, augmented. A method with one
kind of key (MoCo) has view 0 only.
"""

from collections.abc import Sequence
from typing import NamedTuple

from wherewhen.errors import UserError


class Space(NamedTuple):
    """One embedding space, by the numbers of key views.

    The keys of the first positive fill the space's queue.
    """

    positives: tuple[int, ...]
    negatives: tuple[int, ...] = ()  # views whose keys in the batch are negatives beside the queue


MOCO = (Space((0,)),)
SECO = (Space((0,)), Space((1,), (0, 2)), Space((2,), (0, 1)))  # all, time, augmentation; CACo has the same spaces
SACO = (Space((2, 0)),)  # two positives: the augmented image, and the place at another time


def views_of(spaces: Sequence[Space]) -> tuple[int, ...]:
    """The key views that the spaces name, in rising order.

    Raises:
        UserError: There is no space, one has no positive, or a view is on both sides.
    """
    if not spaces:
        raise UserError("contrast needs at least one embedding space; MOCO, SECO and SACO are tables of them")
    for number, space in enumerate(spaces):
        if not space.positives:
            raise UserError(f"space {number} has no positive view; name at least one")
        if both := sorted({*space.positives} & {*space.negatives}):
            raise UserError(f"space {number} has the views {both} as positives and as negatives; choose one side")
    return tuple(sorted({view for space in spaces for side in space for view in side}))
