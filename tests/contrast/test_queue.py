"""The queue holds unit vectors, and the oldest leave first."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wherewhen.contrast import Queue
from wherewhen.errors import UserError


def lengths(queue: Queue) -> torch.Tensor:
    found: torch.Tensor = queue.keys.norm(dim=-1)
    return found


@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 24),
    spaces=st.integers(1, 3),
    periods=st.integers(1, 2),
    pushes=st.integers(0, 9),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_any_batch_that_divides_the_size_replaces_the_oldest(
    seed: int, size: int, spaces: int, periods: int, pushes: int, data: st.DataObject
) -> None:
    torch.manual_seed(seed)
    queue = Queue(spaces, periods, size, 4)
    expected = [*queue.keys.unbind(2)]  # (S, P, D), oldest first
    divisors = [n for n in range(1, size + 1) if size % n == 0]
    for _ in range(pushes):
        n = data.draw(st.sampled_from(divisors))
        keys = 10 * torch.randn(spaces, periods, n, 4)
        good = data.draw(st.sampled_from([None, True, False]))
        queue.push(keys, None if good is None else torch.tensor(good))
        if good is not False:
            unit = keys / (keys**2).sum(-1, keepdim=True).sqrt()
            expected = [*expected[n:], *unit.unbind(2)]
        torch.testing.assert_close(lengths(queue), torch.ones(spaces, periods, size), atol=1e-6, rtol=0)
        oldest_first = queue.keys.roll(-int(queue.next), dims=2)
        torch.testing.assert_close(oldest_first, torch.stack(expected, dim=2), atol=1e-6, rtol=0)


def test_it_begins_with_random_unit_keys_that_differ() -> None:
    queue = Queue(3, 2, 50, 8)
    torch.testing.assert_close(lengths(queue), torch.ones(3, 2, 50))
    assert len(queue.keys.flatten(0, 2).unique(dim=0)) == 300


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 0.0])
def test_keys_without_a_direction_are_passed_over(bad: float) -> None:
    queue = Queue(2, 1, 6, 4)
    before = queue.keys.clone()
    keys = torch.randn(2, 1, 3, 4)
    keys[1, 0, 2] = bad
    queue.push(keys)
    assert torch.equal(queue.keys, before)
    assert queue.next == 0


@pytest.mark.parametrize(("size", "periods", "batch", "fits"), [(16, 1, 6, 18), (11, 2, 4, 24), (4, 1, 9, 9)])
def test_a_batch_that_does_not_divide_is_refused_with_a_size_that_fits(
    size: int, periods: int, batch: int, fits: int
) -> None:
    queue = Queue(1, periods, size, 4)
    message = f"queue of {size * periods} keys .* batches of {batch * periods}: .* e.g. {fits}"
    with pytest.raises(UserError, match=message):
        queue.push(torch.randn(1, periods, batch, 4))
    Queue(1, periods, fits // periods, 4).push(torch.randn(1, periods, batch, 4))


def test_an_empty_queue_is_refused() -> None:
    with pytest.raises(UserError, match="queue of 0 keys"):
        Queue(1, 1, 0, 4)
