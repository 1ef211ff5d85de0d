"""Table 3 of "Context Matters" (ECAI 2024): student and teacher where place, time or region are not the training's."""

import argparse
from pathlib import Path

from wherewhen.experiments import grid
from wherewhen.experiments.cells import Question
from wherewhen.experiments.rows import Row, configuration
from wherewhen.files import sha256_of

# five places on other continents than Europe, latitude and longitude in degrees
PLACES = ("-33.9,151.2", "40.7,-74.0", "-23.5,-46.6", "35.7,139.7", "-1.3,36.8")
STUDENT, FALSE = "student", "student-far"  # rows of one training, told the truth and not
WRITTEN = ("test.json", "test_classes.csv", "test_predictions.csv")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the experiment takes."""
    grid.add_arguments(parser, splits=("store", "region"))
    parser.add_argument(
        "--base", default="stssl_fixmatch", metavar="NAME", help="configuration to train (default: stssl_fixmatch)"
    )


def run(args: argparse.Namespace) -> int:
    """Run what is not finished, and report; 1 where a cell failed.

    Raises:
        UserError: The call cannot work, or a finished cell has other settings.
    """
    return grid.run(args, "shift", lambda folder: rows_of(configuration(folder, args.base)), unmoved)


def rows_of(config: Path) -> list[Row]:
    """Rows (a) to (d), which on the split `region` are (e) and (f), and the student told of far places and times.

    Figures of the paper: mAP in % on BigEarthNet with 1 % of the labels.
    """

    def asked(name: str, title: str, question: Question, pool: str = "", **published: float) -> Row:
        paper = {(split, 0.01): figure for split, figure in published.items()}
        return Row(name, title, "asked", config, base=STUDENT, question=question, pool=pool, published=paper)

    return [
        Row(STUDENT, "student", "trained", config, published={("store", 0.01): 46.12, ("region", 0.01): 16.65}),
        asked("teacher", "teacher", Question("teacher"), store=44.93, region=15.43),
        *(
            asked(f"teacher-place-{i}", "teacher, five places far away", Question("teacher", place), "p", store=30.15)
            for i, place in enumerate(PLACES)
        ),
        *(
            asked(f"teacher-day-{i}", "teacher, five days far away", Question("teacher", unseen=i), "d", store=42.75)
            for i in range(len(PLACES))
        ),
        asked("teacher-hidden", "teacher, told nothing", Question("teacher", "hidden")),
        asked(FALSE, "student, far places and days", Question("student", "far")),
    ]


def unmoved(out: Path) -> str:
    """How many of the student's files are the same, byte for byte, when it is told of far places and days."""
    equal = total = 0
    for folder in sorted((out / "cells").glob(f"*/*/*/{FALSE}/*")):
        truthful = folder.parents[1] / STUDENT / folder.name
        for name in WRITTEN:
            if (folder / name).is_file() and (truthful / name).is_file():
                total += 1
                equal += sha256_of(folder / name) == sha256_of(truthful / name)
    return f"\nThe student told of far places and days: {equal} of {total} files are the same, byte for byte.\n"
