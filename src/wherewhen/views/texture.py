"""Local binary patterns: what the ring around a pixel looks like, whatever the brightness.

Axes: … any leading axes, N planes, H rows, W columns, P points on the ring. Point p lies `radius` pixels from the
centre at the angle 2π·p/P, counter-clockwise from the right; the ring is read bilinearly, and beyond the picture it
is 0. A point is *set* where its value is not below the centre's.

Definition: Ojala, Pietikäinen and Mäenpää 2002, "Multiresolution gray-scale and rotation invariant texture
classification with local binary patterns", https://doi.org/10.1109/TPAMI.2002.1017623; `nri_uniform`: Ahonen, Hadid and
Pietikäinen 2006, https://doi.org/10.1109/TPAMI.2006.244. Codes are those of `skimage.feature.local_binary_pattern` up
to scikit-image 0.26.

Where a slope is straight, a point on a diagonal lies between one pixel as much above the centre as the other is below
it: a tie, and rounding decides whether it is set. So the steps here are scikit-image's, in their order and in
float64, whatever the type of the image.
"""

import math
import warnings
from collections.abc import Callable
from functools import cache, reduce
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wherewhen.errors import UserError

CHUNK, GPU_CHUNK = 1 << 17, 1 << 19
"""Pixels computed at once: what they need stays in a processor's cache, and is little beside image and codes."""

WORTH_COMPILING = 1 << 18
"""Pixels from which a call runs fused: compiling takes seconds, step by step this many take a tenth of one."""

DECIMALS = 5  # of a point's position in pixels
LARGEST_WORD = {torch.float32: 24, torch.float64: 31}
"""Points whose `default` codes are exact in a type; scikit-image's end at 31."""

Pass = Callable[[Tensor], Tensor]
Code = Callable[[list[Tensor], Tensor], Tensor]


def local_binary_pattern(image: Tensor, points: int = 16, radius: float = 2, method: str = "uniform") -> Tensor:
    """Return the local binary pattern of every pixel; each plane (H, W) by itself, on the image's device.

    Methods and their codes, with n the number of set points, and a ring *uniform* that changes at most twice:

    - `uniform`: n if uniform, else P + 1. The same when the picture turns; P + 2 codes.
    - `default`: the sum of 2ᵖ over set points; 2ᴾ codes.
    - `ror`: the least `default` code of all rotations of the ring.
    - `nri_uniform`: uniform rings numbered by n and by where they begin, all others together; P·(P − 1) + 3 codes.
    - `var`: the variance of the ring's values, NaN where it is 0; the centre plays no part.

    Large images are computed in one fused pass, which is compiled at the first of them for each setting (seconds);
    without a compiler they are computed step by step, with the same codes.

    Args:
        image: (…, H, W), finite numbers of any type and range; they are compared, not scaled.
        points: P, points on the ring, 1 or more; `default` and `ror` take at most 24, for a float64 image 31.
        radius: Radius of the ring in pixels, above 0.
        method: One of the names above.

    Returns:
        (…, H, W) float64 for a float64 image, otherwise float32.

    Raises:
        UserError: The image has fewer than two axes or is complex, or a setting is outside its range.
    """
    dtype = torch.float64 if image.dtype == torch.float64 else torch.float32
    _check(image, points, radius, method, LARGEST_WORD[dtype])
    ring = Ring(points, float(radius))
    if torch.compiler.is_exporting():  # a graph holds for any number of planes: nothing is chosen by size
        return _stepwise(ring, method)(_padded(image.flatten(0, -3), ring.reach)).view_as(image).to(dtype)
    codes: Tensor = _codes(image, ring, method, dtype)
    return codes


