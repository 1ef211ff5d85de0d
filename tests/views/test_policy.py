"""Weak and strong views: their draws, their pictures against a loop over samples, and masks that follow."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from wherewhen.errors import UserError
from wherewhen.views import Draws, StrongView, Views, is_rgb, resample
from wherewhen.views.geometry import sample
from wherewhen.views.photometry import PHOTOMETRIC
from wherewhen.views.policy import GEOMETRIC, NAMES, RANGES


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, bands: int, size: int, seed: int = 0) -> Tensor:
    return torch.rand(n, bands, size, size, generator=generator(seed))


def same(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def set_operations(draws: Draws, *operations: tuple[str, float]) -> Draws:
    """Give every sample the same operations, and no cutout."""
    n = len(draws)
    codes = torch.tensor([NAMES.index(name) for name, _ in operations], dtype=torch.long).repeat(n, 1)
    value = torch.tensor([value for _, value in operations]).repeat(n, 1)
    return replace(draws, operation=codes, value=value, cutout=torch.zeros(n, 3))


# Draws


def test_draws_cover_their_ranges_and_nothing_else() -> None:
    draws = Views(colour=True, cutout=0.5).draw(4000, 32, generator())
    for placement in (draws.weak, draws.strong):
        assert set(placement.shift.flatten().tolist()) == set(range(-4, 5))
        assert placement.flip.float().mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.05)
    assert not torch.equal(draws.weak.shift, draws.strong.shift)
    counts = Counter(draws.operation.flatten().tolist())
    assert len(counts) == len(NAMES)
    assert min(counts.values()) > 0.8 * draws.operation.numel() / len(NAMES)
    for code, (low, high) in enumerate(RANGES.values()):
        value = draws.value[draws.operation == code]
        assert low <= value.min()
        assert value.max() <= high
        assert value.min() == pytest.approx(low, abs=0.02 * (high - low))
        assert value.max() == pytest.approx(high, abs=0.02 * (high - low))
    assert draws.cutout.amax(0).tolist() == pytest.approx([1, 1, 0.5], abs=0.01)
    assert draws.cutout.amin(0).tolist() == pytest.approx([0, 0, 0], abs=0.01)


@pytest.mark.parametrize(
    ("views", "left_out"),
    [
        (Views(), {"colour"}),
        (Views(colour=True), set()),
        (Views(geometric=False), {"colour", *GEOMETRIC}),
        (Views(colour=True, geometric=False), set(GEOMETRIC)),
    ],
)
def test_operations_left_out_are_never_drawn(views: Views, left_out: set[str]) -> None:
    drawn = {NAMES[code] for code in views.draw(500, 8, generator()).operation.flatten().tolist()}
    assert drawn == set(views.names) == set(NAMES) - left_out


def test_the_list_is_the_published_one() -> None:
    """USB's RandAugment list for FixMatch: fourteen operations and their ranges."""
    assert RANGES == {
        "identity": (0, 0),
        "autocontrast": (0, 1),
        "brightness": (0.05, 0.95),
        "colour": (0.05, 0.95),
        "contrast": (0.05, 0.95),
        "equalize": (0, 1),
        "posterize": (4, 8),
        "rotate": (-30, 30),
        "sharpness": (0.05, 0.95),
        "shear_x": (-0.3, 0.3),
        "shear_y": (-0.3, 0.3),
        "solarize": (0, 1),
        "translate_x": (-0.3, 0.3),
        "translate_y": (-0.3, 0.3),
    }


def test_settings_of_the_strong_view_do_not_move_the_weak_one() -> None:
    images = noise(6, 3, 16)
    plain, other = Views(), Views(operations=1, cutout=0, colour=True, geometric=False)
    views = [v.weak(images, v.draw(6, 16, generator(5))) for v in (plain, other)]
    assert same(views[0], views[1])


# Weak


