"""The weak and the strong view of a batch, every sample its own draw.

Recipe: FixMatch (Sohn et al. 2020, https://arxiv.org/abs/2001.07685) with the RandAugment list of USB
(Wang et al. 2022, https://arxiv.org/abs/2208.07204). Axes: N samples, C bands, H = W rows and columns,
K operations.

Everything random is drawn on the CPU, so the host knows which sample gets which operation, no step waits
for the device, and a picture is a function of the generator's seed and the slot alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from wherewhen.errors import UserError
from wherewhen.views.geometry import OUTSIDE, Placement, affine, centres, inside, paint, put, sample, take, warp
from wherewhen.views.photometry import PHOTOMETRIC, apply_in_order, check_colour

RANGES: dict[str, tuple[float, float]] = {
    "identity": (0, 0),
    **{name: (operation.low, operation.high) for name, operation in PHOTOMETRIC.items()},
    "rotate": (-30, 30),
    "shear_x": (-0.3, 0.3),
    "shear_y": (-0.3, 0.3),
    "translate_x": (-0.3, 0.3),
    "translate_y": (-0.3, 0.3),
}
"""Operation name → range of its value. The position in this table is the operation's code in `Draws`."""

NAMES = tuple(RANGES)
FUNCTIONS = tuple(PHOTOMETRIC[name].apply if name in PHOTOMETRIC else None for name in NAMES)
GEOMETRIC = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")


class View(NamedTuple):
    """Pictures of a batch, and where on the patch each of their pixels lies.

    Args:
        pixels: (N, C, H, W) float32 in [0, 1].
        grid: (N, H, W, 2) float32 x, y on the patch, as in `wherewhen.views.geometry`.
        valid: (N, H, W) bool, False where a pixel shows no ground of the patch.
    """

    pixels: Tensor
    grid: Tensor
    valid: Tensor


class StrongView(NamedTuple):
    """A `View`, and where on the weak view of the same draws each of its pixels lies.

    Labels (N, h, w) predicted on the weak view are carried over by `resample(labels, strong.relative)`.

    Args:
        pixels: (N, C, H, W) float32 in [0, 1].
        grid: (N, H, W, 2) float32 x, y on the patch; 2 where not valid.
        valid: (N, H, W) bool, False where a pixel shows no ground of the patch. Pixels that cutout hides
            remain valid: their label is what the network has to infer.
        relative: (N, H, W, 2) float32 x, y on the weak view; beyond ±1 where not valid or not in that view.
    """

    pixels: Tensor
    grid: Tensor
    valid: Tensor
    relative: Tensor


@dataclass(frozen=True)
class Draws:
    """Everything random of a batch, on the CPU; the leading axis is the slot.

    Args:
        size: Height and width of the images these draws are for, in pixels.
        weak: Crop and flips of the weak view.
        strong: The strong view's own crop and flips.
        operation: (N, K) int64, positions in `NAMES`.
        value: (N, K) float32, the operation's strength in its own unit.
        cutout: (N, 3) float32 in [0, 1]: centre x and y and side of the square, in parts of the image side.
    """

    size: int
    weak: Placement
    strong: Placement
    operation: Tensor
    value: Tensor
    cutout: Tensor

    def __len__(self) -> int:
        return len(self.operation)

    def __getitem__(self, slots: slice | Tensor | Sequence[int]) -> "Draws":
        """Return the draws of some slots: a slice, a list or tensor of positions, or a boolean mask."""
        weak, strong = (Placement(*(t[slots] for t in placement)) for placement in (self.weak, self.strong))
        return Draws(self.size, weak, strong, self.operation[slots], self.value[slots], self.cutout[slots])

    def values_of(self, name: str) -> Tensor:
        """Return (N, K) values of one operation, 0 where another was drawn."""
        return torch.where(self.operation == NAMES.index(name), self.value, 0)


