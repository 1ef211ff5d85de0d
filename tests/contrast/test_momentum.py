import copy
from contextlib import nullcontext
from itertools import pairwise
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from tests.contrast.methods import CASES, DIM, Case, Groups, batch, descend, train
from wherewhen.contrast import MOCO, SACO, SECO, ChangeAware, ChangeBook, MomentumContrast, Space, agreement, projection
from wherewhen.encoders import Encoded
from wherewhen.errors import UserError


class Normed(nn.Sequential):
    """A convolutional encoder with batch norm."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 6, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten())


class Telling(Normed):
    """The same, in the manner of encoders that know more."""

    def forward(self, images: Tensor) -> Encoded:
        features: Tensor = super().forward(images)  # type: ignore[no-untyped-call]
        return Encoded(features)


def moco(encoder: nn.Module, seed: int = 0, momentum: float = 0.5) -> MomentumContrast:
    torch.manual_seed(seed)
    return MomentumContrast(encoder, [projection(6, DIM)], MOCO, DIM, size=16, momentum=momentum)


def norms(made: MomentumContrast) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in made.named_buffers() if "running" in name or "tracked" in name}


def test_the_defaults_are_the_published_ones() -> None:
    made = MomentumContrast(Groups(1), [projection(6, DIM)], MOCO, DIM)
    assert (made.momentum, made.temperature) == (0.999, 0.07)
    assert made.queue.keys.shape == (1, 1, 16_384, DIM)


def test_an_encoder_may_answer_with_features_or_with_an_object_that_has_them() -> None:
    torch.manual_seed(0)
    plain = Normed()
    telling = Telling()
    telling.load_state_dict(plain.state_dict())
    assert train(moco(plain), range(3)) == train(moco(telling), range(3))


def test_both_networks_keep_batch_norm_statistics_of_their_own() -> None:
    encoder = Normed()
    twins = [copy.deepcopy(encoder), copy.deepcopy(encoder)]
    made = moco(encoder)
    image, keys, *_ = batch(0)
    for twin, shown in zip(twins, (image, keys[0]), strict=True):
        twin(shown)
    made(image, keys)
    made.after_step(torch.tensor(True))
    for twin, network in zip(twins, (made.query, made.key), strict=True):
        for expected, found in zip(twin.buffers(), network.buffers(), strict=True):
            torch.testing.assert_close(found, expected)
    assert not all(torch.equal(a, b) for a, b in zip(made.query.buffers(), made.key.buffers(), strict=True))


@pytest.mark.parametrize("how", ["image", "refused", "abandoned"])
def test_batch_norm_forgets_a_step_that_came_to_nothing(how: str) -> None:
    made, twin = moco(Normed()), moco(Normed())
    for each in (made, twin):
        train(each, range(2))
    before = norms(made)
    image, keys, *_ = batch(7)
    if how == "image":
        image[0], keys[0, 2] = torch.nan, torch.nan
    made(image, keys)
    assert any(not torch.equal(value, before[name]) for name, value in norms(made).items())
    if how == "image":
        made.after_step()
    if how == "refused":
        made.after_step(torch.tensor(False))
    assert train(made, range(2, 4)) == train(twin, range(2, 4))
    assert all(torch.equal(value, norms(twin)[name]) for name, value in norms(made).items())


def test_the_key_network_is_the_average_of_the_query_networks() -> None:
    made = moco(Groups(1), momentum=0.9)
    expected = [p.detach().clone() for p in made.query.parameters()]
    for step in range(5):
        train(made, range(step, step + 1))
        for i, p in enumerate(made.query.parameters()):
            expected[i] = 0.9 * expected[i] + 0.1 * p.detach()
    for p, value in zip(made.key.parameters(), expected, strict=True):
        torch.testing.assert_close(p, value, atol=1e-6, rtol=0)


def test_nothing_moves_before_the_step_is_over_and_once_after_it() -> None:
    made = moco(Groups(1))
    before = {name: value.clone() for name, value in made.state_dict().items()}
    losses = made(*batch(0))
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    sum(losses.values()).backward()
    made.after_step()
    once = {name: value.clone() for name, value in made.state_dict().items()}
    assert once["queue.next"] == 8
    made.after_step()
    made.after_step(torch.tensor(True))
    assert all(torch.equal(value, once[name]) for name, value in made.state_dict().items())


def test_gradients_do_not_reach_keys() -> None:
    made = moco(Groups(1))
    image, keys, *_ = batch(0)
    sum(made(image.requires_grad_(), keys.requires_grad_()).values()).backward()
    assert image.grad is not None
    assert keys.grad is None


def test_keys_are_float32_unit_vectors_under_autocast_and_losses_hardly_differ() -> None:
    full, half = moco(Groups(1)), moco(Groups(1))
    expected = full(*batch(0))["space0"]
    with torch.autocast("cpu", torch.bfloat16):
        loss = half(*batch(0))["space0"]
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), abs=0.1)
    half.after_step()
    torch.testing.assert_close(half.queue.keys.norm(dim=-1), torch.ones(1, 1, 16))
    entered = half.queue.keys[0, 0, :8]
    assert not torch.equal(entered, entered.bfloat16().float())


def test_views_that_no_space_names_are_not_looked_at() -> None:
    case = next(case for case in CASES if case.name == "saco")
    image, keys, *_ = batch(0)
    expected = case.make()(image, keys)
    some = case.make()
    assert some.views == (0, 2)
    for value, other in zip(expected.values(), some(image, [keys[0], None, keys[2]]).values(), strict=True):
        assert torch.equal(value, other)


def test_a_missing_view_is_named() -> None:
    case = next(case for case in CASES if case.name == "seco")
    image, keys, *_ = batch(0)
    with pytest.raises(ValueError, match=r"key views \[1, 2\]"):
        case.make()(image, [keys[0], None])


def test_keys_of_the_augmented_image_fill_the_queue_of_saco() -> None:
    case = next(case for case in CASES if case.name == "saco")
    made = case.make()
    image, keys, *_ = batch(0)
    made(image, keys)
    z = made.embed_keys({2: keys[2]}, step=0)[2]
    made.after_step()
    torch.testing.assert_close(made.queue.keys[0, 0, :8], z[0])


def test_the_order_of_a_deal_is_a_permutation_of_seed_and_step() -> None:
    made, other = moco(Groups(1), seed=0), moco(Groups(1), seed=1)
    state = torch.get_rng_state()
    orders = [made.deal(step, 16) for step in range(4)]
    assert torch.equal(torch.get_rng_state(), state)  # not of the global generator
    assert all(sorted(order.tolist()) == list(range(16)) for order in orders)
    assert not any(torch.equal(a, b) for a, b in pairwise(orders))
    assert all(torch.equal(other.deal(step, 16), order) for step, order in enumerate(orders))
    other.seed = 5
    assert not torch.equal(other.deal(0, 16), orders[0])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nothing_of_a_step_waits_for_the_device(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The meta device has no values that Python could look at; it has no autocast either."""
    monkeypatch.setattr("torch.autocast", lambda *args, **kwargs: nullcontext())
    made = case.make().to("meta")
    losses = made(*(x.to("meta") for x in batch(0)), 0)
    descend(made, losses)
    made.after_step(losses["space0"].isfinite())
    again = made(*(x.to("meta") for x in batch(1)), 1)
    made.after_step()
    assert {loss.device.type for loss in (*losses.values(), *again.values())} == {"meta"}


