"""All methods against slow truths written from the papers, and what holds for each of them."""

import io

import numpy as np
import pytest
import torch

from tests.contrast.methods import CASES, Case, batch, descend, oldest_first, train, weights
from wherewhen.contrast import ChangeAware, MomentumContrast

STEPS = 8  # the queue goes round twice and more


def reloaded(made: MomentumContrast, case: Case) -> MomentumContrast:
    """A new object that read the old one's state from a file."""
    file = io.BytesIO()
    torch.save(made.state_dict(), file)
    file.seek(0)
    fresh = case.make(seed=1)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    return fresh


@pytest.mark.parametrize("saved_at", [None, 4])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_steps_of_training_equal_the_papers(case: Case, saved_at: int | None) -> None:
    made = case.make()
    truth = case.truth(made)
    first = None
    for step in range(STEPS):
        if step == saved_at:
            made = reloaded(made, case)
        expected = truth.step(weights(made), **batch(step).arrays(case.groups))
        if case.groups == 1:
            del expected["agreement"]
        costs = made.costs(*batch(step), step=step)
        losses = made(*batch(step), step=step)
        assert losses.keys() == expected.keys()
        for name, value in losses.items():
            assert value.item() == pytest.approx(np.mean(expected[name]), abs=1e-5), (step, name)
            if name != "agreement":
                np.testing.assert_allclose(costs[name].detach(), expected[name], atol=1e-5)
        descend(made, losses)
        made.after_step(torch.tensor(True))
        np.testing.assert_allclose(oldest_first(made), truth.state()["queue"], atol=1e-5)
        first = first or truth.state()["key"]
    # the truth's key network follows at the beginning of a step, ours at the end of the one before
    truth.step(weights(made), **batch(STEPS).arrays(case.groups))
    for name, p in made.key.named_parameters():
        np.testing.assert_allclose(p, truth.state()["key"][name], atol=1e-5)
    assert first is not None
    assert max(np.abs(first[name] - truth.state()["key"][name]).max() for name in first) > 0.05  # it did move


def test_the_book_holds_the_ratios_of_the_paper() -> None:
    case = next(case for case in CASES if case.name == "caco")
    made = case.make()
    truth = case.truth(made)
    for step in range(STEPS):
        truth.step(weights(made), **batch(step).arrays(1))
        train(made, range(step, step + 1))
    assert isinstance(made, ChangeAware)
    assert made.book is not None
    ratios = truth.state()["ratios"]
    assert made.book.seen.sum() == len(ratios) > 16
    for which, ratio in ratios.items():
        assert made.book.ratio[which].item() == pytest.approx(ratio, rel=1e-4)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_key_network_begins_as_the_query_network_and_is_frozen(case: Case) -> None:
    made = case.make()
    ours, theirs = dict(made.key.named_parameters()), dict(made.query.named_parameters())
    assert ours.keys() == theirs.keys()
    for name, p in ours.items():
        assert torch.equal(p, theirs[name])
        assert not p.requires_grad
        assert theirs[name].requires_grad
    learned = {id(p) for network in made.learners() for p in network.parameters()}
    assert learned == {id(p) for p in made.query.parameters()}
    sum(made(*batch(0)).values()).backward()
    assert all(torch.equal(p, theirs[name]) for name, p in ours.items())  # at the first step the keys are the query's
    assert all(p.grad is not None for p in theirs.values())
    assert all(p.grad is None for p in ours.values())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_permuting_the_batch_permutes_the_costs(case: Case) -> None:
    made = case.make()
    image, keys, changed, place = batch(3)
    order = torch.tensor([4, 5, 0, 1, 6, 7, 2, 3])  # periods of a place stay side by side
    costs = made.costs(image, keys, changed, place)
    moved = made.costs(image[order], keys[:, order], changed[order], place[order])
    for name in costs.keys() - {"agreement"}:
        torch.testing.assert_close(moved[name], costs[name][order], atol=1e-5, rtol=0)
        assert costs[name].std() > 0.01


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_saved_goes_on_to_the_same_bits(case: Case) -> None:
    whole = case.make()
    expected = train(whole, range(6))
    part = case.make()
    train(part, range(3))
    part = reloaded(part, case)
    assert train(part, range(3, 6)) == expected[3:]
    assert all(torch.equal(value, part.state_dict()[name]) for name, value in whole.state_dict().items())


@pytest.mark.parametrize("how", ["image", "key", "gradient", "abandoned"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_step_that_came_to_nothing_leaves_no_trace(case: Case, how: str) -> None:
    made = case.make()
    train(made, range(2))
    before = {name: value.clone() for name, value in made.state_dict().items()}
    image, keys, changed, place = batch(9)
    if how == "image":
        image[1] = torch.nan
    if how == "key":
        keys[0, 3] = keys[2, 3] = torch.inf
    losses = made(image, keys, changed, place)
    if how in ("image", "key"):
        assert not all(value.isfinite() for value in losses.values())
        made.after_step()  # finds out by itself
    if how == "gradient":
        made.after_step(torch.tensor(False))
    made.take_back()
    for name, value in made.state_dict().items():
        assert torch.equal(value, before[name]), name
    twin = case.make()
    train(twin, range(2))
    assert train(made, range(2, 4)) == train(twin, range(2, 4))
