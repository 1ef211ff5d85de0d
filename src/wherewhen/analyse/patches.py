"""A contact sheet of a store: some patches in true colour with date and place, and what their masks say.

A store with targets of kind `change` shows pairs with their masks, one with `series` the dates of a place side by side,
any other its patches, each with its mask.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Patch as Swatch

from wherewhen.errors import UserError
from wherewhen.maps import UNKNOWN
from wherewhen.plots import save, true_colour
from wherewhen.store import PatchStore

_NOWHERE = (0.93, 0.93, 0.93)  # colour of unknown in a mask
_CHANGE = ("same", "change")
_DATES = 6  # of a place that are shown
_WIDTH = 12  # panels side by side


class Item(NamedTuple):
    """What stands side by side: patches (rows of the table), and a mask of theirs."""

    rows: list[int]
    mask: np.ndarray | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the analysis takes."""
    parser.add_argument("store", type=Path, help="folder of a store")
    parser.add_argument("--out", type=Path, default=Path("patches.png"), metavar="FILE", help="(default patches.png)")
    parser.add_argument("--count", type=int, default=12, metavar="N", help="pairs, places or patches (default 12)")


def run(args: argparse.Namespace) -> None:
    """Draw the sheet.

    Raises:
        UserError: There is no such store, or nothing to show.
    """
    if args.count < 1:
        raise UserError(f"--count {args.count} is out of range; it must be at least 1")
    store = PatchStore.open(args.store)
    names, items = chosen(store, args.count)
    draw(store, names, items, args.out)
    print(f"{args.out}: {len(items)} of {store}")


def chosen(store: PatchStore, count: int) -> tuple[Sequence[str], list[Item]]:
    """Names of the masks' values, and up to `count` items, spread evenly; pairs that changed, if any did."""
    row_of = dict(zip(store.table["id"], range(len(store)), strict=True))
    kinds = store.targets["kind"]
    if (kinds == "change").any():
        where = np.flatnonzero(kinds == "change")
        changed = [target for target in where if (store.target_masks(np.array([target])) == 1).any()]
        items = _spread(changed or list(where), count)
        masks = store.target_masks(np.array(items))
        members = store.targets["members"].iloc[items]
        return _CHANGE, [Item([row_of[m] for m in ids], mask) for ids, mask in zip(members, masks, strict=True)]
    lengths = store.targets["members"].map(len)
    where = np.flatnonzero((kinds == "series") & (lengths > 1))
    if len(where):
        members = store.targets["members"].iloc[_spread(list(where), count)]
        return (), [Item([row_of[m] for m in _spread(list(ids), _DATES)], None) for ids in members]
    rows = _spread(list(range(len(store))), count)
    shown = store.masks(np.array(rows)) if store.has_masks else None
    return store.classes, [Item([row], None if shown is None else shown[i]) for i, row in enumerate(rows)]


def _spread(values: list[Any], count: int) -> list[Any]:
    """Up to `count` of the values, evenly."""
    return [values[i] for i in np.unique(np.linspace(0, len(values) - 1, min(count, len(values))).astype(int))]


def coloured(mask: np.ndarray, classes: int) -> np.ndarray:
    """A mask (H, W) of class indices as a picture (H, W, 3)."""
    colours = np.array([*(colour(i, classes) for i in range(classes)), _NOWHERE])
    picture: np.ndarray = colours[np.where(mask == UNKNOWN, classes, mask)]
    return picture


def colour(index: int, classes: int) -> tuple[float, float, float]:
    """Of a class; two classes are black and orange."""
    if classes <= 2:
        return ((0.12, 0.12, 0.12), (0.90, 0.45, 0.0))[index]
    red, green, blue, _ = colormaps["tab20"](index % 20)
    return red, green, blue


def draw(store: PatchStore, names: Sequence[str], items: list[Item], path: Path) -> None:
    """As many items in a line as there is room for."""
    panels = max(len(item.rows) for item in items) + any(item.mask is not None for item in items)
    across = max(1, min(_WIDTH // panels, len(items)))
    size = (1.55 * panels * across, 1.85 * -(-len(items) // across) + (0.5 if names else 0))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(-(-len(items) // across), panels * across, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    shown: set[int] = set()
    for number, item in enumerate(items):
        line = axes[number // across, number % across * panels :]
        for axis, row, picture in zip(line, item.rows, true_colour(store, np.array(item.rows)), strict=False):
            axis.imshow(picture)
            axis.set_title(title(store, row), fontsize=5)
        if item.mask is not None:
            line[len(item.rows)].imshow(coloured(item.mask, len(names)), interpolation="nearest")
            shown |= set(np.unique(item.mask).tolist())
    handles = [Swatch(color=colour(i, len(names)), label=names[i]) for i in sorted(shown - {UNKNOWN})]
    handles += [Swatch(color=_NOWHERE, label="unknown")] if UNKNOWN in shown else []
    if handles:
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(7, len(handles)), fontsize=6, frameon=False
        )
    save(figure, path)


def title(store: PatchStore, row: int) -> str:
    """Which place, which day and where: what is known of it."""
    patch, (lat, lon) = store.table.iloc[row], store.place()[row]
    name = patch["place"] if isinstance(patch["place"], str) else patch["id"]
    day = "no date" if patch["time"] is None or patch["time"] != patch["time"] else f"{patch['time']:%Y-%m-%d}"
    return f"{name}\n{day}" + ("" if np.isnan(lat) else f"  {lat:.2f}, {lon:.2f}")