def histogram(codes: Tensor, bins: int) -> Tensor:
    """Count how often each code 0 … bins − 1 occurs on a plane; other codes are not counted.

    Args:
        codes: (…, H, W) whole numbers of any type, 0 or more.
        bins: Number of codes, P + 2 for `uniform`.

    Returns:
        (…, bins) int64.

    Raises:
        UserError: `bins` is below 1, or the codes have fewer than two axes.
    """
    if bins < 1 or codes.ndim < 2:
        raise UserError(
            f"histogram of codes {tuple(codes.shape)} in {bins} bins: it takes codes (…, H, W) and 1 bin or more. "
            "Uniform codes have points + 2 bins."
        )
    index = codes.flatten(-2).long().clamp(max=bins)
    counts = torch.zeros(*index.shape[:-1], bins + 1, dtype=torch.long, device=codes.device)
    return counts.scatter_add_(-1, index, torch.ones_like(index))[..., :bins]


class Ring(NamedTuple):
    """P points on a circle around each pixel."""

    points: int
    radius: float

    @property
    def offsets(self) -> list[tuple[float, float]]:
        """Rows and columns from the centre to each point, rounded as scikit-image rounds them."""
        angle = 2 * np.pi * np.arange(self.points) / self.points
        rows, columns = -self.radius * np.sin(angle), self.radius * np.cos(angle)
        return list(zip(rows.round(DECIMALS).tolist(), columns.round(DECIMALS).tolist(), strict=True))

    @property
    def reach(self) -> int:
        """Pixels beyond the picture that the ring reads."""
        return math.ceil(max(abs(part) for offset in self.offsets for part in offset))


