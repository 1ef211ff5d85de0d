"""Show that the reference tests of the algorithms notice when the code is wrong: `python -m tests.mutations`.

Each mutation is an edit of one line in a copy of the package. The tests that compare twenty steps with the paper must
fail under it, for one label and for many, whole and with a reload in the middle. Prints a table; exits with 1 where a
mutant survives, where it fails by a crash instead of by a wrong number, or where an edit no longer matches the code.
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
    """One line of a module of `wherewhen.semi`, and what it becomes."""

    module: str
    old: str
    new: str


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
        "half of each view": Edit("defixmatch", "supervised(strong, y)) / 2", "supervised(strong, y)) / 3"),
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


def copy_of_the_package(folder: Path, edit: Edit | None) -> None:
    """Package and tests in `folder`, with one line changed.

    Raises:
        ValueError: The line is not there exactly once.
    """
    rubbish = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src" / "wherewhen", folder / "wherewhen", ignore=rubbish)
    for part in ("semi", "reference"):
        shutil.copytree(ROOT / "tests" / part, folder / "tests" / part, ignore=rubbish)
    (folder / "tests" / "__init__.py").touch()
    if edit is not None:
        file = folder / "wherewhen" / "semi" / f"{edit.module}.py"
        code = file.read_text(encoding="utf-8")
        if (count := code.count(edit.old)) != 1:
            raise ValueError(f"{edit.old!r} is {count} times in {edit.module}.py; change the edit in {__file__}")
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
        tests = importlib.import_module("tests.semi.test_algorithms")
        assert Path(importlib.import_module("wherewhen").__file__ or "").is_relative_to(name)
        said = {}
        for case in tests.ALL:
            for saved_at in (None, 10) if case.name == algorithm else ():
                try:
                    tests.test_twenty_steps_of_drifting_logits_equal_the_paper(case, saved_at)
                    word = "passes"
                except AssertionError:
                    word = "fails"
                except Exception as error:  # a mutant may do anything
                    word = f"crashes ({type(error).__name__})"
                said[case.kind if saved_at is None else f"{case.kind}, reloaded"] = word
        return said


def main() -> int:
    """Print the table; 0 where every test fails under every mutation and passes without."""
    torch.set_num_threads(1)
    good = True
    columns = ("one", "one, reloaded", "many", "many, reloaded")
    print("| algorithm | mutation | " + " | ".join(columns) + " |\n|" + "---|" * (2 + len(columns)))
    for algorithm, mutations in MUTATIONS.items():
        for mutation, edit in {"none": None, **mutations}.items():
            said = verdicts(algorithm, edit)
            wanted = "passes" if edit is None else "fails"
            good &= bool(said) and set(said.values()) == {wanted}
            cells = [said.get(column, "–") for column in columns]
            print(f"| {algorithm} | {mutation} | " + " | ".join(cells) + " |", flush=True)
    print("Every mutant is caught by a wrong number." if good else "SOMETHING SURVIVES, OR CRASHES: see above.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
