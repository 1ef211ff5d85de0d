"""Neighbours and a linear probe on frozen features."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from tests.tasks.conftest import make_store
from wherewhen.errors import UserError
from wherewhen.store import PatchStore
from wherewhen.tasks.probe import Probe, knn_accuracy, linear_accuracy


def features(count: int, seed: int, apart: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Three clouds (count, 8) and their numbers."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    centres = apart * np.eye(8)[:3]
    return torch.tensor(centres[labels] + rng.normal(size=(count, 8))).float(), torch.tensor(labels)


@pytest.mark.parametrize("neighbours", [1, 20, 500])
def test_neighbours_agree_with_scikit_learn(neighbours: int) -> None:
    (known, labels), (asked, truth) = features(120, 0, 2.0), features(90, 1, 2.0)
    ours = knn_accuracy(known, labels, asked, truth, neighbours)
    model = KNeighborsClassifier(
        min(neighbours, 120), metric="cosine", weights=lambda distance: np.exp(-distance / 0.07), algorithm="brute"
    )
    theirs = 100 * (model.fit(known.numpy(), labels.numpy()).predict(asked.numpy()) == truth.numpy()).mean()
    assert ours == pytest.approx(theirs, abs=1e-4)


def test_both_are_at_chance_where_features_tell_nothing_and_near_all_where_they_tell() -> None:
    for score in (knn_accuracy, linear_accuracy):
        assert score(*features(600, 0, 0.0), *features(600, 1, 0.0)) < 45
        assert score(*features(600, 0, 9.0), *features(600, 1, 9.0)) > 98


def test_a_probe_asks_the_test_patches_and_knows_the_training_ones(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", 60)
    probe = Probe(store, 8)
    split = store.table["split"].to_numpy()
    assert len(probe.parts["test"].labels) == (split == "test").sum()
    by_class = torch.from_numpy(np.eye(3, dtype=np.float32))
    whole = torch.cat([part.labels for part in probe.parts.values()])

    def cheat(pixels: torch.Tensor) -> torch.Tensor:
        start = cheat.seen  # type: ignore[attr-defined]
        cheat.seen = start + len(pixels)  # type: ignore[attr-defined]
        return by_class[whole[start : cheat.seen]]  # type: ignore[attr-defined]

    cheat.seen = 0  # type: ignore[attr-defined]
    assert probe.of(cheat) == {"knn": 100.0, "linear": 100.0}
    assert 90 < probe.of_statistics()["knn_of_statistics"] <= 100  # in this store the colour tells the class


def test_a_store_that_cannot_be_probed_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", 30)
    arrays = store.to_arrays()
    unlabelled = PatchStore.from_arrays(tmp_path / "none", arrays["pixels"], bands=store.bands)
    with pytest.raises(UserError, match="one label a patch"):
        Probe(unlabelled, 8)
    untested = make_store(tmp_path / "untested", 30, split=["train"] * 30)
    with pytest.raises(UserError, match="no labelled test patches"):
        Probe(untested, 8)
