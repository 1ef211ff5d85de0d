"""The paper's tables as commands; the cells run in this process."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.experiments.test_leaderboard import in_this_process
from tests.tasks.conftest import make_store, settings, write_config
from wherewhen.cli import main
from wherewhen.errors import UserError
from wherewhen.experiments import ablations, jobs
from wherewhen.experiments.cells import budget_title, budget_words
from wherewhen.experiments.plan import stretched
from wherewhen.experiments.report import Row, published
from wherewhen.experiments.trained import unseen_days


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "run", in_this_process)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A store of many labels."""
    labels = (np.random.default_rng(0).random((60, 3)) < 0.4).astype(np.int64)
    labels[:, 0] |= labels.sum(1) == 0
    return make_store(tmp_path / "many", labels=labels).path


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """Supervised, FixMatch and ST-SSL."""
    folder = tmp_path / "configs"
    folder.mkdir()
    config = settings(Path("given by the experiment"))
    config["data"] |= {"labels_per_class": None, "label_share": 0.3}
    write_config(folder / "stssl_fixmatch.yaml", config)
    del config["model"]["teacher"]
    write_config(folder / "fixmatch.yaml", config)
    del config["model"]["algorithm"]
    write_config(folder / "supervised.yaml", config)
    return folder


def experiment(name: str, store: Path, configs: Path, out: Path, *words: str) -> int:
    call = ["--store", str(store), "--configs", str(configs), "--device", "cpu", "--steps", "3", "--out", str(out)]
    return main(["experiment", name, *call, *words])


