"""Finished runs, opened to be asked.

Notation: M test patches, C classes.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from wherewhen.errors import UserError
from wherewhen.tasks.asking import ask
from wherewhen.tasks.data import StoreData
from wherewhen.tasks.elsewhere import Network
from wherewhen.tasks.task import LabelEfficient
from wherewhen.tasks.verbs import Cli

QUIET = ("--trainer.logger", "false", "--trainer.enable_progress_bar", "false")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What an analysis of one run takes."""
    parser.add_argument("--run", type=Path, required=True, dest="folder", metavar="RUN", help="folder of the run")
    parser.add_argument("--store", type=Path, metavar="S", help="its store, where it does not lie where it did")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the files go (default: the run's folder)")


def opened(folder: Path, store: Path | None) -> Cli:
    """A run with its data chosen; its networks are built by `Cli.trained`.

    Raises:
        UserError: The folder holds no run, or its store is not there.
    """
    config = folder / "config.yaml"
    if not config.is_file():
        raise UserError(f"{folder} is no run, it has no config.yaml; give a folder that `wherewhen fit --run` made")
    moved = () if store is None else ("--data.store", str(store))
    cli = Cli(["--config", str(config), "--run", str(folder), *QUIET, *moved], training=False)
    cli.datamodule.setup()
    return cli


def answers(task: LabelEfficient, data: StoreData, network: Network) -> Tensor:
    """Probabilities (M, C) of the test patches, told the truth about place and time.

    Args:
        task: As `Cli.trained` gives it.
        data: Of the same run.
        network: Which is asked.

    Raises:
        UserError: The run has no such network.
    """
    return ask(task, data.test_dataloader(), network, data.where(data.test_rows)).all()[0]


def chosen_classes(wanted: Sequence[str] | None, classes: Sequence[str], usual: Sequence[int]) -> list[int]:
    """Indices of the named classes, or the usual ones.

    Raises:
        UserError: A name is none of the classes.
    """
    if not wanted:
        return list(usual)
    for name in wanted:
        if name not in classes:
            raise UserError(f"there is no class {name!r}; choose among {', '.join(classes)}")
    return [classes.index(name) for name in wanted]
