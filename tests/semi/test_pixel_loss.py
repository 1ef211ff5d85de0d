import numpy as np
import pytest
import torch
import torch.nn.functional as F
from segmentation_models_pytorch.losses import DiceLoss
from torch import Tensor

from wherewhen.errors import UserError
from wherewhen.semi import UNKNOWN, DenseLoss, PixelLoss
from wherewhen.semi.algorithm import supervised


def pixels(classes: int = 4, count: int = 50, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits, and labels of which some are unknown and one class is nowhere."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(UNKNOWN, classes - 1, (count,), generator=generator)
    return torch.randn(count, classes, generator=generator, requires_grad=True), y


def slow(loss: str, logits: Tensor, y: Tensor, weights: list[float] | None) -> float:
    """The formulas of the papers, a pixel at a time."""
    p = np.exp(logits.detach().double().numpy())
    p /= p.sum(1, keepdims=True)
    known = [i for i in range(len(y)) if y[i] != UNKNOWN]
    truth = y.tolist()
    of = weights or [1.0] * p.shape[1]
    total = 0.0
    for part in loss.split("+"):
        if part == "dice":
            parts = []
            for c in sorted({truth[i] for i in known}):
                there = sum(p[i, c] for i in known) + sum(truth[i] == c for i in known)
                parts.append(1 - 2 * sum(p[i, c] for i in known if truth[i] == c) / there)
            total += float(np.mean(parts))
            continue
        focus = 2.0 if part == "focal" else 0.0
        costs = [-of[truth[i]] * (1 - p[i, truth[i]]) ** focus * np.log(p[i, truth[i]]) for i in known]
        total += float(sum(costs) / sum(of[truth[i]] for i in known))
    return total


@pytest.mark.parametrize("weights", [None, [1.0, 5.0, 0.5, 2.0]])
@pytest.mark.parametrize("loss", ["cross_entropy", "focal", "dice", "cross_entropy+dice", "focal+dice"])
def test_losses_are_the_papers(loss: DenseLoss, weights: list[float] | None) -> None:
    logits, y = pixels()
    found = PixelLoss(loss, weights)(logits, y)
    assert found.item() == pytest.approx(slow(loss, logits, y, weights), rel=1e-5)
    (gradient,) = torch.autograd.grad(found, logits)
    assert gradient[y == UNKNOWN].abs().max() == 0
    assert gradient[y != UNKNOWN].abs().min() > 0


def test_cross_entropy_is_the_algorithms_own() -> None:
    logits, y = pixels()
    assert PixelLoss()(logits, y).item() == pytest.approx(supervised(logits, y).item(), rel=1e-6)
    weights = torch.tensor([1.0, 5.0, 0.5, 2.0])
    truth = F.cross_entropy(logits, y, weights, ignore_index=UNKNOWN)
    assert PixelLoss(weights=weights.tolist())(logits, y).item() == pytest.approx(truth.item(), rel=1e-5)


def test_dice_is_that_of_segmentation_models_pytorch() -> None:
    logits, y = pixels()
    known = y != UNKNOWN
    theirs = DiceLoss("multiclass", classes=y[known].unique().tolist())
    truth = theirs(logits[known].T[None], y[known][None])
    assert PixelLoss("dice")(logits, y).item() == pytest.approx(truth.item(), rel=1e-5)


@pytest.mark.parametrize("loss", ["cross_entropy", "focal", "dice"])
def test_no_known_pixel_costs_nothing(loss: DenseLoss) -> None:
    logits = torch.randn(5, 3, requires_grad=True)
    found = PixelLoss(loss)(logits, torch.full((5,), UNKNOWN))
    assert found.item() == 0
    assert torch.autograd.grad(found, logits)[0].abs().max() == 0


def test_sure_and_right_is_cheap_and_finite() -> None:
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    for y, cheap in ((torch.tensor([0, 1]), True), (torch.tensor([1, 0]), False)):
        found = PixelLoss("focal+dice")(logits, y)
        assert (found.item() < 1e-6) == cheap
        assert torch.autograd.grad(found, logits)[0].isfinite().all()


def test_weights_are_above_zero() -> None:
    with pytest.raises(UserError, match="must be above 0"):
        PixelLoss(weights=[1.0, 0.0])
