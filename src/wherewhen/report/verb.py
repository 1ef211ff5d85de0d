"""`wherewhen report RUN …`: finished runs as one page that a browser opens without network."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wherewhen.errors import UserError

if TYPE_CHECKING:
    from wherewhen.report.subject import Subject

LARGEST = 8_000_000  # bytes of a page that is easily passed on


def main(argv: Sequence[str]) -> int:
    """Run `wherewhen report`.

    Raises:
        UserError: A folder holds no tested run, the runs cannot stand side by side, or a library is missing.
    """
    args = parser().parse_args(argv)
    check()
    from wherewhen.files import write_text

    for folder in args.runs:
        if is_to_be_tested(folder):
            test(folder, args.store)
    text = written(args.runs, args.store, args.experiment, args.out)
    write_text(args.out, text)
    size = len(text.encode())
    print(f"{args.out}: {size / 1e6:.1f} MB" + (", large: give fewer runs" if size > LARGEST else ""))
    return 0


def parser() -> argparse.ArgumentParser:
    """What the verb takes."""
    p = argparse.ArgumentParser("wherewhen report", description=__doc__)
    p.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of tested runs, on the same test patches")
    p.add_argument("--out", type=Path, default=Path("report.html"), metavar="FILE", help="(default report.html)")
    p.add_argument("--store", type=Path, metavar="S", help="their store, where it does not lie where it did")
    p.add_argument(
        "--experiment", type=Path, metavar="FOLDER", help="of `wherewhen experiment`: adds its tables and curves"
    )
    return p


def check() -> None:
    """Look for the libraries before long work.

    Raises:
        UserError: One is missing.
    """
    try:
        import altair  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise UserError("a report needs the extra `report`: `pip install 'wherewhen[report]'`") from error


def is_to_be_tested(folder: Path) -> bool:
    """Whether a run was trained, but never tested."""
    return (folder / "checkpoints" / "last.ckpt").is_file() and not (folder / "test.json").exists()


def test(run: Path, store: Path | None) -> None:
    """What `wherewhen test` does."""
    from wherewhen.tasks import verbs

    print(f"{run} was not tested yet; its test split is looked at now, as by `wherewhen test --run {run}`")
    verbs.test(["--run", str(run), *(["--data.store", str(store)] if store else [])])


def written(folders: Sequence[Path], store: Path | None, experiment: Path | None, out: Path) -> str:
    """The page."""
    from wherewhen.report import budgets, calibration, classes, extremes, facts, knowledge, places, result, training
    from wherewhen.report.page import page
    from wherewhen.report.points import points
    from wherewhen.report.runs import read_all
    from wherewhen.report.subject import subject

    runs, beside = read_all(folders)
    of = subject(runs, beside, store)
    trial = budgets.section(of, experiment)
    shown = points(of)
    sections = [
        result.section(of),
        classes.section(of),
        calibration.section(of),
        places.section(of, shown),
        extremes.section(of),
        training.section(of),
        knowledge.section(of),
        trial,
        facts.data(of),
        facts.making(of, folders, store, out),
    ]
    what = {"one": "one class a patch", "many": "many classes a patch", "mask": "classes of pixels", "change": "change"}
    name = "" if of.samples is None else f"{of.samples.store.path.name}, "
    subtitle = f"{name}{what[of.first.kind]}, {of.first.test['images']:,} test images"
    title = ", ".join(run.name for run in runs)
    return page(title, subtitle, sections, shown, list(absent(of)))


def absent(of: "Subject") -> Iterator[str]:
    """What the page lacks, and how to come by it."""
    if of.samples is None:
        yield "Pictures, maps and the data card: the runs' store is not where it was; give it by --store."
    if of.dense:
        yield "A reliability diagram: probabilities of pixels are not kept."
    for run, said in zip(of.runs, of.answers, strict=True):
        if said is None and of.samples is not None:
            yield f"Errors of {run.name}: it kept no maps; a test of more than 200 MB keeps none."
        teacher = (run.config.get("model") or {}).get("teacher")
        for name, what in (("prior_places.csv", "prior"), ("metadata.csv", "metadata")):
            if teacher and not of.dense and not (run.home / name).is_file():
                yield f"What is told of {run.name} by: wherewhen analyse {what} --run {run.home}"
