from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tasks.conftest import CLASSES, make_store, settings, write_config
from wherewhen.cli import main
from wherewhen.semi import UNKNOWN
from wherewhen.store import PatchStore
from wherewhen.tasks.data import StoreData
from wherewhen.tasks.facts import Facts, frequencies


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 0, 1, UNKNOWN], [2.5 / 4.5, 1.5 / 4.5, 0.5 / 4.5]),  # the third class has no label, and is not impossible
        ([], [1 / 3] * 3),
        ([[1, 0, 0], [1, UNKNOWN, 0]], [2.5 / 3, 0.5 / 2, 0.5 / 3]),
    ],
)
def test_frequencies_count_labels_and_half_a_patch(labels: list[int], expected: list[float]) -> None:
    assert frequencies(np.array(labels, dtype=np.int64), 3) == pytest.approx(expected)


def facts_of(data: StoreData) -> Facts:
    data.setup()
    return data.facts


def test_only_labelled_patches_are_counted(tmp_path: Path) -> None:
    """The store is unequal, the four labels a class are not: a prior that saw hidden labels would show it."""
    labels = np.repeat([0, 0, 0, 0, 1, 2], 20)
    store = make_store(tmp_path / "store", 120, labels=labels)
    data = StoreData(str(store.path), labels_per_class=4)
    facts = facts_of(data)
    assert facts.labelled == pytest.approx([1 / 3] * 3)
    known = store.table.set_index("id").loc[data.labelled_ids(), "label"]
    assert sorted(known) == sorted([0, 1, 2] * 4)
    all_known = facts_of(StoreData(str(store.path)))
    assert all_known.labelled[0] > 0.5


def test_what_an_algorithm_may_ask_for(tmp_path: Path) -> None:
    one = facts_of(StoreData(str(make_store(tmp_path / "one", labels=np.arange(60) // 3 % 5 // 2 % 3).path)))
    found = one.found()
    assert found["prior"].tolist() == pytest.approx(one.labelled)
    assert found["goal"].tolist() == found["uniform"].tolist() == pytest.approx([1 / 3] * 3)
    labels = (np.random.default_rng(0).random((60, 3)) < 0.3).astype(np.int64)
    many = facts_of(StoreData(str(make_store(tmp_path / "many", labels=labels).path)))
    found = many.found()
    assert found["prior"].shape == (len(CLASSES), 2)
    torch.testing.assert_close(found["prior"].sum(-1), torch.ones(3))
    assert found["prior"][:, 1].tolist() == pytest.approx(many.labelled)
    assert torch.equal(found["goal"], found["prior"])
    assert (found["uniform"] == 0.5).all()
    assert Facts.from_dict(many.to_dict()) == many


def test_a_checkpoint_brings_the_prior_it_was_trained_with(tmp_path: Path) -> None:
    """What is tested does not depend on the labels at hand."""
    store = make_store(tmp_path / "store", 120, labels=np.repeat([0, 0, 0, 0, 1, 2], 20))
    config = settings(store.path, algorithm={"name": "UDAL", "threshold": 0.4})
    config["data"] |= {"labels_per_class": None, "label_share": 0.5}
    words = ["--config", str(write_config(tmp_path / "config.yaml", config)), "--run", str(tmp_path / "run")]
    assert main(["fit", *words]) == 0
    kept = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    prior = kept["state_dict"]["objective.algorithm.prior"]
    assert prior.tolist() == pytest.approx(kept["wherewhen"]["facts"]["labelled"])
    assert prior[0] > 0.5
    assert main(["test", *words]) == 0
    before = (tmp_path / "run" / "test_predictions.csv").read_bytes()
    assert main(["test", *words, "--data.label_share", "1.0"]) == 0
    assert (tmp_path / "run" / "test_predictions.csv").read_bytes() == before


def test_cap_refuses_one_label_before_long_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "store").path
    config = write_config(tmp_path / "config.yaml", settings(store, algorithm={"name": "CAP"}))
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "run")]) == 2
    assert "CAP is for many labels" in capsys.readouterr().err
    assert PatchStore.open(store).label_kind == "one"
