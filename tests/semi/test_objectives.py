"""The framework: who labels for whom, what moves which weights, and what a dense label lands on."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from wherewhen.encoders import Learner, MetadataEncoder, ViT
from wherewhen.errors import UserError
from wherewhen.semi import (
    Algorithm,
    Average,
    Clock,
    Dense,
    FixMatch,
    Outputs,
    PseudoLabels,
    Running,
    SemiSupervised,
    SingleLabel,
    SpatioTemporal,
    Supervised,
)
from wherewhen.semi.algorithm import Losses
from wherewhen.semi.objectives import Geometry
from wherewhen.views import Views, resample

CLASSES = 4


def learner(seed: int, metadata: bool = False, distill: bool = False, drop_path: float = 0.0) -> Learner:
    torch.manual_seed(seed)
    vit = ViT(3, image_size=8, patch_size=4, width=16, depth=2, heads=2, drop_path=drop_path)
    return Learner(vit, 16, CLASSES, MetadataEncoder(16) if metadata else None, distill)


def batch(step: int, labelled: int = 4, unlabelled: int = 6) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    g = torch.Generator().manual_seed(step)
    sizes = {"labelled": labelled, "weak": unlabelled, "strong": unlabelled}
    images = {name: torch.randn(n, 3, 8, 8, generator=g) for name, n in sizes.items()}
    where = {name: torch.rand(n, 3, generator=g) for name, n in sizes.items()}
    return images, where, torch.randint(0, CLASSES, (labelled,), generator=g)


def spatiotemporal(distill_weight: float, drop_path: float = 0.0, **kw: Any) -> SpatioTemporal:
    teacher = learner(0, metadata=distill_weight > 0, drop_path=drop_path)
    student = learner(1, distill=distill_weight > 0, drop_path=drop_path)
    return SpatioTemporal(
        teacher, student, Average(teacher), FixMatch(0.3), SingleLabel(), distill_weight=distill_weight, **kw
    )


def train(objective: Any, steps: int = 20) -> list[dict[str, float]]:
    """Losses of some optimiser steps, seeded as the task seeds them."""
    optimizer = torch.optim.AdamW([p for m in objective.learners() for p in m.parameters()], lr=1e-3)
    seen = []
    for step in range(steps):
        torch.manual_seed(step)
        images, where, y = batch(step)
        losses = objective(images, where, y, Clock(step, steps))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        objective.after_step()
        seen.append({name: value.item() for name, value in losses.items()})
    return seen


@pytest.mark.parametrize("drop_path", [0.0, 0.2])
def test_without_token_and_distillation_the_teacher_is_plain_fixmatch(drop_path: float) -> None:
    model = learner(0, drop_path=drop_path)
    plain = train(SemiSupervised(model, Average(model), FixMatch(0.3), SingleLabel()))
    teacher = train(spatiotemporal(0.0, drop_path))
    assert any(step["unlabelled"] > 0 for step in plain)
    for ours, theirs in zip(plain, teacher, strict=True):
        assert ours["supervised"] == theirs["teacher/supervised"]
        assert ours["unlabelled"] == theirs["teacher/unlabelled"]


def test_the_student_never_sees_metadata_and_its_answer_is_its_average() -> None:
    objective = spatiotemporal(1.0)
    seen: list[Any] = []
    objective.student.register_forward_pre_hook(lambda module, args: seen.append(args[1:]))
    train(objective, 3)
    assert seen
    assert all(rest == (None,) for rest in seen)
    images = batch(0)[0]["weak"]
    expected = objective.student_ema(images).logits
    assert torch.equal(objective.predict(images), expected)


def test_the_teacher_depends_on_where_and_the_student_does_not() -> None:
    objective = spatiotemporal(1.0).eval()
    images, where, _ = batch(0)
    a = objective.model(images["weak"], where["weak"]).logits
    b = objective.model(images["weak"], where["weak"] + 0.3).logits
    assert (a - b).abs().max() > 1e-4
    assert torch.equal(
        objective.student(images["weak"], where["weak"]).logits, objective.student(images["weak"]).logits
    )


@pytest.mark.parametrize("stop", [True, False])
def test_the_gradient_stop_keeps_the_distillation_from_the_teacher(stop: bool) -> None:
    objective = spatiotemporal(1.0, stop_gradient=stop)
    images, where, y = batch(0)
    objective(images, where, y, Clock(0, 1))["student/distill"].backward()
    moved = any(p.grad is not None and p.grad.abs().max() > 0 for p in objective.model.parameters())
    assert moved is not stop
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in objective.student.parameters())


@pytest.mark.parametrize(
    ("distance", "expected"), [("mse", (0.25 + 1) / 2), ("mae", (0.5 + 1) / 2), ("cosine", 1 - 0.5**0.5)]
)
def test_distances_between_tokens(distance: Any, expected: float) -> None:
    student, teacher = torch.tensor([[0.5, 0.0]]), torch.tensor([[1.0, 1.0]])
    objective = spatiotemporal(1.0, distance=distance)
    assert objective.distill(student, teacher).item() == pytest.approx(expected)


def test_the_average_may_label() -> None:
    images, where, y = batch(0)
    objective = spatiotemporal(1.0, labels_from="ema")
    train(objective, 3)
    objective(images, where, y, Clock(3, 4))
    weak = objective.ema(images["weak"], where["weak"]).logits
    assert objective.believed is not None
    assert torch.equal(objective.believed.targets, weak.argmax(-1))
    starts = [train(spatiotemporal(1.0, labels_from=who), 1)[0] for who in ("model", "ema")]
    assert starts[0] == pytest.approx(starts[1], rel=1e-5)  # the average starts as a copy
    for who in ("model", "ema"):
        objective = spatiotemporal(1.0, labels_from=who)
        objective.ema.module.get_parameter("head.bias").data[3] = 100.0  # and then has a mind of its own
        objective(images, where, y, Clock(0, 1))
        assert objective.believed is not None
        assert bool((objective.believed.targets == 3).all()) == (who == "ema")


def test_the_student_may_follow_the_class_token() -> None:
    images, where, y = batch(0)
    targets = []
    for taught in ("metatoken", "class_token"):
        objective = spatiotemporal(1.0, taught=taught)
        distance = objective(images, where, y, Clock(0, 1))["student/distill"]
        shown = torch.cat((images["labelled"], images["strong"])), torch.cat((where["labelled"], where["strong"]))
        teacher, student = objective.model(*shown), objective.student(shown[0])
        targets.append(teacher.token if taught == "metatoken" else teacher.pooled)
        torch.testing.assert_close(distance, torch.nn.functional.mse_loss(student.token, targets[-1]))
    assert not torch.equal(*targets)


def test_one_network_in_both_roles_is_asked_twice_and_averaged_once() -> None:
    both = learner(0, metadata=True, distill=True)
    objective = SpatioTemporal(both, both, Average(both, 0.5), FixMatch(0.3), SingleLabel(), distill_weight=1.0)
    start = {name: value.clone() for name, value in both.state_dict().items()}
    seen = train(objective, 1)[0]
    assert seen["teacher/supervised"] != seen["student/supervised"]
    assert objective.kept is objective.ema
    for name, value in objective.ema.module.state_dict().items():
        torch.testing.assert_close(value, (start[name] + both.state_dict()[name]) / 2)
    images = batch(0)[0]["weak"]
    assert torch.equal(objective.predict(images), objective.ema(images, None).logits)


@pytest.mark.parametrize("drop_path", [0.0, 0.3])
def test_micro_batches_give_the_gradients_of_the_whole_batch(drop_path: float) -> None:
    images, where, y = batch(0)
    gradients, seen = [], []
    for size in (None, 3):
        objective = spatiotemporal(1.0, drop_path)
        objective.micro_batch = size
        objective.student.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
        torch.manual_seed(0)
        torch.stack(list(objective(images, where, y, Clock(0, 1)).values())).sum().backward()
        gradients.append([p.grad for m in objective.learners() for p in m.parameters()])
    assert seen == [10, 3, 3, 3, 1, 1, 3, 3, 3]  # the last four once more, on the way back
    for whole, parts in zip(*gradients, strict=True):
        if drop_path:  # other draws, but numbers all the same
            assert parts.isfinite().all()
        else:
            torch.testing.assert_close(parts, whole, atol=1e-6, rtol=1e-4)


def test_micro_batches_and_batch_norm_exclude_each_other() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3))
    objective = Supervised(model, Average(model), SingleLabel())
    objective.micro_batch = 2
    with pytest.raises(UserError, match="micro_batch 2 would split the statistics"):
        objective.show(model, torch.randn(4, 3, 8, 8))


def test_weak_views_and_labels_carry_no_gradient() -> None:
    objective = spatiotemporal(1.0)
    images, where, y = batch(0)
    images["weak"].requires_grad_()
    torch.stack(list(objective(images, where, y, Clock(0, 1)).values())).sum().backward()
    assert images["weak"].grad is None


def test_batch_norm_sees_each_view_by_itself_and_remembers_no_strong_one() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(8)
    model = Learner(nn.Sequential(nn.Conv2d(3, 8, 8), norm, nn.Flatten()), 8, CLASSES)
    objective = SemiSupervised(model, Average(model), FixMatch(0.0), SingleLabel())
    images, _, y = batch(0)
    losses = objective(images, {}, y, Clock(0, 1))
    alone = nn.functional.cross_entropy(model(images["labelled"]).logits, y)
    torch.testing.assert_close(losses["supervised"], alone)

    assert norm.running_mean is not None
    before = norm.running_mean.clone()
    objective(images | {"strong": images["strong"] + 100}, {}, y, Clock(1, 1))
    once = norm.running_mean.clone()
    norm.running_mean.copy_(before)
    objective(images, {}, y, Clock(1, 1))
    torch.testing.assert_close(once, norm.running_mean)
    assert not torch.equal(once, before)
    assert norm.momentum == 0.1


def test_warm_up_leaves_the_supervised_loss_alone() -> None:
    objective = spatiotemporal(1.0, warmup_steps=5, unlabelled_weight=2.0)
    images, where, y = batch(0)
    before = objective(images, where, y, Clock(4, 10))
    after = objective(images, where, y, Clock(5, 10))
    assert {k for k, v in before.items() if v.item() > 0} == {"teacher/supervised", "student/supervised"}
    assert after["teacher/unlabelled"] > 0
    assert after["student/distill"] > 0
    assert after["teacher/supervised"] == before["teacher/supervised"]


def test_supervised_learns_from_the_labelled_images() -> None:
    model = learner(0)
    losses = train(Supervised(model, Average(model), SingleLabel()))
    assert set(losses[0]) == {"supervised"}


# -- an algorithm that asks for everything the framework can give ------------------------------------


@dataclass(frozen=True)
class Extra(PseudoLabels):
    secret: Tensor


class Demanding(Algorithm):
    """State, strong labelled views, a blank image, labels from the average: what part of the seven need."""

    views: ClassVar[frozenset[str]] = frozenset({"labelled", "weak", "strong", "labelled_strong", "blank"})
    labels_from: ClassVar[Literal["model", "ema"]] = "ema"

    def __init__(self) -> None:
        super().__init__()
        self.seen = Running(torch.full((CLASSES,), 1 / CLASSES), momentum=0.5)

    def label(self, out: Outputs, clock: Clock) -> Extra:
        assert out.weak is not None
        assert out.blank is not None
        marginal = self.seen.update(out.weak.softmax(-1).mean(0))
        p = (out.weak - out.blank).softmax(-1)
        return Extra(p, torch.ones(len(p)), secret=marginal)

    def loss(self, out: Outputs, y: Tensor, pseudo: Extra, clock: Clock) -> Losses:
        assert out.labelled_strong is not None
        losses = super().loss(out, y, pseudo, clock)
        return losses | {"fairness": (pseudo.secret * out.labelled_strong.log_softmax(-1)).sum(-1).mean()}

    def predict(self, logits: Tensor, blank: Tensor | None = None) -> Tensor:
        assert blank is not None
        return logits - blank


def test_an_algorithm_with_state_and_all_views_needs_no_line_in_the_framework() -> None:
    teacher, student = learner(0, metadata=True), learner(1, distill=True)
    algorithm = Demanding()
    objective = SpatioTemporal(teacher, student, Average(teacher, 0.5), algorithm, SingleLabel())
    images, where, y = batch(0)
    extra = torch.randn(4, 3, 8, 8)
    images |= {"labelled_strong": extra, "blank": torch.ones(1, 3, 8, 8)}
    where["labelled_strong"] = where["labelled"]
    objective(images | {"weak": -images["weak"]}, where, y, Clock(0, 1))  # a step that failed leaves no trace
    losses = objective(images, where, y, Clock(0, 1))
    assert {"teacher/fairness", "student/fairness", "student/distill"} <= set(losses)
    with torch.no_grad():
        averaged = objective.ema(images["weak"], where["weak"]).logits.softmax(-1).mean(0)
    objective.after_step()
    torch.testing.assert_close(algorithm.seen.value, 0.5 * averaged + 0.5 / CLASSES)
    assert objective.policy is not algorithm  # the student has its own state, and it does not label
    assert objective.policy.state_dict()["seen.count"] == 0

    white = objective.student_ema(images["blank"]).logits
    plain = objective.student_ema(images["weak"]).logits
    torch.testing.assert_close(objective.predict(images["weak"], images["blank"]), plain - white)
    assert "algorithm.seen.value" in objective.state_dict()
    assert teacher.training  # the blank image was shown in eval mode, and the mode put back


# -- dense ------------------------------------------------------------------------------------------


class Echo(NamedTuple):
    logits: Tensor
    token: Tensor | None


class Identity(nn.Module):
    """A network whose logits are the picture itself."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor, where: Tensor | None = None) -> Echo:
        return Echo(self.weight * images, None)


