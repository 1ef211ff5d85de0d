"""Where the patches of a store lie, by split."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from wherewhen.analyse import graticule
from wherewhen.errors import UserError
from wherewhen.globe import together
from wherewhen.plots import COLOURS, save
from wherewhen.store import PatchStore


def draw(store: PatchStore, path: Path) -> None:
    """Write a map as a PNG.

    Raises:
        UserError: No place is known.
    """
    place, split = together(store.place()), store.table["split"].fillna("no split").to_numpy(dtype=object)
    known = ~np.isnan(place).any(1)
    if not known.any():
        raise UserError(f"no patch of {store.path} has a place; there is nothing to draw a map of")
    figure = Figure(figsize=(7, 5))
    axes = figure.subplots()
    for number, part in enumerate(dict.fromkeys(["train", "val", "test", *split])):
        of = known & (split == part)
        if of.any():
            label, colour = f"{part}: {of.sum():,}", COLOURS[number % len(COLOURS)]
            axes.scatter(place[of, 1], place[of, 0], s=4, linewidths=0, alpha=0.6, color=colour, label=label)
    graticule.prepare(axes, place, margin=0.02 * float(np.ptp(place[known], axis=0).max()) + 0.01)
    axes.legend(frameon=False, markerscale=3, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)
