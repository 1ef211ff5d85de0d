"""What may happen in a training and must not leave a NaN behind."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.semi.algorithms import ALL, CLASSES, LEVELS, PRIOR, Case, cases, labels, outputs, state
from wherewhen.errors import UserError
from wherewhen.semi import (
    CAP,
    CDMAD,
    UDAL,
    UNKNOWN,
    Algorithm,
    Clock,
    DeFixMatch,
    FixMatch,
    FreeMatch,
    Outputs,
    SoftMatch,
)

STEPS = 4
Change = Callable[[Outputs, Tensor], tuple[Outputs, Tensor]]


def each(out: Outputs, change: Callable[[Tensor], Tensor]) -> Outputs:
    return Outputs(**{view: change(z) for view, z in out._asdict().items()})


def never_predicted(out: Outputs, y: Tensor) -> tuple[Outputs, Tensor]:
    """The last outcome's probability is so small that float32 makes it zero."""
    return each(out, lambda z: torch.cat((z[..., :-1], z[..., -1:] - 300), -1)), y


def never_labelled(out: Outputs, y: Tensor) -> tuple[Outputs, Tensor]:
    return out, torch.zeros_like(y)


def nothing_accepted(out: Outputs, y: Tensor) -> tuple[Outputs, Tensor]:
    """All but flat; what the adaptive thresholds make of it, they make."""
    return each(out, lambda z: z * 1e-4), y


def one_sample(out: Outputs, y: Tensor) -> tuple[Outputs, Tensor]:
    return each(out, lambda z: z[:1]), y[:1]


def all_unknown(out: Outputs, y: Tensor) -> tuple[Outputs, Tensor]:
    return out, torch.full_like(y, UNKNOWN)


def all_the_same(out: Outputs, y: Tensor) -> tuple[Outputs, Tensor]:
    """No variance, and ties: what a head that starts at zero gives."""
    return each(out, torch.zeros_like), y


def extreme(out: Outputs, y: Tensor) -> tuple[Outputs, Tensor]:
    return each(out, lambda z: z * 1000), y


def unlabelled_class(case: Case) -> Algorithm:
    """The same algorithm, told by its caller that a class has no label at all."""
    one, many = [0.5, 0.3, 0.2, 0.0, 0.0], [[0.5, 0.5], [0.8, 0.2], [1.0, 0.0]]
    prior = torch.tensor(one if case.kind == "one" else many)
    match case.name:
        case "udal":
            return UDAL(prior, momentum=0.0, threshold=LEVELS[case.kind])
        case "softmatch":
            return SoftMatch(prior, momentum=0.0)
        case "cap":
            return CAP(prior, memory=20)
    return case.make()


CHANGES = [never_predicted, never_labelled, nothing_accepted, one_sample, all_unknown, all_the_same, extreme]


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("case", ALL, ids=str)
def test_losses_gradients_and_state_stay_finite(case: Case, change: Change) -> None:
    algorithm = unlabelled_class(case)
    for step in range(STEPS):
        out, y = change(outputs(case.kind, step), labels(case.kind, step))
        leaves = Outputs(*(z.detach().requires_grad_() for z in out if z is not None))
        pseudo = algorithm.label(leaves, Clock(step, STEPS))
        assert pseudo.weights.isfinite().all()
        assert ((pseudo.weights >= 0) & (pseudo.weights <= 1)).all()
        losses = algorithm.loss(leaves, y, pseudo, Clock(step, STEPS))
        total = torch.stack([*losses.values()]).sum()
        assert total.isfinite(), losses
        total.backward()
        assert all(z.grad is None or z.grad.isfinite().all() for z in leaves if z is not None)
        assert all(value.isfinite().all() for value in algorithm.state_dict().values())
        if change is all_unknown and case.name != "defixmatch":
            assert losses["supervised"] == 0


@pytest.mark.parametrize("case", ALL, ids=str)
def test_nothing_accepted_costs_nothing(case: Case) -> None:
    algorithm, out = case.make(), outputs(case.kind, 0)
    pseudo = algorithm.label(out, Clock(0, STEPS))
    pseudo = pseudo.carried(lambda view, values, fill: torch.full_like(values, fill))
    losses = algorithm.loss(out, labels(case.kind, 0), pseudo, Clock(0, STEPS))
    assert all(value == 0 for name, value in losses.items() if name != "supervised")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("case", ALL, ids=str)