@pytest.mark.parametrize("bands", [1, 3, 12, 13])
@pytest.mark.parametrize("n", [1, 5])
def test_weak_equals_a_loop(bands: int, n: int) -> None:
    images, views = noise(n, bands, 24), Views()
    draws = views.draw(n, 24, generator(1))
    view = views.weak(images, draws)
    for i in range(n):
        padded = np.pad(images[i].numpy(), ((0, 0), (3, 3), (3, 3)), mode="reflect")
        x, y = (draws.weak.shift[i] + 3).tolist()
        expected = padded[:, y : y + 24, x : x + 24]
        left_right, upside_down = draws.weak.flip[i].tolist()
        expected = expected[:, :, ::-1] if left_right else expected
        expected = expected[:, ::-1] if upside_down else expected
        np.testing.assert_array_equal(view.pixels[i].numpy(), expected)
    assert view.valid.all()


def test_weak_grid_says_where_the_pixels_are() -> None:
    images, views = noise(9, 2, 30), Views()
    view = views.weak(images, views.draw(9, 30, generator(2)))
    torch.testing.assert_close(sample(images, view.grid), view.pixels, atol=1e-5, rtol=0)
    assert torch.equal(resample(images[:, 0], view.grid), view.pixels[:, 0])


# Strong


def strong_by_hand(images: Tensor, draws: Draws, view: StrongView, fill: float) -> Tensor:
    """One sample, one operation, one pixel of cutout after the other, from the grid that the view reports."""
    pictures = []
    for i in range(len(draws)):
        picture = sample(images[i : i + 1], view.grid[i : i + 1])
        picture[:, :, ~view.valid[i]] = fill
        for code, value in zip(draws.operation[i].tolist(), draws.value[i], strict=True):
            if NAMES[code] in PHOTOMETRIC:
                picture = PHOTOMETRIC[NAMES[code]].apply(picture, value[None])
        x, y, side = (draws.cutout[i] * draws.size).tolist()
        for row in range(draws.size):
            for column in range(draws.size):
                if abs(column + 0.5 - x) < side / 2 and abs(row + 0.5 - y) < side / 2:
                    picture[:, :, row, column] = fill
        pictures.append(picture)
    return torch.cat(pictures)


@pytest.mark.parametrize("bands", [1, 3, 12, 13])
@pytest.mark.parametrize("inherit", [False, True])
def test_strong_equals_a_loop(bands: int, inherit: bool) -> None:
    # The levels of 8 bits are steps, on which rounding noise would be seen: 256 of them, half a step off.
    images = ((noise(40, bands, 16) * 200).floor() + 0.2) / 255
    views = Views(colour=bands == 3, fill=0.4)
    draws = views.draw(40, 16, generator(3))
    view = views.strong(images, draws, inherit=inherit)
    expected = strong_by_hand(images, draws, view, 0.4)
    off = (view.pixels - expected).abs() > 1e-4
    assert off.float().mean() < 0.002  # a bilinear value may still fall on a step
    assert (view.pixels - views.weak(images, draws).pixels).abs().mean() > 0.1


def test_photometric_order_is_kept() -> None:
    images, views = noise(4, 1, 8), Views(crop_ratio=1)
    draws = views.draw(4, 8, generator())
    darker_first = views.strong(images, set_operations(draws, ("brightness", 0.5), ("solarize", 0.6))).pixels
    darker_last = views.strong(images, set_operations(draws, ("solarize", 0.6), ("brightness", 0.5))).pixels
    placed = views.strong(images, set_operations(draws)).pixels
    torch.testing.assert_close(darker_first, placed / 2)
    torch.testing.assert_close(darker_last, torch.where(placed < 0.6, placed, 1 - placed) / 2)


def without_rim(image: Image.Image) -> Image.Image:
    values = np.zeros((image.height, image.width), np.float32)
    values[2:-2, 2:-2] = np.asarray(image)[2:-2, 2:-2]
    return Image.fromarray(values)


