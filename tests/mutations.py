"""Show that the reference tests of the algorithms notice when the code is wrong: `python -m tests.mutations`.

Each mutation is an edit of one line in a copy of the package. The tests that compare many steps with the paper must
fail under it, whole and with a reload in the middle, semi-supervised ones for one label and for many. Prints a table;
exits with 1 where a mutant survives, where it fails by a crash instead of by a wrong number, or where an edit no longer
matches the code.
"""

import importlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

ROOT = Path(__file__).parents[1]


class Edit(NamedTuple):
    """One line of a module, and what it becomes."""

    module: str
    old: str
    new: str
    room: str = "semi"

    @property
    def file(self) -> str:
        """Of the module, in the package."""
        return f"{self.room}/{self.module}.py"


SIDE = Edit("algorithm", "confidence >= needed", "confidence < needed")
MASKED = Edit(
    "algorithm",
    "return (pseudo.weights * nll(logits, pseudo.targets)).mean()",
    "return weighted_mean(nll(logits, pseudo.targets), pseudo.weights)",
)
AXIS = Edit("algorithm", "likeliest(logits.softmax(-1))", "likeliest(logits.softmax(0))")
MOMENTUM = Edit("state", "lerp(batch, 1 - self.momentum)", "lerp(batch, self.momentum)")

# Where an algorithm remembers no average, something else of its own takes the place of the momentum.
MUTATIONS: dict[str, dict[str, Edit]] = {
    "fixmatch": {
        "sign": Edit("algorithm", "return F.nll_loss(", "return -F.nll_loss("),
        "axis": AXIS,
        "another outcome's threshold": Edit(
            "algorithm", "gather(-1, outcome[..., None])", "roll(1, -1).gather(-1, outcome[..., None])"
        ),
        "side of the threshold": SIDE,
        "masked counted as absent": MASKED,
    },
    "udal": {
        "sign": Edit("udal", "(seen / goal).log()", "(goal / seen).log()"),
        "axis": Edit("udal", "view.softmax(-1)", "view.softmax(0)"),
        "momentum": MOMENTUM,
        "side of the threshold": SIDE,
        "masked counted as absent": MASKED,
    },
    "softmatch": {
        "sign": Edit("softmatch", "torch.exp(-(shortfall**2)", "torch.exp((shortfall**2)"),
        "axis": Edit("softmatch", 'out.need("weak").softmax(-1)', 'out.need("weak").softmax(0)'),
        "momentum": MOMENTUM,
        "side of the threshold": Edit("softmatch", ".clamp(max=0)", ".clamp(min=0)"),
        "masked counted as absent": MASKED,
    },
    "freematch": {
        "sign": Edit("freematch", "term = self.fairness", "term = -self.fairness"),
        "axis": Edit("freematch", "p = weak.softmax(-1)", "p = weak.softmax(0)"),
        "momentum": MOMENTUM,
        "side of the threshold": SIDE,
        "masked counted as absent": MASKED,
    },
    "defixmatch": {
        "sign": Edit("defixmatch", "pseudo) - unlabelled(", "pseudo) + unlabelled("),
        "axis": AXIS,
        "half of each view": Edit(
            "defixmatch", "supervised(strong, strong_y)) / 2", "supervised(strong, strong_y)) / 3"
        ),
        "side of the threshold": SIDE,
        "masked counted as absent": MASKED,
    },
    "cap": {
        "sign": Edit("cap", "return -focus * log_p", "return focus * log_p"),
        "axis": Edit("cap", 'out.need("weak").softmax(-1)', 'out.need("weak").softmax(0)'),
        "memory": Edit("state", "self.pushed += good * len(batch)", "self.pushed += good"),
        "side of the threshold": Edit("cap", "p >= cut", "p < cut"),
        "masked counted as zero": Edit(
            "cap",
            'weighted_mean(self.asymmetric(out.need("strong"), pseudo.targets), pseudo.weights)',
            '(self.asymmetric(out.need("strong"), pseudo.targets) * pseudo.weights).mean()',
        ),
    },
    "cdmad": {
        "sign": Edit("cdmad", "logits - blank", "logits + blank"),
        "axis": Edit("cdmad", "debiased.softmax(-1)", "debiased.softmax(0)"),
        "start a step late": Edit(
            "cdmad", "step >= self.start)\n        debiased", "step > self.start)\n        debiased"
        ),
        "side of the threshold": SIDE,
        "masked counted as absent": MASKED,
    },
}


def contrast(module: str, old: str, new: str) -> Edit:
    """An edit in `wherewhen.contrast`."""
    return Edit(module, old, new, "contrast")


FOLLOWS = contrast("momentum", "key), 1 - self.momentum)", "key), self.momentum)")
OLDEST = contrast("queue", "slots = (self.next + ", "slots = (self.next - count + ")
UNNORMALISED = contrast("losses", "F.normalize(x.float(), dim=-1)", "x.float()")
INFO_SIGN = contrast("losses", "logits.logsumexp(1) - logits[:, 0]", "logits.logsumexp(1) + logits[:, 0]")
INFO_AXIS = contrast("losses", "apart = q @ negatives.T", "apart = (q @ negatives.T).flip(0)")

