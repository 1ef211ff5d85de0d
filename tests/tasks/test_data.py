from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tasks.conftest import settings, write_config
from wherewhen.loader import StepBatch
from wherewhen.tasks.verbs import Cli


def rounds(store: Path, tmp_path: Path, seed: int = 0, **data: Any) -> tuple[Cli, list[StepBatch]]:
    """All training patches, once."""
    config = settings(store)
    config["data"] |= data | {"unlabelled_batch": 2}
    words = ["--config", str(write_config(tmp_path / "config.yaml", config)), "--seed", str(seed)]
    cli = Cli([*words, "--run", str(tmp_path / "run"), "--trainer.max_steps", "1"])
    cli.trainer.fit(cli.model, cli.datamodule)
    batches = cli.datamodule.train_dataloader().batches
    return cli, [batches(step) for step in range(len(cli.datamodule.train_rows) // 2)]


def places(batches: list[StepBatch]) -> np.ndarray:
    return np.concatenate([batch.unlabelled.where.numpy() for batch in batches if batch.unlabelled is not None])


def test_permuted_metadata_move_between_patches_and_nothing_else_changes(store: Path, tmp_path: Path) -> None:
    plain, before = rounds(store, tmp_path)
    permuted, after = rounds(store, tmp_path, permute_where=True)
    assert permuted.datamodule.split == plain.datamodule.split
    assert permuted.datamodule.labelled_ids() == plain.datamodule.labelled_ids()
    for ours, theirs in zip(before, after, strict=True):
        assert ours.unlabelled is not None
        assert theirs.unlabelled is not None
        assert torch.equal(ours.labelled.pixels, theirs.labelled.pixels)
        assert torch.equal(ours.unlabelled.pixels, theirs.unlabelled.pixels)
        assert ours.labelled.label is not None
        assert theirs.labelled.label is not None
        assert torch.equal(ours.labelled.label, theirs.labelled.label)
    kept, moved = places(before), places(after)
    assert len(kept) == len(plain.datamodule.train_rows)
    assert sorted(kept.tolist()) == sorted(moved.tolist())  # place and time together
    assert not (kept == moved).all(1).any()
    assert permuted.datamodule.facts == plain.datamodule.facts


@pytest.mark.parametrize(("seed", "same"), [(0, True), (1, False)])
def test_the_permutation_is_the_seeds(store: Path, tmp_path: Path, seed: int, same: bool) -> None:
    one = rounds(store, tmp_path, permute_where=True)[0].datamodule._permuted()
    other = rounds(store, tmp_path, seed, permute_where=True)[0].datamodule._permuted()
    assert np.array_equal(one, other) == same


def test_a_region_is_the_test_and_nothing_else_is(store: Path, tmp_path: Path) -> None:
    box = [40.0, 0.0, 60.0, 8.0]
    data = rounds(store, tmp_path, test_region=box)[0].datamodule
    inside = data.opened.place()[:, 1] <= 8
    assert sorted(data.test_rows) == np.flatnonzero(inside).tolist()
    assert not inside[data.train_rows].any()
    given = data.opened.table["split"].to_numpy(dtype=object)
    assert set(given[data.train_rows]) == {"train"}
    assert data.split["test_region"] == box
