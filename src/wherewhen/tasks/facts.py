"""What a task must know of the data, and nothing more: it is saved with the model."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from wherewhen.bands import Band
from wherewhen.errors import UserError
from wherewhen.scale import Scale, check_bands
from wherewhen.semi import UNKNOWN

LabelKind = Literal["one", "many", "mask", "change"]


@dataclass(frozen=True)
class Facts:
    """Bands, classes and statistics of a training store."""

    bands: tuple[Band, ...]
    classes: tuple[str, ...]
    label_kind: LabelKind
    image_size: int  # pixels
    mean: tuple[float, ...]  # of every band, physical, over the training patches
    std: tuple[float, ...]
    known: tuple[str, ...]  # "place", "time": known of every training patch
    partly: tuple[str, ...]  # known of some
    labelled: tuple[float, ...]  # how often each class is met in the labelled patches; see `frequencies`

    @property
    def dense(self) -> bool:
        """Whether every pixel has a label."""
        return self.label_kind in ("mask", "change")

    @property
    def dates(self) -> int:
        """Images of a sample: their bands lie one after the other, (N, dates · C, H, W)."""
        return 2 if self.label_kind == "change" else 1

    def scale(self) -> Scale:
        """Stored numbers -> network input."""
        return Scale.of(self.bands * self.dates, np.array(self.mean * self.dates), np.array(self.std * self.dates))

    def found(self) -> dict[str, Tensor]:
        """What an algorithm may ask for by argument name: distributions of outcomes, (K,) or many labels (C, 2).

        `prior` is that of the labelled patches, `uniform` says nothing, `goal` is what predictions are aligned with:
        the uniform one for one label, the labelled one for many and for pixels, whose classes are never balanced.
        """
        prior = torch.tensor(self.labelled, device="cpu")  # also where networks are built on the meta device
        if self.label_kind == "many":
            prior = torch.stack((1 - prior, prior), dim=-1)
        uniform = torch.full_like(prior, 1 / prior.shape[-1])
        return {"prior": prior, "uniform": uniform, "goal": uniform if self.label_kind == "one" else prior}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Facts":
        """The other way round."""
        bands = tuple(Band(**band) for band in values["bands"])
        tuples = {k: tuple(v) for k, v in values.items() if isinstance(v, list | tuple) and k != "bands"}
        return cls(**{**values, **tuples, "bands": bands})

    def accept(self, other: "Facts", where: str) -> None:
        """Check that images described by `other` can be shown to a model trained on these facts.

        Raises:
            UserError: Bands, unit, classes, kind of label or image size differ.
        """
        check_bands(self.bands, other.bands, where)
        for what, ours, theirs in (
            ("classes", self.classes, other.classes),
            ("labels", self.label_kind, other.label_kind),
            ("image size", self.image_size, other.image_size),
        ):
            if ours != theirs:
                raise UserError(
                    f"the model was trained on {what} {ours}, but {where} has {theirs}; "
                    "use the store or the settings that it was trained with"
                )


def frequencies(labels: np.ndarray, classes: int) -> tuple[float, ...]:
    """How often each class is met in labelled patches, with half a patch added for and against it.

    So a class without a label keeps a frequency above 0 (Jeffreys' prior), and a logarithm of it is finite.

    Args:
        labels: (L,) class index, or (L, C) of 0 and 1; −1 is unknown and counts for nothing.
        classes: C.
    """
    if labels.ndim == 2:
        present, known = (labels == 1).sum(0), (labels != UNKNOWN).sum(0)
        return tuple(((present + 0.5) / (known + 1)).tolist())
    return shares(np.bincount(labels[labels != UNKNOWN], minlength=classes))


def shares(count: np.ndarray) -> tuple[float, ...]:
    """Labels of each class (C,) -> the share of each, with half a label added to every one."""
    classes = len(count)
    return tuple(((count + 0.5) / (count.sum() + 0.5 * classes)).tolist())
