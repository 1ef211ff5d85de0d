"""Table 2 of "Context Matters" (ECAI 2024): what each part of ST-SSL is worth, and other ways to say where and when."""

import argparse
from pathlib import Path
from typing import NamedTuple

from wherewhen.experiments import grid
from wherewhen.experiments.rows import Row, configuration

BASE = "a"


class Ablation(NamedTuple):
    """A change of the teacher's settings, and the paper's mAP in % on BigEarthNet with 1 % of the labels."""

    title: str
    words: tuple[str, ...] = ()
    published: float | None = None


def teacher(key: str, value: str) -> tuple[str, str]:
    """One override."""
    return f"--model.teacher.{key}", value


# the paper's letters; what follows (m) is not in the paper
ABLATIONS = {
    BASE: Ablation("ST-SSL, MSE distillation, λ_D = 1", (), 46.12),
    "b": Ablation("without time", teacher("metadata", "[place]"), 45.59),
    "c": Ablation("without place", teacher("metadata", "[time]"), 44.96),
    "d": Ablation("late fusion", teacher("fusion", "late"), 43.59),
    "e": Ablation("one network", teacher("one_network", "true"), 44.61),
    "f": Ablation("without distillation", teacher("distill_weight", "0"), 44.92),
    "g": Ablation("MAE distillation", teacher("distance", "mae"), 45.86),
    "h": Ablation("cosine distillation", teacher("distance", "cosine"), 45.17),
    "i": Ablation("class token distillation", teacher("distill_from", "class_token"), 42.89),
    "j": Ablation("without gradient stop", teacher("stop_gradient", "false"), 45.86),
    "k": Ablation("λ_D = 0.1", teacher("distill_weight", "0.1"), 45.27),
    "l": Ablation("λ_D = 0.5", teacher("distill_weight", "0.5"), 45.76),
    "m": Ablation("λ_D = 2", teacher("distill_weight", "2"), 45.78),
    "raw": Ablation("place and time raw, as published", teacher("encoding", "raw")),
    "cyclic": Ablation("sine and cosine of the longitude", teacher("encoding", "cyclic")),
    "fourier": Ablation("Fourier features of place", teacher("encoding", "fourier")),
    "spherical": Ablation("spherical harmonics", teacher("encoding", "spherical")),
    "no-dropout": Ablation("no metadata dropout", teacher("metadata_dropout", "0")),
    "dropout": Ablation("half of the metadata hidden", teacher("metadata_dropout", "0.5")),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the experiment takes."""
    grid.add_arguments(parser)
    parser.add_argument(
        "--base", default="stssl_fixmatch", metavar="NAME", help="configuration to change (default: stssl_fixmatch)"
    )


def run(args: argparse.Namespace) -> int:
    """Run what is not finished, and report; 1 where a cell failed.

    Raises:
        UserError: The call cannot work, or a finished cell has other settings.
    """
    return grid.run(args, "ablations", lambda folder: rows_of(configuration(folder, args.base)))


def rows_of(config: Path) -> list[Row]:
    """A row a change of one configuration, all with λ_D = 1 unless they change it.

    Raises:
        UserError: The configuration is missing.
    """
    return [
        Row(
            name,
            f"({name}) {change.title}",
            "trained",
            config,
            teacher("distill_weight", "1") + change.words,
            against=() if name == BASE else (BASE,),
            published={} if change.published is None else {("store", 0.01): change.published},
        )
        for name, change in ABLATIONS.items()
    ]