@pytest.mark.parametrize("inherit", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_a_dense_pseudo_label_lands_on_the_pixel_of_the_same_ground_point(seed: int, inherit: bool) -> None:
    g = torch.Generator().manual_seed(seed)
    n, size = 6, 16
    mask = torch.randint(0, CLASSES, (n, size, size), generator=g)
    picture = nn.functional.one_hot(mask, CLASSES).movedim(-1, 1).float()
    views = Views(colour=False)
    draws = views.draw(n, size, g)
    weak, strong = views.weak(picture, draws), views.strong(picture, draws, inherit=inherit)
    inside = strong.valid & (strong.relative.abs() <= 1).all(-1)
    model = Identity()
    objective = SemiSupervised(model, Average(model), FixMatch(0.0), Dense())
    images = {"labelled": weak.pixels, "weak": weak.pixels, "strong": strong.pixels}
    outputs = objective.ask(model, images, {}).outputs
    geometry = {"strong": Geometry(strong.relative, inside)}
    pseudo = objective.label(outputs, Clock(0, 1), geometry)
    expected = resample(mask, strong.grid, strong.valid)
    got = pseudo.targets.unflatten(0, (n, size, size))
    assert inside.float().mean() > 0.3
    assert torch.equal(got[inside], expected[inside])
    assert torch.equal(pseudo.weights.unflatten(0, (n, size, size)) > 0, inside)


def test_losses_of_dense_labels_ignore_what_lies_outside() -> None:
    model = Identity()
    objective = SemiSupervised(model, Average(model), FixMatch(0.0), Dense())
    images = {k: torch.randn(1, CLASSES, 2, 2) for k in ("labelled", "weak", "strong")}
    nowhere = Geometry(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, dtype=torch.bool))
    y = torch.zeros(1, 2, 2, dtype=torch.long)
    losses = objective(images, {}, y, Clock(0, 1), {"strong": nowhere})
    assert losses["unlabelled"].item() == 0
    assert objective.shown["accepted"].item() == 1  # before it was carried over
