"""`wherewhen experiment NAME …`: many trainings, one answer."""

import argparse
import shlex
from collections.abc import Sequence
from importlib import import_module

# An experiment is a module of this package with `add_arguments(parser)` and `run(args)`, imported when asked for.
EXPERIMENTS = {
    "leaderboard": "methods × label budgets × seeds × splits × stores, with intervals and paired gains",
}


def main(argv: Sequence[str]) -> int:
    """Run `wherewhen experiment`; returns the exit code.

    Raises:
        UserError: Something in the call cannot work.
    """
    parser = argparse.ArgumentParser(prog="wherewhen experiment", description=__doc__)
    commands = parser.add_subparsers(dest="experiment", required=True, metavar="NAME")
    chosen = next((word for word in argv if word in EXPERIMENTS), None)
    for name, title in EXPERIMENTS.items():
        command = commands.add_parser(name, help=title, description=title)
        if name == chosen:
            experiment = import_module(f"wherewhen.experiments.{name}")
            experiment.add_arguments(command)
            command.set_defaults(run=experiment.run, command=shlex.join(["wherewhen", "experiment", *argv]))
    args = parser.parse_args(argv)
    return int(args.run(args))
