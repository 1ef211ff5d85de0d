"""`wherewhen prepare DATASET …`: from a dataset, or from nothing, to a PatchStore."""

import argparse
from collections.abc import Sequence
from importlib import import_module

# A dataset is a module of `wherewhen.ingest` with `add_arguments(parser)` and `run(args)`, imported when asked for.
DATASETS = {
    "eurosat": "EuroSAT: the RGB pictures with a table of places, or the 13-band GeoTIFFs",
    "world": "a synthetic continent with place, time, labels and masks; needs no input",
}


def main(argv: Sequence[str]) -> int:
    """Run `wherewhen prepare`; returns the exit code.

    Raises:
        UserError: The source or the output is wrong.
    """
    parser = argparse.ArgumentParser(prog="wherewhen prepare", description=__doc__)
    commands = parser.add_subparsers(dest="dataset", required=True, metavar="DATASET")
    chosen = next((word for word in argv if word in DATASETS), None)
    for name, title in DATASETS.items():
        command = commands.add_parser(name, help=title, description=title)
        if name == chosen:
            dataset = import_module(f"wherewhen.ingest.{name}")
            dataset.add_arguments(command)
            command.set_defaults(run=dataset.run)
    args = parser.parse_args(argv)
    args.run(args)
    return 0