class Fault(NamedTuple):
    says: str
    settings: dict[str, object]


BASE: dict[str, object] = {"encoder": Groups(1), "heads": [projection(6, DIM)], "spaces": MOCO, "dim": DIM, "size": 16}
FAULTS = [
    Fault(r"1 heads for 3 spaces", {"spaces": SECO}),
    Fault(r"momentum 1\.0 .* \[0, 1\)", {"momentum": 1.0}),
    Fault(r"temperature 0 is not above 0", {"temperature": 0}),
    Fault(r"queue of 15 keys .* 2 periods", {"size": 15, "periods": 2}),
    Fault(r"Linear has no groups", {"encoder": nn.Linear(12, 6), "agreement_weight": 1.0}),
    Fault(r"at least one embedding space", {"spaces": (), "heads": []}),
    Fault(r"space 0 has no positive view", {"spaces": (Space(()),)}),
    Fault(r"space 0 has the views \[1\] as positives and as negatives", {"spaces": (Space((0, 1), (1,)),)}),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.says)
def test_settings_that_cannot_work_are_named(fault: Fault) -> None:
    with pytest.raises(UserError, match=fault.says):
        MomentumContrast(**BASE | fault.settings)  # type: ignore[arg-type]


def test_batches_that_cannot_work_are_named_before_anything_is_computed() -> None:
    made = moco(Groups(1))
    with pytest.raises(UserError, match=r"queue of 16 keys .* batches of 6: .* e\.g\. 18"):
        made.check(6)
    with pytest.raises(UserError, match="batches of 6"):
        made(*batch(0, 6))
    made.check(8)
    caco = ChangeAware(Groups(1), [projection(6, DIM)] * 3, SECO, DIM, size=24)
    with pytest.raises(UserError, match="batch of 7 does not hold places in 2 periods"):
        caco.check(7)
    with pytest.raises(UserError, match=r"queue of 24 keys .* batches of 16: .* e\.g\. 32"):
        caco.check(16)


def test_change_needs_two_periods_and_a_space_of_time() -> None:
    with pytest.raises(UserError, match="not 1; set periods to 2"):
        ChangeAware(Groups(1), [projection(6, DIM)] * 3, SECO, DIM, size=24, periods=1)
    with pytest.raises(UserError, match="invariant to time"):
        ChangeAware(Groups(3), [projection(6, DIM)], SACO, DIM, size=24, book=ChangeBook(3))


def test_the_encoder_of_groups_fits() -> None:
    from wherewhen.contrast import GroupedEncoder  # brings timm along

    torch.manual_seed(0)
    groups = {"natural": ("B04", "B03", "B02"), "false": ("B08", "B04", "B03")}
    encoder = GroupedEncoder(Normed(), groups, ("B02", "B03", "B04", "B08"))
    made = MomentumContrast(encoder, [projection(6, DIM)], SACO, DIM, size=16, agreement_weight=0.5)
    image, keys = torch.randn(8, 4, 2, 2), torch.randn(3, 8, 4, 2, 2)
    losses = made(image, keys)
    assert losses.keys() == {"space0", "agreement"}
    expected = agreement(copy.deepcopy(encoder).each(image))
    assert losses["agreement"].item() == pytest.approx(0.5 * expected.item(), abs=1e-6)
    sum(losses.values()).backward()
    made.after_step()
    assert made.queue.next == 8


def test_each_period_has_a_queue_of_its_own() -> None:
    torch.manual_seed(0)
    made = MomentumContrast(Groups(1), [projection(6, DIM)], MOCO, DIM, size=32, periods=2)
    image, keys, *_ = batch(0)
    before = made.costs(image, keys)["space0"]
    made.queue.keys[:, 1].neg_()
    after = made.costs(image, keys)["space0"]
    assert torch.equal(after[::2], before[::2])
    assert not torch.isclose(after[1::2], before[1::2]).any()
