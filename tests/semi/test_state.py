import copy

import numpy as np
import pytest
import torch

from tests.reference import semi as truth
from wherewhen.semi import Running


def test_running_mean_follows_the_definition() -> None:
    start, batches = torch.tensor([0.5, 0.1]), [torch.rand(2) for _ in range(6)]
    running = Running(start, momentum=0.9)
    for batch in batches:
        proposed = running.propose(batch)
        running.commit()
        assert torch.equal(proposed, running.value)
    np.testing.assert_allclose(running.value, truth.ema([b.numpy() for b in batches], start.numpy(), 0.9), rtol=1e-6)
    assert running.count == 6


def test_a_proposal_without_commit_leaves_no_trace() -> None:
    running = Running(torch.zeros(2), momentum=0.5)
    running.propose(torch.ones(2))
    assert running.value.tolist() == [0, 0]
    running.propose(torch.full((2,), 3.0))  # the step was repeated
    running.commit()
    running.commit()
    assert running.value.tolist() == [1.5, 1.5]


def test_a_bad_batch_does_not_erase_the_history() -> None:
    running = Running(torch.tensor([0.3, 0.7]))
    assert running.propose(torch.tensor([torch.nan, 1.0])).tolist() == pytest.approx([0.3, 0.7])
    running.commit()
    assert running.value.tolist() == pytest.approx([0.3, 0.7])
    assert running.count == 0


def test_from_first_takes_the_first_batch_as_it_is_also_after_a_bad_one() -> None:
    running = Running(torch.zeros(1), momentum=0.9, from_first=True)
    for batch in (torch.tensor([torch.inf]), torch.tensor([4.0]), torch.tensor([5.0])):
        running.propose(batch)
        running.commit()
    assert running.value.item() == pytest.approx(0.9 * 4 + 0.1 * 5)


def test_state_is_saved_loaded_and_copied() -> None:
    running = Running(torch.zeros(3), momentum=0.9)
    running.propose(torch.ones(3))
    running.commit()
    twin = Running(torch.zeros(3), momentum=0.9)
    twin.load_state_dict(running.state_dict())
    for other in (twin, copy.deepcopy(running)):
        other.propose(torch.full((3,), 2.0))
        other.commit()
    running.propose(torch.full((3,), 2.0))
    running.commit()
    assert torch.equal(twin.value, running.value)
    assert twin.count == running.count == 2
