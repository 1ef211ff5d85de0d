"""Where the time of a step goes: flame graphs of the plain step and of ours, on one scale of milliseconds.

Each contestant of `steps.py` trains alone in a process, and py-spy looks at its stack 200 times a second. A bar's width
is the time under a function, which lies above whatever it called. Frames are Python's: the time of a kernel is that of
the function which called it. Needs py-spy, and the right to look into a process. Run:

    pip install py-spy
    python benchmarks/flame.py OUT.png [--method FixMatch] [--case small] [--threads 1] [--seconds 30]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from steps import BASELINE, CASES, METHODS, OURS, Baseline, TorchvisionBatches, build, make_store

RATE = 200  # looks a second
DEEPEST = 8  # rows that are drawn
WRAPPERS = ("_wrapped_call_impl", "_call_impl", "_use_grad", "no_grad", "wrapper", "decorate_context", "optimizer_step")
MORE = ("backward", "_engine_run_backward", "_next_data", "_MapDatasetFetcher.fetch")  # under one of the same meaning
FILLS = {"wherewhen": "#4c78a8", "benchmarks": "#e45756", "torch": "#f2cf5b", "other": "#bab0ac"}
READY = "ready"


class Bar(NamedTuple):
    """A function on the stack."""

    name: str
    owner: str  # a key of FILLS
    depth: int
    start: float  # share of the step
    width: float


# -- the process that is looked at ----------------------------------------------------------


def train(who: str, arguments: argparse.Namespace) -> None:
    """Steps until the time is over; says when it begins, and how many there were."""
    torch.set_num_threads(arguments.threads)
    case, device = CASES[arguments.case], torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        ours = build(METHODS[arguments.method], case, make_store(Path(folder), case.size), device)
        step = ours.step if who == OURS else Baseline(ours, TorchvisionBatches(ours, case, "uint8"), 0).step
        steps_in(step, 3)
        print(READY, flush=True)
        print(steps_in(step, arguments.seconds + 3), flush=True)


def steps_in(step: Callable[[], object], seconds: float) -> float:
    """Steps a second."""
    count, begin = 0, time.perf_counter()
    while time.perf_counter() < begin + seconds:
        step()
        count += 1
    return count / (time.perf_counter() - begin)


# -- looking at it --------------------------------------------------------------------------


def looked_at(who: str, arguments: argparse.Namespace, folder: Path) -> tuple[float, list[str]]:
    """Milliseconds a step, and the stacks, "a;b;c 17" a line."""
    stacks = folder / f"{who}.txt"
    words = [
        "--alone",
        who,
        "--method",
        arguments.method,
        "--case",
        arguments.case,
        "--threads",
        str(arguments.threads),
    ]
    command = [sys.executable, __file__, "none", *words, "--seconds", str(arguments.seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if process.stdout.readline().strip() != READY:
            raise SystemExit(f"{who} did not begin")
        spy = ["py-spy", "record", "--pid", str(process.pid), "--rate", str(RATE), "--function", "--format", "raw"]
        spy += ["--duration", str(arguments.seconds), "--output", str(stacks)]
        subprocess.run(spy, check=True, capture_output=True)
        rate = float(process.stdout.readline())
    return 1e3 / rate, stacks.read_text(encoding="utf-8").splitlines()


def bars(stacks: list[str]) -> Iterator[Bar]:
    """Functions under `steps_in`, each beside those that were called from the same place, largest first."""
    counts: dict[tuple[tuple[str, str], ...], int] = defaultdict(int)
    for line in stacks:
        frames, _, count = line.rpartition(" ")
        names = [named(frame) for frame in frames.split(";")]
        below = [i for i, (name, _) in enumerate(names) if name == "steps_in"]
        if below:
            counts[tuple(frame for frame in names[below[0] + 1 :] if not wraps(*frame))] += int(count)
    total = sum(counts.values())
    yield from children(counts, (), 0.0, total)


def children(
    counts: dict[tuple[tuple[str, str], ...], int], path: tuple[tuple[str, str], ...], start: float, total: int
) -> Iterator[Bar]:
    """The functions that the last of a path called, and theirs."""
    depth = len(path)
    found: dict[tuple[str, str], int] = defaultdict(int)
    for stack, count in counts.items():
        if stack[:depth] == path and len(stack) > depth:
            found[stack[depth]] += count
    if depth < DEEPEST:
        for frame, count in sorted(found.items(), key=lambda item: -item[1]):
            yield Bar(*frame, depth, start / total, count / total)
            yield from children(counts, (*path, frame), start, total)
            start += count


def wraps(name: str, owner: str) -> bool:
    """Whether the function only calls another."""
    return owner != "wherewhen" and (name in MORE or name.rpartition(".")[2] in WRAPPERS)


def named(frame: str) -> tuple[str, str]:
    """Name and owner of "ViT.forward (wherewhen/encoders/vit.py:159)"."""
    name, _, place = frame.rpartition(" (")
    owner = "benchmarks" if "/" not in place else place.partition("/")[0]
    return name.rpartition(">.")[2], owner if owner in FILLS else "other"


# -- the picture ----------------------------------------------------------------------------


def draw(axes: Axes, title: str, milliseconds: float, found: list[Bar], longest: float) -> None:
    """One flame graph, hanging."""
    for bar in found:
        width = bar.width * milliseconds
        axes.barh(
            bar.depth, width, 0.94, bar.start * milliseconds, color=FILLS[bar.owner], edgecolor="white", linewidth=0.4
        )
        letters = int(width / longest * 175)
        if letters >= 4:
            short = bar.name if len(bar.name) <= letters else bar.name.rpartition(".")[2][:letters]
            colour, middle = (
                "white" if bar.owner == "wherewhen" else "black",
                (bar.start + bar.width / 2) * milliseconds,
            )
            axes.text(middle, bar.depth, short, ha="center", va="center", fontsize=6, color=colour)
    axes.set(xlim=(0, longest), ylim=(DEEPEST - 0.4, -0.6), yticks=[])
    axes.set_title(f"{title}: {milliseconds:.0f} ms a step", loc="left", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)


def main() -> None:
    """Look at both, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--case", choices=CASES, default="small")
    parser.add_argument("--method", choices=METHODS, default="FixMatch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--alone", choices=(OURS, BASELINE), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        return train(arguments.alone, arguments)
    with tempfile.TemporaryDirectory() as folder:
        found = {who: looked_at(who, arguments, Path(folder)) for who in (BASELINE, OURS)}
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    longest = max(milliseconds for milliseconds, _ in found.values())
    for axes, (who, (milliseconds, stacks)) in zip(figure.subplots(2, sharex=True), found.items(), strict=True):
        draw(axes, f"{arguments.method}, {who}", milliseconds, list(bars(stacks)), longest)
    told = "milliseconds of a step, by function; blue wherewhen, red benchmarks/, yellow torch, grey others"
    axes.set_xlabel(told, fontsize=8)
    figure.savefig(arguments.out, dpi=130)
    return None


if __name__ == "__main__":
    main()
