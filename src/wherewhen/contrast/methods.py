"""The five pre-trainings as a table: what the query shows, what the keys show, which of them agree."""

from dataclasses import dataclass
from typing import NamedTuple

from wherewhen.contrast.spaces import MOCO, SACO, SECO, Space


class Picture(NamedTuple):
    """What a view shows of a place.

    Args:
        date: Which of the drawn dates.
        cropped: A random part of it, resized.
        augmented: The crop's colours, sharpness and direction changed as well.
    """

    date: int
    cropped: bool = True
    augmented: bool = False


@dataclass(frozen=True)
class Method:
    """One pre-training.

    Args:
        title: What a person calls it.
        query: What the network in training sees.
        keys: What its average sees, by the numbers that `spaces` uses; None where no space uses one.
        spaces: Which keys agree with the query, and which it must tell apart.
        grouped: The encoder sees groups of three bands one by one, which have to agree (semantic awareness).
        texture: Groups of local binary patterns are among them.
        periods: 2: places are seen in two periods, and what changed between them is pushed apart.
        heads: Widths of the projection after the encoder's, None the same again; the last is that of the embedding.
        temperature: Of the contrast.
    """

    title: str
    query: Picture
    keys: tuple[Picture | None, ...]
    spaces: tuple[Space, ...]
    grouped: bool = False
    texture: bool = False
    periods: int = 1
    heads: tuple[int | None, ...] = (None, 128)
    temperature: float = 0.07

    @property
    def dates(self) -> int:
        """How many dates of a place it needs."""
        return 1 + max(picture.date for picture in (self.query, *self.keys) if picture is not None)

    def widths(self, width: int) -> tuple[int, ...]:
        """Widths of the projection's layers, from the encoder's to the embedding's."""
        return (width, *(wide or width for wide in self.heads))


_SEASONS = (Picture(1, augmented=True), Picture(2), Picture(0, augmented=True))
_TWO = (Picture(0, augmented=True),)

METHODS = {
    # He et al. 2020, https://arxiv.org/abs/2003.04297
    "moco_v2": Method("MoCo v2", _TWO[0], _TWO, MOCO),
    "sa_moco": Method("SA+MoCo", _TWO[0], _TWO, MOCO, grouped=True),
    # Mañas et al. 2021, https://arxiv.org/abs/2103.16607
    "seco": Method("SeCo", Picture(0), _SEASONS, SECO),
    # Mall et al. 2023, "Change-Aware Sampling and Contrastive Learning for Satellite Images"
    "caco": Method("CACo", Picture(0), _SEASONS, SECO, periods=2),
    # SACo+, ISPRS 2025: the query is not cropped
    "saco": Method(
        "SACo",
        Picture(0, cropped=False),
        (Picture(1), None, Picture(0, augmented=True)),
        SACO,
        grouped=True,
        texture=True,
        heads=(1024, 512, 256),
        temperature=0.05,
    ),
}
