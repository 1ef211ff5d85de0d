"""Every method of a folder of configurations, beside classifiers that keep it honest."""

import argparse

from wherewhen.experiments import grid
from wherewhen.experiments.rows import of_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the experiment takes."""
    grid.add_arguments(parser)
    parser.add_argument("--controls", action="store_true", help="also what could explain the figures otherwise")


def run(args: argparse.Namespace) -> int:
    """Run what is not finished, and report; 1 where a cell failed.

    Raises:
        UserError: The call cannot work, or a finished cell has other settings.
    """
    return grid.run(args, "leaderboard", lambda folder: of_folder(folder, args.controls))
