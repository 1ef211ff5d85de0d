"""Texture of some patches: groups of bands and single bands above, their local binary patterns below.

Axes: N patches, C bands, H rows, W columns, G groups.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure

from wherewhen.bands import semantic_groups, texture_groups
from wherewhen.errors import UserError
from wherewhen.plots import save
from wherewhen.scale import Scale
from wherewhen.store import PatchStore
from wherewhen.views import is_rgb
from wherewhen.views.texture import local_binary_pattern

POINTS, RADIUS = 16, 2
CODES = POINTS + 2
_PANEL = 1.15  # inches
_COLOURS = colormaps["viridis"].resampled(CODES)
_LINES = ("groups", "their codes", "bands", "their codes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the analysis takes."""
    parser.add_argument("store", type=Path, help="folder of a store")
    parser.add_argument("--patches", type=int, default=2, metavar="N", help="patches to show (default 2)")
    parser.add_argument("--out", type=Path, default=Path("texture.png"), metavar="FILE", help="(default texture.png)")


def run(args: argparse.Namespace) -> None:
    """Draw the picture.

    Raises:
        UserError: There is no such store, or N is out of range.
    """
    if args.patches < 1:
        raise UserError(f"--patches {args.patches} is out of range; it must be at least 1")
    store = PatchStore.open(args.store)
    rows = np.unique(np.linspace(0, len(store) - 1, min(args.patches, len(store))).astype(int))
    names = [band.name for band in store.bands]
    unit, codes = shown(store, rows)
    draw(list(store.table["id"].iloc[rows]), names, groups_of(names), unit, codes, args.out)
    print(f"{args.out}: {len(rows)} of {store}")


def shown(store: PatchStore, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Patches (N, C, H, W) in [0, 1], and their codes, taken of 256 grey values as SACo+ takes them."""
    stored = torch.from_numpy(store.pixels(rows).astype(np.float32))
    unit = Scale.of(store.bands, store.mean, store.std).unit(stored)
    return unit.numpy(), local_binary_pattern((unit * 255).round(), POINTS, RADIUS, "uniform").numpy()


def groups_of(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The semantic and the texture groups whose bands are all there, or colour."""
    if is_rgb(names):
        return {"true colour": tuple(names)}
    table = "readme_l1c" if "B10" in names else "readme_l2a"
    groups = semantic_groups(table) | texture_groups(table)
    return {name: bands for name, bands in groups.items() if set(bands) <= set(names)}


def draw(
    titles: Sequence[str],
    names: Sequence[str],
    groups: Mapping[str, tuple[str, ...]],
    unit: np.ndarray,
    codes: np.ndarray,
    path: Path,
) -> None:
    """Four lines a patch: groups as colours, their codes as colours, bands, and their codes.

    Args:
        titles: N, of the patches.
        names: C, of the bands.
        groups: G names, each with three of the bands.
        unit: (N, C, H, W) in [0, 1].
        codes: (N, C, H, W) in 0 … 17.
        path: PNG file to write.
    """
    lines, across = _LINES if groups else _LINES[2:], max(len(names), len(groups))
    figure = Figure(figsize=(_PANEL * across + 1, 1.2 * _PANEL * len(lines) * len(titles)), layout="constrained")
    parts = figure.subfigures(len(titles), 1, squeeze=False)[:, 0]
    for part, title, bands, patterns in zip(parts, titles, unit, codes, strict=True):
        part.suptitle(title, fontsize=8)
        axes = part.subplots(len(lines), across, squeeze=False)
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, line in zip(axes[:, 0], lines, strict=True):
            axis.text(-0.08, 0.5, line, rotation=90, ha="right", va="center", fontsize=7, transform=axis.transAxes)
        for (name, triple), above, below in zip(groups.items(), *axes[:2], strict=False):
            index = [names.index(band) for band in triple]
            above.imshow(bands[index].transpose(1, 2, 0), interpolation="nearest")
            below.imshow(patterns[index].transpose(1, 2, 0) / (CODES - 1), interpolation="nearest")
            above.set_title(f"{name.replace('_', ' ')}\n{' '.join(triple)}", fontsize=5.5, pad=2)
        for name, band, pattern, above, below in zip(names, bands, patterns, *axes[-2:], strict=False):
            above.imshow(band, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            scale = below.imshow(pattern, cmap=_COLOURS, vmin=-0.5, vmax=CODES - 0.5, interpolation="nearest")
            above.set_title(name, fontsize=5.5, pad=2)
        bar = part.colorbar(scale, ax=axes, shrink=0.8 / len(lines), anchor=(0, 0), pad=0.01, ticks=range(0, CODES, 4))
        bar.ax.tick_params(labelsize=5)
        bar.ax.set_title("code", fontsize=5.5)
    save(figure, path)