@torch.compiler.disable  # type: ignore[untyped-decorator]  # compiles itself, for any size
@torch.inference_mode(False)  # the compiled pass belongs to one mode, whatever the caller's
@torch.no_grad()
def _codes(image: Tensor, ring: Ring, method: str, dtype: torch.dtype) -> Tensor:
    codes = torch.empty(image.shape, dtype=dtype, device=image.device)
    if not image.numel():
        return codes
    planes = image.reshape(-1, *image.shape[-2:])
    # Two planes at least, where there are two: a chunk of one would be compiled once more.
    pixels = CHUNK if image.device.type == "cpu" else GPU_CHUNK
    chunks = max(1, min(len(planes) // 2, -(-image.numel() // pixels)))
    with torch.autocast(image.device.type, enabled=False):
        run = _fused(ring, method, image.device) if image.numel() >= WORTH_COMPILING else _stepwise(ring, method)
        for part, code in zip(planes.tensor_split(chunks), codes.view_as(planes).tensor_split(chunks), strict=True):
            code.copy_(run(_padded(part, ring.reach)))
    return codes


@cache
def _fused(ring: Ring, method: str, device: torch.device) -> Pass:
    """Compile the pass into one loop over pixels; where nothing can be compiled, it stays as it is."""
    stepwise, reach = _stepwise(ring, method), ring.reach
    # The option keeps a GPU from joining multiplication and addition, which would round once instead of twice.
    fused = torch.compile(stepwise, dynamic=True, options={"emulate_precision_casts": True})
    # Sizes that all differ, so that the compiler takes none for another, and work enough for several threads.
    example = torch.zeros(32, 61 + 2 * reach, 67 + 2 * reach, dtype=torch.float64, device=device)
    try:
        fused(example)
    except Exception as error:  # there is a class for every way in which a compiler can be missing or broken
        cause = str(error).partition("\n")[0]
        warnings.warn(f"local binary patterns run step by step, which is slow: {cause}", stacklevel=2)
        return stepwise
    return fused


@cache
def _stepwise(ring: Ring, method: str) -> Pass:
    """Return the pass from planes (N, H + 2r, W + 2r), with a margin of r = `reach` zeros, to codes (N, H, W)."""
    offsets, reach, code = ring.offsets, ring.reach, METHODS[method]

    def run(padded: Tensor) -> Tensor:
        height, width = padded.shape[1] - 2 * reach, padded.shape[2] - 2 * reach
        # A weight is what row + offset, rounded, has beyond its whole part: its last bits differ from row to row.
        rows = torch.arange(height, dtype=padded.dtype, device=padded.device)[:, None]
        columns = torch.arange(width, dtype=padded.dtype, device=padded.device)

        def pixels(row: int, column: int) -> Tensor:
            return padded[:, reach + row : reach + row + height, reach + column : reach + column + width]

        def across(row: int, column: float) -> Tensor:
            left = math.floor(column)
            if left == column:
                return pixels(row, left)
            return _between(pixels(row, left), pixels(row, left + 1), (columns + column) - (columns + left))

        def value(row: float, column: float) -> Tensor:
            upper = math.floor(row)
            if upper == row:
                return across(upper, column)
            return _between(across(upper, column), across(upper + 1, column), (rows + row) - (rows + upper))

        return code([value(*offset) for offset in offsets], pixels(0, 0))

    return run


def _padded(planes: Tensor, reach: int) -> Tensor:
    count, height, width = planes.shape
    padded = planes.new_zeros(count, height + 2 * reach, width + 2 * reach, dtype=torch.float64)
    padded[:, reach : reach + height, reach : reach + width] = planes
    return padded


def _between(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    return (1 - weight) * first + weight * second


def _signs(values: list[Tensor], centre: Tensor) -> list[Tensor]:
    """1 where a point is set, 0 elsewhere."""
    return [(value >= centre).to(centre.dtype) for value in values]


def _changes(signs: list[Tensor]) -> Tensor:
    """Changes from the first point to the last; the way back to the first adds one to an odd number only."""
    return _total([torch.zeros_like(signs[0]), *((one - other).abs() for one, other in pairwise(signs))])


def _uniform(values: list[Tensor], centre: Tensor) -> Tensor:
    signs = _signs(values, centre)
    return torch.where(_changes(signs) <= 2, _total(signs), len(signs) + 1)


def _nri_uniform(values: list[Tensor], centre: Tensor) -> Tensor:
    signs = _signs(values, centre)
    points, number, changes = len(signs), _total(signs), _changes(signs)
    like = leading = torch.ones_like(centre)
    for sign in signs[1:]:
        like = like * (sign == signs[0])
        leading = leading + like  # points from the first on that are like it
    begin = torch.where(signs[0] == 1, number, points) - leading
    code = (1 + (number - 1) * points + begin).clamp(min=0)  # below 0 where no point is set, whose code is 0
    return torch.where(changes <= 2, code, points * (points - 1) + 2)


def _default(values: list[Tensor], centre: Tensor) -> Tensor:
    return _total([sign * 2**point for point, sign in enumerate(_signs(values, centre))])


def _ror(values: list[Tensor], centre: Tensor) -> Tensor:
    least = word = _default(values, centre).int()
    for _ in values[1:]:
        word = (word >> 1) | ((word & 1) << (len(values) - 1))
        least = torch.minimum(least, word)
    return least.to(centre.dtype)


def _var(values: list[Tensor], centre: Tensor) -> Tensor:
    total, squares = _total(values), _total([value * value for value in values])
    variance = (squares - total * total / len(values)) / len(values)
    return torch.where(variance == 0, math.nan, variance)


def _total(terms: list[Tensor]) -> Tensor:
    return reduce(torch.add, terms)


METHODS: dict[str, Code] = {
    "uniform": _uniform,
    "default": _default,
    "ror": _ror,
    "nri_uniform": _nri_uniform,
    "var": _var,
}


def _check(image: Tensor, points: int, radius: float, method: str, longest: int) -> None:
    if method not in METHODS:
        raise UserError(f"method {method!r} of local binary patterns is unknown; use one of {', '.join(METHODS)}")
    if points < 1:
        raise UserError(f"points = {points}: a ring has 1 point or more; 8, 16 and 24 are usual")
    if method in ("default", "ror") and points > longest:
        raise UserError(
            f"points = {points}: codes of {method!r} are exact up to {longest} points for an image of type "
            f"{image.dtype}. Take fewer, a float64 image (31), or method 'uniform'."
        )
    if not 0 < radius < math.inf:
        raise UserError(f"radius = {radius}: it must be above 0 and finite, in pixels; 1, 2 and 3 are usual")
    if image.ndim < 2 or image.is_complex():
        raise UserError(
            f"image of shape {tuple(image.shape)} and type {image.dtype}: local binary patterns take real images "
            "(…, H, W). Add the missing axes, or take the magnitude."
        )
