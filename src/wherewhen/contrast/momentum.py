"""Momentum contrast: a network learns to find the key of its image, which its own slow average makes.

Notation: N images of this process, M of all processes, V key views, S spaces, P periods, Q queue, D width, G groups.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wherewhen.contrast.losses import agreement, info_nce, unit
from wherewhen.contrast.queue import Queue
from wherewhen.contrast.spaces import Space, views_of
from wherewhen.errors import UserError
from wherewhen.semi.objectives import batch_norms
from wherewhen.semi.state import rows_of_all_processes


class MomentumContrast(nn.Module):
    """Momentum contrast in one or more embedding spaces.

    MoCo v2 (He et al. 2020; Chen et al. 2020, https://arxiv.org/abs/2003.04297) is one space; SeCo (Mañas et al. 2021,
    https://arxiv.org/abs/2103.16607) is three; SACo is one with two positives and an encoder that looks at groups.

    `forward` proposes, `after_step` makes it stay: keys enter the queue and the key network follows only after a good
    optimiser step. The key network thereby equals the query network at step 0, and at every later step it is the
    average that the papers have, who let it follow just before it makes keys. What `forward` moved itself (the running
    statistics of batch norms) is taken back where the step was not good, and where it was never finished.

    Args:
        encoder: Any module (N, C, H, W) -> (N, D), or one whose answer has `pooled` (N, D).
        heads: A projection of features for each space.
        spaces: Which views agree and which stay apart; MOCO, SECO or SACO.
        dim: Width of the embedding that heads end in.
        size: Keys of a space's queue, in all its periods: a multiple of the batch over all processes.
        momentum: Share of the key network that stays at each step, in [0, 1).
        temperature: What cosines are divided by.
        periods: In how many periods each place is seen; its images stand side by side in the batch, and each period has
            a queue of its own.
        agreement_weight: Weight of the term that pulls together what the encoder's `each` (N, C, H, W) -> (N, G, D)
            says of the groups of an image; their mean is the image's feature.
        seed: Of the order in which keys are dealt out to processes.

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
        periods: int = 1,
        agreement_weight: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.spaces, self.views = tuple(spaces), views_of(spaces)
        heads = nn.ModuleList(heads)
        if len(heads) != len(self.spaces):
            raise UserError(f"there are {len(heads)} heads for {len(self.spaces)} spaces; give each space its own")
        if not 0 <= momentum < 1:
            raise UserError(f"momentum {momentum} of the key network is outside [0, 1); 0.999 is usual")
        if temperature <= 0:
            raise UserError(f"temperature {temperature} is not above 0; 0.07 is usual")
        if size % periods:
            raise UserError(f"a queue of {size} keys cannot be shared by {periods} periods; choose a multiple of them")
        if agreement_weight and not hasattr(encoder, "each"):
            raise UserError(
                f"{type(encoder).__name__} has no groups that could agree (method `each`); set agreement_weight to 0, "
                "or use wherewhen.contrast.GroupedEncoder"
            )
        self.momentum, self.temperature, self.periods = momentum, temperature, periods
        self.agreement_weight, self.seed = agreement_weight, seed
        self.query = nn.ModuleDict({"encoder": encoder, "heads": heads})
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        self.queue = Queue(len(self.spaces), periods, size // periods, dim)
        self._before: list[Tensor] | None = None  # buffers that the step in progress replaced
        self._keys: Tensor | None = None  # (S, P, M / P, D), what it proposes for the queue
        self._finite: Tensor | None = None  # () 1 where this process's losses are, else 0

    @property
    def encoder(self) -> nn.Module:
        """The encoder in training: what is kept in the end."""
        return self.query["encoder"]

    def learners(self) -> Iterable[nn.Module]:
        """What the optimiser changes."""
        return (self.query,)

    def check(self, batch: int) -> None:
        """See, before long work starts, that the queue takes batches of this size over all processes.

        Raises:
            UserError: It does not, or places are torn apart.
        """
        if batch % self.periods:
            raise UserError(f"a batch of {batch} does not hold places in {self.periods} periods; choose a multiple")
        self.queue.check(batch // self.periods)

    # -- one step -------------------------------------------------------------------------------

    def forward(
        self,
        image: Tensor,
        keys: Tensor | Sequence[Tensor | None],
        changed: Tensor | None = None,
        place: Tensor | None = None,
        step: int = 0,
    ) -> dict[str, Tensor]:
        """Losses by name, () each: "space0", "space1", …, and "agreement" where it has a weight.

        Args:
            image: What the query network sees (N, C, H, W).
            keys: Key views (V, N, C, H, W), or a sequence of them in which those that no space names may be None.
            changed: For `ChangeAware`.
            place: For `ChangeAware`.
            step: The optimiser step; with `seed` it decides which process embeds which keys.
        """
        losses = {name: cost.mean() for name, cost in self.costs(image, keys, changed, place, step).items()}
        self._finite = torch.stack([loss.detach() for loss in losses.values()]).isfinite().all().float()
        return losses

    def costs(
        self,
        image: Tensor,
        keys: Tensor | Sequence[Tensor | None],
        changed: Tensor | None = None,
        place: Tensor | None = None,
        step: int = 0,
    ) -> dict[str, Tensor]:
        """As `forward`, of each image: (N,) each; "agreement" is (1,)."""
        self.check(len(image) * processes()[1])
        self.take_back()
        self._before = [buffer.clone() for buffer in self._moving()]
        z = self.embed_keys(self.shown(image, keys), step)
        features, costs = self.look(image)
        for s, (space, head) in enumerate(zip(self.spaces, heads_of(self.query), strict=True)):
            q = unit(head(features))
            embedded = {view: of_view[s] for view, of_view in z.items()}
            pulls = [self.pull(s, q, embedded, view, changed) for view in space.positives]
            costs[f"space{s}"] = torch.stack(pulls).sum(0)
        self.propose(z, place)
        return costs

    def look(self, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Features (N, D) of the images, and what their groups' disagreement costs."""
        if not self.agreement_weight:
            return pooled(self.encoder(image)), {}
        each: Tensor = self.encoder.each(image)  # type: ignore[operator]
        return each.mean(1), {"agreement": self.agreement_weight * agreement(each)[None]}

    def shown(self, image: Tensor, keys: Tensor | Sequence[Tensor | None]) -> dict[int, Tensor]:
        """The images (N, C, H, W) that the key network sees, by view."""
        found = {view: keys[view] for view in self.views if view < len(keys)}
        views = {view: images for view, images in found.items() if images is not None and len(images) == len(image)}
        if missing := sorted({*self.views} - views.keys()):
            raise ValueError(f"no {len(image)} images of the key views {missing}, which the spaces {self.spaces} name")
        return views

    @torch.no_grad()
    def embed_keys(self, views: Mapping[int, Tensor], step: int) -> dict[int, Tensor]:
        """Images (N, C, H, W) by view -> unit keys (S, M, D) of all processes' images in slot order."""
        rank, world = processes()
        slots = len(next(iter(views.values())))
        mine = slice(rank * slots, (rank + 1) * slots)
        order = self.deal(step, world * slots) if world > 1 and batch_norms(self.key) else None
        embedded = []
        for images in views.values():  # one at a time, as batch norm shall see them
            if order is not None:
                images = rows_of_all_processes(images)[order[mine]]
            features = pooled(self.key["encoder"](images))
            embedded.append(torch.stack([unit(head(features)) for head in heads_of(self.key)], dim=1))
        z = rows_of_all_processes(torch.stack(embedded, dim=1))  # (M, V, S, D)
        if order is not None:
            z = z[order.argsort()]
        return dict(zip(views, z.permute(1, 2, 0, 3), strict=True))

    def deal(self, step: int, count: int) -> Tensor:
        """Whose keys the slots of all processes embed at a step: a permutation (M,).

        With batch norm an image must not meet the same companions as query and as key, or the network finds its key by
        the companions' statistics (MoCo, section 3.3). Within one process the order of a batch changes nothing of them.
        """
        order = torch.from_numpy(np.random.default_rng((self.seed, step)).permutation(count))
        return order.to(self.queue.keys.device, non_blocking=True)

    def pull(self, s: int, q: Tensor, z: Mapping[int, Tensor], positive: int, changed: Tensor | None) -> Tensor:
        """What it costs that queries (N, D) are apart from their keys of one view, in space s: (N,).

        Args:
            s: The space.
            q: Unit queries (N, D).
            z: Unit keys (M, D) of all processes by view.
            positive: The view that agrees.
            changed: Which places did.
        """
        own = self.mine(z[positive], len(q))
        others = [z[view] for view in self.spaces[s].negatives]
        costs = [
            info_nce(
                q[period :: self.periods],
                own[period :: self.periods],
                torch.cat((self.queue.keys[s, period], *others)),
                self.temperature,
            )
            for period in range(self.periods)
        ]
        return torch.stack(costs, dim=1).flatten()

    def mine(self, x: Tensor, count: int) -> Tensor:
        """This process's `count` slots of (M, …)."""
        rank, _ = processes()
        return x[rank * count : (rank + 1) * count]

    def propose(self, z: Mapping[int, Tensor], place: Tensor | None) -> None:
        """Hold ready what `after_step` shall keep of the unit keys (S, M, D) by view."""
        first = torch.stack([z[space.positives[0]][s] for s, space in enumerate(self.spaces)])  # (S, M, D)
        self._keys = first.unflatten(1, (-1, self.periods)).transpose(1, 2)

    # -- after it -------------------------------------------------------------------------------

    @torch.no_grad()
    def after_step(self, good: Tensor | None = None) -> None:
        """Let the queue take the step's keys and the key network follow; once after each optimiser step.

        Args:
            good: () false where the optimiser passed over the step: then nothing moves at all. The same on all
                processes. None looks whether the losses were finite.
        """
        if self._finite is None:
            return
        self.keep(rows_of_all_processes(self._finite[None]).all() if good is None else good)
        self._before = self._keys = self._finite = None

    def keep(self, good: Tensor) -> None:
        """Make what the step proposed stay where `good` () is true, and take it back where not."""
        assert self._before is not None
        assert self._keys is not None
        self.queue.push(self._keys, good)
        for buffer, before in zip(self._moving(), self._before, strict=True):
            buffer.copy_(torch.where(good, buffer, before))
        for key, query in zip(self.key.parameters(), self.query.parameters(), strict=True):
            key.lerp_(torch.where(good, query, key), 1 - self.momentum)

    def after_epoch(self) -> None:
        """What is done when every place was seen once: nothing here."""

    @torch.no_grad()
    def take_back(self) -> None:
        """Undo what the last `forward` moved, unless `after_step` made it stay."""
        if self._before is not None:
            for buffer, before in zip(self._moving(), self._before, strict=True):
                buffer.copy_(before)
        self._before = self._keys = self._finite = None

    def _moving(self) -> Iterator[Tensor]:
        """Buffers that showing images to a network in training may change."""
        yield from self.query.buffers()
        yield from self.key.buffers()


def heads_of(network: nn.ModuleDict) -> list[nn.Module]:
    """The projections of the query or the key network, in the order of the spaces."""
    return list(network["heads"].children())


def pooled(answer: Any) -> Tensor:
    """Features (N, D) of an encoder's answer, which is them or holds them.

    `wherewhen.encoders.vit.encode` does the same, but importing it takes seven seconds (timm).
    """
    features: Tensor = getattr(answer, "pooled", answer)
    return features


def processes() -> tuple[int, int]:
    """This process's rank, and how many there are."""
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    return (torch.distributed.get_rank(), torch.distributed.get_world_size()) if several else (0, 1)
