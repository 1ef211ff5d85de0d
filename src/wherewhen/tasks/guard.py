"""Training steps that change nothing where their gradients are not finite, and an end to a run of them."""

import traceback
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from wherewhen.errors import UserError, note
from wherewhen.semi.average import here
from wherewhen.semi.state import mean_over_processes
from wherewhen.tasks import company
from wherewhen.tasks.memory import too_large
from wherewhen.tasks.run import Journal

LIMIT = 100  # bad steps in a row that end a training


class GuardedModule(pl.LightningModule):
    """A Lightning module whose fused optimiser passes over a bad step, on the device, without waiting for it."""

    def after_step(self, good: Tensor) -> None:
        """Let statistics and averages follow; `good` () is false where the optimiser passed over the step."""

    def smaller(self, batch: Any, parts: int) -> tuple[Any, str] | None:
        """A step that needs about one part of the memory, and the setting that makes it; None where none does."""

    def on_fit_start(self) -> None:
        """Tell of other programs that would slow the training."""
        if self.trainer.is_global_zero and self.device.type == "cpu" and (crowd := company.told()):
            note(crowd)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Hold the batch, for a step that does not fit into memory."""
        self.batch = batch

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Let it go."""
        self.batch = None

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Look whether the step is any good: one whose gradients are not finite must change nothing."""
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        size = torch.stack(torch._foreach_norm([here(gradient) for gradient in gradients])).sum()
        divided = any(here(gradient) is not gradient for gradient in gradients)
        self.good = (mean_over_processes(size) if divided else size).isfinite()
        optimizer.found_inf = (~self.good).float()  # type: ignore[attr-defined]  # the fused step reads it on the device

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip here: Lightning refuses fused optimisers in every mixed precision, though bfloat16 scales nothing.

        Raises:
            UserError: Gradients are scaled, as with float16.
        """
        if not gradient_clip_val:
            return
        if self.trainer.precision == "16-mixed":
            raise UserError(
                f"trainer.gradient_clip_val {gradient_clip_val} does not go with trainer.precision 16-mixed, whose "
                "gradients are scaled; use bf16-mixed, or leave it out"
            )
        by_value = str(gradient_clip_algorithm or "norm").lower() == "value"
        clip = torch.nn.utils.clip_grad_value_ if by_value else torch.nn.utils.clip_grad_norm_
        clip([weight for group in optimizer.param_groups for weight in group["params"]], gradient_clip_val)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then let statistics and averages follow, once.

        Raises:
            UserError: The step does not fit into the GPU's memory.
        """
        try:
            super().optimizer_step(*args, **kwargs)
        except torch.OutOfMemoryError as error:
            traceback.clear_frames(error.__traceback__)  # they hold what fills the memory
            raise too_large(self, self.batch) from error
        self.after_step(self.good)


class Patience(pl.Callback):
    """Count the steps that are passed over, and end a training that only makes such.

    They are counted on the device and read as often as losses are: `steps/skipped` in `metrics.csv` since the last row.

    Args:
        journal: Where the count goes.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.skipped: Tensor = torch.tensor(0)  # since the last row
        self.in_a_row: Tensor = torch.tensor(0)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add one up, and look as often as the journal.

        Raises:
            UserError: Too many in a row.
        """
        assert isinstance(module, GuardedModule)
        bad = ~module.good
        self.skipped, self.in_a_row = self.skipped + bad, (self.in_a_row + 1) * bad
        if trainer.global_step % self.journal.every == 0:
            self._look(trainer)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write what is left."""
        self._look(trainer)

    def _look(self, trainer: pl.Trainer) -> None:
        if skipped := int(self.skipped):
            self.journal.write(trainer, {"steps/skipped": float(skipped)})
            self.skipped = torch.tensor(0)
        if (count := int(self.in_a_row)) >= LIMIT:
            raise UserError(
                f"the last {count} steps before step {trainer.global_step} had gradients that are not finite and were "
                "skipped, so nothing is learned any more; lower model.learning_rate, choose another trainer.precision, "
                "or look for damaged images with `wherewhen doctor --full`, and give another --run (metrics.csv counts "
                f"the skipped steps of this one, its weights are those of step {trainer.global_step - count})"
            )

    def state_dict(self) -> dict[str, Any]:
        """What was counted."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it up again."""
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]
