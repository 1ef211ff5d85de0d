"""Who labels for whom: one learner for itself, or a teacher that knows where and when for a student.

Notation: L labelled and U unlabelled images, D width of the token, K outcomes.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.utils.checkpoint import checkpoint

from wherewhen.errors import UserError
from wherewhen.semi.algorithm import Algorithm, Clock, Losses, Outputs, PseudoLabels, supervised
from wherewhen.semi.average import Average
from wherewhen.semi.pixel_loss import PixelLoss
from wherewhen.semi.spaces import UNKNOWN, LabelSpace
from wherewhen.semi.state import State

Images = Mapping[str, Tensor]  # view -> (N, C, H, W), ready for the network
Where = Mapping[str, Tensor]  # view -> (N, 3) latitude, longitude in degrees, fraction of the year
Distance = Literal["mse", "mae", "cosine"]
Taught = Literal["metatoken", "class_token"]
Labeller = Literal["model", "ema"]


class Geometry(NamedTuple):
    """Where the pixels of a strong view lie on its weak twin; needed for dense labels only."""

    relative: Tensor  # (N, H, W, 2) in [−1, 1]
    valid: Tensor  # (N, H, W) bool


Geometries = Mapping[str, Geometry]  # by strong view
NONE: Geometries = {}


class Answer(NamedTuple):
    """One learner's outputs, and a token of every image that carries gradient."""

    outputs: Outputs
    token: Tensor | None  # (N, D)


