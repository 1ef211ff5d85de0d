"""Which patches to label next: unsure ones, unlike the labelled, elsewhere and at another time."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.tasks.conftest import make_store, settings, write_config
from tests.tasks.dense_stores import dense_settings, masked_store, random_masks
from wherewhen.cli import main
from wherewhen.files import write_json
from wherewhen.suggest import Known, choose, entropy, worth

NOWHERE = np.full((6, 5), np.nan)


def known(unsure: list[float], features: list[list[float]] | None = None, where: np.ndarray = NOWHERE) -> Known:
    same = np.tile([1.0, 0.0], (6, 1)) + 1e-3 * np.arange(6)[:, None]
    return Known(np.array(unsure), same if features is None else np.array(features), where)


def test_the_most_unsure_comes_first_where_nothing_else_is_known() -> None:
    order = choose(known([0.9, 0.1, 0.5, 0.8, 0.2, 0.3]), np.array([True, False, False, False, False, False]), 5)
    assert order[0] == 3
    assert sorted(order) == [1, 2, 3, 4, 5]
    assert len(choose(known([0.5] * 6), np.zeros(6, bool), 2)) == 2


def test_one_of_a_kind_is_enough() -> None:
    """Of two pairs of twins, one of each comes before the second of the surer pair."""
    features = [[0.0, 0.0], [1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [0.01, 1.0], [0.0, 0.02]]
    order = choose(known([0.5, 0.9, 0.9, 0.6, 0.6, 0.5], features), np.arange(6) == 0, 2)
    assert {order[0], order[1]} <= {1, 2, 3, 4}
    assert (order[0] in (1, 2)) != (order[1] in (1, 2))


def test_places_and_seasons_that_are_not_covered_come_first() -> None:
    where = np.zeros((6, 5))
    where[2, 0], where[4, 3] = 5000, 900  # far away; in another season
    order = choose(known([0.5] * 6, where=where), np.arange(6) == 0, 2)
    assert sorted(order) == [2, 4]


def test_a_label_without_a_place_covers_none_and_a_patch_without_one_is_not_new() -> None:
    where = np.zeros((6, 5))
    where[:2] = np.nan  # the first is labelled
    where[4, 0] = 5000  # far from the other labelled one, the last
    order = choose(known([0.5] * 6, where=where), np.isin(np.arange(6), (0, 5)), 4)
    assert order[0] == 4


def test_entropy_of_every_kind() -> None:
    p = np.array([[1.0, 0, 0], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(entropy(p, "one"), [0, 1], atol=1e-9)
    np.testing.assert_allclose(entropy(np.array([[0.5, 0.5], [1.0, 0.5]]), "many"), [1, 0.5], atol=1e-9)
    pixels = np.stack([np.tile(row[:, None, None], (1, 4, 4)) for row in p])
    np.testing.assert_allclose(entropy(pixels, "mask"), [0, 1], atol=1e-9)


@pytest.mark.parametrize("target", ["patch", "mask"])
def test_suggestions_for_a_run(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blank = np.arange(60) % 4 > 0
    if target == "patch":
        store = make_store(tmp_path / "store", labels=np.where(blank, -1, np.arange(60) % 3))
        config = settings(store.path, algorithm=None, teacher=None)
    else:
        masks = random_masks(60, 3)
        masks[blank] = 255
        store = masked_store(tmp_path / "store", masks=masks)
        config = dense_settings(store.path, algorithm=None, teacher=None)
    config["data"] |= {"labels_per_class": None, "label_share": None}
    config["trainer"] |= {"max_steps": 2, "val_check_interval": 2}
    words = ["--config", str(write_config(tmp_path / "c.yaml", config)), "--run", str(tmp_path / "run")]
    assert main(["fit", *words]) == 0
    out = tmp_path / "next.geojson"
    call = ["suggest", str(store.path), "--run", str(tmp_path / "run"), "--n", "7", "--out", str(out)]
    assert main(call) == 0
    found = json.loads(out.read_text(encoding="utf-8"))["features"]
    assert [one["properties"]["rank"] for one in found] == list(range(1, 8))
    ids = list(store.table["id"])
    for one in found:
        row = ids.index(one["properties"]["id"])
        assert blank[row]
        assert store.table["split"].iloc[row] == "train"
        assert one["geometry"]["coordinates"] == pytest.approx(store.place()[row][::-1], abs=1e-6)
        assert one["properties"]["class"] is None
        assert (tmp_path / one["properties"]["picture"]).is_file()
    assert len({one["properties"]["id"] for one in found}) == 7
    before = out.read_bytes()
    assert main(call) == 0
    assert out.read_bytes() == before
    assert main([*call, "--n", "3"]) == 0
    assert len(list((tmp_path / "next_pictures").iterdir())) == 3  # none of the longer list before
    full = (make_store if target == "patch" else masked_store)(tmp_path / "full").path
    assert main(["suggest", str(full), "--run", str(tmp_path / "run"), "--out", str(out)]) == 2
    assert "there is nothing to suggest" in capsys.readouterr().err


def test_what_more_labels_are_worth(tmp_path: Path) -> None:
    plan = {"metric": "accuracy", "rows": [], "cells": []}
    for labels, score in ((2, 60.0), (4, 64.0), (8, 68.0)):
        cell = {"store": "s", "split": "store", "labels": labels, "row": "stssl_fixmatch", "seed": 1}
        plan["cells"].append(cell)  # type: ignore[attr-defined]
        folder = tmp_path / "cells" / "s" / "store" / f"labels-{labels}" / "stssl_fixmatch" / "seed-1"
        folder.mkdir(parents=True)
        write_json(folder / "result.json", {"accuracy": score})
    write_json(tmp_path / "plan.json", plan)
    told = worth(tmp_path, 80, 10)
    assert "+4.0 points for twice the labels" in told
    assert "80 more than 8 a class are worth about +4.0 points" in told
