"""The page of runs that were trained for seconds, and of made-up predictions."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("altair", reason="the extra `report` is not installed")

from tests.report.runs import big_store, finished
from tests.tasks.conftest import make_store, settings, write_config
from tests.tasks.dense_stores import change_store, dense_settings, masked_store
from wherewhen.cli import main
from wherewhen.files import read_json, write_json
from wherewhen.report.verb import written

KINDS = ("one", "many", "mask", "change")


def trained(tmp: Path, kind: str) -> list[Path]:
    """Two tested runs on a store of that kind; the first has a teacher."""
    if kind == "mask":
        config = dense_settings(masked_store(tmp / "store", void=True).path)
    elif kind == "change":
        config = dense_settings(change_store(tmp / "store").path, "change")
    else:
        labels: Any = np.arange(60) % 3
        if kind == "many":
            labels = (np.random.default_rng(0).random((60, 3)) < 0.4).astype(np.int64)
            labels[:, 0] |= labels.sum(1) == 0
        config = settings(make_store(tmp / "store", labels=labels).path)
        if kind == "many":
            config["model"]["algorithm"]["threshold"] = [0.6, 0.6]
            config["data"] |= {"labels_per_class": None, "label_share": 0.3}
    config |= {"watch": True}
    runs = []
    for name in ("stssl", "plain"):
        if name == "plain":
            del config["model"]["teacher"]
        words = ["--config", str(write_config(tmp / f"{name}.yaml", config)), "--run", str(tmp / name)]
        assert main(["fit", *words]) == main(["test", *words]) == 0
        runs.append(tmp / name)
    if kind in ("one", "many"):
        words = ["--config", str(runs[0] / "config.yaml"), "--run", str(runs[0])]
        assert main(["test", *words, "--network", "teacher"]) == 0
        for analysis in ("prior", "metadata"):
            assert main(["analyse", analysis, "--run", str(runs[0])]) == 0
    return runs


@pytest.fixture(scope="module", params=KINDS)
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return trained(tmp_path_factory.mktemp(request.param), request.param)


def page_of(*runs: Path, **settings: Any) -> str:
    return written(runs, settings.get("store"), settings.get("experiment"), Path("report.html"))


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="page-data" type="application/json">(.*?)</script>', page, flags=re.S)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def prose(page: str) -> str:
    """The page without its scripts and style."""
    return re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.S)


def test_a_page_shows_all_that_the_runs_left(runs: list[Path]) -> None:
    page, kind = page_of(*runs), runs[0].parent.name[:-1]
    text, data = prose(page), data_of(page)
    metric = {"one": "accuracy", "many": "map_macro", "mask": "miou", "change": "f1"}[kind]
    for run in runs:
        test = read_json(run / "test.json")
        low, high = test[f"{metric}_interval"]
        assert f"<td>{test[metric]:.1f}</td><td>[{low:.1f}, {high:.1f}]</td>" in text
    charts = set(data["charts"])
    assert {"score", "classes", "validation", "losses0", "losses1", "quantity", "quality", "samples"} <= charts
    assert {"errors0", "errors1", "months"} <= charts
    assert ("confusion0" in charts) == (kind != "many")
    assert ("reliability" in charts) == (kind in ("one", "many"))
    assert ("probabilities of pixels are not kept" in text) == (kind in ("mask", "change"))
    assert (any(name.startswith("prior0-") for name in charts) and "Metadata audit" in text) == (
        kind in ("one", "many")
    )
    for words in ("Data card", "licence", "Versions and machine"):
        assert words in text
    assert f"wherewhen fit --config {runs[0]}/config.yaml --run {runs[0]}-again" in text
    patches = data["tables"]["patches"]
    assert len(patches["sheets"]) == 1
    assert patches["columns"]["role"]["words"].count("test") == 1


def test_a_run_that_was_not_tested_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path / "c.yaml", settings(make_store(tmp_path / "store").path))
    run, out = tmp_path / "run", tmp_path / "report.html"
    assert main(["fit", "--config", str(config), "--run", str(run)]) == 0
    assert main(["report", str(run), "--out", str(out)]) == 0
    assert "run was not tested yet" in capsys.readouterr().out
    page = out.read_text(encoding="utf-8")
    assert main(["report", str(run), "--out", str(out)]) == 0
    assert "not tested" not in capsys.readouterr().out
    assert out.read_text(encoding="utf-8") == page
    assert main(["test", "--run", str(run)]) == 0
    assert main(["report", str(run), "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == page


def test_every_error_of_the_map_is_the_error_of_the_file() -> None:
    from wherewhen.report.answers import of_one
    from wherewhen.report.runs import Run

    frame = pd.DataFrame(
        {"label": ["a", "b", ""], "prediction": ["a", "a", "b"], "probability": ["0.9", "0.8", "0.7"]},
        index=list("xyz"),
    )
    run = Run(Path(), "", "one", {}, pd.DataFrame(index=["a", "b"]), frame)
    said = of_one(run)
    np.testing.assert_array_equal(said.error, [0, 1, np.nan])
    np.testing.assert_array_equal(said.truth, [[1, 0], [0, 1], [-1, -1]])
    np.testing.assert_array_equal(said.said, [[1, 0], [1, 0], [0, 1]])
    np.testing.assert_allclose(said.surprise[:2], [-0.9, 0.8])  # right and sure is best, wrong and sure is worst


def test_the_gain_is_the_difference_of_the_scores_and_paired(tmp_path: Path) -> None:
    from wherewhen.report.answers import of_one
    from wherewhen.report.compare import gain
    from wherewhen.report.runs import read

    store = make_store(tmp_path / "store", 300).path
    good, bad = (read(finished(tmp_path / name, store, noise=noise)) for name, noise in (("good", 0.7), ("bad", 2.0)))
    found = gain("one", of_one(good), of_one(bad))
    assert found.mean == pytest.approx(good.test["accuracy"] - bad.test["accuracy"], abs=1e-3)
    assert 0 < found.low < found.mean < found.high
    same = gain("one", of_one(good), of_one(good))
    assert same == (0, 0, 0)  # unpaired, the interval would not be empty


def test_a_run_without_errors_is_not_said_to_be_certain(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store").path
    text = prose(page_of(finished(tmp_path / "right", store, noise=0.0)))
    assert "with none among 18 images, up to 17 % of images may be wrong" in text
    assert "made no error" not in prose(page_of(finished(tmp_path / "other" / "run", store, noise=2.0)))


def test_runs_beside_are_baselines_and_a_question_is_none(runs: list[Path]) -> None:
    text = prose(page_of(runs[0]))
    assert '<th scope="row">plain</th>' in text
    assert ("Asked otherwise" in text) == (runs[0].parent.name[:-1] in ("one", "many"))


def test_what_cannot_be_read_beside_a_run_is_no_baseline(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store").path
    run = finished(tmp_path / "run", store)
    (finished(tmp_path / "halved", store) / "test_predictions.csv").unlink()
    write_json(finished(tmp_path / "blind", store) / "test.json", {"images": 18})
    assert "halved" not in (text := prose(page_of(run)))
    assert "blind" not in text


def test_months_are_those_of_the_calendar(tmp_path: Path) -> None:
    first = [f"2021-{month:02d}-01" for month in range(1, 13)]
    time = np.array([*first, *["2021-12-31T23:59:59"] * 48], dtype="datetime64[ns]")
    page = page_of(finished(tmp_path / "run", make_store(tmp_path / "store", time=time).path))
    columns = data_of(page)["tables"]["patches"]["columns"]
    dates = [columns["date"]["words"][i] for i in columns["date"]["values"]]
    assert sorted(dates)[:3] == ["2021-01-01", "2021-02-01", "2021-03-01"]
    assert columns["month"]["values"] == [int(date[5:7]) for date in dates]


def test_reliability_is_counted_by_bin() -> None:
    from wherewhen.report.answers import Answers
    from wherewhen.report.calibration import reliability

    truth = np.array([[1, 0], [1, 0], [0, 1], [-1, -1]])
    p = np.array([[0.99, 0], [0.97, 0], [0.98, 0], [0.1, 0]])
    said = Answers(truth, (p > 0).astype(int), p, np.array([0, 0, 1, np.nan]), np.zeros(4))
    one = reliability("one", said)
    assert one.to_dict("records") == [
        pytest.approx({"low": 14 / 15, "high": 1, "probability": 0.98, "right": 2 / 3, "count": 3})
    ]
    many = reliability("many", said)
    assert many["count"].tolist() == [3, 3]
    assert many["right"].tolist() == pytest.approx([1 / 3, 2 / 3])


def test_intervals_of_a_month() -> None:
    from wherewhen.report.months import interval

    assert interval(pd.Series([0.0, 1.0] * 5)) == pytest.approx((0.2366, 0.7634), abs=1e-4)  # Wilson's, 5 of 10
    shares = pd.Series([0.2, 0.4, 0.6])
    assert interval(shares) == pytest.approx((0.4 - 1.96 * 0.2 / 3**0.5, 0.4 + 1.96 * 0.2 / 3**0.5), abs=1e-4)
    assert all(np.isnan(interval(pd.Series([0.3]))))


EVIL = ("<b>bold</b>", "</script><script>alert(1)</script>", "{{ 7 * 7 }}")


def test_what_comes_from_files_is_text(tmp_path: Path) -> None:
    store = make_store(
        tmp_path / "store", classes=EVIL, ids=[f"<i>{i}" for i in range(60)], provenance="<img src=x onerror=alert(1)>"
    ).path
    run = finished(tmp_path / "a <u>run", store)
    (run / "config.yaml").write_text((run / "config.yaml").read_text() + "x: </pre><script>\n")
    write_json(run / "environment.json", {"packages": {"<s>": "<s>1"}, "command": "<s>fit & go"})
    page = page_of(run)
    text = prose(page)
    for tag in ("<b>bold", "<img src=x", "<u>run", "<i>0", "<s>", "alert(1)</script>"):
        assert tag not in text
    assert "&lt;b&gt;bold&lt;/b&gt;" in text
    assert "&lt;s&gt;fit &amp; go" in text
    assert "49" not in re.findall(r"<th scope=\"row\">(.*?)</th>", text)
    assert page.count("<script") == 3
    assert page.count("</script>") == 3
    assert "<b>" not in re.findall(r'type="application/json">(.*?)</script>', page, flags=re.S)[0]
    assert data_of(page)["tables"]["patches"]["columns"]["truth"]["words"]


def test_nothing_is_fetched(runs: list[Path]) -> None:
    page = page_of(*runs)
    assert not re.findall(r"<(?:link|script|img|iframe|source|object)[^>]+(?:src|href)=(?![\"']?data:)", prose(page))
    assert "default-src 'none'" in page
    assert not re.findall(r"url\((?!\"?data:)", re.findall(r"<style>(.*?)</style>", page, flags=re.S)[0])
    assert not re.findall(r"\bhref=\"(?!#|data:)", prose(page))


def test_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", make_store(tmp_path / "store").path)
    assert page_of(run) == page_of(run)


def test_tables_have_heads_and_pictures_have_words(runs: list[Path]) -> None:
    text = prose(page_of(*runs))
    assert text.count("<table") == text.count("<caption") == text.count("<thead") > 3
    assert all(re.search(r'alt="[^"]+"', image) for image in re.findall(r"<img[^>]*>", text))
    charts = re.findall(r'<div class="chart"[^>]*>', text)
    assert all(re.search(r'aria-label="[^"]{10,}"', chart) for chart in charts)
    assert all('tabindex="0"' in chart for chart in charts if 'role="group"' in chart)


def test_a_run_without_its_store_says_what_is_missing(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store").path
    run = finished(tmp_path / "run", store)
    moved = tmp_path / "moved"
    store.rename(moved)
    text = prose(page_of(run))
    assert "give it by --store" in text
    assert "Data card" not in text
    assert "Reliability" in text
    assert "Data card" in prose(page_of(run, store=moved))


def test_a_class_may_be_called_na_and_a_truth_be_unknown(tmp_path: Path) -> None:
    labels = np.arange(60) % 3
    labels[6:8] = -1
    store = make_store(tmp_path / "store", labels=labels, classes=("NA", "null", "7")).path
    text = prose(page_of(finished(tmp_path / "run", store)))
    assert '<th scope="row">NA</th>' in text
    assert '<th scope="row">null</th>' in text


def test_runs_of_other_budgets_make_a_curve_and_are_compared(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store").path
    runs = [finished(tmp_path / name, store, seed, 1 + seed) for seed, name in enumerate("abc")]
    page = page_of(runs[0])
    assert "by labelled patches" not in prose(page)  # all have six
    (against,) = re.findall(r"<caption[^>]*>a against the others.*?</table>", page, flags=re.S)
    assert re.findall(r'<th scope="row">(\w)</th>', against) == ["b", "c"]
    gains = [float(text) for text in re.findall(r"<td>([+-]\d+\.\d)</td>", against)]
    scores = [read_json(run / "test.json")["accuracy"] for run in runs]
    np.testing.assert_allclose(gains, [scores[0] - scores[1], scores[0] - scores[2]], atol=0.06)
    (runs[1] / "labelled.csv").write_text("id\nx\ny\n")
    (runs[2] / "config.yaml").write_text("model: {algorithm: {name: FixMatch}, teacher: {metadata: [place]}}")
    text = prose(page_of(runs[0]))
    assert f"supervised {scores[0]:.1f} % at 6; supervised {scores[1]:.1f} % at 2; FixMatch + ST-SSL" in text


def test_an_experiment_adds_its_curves(tmp_path: Path) -> None:
    run = finished(tmp_path / "run", make_store(tmp_path / "store").path)
    cells = []
    for labels in (1.0, 4.0):
        for row, score in (("supervised", 50.0), ("fixmatch", 60.0)):
            cell = {"store": "s", "split": "store", "labels": labels, "row": row, "seed": 1}
            cells.append(cell)
            folder = tmp_path / "e" / "cells" / "s" / "store" / f"labels-{labels:g}" / row / "seed-1"
            figures = {"accuracy": score + labels, "accuracy_interval": [score, score + 9], "digest": ""}
            write_json(folder / "result.json", cell | figures)
    common = {"kind": "trained", "control": False, "rivals": "", "pool": "", "against": [], "published": []}
    rows = [common | {"name": name, "title": name.title()} for name in ("supervised", "fixmatch")]
    plan = {"experiment": "budgets", "command": "wherewhen experiment budgets", "kind": "one", "metric": "accuracy"}
    write_json(tmp_path / "e" / "plan.json", plan | {"rows": rows, "cells": cells})
    page = page_of(run, experiment=tmp_path / "e")
    assert '<th scope="row">Fixmatch</th><td>64.0</td>' in prose(page)
    (records,) = data_of(page)["charts"]["budgets0"]["spec"]["datasets"].values()
    scores = {(record["run"], record["labels"]): record["score"] for record in records}
    assert scores == {("Supervised", 1): 51, ("Fixmatch", 1): 61, ("Supervised", 4): 54, ("Fixmatch", 4): 64}


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("untested", "has no test.json"),
        ("other", "were tested on different patches"),
        ("twice", "is given twice"),
        ("damaged", "do not belong together"),
        ("store", "which .* was tested on; give its store by --store"),
        ("experiment", "has no plan.json"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, case: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished(tmp_path / "a", make_store(tmp_path / "store").path)
    words = [str(run), "--out", str(tmp_path / "r.html")]
    if case == "untested":
        (run / "test.json").unlink()
    elif case == "other":
        words.insert(1, str(finished(tmp_path / "b" / "b", make_store(tmp_path / "other", 90).path)))
    elif case == "twice":
        words.insert(1, str(tmp_path / "b" / ".." / "a"))
    elif case == "damaged":
        lines = (run / "test_predictions.csv").read_text().splitlines()
        (run / "test_predictions.csv").write_text("\n".join(lines[:-1]) + "\n")
    elif case == "store":
        words += ["--store", str(make_store(tmp_path / "small", 9, ids=[f"x{i}" for i in range(9)]).path)]
    else:
        words += ["--experiment", str(tmp_path)]
    assert main(["report", *words]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "r.html").exists()


@pytest.mark.slow
def test_5000_test_patches_fit_into_8_megabytes(tmp_path: Path) -> None:
    store = big_store(tmp_path / "store", 5000)
    runs = [finished(tmp_path / name, store, seed) for seed, name in enumerate(("a", "b"))]
    assert main(["report", *map(str, runs), "--out", str(tmp_path / "r.html")]) == 0
    size = (tmp_path / "r.html").stat().st_size
    assert 1_500_000 < size < 8_000_000
    patches = data_of((tmp_path / "r.html").read_text(encoding="utf-8"))["tables"]["patches"]
    assert len(patches["sheets"]) == 5


def test_more_patches_than_are_shown_are_drawn_by_lot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wherewhen.report import points

    monkeypatch.setitem(points.MOST, "test", 7)
    page = page_of(finished(tmp_path / "run", make_store(tmp_path / "store").path))
    assert data_of(page)["tables"]["patches"]["columns"]["role"]["values"].count(0) == 7
    assert "7 of 18 test patches are shown" in prose(page)


def test_a_map_goes_on_beyond_the_date_line(tmp_path: Path) -> None:
    place = np.column_stack((np.full(60, -17.0), np.tile([179.0, -179.5, 178.0], 20)))  # Fiji
    page = page_of(finished(tmp_path / "run", make_store(tmp_path / "store", place=place).path))
    data = data_of(page)
    assert set(data["tables"]["patches"]["columns"]["longitude"]["values"]) == {178.0, 179.0, 180.5}
    x = data["charts"]["samples"]["spec"]["encoding"]["x"]
    assert x["scale"]["domain"] == pytest.approx([177.9, 180.6])


def test_the_verb_does_not_import_lightning(tmp_path: Path) -> None:
    from tests.test_cli import python

    run = finished(tmp_path / "run", make_store(tmp_path / "store").path)
    words = ["report", str(run), "--out", str(tmp_path / "r.html")]
    code = f"import sys; from wherewhen.cli import main; main({words!r}); print('lightning' in sys.modules)"
    assert python(code).endswith("False\n")
