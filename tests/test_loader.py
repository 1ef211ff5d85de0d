from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tasks.conftest import make_store
from wherewhen.bands import load_sensor
from wherewhen.errors import UserError
from wherewhen.loader import EvalBatches, Order, PixelSource, Steps, TrainBatches, mix
from wherewhen.store import PatchStore


@pytest.fixture
def store(tmp_path: Path) -> PatchStore:
    return make_store(tmp_path / "store", 30)


def batches(store: PatchStore, rank: int = 0, processes: int = 1, seed: int = 0) -> TrainBatches:
    rows = np.arange(30)
    where = np.column_stack((store.place(), store.day()))
    labelled = np.array([0, 1, 2, 3, 7])
    return TrainBatches(
        PixelSource(store, rows, 16), where, labelled, store.labels()[labelled], (4, 8), seed, rank, processes
    )


def test_an_order_visits_everything_once_a_round() -> None:
    order = Order(7, seed=1)
    rounds = [order(range(7 * i, 7 * i + 7)) for i in range(3)]
    assert all(sorted(r) == list(range(7)) for r in rounds)
    assert not (rounds[0] == rounds[1]).all()
    assert (Order(7, seed=1)(range(5, 16)) == np.concatenate(rounds)[5:16]).all()
    assert (Order(7, seed=1)(range(7)) == rounds[0]).all()  # also when asked out of turn


def test_a_step_is_a_pure_function_of_seed_and_step(store: PatchStore) -> None:
    a, b = batches(store), batches(store)
    for _ in range(3):
        a(0)
    for x, y in ((a(5), b(5)), (a(2), b(2))):
        assert torch.equal(x.labelled.pixels, y.labelled.pixels)
        assert x.unlabelled is not None
        assert y.unlabelled is not None
        assert torch.equal(x.unlabelled.pixels, y.unlabelled.pixels)
        assert torch.equal(x.unlabelled.where, y.unlabelled.where)
    other = batches(store, seed=1)(5)
    assert not torch.equal(other.labelled.pixels, a(5).labelled.pixels)


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_one_global_batch_in_slot_order(store: PatchStore, processes: int) -> None:
    whole = batches(store)(3)
    parts = [batches(store, rank, processes)(3) for rank in range(processes)]
    assert torch.equal(whole.labelled.pixels, torch.cat([p.labelled.pixels for p in parts]))
    assert whole.unlabelled is not None
    assert torch.equal(whole.unlabelled.where, torch.cat([p.unlabelled.where for p in parts if p.unlabelled]))


def test_a_batch_that_does_not_divide_is_refused(store: PatchStore) -> None:
    with pytest.raises(UserError, match=r"4 \+ 8 .* 3 processes"):
        batches(store, 0, 3)


def test_labels_of_unlabelled_patches_are_nowhere_in_the_batches(store: PatchStore) -> None:
    source = batches(store)
    assert len(source.labels) == 5
    for step in range(20):
        batch = source(step)
        assert batch.unlabelled is not None
        assert batch.unlabelled.label is None
        for pixels, label in zip(batch.labelled.pixels, batch.labelled.label, strict=True):  # type: ignore[arg-type]
            row = next(r for r in source.labelled if (store.pixels(np.array([r]))[0] == pixels.numpy()).all())
            assert store.labels()[row] == label


def test_labelled_images_stay_in_the_unlabelled_pool(store: PatchStore) -> None:
    source = batches(store)
    seen = torch.cat([source(step).unlabelled.pixels for step in range(4)])  # type: ignore[union-attr]
    for row in source.labelled:
        picture = torch.from_numpy(store.pixels(np.array([row]))[0].astype(np.float32))
        assert any(torch.equal(picture, other) for other in seen)


def test_steps_begin_where_training_stands(store: PatchStore) -> None:
    at = 7
    steps = Steps(batches(store), lambda: at)
    assert [next(i).step for i in [iter(steps)] for _ in range(3)] == [7, 8, 9]
    at = 2
    assert next(iter(steps)).step == 2


def test_cached_and_uncached_pixels_are_the_same(store: PatchStore) -> None:
    index = np.array([3, 3, 29, 0])
    for size in (16, 8):
        cached, read = PixelSource(store, np.arange(30), size), PixelSource(store, np.arange(30), size, cache_bytes=0)
        assert cached.cache is not None
        assert read.cache is None
        assert torch.equal(cached(index), read(index))
    assert torch.equal(cached(index)[0], cached(index)[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_every_stored_type_comes_out_as_it_is(tmp_path: Path, dtype: type) -> None:
    limits = np.iinfo(dtype)
    pixels = np.random.default_rng(0).integers(limits.min, limits.max, (5, 2, 4, 4), dtype=dtype, endpoint=True)
    pixels[0, 0, 0, :2] = limits.min, limits.max
    store = PatchStore.from_arrays(tmp_path / "store", pixels, bands=load_sensor("sentinel2_l2a").bands[:2])
    for cache_bytes in (0, 1 << 20):
        source = PixelSource(store, np.arange(5), 4, cache_bytes)
        assert np.array_equal(source(np.array([4, 0])).numpy(), pixels[[4, 0]].astype(np.float32))


def test_resized_pixels_are_what_pillow_makes_of_them(store: PatchStore) -> None:
    ours = PixelSource(store, np.arange(30), 8)(np.array([4]))[0].numpy()
    picture = Image.fromarray(store.pixels(np.array([4]))[0].transpose(1, 2, 0))
    theirs = np.asarray(picture.resize((8, 8), Image.Resampling.BILINEAR), dtype=np.float32).transpose(2, 0, 1)
    assert np.abs(ours - theirs).max() <= 1  # Pillow rounds between the two axes


def test_evaluation_goes_through_everything_once_in_order(store: PatchStore) -> None:
    rows = np.array([5, 2, 9, 11, 1])
    loader = EvalBatches(PixelSource(store, rows, 16), store.labels()[rows], 2)
    assert len(loader) == 3
    assert torch.cat([b.label for b in loader]).tolist() == store.labels()[rows].tolist()
    assert np.array_equal(torch.cat([b.pixels for b in loader]).numpy(), store.pixels(rows).astype(np.float32))


def test_mixed_seeds_differ_and_fit_a_generator() -> None:
    seeds = {mix(a, b) for a in range(20) for b in range(20)}
    assert len(seeds) == 400
    assert all(0 <= s < 2**63 for s in seeds)
