"""FixMatch and ST-SSL steps as research code writes them: the truth and the clock that ours is held against.

Written from the papers (Sohn et al. 2020, https://arxiv.org/abs/2001.07685; Bernhard et al., ECAI 2024). All views
go through one forward with gradient, the weak one too: the pseudo-label is detached only when it is made, which
changes no number and costs a backward pass. AdamW as torch gives it, the averaged weights follow tensor by tensor,
every loss is read every step.

Notation: L labelled and U unlabelled images, K classes, D width of the token.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Images = Mapping[str, Tensor]  # "labelled", "weak", "strong" -> (N, C, H, W)
Where = Mapping[str, Tensor]  # the same views -> (N, 3) place and time
VIEWS = ("labelled", "weak", "strong")


@dataclass(frozen=True)
class Recipe:
    """Numbers of a training; the names are those of the papers.

    Args:
        steps: T of the schedule cos(7πt/16T).
        warmup: Steps of the linear start of the learning rate.
        learning_rate: Highest, of AdamW.
        weight_decay: Of matrices; biases and norms have none.
        momentum: Of the averaged weights.
        threshold: τ, the probability from which a pseudo-label counts.
        unlabelled_weight: λ_u.
        distill_weight: λ_D, ST-SSL only.
    """

    steps: int
    warmup: int = 0
    learning_rate: float = 1e-3
    weight_decay: float = 5e-4
    momentum: float = 0.999
    threshold: float = 0.95
    unlabelled_weight: float = 1.0
    distill_weight: float = 1.0

    def rate(self, step: int) -> float:
        """Learning rate of a step as a share of the highest."""
        if step < self.warmup:
            return step / self.warmup
        return math.cos(7 * math.pi * (step - self.warmup) / (16 * (self.steps - self.warmup)))


class Step(ABC):
    """What every step ends with: backward, optimiser, schedule, averages, and figures to log.

    Args:
        networks: What is trained, each (N, C, H, W), (N, 3) or None -> object with `logits` and `token`.
        recipe: The numbers.
    """

    def __init__(self, networks: Sequence[nn.Module], recipe: Recipe) -> None:
        self.networks, self.recipe = networks, recipe
        self.averages = [copy.deepcopy(network).requires_grad_(False).eval() for network in networks]
        parameters = [p for network in networks for p in network.parameters()]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, recipe.rate)

    def __call__(self, images: Images, where: Where, y: Tensor) -> dict[str, float]:
        """One training step; y (L,) int64. The losses that it minimised the sum of."""
        losses = self.losses(images, where, y)
        self.optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        self.optimizer.step()
        self.scheduler.step()
        for network, average in zip(self.networks, self.averages, strict=True):
            follow(average, network, self.recipe.momentum)
        return {name: loss.item() for name, loss in losses.items()}

    @abstractmethod
    def losses(self, images: Images, where: Where, y: Tensor) -> dict[str, Tensor]:
        """Weighted scalar losses by name."""


class FixMatch(Step):
    """One network labels for itself."""

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        super().__init__([network], recipe)

    def losses(self, images: Images, where: Where, y: Tensor) -> dict[str, Tensor]:
        """Eqs. 3 and 4; `where` is not looked at."""
        logits = self.networks[0](torch.cat([images[view] for view in VIEWS]), None).logits
        labelled, weak, strong = logits.split([len(images[view]) for view in VIEWS])
        target, mask = pseudo_label(weak, self.recipe.threshold)
        return {
            "supervised": F.cross_entropy(labelled, y),
            "unlabelled": self.recipe.unlabelled_weight * masked(strong, target, mask),
        }


class STSSL(Step):
    """A teacher that knows where and when labels for itself and for a student that sees images only."""

    def __init__(self, teacher: nn.Module, student: nn.Module, recipe: Recipe) -> None:
        super().__init__([teacher, student], recipe)

    def losses(self, images: Images, where: Where, y: Tensor) -> dict[str, Tensor]:
        """FixMatch of both networks with the teacher's labels, and eq. 5 between their tokens."""
        teacher, student = self.networks
        recipe, sizes = self.recipe, [len(images[view]) for view in VIEWS]
        taught = teacher(torch.cat([images[v] for v in VIEWS]), torch.cat([where[v] for v in VIEWS]))
        labelled, weak, strong = taught.logits.split(sizes)
        token_labelled, _, token_strong = taught.token.split(sizes)
        target, mask = pseudo_label(weak, recipe.threshold)
        learned = student(torch.cat((images["labelled"], images["strong"])), None)
        student_labelled, student_strong = learned.logits.split([sizes[0], sizes[2]])
        metatoken = torch.cat((token_labelled, token_strong)).detach()
        return {
            "teacher/supervised": F.cross_entropy(labelled, y),
            "teacher/unlabelled": recipe.unlabelled_weight * masked(strong, target, mask),
            "student/supervised": F.cross_entropy(student_labelled, y),
            "student/unlabelled": recipe.unlabelled_weight * masked(student_strong, target, mask),
            "student/distill": recipe.distill_weight * F.mse_loss(learned.token, metatoken),
        }


def pseudo_label(weak: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Logits (U, K) -> likeliest class (U,) and 1 where its probability reaches the threshold, else 0."""
    probability, target = weak.detach().softmax(-1).max(-1)
    return target, probability.ge(threshold).to(weak.dtype)


def masked(strong: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of (U, K) where the mask is 1, mean over all U."""
    return (F.cross_entropy(strong, target, reduction="none") * mask).mean()


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, momentum: float) -> None:
    """Move averaged weights and buffers towards the network's, tensor by tensor."""
    new = network.state_dict()
    for name, old in average.state_dict().items():
        if old.is_floating_point():
            old.mul_(momentum).add_(new[name], alpha=1 - momentum)
        else:
            old.copy_(new[name])