def pillow_step(image: Image.Image, name: str, value: float) -> Image.Image:
    size = image.size[0]
    terms = {
        "shear_x": (1, value, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, value, 1, 0),
        "translate_x": (1, 0, value * size, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, value * size),
    }
    if name == "rotate":
        return image.rotate(value, Image.Resampling.BILINEAR)
    return image.transform(image.size, Image.Transform.AFFINE, terms[name], Image.Resampling.BILINEAR)


@pytest.mark.parametrize(
    "operations",
    [
        [("rotate", 25.0)],
        [("rotate", 25.0), ("translate_x", 0.2)],
        [("translate_x", 0.2), ("rotate", 25.0)],
        [("shear_x", 0.3), ("rotate", -20.0), ("translate_y", -0.15)],
        [("shear_y", 0.25), ("brightness", 1.0), ("shear_x", -0.3)],
    ],
)
def test_composed_warp_equals_pillow_step_by_step(operations: list[tuple[str, float]]) -> None:
    """On a plane, which bilinear sampling reproduces exactly however often, and away from any rim."""
    size, views = 64, Views(crop_ratio=1, fill=0.0)
    draws = set_operations(views.draw(1, size, generator()), *operations)
    draws.strong.flip[:] = False
    axis = torch.arange(size) / size
    plane = (0.2 + 0.5 * axis + 0.2 * axis[:, None])[None, None]
    picture, known = (Image.fromarray(t.numpy()) for t in (plane[0, 0], torch.ones(size, size)))
    for name, value in operations:
        if name != "brightness":
            picture, known = (pillow_step(image, name, value) for image in (picture, without_rim(known)))
    view = views.strong(plane, draws)
    away = torch.from_numpy(np.asarray(known).copy()) > 0.999
    assert away.float().mean() > 0.3
    expected = torch.from_numpy(np.asarray(picture).copy())
    torch.testing.assert_close(view.pixels[0, 0][away], expected[away], atol=1e-3, rtol=0)


def test_ground_pushed_out_and_back_is_not_lost() -> None:
    images, views = noise(2, 1, 10), Views()
    draws = views.draw(2, 10, generator())
    there_and_back = set_operations(draws, ("translate_x", 0.3), ("translate_x", -0.3))
    view, still = (views.strong(images, d) for d in (there_and_back, set_operations(draws)))
    assert view.valid.all()
    torch.testing.assert_close(view.pixels, still.pixels, atol=1e-5, rtol=0)


def test_without_operations_strong_inherits_weak_exactly() -> None:
    images, views = noise(5, 4, 12), Views(operations=0, cutout=0)
    draws = views.draw(5, 12, generator())
    weak, strong = views.weak(images, draws), views.strong(images, draws, inherit=True)
    assert torch.equal(strong.pixels, weak.pixels)
    assert strong.valid.all()
    own = views.strong(images, draws)
    assert not torch.equal(own.pixels, weak.pixels)


def test_outside_is_filled_and_not_valid() -> None:
    images, views = noise(3, 2, 20), Views(crop_ratio=1, fill=0.25)
    draws = set_operations(views.draw(3, 20, generator()), ("translate_x", 0.3))
    view = views.strong(images, draws)
    expected = torch.arange(20).expand(3, 20, 20) < 14  # six columns at the right look beyond the patch
    assert torch.equal(view.valid, expected)
    assert (view.pixels.movedim(1, -1)[~view.valid] == 0.25).all()
    labels = torch.zeros(3, 20, 20, dtype=torch.long)
    for grid in (view.grid, view.relative):  # also without `valid`
        assert torch.equal(resample(labels, grid) == 0, view.valid)


def test_cutout_hides_a_square_and_keeps_it_valid() -> None:
    views = Views(crop_ratio=1, operations=0)
    draws = views.draw(3, 10, generator())
    cutout = torch.tensor([[0.5, 0.3, 0.4], [0.0, 1.0, 0.4], [0.5, 0.5, 0.0]])
    view = views.strong(torch.ones(3, 2, 10, 10), replace(draws, cutout=cutout))
    expected = torch.ones(3, 10, 10)
    expected[0, 1:5, 3:7] = 0.5  # columns 3 to 6, rows 1 to 4
    expected[1, 8:, :2] = 0.5  # cut at the corner
    assert torch.equal(view.pixels, expected[:, None].expand(-1, 2, -1, -1))
    assert view.valid.all()


