"""Where the pixels of a view lie: crops and flips, affine warps, and masks that follow them.

Axes: N samples, C bands, H = W rows and columns of a view, h and w rows and columns of a mask; the
last axis of a grid is (x, y). Positions are those of `torch.nn.functional.grid_sample` with
`align_corners=False`: −1 and 1 are the outer edges of a picture, so the centre of column j of W lies at
(2j + 1)/W − 1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

OUTSIDE = 2.0
"""Position given to pixels that show no ground: beyond the edge of every picture."""

SUBCELLS = 127
"""Sampling points sit on the centres of 127 × 127 cells of a pixel, see `warp`."""

TIE = 1e-6
"""Nearest-pixel ties go to the larger index; far above float32 noise, far below half a subcell."""


class Placement(NamedTuple):
    """A reflect-padded crop and two flips, one of each for every sample.

    The crop is as large as the patch and lies `shift` pixels off it; what it lacks on one side is the patch
    reflected at the centre of its outermost pixels. The flips turn the crop over.

    Args:
        shift: (N, 2) int64, whole pixels to the right and down, smaller than half the patch.
        flip: (N, 2) bool, left-right and upside-down.
    """

    shift: Tensor
    flip: Tensor

    def sources(self, size: int) -> Tensor:
        """Return (N, 2, size) int64: the patch's column and row behind each column and row of the crop."""
        pixel = torch.arange(size, device=self.shift.device)
        canvas = torch.where(self.flip[..., None], size - 1 - pixel, pixel) + self.shift[..., None]
        return size - 1 - (size - 1 - canvas.abs()).abs()

    def to_patch(self, points: Tensor, size: int) -> Tensor:
        """Map (N, H, W, 2) positions on the crop to positions on the patch of `size` pixels."""
        sign, shift = self._sign_and_shift(size)
        canvas = (sign * points).add_(shift)
        edge = 1 - 1 / size  # the outermost pixels' centres are the mirrors
        return canvas.clamp(-edge, edge).mul_(2).sub_(canvas)

    def from_patch(self, points: Tensor, size: int) -> Tensor:
        """Map (N, H, W, 2) positions on the patch to the crop; beyond ±1 where the crop does not reach.

        Ground that the crop shows twice, straight and mirrored, is looked up where it lies straight.
        """
        sign, shift = self._sign_and_shift(size)
        return sign * (points - shift)

    def _sign_and_shift(self, size: int) -> tuple[Tensor, Tensor]:
        sign = 1 - 2 * self.flip.float()
        return sign[:, None, None], (self.shift * (2 / size))[:, None, None]


def take(images: Tensor, sources: Tensor) -> Tensor:
    """Pick rows and columns of every image, exactly.

    Args:
        images: (N, C, H, W).
        sources: (N, 2, W) columns and rows, from `Placement.sources`.

    Returns:
        (N, C, H, W), of the images' type.
    """
    columns, rows = sources.unbind(1)
    pixel = rows[:, :, None] * images.shape[-1] + columns[:, None, :]  # (N, H, W)
    index = pixel.flatten(1)[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, index).view_as(images)


def put(images: Tensor, slots: Tensor, values: Tensor) -> None:
    """Write values (n, C, H, W) into the `slots`, (n,) int64 on the CPU, of images (N, C, H, W), in place."""
    # One launch on a GPU, plain memory copies on a CPU: there index_copy_ takes four times as long.
    if len(slots):
        torch._foreach_copy_([images[slot] for slot in slots.tolist()], list(values.unbind()))


def centres(sources: Tensor) -> Tensor:
    """Return the (N, H, W, 2) float32 grid of the patch pixels that `sources` (N, 2, W) names."""
    size = sources.shape[-1]
    x, y = ((2 * sources + 1).float() / size - 1).unbind(1)
    return planar(x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size))