class Objective(nn.Module, ABC):
    """What a training step costs, and what happens after it.

    Args:
        space: The label space.
        ema: The averaged twin of the network that is kept in the end.
    """

    def __init__(self, model: nn.Module, ema: Average, space: LabelSpace) -> None:
        super().__init__()
        self.model, self.ema, self.space = model, ema, space
        self.micro_batch: int | None = None  # images a network sees at a time; None: a whole batch
        self.cost: PixelLoss | None = None  # of labelled pixels; None: what the algorithm asks for
        self.shown: dict[str, Tensor] = {}  # figures of the last step for people to watch, not for training

    @property
    def views(self) -> frozenset[str]:
        """The pictures that a step needs."""
        return frozenset({"labelled"})

    def learners(self) -> Iterable[nn.Module]:
        """The networks that the optimiser changes."""
        return (self.model,)

    @property
    def kept(self) -> Average:
        """The network that needs the image alone: what is evaluated and exported."""
        return self.ema

    def predict(self, images: Tensor, blank: Tensor | None = None) -> Tensor:
        """Images alone (N, C, H, W) -> canonical logits of the kept network.

        `blank` (1, C, H, W) is an image without content, for algorithms whose views ask for one.
        """
        return self.space.logits(self.kept(images).logits)

    def show(self, model: nn.Module, images: Tensor, where: Tensor | None = None) -> Any:
        """A network's answer, `micro_batch` images at a time.

        Losses and gradients are those of the whole batch: each part is computed again on the way back instead of being
        remembered, which costs a third of the time and needs the memory of one part only.

        Raises:
            UserError: The network has batch norm, which needs the whole batch.
        """
        size = self.micro_batch
        if size is None or len(images) <= size:
            return model(images, where)
        if batch_norms(model) and model.training:
            raise UserError(f"micro_batch {size} would split the statistics of batch norm; leave it out, or the norm")
        wheres = [None] * -(-len(images) // size) if where is None else where.split(size)
        parts = [
            checkpoint(model, *part, use_reentrant=False) if torch.is_grad_enabled() else model(*part)
            for part in zip(images.split(size), wheres, strict=True)
        ]
        return type(parts[0])(*(joined(values) for values in zip(*parts, strict=True)))

    @abstractmethod
    def forward(self, images: Images, where: Where, y: Tensor, clock: Clock, geometry: Geometries = NONE) -> Losses:
        """Named scalar losses of one step; their sum is minimised.

        Args:
            images: The views that `views` names.
            where: Place and time of each view's images; empty for networks that see images only.
            y: Labels of the labelled images as the label space takes them.
            clock: Where training stands.
            geometry: Needed for dense labels only.
        """

    def states(self) -> Iterator[State]:
        """Everything that the algorithms remember."""
        return (module for module in self.modules() if isinstance(module, State))

    @torch.no_grad()
    def after_step(self, good: Tensor | None = None) -> None:
        """Make the step's statistics stay and let the averages follow; once per optimiser step.

        `good` () is false where the optimiser passed over the step because its gradients were not finite.
        """
        for state in self.states():
            state.commit(good)
        follow(self.ema, self.model)


class Supervised(Objective):
    """The baseline: labelled images only."""

    def forward(self, images: Images, where: Where, y: Tensor, clock: Clock, geometry: Geometries = NONE) -> Losses:
        """Mean cross-entropy of the labelled images, or another cost of their pixels."""
        logits = self.space.logits(self.show(self.model, images["labelled"]).logits)
        return {"supervised": (self.cost or supervised)(logits, self.space.targets(y))}


class SemiSupervised(Objective):
    """One learner labels for itself.

    Args:
        model: The network, (N, C, H, W), (N, 3) or None -> object with `logits` and `token`.
        ema: Its averaged twin.
        algorithm: What to believe and what it costs.
        space: The label space.
        unlabelled_weight: λ_u, the weight of the unlabelled loss.
        warmup_steps: Before this step only supervised losses count; statistics are gathered all the same.
        labels_from: The network in training or its average, which is in eval mode, so that nothing is hidden from it;
            None leaves it to the algorithm.
    """

    def __init__(
        self,
        model: nn.Module,
        ema: Average,
        algorithm: Algorithm,
        space: LabelSpace,
        unlabelled_weight: float = 1.0,
        warmup_steps: int = 0,
        labels_from: Labeller | None = None,
    ) -> None:
        super().__init__(model, ema, space)
        self.algorithm = algorithm
        self.labels_from: Labeller = labels_from or algorithm.labels_from
        self.believed: PseudoLabels | None = None  # of the last step, for people to watch
        self.unlabelled_weight, self.warmup_steps = unlabelled_weight, warmup_steps

    @property
    def views(self) -> frozenset[str]:
        """The pictures that the algorithm asks for."""
        return self.algorithm.views

    @property
    def policy(self) -> Algorithm:
        """The algorithm of the network that is kept."""
        return self.algorithm

    def predict(self, images: Tensor, blank: Tensor | None = None) -> Tensor:
        """Canonical logits of the kept network, corrected as its algorithm wants."""
        nothing = None if blank is None else one_answer(super().predict(blank))
        return self.policy.predict(super().predict(images), nothing)

    def forward(self, images: Images, where: Where, y: Tensor, clock: Clock, geometry: Geometries = NONE) -> Losses:
        """Losses of the one learner."""
        answer = self.ask(self.model, images, {})
        pseudo = self.label(answer.outputs, clock, geometry)
        return self.weigh(self.losses(self.algorithm, answer.outputs, y, pseudo, clock, geometry), clock)

    def ask(self, model: nn.Module, images: Images, where: Where, taught: Taught = "metatoken") -> Answer:
        """Show a network all views: with gradient those that are learned from, in one batch where no batch norm is."""
        outputs: dict[str, Tensor] = {}
        labeller = self.ema if model is self.model and self.labels_from == "ema" else model
        with torch.no_grad(), unrecorded(labeller):  # labels are made from these, nothing is learned from them
            if "weak" in images:
                outputs["weak"] = self.space.logits(self.show(labeller, images["weak"], where.get("weak")).logits)
            if "blank" in images:
                outputs["blank"] = one_answer(self.space.logits(in_eval_mode(labeller, images["blank"]).logits))
        names = [name for name in images if name not in ("weak", "blank")]
        together = [names] if not batch_norms(model) else [[name] for name in names]  # batch norm would mix the views
        tokens = []
        for group in together:
            known = torch.cat([where[name] for name in group]) if where else None
            with unrecorded(model, "labelled" not in group):
                encoded = self.show(model, torch.cat([images[name] for name in group]), known)
            tokens.append(encoded.token if taught == "metatoken" else encoded.pooled)
            for name, raw in zip(group, encoded.logits.split([len(images[n]) for n in group]), strict=True):
                outputs[name] = self.space.logits(raw)
        return Answer(Outputs(**outputs), None if tokens[0] is None else torch.cat(tokens))

    @torch.no_grad()
    def label(self, out: Outputs, clock: Clock, geometry: Geometries = NONE) -> PseudoLabels:
        """What the labelling network believes, on the strong view's pixels."""
        for state in self.states():
            state.rollback()  # what was not committed belongs to a step that failed or is repeated
        pseudo = self.believed = self.algorithm.label(out, clock)
        self.shown = {"accepted": pseudo.weights.mean()}

        def carry(view: str, values: Tensor, fill: float) -> Tensor:
            return self.space.carry(values, *geometry[view], fill) if view in geometry else values

        return pseudo.carried(carry)

    def losses(
        self, algorithm: Algorithm, out: Outputs, y: Tensor, pseudo: PseudoLabels, clock: Clock, geometry: Geometries
    ) -> Losses:
        """What one learner pays: by its algorithm, or for labelled pixels by `cost`."""
        targets = self.space.targets(y)
        losses = algorithm.loss(out, targets, pseudo, clock)
        if self.cost is not None:
            losses["supervised"] = self.cost(out.labelled, targets)
            if out.labelled_strong is not None:
                there = self.space.carry(targets, *geometry["labelled_strong"], UNKNOWN)
                losses["supervised"] = (losses["supervised"] + self.cost(out.labelled_strong, there)) / 2
        return losses

    def weigh(self, losses: Losses, clock: Clock, prefix: str = "") -> Losses:
        """Apply λ_u, and silence all but the supervised loss during the warm-up."""
        awake = float(clock.step >= self.warmup_steps)
        weights = {"supervised": 1.0, "unlabelled": awake * self.unlabelled_weight}
        return {prefix + name: weights.get(name, awake) * loss for name, loss in losses.items()}


class SpatioTemporal(SemiSupervised):
    """A teacher that knows where and when labels for a student that sees images only.

    Bernhard et al., "Context Matters", ECAI 2024, section 3. Pseudo-labels come from the teacher's weak view
    and serve both networks; the student's distillation token follows the teacher's metatoken (eq. 5).

    Args:
        teacher: A network that takes place and time.
        student: A network that takes images only; or the teacher itself, which is then asked a second time without
            place and time (ablation "single model").
        ema: The teacher's averaged twin; the student's is made here with the same momentum.
        algorithm: Copied for the student: same policy, its own state.
        space: The label space.
        unlabelled_weight: λ_u, for both networks.
        distill_weight: λ_D, the weight of the distillation; 0 switches it off.
        warmup_steps: Before this step only supervised losses count.
        distance: Between the two tokens.
        stop_gradient: Keep the distillation from moving the teacher.
        taught: Which of the teacher's tokens the student's follows.
        labels_from: The teacher in training or its average; None leaves it to the algorithm.
    """

    def __init__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        ema: Average,
        algorithm: Algorithm,
        space: LabelSpace,
        unlabelled_weight: float = 1.0,
        distill_weight: float = 1.0,
        warmup_steps: int = 0,
        distance: Distance = "mse",
        stop_gradient: bool = True,
        taught: Taught = "metatoken",
        labels_from: Labeller | None = None,
    ) -> None:
        super().__init__(teacher, ema, algorithm, space, unlabelled_weight, warmup_steps, labels_from)
        self.student = student
        self.student_ema = ema if student is teacher else Average(student, ema.momentum)
        self.student_algorithm = copy.deepcopy(algorithm)
        self.distill_weight, self.distance, self.stop_gradient = distill_weight, distance, stop_gradient
        self.taught: Taught = taught

    def learners(self) -> Iterable[nn.Module]:
        """Teacher and student: one optimiser, one step."""
        return (self.model,) if self.student is self.model else (self.model, self.student)

    @property
    def kept(self) -> Average:
        """The student's average."""
        return self.student_ema

    @property
    def policy(self) -> Algorithm:
        """The student's algorithm."""
        return self.student_algorithm

    def forward(self, images: Images, where: Where, y: Tensor, clock: Clock, geometry: Geometries = NONE) -> Losses:
        """Losses of both networks, and the distillation between them."""
        teacher = self.ask(self.model, images, where, self.taught)
        pseudo = self.label(teacher.outputs, clock, geometry)
        student = self.ask(self.student, {k: v for k, v in images.items() if k != "weak"}, {})
        costs = self.losses(self.algorithm, teacher.outputs, y, pseudo, clock, geometry)
        losses = self.weigh(costs, clock, "teacher/")
        costs = self.losses(self.student_algorithm, student.outputs, y, pseudo, clock, geometry)
        losses |= self.weigh(costs, clock, "student/")
        if self.distill_weight and clock.step >= self.warmup_steps:
            losses["student/distill"] = self.distill_weight * self.distill(student.token, teacher.token)
        return losses

    def distill(self, student: Tensor | None, teacher: Tensor | None) -> Tensor:
        """Distance between the networks' tokens, (N, D) each."""
        if student is None or teacher is None:
            raise ValueError("distillation needs a token in both networks; set distill_weight to 0 without")
        if self.stop_gradient:
            teacher = teacher.detach()
        student, teacher = student.float(), teacher.float()
        match self.distance:
            case "mse":
                return F.mse_loss(student, teacher)
            case "mae":
                return F.l1_loss(student, teacher)
            case "cosine":
                return 1 - F.cosine_similarity(student, teacher).mean()

    @torch.no_grad()
    def after_step(self, good: Tensor | None = None) -> None:
        """As for one learner, and the student's average follows as well."""
        super().after_step(good)
        if self.student_ema is not self.ema:
            follow(self.student_ema, self.student)


