"""`wherewhen demo`: supervised, FixMatch and FixMatch + ST-SSL on one label budget, compared on images alone."""

import argparse
import csv
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wherewhen.errors import UserError
from wherewhen.experiments.rows import TITLES
from wherewhen.files import read_json, write_json, write_text

METHODS = {name: TITLES[name] for name in ("supervised", "fixmatch", "stssl_fixmatch")}
WORLD_PATCHES, WORLD_SEED = 3000, 1


def main(argv: Sequence[str]) -> int:
    """Prepare, train, test, compare; whatever is already done is not done again."""
    args = parser().parse_args(argv)
    if (args.eurosat is None) != (args.locations is None):
        raise UserError("--eurosat and --locations belong together: the patches, and the table of their places")
    kind = "world" if args.eurosat is None else "eurosat"
    out = Path(args.out or f"runs/demo-{kind}")
    configs = config_folder() / ("world" if kind == "world" else "eurosat/cpu")
    began = time.monotonic()
    store = prepare(kind, args, out)
    rows = [train(method, seed, configs, store, out) for seed in args.seeds for method in METHODS]
    report(kind, rows, out)
    print(f"\n{time.monotonic() - began:.0f} s in all. Table and pictures: {out}")
    return 0


def parser() -> argparse.ArgumentParser:
    """What the verb takes."""
    p = argparse.ArgumentParser("wherewhen demo", description=__doc__)
    p.add_argument("--eurosat", metavar="ZIP", help="EuroSAT RGB zip or folder; without it the synthetic world is used")
    p.add_argument("--locations", metavar="CSV", help="table of EuroSAT's places: file,class_name,lat,lon")
    p.add_argument("--out", metavar="FOLDER", help="where stores, runs, table and pictures go")
    p.add_argument("--seeds", type=int, nargs="+", default=[0], help="one run of each method a seed (default: 0)")
    return p


def config_folder() -> Path:
    """The configurations: installed with the package, or beside the sources in a checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "configs", here.parents[1] / "configs"):
        if folder.is_dir():
            return folder
    raise UserError("the configurations are missing from this installation; install wherewhen again")


def prepare(kind: str, args: argparse.Namespace, out: Path) -> Path:
    """The store to train on."""
    from wherewhen import prepare as verb

    store = out / "store"
    if kind == "world":
        verb.main(["world", str(store), "--patches", str(WORLD_PATCHES), "--seed", str(WORLD_SEED)])
    else:
        verb.main(["eurosat", args.eurosat, str(store), "--locations", args.locations])
    return store


def train(method: str, seed: int, configs: Path, store: Path, out: Path) -> dict[str, Any]:
    """One run of one method: fit, then test; the row of the table."""
    from wherewhen.tasks import verbs

    run = out / f"{method}-seed{seed}"
    words = ["--config", str(configs / f"{method}.yaml"), "--data.store", str(store)]
    words += ["--run", str(run), "--seed", str(seed)]
    print(f"\n{METHODS[method]}, seed {seed}: {run}", flush=True)
    verbs.fit(words)  # whatever goes wrong is raised
    verbs.test(words)
    test = read_json(run / "test.json")
    return {
        "method": method,
        "seed": seed,
        "run": run.name,
        "labels": len((run / "labelled.csv").read_text(encoding="utf-8").splitlines()) - 1,
        "accepted": accepted(run / "metrics.csv"),
        "seconds": read_json(run / "timing.json")["seconds"],
        **{name: test[name] for name in ("images", "accuracy", "balanced_accuracy", "calibration_error")},
    }


def accepted(metrics: Path) -> float | None:
    """Share of pseudo-labels that were believed at the end of a run."""
    with metrics.open(encoding="utf-8") as file:
        shares = [float(row["value"]) for row in csv.DictReader(file) if row["name"] == "train/accepted"]
    return shares[-1] if shares else None


def report(kind: str, rows: Sequence[dict[str, Any]], out: Path) -> None:
    """Print the table; write it as Markdown and JSON, with a picture."""
    from wherewhen import plots

    text = table(kind, rows)
    print("\n" + text)
    write_text(out / "table.md", text + "\n")
    write_json(out / "results.json", list(rows))
    plots.comparison(rows, METHODS, out, out / "comparison.png")
    plots.examples(out / "store", out / rows[-1]["run"], out / "examples.png")


def table(kind: str, rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: a line a method, means over seeds."""
    title = {
        "world": "Synthetic world (procedural, not real imagery)",
        "eurosat": "EuroSAT RGB, split of the literature",
    }[kind]
    seeds = sorted({row["seed"] for row in rows})
    first = rows[0]
    lines = [
        f"{title}: {first['images']} test images, {first['labels']} labels, seed {', '.join(map(str, seeds))}.",
        "",
        "| method | accuracy (%) | balanced (%) | calibration error | pseudo-labels accepted | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for method, name in METHODS.items():
        of = [row for row in rows if row["method"] == method]
        share, seconds = mean(of, "accepted"), mean(of, "seconds")
        cells = (
            name,
            spread(of, "accuracy"),
            spread(of, "balanced_accuracy"),
            f"{mean(of, 'calibration_error'):.3f}",
            "" if share is None else f"{100 * share:.0f} %",
            "" if seconds is None else f"{seconds:.0f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def mean(rows: Sequence[dict[str, Any]], key: str) -> float | None:
    """Mean of a column, None where a row lacks it."""
    values = [row[key] for row in rows]
    return None if None in values else sum(values) / len(values)


def spread(rows: Sequence[dict[str, Any]], key: str) -> str:
    """Mean, and deviation over seeds where there are several."""
    values = [row[key] for row in rows]
    centre = sum(values) / len(values)
    if len(values) == 1:
        return f"{centre:.1f}"
    deviation = (sum((v - centre) ** 2 for v in values) / (len(values) - 1)) ** 0.5
    return f"{centre:.1f} ± {deviation:.1f}"
