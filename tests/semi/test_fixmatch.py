import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import semi as truth
from wherewhen.semi import UNKNOWN, Clock, FixMatch, MultiLabel, Outputs, SingleLabel

CLOCK = Clock(0, 10)


def random_logits(seed: int, *shape: int, scale: float = 4.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("shape", "threshold"),
    [
        ((9, 5), 0.95),
        ((9, 5), 0.5),
        ((9, 5), [0.9, 0.8, 0.7, 0.6, 0.5]),
        ((7, 4, 2), [0.95, 0.7]),  # many labels: absent, present
        ((1, 3), 0.4),
    ],
)
def test_labels_and_loss_equal_the_paper(shape: tuple[int, ...], threshold: float | list[float]) -> None:
    weak, strong, labelled = (random_logits(s, *shape) for s in (1, 2, 3))
    y = torch.randint(-1, shape[-1], shape[:-1], generator=torch.Generator().manual_seed(4))
    algorithm = FixMatch(threshold)
    out = Outputs(labelled=labelled, strong=strong, weak=weak)
    pseudo = algorithm.label(out, CLOCK)
    losses = algorithm.loss(out, y, pseudo, CLOCK)

    levels = threshold if isinstance(threshold, list) else [threshold] * shape[-1]
    targets, weights = truth.fixmatch_label(weak.numpy(), levels)
    np.testing.assert_array_equal(pseudo.targets, targets)
    np.testing.assert_array_equal(pseudo.weights, weights)
    assert losses["supervised"].item() == pytest.approx(truth.supervised(labelled.numpy(), y.numpy()), abs=1e-6)
    assert losses["unlabelled"].item() == pytest.approx(truth.fixmatch_loss(strong.numpy(), targets, weights), abs=1e-6)


@given(seed=st.integers(0, 10_000), threshold=st.floats(0.5, 0.99))
@settings(max_examples=30, deadline=None)
def test_two_classes_equal_one_binary_label(seed: int, threshold: float) -> None:
    raw = [random_logits(seed + i, 6, 2) for i in range(3)]
    y = torch.randint(0, 2, (6,), generator=torch.Generator().manual_seed(seed))
    one, many, algorithm = SingleLabel(), MultiLabel(), FixMatch(threshold)
    as_one = Outputs(*(one.logits(z) for z in raw))
    as_many = Outputs(*(many.logits(z[:, 1:] - z[:, :1]) for z in raw))
    a = algorithm.loss(as_one, one.targets(y), algorithm.label(as_one, CLOCK), CLOCK)
    b = algorithm.loss(as_many, many.targets(y[:, None]), algorithm.label(as_many, CLOCK), CLOCK)
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=1e-5, rtol=1e-5)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_permuting_the_batch_permutes_the_labels(seed: int) -> None:
    z = random_logits(seed, 8, 4)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(seed))
    a = FixMatch(0.6).believe(z)
    b = FixMatch(0.6).believe(z[order])
    assert torch.equal(a.targets[order], b.targets)
    assert torch.equal(a.weights[order], b.weights)


def test_the_threshold_itself_counts_as_reached() -> None:
    z = torch.tensor([[0.0, 0.0]])  # probability one half, exactly
    assert FixMatch(0.5).believe(z).weights.item() == 1
    assert FixMatch(0.5000001).believe(z).weights.item() == 0


def test_a_masked_sample_counts_as_zero_not_as_absent() -> None:
    z = torch.tensor([[4.0, 0.0], [0.1, 0.0]])  # one sure, one not
    out = Outputs(labelled=z, strong=z, weak=z)
    algorithm = FixMatch(0.95)
    loss = algorithm.loss(out, torch.tensor([0, 0]), algorithm.label(out, CLOCK), CLOCK)["unlabelled"]
    assert loss.item() == pytest.approx(truth.cross_entropy(z[0].numpy(), 0) / 2, abs=1e-7)


def test_nothing_known_costs_nothing_and_gives_no_nan() -> None:
    z = random_logits(0, 3, 4).requires_grad_()
    y = torch.full((3,), UNKNOWN)
    out = Outputs(labelled=z, strong=z, weak=z.detach())
    losses = FixMatch(1.0).loss(out, y, FixMatch(1.0).label(out, CLOCK), CLOCK)
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert [v.item() for v in losses.values()] == [0, 0]
    assert z.grad is not None
    assert z.grad.abs().max() == 0


def test_half_precision_logits_are_labelled_in_float32() -> None:
    z = torch.tensor(
        [[2.94443897916644, 0.0]], dtype=torch.bfloat16
    )  # its softmax would be 0.9492 in bf16, and is 0.9497
    assert SingleLabel().logits(z).dtype == torch.float32
    exact = SingleLabel().logits(z).softmax(-1).max()
    assert exact.item() == pytest.approx(truth.softmax(z.float().numpy()[0])[0], abs=1e-7)
