import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import semi as truth
from wherewhen.errors import UserError
from wherewhen.semi import Queue, Running
from wherewhen.semi.state import _by_selection, _by_sorting


def test_running_mean_follows_the_definition() -> None:
    start, batches = torch.tensor([0.5, 0.1]), [torch.rand(2) for _ in range(6)]
    running = Running(start, momentum=0.9)
    for batch in batches:
        assert torch.equal(running.update(batch), running.value)
    np.testing.assert_allclose(running.value, truth.ema([b.numpy() for b in batches], start.numpy(), 0.9), rtol=1e-6)
    assert running.count == 6


def test_what_was_not_committed_can_be_taken_back() -> None:
    running = Running(torch.zeros(2), momentum=0.5)
    running.update(torch.ones(2))
    running.rollback()
    running.rollback()
    assert running.value.tolist() == [0, 0]
    assert running.count == 0
    running.update(torch.full((2,), 3.0))
    running.commit()
    running.rollback()
    assert running.value.tolist() == [1.5, 1.5]
    assert running.count == 1


def test_a_returned_average_does_not_move_with_later_ones() -> None:
    running = Running(torch.zeros(1), momentum=0.5)
    first = running.update(torch.ones(1))
    running.update(torch.ones(1))
    assert first.item() == 0.5


def test_a_bad_batch_does_not_erase_the_history() -> None:
    running = Running(torch.tensor([0.3, 0.7]))
    assert running.update(torch.tensor([torch.nan, 1.0])).tolist() == pytest.approx([0.3, 0.7])
    assert running.value.tolist() == pytest.approx([0.3, 0.7])
    assert running.count == 0


def test_from_first_takes_the_first_batch_as_it_is_also_after_a_bad_one() -> None:
    running = Running(torch.zeros(1), momentum=0.9, from_first=True)
    for batch in (torch.tensor([torch.inf]), torch.tensor([4.0]), torch.tensor([5.0])):
        running.update(batch)
    assert running.value.item() == pytest.approx(0.9 * 4 + 0.1 * 5)


def test_a_first_batch_that_equals_the_start_is_the_first_all_the_same() -> None:
    running = Running(torch.full((1,), 0.5), momentum=0.9, from_first=True)
    for value in (0.5, 1.0):  # a network whose head starts at zero predicts exactly what it starts from
        running.update(torch.tensor([value]))
    assert running.value.item() == pytest.approx(0.9 * 0.5 + 0.1 * 1.0)


def test_state_is_saved_loaded_and_copied() -> None:
    running = Running(torch.zeros(3), momentum=0.9)
    running.update(torch.ones(3))
    twin = Running(torch.zeros(3), momentum=0.9)
    twin.load_state_dict(running.state_dict())
    for other in (twin, copy.deepcopy(running)):
        other.update(torch.full((3,), 2.0))
    running.update(torch.full((3,), 2.0))
    assert torch.equal(twin.value, running.value)
    assert twin.count == running.count == 2


@given(seed=st.integers(0, 10_000), memory=st.integers(1, 30), sizes=st.lists(st.integers(1, 12), max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_queue_holds_the_last_rows_and_knows_their_quantiles(seed: int, memory: int, sizes: list[int]) -> None:
    g = torch.Generator().manual_seed(seed)
    queue, rows = Queue(2, memory), torch.empty(0, 2)
    shares = torch.tensor([[0.0, 0.5], [0.3, 0.99], [1.0, 0.5]])
    for size in sizes:
        batch = torch.rand(size, 2, generator=g)
        queue.push(batch)
        rows = torch.cat((rows, batch))[-memory:]
        quantiles = queue.quantiles(shares)
        for q in range(3):
            for column in range(2):
                ordered = sorted(rows[:, column].tolist())
                place = min(int(np.float32(len(rows)) * shares[q, column].numpy()), len(rows) - 1)
                assert quantiles[q, column].item() == ordered[place]
    assert not sizes or torch.equal(queue.rows[:, : len(rows)].sort(-1).values, rows.T.sort(-1).values)
    if not sizes:
        assert queue.quantiles(shares).isnan().all()


def test_a_processor_selects_what_a_gpu_sorts() -> None:
    rows, count = torch.rand(5, 40), torch.tensor(23)
    index = torch.randint(0, 23, (3, 5))
    assert torch.equal(_by_selection(rows, index, count), _by_sorting(rows, index, count))


def test_a_queue_passes_over_a_bad_batch_and_takes_a_step_back() -> None:
    queue = Queue(2, 5)
    for size in (3, 4):  # the second goes round the end
        before = {name: value.clone() for name, value in queue.state_dict().items()}
        queue.push(torch.rand(size, 2))
        queue.rollback()
        assert all(torch.equal(value, before[name]) for name, value in queue.state_dict().items())
        queue.push(torch.full((size, 2), torch.nan))
        assert all(torch.equal(value, before[name]) for name, value in queue.state_dict().items())
        queue.push(torch.rand(size, 2))
        queue.commit()
    assert queue.pushed == 7
    queue.rollback()
    assert queue.pushed == 7


def test_settings_that_cannot_work_are_named() -> None:
    with pytest.raises(UserError, match=r"momentum 1\.0"):
        Running(torch.zeros(1), momentum=1.0)
    with pytest.raises(UserError, match="memory of 0 rows"):
        Queue(3, 0)
