"""A trained student as maps need it: windows of a scene in, probabilities out.

Notation: N windows, C bands (of all dates), K classes, h × w pixels of the scene, S image size of the training.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from wherewhen.errors import UserError
from wherewhen.files import sha256_of
from wherewhen.student import Student, file_of, load

FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-1, -2))


@dataclass(frozen=True)
class Network:
    """Stored numbers (N, C, h, w) -> probabilities float32, (N, K) or of every pixel (N, K, h, w).

    The training may have shown its patches at another size, P pixels as S. Then windows are resized alike, and
    probabilities back.

    Args:
        student: Of either kind.
        digest: Of its weights, and of how they are asked.
        flips: Ask for each window and its three mirror images, and take the mean.
    """

    student: Student
    digest: str
    flips: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """K names."""
        return self.student.classes

    @property
    def dense(self) -> bool:
        """Whether it answers for every pixel."""
        return self.student.kind in ("mask", "change")

    @property
    def side(self) -> int | None:
        """The only side of windows that it takes, in pixels of the scene; None takes any."""
        if self.dense and self.student.stride is not None:
            return None
        return self.patch

    @property
    def align(self) -> int:
        """Windows should begin at multiples of so many pixels of the scene."""
        step = (self.student.stride or 1) * self.patch / self.student.image_size
        return int(step) if step.is_integer() else 1

    @property
    def patch(self) -> int:
        """Side of the training's patches, P."""
        return self.student.about.patch_size or self.student.image_size

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Ask the student.

        Raises:
            UserError: The numbers are of another unit than the training's.
        """
        shown = FLIPS if self.flips else FLIPS[:1]
        total = sum(_flipped(self._ask(_flipped(images, axes)), axes if self.dense else ()) for axes in shown)
        mean: np.ndarray = np.asarray(total, np.float32) / len(shown)
        return mean

    def _ask(self, images: np.ndarray) -> np.ndarray:
        size = images.shape[-2:]
        scale = self.student.image_size / self.patch
        if not self.dense or scale == 1:
            return self._proba(images)
        wanted = (max(round(size[0] * scale), 1), max(round(size[1] * scale), 1))
        small = _resized(images, wanted).round()  # to what a store could hold, as the loader does
        return _resized(self._proba(small), size)

    def _proba(self, images: np.ndarray) -> np.ndarray:
        if self.student.kind == "change":  # the bands of both dates stand one after the other
            count, bands, height, width = images.shape
            images = images.reshape(count, 2, bands // 2, height, width)
        return self.student.predict_proba(images, batch=len(images))


@dataclass(frozen=True)
class Weights:
    """Where a network comes from; small enough to go to every worker, which reads it once.

    Args:
        run: Folder of a run, or a file of `wherewhen export`.
        digest: Of the weights; see `of`.
        flips: As of `Network`.
        device: Of the network; None is a GPU where there is one.
        threads: Of PyTorch; None leaves them. More or fewer may change the last bits of what a network says.
    """

    run: Path
    digest: str
    flips: bool = False
    device: str | None = None
    threads: int | None = None

    @classmethod
    def of(cls, run: Path, flips: bool = False, device: str | None = None) -> "Weights":
        """Those that lie there now."""
        return cls(run, digest(run), flips, device)

    def network(self) -> Network:
        """The network, read when this process first asks for it.

        Raises:
            UserError: There is none, it is damaged, or it is no longer the same.
        """
        return _loaded(self)


@lru_cache(maxsize=1)
def _loaded(weights: Weights) -> Network:
    if weights.threads is not None:
        torch.set_num_threads(weights.threads)
    student = load(weights.run, weights.device)
    if digest(weights.run) != weights.digest:
        raise UserError(f"{weights.run} changed since this began, or is another one on this machine; start again")
    return Network(student, f"{weights.digest} {weights.flips}", weights.flips)


def digest(run: Path) -> str:
    """SHA-256 of the file with the weights; empty where there is none."""
    file = file_of(run)
    return sha256_of(file) if file.is_file() else ""


def _flipped(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return np.flip(array, axes) if axes else array


def _resized(images: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(N, C, h, w) -> another size, as the loader resizes."""
    tensor = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))
    resized: np.ndarray = F.interpolate(tensor, size, mode="bilinear", antialias=True, align_corners=False).numpy()
    return resized
