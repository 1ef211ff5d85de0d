"""Change-aware contrast: what has changed between two periods is pushed apart, what has not is let be (CACo).

Mall, Hariharan and Bala, "Change-Aware Sampling and Contrastive Learning for Satellite Images", CVPR 2023.

Notation: N images of this process, M of all processes, Q queue, D width. The two periods of a place stand side by side.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from wherewhen.contrast.losses import info_nce
from wherewhen.contrast.momentum import MomentumContrast, processes
from wherewhen.contrast.spaces import Space
from wherewhen.errors import UserError
from wherewhen.semi.state import rows_of_all_processes

QUERY = -1  # the query's own image as the key network sees it, beside the key views from 0
TIME = 1  # the space that is invariant to time, in which change is measured
FEWEST = 10  # ratios, below which a mixture of two is not fitted


class ChangeBook(nn.Module):
    """Which places changed: ratio of long-term to short-term distance, parted in two by a mixture.

    Args:
        places: How many there are.
        decay: Share of a place's old ratio that stays; the published weight of 4 to 1 is 0.8.

    Raises:
        UserError: The share is outside [0, 1), or scikit-learn is missing.
    """

    ratio: Tensor  # (places, 2) of each period, where it was seen
    seen: Tensor  # (places, 2) bool
    changed: Tensor  # (places, 2) bool

    def __init__(self, places: int, decay: float = 0.8) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise UserError(f"decay {decay} of the change ratios is outside [0, 1); 0.8 is published")
        self.decay = decay
        self.register_buffer("ratio", torch.zeros(places, 2))
        self.register_buffer("seen", torch.zeros(places, 2, dtype=torch.bool))
        self.register_buffer("changed", torch.zeros(places, 2, dtype=torch.bool))

    def of(self, place: Tensor) -> Tensor:
        """Places (N,), each twice side by side -> whether they changed, seen from each period: (N,) bool."""
        return self.changed[place[::2]].flatten()

    @torch.no_grad()
    def observe(self, place: Tensor, q: Tensor, near: Tensor, good: Tensor | None = None) -> None:
        """Mix the ratios of a batch into the running means.

        Args:
            place: Index of the place (N,), each twice side by side.
            q: Unit keys of the queries' images (N, D); the other period's is the long-term neighbour.
            near: Unit keys of the same places at another date of the same period (N, D).
            good: () false where nothing shall be noted.
        """
        far = q.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
        new = ((q - far).norm(dim=1) / ((q - near).norm(dim=1) + 1e-4)).unflatten(0, (-1, 2))  # (N / 2, 2)
        place = place[::2]
        again = place[:, None] == place  # a place that is twice in the batch counts as in its last slot
        new = new[(again * torch.arange(1, len(place) + 1, device=place.device)).argmax(1)]
        old, seen = self.ratio[place], self.seen[place]
        mixed = torch.where(seen, old.lerp(new, 1 - self.decay), new)
        use = new.isfinite() if good is None else new.isfinite() & good
        self.ratio[place] = torch.where(use, mixed, old)
        self.seen[place] = seen | use

    @torch.no_grad()
    def refit(self) -> None:
        """Part the places seen so far into those that changed and those that did not.

        Places are left as they were while fewer than ten ratios are known, or all are the same. A ratio below the mean
        of the unchanged ones means no change even where the broader component is likelier.
        """
        from sklearn.mixture import GaussianMixture

        seen = self.seen.cpu().numpy()
        ratio = self.ratio.cpu().numpy()[seen].astype(np.float64)
        if len(ratio) < FEWEST or np.ptp(ratio) == 0:
            return
        mixture = GaussianMixture(2, random_state=0).fit(ratio[:, None])
        changed = np.zeros_like(seen)
        upper = mixture.predict(ratio[:, None]) == mixture.means_.argmax()
        changed[seen] = upper & (ratio > mixture.means_.min())
        self.changed.copy_(torch.from_numpy(changed))


class ChangeAware(MomentumContrast):
    """Push a place from itself in another period, where it has changed.

    As `MomentumContrast` with SECO's spaces and two periods: queues are those of the query's period, and the keys of
    the other period are negatives too. Among them the same place counts only where it has changed.

    Args:
        encoder: As for `MomentumContrast`; so are the others.
        heads: A projection of features for each space.
        spaces: Their second is the one invariant to time.
        dim: Width of the embedding.
        size: Keys of a space's queue, half of them for each period.
        momentum: Of the key network.
        temperature: Of the contrast.
        periods: 2.
        agreement_weight: Of the groups' agreement.
        seed: Of the order in which keys are dealt out to processes.
        book: Notes how much places change and says which did; without one, `forward` must be told.

    Raises:
        UserError: The arguments do not fit each other.
    """

    def __init__(
        self,
        encoder: nn.Module,
        heads: Iterable[nn.Module],
        spaces: Sequence[Space],
        dim: int,
        size: int = 16_384,
        momentum: float = 0.999,
        temperature: float = 0.07,
        periods: int = 2,
        agreement_weight: float = 0.0,
        seed: int = 0,
        book: ChangeBook | None = None,
    ) -> None:
        super().__init__(encoder, heads, spaces, dim, size, momentum, temperature, periods, agreement_weight, seed)
        if periods != 2:
            raise UserError(f"change is between 2 periods, not {periods}; set periods to 2")
        if book is not None and len(self.spaces) <= TIME:
            raise UserError("change is measured in the space that is invariant to time; use the spaces SECO")
        self.book = book
        self._noted: tuple[Tensor, Tensor, Tensor] | None = None  # what the step in progress proposes for the book

    def costs(
        self,
        image: Tensor,
        keys: Tensor | Sequence[Tensor | None],
        changed: Tensor | None = None,
        place: Tensor | None = None,
        step: int = 0,
    ) -> dict[str, Tensor]:
        """Losses of each image, (N,) each.

        Args:
            image: (N, C, H, W), the two periods of a place side by side.
            keys: Key views (V, N, C, H, W), from the same period as their query.
            changed: (N,) bool, whether the place has; None asks the book.
            place: Index of the place (N,), for the book.
            step: The optimiser step.
        """
        if changed is None:
            if self.book is None or place is None:
                raise ValueError("which places changed is not known: give `changed`, or a book and `place`")
            changed = self.book.of(place)
        return super().costs(image, keys, changed, place, step)

    def shown(self, image: Tensor, keys: Tensor | Sequence[Tensor | None]) -> dict[int, Tensor]:
        """Beside the key views the query's image, where the book wants to know how far it is from the other period."""
        return super().shown(image, keys) | ({} if self.book is None else {QUERY: image})

    def pull(self, s: int, q: Tensor, z: Mapping[int, Tensor], positive: int, changed: Tensor | None) -> Tensor:
        """As in `MomentumContrast`, each period against its own queue and against the other period's keys."""
        assert changed is not None
        others = [z[view] for view in self.spaces[s].negatives]
        own = self.mine(z[positive], len(q))
        rank, _ = processes()
        places = torch.arange(len(q) // 2, device=q.device)
        costs = []
        for period in range(2):
            far = z[positive][1 - period :: 2]  # (M / 2, D), the place of row i is the query's of slot i
            negatives = torch.cat((self.queue.keys[s, period], *others, far))
            allowed = torch.ones(len(places), len(negatives), dtype=torch.bool, device=q.device)
            allowed[places, len(negatives) - len(far) + rank * len(places) + places] = changed[period::2]
            costs.append(info_nce(q[period::2], own[period::2], negatives, self.temperature, allowed))
        return torch.stack(costs, dim=1).flatten()

    def propose(self, z: Mapping[int, Tensor], place: Tensor | None) -> None:
        """The keys, and how far the places were from themselves."""
        super().propose(z, place)
        self._noted = None
        if self.book is not None and place is not None:
            near = self.spaces[TIME].positives[0]
            self._noted = rows_of_all_processes(place), z[QUERY][TIME], z[near][TIME]

    def keep(self, good: Tensor) -> None:
        """Keys, key network and book."""
        super().keep(good)
        if self.book is not None and self._noted is not None:
            self.book.observe(*self._noted, good)

    def after_epoch(self) -> None:
        """Decide anew which places changed."""
        if self.book is not None:
            self.book.refit()