@dataclass(frozen=True)
class Views:
    """Weak and strong views by the recipe of FixMatch, for any number of bands.

    Weak: a reflect-padded crop and two flips, by indexing alone. Strong: a crop and two flips, then
    `operations` random operations of random strength, then cutout.

    The geometric operations of a sample are composed into one affine map and applied once, before the
    photometric ones, which keep their order: one interpolation blurs less than three, ground that one
    operation pushes out and the next brings back is not lost, it is one pass over the batch, and the grid is
    exact. Unlike Pillow's default the map is sampled bilinearly and filled with `fill`, not black.

    Args:
        crop_ratio: The crop lies up to `int(size · (1 − crop_ratio))` pixels off the patch; in (0.5, 1].
        operations: Number of random operations a sample, drawn with replacement; 0 for none.
        cutout: Largest side of the square, in parts of the image side; in [0, 1], 0 for none.
        colour: Whether saturation is among the operations; for images with bands red, green, blue only.
        geometric: Whether rotation, shear and translation are among the operations.
        fill: Value of pixels that show no ground, and of cutout; in [0, 1].

    Raises:
        UserError: A setting is outside its range.
    """

    crop_ratio: float = 0.875
    operations: int = 3
    cutout: float = 0.5
    colour: bool = False
    geometric: bool = True
    fill: float = 0.5

    def __post_init__(self) -> None:
        require(0.5 < self.crop_ratio <= 1, "crop_ratio", self.crop_ratio, "above 0.5 and at most 1")
        require(self.operations >= 0, "operations", self.operations, "0 or more")
        require(0 <= self.cutout <= 1, "cutout", self.cutout, "between 0 and 1")
        require(0 <= self.fill <= 1, "fill", self.fill, "between 0 and 1")

    @property
    def names(self) -> tuple[str, ...]:
        """The operations that may be drawn."""
        left_out = (() if self.colour else ("colour",)) + (() if self.geometric else GEOMETRIC)
        return tuple(name for name in NAMES if name not in left_out)

    def draw(self, n: int, size: int, generator: torch.Generator) -> Draws:
        """Draw everything random of a batch of `n` images of `size` × `size` pixels.

        Raises:
            UserError: The images are smaller than 3 × 3 pixels.
        """
        require(size >= 3, "image size", size, "3 pixels or more")
        weak, strong = self._place(n, size, generator), self._place(n, size, generator)
        cutout = torch.rand(n, 3, generator=generator)
        cutout[:, 2] *= self.cutout
        codes = torch.tensor([NAMES.index(name) for name in self.names])
        operation = codes[torch.randint(len(codes), (n, self.operations), generator=generator)]
        low, high = torch.tensor(tuple(RANGES.values()))[operation].unbind(-1)
        value = low + (high - low) * torch.rand(n, self.operations, generator=generator)
        return Draws(size, weak, strong, operation, value, cutout)

    @torch.no_grad()
    def weak(self, images: Tensor, draws: Draws) -> View:
        """Return crop and flips of images (N, C, H, W) float32 in [0, 1]; every pixel is valid.

        Raises:
            UserError: The images do not match the draws.
        """
        check_images(images, len(draws), draws.size)
        sources = _to(draws.weak.sources(draws.size), images.device)
        grid = centres(sources)
        return View(take(images, sources), grid, torch.ones_like(grid[..., 0], dtype=torch.bool))

    @torch.no_grad()
    def strong(self, images: Tensor, draws: Draws, *, inherit: bool = False) -> StrongView:
        """Return crop, flips, random operations and cutout of images (N, C, H, W) float32 in [0, 1].

        Args:
            images: The images themselves, not their weak view.
            draws: The draws of the weak view that `relative` is to point to.
            inherit: Take the crop and flips of the weak view, so that all ground shown is in both; for dense
                labels.

        Raises:
            UserError: The images do not match the draws, or `colour` was asked for without three bands.
        """
        check_images(images, len(draws), draws.size)
        if self.colour:
            check_colour(images.shape[1])
        view = self._warped(images, draws, draws.weak if inherit else draws.strong)
        apply_in_order(view.pixels, draws.operation, draws.value, FUNCTIONS)
        paint(view.pixels, _square(_to(draws.cutout, images.device), draws.size), self.fill)
        relative = _placement_to(draws.weak, images.device).from_patch(view.grid, draws.size)
        return StrongView(*view, relative)

    def _place(self, n: int, size: int, generator: torch.Generator) -> Placement:
        reach = int(size * (1 - self.crop_ratio))
        shift = torch.randint(-reach, reach + 1, (n, 2), generator=generator)
        return Placement(shift, torch.randint(2, (n, 2), generator=generator, dtype=torch.bool))

    def _warped(self, images: Tensor, draws: Draws, placement: Placement) -> View:
        """Crop, flip and warp from the original images: samples that keep still exactly, others by sampling."""
        points = warp(_to(_matrices(draws), images.device), draws.size)
        valid = inside(points)
        grid = _placement_to(placement, images.device).to_patch(points, draws.size)
        grid.masked_fill_(~valid[..., None], OUTSIDE)

        moves = torch.isin(draws.operation, torch.tensor([NAMES.index(name) for name in GEOMETRIC])).any(1)
        still, moved = (~moves).nonzero()[:, 0], moves.nonzero()[:, 0]
        here, there = _to(still, images.device), _to(moved, images.device)
        sources = _to(placement.sources(draws.size)[still], images.device)
        sampled = sample(images.index_select(0, there), grid[there])
        paint(sampled, ~valid[there], self.fill)
        pixels = torch.empty_like(images, memory_format=torch.contiguous_format)
        put(pixels, still, take(images.index_select(0, here), sources))
        put(pixels, moved, sampled)
        return View(pixels, grid, valid)


