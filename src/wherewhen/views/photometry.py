"""Operations on pixel values, batched, for any number of bands.

Every function takes images (N, C, H, W) float32 in [0, 1] and one value a sample, (N,), and returns new
images of the same shape, type and range. Definitions are those of Pillow's ImageOps and ImageEnhance,
band by band, with two differences. Values stay float32 where Pillow rounds to 8 bits (posterize and equalize
round first, as they must). `contrast` fades each band towards its own mean, Pillow all bands towards the
mean grey, which has no meaning for thirteen bands.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from wherewhen.errors import UserError
from wherewhen.views.geometry import put

LEVELS = 256
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, red, green, blue


Function = Callable[[Tensor, Tensor], Tensor]


class Operation(NamedTuple):
    """What is done to pixel values, and the range its value is drawn from."""

    apply: Function
    low: float
    high: float


def autocontrast(images: Tensor, _: Tensor) -> Tensor:
    """Stretch each band to the whole range; a flat band stays as it is."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    flat = high <= low
    low, span = low.masked_fill(flat, 0), (high - low).masked_fill(flat, 1)
    return ((images - low) / span).clamp_(0, 1)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Fade towards black: factor 0 is black, 1 changes nothing."""
    return (images * _per_sample(factor)).clamp_(0, 1)


def colour(images: Tensor, factor: Tensor) -> Tensor:
    """Fade towards grey: factor 0 is grey, 1 changes nothing.

    Raises:
        UserError: The images do not have the three bands red, green, blue.
    """
    check_colour(images.shape[1])
    red, green, blue = (weight * band for weight, band in zip(LUMA, images.unbind(1), strict=True))
    return _blend(images, (red + green + blue)[:, None], factor)


def check_colour(bands: int) -> None:
    """Refuse saturation for anything but three bands.

    Raises:
        UserError: There are not three bands.
    """
    if bands != len(LUMA):
        raise UserError(
            f"colour=True with {bands} bands: saturation is defined for red, green, blue in this order only. "
            "Set colour=False, or select those three bands."
        )


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Fade each band towards its mean: factor 0 is flat, 1 changes nothing."""
    # Summed in float64, so that the mean does not depend on how many samples share the batch.
    mean = images.mean((2, 3), keepdim=True, dtype=torch.float64).to(images.dtype)
    return _blend(images, mean, factor)


def equalize(images: Tensor, _: Tensor) -> Tensor:
    """Spread each band's values so that all of 256 levels are about equally frequent.

    A band of one value stays as it is, and so does one with too few pixels to spread (fewer than 255
    besides those of its brightest level).
    """
    levels = _levels(images).long().flatten(2)  # (N, C, P)
    count, bands, pixels = levels.shape
    first = LEVELS * torch.arange(count * bands, device=images.device).view(count, bands, 1)
    # Not bincount, which waits for the device.
    histogram = torch.zeros(count * bands * LEVELS, dtype=torch.long, device=images.device)
    bins = (levels + first).flatten()
    histogram = histogram.scatter_add_(0, bins, torch.ones_like(bins)).view(count, bands, LEVELS)
    brightest = histogram.gather(2, levels.amax(2, keepdim=True))
    step = (pixels - brightest) // (LEVELS - 1)
    darker = histogram.cumsum(2) - histogram
    table = ((darker + step // 2) // step.clamp(min=1)).clamp_(max=LEVELS - 1)
    spread = table.to(images.dtype).div_(LEVELS - 1).gather(2, levels).view_as(images)
    return torch.where(step[..., None] > 0, spread, images)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest bits of the 8-bit value; `bits` in [1, 8] is rounded down."""
    dropped = 8 - _per_sample(bits).floor().int()
    kept = -(torch.ones_like(dropped) << dropped)
    return (_levels(images).int() & kept).to(images.dtype).div_(LEVELS - 1)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Fade towards a 3 × 3 blur: factor 0 is blurred, 1 changes nothing; the rim stays as it is."""
    rows = images[..., :-2, :] + images[..., 1:-1, :] + images[..., 2:, :]
    square = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]  # sums of 3 × 3
    blurred = images.clone()
    # Pillow's SMOOTH kernel: 1/13 everywhere and 5/13 in the middle.
    blurred[..., 1:-1, 1:-1] = (square + 4 * images[..., 1:-1, 1:-1]) / 13
    return _blend(images, blurred, factor)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert values that are not below the threshold."""
    # Compared into float32: several times faster than a choice by a mask, and exact: |1 − x| or |0 − x|.
    inverted = torch.ge(images, _per_sample(threshold), out=torch.empty_like(images))
    return inverted.sub_(images).abs_()


def apply_in_order(images: Tensor, operation: Tensor, value: Tensor, functions: Sequence[Function | None]) -> None:
    """Apply every sample's own operations one after the other, in place.

    Args:
        images: (N, C, H, W) float32 in [0, 1].
        operation: (N, K) int64 on the CPU, positions in `functions`.
        value: (N, K) float32 on the CPU.
        functions: What each code does; None does nothing.
    """
    for codes, values in zip(operation.unbind(1), value.unbind(1), strict=True):
        slots = defaultdict(list)
        for slot, code in enumerate(codes.tolist()):
            slots[code].append(slot)
        for code, group in slots.items():
            if (function := functions[code]) is not None:
                these = torch.tensor(group)
                pixels = images.index_select(0, these.to(images.device, non_blocking=True))
                put(images, these, function(pixels, values[these].to(images.device, non_blocking=True)))


def _per_sample(value: Tensor) -> Tensor:
    return value[:, None, None, None]


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (images - other).mul_(_per_sample(factor)).add_(other).clamp_(0, 1)


def _levels(images: Tensor) -> Tensor:
    return (images * (LEVELS - 1)).round()


PHOTOMETRIC: dict[str, Operation] = {
    "autocontrast": Operation(autocontrast, 0, 1),
    "brightness": Operation(brightness, 0.05, 0.95),
    "colour": Operation(colour, 0.05, 0.95),
    "contrast": Operation(contrast, 0.05, 0.95),
    "equalize": Operation(equalize, 0, 1),
    "posterize": Operation(posterize, 4, 8),
    "sharpness": Operation(sharpness, 0.05, 0.95),
    "solarize": Operation(solarize, 0, 1),
}
"""The photometric half of USB's RandAugment list for FixMatch, with its ranges."""
