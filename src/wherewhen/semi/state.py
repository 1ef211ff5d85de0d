"""What algorithms remember: saved with their owner, equal on all processes, and undone where a step came to nothing.

Notation: U unlabelled samples, C columns, M rows that a queue holds, Q quantiles.

A statistic moves at once when `label` or `loss` is called, as in the papers' pseudo-code: whoever calls an algorithm
from outside sees it move at every call, and `state_dict` holds what was seen. An objective makes the move stay with
`commit` after the optimiser step; what was not committed when the next step begins belongs to a step that failed or
is repeated, and `rollback` takes it back.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from wherewhen.errors import UserError


class State(nn.Module, ABC):
    """Buffers of which the last change can be taken back."""

    def __init__(self) -> None:
        super().__init__()
        self._before: tuple[Tensor, ...] | None = None  # what the last change replaced

    @torch.no_grad()
    def commit(self, good: Tensor | None = None) -> None:
        """Make the last change stay, or take it back where `good` () is false: so nothing waits for the device."""
        if good is not None and self._before is not None:
            self._restore(~good, *self._before)
        self._before = None

    @torch.no_grad()
    def rollback(self) -> None:
        """Take the last change back, unless it was committed."""
        if self._before is not None:
            self.commit(torch.zeros_like(self._before[0], dtype=torch.bool))

    @abstractmethod
    def _restore(self, really: Tensor, *before: Tensor) -> None:
        """Put back what was before, where `really` () is true."""


class Running(State):
    """Exponential moving average of a batch statistic, x ← m·x + (1 − m)·batch, over all processes.

    A batch that is not finite is passed over: one bad batch must not erase the history.

    Args:
        start: The value before the first batch, any shape.
        momentum: m, in [0, 1).
        from_first: Take the first batch as it is instead of mixing it with `start`.

    Raises:
        UserError: The momentum is outside [0, 1).
    """

    value: Tensor
    count: Tensor

    def __init__(self, start: Tensor, momentum: float = 0.999, *, from_first: bool = False) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise UserError(f"momentum {momentum} of a running statistic is outside [0, 1); 0.999 is usual")
        self.momentum, self.from_first = momentum, from_first
        self.register_buffer("value", start.detach().clone().float())
        self.register_buffer("count", torch.zeros((), dtype=torch.long))  # batches seen

    @torch.no_grad()
    def update(self, batch: Tensor) -> Tensor:
        """Mix in this process's batch, of the shape of `value`, and return the new average."""
        batch = mean_over_processes(batch.detach().float())
        mixed = self.value.lerp(batch, 1 - self.momentum)
        if self.from_first:
            mixed = torch.where(self.count == 0, batch, mixed)
        good = batch.isfinite().all()
        self._before = self.count.clone(), self.value.clone()
        self.value.copy_(torch.where(good, mixed, self.value))
        self.count += good
        return self.value.clone()  # later updates must not reach into a loss

    def _restore(self, really: Tensor, *before: Tensor) -> None:
        count, value = before
        self.value.copy_(torch.where(really, value, self.value))
        self.count.copy_(torch.where(really, count, self.count))


class Queue(State):
    """The last rows that all processes pushed, in slot order.

    A batch that is not finite is passed over.

    Args:
        columns: C.
        memory: M, at least 1.

    Raises:
        UserError: It would hold nothing.
    """

    rows: Tensor  # (C, M): a column's values lie side by side, which is what selecting among them needs
    pushed: Tensor  # rows ever; on the device, so that nothing waits for it

    def __init__(self, columns: int, memory: int) -> None:
        super().__init__()
        if memory < 1:
            raise UserError(f"a memory of {memory} rows holds nothing; give at least 1, 64000 is usual")
        self.register_buffer("rows", torch.zeros(columns, memory))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, batch: Tensor) -> None:
        """Put in this process's rows (U, C), in place of the oldest."""
        memory = self.rows.shape[1]
        batch = rows_of_all_processes(batch.detach().float())[-memory:]
        slots = (self.pushed + torch.arange(len(batch), device=batch.device)) % memory
        old, good = self.rows[:, slots], batch.isfinite().all()
        self._before = self.pushed.clone(), old, slots
        self.rows[:, slots] = torch.where(good, batch.T, old)
        self.pushed += good * len(batch)

    @torch.no_grad()
    def quantiles(self, shares: Tensor) -> Tensor:
        """(Q, C) in [0, 1] -> (Q, C): of each column's n rows in rising order, the one at ⌊n·share⌋, at most the last.

        NaN while the queue is empty, so that no comparison with it holds.
        """
        count = self.pushed.clamp(max=self.rows.shape[1])
        index = (count * shares).long().minimum(count - 1).clamp_min(0)
        # a processor selects five times faster than it sorts; a GPU sorts without being asked for a number
        find = _by_selection if self.rows.device.type == "cpu" else _by_sorting
        return find(self.rows, index, count).where(count > 0, torch.nan)

    def _restore(self, really: Tensor, *before: Tensor) -> None:
        pushed, old, slots = before
        self.rows[:, slots] = torch.where(really, old, self.rows[:, slots])
        self.pushed.copy_(torch.where(really, pushed, self.pushed))


def _by_selection(rows: Tensor, index: Tensor, count: Tensor) -> Tensor:
    """Of the first `count` values of each row of (C, M), those at ranks (Q, C) -> (Q, C); each rank is sought once."""
    found = torch.empty(index.shape)
    for column, (values, ranks) in enumerate(zip(rows[:, : max(int(count), 1)], index.T.tolist(), strict=True)):
        sought = {rank: values.kthvalue(rank + 1).values for rank in set(ranks)}
        found[:, column] = torch.stack([sought[rank] for rank in ranks])
    return found


def _by_sorting(rows: Tensor, index: Tensor, count: Tensor) -> Tensor:
    """The same without waiting for the device."""
    missing = torch.arange(rows.shape[1], device=rows.device) >= count
    return rows.masked_fill(missing, torch.inf).sort(-1).values.gather(1, index.T).T


class _Mean(torch.autograd.Function):
    """Mean over processes. Gradients are averaged over processes later, so each passes its own on as it is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        torch.distributed.all_reduce(total)
        return total / torch.distributed.get_world_size()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def mean_over_processes(x: Tensor) -> Tensor:
    """Mean of `x` over all training processes, with gradient; `x` itself when there is one."""
    mean: Tensor = _Mean.apply(x) if _several_processes() else x
    return mean


def variance_over_processes(x: Tensor) -> Tensor:
    """Unbiased variance over the samples of all processes, (S, *) -> (*); 0 for a single sample.

    The mean comes first and then the squared distances from it: E[x²] − E[x]² has no digits left where x hardly varies.
    """
    samples = len(x) * (torch.distributed.get_world_size() if _several_processes() else 1)
    distance = x - mean_over_processes(x.mean(0))
    return mean_over_processes((distance**2).mean(0)) * samples / max(samples - 1, 1)


def rows_of_all_processes(x: Tensor) -> Tensor:
    """(U, …) of each process -> all of them in slot order, without gradient; `x` itself when there is one."""
    if not _several_processes():
        return x
    parts = [torch.empty_like(x) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, x.contiguous())
    return torch.cat(parts)


def _several_processes() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