def is_rgb(names: Sequence[str]) -> bool:
    """Whether bands of these names are red, green and blue in this order, so that `colour` makes sense."""
    return tuple(name.lower() for name in names) in {("red", "green", "blue"), ("b04", "b03", "b02")}


def _matrices(draws: Draws) -> Tensor:
    """Return (N, 3, 3) float64: the map from the picture to its crop that all operations together make."""
    rotate, shear_x, shear_y, move_x, move_y = (draws.values_of(name).double() for name in GEOMETRIC)
    steps = affine(rotate, (shear_x, shear_y), (move_x, move_y))  # (N, K, 3, 3)
    product = torch.eye(3, dtype=torch.float64).repeat(len(draws), 1, 1)
    for step in steps.unbind(1):
        product = product @ step  # the later operation looks into the earlier one's picture
    return product


def _square(cutout: Tensor, size: int) -> Tensor:
    """Return (N, H, W) bool: pixels whose centre lies in the square of `Draws.cutout`."""
    axis = (torch.arange(size, device=cutout.device) + 0.5) / size
    middle, side = cutout[:, :2, None], cutout[:, 2:, None]
    columns, rows = ((axis - middle).abs() < side / 2).unbind(1)  # (N, W), (N, H)
    return rows[:, :, None] & columns[:, None, :]


def _placement_to(placement: Placement, device: torch.device) -> Placement:
    return Placement(_to(placement.shift, device), _to(placement.flip, device))


def _to(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.to(device, non_blocking=True)


def check_images(images: Tensor, count: int, size: int) -> None:
    """Raise UserError unless images are `count` of (C, `size`, `size`) in float32, as the draws are for."""
    if images.ndim != 4 or (len(images), *images.shape[2:]) != (count, size, size):
        raise UserError(
            f"Images of shape {tuple(images.shape)} with draws for {count} images of {size} × {size} pixels: "
            "both must agree. Draw for this batch, slice the draws by slot, or resize the images."
        )
    if images.dtype != torch.float32:
        raise UserError(f"Images of type {images.dtype}: views take float32 in [0, 1]. Scale each band first.")


def require(holds: bool, name: str, value: object, rule: str) -> None:
    """Raise UserError unless a setting holds to its rule."""
    if not holds:
        raise UserError(f"{name} = {value}: it must be {rule}. Change it in the settings of the views.")
