"""What to say of a step that does not fit into a GPU's memory: which size does, found by trying."""

from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.strategies import SingleDeviceStrategy

from wherewhen.errors import UserError

if TYPE_CHECKING:
    from wherewhen.tasks.guard import GuardedModule

SMALLEST = 1 << 12  # parts of a step that are tried at most


def too_large(module: "GuardedModule", batch: Any) -> UserError:
    """The error for a step that ran out of memory.

    Args:
        module: Where it did; it is of no use afterwards.
        batch: Of the step.
    """
    # other processes wait for whole steps, and divided networks take no smaller ones
    alone = module.trainer.world_size == 1 and isinstance(module.trainer.strategy, SingleDeviceStrategy)
    setting = fitting(module, batch) if alone else None
    remedy = f"one does with {setting}: set that" if setting else "make its batches smaller, or take a smaller network"
    return UserError(f"a step does not fit into the memory of {module.device}; {remedy}, and run the command again")


def fitting(module: "GuardedModule", batch: Any) -> str | None:
    """The largest setting, by halves, with which a step fits; None if none does."""
    parts = 2
    while parts <= SMALLEST and (less := module.smaller(batch, parts)) is not None:
        part, setting = less
        if fits(module, part):
            return setting
        parts *= 2
    return None


def fits(module: "GuardedModule", batch: Any) -> bool:
    """Whether a step goes there and back."""
    module.zero_grad(set_to_none=True)
    torch.cuda.empty_cache()
    try:
        with module.trainer.precision_plugin.train_step_context():
            losses: Any = module.training_step(batch, 0)
        losses["loss"].backward()
    except torch.OutOfMemoryError:
        return False
    return True
