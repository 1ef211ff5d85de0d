"""What is kept of a training, as one network: stored numbers of images in, probabilities out.

Notation: N images, C bands (of all dates), H × W pixels, K classes, S image size of the training.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wherewhen.build import Spec, without
from wherewhen.semi import Algorithm, Objective, SemiSupervised
from wherewhen.semi.objectives import one_answer
from wherewhen.tasks.facts import Facts
from wherewhen.tasks.networks import Design, Teacher

BUILT_FROM = ("encoder", "decoder", "algorithm", "teacher")  # what a checkpoint says beside the facts
PROBE = (AssertionError, RuntimeError, ValueError)  # how networks refuse an image of another size


class Answering(nn.Module):
    """The student's average between its scale and its probabilities, corrected as its algorithm wants.

    Args:
        facts: Of the training.
        objective: With its networks; what belongs to the training alone is dropped.
    """

    nothing: Tensor | None

    def __init__(self, facts: Facts, objective: Objective) -> None:
        super().__init__()
        self.facts, self.space = facts, objective.space
        self.scale = facts.scale()
        self.network: Any = objective.kept.module
        policy = objective.policy if isinstance(objective, SemiSupervised) else None
        corrects = policy is not None and type(policy).predict is not Algorithm.predict
        self.algorithm = policy if corrects else None
        blank = "blank" in objective.views
        self.register_buffer("nothing", torch.zeros(1, *self.logits(self.blank())[0].shape) if blank else None)
        self.eval().requires_grad_(False)

    @property
    def channels(self) -> int:
        """C, bands of all dates."""
        return len(self.facts.bands) * self.facts.dates

    def blank(self) -> Tensor:
        """An image without content, as `LabelEfficient.blank` has it."""
        size = self.facts.image_size
        white: Tensor = self.scale(torch.ones(1, self.channels, size, size))
        return white

    def know_nothing(self) -> None:
        """Find the answer to an image without content: it is one for all, so it is asked for once."""
        if self.nothing is not None:
            self.nothing.copy_(one_answer(self.logits(self.blank())))

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W) on the network's scale -> canonical logits."""
        return self.space.logits(self.network.eval()(images).logits)

    def forward(self, pixels: Tensor) -> Tensor:
        """Stored numbers (N, C, H, W) float32 -> probabilities float32: (N, K), or of every pixel (N, K, H, W)."""
        raw: Tensor = self.network(self.scale(self.scale.unit(pixels))).logits
        if self.facts.dense and self.algorithm is None:
            return raw.float().softmax(1)  # as below, without turning the maps over and back
        logits = self.space.logits(raw)
        if self.algorithm is not None:
            logits = self.algorithm.predict(logits, self.nothing)
        p = logits.softmax(-1)
        if self.facts.dense:
            count, _, height, width = raw.shape
            return p.view(count, height, width, -1).movedim(-1, 1)
        return p if self.facts.label_kind == "one" else p[..., 1]

    @torch.no_grad()
    def stride(self) -> int | None:
        """Images may have sides of any multiple of this; None where they must be S × S.

        That is found by trying: networks of a fixed size refuse another.
        """
        if not self.facts.dense:
            return None
        stride = int(max(self.network.encoder.map_strides))
        try:
            self.network.eval()(torch.zeros(1, self.channels, stride, 2 * stride))
        except PROBE:
            return None
        return stride


def built(description: Mapping[str, Any]) -> tuple[Facts, Objective]:
    """Networks with random weights, as a checkpoint describes them (`LabelEfficient.described`).

    Raises:
        UserError: A class of one's own is not found.
    """
    facts = Facts.from_dict(description["facts"])
    teacher = description["teacher"]
    design = Design(
        encoder=without(description["encoder"], "weights"),  # they are in the file
        decoder=description.get("decoder"),
        algorithm=description["algorithm"],
        teacher=None if teacher is None else Teacher(**teacher),
        freeze_encoder=False,
        dense_loss="cross_entropy",
        positive_weight=1.0,
        unlabelled_weight=1.0,
        warmup_steps=0,
        labels_from=None,
        ema_momentum=0.0,
    )
    with torch.random.fork_rng(devices=[]):  # random numbers of whoever calls are none of ours
        return facts, design.objective(facts)


def answering_of(description: Mapping[str, Any], state: Mapping[str, Tensor]) -> Answering:
    """The network of a checkpoint.

    Args:
        description: As `wherewhen.tasks.checkpoint.saved` gives it.
        state: The checkpoint's `state_dict`.

    Raises:
        UserError: A class of one's own is not found.
    """
    facts, objective = built(description)
    start = "objective."
    objective.load_state_dict({k.removeprefix(start): v for k, v in state.items() if k.startswith(start)})
    answering = Answering(facts, objective)
    answering.know_nothing()
    return answering


def spec_of(description: Mapping[str, Any]) -> Spec:
    """The part of a description that networks are built from."""
    return {name: description.get(name) for name in ("facts", *BUILT_FROM)}
