"""What a task must know of the data, and nothing more: it is saved with the model."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from wherewhen.bands import Band
from wherewhen.errors import UserError
from wherewhen.scale import Scale, check_bands

LabelKind = Literal["one", "many"]


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

    def scale(self) -> Scale:
        """Stored numbers -> network input."""
        return Scale.of(self.bands, np.array(self.mean), np.array(self.std))

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
