"""What a training step costs, counted and not timed.

Notation: N images, C bands, S image size.
"""

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from wherewhen.loader import Patches, StepBatch
from wherewhen.semi import Clock
from wherewhen.tasks.task import LabelEfficient


def step_flops(task: LabelEfficient, sizes: tuple[int, int]) -> int:
    """FLOPs of the networks in one training step, forward and backward; a multiply-add is two.

    Matrix products and convolutions are counted, as torch does; the views and the optimiser are not.

    Args:
        task: Built, with a trainer.
        sizes: Labelled and unlabelled images of a step.
    """
    known, other = (patches(task, size) for size in sizes)
    batch = StepBatch(0, known, other._replace(label=None) if task.needs_unlabelled else None)
    images, where, y, geometry = task.pictures(batch)
    # attention as plain matrix products: the fused kernel of the CPU is unknown to the counter, and would count 0
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        losses: dict[str, Tensor] = task.objective(images, where, y, Clock(1 << 30, 1 << 30), geometry)
        torch.stack(list(losses.values())).sum().backward()
    return int(counter.get_total_flops())


def patches(task: LabelEfficient, count: int) -> Patches:
    """A batch of black images at 0° N 0° E on 1 January; all of the first class, or of many labels with none."""
    assert task.facts is not None
    size = task.facts.image_size
    pixels = torch.zeros(count, task.facts.dates * len(task.facts.bands), size, size, device=task.device)
    shape: tuple[int, ...] = (count, size, size) if task.facts.dense else (count,)
    if task.facts.label_kind == "many":
        shape = (count, len(task.facts.classes))
    labels = torch.zeros(shape, dtype=torch.long, device=task.device)
    return Patches(pixels, torch.zeros(count, 3, device=task.device), labels)
