"""What it was made of: the data card, settings, versions, and the commands that make it again."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from wherewhen.report.blocks import Block, Listing, Note, Section, Table
from wherewhen.report.runs import Run
from wherewhen.report.subject import Subject
from wherewhen.store import PatchStore
from wherewhen.tasks.samples import Masked, Samples

LABELS = {"one": "one class a patch", "many": "many classes a patch", "none": "none of whole patches"}
LEARNED = {
    "one": "the class of a patch",
    "many": "the classes of a patch",
    "mask": "the class of every pixel",
    "change": "what changed between two dates",
}


def data(subject: Subject) -> Section:
    """The data card; nothing without the store."""
    samples = subject.samples
    blocks = [] if samples is None else [card(samples), bands(samples.store), counts(samples)]
    return Section("data", "Data", blocks)


def card(samples: Samples) -> Table:
    """What the store says of itself."""
    store, header = samples.store, samples.store.header
    channels, height, width = store.shape
    place, time = store.table["geometry"].notna().mean(), store.table["time"].notna().mean()
    times = store.table["time"].dropna()
    period = f", {times.min():%Y-%m-%d} to {times.max():%Y-%m-%d}" if len(times) else ""
    rows = [
        ("patches", f"{len(store):,} of {height} × {width} pixels and {channels} bands, {header.dtype}"),
        ("pixel size", "unknown" if header.pixel_size is None else f"{header.pixel_size:g} m"),
        ("labels", LABELS[header.label_kind] + (", masks" if store.has_masks else "")),
        ("learned", LEARNED[samples.kind]),
        ("classes", ", ".join(samples.classes)),
        ("place known of", f"{place:.1%}"),
        ("time known of", f"{time:.1%}" + period),
        ("left out when prepared", f"{len(header.skipped):,}"),
        ("provenance", header.provenance or "unknown"),
        ("licence", header.licence or "unknown"),
        ("folder", str(store.path)),
    ]
    return Table("Data card", ("", "store"), rows, words=True)


def bands(store: PatchStore) -> Table:
    """Each band, with its statistics over the training split."""
    head = ("band", "wavelength (nm)", "unit", "scale", "offset", "mean", "deviation")
    rows = [
        (
            b.name,
            "–" if b.wavelength is None else f"{b.wavelength:g}",
            b.unit,
            *(f"{v:.4g}" for v in (b.scale, b.offset, m, s)),
        )
        for b, m, s in zip(store.bands, store.mean, store.std, strict=True)
    ]
    return Table("Bands, and their values over the training split", head, rows, folded=len(rows) > 6)


def counts(samples: Samples) -> Table:
    """Patches, or pixels, of each class in each split of the store."""
    split = pd.Series(samples.split).fillna("no split")
    names = [str(name) for name in split.unique()]
    each = present(samples)
    rows = [
        (name, *(f"{int(each[(split == part).to_numpy(), k].sum()):,}" for part in names), f"{int(each[:, k].sum()):,}")
        for k, name in enumerate(samples.classes)
    ]
    samples_row = ("samples", *(f"{int((split == part).sum()):,}" for part in names), f"{len(split):,}")
    what = "Pixels" if isinstance(samples, Masked) else "Patches"
    return Table(f"{what} by class in each split of the store", ("class", *names, "all"), [*rows, samples_row])


def present(samples: Samples) -> np.ndarray:
    """How often each class is in each sample, (N, K)."""
    every = np.arange(len(samples.ids))
    if isinstance(samples, Masked):
        return samples.counts(every)
    labels = samples.strata(every)
    there: np.ndarray = labels == 1 if labels.ndim == 2 else labels[:, None] == np.arange(len(samples.classes))
    return there


def making(subject: Subject, runs: Sequence[Path], store: Path | None, out: Path) -> Section:
    """Costs, versions, commands, and settings of every run."""
    blocks: list[Block] = [costs(subject.runs)]
    if any(run.json("environment.json") for run in subject.runs):
        blocks.append(versions(subject.runs))
    for run, folder in zip(subject.runs, runs, strict=True):
        blocks += commands(run, folder, store, out)
    blocks += [
        Listing(f"Configuration of {run.name}", text, folded=True)
        for run in subject.runs
        if (text := run.text("config.yaml"))
    ]  # fmt: skip
    return Section("making", "How it was made", blocks)


def costs(runs: Sequence[Run]) -> Table:
    """Labels, steps and time."""
    rows = {"labelled patches": [], "steps": [], "seconds of training": []}  # type: dict[str, list[str]]
    for run in runs:
        timing = run.json("timing.json")
        rows["labelled patches"].append("–" if run.labelled is None else f"{run.labelled:,}")
        rows["steps"].append(f"{timing['steps']:,}" if timing else "–")
        rows["seconds of training"].append(f"{timing['seconds']:,.0f}" if timing else "–")
    return Table("Labels and cost", ("", *(run.name for run in runs)), [(name, *row) for name, row in rows.items()])


def versions(runs: Sequence[Run]) -> Table:
    """Of every package, and the machine."""
    found = [flat(run.json("environment.json")) for run in runs]
    keys = list(dict.fromkeys(key for one in found for key in one))
    rows = [(key, *(one.get(key, "–") for one in found)) for key in keys]
    return Table("Versions and machine", ("", *(run.name for run in runs)), rows, folded=True)


def flat(environment: dict[str, object]) -> dict[str, str]:
    """`environment.json` as words, packages first, without the command."""
    packages = environment.get("packages")
    named = dict(packages) if isinstance(packages, dict) else {}
    rest = {key: value for key, value in environment.items() if key not in ("packages", "command")}
    return {
        key.replace("_", " "): ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for key, value in (named | rest).items()
        if value not in (None, [])
    }  # fmt: skip


def commands(run: Run, folder: Path, store: Path | None, out: Path) -> Iterator[Block]:
    """The commands that make the run and this page again; nothing of a run without a configuration."""
    if not run.config:
        yield Note(f"{run.name} has no config.yaml, so no command is known that makes it again.")
        return
    home = str(folder if run.home == run.folder else folder.parent)
    moved = [] if store is None else ["--data.store", str(store)]
    settings = ["--config", f"{home}/config.yaml", *moved, "--run", f"{home}-again"]
    words = [["fit", *settings], ["test", *settings], ["report", f"{home}-again", "--out", str(out)]]
    text = "\n".join(shlex.join(["wherewhen", *line]) for line in words)
    yield Listing(f"{run.name} again", text)
    if command := run.json("environment.json").get("command"):
        yield Listing(f"As {run.name} was started", command, folded=True)
