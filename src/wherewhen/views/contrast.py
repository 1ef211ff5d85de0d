"""Views for contrastive pre-training: a random part of each image, turned over, with other colours and less sharp.

Recipe: MoCo v2 (Chen et al. 2020, https://arxiv.org/abs/2003.04297, section 3) with the operations of SimCLR (Chen et
al. 2020, https://arxiv.org/abs/2002.05709, appendix A), as SeCo takes it to satellite images (Mañas et al. 2021,
https://arxiv.org/abs/2103.16607), where upside-down is as good as left-right. Axes: N samples, C bands, H = W rows and
columns, K operations.

Everything random is drawn on the CPU, as for `wherewhen.views.Views`: a picture is a function of the generator's seed
and the slot alone. All bands of a sample are treated alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wherewhen.views.geometry import planar, sample
from wherewhen.views.photometry import Function, apply_in_order, brightness, check_colour, colour, contrast
from wherewhen.views.policy import check_images, require

ASPECT = (3 / 4, 4 / 3)  # of a crop, width over height
ATTEMPTS = 10  # to find a crop that fits, before the whole image is taken
SIGMA = (0.1, 2.0)
REACH = 6  # pixels beside the centre that a blur reads: three standard deviations of the widest


def hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the colours of images (N, 3, H, W) by `turn` (N,), in parts of the circle; brightest and darkest stay."""
    high, low = images.amax(1), images.amin(1)
    span = high - low
    red, green, blue = images.unbind(1)
    divisor = span.masked_fill(span == 0, 1)
    sixth = torch.where(
        high == red,
        (green - blue) / divisor,
        torch.where(high == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    sixth = sixth + 6 * turn[:, None, None]
    away = [(offset + sixth).remainder(6) for offset in (5, 3, 1)]  # of red, green, blue, in sixths of the circle
    return torch.stack([high - span * torch.minimum(place, 4 - place).clamp(0, 1) for place in away], 1)


def grey(images: Tensor, _: Tensor) -> Tensor:
    """Give every band of images (N, C, H, W) the mean of all."""
    return images.mean(1, keepdim=True).expand_as(images)


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur images (N, C, H, W) by a Gaussian of `sigma` (N,) pixels, cut at six; the rim goes on beyond the edge."""
    offset = torch.arange(-REACH, REACH + 1, device=images.device)
    weights = (-(offset**2) / (2 * sigma[:, None] ** 2)).exp()
    weights = (weights / weights.sum(1, keepdim=True)).T[..., None, None, None]  # (13, N, 1, 1, 1)
    for axis in (2, 3):
        size = images.shape[axis]
        margin = (REACH, REACH, 0, 0) if axis == 3 else (0, 0, REACH, REACH)
        padded = F.pad(images, margin, mode="replicate")
        images = torch.zeros_like(images)
        for start, weight in enumerate(weights):
            images.addcmul_(padded.narrow(axis, start, size), weight)
    return images.clamp_(0, 1)


OPERATIONS: dict[str, Function | None] = {
    "identity": None,
    "brightness": brightness,
    "contrast": contrast,
    "colour": colour,
    "hue": hue,
    "grey": grey,
    "blur": blur,
}
NAMES = tuple(OPERATIONS)


@dataclass(frozen=True)
class ContrastDraws:
    """Everything random of a batch, on the CPU; the leading axis is the slot.

    Args:
        size: Height and width of the images these draws are for, in pixels.
        box: (N, 4) int64, left column, upper row, width and height of the crop in pixels.
        flip: (N, 2) bool, left-right and upside-down.
        operation: (N, K) int64, positions in `NAMES`.
        value: (N, K) float32, the operation's strength in its own unit.
    """

    size: int
    box: Tensor
    flip: Tensor
    operation: Tensor
    value: Tensor

    def __len__(self) -> int:
        return len(self.operation)

    def __getitem__(self, slots: slice | Tensor | Sequence[int]) -> "ContrastDraws":
        """Return the draws of some slots: a slice, a list or tensor of positions, or a boolean mask."""
        return ContrastDraws(
            self.size, self.box[slots], self.flip[slots], self.operation[slots], self.value[slots]
        )  # fmt: skip


@dataclass(frozen=True)
class ContrastViews:
    """The augmentations of MoCo v2 for any number of bands.

    In this order: a random part of the image, resized to its full size; flips; with probability `jitter` changes of
    brightness and contrast, and with `colour` of saturation and hue, in random order; grey; blur. Crop and flips are
    one bilinear sampling. A crop is never larger than the image, so nothing is made smaller and no antialiasing needed.

    Args:
        scale: Least and largest share of the image's area that a crop shows; above 0, at most 1.
        brightness: Factors are drawn from 1 ± this; in [0, 1]. Likewise contrast and saturation.
        contrast: See `brightness`; each band fades to its own mean.
        saturation: See `brightness`; with `colour` only.
        hue: Hues turn by up to this part of the circle, either way; in [0, 0.5], with `colour` only.
        jitter: Probability that an image's colours change.
        grey: Probability of grey: the mean of all bands, with `colour` their luma.
        blur: Probability of a blur, whose standard deviation is drawn from 0.1 to 2 pixels.
        flip: Probability of each flip.
        colour: The bands are red, green, blue in this order, so that saturation and hue make sense.

    Raises:
        UserError: A setting is outside its range.
    """

    scale: tuple[float, float] = (0.2, 1.0)
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    jitter: float = 0.8
    grey: float = 0.2
    blur: float = 0.5
    flip: float = 0.5
    colour: bool = False

    def __post_init__(self) -> None:
        require(0 < self.scale[0] <= self.scale[1] <= 1, "scale", self.scale, "(least, largest), above 0 and at most 1")
        require(0 <= self.hue <= 0.5, "hue", self.hue, "between 0 and 0.5")
        for name in ("brightness", "contrast", "saturation", "jitter", "grey", "blur", "flip"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "between 0 and 1")

    def draw(self, n: int, size: int, generator: torch.Generator) -> ContrastDraws:
        """Draw everything random of a batch of `n` images of `size` × `size` pixels."""
        box = _boxes(n, size, self.scale, generator)
        flip = torch.rand(n, 2, generator=generator) < self.flip
        steps = (self._jitter(n, generator), self._grey(n, generator), self._blur(n, generator))
        operation, value = (torch.cat(parts, 1) for parts in zip(*steps, strict=True))
        return ContrastDraws(size, box, flip, operation, value)

    @torch.no_grad()
    def crop(self, images: Tensor, draws: ContrastDraws) -> Tensor:
        """Return the crops alone of images (N, C, H, W) float32 in [0, 1], of the same shape.

        Raises:
            UserError: The images do not match the draws.
        """
        check_images(images, len(draws), draws.size)
        return sample(images, _grid(draws.box, torch.zeros_like(draws.flip), draws.size, images.device))

    @torch.no_grad()
    def augment(self, images: Tensor, draws: ContrastDraws) -> Tensor:
        """Return crops, flipped and with other colours, of images (N, C, H, W) float32 in [0, 1], of the same shape.

        Raises:
            UserError: The images do not match the draws, or `colour` was asked for without three bands.
        """
        check_images(images, len(draws), draws.size)
        if self.colour:
            check_colour(images.shape[1])
        pixels = sample(images, _grid(draws.box, draws.flip, draws.size, images.device))
        apply_in_order(pixels, draws.operation, draws.value, tuple(OPERATIONS.values()))
        return pixels

    def _jitter(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        ranges = {"brightness": (1.0, self.brightness), "contrast": (1.0, self.contrast)}
        if self.colour:
            ranges |= {"colour": (1.0, self.saturation), "hue": (0.0, self.hue)}
        middle, width = torch.tensor(tuple(ranges.values())).T
        value = middle + width * (2 * torch.rand(n, len(ranges), generator=generator) - 1)
        order = torch.rand(n, len(ranges), generator=generator).argsort(1)
        operation = torch.tensor([NAMES.index(name) for name in ranges])[order]
        drawn = torch.rand(n, 1, generator=generator) < self.jitter
        return torch.where(drawn, operation, NAMES.index("identity")), value.gather(1, order)

    def _grey(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        drawn = torch.rand(n, 1, generator=generator) < self.grey
        code = NAMES.index("colour" if self.colour else "grey")  # no saturation at all is luma
        return torch.where(drawn, code, NAMES.index("identity")), torch.zeros(n, 1)

    def _blur(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        drawn = torch.rand(n, 1, generator=generator) < self.blur
        sigma = SIGMA[0] + (SIGMA[1] - SIGMA[0]) * torch.rand(n, 1, generator=generator)
        return torch.where(drawn, NAMES.index("blur"), NAMES.index("identity")), sigma


def _boxes(n: int, size: int, scale: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Draw (N, 4) int64 crops by torchvision's rule: of ten areas and aspects the first that fits, else all."""
    share, aspect, *place = torch.rand(4, n, ATTEMPTS, generator=generator, dtype=torch.float64)
    area = size**2 * (scale[0] + (scale[1] - scale[0]) * share)
    low, high = map(math.log, ASPECT)
    root = (0.5 * (low + (high - low) * aspect)).exp()
    sides = torch.stack((area.sqrt() * root, area.sqrt() / root)).round()  # (2, N, attempts)
    fits = ((sides >= 1) & (sides <= size)).all(0)
    first = fits.byte().argmax(1, keepdim=True)
    sides = torch.where(fits.any(1), sides.gather(2, first.expand(2, -1, -1))[..., 0], size)
    corner = (torch.stack(place)[..., 0] * (size + 1 - sides)).floor()
    return torch.cat((corner, sides)).T.long()


def _grid(box: Tensor, flip: Tensor, size: int, device: torch.device) -> Tensor:
    """Return the (N, H, W, 2) positions of crops of `box` (N, 4), turned over by `flip` (N, 2), at the full size."""
    corner, side = box.to(device, non_blocking=True)[..., None].float().split(2, 1)  # (N, 2, 1), across and down
    sign = 1 - 2 * flip.to(device, non_blocking=True)[..., None].float()
    centre = (torch.arange(size, device=device) + 0.5) / size - 0.5
    # In pixels of the crop; beyond its outermost centres nothing is read, as if it had been cut out.
    within = (side * (0.5 + sign * centre)).clamp(min=0.5).minimum(side - 0.5)
    x, y = (2 / size * (corner + within) - 1).unbind(1)  # (N, W), (N, H)
    return planar(x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size))