# Masks that follow


@settings(max_examples=80, deadline=None)
@given(
    size=st.sampled_from([16, 24, 30, 45, 64]),
    scale=st.sampled_from([(1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (4, 1)]),
    inherit=st.booleans(),
    ratio=st.sampled_from([0.51, 0.75, 0.875, 1.0]),
    seed=st.integers(0, 10_000),
)
def test_identity_network_labels_the_same_ground(
    size: int, scale: tuple[int, int], inherit: bool, ratio: float, seed: int
) -> None:
    """A class seen at a weak pixel lands on the strong pixel of the same ground, at every valid pixel.

    The mask is coarser than the pictures by a divisor, or finer with all cells in a pixel of one class, so
    that a pixel has one class; what holds for any mask is the next test.
    """
    up, down = scale
    cells = max(size // down, 1)
    size = cells * down
    classes = torch.randint(0, 1000, (6, cells, cells), generator=generator(seed))
    mask = classes.repeat_interleave(up, 1).repeat_interleave(up, 2)
    views = Views(crop_ratio=ratio)
    images = noise(6, 1, size, seed)
    draws = views.draw(6, size, generator(seed))
    weak, strong = views.weak(images, draws), views.strong(images, draws, inherit=inherit)
    predicted = resample(mask, weak.grid)  # what an identity network answers on the weak view
    carried = resample(predicted, strong.relative, strong.valid)
    truth = resample(mask, strong.grid, strong.valid)
    seen = strong.valid & (strong.relative.abs() <= 1).all(-1)
    if inherit:
        assert torch.equal(seen, strong.valid)
    assert torch.equal(carried[seen], truth[seen])
    assert (carried[~seen] == -1).all()
    assert (truth[strong.valid] >= 0).all()


@settings(max_examples=40, deadline=None)
@given(size=st.integers(8, 70), inherit=st.booleans(), seed=st.integers(0, 10_000))
def test_carried_labels_are_half_a_pixel_off_at_most(size: int, inherit: bool, seed: int) -> None:
    views, images = Views(), noise(6, 1, size, seed)
    draws = views.draw(6, size, generator(seed))
    weak, strong = views.weak(images, draws), views.strong(images, draws, inherit=inherit)
    seen = strong.valid & (strong.relative.abs() <= 1).all(-1)
    for axis in range(2):
        carried = resample(weak.grid[..., axis], strong.relative)
        distance = (carried - strong.grid[..., axis])[seen].abs() * size / 2
        assert distance.max() <= 0.5


def test_strong_pixels_show_the_ground_their_grid_names() -> None:
    images, views = noise(30, 2, 20), Views(cutout=0)
    drawn = views.draw(30, 20, generator(4))
    photometric = ~torch.isin(drawn.operation, torch.tensor([NAMES.index(name) for name in GEOMETRIC]))
    draws = replace(drawn, operation=drawn.operation.masked_fill(photometric, NAMES.index("identity")))
    view = views.strong(images, draws)
    expected = sample(images, view.grid).movedim(1, -1)[view.valid]
    torch.testing.assert_close(view.pixels.movedim(1, -1)[view.valid], expected, atol=1e-5, rtol=0)
    assert 0.5 < view.valid.float().mean() < 1


# Samples are independent


@pytest.mark.parametrize(("bands", "size"), [(3, 16), (12, 33), (1, 64)])
@pytest.mark.parametrize("inherit", [False, True])
def test_slots_permute_slice_and_repeat(bands: int, size: int, inherit: bool) -> None:
    images, views = noise(24, bands, size), Views(colour=bands == 3)
    draws = views.draw(24, size, generator(6))
    whole = views.strong(images, draws, inherit=inherit)
    assert same(whole, views.strong(images, views.draw(24, size, generator(6)), inherit=inherit))
    assert not torch.equal(
        whole.pixels, views.strong(images, views.draw(24, size, generator(7)), inherit=inherit).pixels
    )
    order = torch.randperm(24, generator=generator(8))
    slots: list[slice | Tensor | list[int]] = [order, slice(0, 12), slice(12, 24), slice(1, 24, 3), [23]]
    for some in slots:
        part = views.strong(images[some], draws[some], inherit=inherit)
        assert same(part, tuple(t[some] for t in whole))
        part_weak = views.weak(images[some], draws[some])
        assert same(part_weak, tuple(t[some] for t in views.weak(images, draws)))
        assert len(draws[some]) == len(part.pixels)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 6),
    bands=st.sampled_from([1, 3, 12, 13]),
    size=st.integers(3, 40),
    ratio=st.floats(0.51, 1),
    operations=st.integers(0, 4),
    cutout=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_views_keep_shape_range_and_input(
    n: int, bands: int, size: int, ratio: float, operations: int, cutout: float, seed: int
) -> None:
    images = noise(n, bands, size, seed).requires_grad_()
    before = images.detach().clone()
    views = Views(crop_ratio=ratio, operations=operations, cutout=cutout, colour=bands == 3)
    draws = views.draw(n, size, generator(seed))
    for view in (views.weak(images, draws), views.strong(images, draws)):
        assert view.pixels.shape == images.shape
        assert view.pixels.dtype == torch.float32
        assert not view.pixels.requires_grad
        assert 0 <= view.pixels.min() <= view.pixels.max() <= 1  # also false for NaN
        assert view.grid.shape == (n, size, size, 2)
        assert view.valid.shape == (n, size, size)
        assert (view.grid[view.valid].abs() < 1).all()
        assert (view.grid[~view.valid].abs() > 1).all()
    assert torch.equal(images, before)


# What a user can get wrong


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"crop_ratio": 0.5}, "crop_ratio = 0.5: it must be above 0.5 and at most 1"),
        ({"crop_ratio": 1.01}, "crop_ratio = 1.01"),
        ({"operations": -1}, "operations = -1: it must be 0 or more"),
        ({"cutout": 1.5}, "cutout = 1.5: it must be between 0 and 1"),
        ({"fill": float("nan")}, "fill = nan"),
    ],
)
def test_settings_out_of_range(setting: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Views(**setting)  # type: ignore[arg-type]


def test_images_that_do_not_fit() -> None:
    views = Views()
    draws = views.draw(4, 16, generator())
    for images in (noise(3, 3, 16), noise(4, 3, 17), noise(4, 3, 16)[:, :, :8], noise(4, 3, 16)[0]):
        for view in (views.weak, views.strong):
            with pytest.raises(UserError, match="draws for 4 images of 16 × 16 pixels"):
                view(images, draws)
    with pytest.raises(UserError, match=r"torch.uint8.*float32 in \[0, 1\]"):
        views.weak(noise(4, 3, 16).byte(), draws)
    with pytest.raises(UserError, match="image size = 2"):
        views.draw(4, 2, generator())


@pytest.mark.parametrize("bands", [1, 2, 4, 12, 13])
def test_colour_is_refused_without_rgb(bands: int) -> None:
    """Whether or not saturation happens to be drawn."""
    views = Views(colour=True, operations=1)
    with pytest.raises(UserError, match=f"colour=True with {bands} bands"):
        views.strong(noise(1, bands, 8), views.draw(1, 8, generator()))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["red", "green", "blue"], True),
        (["B04", "B03", "B02"], True),
        (["B02", "B03", "B04"], False),
        (["B04", "B03"], False),
        (["B04", "B03", "B02", "B08"], False),
        (["B08", "B04", "B03"], False),
    ],
)
def test_is_rgb(names: list[str], expected: bool) -> None:
    assert is_rgb(names) is expected