def results(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_algorithms_are_compared_on_many_labels_beside_the_paper(many: Path, configs: Path, tmp_path: Path) -> None:
    words = ("--labels", "0.01", "0.5", "--seeds", "1", "2")
    assert experiment("algorithms", many, configs, tmp_path / "out", *words) == 0
    text = (tmp_path / "out" / "algorithms.md").read_text(encoding="utf-8")
    assert "| method | mAP macro (%) | paper | mAP micro (%) |" in text
    one_percent = text.partition("### 1 % of the labels")[2].partition("### 50 %")[0]
    assert one_percent.count("| 46.1 |") == one_percent.count("| 42.6 |") == 1
    assert "46.1" not in text.partition("### 50 % of the labels")[2]
    assert "| FixMatch + ST-SSL (student) − FixMatch |" in text
    assert "| FixMatch − supervised |" in text
    lines = results(tmp_path / "out" / "algorithms.csv")
    assert len(lines) == 2 * 2 * 3
    assert {line["steps"] for line in lines} == {"3"}
    assert (tmp_path / "out" / "algorithms.png").exists()


def test_ablations_change_one_thing_each(store: Path, configs: Path, tmp_path: Path) -> None:
    words = ("--labels", "2", "--seeds", "1", "--rows", "a", "e", "f", "spherical")
    assert experiment("ablations", store, configs, tmp_path / "out", *words) == 0
    text = (tmp_path / "out" / "ablations.md").read_text(encoding="utf-8")
    assert "| (f) without distillation − (a) ST-SSL, MSE distillation, λ_D = 1 |" in text
    flops = {line["row"]: float(line["flops"]) for line in results(tmp_path / "out" / "ablations.csv")}
    assert flops["f"] < flops["a"] < flops["spherical"]


def test_every_ablation_is_a_setting_of_the_teacher(store: Path, configs: Path) -> None:
    from wherewhen.tasks.verbs import Cli

    base = ("--config", str(configs / "stssl_fixmatch.yaml"), "--data.store", str(store))
    seen = [Cli([*base, *row.words]).model.teacher for row in ablations.rows_of(configs / "stssl_fixmatch.yaml")]
    assert seen[0].distill_weight == 1
    changed = [teacher for teacher in seen if teacher != seen[0]]
    assert len(changed) == len(seen) - 3  # (a) itself; the test's configuration is raw and without dropout


def test_budgets_become_curves(store: Path, configs: Path, tmp_path: Path) -> None:
    words = ("--labels", "1", "2", "3", "--seeds", "1", "--rows", "supervised", "fixmatch")
    assert experiment("budgets", store, configs, tmp_path / "out", *words) == 0
    text = (tmp_path / "out" / "budgets.md").read_text(encoding="utf-8")
    assert "| supervised |" in text
    assert "| 57.6 |" in text.partition("### 1 label a class")[2].partition("###")[0]
    assert (tmp_path / "out" / "budgets.png").exists()
    assert main(["experiment", "ablations", "--report-only", "--out", str(tmp_path / "out")]) == 2


def test_a_region_is_a_split_of_its_own(store: Path, configs: Path, tmp_path: Path) -> None:
    words = ("--splits", "region", "--region", "40", "0", "60", "10", "--labels", "1", "--seeds", "1")
    assert experiment("budgets", store, configs, tmp_path / "out", *words, "--rows", "supervised") == 0
    assert "## Test in the region [40.0, 0.0, 60.0, 10.0]" in (tmp_path / "out" / "budgets.md").read_text("utf-8")


def test_shift_asks_one_training_many_things(store: Path, configs: Path, tmp_path: Path) -> None:
    words = ("--labels", "2", "--seeds", "1", "2", "--region", "40", "0", "60", "10")
    assert experiment("shift", store, configs, tmp_path / "out", *words) == 0
    text = (tmp_path / "out" / "shift.md").read_text(encoding="utf-8")
    assert "The student told of far places and days: 12 of 12 files are the same, byte for byte." in text
    for section in text.split("## Test in the region"):
        assert section.count("| teacher, five places far away |") == 1
    lines = [
        line for line in results(tmp_path / "out" / "shift.csv") if line["split"] == "store" and line["seed"] == "1"
    ]
    by_row = {line["row"]: line for line in lines}
    assert len(by_row) == 14
    assert (
        len({by_row[f"teacher-place-{i}"]["cross_entropy"] for i in range(5)} | {by_row["teacher"]["cross_entropy"]})
        == 6
    )
    days = [int(by_row[f"teacher-day-{i}"]["day"]) for i in range(5)]
    assert len(set(days)) == 5
    assert all(1 <= day <= 365 for day in days)


def test_unusual_days_are_far_from_all_others_round_the_year() -> None:
    seen = np.r_[np.linspace(0.2, 0.9, 200), np.nan]
    first, *others = unseen_days(seen, 3)
    assert first in (19, 20)  # the middle of the gap from 0.9 over New Year to 0.2
    assert all(abs(day - first) > 20 for day in others)
    with pytest.raises(UserError, match="no training patch has a time"):
        unseen_days(np.array([np.nan]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--labels", "1.5"), "neither a number of labels a class nor a share"),
        (("--steps", "0"), "--steps is 0"),
        (("--splits", "region", "--region", "0", "0", "1", "1"), "none of the 60 patches"),
        (("--splits", "region"), "none of the 60 patches"),  # west of 5° W, where the store has none
        (("--rows", "nothing"), "no row 'nothing'"),
        (("--configs", "nowhere"), "is missing, and the experiment needs it"),
    ],
)
def test_mistakes_are_named(
    store: Path, configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    try:
        code: Any = experiment("budgets", store, configs, tmp_path / "out", *words)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_longer_training_stretches_all_that_counts_steps() -> None:
    config = {
        "model": {"ema_momentum": 0.99, "lr_warmup_steps": 40, "warmup_steps": 0, "algorithm": {"start": 100}},
        "trainer": {"max_steps": 1000, "val_check_interval": 250},
    }
    words = stretched(config, 200)
    assert dict(zip(words[::2], words[1::2], strict=True)) == {
        "--trainer.max_steps": "200",
        "--trainer.val_check_interval": "50",
        "--model.lr_warmup_steps": "8",
        "--model.warmup_steps": "0",
        "--model.algorithm.start": "20",
        "--model.ema_momentum": "0.95",
    }
    assert stretched({}, 200) == ["--trainer.max_steps", "200"]  # where nothing says how long it usually is


@pytest.mark.parametrize(
    ("labels", "title", "words"),
    [
        (1.0, "1 label a class", ["1", "null"]),
        (4.0, "4 labels a class", ["4", "null"]),
        (0.005, "0.5 % of the labels", ["null", "0.005"]),
    ],
)
def test_label_budgets(labels: float, title: str, words: list[str]) -> None:
    assert budget_title(labels) == title
    assert budget_words(labels)[1::2] == words


def test_the_papers_figures_stand_beside_their_own_kind_alone() -> None:
    row = Row("fixmatch", "FixMatch", "trained", False, "", "", (), [("store", 0.01, 42.6), ("store", 4, 94.2)])
    assert published(row, "many", "store", 0.01) == 42.6
    assert published(row, "one", "store", 4) == 94.2
    for kind, split, labels in (("mask", "store", 0.01), ("one", "store", 0.01), ("many", "region", 0.01)):
        assert np.isnan(published(row, kind, split, labels))