def joined(parts: Sequence[Any]) -> Any:
    """Tensors of parts of a batch as one; None if there are none."""
    return None if parts[0] is None else torch.cat(list(parts))


def follow(average: Average, model: nn.Module) -> None:
    """Move the average towards the network, whose batch norms first forget the statistics of a bad batch."""
    for norm, kept in zip(batch_norms(model), batch_norms(average.module), strict=True):
        for ours, old in zip(norm.buffers(), kept.buffers(), strict=True):
            ours.copy_(torch.where(ours.isfinite(), ours, old))
    average.update(model)


def batch_norms(model: nn.Module) -> list[BatchNorm]:
    """All batch norms of a network."""
    return [module for module in model.modules() if isinstance(module, BatchNorm)]


@contextmanager
def unrecorded(model: nn.Module, wanted: bool = True) -> Iterator[None]:
    """Keep the images shown meanwhile out of the running statistics of batch norms."""
    norms = batch_norms(model) if wanted else []
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def one_answer(blank: Tensor) -> Tensor:
    """Logits of an image without content -> (1, *, K): pixels of nothing have one answer, their mean."""
    return blank.mean(0, keepdim=True)


def in_eval_mode(model: nn.Module, images: Tensor) -> Any:
    """The answer of `model` in eval mode; its mode is as before afterwards."""
    was = model.training
    try:
        return model.eval()(images, None)
    finally:
        model.train(was)
