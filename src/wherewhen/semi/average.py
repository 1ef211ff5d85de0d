"""The averaged twin of a network: what is evaluated, and what some algorithms label with."""

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from wherewhen.errors import UserError


class Average(nn.Module):
    """Exponential moving average of a network's weights and buffers: frozen, and always in eval mode.

    torch's `AveragedModel` reads a counter from the device at every step, which makes a GPU wait; this twin
    starts as an exact copy instead and needs no counter.

    Args:
        model: The network to follow; copied.
        momentum: Share of the old value kept at each update, in [0, 1).
    """

    def __init__(self, model: nn.Module, momentum: float = 0.999) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise UserError(f"momentum {momentum} of the averaged weights is outside [0, 1); 0.999 is usual")
        self.momentum = momentum
        self.module = copy.deepcopy(model).requires_grad_(False).eval()
        self._mix = get_ema_multi_avg_fn(momentum)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards `model`; whole-number buffers (batch norm's counter) are copied."""
        ours, theirs = self.module.state_dict(), model.state_dict()
        mixed = [name for name, value in ours.items() if value.is_floating_point()]
        self._mix([here(ours[name]) for name in mixed], [here(theirs[name]) for name in mixed], None)
        for name in ours.keys() - mixed:
            ours[name].copy_(theirs[name])

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, whatever the owner does."""
        return super().train(False)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The averaged network's answer."""
        return self.module(*args, **kwargs)


def here(x: Tensor) -> Tensor:
    """What this process holds of a tensor: all of it, or its part where the network is divided among processes."""
    part: Tensor = x.to_local() if hasattr(x, "to_local") else x  # a DTensor, whose import takes half a second
    return part
