import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.reference import contrast as truth
from wherewhen.contrast import agreement, info_nce, projection


def directions(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))), dim=-1)


@pytest.mark.parametrize("temperature", [0.05, 0.07, 1.0])
def test_info_nce_is_the_cross_entropy_of_the_paper(temperature: float) -> None:
    q, positive, negatives = directions(4, 6), directions(4, 6).flip(0), directions(9, 6)
    cost = info_nce(q, positive, negatives, temperature)
    for i in range(4):
        expected = truth.info_nce(q[i].numpy(), positive[i].numpy(), list(negatives.numpy()), temperature)
        assert cost[i].item() == pytest.approx(expected, abs=1e-5)


def test_a_negative_that_is_not_allowed_is_as_if_it_were_not_there() -> None:
    q, positive, negatives = directions(3, 6), directions(3, 6).flip(0), directions(5, 6)
    allowed = torch.rand(3, 5, generator=torch.Generator().manual_seed(0)) < 0.5
    allowed[2] = False
    cost = info_nce(q.requires_grad_(), positive, negatives, 0.1, allowed)
    for i in range(3):
        alone = info_nce(q[i : i + 1], positive[i : i + 1], negatives[allowed[i]], 0.1)
        torch.testing.assert_close(cost[i : i + 1], alone)
    assert cost[2] == 0  # nothing to be told apart from
    cost.sum().backward()
    assert q.grad is not None
    assert q.grad.isfinite().all()
    assert (q.grad[2] == 0).all()


def test_it_costs_nothing_to_agree_and_the_logarithm_of_the_choices_to_know_nothing() -> None:
    one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert info_nce(one, one, other, 0.01).item() == pytest.approx(0)
    assert info_nce(one, other, other.expand(7, 2), 0.07).item() == pytest.approx(math.log(8))
    assert info_nce(one, one, other, 1.0).item() < info_nce(one, other, one, 1.0).item()


def test_logits_stay_in_float32_under_autocast() -> None:
    q, positive, negatives = directions(4, 32), directions(4, 32).flip(0), directions(50, 32)
    expected = info_nce(q, positive, negatives, 0.07)
    with torch.autocast("cpu", torch.bfloat16):
        cost = info_nce(q, positive, negatives, 0.07)
        assert (q @ negatives.T).dtype == torch.bfloat16  # what it would have been
    assert cost.dtype == torch.float32
    assert torch.equal(cost, expected)


def test_agreement_is_that_of_the_directions() -> None:
    each = torch.randn(5, 4, 6)
    expected = np.mean([truth.agreement(list(image)) for image in each.double().numpy()])
    assert agreement(each).item() == pytest.approx(expected, abs=1e-6)
    assert agreement(each * torch.rand(5, 1, 1).add(0.1)).item() == pytest.approx(expected, abs=1e-6)  # not of lengths
    assert agreement(each[:, :1].expand(5, 4, 6)).item() == pytest.approx(0, abs=1e-6)


def test_agreement_pulls_the_groups_of_an_image_together() -> None:
    each = torch.randn(5, 4, 6).requires_grad_()
    before = F.cosine_similarity(each[:, 0], each[:, 1]).mean()
    moved = each.detach().clone()
    for _ in range(50):
        moved.requires_grad_()
        (gradient,) = torch.autograd.grad(agreement(moved), moved)
        moved = (moved - gradient).detach()
    assert F.cosine_similarity(moved[:, 0], moved[:, 1]).mean() > before + 0.2


def test_projections_have_the_published_widths() -> None:
    assert [tuple(p.shape) for p in projection(512, 512, 128).parameters()] == [(512, 512), (512,), (128, 512), (128,)]
    saco = projection(512, 1024, 512, 256)
    assert [type(layer).__name__ for layer in saco] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert saco(torch.zeros(2, 512)).shape == (2, 256)
