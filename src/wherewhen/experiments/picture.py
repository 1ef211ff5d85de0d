"""An experiment as a picture: the score of every row with its interval, a panel a split."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from wherewhen.plots import COLOURS, GRID, save

MARKS: dict[str, Any] = {"markersize": 4, "capsize": 2, "linewidth": 1.2}
SPREAD = 0.7  # of the height of a row, for its label budgets


class Bar(NamedTuple):
    """Score of a row in % and its 95 % interval; NaN where nothing is finished."""

    title: str
    score: float
    low: float
    high: float


def draw(panels: Mapping[str, Mapping[str, Sequence[Bar]]], metric: str, path: Path) -> None:
    """Write the picture: split -> label budget -> rows; `metric` as people call it."""
    budgets = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    titles = list(dict.fromkeys(bar.title for panel in panels.values() for bars in panel.values() for bar in bars))
    figure = Figure(
        figsize=(3.6 * len(panels), (0.16 + 0.1 * len(budgets)) * len(titles))
    )  # of the panels; the words come on top
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(left=0, right=1, wspace=0.06)
    for axis, (split, panel) in zip(axes, panels.items(), strict=True):
        for number, name in enumerate(budgets):
            shift = SPREAD * ((number + 0.5) / len(budgets) - 0.5)
            if not (bars := panel.get(name)):
                continue
            axis.errorbar(
                [bar.score for bar in bars],
                [titles.index(bar.title) + shift for bar in bars],
                xerr=np.array([(bar.score - bar.low, bar.high - bar.score) for bar in bars]).T.clip(0),
                fmt="o",
                **MARKS,
                color=COLOURS[number % len(COLOURS)],
                label=name,
            )
        axis.set(xlabel=f"test {metric} (%), 95 % interval", xlim=limits(panels))
        axis.set_title(split, fontsize=10)
        axis.set_yticks(range(len(titles)), titles, fontsize=9)
        axis.set_ylim(len(titles) - 0.5, -0.5)
        axis.grid(**GRID)
        axis.set_axisbelow(True)
    axes[-1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)


def limits(panels: Mapping[str, Mapping[str, Sequence[Bar]]]) -> tuple[float, float]:
    """The range in % that holds every interval, out to whole fives: dots are compared by place, not from 0 up."""
    ends = [end for panel in panels.values() for bars in panel.values() for bar in bars for end in bar[1:]]
    known = [end for end in ends if not math.isnan(end)] or [0.0, 100.0]
    return max(0.0, 5 * math.floor(min(known) / 5)), 5 * math.ceil(max(known) / 5) + 0.5


def curves(panels: Mapping[str, Mapping[float, Sequence[Bar]]], metric: str, path: Path) -> None:
    """Write the picture: split -> label budget -> rows, a line a row."""
    figure = Figure(figsize=(3.6 * len(panels), 3.2))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (split, panel) in zip(axes, panels.items(), strict=True):
        titles = list(dict.fromkeys(bar.title for bars in panel.values() for bar in bars))
        for number, title in enumerate(titles):
            points = [(labels, bar) for labels, bars in panel.items() for bar in bars if bar.title == title]
            axis.errorbar(
                [labels for labels, _ in points],
                [bar.score for _, bar in points],
                yerr=np.array([(bar.score - bar.low, bar.high - bar.score) for _, bar in points]).T.clip(0),
                fmt="o-",
                **MARKS,
                color=COLOURS[number % len(COLOURS)],
                label=title,
            )
        shares = max(panel) < 1
        axis.set(xscale="log", xlabel="labels (%)" if shares else "labels a class")
        axis.set_xticks(list(panel), [f"{100 * labels if shares else labels:g}" for labels in panel])
        axis.minorticks_off()
        axis.set_title(split, fontsize=10)
        axis.grid(**GRID)
        axis.set_axisbelow(True)
    axes[0].set_ylabel(f"test {metric} (%), 95 % interval")
    axes[-1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)
