"""Table 1 of "Context Matters" (ECAI 2024): semi-supervised algorithms alone and inside ST-SSL."""

import argparse
from dataclasses import replace
from pathlib import Path

from wherewhen.errors import UserError
from wherewhen.experiments import grid
from wherewhen.experiments.rows import ALGORITHMS, Row, compared, configurations, trained

# mAP in % on BigEarthNet with 1 % of the labels; the paper gives no figure for the supervised row
PUBLISHED = {
    "fixmatch": 42.56,
    "udal": 42.32,
    "softmatch": 41.95,
    "freematch": 42.46,
    "defixmatch": 43.09,
    "cap": 41.81,
    "cdmad": 41.48,
    "stssl_fixmatch": 46.12,
    "stssl_udal": 45.84,
    "stssl_softmatch": 45.34,
    "stssl_freematch": 45.20,
    "stssl_defixmatch": 46.65,
    "stssl_cap": 45.53,
    "stssl_cdmad": 43.74,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the experiment takes."""
    grid.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run what is not finished, and report; 1 where a cell failed.

    Raises:
        UserError: The call cannot work, or a finished cell has other settings.
    """
    return grid.run(args, "algorithms", rows_of)


def rows_of(folder: Path) -> list[Row]:
    """Supervised training and every algorithm that the folder has, alone and inside ST-SSL.

    Raises:
        UserError: The folder has none of them.
    """
    wanted = ("supervised", *ALGORITHMS, *(f"stssl_{name}" for name in ALGORITHMS))
    rows = [
        replace(row, published={("store", 0.01): PUBLISHED[row.name]} if row.name in PUBLISHED else {})
        for path in configurations(folder)
        if path.stem in wanted
        for row in trained(path, controls=False)
        if row.kind == "trained"
    ]
    if not rows:
        raise UserError(f"{folder} has none of {', '.join(wanted)} (.yaml); give a folder such as configs/world")
    return compared(rows)
