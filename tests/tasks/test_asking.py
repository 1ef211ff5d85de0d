"""Student and teacher of a run, told true and false places and times."""

import contextlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tasks.conftest import make_store, settings, write_config
from wherewhen.cli import main
from wherewhen.files import read_json
from wherewhen.tasks.asking import ask
from wherewhen.tasks.elsewhere import replaced
from wherewhen.tasks.verbs import Cli

FILES = ("test.json", "test_predictions.csv", "test_classes.csv", "confusion.csv", "confusion.png")


def words(folder: Path, **changes: Any) -> list[str]:
    config = settings(folder / "store", **changes)
    config["trainer"] |= {"max_steps": 4, "val_check_interval": 4}
    return ["--config", str(write_config(folder / "config.yaml", config)), "--run", str(folder / "run")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """A finished training, tested as usual; its command line and its run."""
    folder = tmp_path_factory.mktemp("trained")
    make_store(folder / "store")
    command = words(folder)
    assert main(["fit", *command]) == 0
    assert main(["test", *command]) == 0
    return command, folder / "run"


@pytest.mark.parametrize("told", [["--where", "far"], ["--where=-33.9,151.2", "--when", "200"], ["--where", "hidden"]])
def test_nothing_that_the_student_is_told_changes_a_byte(trained: tuple[list[str], Path], told: list[str]) -> None:
    command, run = trained
    assert main(["test", *command, *told]) == 0
    name = {"far": "student-far", "hidden": "student-hidden"}.get(told[-1], "student--33.9,151.2-day200")
    for file in FILES:
        assert (run / name / file).read_bytes() == (run / file).read_bytes()


def test_the_teacher_listens(trained: tuple[list[str], Path]) -> None:
    command, run = trained
    before = {file: (run / file).read_bytes() for file in FILES}
    for told in ("--where=true", "--where=far", "--where=permuted", "--where=hidden", "--where=70,-50", "--when=10"):
        assert main(["test", *command, "--network", "teacher", told]) == 0
    folders = ("teacher", "teacher-far", "teacher-permuted", "teacher-hidden", "teacher-70,-50", "teacher-day10")
    answers = [(run / folder / "test_predictions.csv").read_bytes() for folder in folders]
    assert len({*answers, before["test_predictions.csv"]}) == 7
    for file in FILES:
        assert (run / "teacher" / file).exists()
        assert (run / file).read_bytes() == before[file]  # the run's own result is the student's


def test_the_teacher_gets_what_it_is_told_and_its_average_answers(trained: tuple[list[str], Path]) -> None:
    cli = Cli(trained[0], training=False)
    task, data = cli.trained(), cli.datamodule
    batches, where = data.test_dataloader(), data.where(data.test_rows)
    told = replaced(where, "far")
    p, y = ask(task, batches, "teacher", told).all()
    objective: Any = task.objective
    images = task.scale(task.scale.unit(batches.pixels(np.arange(len(y)))))
    with torch.no_grad():
        theirs = objective.ema(images, torch.from_numpy(told).float()).logits.softmax(-1)
        alone = objective.ema(images, None).logits.softmax(-1)
    torch.testing.assert_close(p, theirs)
    torch.testing.assert_close(ask(task, batches, "teacher", replaced(where, "hidden")).all()[0], alone)
    assert y.tolist() == data.labels[data.test_rows].tolist()
    assert not torch.equal(ask(task, batches, "teacher", where).all()[0], p)


def test_the_example_of_the_docs(trained: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.S)
    (trained[1].parent / "runs").mkdir()
    (trained[1].parent / "runs" / "first").symlink_to(trained[1])
    with contextlib.chdir(trained[1].parent):
        exec(example, {})
    assert capsys.readouterr().out.count("'balanced_accuracy'") == 2


def test_a_teacher_that_knows_what_unknown_means_is_asked_so(tmp_path: Path) -> None:
    time = np.full(60, np.datetime64("2020-06-01T10:00", "ns"))
    time[::7] = np.datetime64("NaT", "ns")
    make_store(tmp_path / "store", time=time)
    teacher = {"metadata": ["place", "time"], "metadata_dropout": 0.3, "distill_weight": 0.5}
    command = words(tmp_path, teacher=teacher)
    assert main(["fit", *command]) == 0
    cli = Cli(command, training=False)
    task, data = cli.trained(), cli.datamodule
    where, batches = data.where(data.test_rows), data.test_dataloader()
    assert np.isnan(where).any()
    assert ask(task, batches, "teacher", where).all()[0].isfinite().all()
    hidden = ask(task, batches, "teacher", replaced(where, "hidden")).all()[0]
    images = task.scale(task.scale.unit(batches.pixels(np.arange(len(where)))))
    objective: Any = task.objective
    with torch.no_grad():
        nowhere = objective.ema(images, torch.full((len(where), 3), torch.nan)).logits.softmax(-1)
        without = objective.ema(images, None).logits.softmax(-1)
    torch.testing.assert_close(hidden, nowhere)
    assert not torch.allclose(hidden, without)


def test_many_labels_are_blind_too(tmp_path: Path) -> None:
    labels = (np.random.default_rng(0).random((60, 3)) < 0.4).astype(np.int64)
    labels[:, 2] = np.arange(60) % 9 < 6  # no test patch shows water
    make_store(tmp_path / "store", labels=labels)
    command = words(tmp_path, algorithm={"name": "FixMatch", "threshold": [0.95, 0.7]})
    command += ["--data.labels_per_class", "null", "--data.label_share", "0.3"]
    assert main(["fit", *command]) == 0
    for told in ([], ["--where", "far"], ["--network", "teacher"], ["--network", "teacher", "--where", "far"]):
        assert main(["test", *command, *told]) == 0
    run = tmp_path / "run"
    for file in ("test.json", "test_predictions.csv", "test_classes.csv"):
        assert (run / "student-far" / file).read_bytes() == (run / file).read_bytes()
    teachers = [read_json(run / name / "test.json")["map_micro"] for name in ("teacher", "teacher-far")]
    assert teachers[0] != teachers[1]
    assert read_json(run / "test.json")["classes_left_out"] == ["water"]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (["--network", "teacher"], "this run has no teacher"),
        (["--where", "nowhere"], "none of true, far"),
        (["--when", "400"], "no day of a year"),
    ],
)
def test_questions_without_an_answer_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], told: list[str], message: str
) -> None:
    make_store(tmp_path / "store")
    command = words(tmp_path, teacher=None)
    assert main(["fit", *command]) == 0
    assert main(["test", *command, *told]) == 2
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "run").rglob("test.json"))


def test_a_teacher_that_never_learned_what_unknown_means_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = np.array(["train", "train", "test"])[np.arange(60) // 3 % 3]
    rng = np.random.default_rng(0)
    place = np.column_stack((rng.uniform(40, 60, 60), rng.uniform(0, 20, 60)))
    place[np.flatnonzero(split == "test")[0]] = np.nan
    make_store(tmp_path / "store", place=place)
    command = words(tmp_path)
    assert main(["fit", *command]) == 0
    assert main(["test", *command]) == 0
    assert main(["test", *command, "--network", "teacher"]) == 2
    assert "never learned what unknown means" in capsys.readouterr().err


def test_validation_can_be_asked_too(trained: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    for told in ([], ["--where", "far"], ["--network", "teacher"], ["--network", "teacher", "--where", "far"]):
        assert main(["validate", *trained[0], *told]) == 0
    text = capsys.readouterr().out
    assert text.count("accuracy ") == 8
    entropies = [line.split()[1] for line in text.splitlines() if "cross_entropy" in line]
    assert entropies[0] == entropies[1]
    assert entropies[0] != entropies[2]
