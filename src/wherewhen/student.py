"""A trained model for its user: images in, probabilities out; nothing else is asked for.

Notation: N images, C bands, H × W pixels, K classes, S image size of the training.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from wherewhen import images as pictures
from wherewhen.bands import Band
from wherewhen.errors import UserError, described_by
from wherewhen.student_files import READERS, About, Answer
from wherewhen.tasks.facts import LabelKind
from wherewhen.views import resize

LARGEST = 4  # times the side of a trained patch that an image to classify may have


class Student:
    """A model that needs the image alone; `wherewhen.load` makes one.

    Place and time are never asked for. It follows scikit-learn where that makes sense: `classes_`, `predict`,
    `predict_proba`.

    Args:
        about: What it is.
        answer: Its network.
        device: Where the network is.
    """

    def __init__(self, about: About, answer: Answer, device: str | torch.device = "cpu") -> None:
        self.about, self.answer, self.device = about, answer, torch.device(device)

    def __repr__(self) -> str:
        bands, classes = ", ".join(b.name for b in self.bands), ", ".join(self.classes)
        return f"Student({self.kind} of {classes}; bands {bands}; {self.image_size} pixels)"

    @property
    def bands(self) -> tuple[Band, ...]:
        """What it was trained on, in the order of the axis C."""
        return self.about.facts.bands

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes."""
        return self.about.facts.classes

    @property
    def classes_(self) -> np.ndarray:
        """The same as scikit-learn has it, (K,)."""
        return np.array(self.classes)

    @property
    def kind(self) -> LabelKind:
        """One class an image, "many", a class for every pixel ("mask"), or "change" between two images."""
        return self.about.facts.label_kind

    @property
    def image_size(self) -> int:
        """S, pixels."""
        return self.about.facts.image_size

    @property
    def stride(self) -> int | None:
        """Of pixels: images of any multiple of it are taken without padding; None where images are S × S."""
        return self.about.stride

    def predict_proba(self, images: Any, bands: pictures.Bands | None = None, batch: int = 64) -> np.ndarray:
        """Probabilities of images, in the unit and resolution of the training.

        Images to classify are resized to S × S as in training. Of pixels, images of any size are taken and mirrored at
        the right and lower edge up to a multiple of the stride, where the network allows it; else up to S × S at most.

        Args:
            images: Stored numbers (N, C, H, W), or one image (C, H, W); an `xarray.DataArray` with a dimension `band`;
                an open rasterio dataset, or the path of a raster. For change pairs (N, 2, C, H, W), before and after,
                or a tuple of two of the above.
            bands: Names of their bands, or `Band`s, whose unit is then checked, in any order and with others among
                them; by default what they say themselves, and for arrays the order of `self.bands`.
            batch: Images at a time.

        Returns:
            float32: (N, K), sums of 1 over classes but for "many"; of pixels (N, K, H, W), sums of 1.

        Raises:
            UserError: A band is missing, the numbers are of another unit, or the images are too large.
        """
        if batch < 1:
            raise UserError(f"batch is {batch}; it counts images and must be at least 1")
        stacked = self._stacked(pictures.read(images, bands, self.bands, self.about.facts.dates))
        starts = range(0, len(stacked), batch)
        parts = [self._answers(stacked[start : start + batch]) for start in starts]
        if parts:
            return np.concatenate(parts)
        return np.empty((0, len(self.classes), *(stacked.shape[2:] if self.about.facts.dense else ())), np.float32)

    def predict(
        self, images: Any, bands: pictures.Bands | None = None, batch: int = 64, indices: bool = False
    ) -> np.ndarray:
        """What the images show; arguments and errors are those of `predict_proba`.

        Args:
            images: As above.
            bands: As above.
            batch: As above.
            indices: Positions in `classes` in place of names, int64.

        Returns:
            One class an image: its name (N,). Many: 1 where a class has probability 0.5 or more, else 0, (N, K) int64.
            Pixels: positions in `classes`, (N, H, W) uint8.
        """
        p = self.predict_proba(images, bands, batch)
        if self.kind == "many":
            return (p >= 0.5).astype(np.int64)
        best: np.ndarray = p.argmax(1)
        if self.about.facts.dense:
            return best.astype(np.uint8)
        return best if indices else self.classes_[best]

    def _stacked(self, array: np.ndarray) -> np.ndarray:
        """Checked images -> (N, C, H, W) with the bands of all dates one after the other."""
        facts = self.about.facts
        axes = 4 if facts.dates == 1 else 5
        wanted = "(N, C, H, W)" if facts.dates == 1 else "pairs (N, 2, C, H, W)"
        if array.ndim == axes - 1:
            array = array[None]
        if array.ndim != axes or (facts.dates == 2 and array.shape[1] != 2) or min(array.shape[-2:]) < 1:
            raise UserError(f"images of shape {array.shape}; this student takes {wanted}, or one of them")
        pictures.check_numbers(array, facts.bands, facts.mean, facts.std)
        self._check_size(array.shape[-2], array.shape[-1])
        return array.reshape(len(array), facts.dates * len(facts.bands), *array.shape[-2:])

    def _check_size(self, height: int, width: int) -> None:
        side = self.image_size
        if not self.about.facts.dense:
            patch = self.about.patch_size
            if patch is not None and max(height, width) > LARGEST * patch:
                raise UserError(
                    f"an image of {height} × {width} pixels, but what is classified are patches of {patch} × {patch}; "
                    "cut it into such patches, or make a map with `wherewhen predict`"
                )
        elif self.stride is None and max(height, width) > side:
            raise UserError(
                f"an image of {height} × {width} pixels, but this network takes {side} × {side} at most; cut it into "
                "windows, or make a map with `wherewhen predict`"
            )

    @torch.no_grad()
    def _answers(self, stored: np.ndarray) -> np.ndarray:
        """(n, C, H, W) stored numbers -> probabilities of the same images."""
        height, width = stored.shape[-2:]
        if self.about.facts.dense:
            stored = self._padded(stored)
        pixels = torch.from_numpy(np.ascontiguousarray(stored, dtype=np.float32)).to(self.device)
        if not self.about.facts.dense and (height, width) != (self.image_size,) * 2:
            pixels = resize(pixels, self.image_size).round()  # to what a store could hold, as the loader does
        p = self.answer(pixels).float().cpu().numpy()
        return p[..., :height, :width] if self.about.facts.dense else p

    def _padded(self, stored: np.ndarray) -> np.ndarray:
        side, shape = self.image_size, stored.shape[-2:]
        step = self.stride
        wanted = tuple(side if step is None else -(-length // step) * step for length in shape)
        if shape in (wanted, (side, side)):
            return stored  # as in training, whether or not it is a multiple
        rows, columns = (pictures.reflected(*lengths) for lengths in zip(shape, wanted, strict=True))
        return stored[..., rows[:, None], columns]


def file_of(path: Path) -> Path:
    """The file of a student: of a run's folder its last checkpoint, else the path itself."""
    return path / "checkpoints" / "last.ckpt" if path.is_dir() else path


def load(path: str | Path, device: str | torch.device | None = None) -> Student:
    """A student to use, from what training or export left behind.

    Args:
        path: A run's folder (its last checkpoint), a checkpoint, or a file of `wherewhen export`, .safetensors or
            .onnx.
        device: Of the network; None is a GPU where there is one. ONNX runs on the CPU.

    Raises:
        UserError: There is no such thing, it is damaged, or it is a `.pt2` file, which may hold code.
    """
    path = Path(path)
    if path.suffix == ".pt2":
        raise UserError(
            f"{path} is a torch-export file, which may hold code that runs when it is read; if you trust it, read it "
            "with torch.export.load. wherewhen.load takes a run's folder, .safetensors or .onnx"
        )
    file = file_of(path)
    if not file.is_file():
        raise UserError(f"there is no {file}; give a run's folder, or a file of `wherewhen export`")
    if file.suffix not in READERS:
        raise UserError(f"{path} is none of {', '.join(READERS)}; give a run's folder, or a file of `wherewhen export`")
    with described_by(file, "train or export it again"):
        about, answer = READERS[file.suffix](file)
    if not isinstance(answer, nn.Module):
        return Student(about, answer)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return Student(about, answer.to(device), device)
