"""Crops, flips, warps and masks against NumPy, Pillow and loops that spell them out."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from wherewhen.views import Placement, resample, resize, resize_mask
from wherewhen.views.geometry import affine, centres, inside, paint, sample, take, warp


def matrix(rotate: float = 0, shear_x: float = 0, shear_y: float = 0, x: float = 0, y: float = 0) -> Tensor:
    rotate_, shear_x_, shear_y_, x_, y_ = (torch.tensor([v]) for v in (rotate, shear_x, shear_y, x, y))
    return affine(rotate_, (shear_x_, shear_y_), (x_, y_))


def bumps(size: int) -> Tensor:
    """A picture too smooth for a hundredth of a pixel to matter, and with no symmetry."""
    axis = torch.linspace(0, 1, size)
    return (torch.sin(2 * axis[:, None] + 3 * axis) / 2 + axis[:, None] ** 2 / 4 + 0.3)[None, None]


@pytest.mark.parametrize("size", [7, 8])
def test_placement_equals_padding_cropping_and_flipping(size: int) -> None:
    """Every shift and flip there is, against NumPy."""
    reach = (size - 1) // 2
    image = torch.arange(size * size).view(1, 1, size, size)
    padded = np.pad(image[0, 0].numpy(), reach, mode="reflect")
    for x in range(-reach, reach + 1):
        for y in range(-reach, reach + 1):
            for left_right, upside_down in ((False, False), (True, False), (False, True), (True, True)):
                expected = padded[reach + y : reach + y + size, reach + x : reach + x + size]
                expected = np.fliplr(expected) if left_right else expected
                expected = np.flipud(expected) if upside_down else expected
                placement = Placement(torch.tensor([[x, y]]), torch.tensor([[left_right, upside_down]]))
                found = take(image, placement.sources(size))[0, 0].numpy()
                np.testing.assert_array_equal(found, expected)


placements = st.builds(
    lambda x, y, a, b: Placement(torch.tensor([[x, y]]), torch.tensor([[a, b]])),
    st.integers(-5, 5),
    st.integers(-5, 5),
    st.booleans(),
    st.booleans(),
)


@settings(max_examples=50, deadline=None)
@given(placement=placements, size=st.integers(11, 40))
def test_positions_agree_with_indexing(placement: Placement, size: int) -> None:
    """The continuous map sends pixel centres to the centres of the pixels that indexing picks."""
    grid = centres(placement.sources(size))
    torch.testing.assert_close(placement.to_patch(warp(matrix(), size), size), grid, atol=1e-6, rtol=0)
    numbers = torch.arange(size * size, dtype=torch.float32).view(1, size, size)
    assert torch.equal(resample(numbers, grid), take(numbers[:, None], placement.sources(size))[:, 0])


@settings(max_examples=50, deadline=None)
@given(placement=placements, size=st.integers(11, 40))
def test_ground_is_found_again_in_the_crop(placement: Placement, size: int) -> None:
    """From crop to patch and back: the same ground, and the same place unless that ground is mirrored."""
    points = warp(matrix(), size)
    patch = placement.to_patch(points, size)
    back = placement.from_patch(patch, size)
    assert inside(back).all()
    torch.testing.assert_close(placement.to_patch(back, size), patch, atol=1e-6, rtol=0)
    shift = placement.shift[0].abs()
    straight = (back - points).abs().amax(-1) < 1e-5
    assert straight.sum() == (size - shift[0]) * (size - shift[1])


def test_ground_outside_the_crop_is_outside() -> None:
    placement = Placement(torch.tensor([[3, 0]]), torch.tensor([[True, False]]))
    found = placement.from_patch(warp(matrix(), 16), 16)
    assert torch.equal(inside(found), (torch.arange(16) >= 3).expand(1, 16, 16))


PILLOW: list[tuple[str, dict[str, float], Callable[[Image.Image, int], Image.Image]]] = [
    ("rotate", {"rotate": 23.0}, lambda im, s: im.rotate(23.0, Image.Resampling.BILINEAR)),
    ("rotate back", {"rotate": -30.0}, lambda im, s: im.rotate(-30.0, Image.Resampling.BILINEAR)),
    ("shear x", {"shear_x": 0.3}, lambda im, s: affine_by_pillow(im, (1, 0.3, 0, 0, 1, 0))),
    ("shear y", {"shear_y": -0.2}, lambda im, s: affine_by_pillow(im, (1, 0, 0, -0.2, 1, 0))),
    ("translate x", {"x": 0.22}, lambda im, s: affine_by_pillow(im, (1, 0, 0.22 * s, 0, 1, 0))),
    ("translate y", {"y": -0.3}, lambda im, s: affine_by_pillow(im, (1, 0, 0, 0, 1, -0.3 * s))),
]


def affine_by_pillow(image: Image.Image, terms: tuple[float, ...]) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, terms, Image.Resampling.BILINEAR)


@pytest.mark.parametrize(("terms", "pillow"), [case[1:] for case in PILLOW], ids=[case[0] for case in PILLOW])
@pytest.mark.parametrize("size", [32, 45])
def test_warp_equals_pillow(
    terms: dict[str, float], pillow: Callable[[Image.Image, int], Image.Image], size: int
) -> None:
    image = bumps(size)
    points = warp(matrix(**terms), size)
    expected = torch.from_numpy(np.asarray(pillow(Image.fromarray(image[0, 0].numpy()), size)).copy())
    away = (points[0].abs() < 1 - 2 / size).all(-1)  # Pillow treats the rim in its own way
    assert away.float().mean() > 0.4
    torch.testing.assert_close(sample(image, points)[0, 0][away], expected[away], atol=1e-3, rtol=0)
    assert (image[0, 0] - expected)[away].abs().max() > 0.05


@settings(max_examples=40, deadline=None)
@given(st.floats(-30, 30), st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.integers(3, 80))
def test_warp_stays_close_and_off_the_borders(rotate: float, shear: float, x: float, y: float, size: int) -> None:
    steps = matrix(rotate) @ matrix(shear_x=shear) @ matrix(x=x, y=y)
    axis = (2 * torch.arange(size).double() + 1) / size - 1
    plane = torch.stack((axis.expand(size, size), axis[:, None].expand(size, size), torch.ones(size, size)), -1)
    exact = (plane.double() @ steps[0].T)[..., :2]
    pixels = (warp(steps, size)[0].double() + 1) * size / 2
    assert (pixels - (exact + 1) * size / 2).abs().max() < 1 / 253
    assert (pixels - pixels.round()).abs().min() > 1 / 260


def test_warp_by_nothing_keeps_pixel_centres() -> None:
    for size in (3, 32, 45, 120):
        expected = centres(torch.arange(size).expand(1, 2, size))
        torch.testing.assert_close(warp(matrix(), size), expected, atol=3e-7, rtol=0)


def nearest_by_hand(mask: np.ndarray, grid: np.ndarray, fill: int) -> np.ndarray:
    found = np.full(grid.shape[:2], fill)
    for i in range(grid.shape[0]):
        for j in range(grid.shape[1]):
            x, y = grid[i, j]
            if abs(x) <= 1 and abs(y) <= 1:
                column = min(math.floor((x + 1) / 2 * mask.shape[1]), mask.shape[1] - 1)
                row = min(math.floor((y + 1) / 2 * mask.shape[0]), mask.shape[0] - 1)
                found[i, j] = mask[row, column]
    return found


@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (16, 16), (40, 31)])
@pytest.mark.parametrize("kind", [torch.uint8, torch.int64, torch.int16])
def test_resample_equals_loop(shape: tuple[int, int], kind: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    mask = torch.randint(0, 100, (2, *shape), generator=generator).to(kind)
    grid = 2.4 * torch.rand(2, 13, 7, 2, generator=generator) - 1.2
    found = resample(mask, grid, fill=111)
    assert found.dtype == kind
    for i in range(2):
        expected = nearest_by_hand(mask[i].numpy(), grid[i].numpy(), 111)
        np.testing.assert_array_equal(found[i].numpy(), expected)
    assert (found == 111).any()


def test_resample_leaves_out_what_is_not_valid() -> None:
    mask = torch.full((1, 4, 4), 7)
    valid = torch.tensor([[[True, False], [False, True]]])
    grid = torch.zeros(1, 2, 2, 2)
    assert resample(mask, grid, valid).tolist() == [[[7, -1], [-1, 7]]]
    assert resample(mask.float(), grid, valid, fill=0).tolist() == [[[7.0, 0.0], [0.0, 7.0]]]


def test_resample_keeps_further_axes_together() -> None:
    maps = torch.rand(2, 6, 5, 3, generator=torch.Generator().manual_seed(0))
    grid = 2.4 * torch.rand(2, 4, 4, 2, generator=torch.Generator().manual_seed(1)) - 1.2
    expected = torch.stack([resample(maps[..., i], grid, fill=0) for i in range(3)], -1)
    assert torch.equal(resample(maps, grid, fill=0), expected)


@pytest.mark.parametrize("size", [30, 60, 64, 120])
def test_ties_go_one_way(size: int) -> None:
    """Pixel centres fall on cell borders of a mask twice as fine; rounding noise must not choose."""
    fine = torch.arange(2 * size).expand(1, 2 * size, 2 * size)
    for flip in (False, True):
        placement = Placement(torch.zeros(1, 2, dtype=torch.long), torch.tensor([[flip, False]]))
        expected = 2 * torch.arange(size) + 1
        found = resample(fine, placement.to_patch(warp(matrix(), size), size))[0, 0]
        assert torch.equal(found, expected.flip(0) if flip else expected)


@pytest.mark.parametrize(("height", "width", "size"), [(64, 64, 32), (120, 120, 128), (10, 7, 10), (5, 5, 5)])
def test_resize_mask_takes_the_pixel_at_each_centre(height: int, width: int, size: int) -> None:
    mask = torch.arange(height * width).view(1, height, width)
    expected = resample(mask, centres(torch.arange(size).expand(1, 2, size)))
    assert torch.equal(resize_mask(mask, size), expected)


@pytest.mark.parametrize(("before", "after"), [(64, 32), (120, 128), (50, 33)])
def test_resize_equals_pillow(before: int, after: int) -> None:
    noise = torch.rand(1, 2, before, before, generator=torch.Generator().manual_seed(0))
    found = resize(noise, after)
    for band in range(2):
        pillow = Image.fromarray(noise[0, band].numpy()).resize((after, after), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(found[0, band].numpy(), np.asarray(pillow), atol=1e-5)


def test_resize_to_the_same_size_changes_nothing() -> None:
    images = torch.rand(1, 2, 9, 9)
    assert torch.equal(resize(images, 9), images)


def test_paint_is_exact() -> None:
    images = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    where = torch.rand(2, 5, 5, generator=torch.Generator().manual_seed(1)) < 0.5
    expected = images.masked_fill(where[:, None], 0.5)
    paint(images, where, 0.5)
    assert torch.equal(images, expected)