CONTRAST: dict[str, dict[str, Edit]] = {
    "moco": {
        "sign": INFO_SIGN,
        "axis": INFO_AXIS,
        "momentum": FOLLOWS,
        "newest key leaves": OLDEST,
        "not normalised": UNNORMALISED,
    },
    "sa_moco": {
        "sign": contrast("losses", "(each - unit(each.mean", "(each + unit(each.mean"),
        "axis": contrast("losses", "unit(each.mean(1, keepdim=True))", "unit(each.mean(0, keepdim=True))"),
        "momentum": FOLLOWS,
        "newest key leaves": OLDEST,
        "lengths agree too": contrast("losses", "    each = unit(each)\n", ""),
    },
    "seco": {
        "sign": INFO_SIGN,
        "heads of another space": contrast(
            "momentum", "q = unit(head(features))", "q = unit(heads_of(self.query)[0](features))"
        ),
        "momentum": FOLLOWS,
        "queue of another space": contrast("momentum", "self.queue.keys[s, period]", "self.queue.keys[0, period]"),
        "no negatives in the batch": contrast("momentum", "for view in self.spaces[s].negatives]", "for view in ()]"),
    },
    "caco": {
        "sign": contrast("change", "= changed[period::2]", "= ~changed[period::2]"),
        "axis": contrast(
            "momentum", "unflatten(1, (-1, self.periods)).transpose(1, 2)", "unflatten(1, (self.periods, -1))"
        ),
        "momentum": FOLLOWS,
        "the other period's queue": contrast("change", "self.queue.keys[s, period]", "self.queue.keys[s, 1 - period]"),
        "its own period as the other": contrast("change", "[1 - period :: 2]", "[period::2]"),
    },
    "saco": {
        "sign": INFO_SIGN,
        "axis": INFO_AXIS,
        "momentum": FOLLOWS,
        "the other positive fills the queue": contrast(
            "momentum", "z[space.positives[0]][s]", "z[space.positives[-1]][s]"
        ),
        "one positive": contrast("momentum", "for view in space.positives]", "for view in space.positives[:1]]"),
    },
}


def copy_of_the_package(folder: Path, edit: Edit | None) -> None:
    """Package and tests in `folder`, with one line changed.

    Raises:
        ValueError: The line is not there exactly once.
    """
    rubbish = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src" / "wherewhen", folder / "wherewhen", ignore=rubbish)
    for part in ("semi", "contrast", "reference"):
        shutil.copytree(ROOT / "tests" / part, folder / "tests" / part, ignore=rubbish)
    (folder / "tests" / "__init__.py").touch()
    if edit is not None:
        file = folder / "wherewhen" / edit.file
        code = file.read_text(encoding="utf-8")
        if (count := code.count(edit.old)) != 1:
            raise ValueError(f"{edit.old!r} is {count} times in {edit.file}; change the edit in {__file__}")
        file.write_text(code.replace(edit.old, edit.new), encoding="utf-8")


@contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """Modules of package and tests come from `folder` meanwhile, and are forgotten before and after."""

    def forget() -> None:
        for name in [n for n in sys.modules if n.split(".")[0] in ("wherewhen", "tests")]:
            del sys.modules[name]
        importlib.invalidate_caches()

    forget()
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        forget()


def verdicts(algorithm: str, edit: Edit | None) -> dict[str, str]:
    """What each reference test of the algorithm says of the mutant: "passes", "fails" or the crash."""
    with tempfile.TemporaryDirectory() as name, importing_from(Path(name)):
        copy_of_the_package(Path(name), edit)
        if algorithm in MUTATIONS:
            tests = importlib.import_module("tests.semi.test_algorithms")
            cases, test, middle = tests.ALL, tests.test_twenty_steps_of_drifting_logits_equal_the_paper, 10
        else:
            tests = importlib.import_module("tests.contrast.test_methods")
            cases, test, middle = tests.CASES, tests.test_steps_of_training_equal_the_papers, 4
        assert Path(importlib.import_module("wherewhen").__file__ or "").is_relative_to(name)
        said = {}
        for case in cases:
            for saved_at in (None, middle) if case.name == algorithm else ():
                try:
                    test(case, saved_at)
                    word = "passes"
                except AssertionError:
                    word = "fails"
                except Exception as error:  # a mutant may do anything
                    word = f"crashes ({type(error).__name__})"
                kind = getattr(case, "kind", "whole")
                said[kind if saved_at is None else f"{kind}, reloaded"] = word
        return said


def table(mutations_of: dict[str, dict[str, Edit]], columns: tuple[str, ...]) -> bool:
    """Print what the tests say; whether every one fails under every mutation and passes without."""
    good = True
    print("| algorithm | mutation | " + " | ".join(columns) + " |\n|" + "---|" * (2 + len(columns)))
    for algorithm, mutations in mutations_of.items():
        for mutation, edit in {"none": None, **mutations}.items():
            said = verdicts(algorithm, edit)
            wanted = "passes" if edit is None else "fails"
            good &= bool(said) and set(said.values()) == {wanted}
            cells = [said.get(column, "–") for column in columns]
            print(f"| {algorithm} | {mutation} | " + " | ".join(cells) + " |", flush=True)
    print()
    return good


def main() -> int:
    """Print the tables; 0 where every test fails under every mutation and passes without."""
    torch.set_num_threads(1)
    good = table(MUTATIONS, ("one", "one, reloaded", "many", "many, reloaded"))
    good &= table(CONTRAST, ("whole", "whole, reloaded"))
    print("Every mutant is caught by a wrong number." if good else "SOMETHING SURVIVES, OR CRASHES: see above.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
