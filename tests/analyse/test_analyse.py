"""Analyses of two short runs on one store, one label and many."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.tasks.conftest import make_store, settings, write_config
from wherewhen.cli import main


def trained(tmp: Path, many: bool, **known: Any) -> Path:
    """A store, a plain run and an ST-SSL run, both watched; the folder that holds them."""
    labels = np.arange(60) % 3
    if many:
        labels = (np.random.default_rng(0).random((60, 3)) < 0.4).astype(np.int64)
        labels[:, 0] |= labels.sum(1) == 0
    store = make_store(tmp / "store", labels=labels, **known).path
    for name in ("plain", "stssl"):
        config = settings(store) | {"watch": True}
        if many:
            config["model"]["algorithm"]["threshold"] = [0.6, 0.6]
            config["data"] |= {"labels_per_class": None, "label_share": 0.3}
        if name == "plain":
            del config["model"]["teacher"]
        assert main(["fit", "--config", str(write_config(tmp / f"{name}.yaml", config)), "--run", str(tmp / name)]) == 0
    return tmp


@pytest.fixture(scope="module", params=["one", "many"])
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp(request.param), request.param == "many")


def test_the_prior_is_a_probability_at_every_place_and_day(runs: Path) -> None:
    assert main(["analyse", "prior", "--run", str(runs / "stssl"), "--class", "water", "forest"]) == 0
    places, days = (pd.read_csv(runs / "stssl" / f"prior_{name}.csv") for name in ("places", "days"))
    assert len(places) == 60 * 60
    assert len(days) == 73
    for table in (places, days):
        assert table[["water", "forest"]].to_numpy().min() >= 0
        assert table[["water", "forest"]].to_numpy().max() <= 1
        assert table["water"].std() > 0  # it depends on where and when
    assert Image.open(runs / "stssl" / "prior.png").width > 500


def test_the_prior_crosses_the_date_line(tmp_path: Path) -> None:
    place = np.column_stack((np.linspace(-20, -15, 60), np.tile([179.0, -179.5, 178.0], 20)))  # Fiji
    runs = trained(tmp_path, many=False, place=place)
    assert main(["analyse", "prior", "--run", str(runs / "stssl")]) == 0
    lon = pd.read_csv(runs / "stssl" / "prior_places.csv")["lon"]
    assert (lon.min(), lon.max()) == (170, 188.5)


def test_the_map_says_who_errs_where(runs: Path) -> None:
    words = ("--run", str(runs / "stssl"), "--against", str(runs / "plain"), "--class", "water")
    assert main(["analyse", "map", *words, "--out", str(runs / "maps")]) == 0
    table = pd.read_csv(runs / "maps" / "map.csv")
    assert list(table.columns) == ["id", "lat", "lon", "class", "true", "FixMatch", "teacher", "student"]
    assert main(["test", "--config", str(runs / "stssl" / "config.yaml"), "--run", str(runs / "stssl")]) == 0
    tested = pd.read_csv(runs / "stssl" / "test_predictions.csv")
    water = tested["prediction"] == "water" if "prediction" in tested else tested["water"] >= 0.5
    assert table["student"].tolist() == water.astype(int).tolist()
    assert Image.open(runs / "maps" / "map.png").width > 500


def test_pseudo_labels_have_a_quantity_and_a_quality(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = (str(runs / "plain"), str(runs / "stssl"))
    assert main(["analyse", "pseudo-labels", "--run", *folders, "--out", str(runs / "out")]) == 0
    table = pd.read_csv(runs / "out" / "pseudo_labels.csv")
    assert set(table["run"]) == {"plain", "stssl"}
    assert table["quality"].dropna().between(0, 1 + 1e-6).all()
    assert ("quality present" in table) == (runs.name.startswith("many"))
    assert "plain" in capsys.readouterr().out


def test_the_audit_tells_the_teacher_from_the_student(runs: Path) -> None:
    assert main(["analyse", "metadata", "--run", str(runs / "stssl"), "--out", str(runs / "audit")]) == 0
    table = pd.read_csv(runs / "audit" / "metadata.csv").set_index(["network", "told"])
    moved = table["mean_probability_change"]
    assert moved["student"].tolist() == table["change"]["student"].tolist() == [0.0] * 7
    assert moved["teacher", "the truth"] == 0
    assert (moved["teacher"].drop("the truth") > 0).all()
    text = (runs / "audit" / "metadata.md").read_text(encoding="utf-8")
    files = 4 if runs.name.startswith("one") else 3
    for name in ("shuffled", "elsewhere", "removed"):
        assert f"- {name}: {files} of {files} the same, byte for byte" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("prior", "--run", "{plain}"), "has no teacher"),
        (("prior", "--run", "{stssl}", "--class", "sea"), "there is no class 'sea'"),
        (("map", "--run", "{tmp}"), "is no run, it has no config.yaml"),
        (("pseudo-labels", "--run", "{tmp}"), "is no run, it has no metrics.csv"),
        (("pseudo-labels", "--run", "{plain}", "{plain}"), "have one name"),
        (("metadata", "--run", "{plain}"), "has no teacher"),
    ],
)
def test_mistakes_are_named(
    runs: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    names = {"plain": runs / "plain", "stssl": runs / "stssl", "tmp": runs}
    assert main(["analyse", *(word.format(**names) for word in words)]) == 2
    assert message in capsys.readouterr().err


def test_runs_without_watching_say_so(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = settings(store)
    config["trainer"]["max_steps"] = 2
    assert (
        main(["fit", "--config", str(write_config(tmp_path / "c.yaml", config)), "--run", str(tmp_path / "run")]) == 0
    )
    assert main(["analyse", "pseudo-labels", "--run", str(tmp_path / "run")]) == 2
    assert "train with --watch true" in capsys.readouterr().err
