"""All seven algorithms against slow truths written from the papers, and what holds for each of them."""

import copy
import io
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.semi.algorithms import ALL, Case, arrays, cases, labels, outputs, same_state
from wherewhen.semi import CDMAD, UDAL, Algorithm, Clock, DeFixMatch, FreeMatch, Outputs, SoftMatch, State

STEPS = 20


def reloaded(algorithm: Algorithm, case: Case) -> Algorithm:
    """A new object that read the old one's state from a file."""
    file = io.BytesIO()
    torch.save(algorithm.state_dict(), file)
    file.seek(0)
    fresh = case.make()
    fresh.load_state_dict(torch.load(file, weights_only=True))
    return fresh


@pytest.mark.parametrize("saved_at", [None, 10])
@pytest.mark.parametrize("case", ALL, ids=str)
def test_twenty_steps_of_drifting_logits_equal_the_paper(case: Case, saved_at: int | None) -> None:
    """A teacher and a student, as in ST-SSL: the student pays for the teacher's labels and sees no weak view."""
    teacher, student = case.make(), case.make()
    true_teacher, true_student = case.truth(), case.truth()
    accepted = []
    for step in range(STEPS):
        if step == saved_at:
            teacher, student = reloaded(teacher, case), reloaded(student, case)
        clock, y = Clock(step, STEPS), labels(case.kind, step)
        out, seen = outputs(case.kind, step), outputs(case.kind, step, network=1)._replace(weak=None)
        pseudo = teacher.label(out, clock)
        expected = true_teacher.label(arrays(out), step, STEPS)
        np.testing.assert_allclose(pseudo.targets, expected["targets"], atol=1e-6)
        np.testing.assert_allclose(pseudo.weights, expected["weights"], atol=1e-6)
        accepted.append(pseudo.weights.mean().item())
        for ours, theirs, views in ((teacher, true_teacher, out), (student, true_student, seen)):
            losses = ours.loss(views, y, pseudo, clock)
            truth = theirs.loss(arrays(views), y.numpy(), expected, step, STEPS)
            if case.name == "freematch" and theirs is true_student:  # the marginal is the teacher's
                truth["fairness"] = true_teacher.loss(arrays(views), y.numpy(), expected, step, STEPS)["fairness"]
            assert losses.keys() == truth.keys()
            for name, value in losses.items():
                assert value.item() == pytest.approx(truth[name], abs=1e-6), (step, name)
        same_state(teacher, true_teacher)
    assert 0 < np.mean(accepted) < 1  # some are believed and some are not, or nothing was compared


@pytest.mark.parametrize("case", ALL, ids=str)
def test_permuting_the_batch_permutes_the_labels(case: Case) -> None:
    out = outputs(case.kind, 3)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    assert out.weak is not None
    a = case.make().label(out, Clock(3, STEPS))
    b = case.make().label(out._replace(weak=out.weak[order]), Clock(3, STEPS))
    torch.testing.assert_close(a.targets[order], b.targets)
    torch.testing.assert_close(a.weights[order], b.weights)


@pytest.mark.parametrize("case", cases("many"), ids=str)
def test_classes_of_many_labels_do_not_know_of_each_other(case: Case) -> None:
    """Changing one class's logits leaves the others' labels alone; CAP and all else decide class by class."""
    a, b = case.make(), case.make()
    for step in range(5):
        out = outputs("many", step)
        assert out.weak is not None
        other = out.weak.clone()
        other[:, 0] = other[:, 0].flip(0) * 2
        here, there = a.label(out, Clock(step, 9)), b.label(out._replace(weak=other), Clock(step, 9))
        assert torch.equal(here.targets[:, 1:], there.targets[:, 1:])
        torch.testing.assert_close(here.weights[:, 1:], there.weights[:, 1:])


HALF, PRIOR = torch.tensor([0.5, 0.5]), torch.tensor([0.8, 0.2])
BINARY: dict[str, Callable[[tuple[int, ...]], Algorithm]] = {
    "udal": lambda shape: UDAL(PRIOR.expand(shape), momentum=0.9, threshold=0.7),
    "softmatch": lambda shape: SoftMatch(PRIOR.expand(shape), momentum=0.9),
    "freematch": lambda shape: FreeMatch(HALF.expand(shape), momentum=0.9),
    "defixmatch": lambda shape: DeFixMatch(0.7),
    "cdmad": lambda shape: CDMAD(threshold=0.7),
}


@pytest.mark.parametrize("name", BINARY)
def test_two_classes_equal_one_binary_label(name: str) -> None:
    as_one, as_many = BINARY[name]((2,)), BINARY[name]((1, 2))
    for step in range(6):
        clock, y = Clock(step, 6), labels("many", step)[:, 0]
        many = Outputs(**{view: z[:, :1] for view, z in outputs("many", step)._asdict().items()})
        one = Outputs(**{view: z[:, 0] for view, z in many._asdict().items()})
        a = as_one.loss(one, y, as_one.label(one, clock), clock)
        b = as_many.loss(many, y[:, None], as_many.label(many, clock), clock)
        for loss in a:
            torch.testing.assert_close(a[loss], b[loss])


@pytest.mark.parametrize("case", ALL, ids=str)
def test_labels_carry_no_gradient_and_losses_do(case: Case) -> None:
    algorithm, out = case.make(), outputs(case.kind, 2)
    leaves = {view: z.requires_grad_() for view, z in out._asdict().items()}
    pseudo = algorithm.label(out, Clock(2, STEPS))
    assert not pseudo.weights.requires_grad
    assert not pseudo.targets.requires_grad
    torch.stack([*algorithm.loss(out, labels(case.kind, 2), pseudo, Clock(2, STEPS)).values()]).sum().backward()
    moved = {view for view, z in leaves.items() if z.grad is not None}
    assert moved == {"labelled", "strong"} | (algorithm.views & {"labelled_strong"})


@pytest.mark.parametrize("case", ALL, ids=str)
def test_a_step_that_is_taken_back_leaves_no_trace(case: Case) -> None:
    algorithm, calm = case.make(), case.make()
    for step in range(4):
        out, y, clock = outputs(case.kind, step), labels(case.kind, step), Clock(step, STEPS)
        for module in algorithm.modules():
            if isinstance(module, State):
                module.commit()
        failed = outputs(case.kind, step, network=2)
        algorithm.loss(failed, y, algorithm.label(failed, clock), clock)
        for module in algorithm.modules():
            if isinstance(module, State):
                module.rollback()
        a = algorithm.loss(out, y, algorithm.label(out, clock), clock)
        b = calm.loss(out, y, calm.label(out, clock), clock)
        assert all(torch.equal(a[name], b[name]) for name in b)
    assert all(torch.equal(value, algorithm.state_dict()[name]) for name, value in calm.state_dict().items())


@pytest.mark.parametrize("case", ALL, ids=str)
def test_a_copy_goes_its_own_way(case: Case) -> None:
    algorithm = case.make()
    algorithm.label(outputs(case.kind, 0), Clock(0, STEPS))
    before = algorithm.state_dict()
    twin = copy.deepcopy(algorithm)
    kept = {name: value.clone() for name, value in before.items()}
    out = outputs(case.kind, 9)
    twin.loss(out, labels(case.kind, 9), twin.label(out, Clock(9, STEPS)), Clock(9, STEPS))
    assert all(torch.equal(value, kept[name]) for name, value in algorithm.state_dict().items())
