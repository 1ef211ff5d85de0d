import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contrast.methods import CASES, PLACES, batch, train
from wherewhen.contrast import SECO, ChangeAware, ChangeBook, projection
from wherewhen.errors import UserError


def caco() -> ChangeAware:
    made = next(case for case in CASES if case.name == "caco").make()
    assert isinstance(made, ChangeAware)
    return made


def test_a_ratio_is_long_over_short_distance_and_old_ones_weigh_four() -> None:
    book = ChangeBook(5)
    place = torch.tensor([3, 3])
    for angle, expected in ((1.0, 10.0), (0.5, (4 * 10 + 5) / 5)):
        q = torch.tensor([[0.0, 0.0], [angle, 0.0]])
        near = q + torch.tensor([[0.0, 0.1], [0.0, 0.05]])
        book.observe(place, q, near)
        assert book.ratio[3, 0].item() == pytest.approx(expected, rel=5e-3)
    assert book.ratio[3, 1].item() == pytest.approx((4 * 20 + 10) / 5, rel=5e-3)  # each period its own
    assert book.seen.sum(1).tolist() == [0, 0, 0, 2, 0]


def test_a_bad_batch_is_not_noted() -> None:
    book = ChangeBook(4)
    place, q = torch.tensor([0, 0, 2, 2]), F.normalize(torch.randn(4, 6), dim=-1)
    near = q.roll(1, 0)
    near[0] = torch.nan
    book.observe(place, q, near, torch.tensor(False))
    assert not book.seen.any()
    book.observe(place, q, near)
    assert book.seen.tolist() == [[False, True], [False, False], [True, True], [False, False]]
    assert book.ratio.isfinite().all()


def test_a_place_that_is_twice_in_a_batch_counts_as_in_its_last_slot() -> None:
    q, near = F.normalize(torch.randn(2, 6, 6), dim=-1)
    twice, once = ChangeBook(4), ChangeBook(4)
    twice.observe(torch.tensor([1, 1, 3, 3, 1, 1]), q, near)
    once.observe(torch.tensor([3, 3, 1, 1]), q[2:], near[2:])
    assert torch.equal(twice.ratio, once.ratio)


def mixture(book: ChangeBook, changed: int, spread: float = 0.1) -> torch.Tensor:
    """Ratios about 1 and about 4, which a person would part at 2.5."""
    book.seen.fill_(True)
    truth = torch.arange(book.ratio.numel()).view_as(book.ratio) < changed
    noise = torch.randn(book.ratio.shape, generator=torch.Generator().manual_seed(0))
    book.ratio.copy_(torch.where(truth, 4.0, 1.0) + spread * noise)
    return truth


@pytest.mark.parametrize("changed", [8, 40, 72])
def test_the_mixture_parts_the_ratios(changed: int) -> None:
    book = ChangeBook(40)
    truth = mixture(book, changed)
    book.refit()
    assert torch.equal(book.changed, truth)


def test_what_was_not_seen_has_not_changed() -> None:
    book = ChangeBook(40)
    truth = mixture(book, 30)
    book.seen[::3] = False
    book.refit()
    assert torch.equal(book.changed, truth & book.seen)


def test_a_ratio_below_the_unchanged_is_no_change_though_the_broad_component_is_likelier() -> None:
    book = ChangeBook(100)
    book.seen.fill_(True)
    draw = np.random.default_rng(0)
    narrow, broad = 3 + 0.05 * draw.standard_normal(120), 5 + 2.5 * draw.standard_normal(80)
    book.ratio.copy_(torch.from_numpy(np.concatenate((narrow, broad)).reshape(100, 2)))
    book.refit()
    assert not book.changed[book.ratio < 3].any()
    assert book.changed[book.ratio > 5].all()


@given(seen=st.integers(0, 30), value=st.sampled_from(["same", "two", "random"]), seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_refitting_is_robust_and_repeatable(seen: int, value: str, seed: int) -> None:
    book = ChangeBook(15)
    draw = np.random.default_rng(seed)
    ratio = {"same": np.ones(30), "two": draw.integers(1, 3, 30), "random": draw.random(30)}[value]
    book.ratio.copy_(torch.from_numpy(ratio.astype(float).reshape(15, 2)))
    book.seen.view(-1)[:seen] = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        book.refit()
    labels = book.changed.clone()
    assert not labels.all()
    assert not (labels & ~book.seen).any()
    if seen < 10 or value == "same":
        assert not labels.any()
    book.refit()
    assert torch.equal(book.changed, labels)


def test_an_unchanged_place_is_not_pushed_from_its_past_and_a_changed_one_is() -> None:
    image, keys, _, place = batch(0)
    costs = {}
    for changed in (False, True):
        costs[changed] = caco().costs(image, keys, torch.full((8,), changed), place)
    for name, cost in costs[True].items():
        assert (cost > costs[False][name]).all()  # one negative more
    one = torch.zeros(8, dtype=torch.bool)
    one[5] = True
    for name, cost in caco().costs(image, keys, one, place).items():
        expected = torch.where(one, costs[True][name], costs[False][name])
        torch.testing.assert_close(cost, expected)


def test_the_book_is_asked_where_change_is_not_given() -> None:
    made = caco()
    assert made.book is not None
    image, keys, changed, place = batch(0)
    made.book.changed[place[::2]] = changed.view(-1, 2)
    told, asked = made.costs(image, keys, changed, place), made.costs(image, keys, place=place)
    assert all(torch.equal(told[name], asked[name]) for name in told)
    with pytest.raises(ValueError, match="which places changed"):
        made(image, keys)


def test_after_an_epoch_the_book_decides_anew() -> None:
    made = caco()
    assert made.book is not None
    train(made, range(6))
    assert not made.book.changed.any()
    made.after_epoch()
    assert made.book.changed.any()
    assert not made.book.changed.all()
    assert made.book.ratio[made.book.changed].mean() > made.book.ratio[made.book.seen & ~made.book.changed].mean()


def test_without_a_book_the_query_image_is_not_shown_to_the_key_network() -> None:
    made = ChangeAware(torch.nn.Flatten(), [projection(12, 5) for _ in SECO], SECO, 5, size=24)
    image, keys, changed, _ = batch(0)
    assert sorted(made.shown(image, keys)) == [0, 1, 2]
    assert sorted(caco().shown(image, keys)) == [-1, 0, 1, 2]
    assert sum(made(image, keys, changed).values()).isfinite()


def test_settings_that_cannot_work_are_named() -> None:
    with pytest.raises(UserError, match=r"decay 1\.0"):
        ChangeBook(PLACES, decay=1.0)
