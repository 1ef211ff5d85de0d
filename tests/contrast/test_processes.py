"""Two processes that share a batch remember and pay what one process with the whole batch does."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.contrast.methods import CASES, DIM, RATE, Case, N, batch
from tests.processes import PROCESSES, together_and_alone
from wherewhen.contrast import MOCO, MomentumContrast, projection

STEPS = 4
Record = dict[str, Any]


class Companions(nn.Module):
    """An encoder with batch norm that writes down what its statistics were made of."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(12)
        self.shown: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shown.append(images.detach().flatten(1))
        normed: Tensor = self.norm(images.flatten(1))
        return normed


def share(rank: int | None) -> slice:
    return slice(None) if rank is None else slice(rank * N // PROCESSES, (rank + 1) * N // PROCESSES)


def training(case: Case, rank: int | None) -> Record:
    """A short training; gradients are averaged over processes as DDP does it."""
    made = case.make()
    parameters = list(made.query.parameters())
    record: Record = {"losses": []}
    for step in range(STEPS):
        losses = made(*batch(step).part(share(rank)), step)
        for p, gradient in zip(
            parameters, torch.autograd.grad(torch.stack([*losses.values()]).sum(), parameters), strict=True
        ):
            if rank is not None:
                torch.distributed.all_reduce(gradient)
                gradient /= PROCESSES
            p.data -= RATE * gradient
        made.after_step()
        record["losses"].append({name: value.item() for name, value in losses.items()})
    return record | {"state": made.state_dict()}


def bad_on_one(rank: int | None) -> Record:
    """A step that is not finite on the second process alone."""
    made = CASES[0].make()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    image, keys, *_ = batch(0).part(share(rank))
    if rank != 0:
        image[:] = torch.nan
    made(image, keys)
    made.after_step()
    return {"before": before, "state": made.state_dict()}


def shuffled(rank: int | None) -> Record:
    """The keys of a network with batch norm, and who met whom."""
    torch.manual_seed(0)
    made = MomentumContrast(Companions(), [projection(12, DIM)], MOCO, DIM, size=N)
    image, keys, *_ = batch(0).part(share(rank))
    torch.manual_seed(100 + (rank or 0))  # processes may differ in it
    made(image, keys, step=3)
    made.after_step()
    shown = made.key["encoder"].shown[0]  # type: ignore[index]
    return {"shown": shown, "order": made.deal(3, N), "queue": made.queue.keys}


def run(rank: int | None) -> dict[str, Record]:
    """Everything that is compared, by name."""
    found = {case.name: training(case, rank) for case in CASES}
    return found | {"bad": bad_on_one(rank), "shuffled": shuffled(rank)}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Record]]:
    """What each process saw, and one alone with the joined batch."""
    return together_and_alone(run, tmp_path_factory.mktemp("processes"))


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_two_processes_equal_one_with_the_joined_batch(records: list[dict[str, Record]], name: str) -> None:
    first, second, joined = (record[name] for record in records)
    for a, b, both in zip(first["losses"], second["losses"], joined["losses"], strict=True):
        for loss, value in both.items():  # what DDP minimises is the mean over processes
            assert (a[loss] + b[loss]) / 2 == pytest.approx(value, abs=1e-5), loss
            assert a[loss] != b[loss]  # each has its own images
    for key, value in joined["state"].items():
        assert torch.equal(first["state"][key], second["state"][key]), key  # to the bit: queue, key network, book
        torch.testing.assert_close(first["state"][key], value, atol=1e-4 if "ratio" in key else 1e-5, rtol=1e-5)


def test_a_step_that_is_bad_on_one_process_leaves_no_trace_on_any(records: list[dict[str, Record]]) -> None:
    for record in records:
        for name, value in record["bad"]["state"].items():
            assert torch.equal(value, record["bad"]["before"][name]), name


def test_keys_are_dealt_out_over_processes_and_come_back_in_slot_order(records: list[dict[str, Record]]) -> None:
    """Each process's batch norm sees the keys that the permutation gives it; the queue is in slot order."""
    first, second, alone = (record["shuffled"] for record in records)
    keys, order = batch(0).keys[0].flatten(1), first["order"]
    assert torch.equal(order, second["order"])
    assert torch.equal(torch.cat((first["shown"], second["shown"])), keys[order])
    assert {*order[: N // 2].tolist()} != {*range(N // 2)}  # or nothing is compared
    assert torch.equal(alone["shown"], keys)  # one process has nothing to deal out
    torch.manual_seed(0)
    twin = MomentumContrast(Companions(), [projection(12, DIM)], MOCO, DIM, size=N)
    expected = torch.empty(N, DIM)
    for part in order.chunk(PROCESSES):
        expected[part] = twin.embed_keys({0: batch(0).keys[0][part]}, step=0)[0][0]
    for record in (first, second):
        torch.testing.assert_close(record["queue"][0, 0], expected)
    assert not torch.allclose(expected, alone["queue"][0, 0], atol=1e-2)  # the statistics are others
