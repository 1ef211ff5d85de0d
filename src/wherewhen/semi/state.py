"""Running statistics that are saved with their owner and change once per optimiser step."""

import torch
from torch import Tensor, nn


class Running(nn.Module):
    """Exponential moving average of a batch statistic: x ← m·x + (1 − m)·batch.

    `propose` returns the new value at once, for use in this step's loss; `commit` makes it stay. Between
    the two lies the optimiser step, so that a step that failed or was repeated leaves no trace. A proposal
    that is not finite is dropped: one bad batch must not erase the history.

    Args:
        start: The value before the first batch, any shape.
        momentum: m, in [0, 1).
        from_first: Take the first batch as it is instead of mixing it with `start`.
    """

    value: Tensor
    count: Tensor

    def __init__(self, start: Tensor, momentum: float = 0.999, *, from_first: bool = False) -> None:
        super().__init__()
        self.momentum, self.from_first = momentum, from_first
        self.register_buffer("value", start.detach().clone().float())
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self._next: Tensor | None = None

    @torch.no_grad()
    def propose(self, batch: Tensor) -> Tensor:
        """The average as it will be after this step; `batch` has the shape of `value`."""
        batch = mean_over_processes(batch.detach().float())
        mixed = self.value.lerp(batch, 1 - self.momentum)
        if self.from_first:
            mixed = torch.where(self.count == 0, batch, mixed)
        self._next = torch.where(batch.isfinite().all(), mixed, self.value)
        return self._next

    @torch.no_grad()
    def commit(self) -> None:
        """Keep the last proposal; without one, nothing changes."""
        if self._next is not None:
            self.count += (self._next != self.value).any()
            self.value.copy_(self._next)
            self._next = None


def mean_over_processes(x: Tensor) -> Tensor:
    """Mean of `x` over all training processes; `x` itself when there is one."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return x
    total = x.clone()
    torch.distributed.all_reduce(total)
    return total / torch.distributed.get_world_size()
