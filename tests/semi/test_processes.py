"""Two processes that share a batch remember and pay what one process with the whole batch does."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from tests.processes import PROCESSES, together_and_alone
from tests.semi.algorithms import ALL, CLASSES, Case, cases, labels, outputs
from wherewhen.semi import UNKNOWN, Average, Clock, DenseLoss, MultiLabel, Outputs, PixelLoss, SpatioTemporal

STEPS = 6
LABELLED, UNLABELLED = 8, 12
SIZES = {"labelled": LABELLED, "labelled_strong": LABELLED, "weak": UNLABELLED, "strong": UNLABELLED}
PIXELS: tuple[DenseLoss, ...] = ("cross_entropy", "focal+dice", "dice")
Record = dict[str, Any]


class Answer(NamedTuple):
    logits: Tensor
    token: Tensor
    pooled: Tensor


class Tiny(nn.Module):
    """A network that has what the objectives ask for and takes no time to import."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body, self.place, self.head = nn.Linear(12, 8), nn.Linear(3, 8), nn.Linear(8, CLASSES["many"])

    def forward(self, images: Tensor, where: Tensor | None = None) -> Answer:
        hidden = self.body(images.flatten(1))
        token = (hidden if where is None else hidden + self.place(where)).tanh()
        return Answer(3 * self.head(token), token, token)


def share(x: Tensor, rank: int | None) -> Tensor:
    """A process's slots of a batch; the whole batch for one process alone, the blank image for everyone."""
    return x if rank is None or len(x) == 1 else x.chunk(PROCESSES)[rank]


def all_of(case: Case, rank: int | None) -> Record:
    """Losses of every step, gradients of a weight before all logits, and the state in the end."""
    algorithm = case.make()
    weight = torch.ones(CLASSES[case.kind], 2 if case.kind == "many" else 1, requires_grad=True)
    record: Record = {"losses": [], "state": algorithm.state_dict()}
    for step in range(STEPS):
        clock, y = Clock(step, STEPS), share(labels(case.kind, step, LABELLED), rank)
        whole = outputs(case.kind, step, labelled=LABELLED, unlabelled=UNLABELLED)
        scale = weight if case.kind == "many" else weight[:, 0]
        out = Outputs(**{view: share(z, rank) * scale for view, z in whole._asdict().items()})
        losses = algorithm.loss(out, y, algorithm.label(out, clock), clock)
        torch.stack([*losses.values()]).sum().backward()
        record["losses"].append({name: value.item() for name, value in losses.items()})
    return record | {"gradient": weight.grad}


def training(case: Case, rank: int | None) -> Record:
    """A short ST-SSL training; gradients are averaged over processes as DDP does it."""
    teacher, student = Tiny(0), Tiny(1)
    objective = SpatioTemporal(teacher, student, Average(teacher, 0.8), case.make(), MultiLabel())
    parameters = [p for network in objective.learners() for p in network.parameters()]
    record: Record = {"losses": []}
    for step in range(STEPS):
        g = torch.Generator().manual_seed(step)
        images, where = {"blank": torch.ones(1, 3, 2, 2)}, {}
        for view, size in SIZES.items():
            images[view] = share(2 * torch.randn(size, 3, 2, 2, generator=g), rank)
            where[view] = share(torch.rand(size, 3, generator=g), rank)
        images = {view: x for view, x in images.items() if view in objective.views}
        losses = objective(images, where, share(labels("many", step, LABELLED), rank), Clock(step, STEPS))
        gradients = torch.autograd.grad(torch.stack([*losses.values()]).sum(), parameters, allow_unused=True)
        for p, gradient in zip(parameters, gradients, strict=True):
            if gradient is None:
                continue
            if rank is not None:
                torch.distributed.all_reduce(gradient)
                gradient /= PROCESSES
            p.data -= 0.05 * gradient  # by hand: importing torch's optimisers takes five seconds a process
        objective.after_step()
        record["losses"].append({name: value.item() for name, value in losses.items()})
    assert not {id(p) for p in objective.ema.parameters()} & {id(p) for p in parameters}
    return record | {"state": objective.state_dict()}


def of_pixels(loss: DenseLoss, rank: int | None) -> Record:
    """A loss of pixels, many of them unknown and most of these in the first process; the gradient of a weight."""
    weight = torch.ones(3, requires_grad=True)
    record: Record = {"losses": [], "state": {"none": torch.zeros(1)}}
    for step in range(STEPS):
        g = torch.Generator().manual_seed(step)
        logits, y = torch.randn(40, 3, generator=g), torch.randint(0, 3, (40,), generator=g)
        y[torch.rand(40, generator=g) < torch.linspace(0.9, 0.1, 40)] = UNKNOWN
        value = PixelLoss(loss, (1.0, 4.0, 2.0))(share(logits, rank) * weight, share(y, rank))
        value.backward()
        record["losses"].append({loss: value.item()})
    return record | {"gradient": weight.grad}


def run(rank: int | None) -> dict[str, Record]:
    """Everything that is compared, by name."""
    pixels = {loss: of_pixels(loss, rank) for loss in PIXELS}
    found = pixels | {f"{case} alone": all_of(case, rank) for case in ALL}
    return found | {f"{case} in ST-SSL": training(case, rank) for case in cases("many")}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Record]]:
    """What each process saw, and one alone with the joined batch."""
    return together_and_alone(run, tmp_path_factory.mktemp("processes"))


NAMES = [*PIXELS] + [f"{case} alone" for case in ALL] + [f"{case} in ST-SSL" for case in cases("many")]


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_equal_one_with_the_joined_batch(records: list[dict[str, Record]], name: str) -> None:
    first, second, joined = (record[name] for record in records)
    for a, b, both in zip(first["losses"], second["losses"], joined["losses"], strict=True):
        for loss, value in both.items():  # what DDP minimises is the mean over processes
            assert (a[loss] + b[loss]) / 2 == pytest.approx(value, abs=1e-5), loss
    if "gradient" in joined:
        torch.testing.assert_close((first["gradient"] + second["gradient"]) / 2, joined["gradient"], atol=1e-5, rtol=0)
    assert joined["state"]
    for key, value in joined["state"].items():
        assert torch.equal(first["state"][key], second["state"][key]), key  # to the bit: thresholds, priors, queues
        torch.testing.assert_close(first["state"][key], value, atol=1e-5, rtol=0)


def test_a_queue_is_filled_in_slot_order(records: list[dict[str, Record]]) -> None:
    """The joined batch's rows lie where one process puts them, not only the same rows somewhere."""
    for name in ("cap-many alone", "cap-many in ST-SSL"):
        first, _, joined = (record[name]["state"] for record in records)
        key = next(key for key in joined if key.endswith("queue.rows"))
        assert joined[key].any()
        torch.testing.assert_close(first[key], joined[key], atol=1e-5, rtol=0)