def affine(rotate: Tensor, shear: Sequence[Tensor], translate: Sequence[Tensor]) -> Tensor:
    """Build matrices that take a position on the output to the position on the input shown there.

    Directions, centres and signs are those of Pillow's `Image.rotate` and `Image.transform`, on which the
    published RandAugment lists rest: rotation about the middle, shear about the top left corner.

    Args:
        rotate: (...) degrees, counter-clockwise.
        shear: x and y, each (...), columns per row and rows per column.
        translate: x and y, each (...), parts of the image side.

    Returns:
        (..., 3, 3) float64.
    """
    angle = torch.deg2rad(rotate.double())
    (shear_x, shear_y), (move_x, move_y) = shear, translate
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    rows = (
        (angle.cos(), shear_x - angle.sin(), shear_x + 2 * move_x),
        (angle.sin() + shear_y, angle.cos(), shear_y + 2 * move_y),
        (zero, zero, one),
    )
    return torch.stack([torch.stack([term.double() for term in row], -1) for row in rows], -2)


def warp(matrix: Tensor, size: int) -> Tensor:
    """Return the (N, size, size, 2) float32 positions that `matrix` (N, 3, 3) gives the pixels of a picture.

    Each position is moved by at most 1/254 of a pixel to the centre of a subcell. An odd number of subcells
    keeps pixel centres where they are and leaves none on a border between pixels, so that "the nearest
    pixel" is the same one however the position is later mirrored, shifted or rounded.
    """
    axis = (2 * torch.arange(size, device=matrix.device) + 1).float() / size - 1
    matrix = matrix.float()[:, :2]
    across = matrix[..., :1] * axis  # (N, 2, W)
    down = matrix[..., 1:2] * axis + matrix[..., 2:]  # (N, 2, H)
    points = planar(*(across[:, :, None, :] + down[..., None]).unbind(1))
    unit = size * SUBCELLS / 2
    return points.add_(1).mul_(unit).floor_().add_(0.5).div_(unit).sub_(1)


def sample(images: Tensor, grid: Tensor) -> Tensor:
    """Read images (N, C, h, w) bilinearly at (N, H, W, 2) positions; beyond the edge the nearest value."""
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def inside(points: Tensor) -> Tensor:
    """Return (N, H, W) bool: which of (N, H, W, 2) positions lie on the picture."""
    return torch.maximum(*points.abs().unbind(-1)) <= 1


def resample(mask: Tensor, grid: Tensor, valid: Tensor | None = None, fill: float = -1) -> Tensor:
    """Read a mask of any resolution where a view's pixels lie: the mask pixel that holds each point.

    Args:
        mask: (N, h, w, ...), labels or anything else per pixel, covering the same ground as the patch.
        grid: (N, H, W, 2) positions on the mask, such as `View.grid` or `StrongView.relative`.
        valid: (N, H, W) bool; False takes `fill`.
        fill: value where the grid leaves the mask or `valid` is False.

    Returns:
        (N, H, W, ...), of the mask's type.
    """
    height, width = mask.shape[1:3]
    column, row = (
        ((grid[..., i] + (1 + TIE)) * (cells / 2)).floor().long().clamp(0, cells - 1)
        for i, cells in enumerate((width, height))
    )
    sample = torch.arange(len(mask), device=mask.device)[:, None, None]
    values = mask[sample, row, column]
    shown = inside(grid) if valid is None else inside(grid) & valid
    return values.masked_fill_(~shown.view(shown.shape + (1,) * (mask.ndim - 3)), fill)


def paint(images: Tensor, where: Tensor, value: float) -> None:
    """Set images (N, C, H, W) to `value` in place where (N, H, W) bool is True."""
    # lerp is exact at weights 0 and 1, and several times faster than masked_fill over a broadcast mask.
    images.lerp_(torch.full((), value, device=images.device), where[:, None].to(images.dtype))


def planar(x: Tensor, y: Tensor) -> Tensor:
    """Join x and y, (N, H, W), along a last axis that is outermost in memory: several times faster here."""
    return torch.stack((x, y)).movedim(0, -1)


def resize(images: Tensor, size: int) -> Tensor:
    """Resize (N, C, H, W) float images to `size` × `size` pixels, bilinear and antialiased."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)


def resize_mask(mask: Tensor, size: int) -> Tensor:
    """Resize an (N, h, w) mask to `size` × `size` pixels, each the mask pixel at its centre."""
    rows, columns = (
        ((2 * torch.arange(size, device=mask.device) + 1) * cells) // (2 * size) for cells in mask.shape[-2:]
    )
    return mask[:, rows][:, :, columns]
