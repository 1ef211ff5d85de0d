"""What a query is told apart from beyond its batch: the keys of the last batches.

Notation: S spaces, P periods, Q keys a space and period holds, N keys of a batch, D width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wherewhen.errors import UserError


class Queue(nn.Module):
    """First in, first out memory of unit keys, one per space and period (MoCo, section 3.2).

    It begins with random directions. The position lies on the device, so that nothing waits for it.

    Args:
        spaces: S.
        periods: P.
        size: Q.
        dim: D.

    Raises:
        UserError: It would hold nothing.
    """

    keys: Tensor  # (S, P, Q, D) of length 1
    next: Tensor  # () where the oldest key lies

    def __init__(self, spaces: int, periods: int, size: int, dim: int) -> None:
        super().__init__()
        if size < 1:
            raise UserError(f"a queue of {size} keys holds nothing; give a multiple of the batch, 16384 is usual")
        self.register_buffer("keys", F.normalize(torch.randn(spaces, periods, size, dim), dim=-1))
        self.register_buffer("next", torch.zeros((), dtype=torch.long))

    def check(self, batch: int) -> None:
        """See that batches of this many keys a period fill the queue exactly.

        Raises:
            UserError: They do not.
        """
        periods, size = self.keys.shape[1:3]
        if batch < 1 or size % batch:
            fits = periods * max(1, round(size / max(batch, 1))) * batch
            raise UserError(
                f"a queue of {periods * size} keys cannot be filled by batches of {periods * batch}: its size must be "
                f"a multiple of the batch over all processes, e.g. {fits}"
            )

    @torch.no_grad()
    def push(self, keys: Tensor, good: Tensor | None = None) -> None:
        """Put keys (S, P, N, D) in the place of the N oldest of each space and period.

        A batch with a key that has no direction (zero, or not finite) is passed over, and so is one whose `good` ()
        is false.

        Raises:
            UserError: N does not divide Q.
        """
        count, size = keys.shape[2], self.keys.shape[2]
        self.check(count)
        unit = F.normalize(keys.detach().float(), dim=-1)
        sound = (unit.norm(dim=-1) > 0.5).all()  # false for zero and for NaN
        good = sound if good is None else good & sound
        slots = (self.next + torch.arange(count, device=unit.device)) % size
        self.keys[:, :, slots] = torch.where(good, unit, self.keys[:, :, slots])
        self.next.copy_((self.next + good * count) % size)
