"""The baseline of the benchmark does the same sums as ours, so that only time is compared."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from baselines import STSSL, FixMatch, Recipe, Step
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from wherewhen import semi
from wherewhen.encoders import Learner, MetadataEncoder, ViT
from wherewhen.semi import Average, Clock, SemiSupervised, SingleLabel, SpatioTemporal

CLASSES, STEPS, LABELLED, UNLABELLED = 4, 20, 4, 6
RECIPE = Recipe(STEPS, warmup=3, momentum=0.9, threshold=0.3, unlabelled_weight=0.7, distill_weight=0.5)

Pair = tuple[SemiSupervised, Step]
Batch = tuple[dict[str, Tensor], dict[str, Tensor], Tensor]


# Double precision: AdamW divides gradients by their size, so where the true gradient is zero (the bias of the
# attention's keys) it makes whole steps of rounding errors, in float32 other ones on each side.
def learner(seed: int, metadata: bool = False, distill: bool = False) -> Learner:
    torch.manual_seed(seed)
    vit = ViT(3, image_size=8, patch_size=4, width=16, depth=2, heads=2)
    return Learner(vit, 16, CLASSES, MetadataEncoder(16) if metadata else None, distill).double()


def fixmatch() -> Pair:
    model = learner(0)
    plain = FixMatch(copy.deepcopy(model), RECIPE)
    average, algorithm = Average(model, RECIPE.momentum), semi.FixMatch(RECIPE.threshold)
    return SemiSupervised(model, average, algorithm, SingleLabel(), RECIPE.unlabelled_weight), plain


def stssl() -> Pair:
    teacher, student = learner(0, metadata=True), learner(1, distill=True)
    plain = STSSL(copy.deepcopy(teacher), copy.deepcopy(student), RECIPE)
    average, algorithm = Average(teacher, RECIPE.momentum), semi.FixMatch(RECIPE.threshold)
    weights = RECIPE.unlabelled_weight, RECIPE.distill_weight
    return SpatioTemporal(teacher, student, average, algorithm, SingleLabel(), *weights), plain


PAIRS = pytest.mark.parametrize("pair", [fixmatch, stssl], ids=["fixmatch", "stssl"])


def batch(step: int) -> Batch:
    g = torch.Generator().manual_seed(step)
    sizes = {"labelled": LABELLED, "strong": UNLABELLED, "weak": UNLABELLED}
    images = {name: torch.randn(n, 3, 8, 8, generator=g).double() for name, n in sizes.items()}
    where = {name: torch.rand(n, 3, generator=g).double() for name, n in sizes.items()}
    return images, where, torch.randint(0, CLASSES, (LABELLED,), generator=g)


def ours(objective: SemiSupervised) -> Iterator[dict[str, float]]:
    """Losses of step after step, with the optimiser that the task sets up."""
    parameters = [p for network in objective.learners() for p in network.parameters()]
    matrices, vectors = ([p for p in parameters if (p.ndim > 1) is wanted] for wanted in (True, False))
    groups = [{"params": matrices, "weight_decay": RECIPE.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RECIPE.learning_rate, fused=True)
    scheduler = LambdaLR(optimizer, RECIPE.rate)
    for step in range(STEPS):
        images, where, y = batch(step)
        losses = objective(images, where if isinstance(objective, SpatioTemporal) else {}, y, Clock(step, STEPS))
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        objective.after_step()
        scheduler.step()
        yield {name: loss.item() for name, loss in losses.items()}


@PAIRS
def test_losses_and_averages_are_ours_for_twenty_steps(pair: Callable[[], Pair]) -> None:
    objective, plain = pair()
    start = copy.deepcopy(plain.averages[-1].state_dict())
    unlabelled = 0.0
    for step, here in enumerate(ours(objective)):
        there = plain(*batch(step))
        assert there == pytest.approx(here, rel=1e-5)
        unlabelled += sum(value for name, value in here.items() if "unlabelled" in name)
    assert unlabelled > 0
    averages = [objective.ema, objective.kept][-len(plain.averages) :]
    for average, twin in zip(averages, plain.averages, strict=True):
        torch.testing.assert_close(twin.state_dict(), average.module.state_dict(), rtol=1e-5, atol=1e-5)
    moved = plain.averages[-1].state_dict()
    assert max(float((moved[name] - start[name]).abs().max()) for name in start) > 1e-3


def rows_with_gradient(network: nn.Module) -> list[int]:
    """Grows by the number of images of each backward pass through the network's head."""
    rows: list[int] = []

    def watch(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(lambda gradient: rows.append(len(gradient)))

    network.get_submodule("head").register_forward_hook(watch)
    return rows


@PAIRS
def test_the_weak_view_carries_gradient_in_the_baseline_and_not_in_ours(pair: Callable[[], Pair]) -> None:
    objective, plain = pair()
    here, there = rows_with_gradient(objective.model), rows_with_gradient(plain.networks[0])
    next(ours(objective))
    plain(*batch(0))
    assert here == [LABELLED + UNLABELLED]
    assert there == [LABELLED + 2 * UNLABELLED]
