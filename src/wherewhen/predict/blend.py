"""A scene in overlapping windows, and their predictions as one without seams, a strip at a time.

Neighbouring windows share `overlap + BLEND` pixels. Each drops half the overlap at its inner sides, where it lacks
context; what is left overlaps by `BLEND` pixels, over which one fades into the next. So every pixel has half the
overlap of context to all sides, and a network that looks no farther gives what it would give to the whole scene.

Notation: K classes, H × W pixels of the scene, S side of a window.
"""

from collections.abc import Callable, Container, Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np

from wherewhen.errors import UserError

BLEND = 16  # pixels over which neighbours fade into each other
BUFFER = 1 << 26  # bytes of probabilities that are summed up at a time


class Tiling(NamedTuple):
    """How windows lie in a scene; the last of a row or column may be shorter.

    Args:
        shape: H and W.
        side: S.
        overlap: Context in pixels, of both sides together; at least this much.
        align: Windows begin at multiples of it: a network that looks at every 32nd pixel looks at the same ones.
    """

    shape: tuple[int, int]
    side: int
    overlap: int
    align: int = 1

    def check(self) -> None:
        """Raise UserError where windows would not advance by half their side."""
        if self.side < 2 * (self.overlap + BLEND):
            most = self.side // 2 - BLEND
            raise UserError(
                f"windows of {self.side} pixels cannot overlap by {self.overlap}; give --overlap {max(most, 0)} or "
                "less, or a larger --window"
            )

    @property
    def step(self) -> int:
        """Pixels from one window to the next."""
        most = self.side - 2 * (self.overlap // 2) - BLEND
        return most // self.align * self.align or most

    @property
    def drop(self) -> int:
        """Pixels that a window gives up at an inner side."""
        return (self.side - self.step - BLEND) // 2

    def starts(self, axis: int) -> list[int]:
        """First pixels of the windows along rows (0) or columns (1)."""
        return [0, *range(self.step, self.shape[axis] - self.side + self.step, self.step)]

    def length(self, axis: int, start: int) -> int:
        """Pixels of a window along an axis."""
        return min(self.side, self.shape[axis] - start)

    def weights(self, axis: int, start: int) -> np.ndarray:
        """How much a window counts along an axis, float32 in [0, 1] for each of its pixels; neighbours add up to 1."""
        length = self.length(axis, start)
        place = np.arange(length)
        rise = np.ones(length) if start == 0 else (place - self.drop + 0.5) / BLEND
        fall = np.ones(length) if start + length == self.shape[axis] else (length - 1 - place - self.drop + 0.5) / BLEND
        return np.minimum(rise, fall).clip(0, 1).astype(np.float32)

    def final(self, number: int) -> int:
        """The row before which nothing changes once the windows of row `number` are counted."""
        starts = self.starts(0)
        return self.shape[0] if number == len(starts) - 1 else starts[number + 1] + self.drop

    @property
    def reach(self) -> int:
        """Strips that a row of windows counts in: its own and those below that it fades into."""
        return -(-(self.side - 2 * self.drop) // self.step)

    def panels(self, classes: int) -> list[tuple[int, int]]:
        """Columns (first, one past the last) that are done one after the other, so that memory stays bounded."""
        width = max(self.side, BUFFER // (4 * (classes + 1) * self.side))
        return [(left, min(left + width, self.shape[1])) for left in range(0, self.shape[1], width)]


class Strip(NamedTuple):
    """Rows of a panel that are finished.

    Args:
        number: Of the strip in its panel.
        top: Its first row in the scene.
        left: Its first column.
        probability: (K, h, w) float32, 0 for all classes where there is no data.
        seen: (h, w) bool, whether there is data.
    """

    number: int
    top: int
    left: int
    probability: np.ndarray
    seen: np.ndarray


# top, left, height, width -> stored numbers (C, h, w), and where they show ground (h, w)
Read = Callable[[int, int, int, int], tuple[np.ndarray, np.ndarray]]
# stored numbers (N, C, S, S) -> probabilities (N, K, S, S)
Predict = Callable[[np.ndarray], np.ndarray]


def strips(
    tiling: Tiling, panel: tuple[int, int], classes: int, read: Read, predict: Predict, batch: int, done: Container[int]
) -> Iterator[Strip]:
    """The strips of a panel that are not done, from above.

    Strips do not depend on which of them are done already: what a strip needs is computed again, in the same order.

    Args:
        tiling: Of the scene.
        panel: Columns.
        classes: K.
        read: Reads a part of the scene.
        predict: The network.
        batch: Windows at a time.
        done: Numbers of the strips that are not needed.
    """
    left, right = panel
    tops = tiling.starts(0)
    columns = [start for start in tiling.starts(1) if _counts(tiling, start, left, right)]
    first, past = columns[0], columns[-1] + tiling.length(1, columns[-1])
    size = (min(tiling.side, tiling.shape[0]), right - left)
    total, weight, seen = np.zeros((classes, *size), np.float32), np.zeros(size, np.float32), np.zeros(size, bool)
    base, fresh = 0, 0  # rows of the scene: the first of the buffers, and the first that is not finished
    for number, top in enumerate(tops):
        for buffer in (total, weight, seen):
            _shift(buffer, top - base)
        base = top
        end = tiling.final(number)
        if any(later not in done for later in range(number, min(number + tiling.reach, len(tops)))):
            down = tiling.weights(0, top)
            height = len(down)
            pixels, shown = read(top, first, height, past - first)
            seen[:height] = shown[:, left - first : right - first]
            for start, answer in _answers(tiling, columns, first, pixels, shown, predict, batch):
                inner = slice(max(start, left), min(start + answer.shape[2], right))
                own, here = (slice(inner.start - zero, inner.stop - zero) for zero in (start, left))
                counted = np.outer(down, tiling.weights(1, start)[own])
                total[:, :height, here] += answer[:, :, own] * counted
                weight[:height, here] += counted
        if number not in done:
            rows = slice(fresh - top, end - top)
            yield Strip(number, fresh, left, total[:, rows] / np.maximum(weight[rows], 1e-12), seen[rows].copy())
        fresh = end


def _counts(tiling: Tiling, start: int, left: int, right: int) -> bool:
    """Whether a window has a weight somewhere between two columns."""
    places = np.flatnonzero(tiling.weights(1, start)) + start
    return bool(places[0] < right and places[-1] >= left)


def _shift(buffer: np.ndarray, rows: int) -> None:
    """Move a buffer (…, h, w) up by so many rows; what comes in is 0."""
    if rows:
        height = buffer.shape[-2]
        buffer[..., : height - rows, :] = buffer[..., rows:, :].copy()
        buffer[..., max(height - rows, 0) :, :] = 0


def _answers(
    tiling: Tiling, columns: list[int], first: int, pixels: np.ndarray, shown: np.ndarray, predict: Predict, batch: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Column of each window that shows anything, and its prediction (K, S, S)."""
    widths = {start: tiling.length(1, start) for start in columns}
    there = [start for start in columns if shown[:, start - first : start - first + widths[start]].any()]
    for _, alike in groupby(there, key=widths.__getitem__):
        for some in batched(alike, batch):
            shares = np.stack([pixels[:, :, start - first : start - first + widths[start]] for start in some])
            yield from zip(some, predict(shares), strict=True)


def batched(starts: Iterable[int], count: int) -> Iterator[list[int]]:
    """So many at a time."""
    rest = list(starts)
    yield from (rest[begin : begin + count] for begin in range(0, len(rest), count))
