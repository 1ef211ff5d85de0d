"""Table 4 and Figure 3 of "Context Matters" (ECAI 2024): supervised, FixMatch and ST-SSL over label budgets."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from wherewhen.experiments import grid
from wherewhen.experiments.rows import Row, compared, configuration, trained

# accuracy in % on EuroSAT by labels a class; the best of many looks at the test split, one seed
PUBLISHED: Mapping[str, Mapping[float, float]] = {
    "supervised": {1: 57.56, 2: 71.70, 4: 85.13, 8: 88.50},
    "fixmatch": {1: 64.19, 2: 89.13, 4: 94.20, 8: 96.39},
    "stssl_fixmatch": {1: 77.85, 2: 90.56, 4: 93.96, 8: 96.52},
}
SHARES = (0.005, 0.01, 0.02, 0.04, 0.08)
BUDGETS = {"one": (1.0, 2.0, 4.0, 8.0), "many": SHARES, "mask": SHARES, "change": (0.1, 0.2, 0.4, 0.8)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the experiment takes."""
    grid.add_arguments(parser, budgets=BUDGETS)


def run(args: argparse.Namespace) -> int:
    """Run what is not finished, and report; 1 where a cell failed.

    Raises:
        UserError: The call cannot work, or a finished cell has other settings.
    """
    return grid.run(args, "budgets", rows_of)


def rows_of(folder: Path) -> list[Row]:
    """The three methods.

    Raises:
        UserError: A configuration is missing.
    """
    found = [trained(configuration(folder, name), controls=False)[0] for name in PUBLISHED]
    return compared(
        [replace(row, published={("store", labels): p for labels, p in PUBLISHED[row.name].items()}) for row in found]
    )
