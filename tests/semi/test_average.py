import numpy as np
import torch
from torch import nn

from tests.reference import semi as truth
from wherewhen.semi import Average


def test_average_follows_weights_and_batch_norm_buffers() -> None:
    linear = nn.Linear(3, 4)
    model = nn.Sequential(linear, nn.BatchNorm1d(4))
    average = Average(model, momentum=0.8)
    starts = {k: v.clone() for k, v in model.state_dict().items()}
    history: dict[str, list[np.ndarray]] = {k: [] for k in starts}
    for step in range(4):
        model(torch.randn(8, 3, generator=torch.Generator().manual_seed(step)))
        with torch.no_grad():
            linear.weight.add_(0.1 * step)
        average.update(model)
        for name, value in model.state_dict().items():
            history[name].append(value.numpy().copy())
    for name, value in average.module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert value == 4
        else:
            expected = truth.ema(history[name], starts[name].numpy(), 0.8)
            np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def test_average_starts_equal_is_frozen_and_stays_in_eval_mode() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5)).train()
    average = Average(model)
    holder = nn.ModuleList([average]).train()
    assert not any(p.requires_grad for p in holder.parameters())
    assert not any(m.training for m in average.modules())
    ours, theirs = average.module.state_dict(), model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert ours["0.weight"].data_ptr() != theirs["0.weight"].data_ptr()


def test_average_is_saved_and_goes_on_to_the_same_bits() -> None:
    model = nn.Linear(3, 2)
    a, b = Average(model, 0.9), Average(nn.Linear(3, 2), 0.9)
    with torch.no_grad():
        model.weight.add_(1)
    a.update(model)
    b.load_state_dict(a.state_dict())
    a.update(model)
    b.update(model)
    assert torch.equal(a.state_dict()["module.weight"], b.state_dict()["module.weight"])
