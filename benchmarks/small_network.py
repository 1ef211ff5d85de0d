"""Training of the small convolutional networks by which the facts of both worlds are measured."""

from collections.abc import Callable

import torch

BATCH = 64


def fit(
    model: torch.nn.Module,
    count: int,
    epochs: int,
    images: Callable[[torch.Tensor], torch.Tensor],
    cost: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    """Train on `count` images, turned and flipped, and leave the model in eval mode.

    `images` maps rows to (N, C, H, W), `cost` the model's answer and the rows to a loss.
    """
    batches = count // BATCH
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=epochs * batches)
    for _ in range(epochs):
        for rows in torch.randperm(count)[: batches * BATCH].view(batches, BATCH):
            shown = torch.rot90(images(rows), int(torch.randint(4, ())), (2, 3))
            shown = shown.flip(-1) if torch.rand(()) < 0.5 else shown
            loss = cost(model(shown), rows)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    model.eval()
