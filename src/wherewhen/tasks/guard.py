"""Training steps that change nothing where their gradients are not finite."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor


class GuardedModule(pl.LightningModule):
    """A Lightning module whose fused optimiser passes over a bad step, on the device, without waiting for it."""

    def after_step(self, good: Tensor) -> None:
        """Let statistics and averages follow; `good` () is false where the optimiser passed over the step."""

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Look whether the step is any good: one whose gradients are not finite must change nothing."""
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        self.good = torch.stack(torch._foreach_norm(gradients)).sum().isfinite()
        optimizer.found_inf = (~self.good).float()  # type: ignore[attr-defined]  # the fused step reads it on the device

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then let statistics and averages follow, once."""
        super().optimizer_step(*args, **kwargs)
        self.after_step(self.good)