def test_a_batch_that_is_not_finite_leaves_the_state_as_it_was(case: Case, bad: float, first: bool) -> None:
    """Its own labels count for nothing, and what follows goes on as if it had never been."""
    algorithm, calm = case.make(), case.make()
    for step in range(0 if first else 8, 12):
        out, y, clock = outputs(case.kind, step), labels(case.kind, step), Clock(step, 20)
        if step in (0, 10):
            before = state(algorithm)
            broken = each(out, lambda z: torch.full_like(z, bad))
            pseudo = algorithm.label(broken, clock)
            assert pseudo.weights.abs().sum() == 0
            assert pseudo.targets.isfinite().all()
            assert ((pseudo.targets >= 0) & (pseudo.targets < CLASSES["one"])).all()
            algorithm.loss(broken, y, pseudo, clock)
            after = algorithm.state_dict()
            assert all(torch.equal(value, after[name]) for name, value in before.items() if name != "awake")
            continue
        a = algorithm.loss(out, y, algorithm.label(out, clock), clock)
        b = calm.loss(out, y, calm.label(out, clock), clock)
        assert all(value.isfinite() for value in a.values())
        assert all(torch.equal(value, a[name]) for name, value in b.items())


@pytest.mark.parametrize("case", ALL, ids=str)
def test_one_bad_image_is_not_believed_and_the_others_are_labelled(case: Case) -> None:
    algorithm = case.make()
    for step in range(3):
        algorithm.label(outputs(case.kind, step), Clock(step, STEPS))
    out = outputs(case.kind, 3)
    assert out.weak is not None
    weak = out.weak.clone()
    weak[4] = torch.nan
    pseudo = algorithm.label(out._replace(weak=weak), Clock(3, STEPS))
    assert pseudo.weights[4].abs().sum() == 0
    assert pseudo.weights.isfinite().all()
    losses = algorithm.loss(out._replace(weak=None), labels(case.kind, 3), pseudo, Clock(3, STEPS))
    assert all(value.isfinite() for value in losses.values())


@pytest.mark.parametrize("case", ALL, ids=str)
def test_half_precision_logits_are_reckoned_with_in_float32(case: Case) -> None:
    half, full = case.make(), case.make()
    for step in range(STEPS):
        out, y, clock = outputs(case.kind, step), labels(case.kind, step), Clock(step, STEPS)
        rounded = each(out, Tensor.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            pseudo = half.label(rounded, clock)
            a = half.loss(rounded, y, pseudo, clock)
        exact = each(rounded, Tensor.float)
        b = full.loss(exact, y, full.label(exact, clock), clock)
        for name in b:
            assert torch.equal(a[name], b[name])
    assert all(torch.equal(value, half.state_dict()[name]) for name, value in full.state_dict().items())
    assert all(value.dtype != torch.bfloat16 for value in half.state_dict().values())


def test_a_class_at_one_half_is_present() -> None:
    out = Outputs(*(torch.zeros(2, 3, 2) for _ in range(5)))
    for case in cases("many"):
        targets = case.make().label(out, Clock(0, STEPS)).targets
        assert (targets == (0.5 if case.name == "cdmad" else 1)).all(), case.name


@pytest.mark.parametrize("algorithm", [FixMatch(), DeFixMatch(), CDMAD(), FreeMatch([0.5, 0.5]), SoftMatch([0.5, 0.5])])
def test_a_missing_view_is_named(algorithm: Algorithm) -> None:
    with pytest.raises(ValueError, match="weak"):
        algorithm.label(Outputs(torch.zeros(1, 2), blank=torch.zeros(1, 2)), Clock(0, 1))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CAP(PRIOR["one"].tolist()), "CAP is for many labels"),
        (lambda: CAP([0.5, 0.5]), "CAP is for many labels"),
        (lambda: CAP(PRIOR["many"].tolist(), keep_present=1.5), "keep_present 1.5"),
        (lambda: CAP(PRIOR["many"].tolist(), memory=0), "memory of 0"),
        (lambda: UDAL([0.5, 0.4]), "prior .* no frequencies"),
        (lambda: UDAL([1.5, -0.5]), "prior .* no frequencies"),
        (lambda: UDAL(PRIOR["one"].tolist(), momentum=1.0), "momentum 1.0"),
        (lambda: SoftMatch([0.5]), "goal .* no frequencies"),
        (lambda: FreeMatch([[0.5], [0.5]]), "uniform .* no frequencies"),
        (lambda: CDMAD(threshold=95), "no probability"),
    ],
)
def test_settings_that_cannot_work_are_named(make: Callable[[], Algorithm], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make()
