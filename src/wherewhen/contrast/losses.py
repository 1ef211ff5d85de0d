"""What contrast costs, in float32 whatever the autocast type.

Notation: N images, M negatives, D width, G band groups.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def unit(x: Tensor) -> Tensor:
    """(…, D) -> directions (…, D) in float32; bfloat16 has two digits, too few for a temperature of 0.07."""
    return F.normalize(x.float(), dim=-1)


def info_nce(
    q: Tensor, positive: Tensor, negatives: Tensor, temperature: float, allowed: Tensor | None = None
) -> Tensor:
    """Cross-entropy of finding each query's own key among the negatives (van den Oord et al. 2018; MoCo, eq. 1).

    Args:
        q: Unit queries (N, D).
        positive: The unit key of each (N, D).
        negatives: Unit keys (M, D), the same for all queries.
        temperature: What cosines are divided by, above 0.
        allowed: (N, M), false where a query must not be pushed from a negative.

    Returns:
        (N,) in nats, at least 0.
    """
    with torch.autocast(q.device.type, enabled=False):
        q, positive, negatives = q.float(), positive.float(), negatives.float()
        apart = q @ negatives.T  # (N, M)
        if allowed is not None:
            apart = apart.masked_fill(~allowed, -torch.inf)
        together = (q * positive).sum(-1, keepdim=True)  # (N, 1)
        logits = torch.cat((together, apart), dim=1) / temperature
        return logits.logsumexp(1) - logits[:, 0]


def agreement(each: Tensor) -> Tensor:
    """Mean squared distance of every group's direction from the image's: (N, G, D) -> () in [0, 4].

    The image's direction is that of the mean of its groups' directions. This is the term that makes learning
    semantic-aware: the groups of one image are pulled together.
    """
    each = unit(each)
    return (each - unit(each.mean(1, keepdim=True))).square().sum(-1).mean()
