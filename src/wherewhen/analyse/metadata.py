"""The metadata audit: how much a teacher leans on place and time, and the proof that its student does not.

Notation: M test patches, C classes.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from wherewhen.analyse.runs import add_arguments as add_run
from wherewhen.analyse.runs import opened
from wherewhen.files import make_folder, write_text
from wherewhen.geoparquet import patch_schema, points_to_wkb, read_table, write_table
from wherewhen.store import PatchStore
from wherewhen.tasks.asking import ask
from wherewhen.tasks.elsewhere import Network, far_away, permuted, replaced
from wherewhen.tasks.evaluation import HEADLINE, Evaluation
from wherewhen.tasks.verbs import Cli

ELSEWHERE = "-33.9,151.2"  # Sydney
# What the networks are told -> (M, 3) from the true (M, 3): latitude, longitude in degrees, fraction of the year.
TOLD: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the truth": lambda where: where,
    "another patch's place": lambda where: np.column_stack((permuted(where)[:, :2], where[:, 2])),
    "another patch's time": lambda where: np.column_stack((where[:, :2], permuted(where)[:, 2])),
    "another patch's place and time": permuted,
    "half the list away, half a year later": far_away,
    "Sydney": lambda where: replaced(where, ELSEWHERE),
    "nothing": lambda where: replaced(where, "hidden"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the audit takes."""
    add_run(parser)


def run(args: argparse.Namespace) -> None:
    """Print the audit, and write `metadata.csv` and `metadata.md`.

    Raises:
        UserError: The run has no teacher, or its networks cannot be asked.
    """
    cli = opened(args.folder, args.store)
    frame = pd.DataFrame(lines(cli))
    proof = proofs(cli)
    text = markdown(frame, proof)
    out = make_folder(args.out or args.folder)
    write_text(out / "metadata.csv", frame.to_csv(index=False))
    write_text(out / "metadata.md", text)
    print(text)


def lines(cli: Cli) -> Iterator[dict[str, object]]:
    """What becomes of the test, a line a network and what it is told."""
    task, data = cli.trained(), cli.datamodule
    batches, where = data.test_dataloader(), data.where(data.test_rows)
    networks: tuple[Network, ...] = ("teacher", "student")
    for network in networks:
        evaluations = {told: ask(task, batches, network, change(where)) for told, change in TOLD.items()}
        for told, other in evaluations.items():
            yield {"network": network, "told": told, **compared(evaluations["the truth"], other)}


def compared(truth: Evaluation, other: Evaluation) -> dict[str, float]:
    """The metric of the other evaluation, and how far it is from the first."""
    metric = HEADLINE[truth.kind]
    (p, _), (q, _) = truth.all(), other.all()
    before, after = truth.decisions().predicted, other.decisions().predicted
    changed = (before != after).any(1) if truth.kind == "one" else before != after
    score = other.metrics()[metric]
    return {
        metric: score,
        "change": score - truth.metrics()[metric],
        "changed_decisions": 100 * changed.float().mean().item(),
        "mean_probability_change": (p - q).abs().sum(1).mean().item() / (2 if truth.kind == "one" else p.shape[1]),
    }


def proofs(cli: Cli) -> dict[str, tuple[int, int]]:
    """False metadata -> files that the student's evaluation writes, and how many of them are the same bytes as before.

    The store itself is given false places and times: a copy of its table beside links to its pixels. Then the whole way
    of `wherewhen test` is gone again, from the table to the files.
    """
    found = {}
    true_store = cli.datamodule.opened
    with tempfile.TemporaryDirectory() as folder:
        before = written(cli, Path(folder) / "before")
        for name, change in (("shuffled", permuted), ("elsewhere", TOLD["Sydney"]), ("removed", TOLD["nothing"])):
            cli.datamodule.opened = with_metadata(true_store, change, Path(folder) / name)
            after = written(cli, Path(folder) / f"{name}-files")
            found[name] = (len(before), sum(before[file] == after[file] for file in before))
    cli.datamodule.opened = true_store
    return found


def written(cli: Cli, folder: Path) -> dict[str, bytes]:
    """File name -> content of what the student's test writes."""
    evaluation: Evaluation = cli.evaluate("test")
    evaluation.write(make_folder(folder), cli.datamodule.test_ids())
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def with_metadata(store: PatchStore, change: Callable[[np.ndarray], np.ndarray], folder: Path) -> PatchStore:
    """The same patches with other places and times."""
    make_folder(folder)
    for path in store.path.iterdir():
        if path.name != "patches.parquet":
            (folder / path.name).symlink_to(path.resolve())
    table = read_table(store.path / "patches.parquet", patch_schema(store.label_kind))
    where = change(np.column_stack((store.place(), store.day())))
    days = pd.to_timedelta(pd.Series(where[:, 2] * 365, dtype="float64"), unit="D")
    time = pa.array(pd.Timestamp("2001-01-01", tz="UTC") + days, type=pa.timestamp("ns", tz="UTC"), from_pandas=True)
    for name, values in (("geometry", points_to_wkb(where[:, :2])), ("time", time)):
        index = table.column_names.index(name)
        table = table.set_column(index, table.schema.field(index), values)
    write_table(folder / "patches.parquet", table)
    return PatchStore.open(folder)


def markdown(frame: pd.DataFrame, proof: dict[str, tuple[int, int]]) -> str:
    """The audit for people."""
    metric = frame.columns[2]
    text = [
        f"| network | is told | {metric} (%) | change | decisions changed (%) | probability moved |",
        "|---|---|---|---|---|---|",
    ]
    for row in frame.to_dict("records"):
        figures = f"{row[metric]:.1f} | {row['change']:+.1f} | {row['changed_decisions']:.1f}"
        text.append(f"| {row['network']} | {row['told']} | {figures} | {row['mean_probability_change']:.3f} |")
    text += ["", "*Probability moved*: half the summed difference (one label), or the mean over classes (many).", ""]
    text.append("The files that the student's test writes, from a store whose places and times are")
    text += [f"- {name}: {equal} of {total} the same, byte for byte" for name, (total, equal) in proof.items()]
    return "\n".join(text) + "\n"
