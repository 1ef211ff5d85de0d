import torch
from torch import Tensor

from tests.semi.algorithms import outputs
from wherewhen.semi import Clock, DeFixMatch


def test_labels_of_both_kinds_are_carried_to_their_own_strong_views() -> None:
    """A map's pseudo-label moves with the pixels; that of a labelled image moves with its own strong view's."""
    pseudo = DeFixMatch(0.4).label(outputs("one", 0), Clock(0, 1))

    def shift(view: str, values: Tensor, fill: float) -> Tensor:
        by = {"strong": 1, "labelled_strong": 2}[view]
        return torch.cat((torch.full_like(values[:by], fill), values[:-by]))

    carried = pseudo.carried(shift)
    assert torch.equal(carried.targets[1:], pseudo.targets[:-1])
    assert torch.equal(carried.labelled.targets[2:], pseudo.labelled.targets[:-2])
    assert carried.weights[0] == 0
    assert carried.labelled.weights[:2].tolist() == [0, 0]
    assert pseudo.labelled.weights.sum() > 0
