"""Views for contrastive pre-training: each operation against torchvision, SciPy or a loop, one sample at a time."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as tv

from wherewhen.errors import UserError
from wherewhen.views.contrast import NAMES, ContrastDraws, ContrastViews, blur, grey, hue

STILL = ContrastViews(jitter=0, grey=0, blur=0, flip=0)
NEVER = {"jitter": 0.0, "grey": 0.0, "blur": 0.0, "flip": 0.0}


def scene(n: int, bands: int, size: int = 24, seed: int = 0) -> Tensor:
    return torch.rand(n, bands, size, size, generator=torch.Generator().manual_seed(seed))


def drawn(views: ContrastViews, n: int, size: int = 24, seed: int = 0) -> ContrastDraws:
    return views.draw(n, size, torch.Generator().manual_seed(seed))


def codes(draws: ContrastDraws) -> list[list[str]]:
    return [[NAMES[code] for code in row] for row in draws.operation.tolist()]


# -- crops and flips --


@pytest.mark.parametrize("size", [7, 24, 65])
def test_a_crop_is_torchvisions(size: int) -> None:
    images, draws = scene(40, 5, size), drawn(STILL, 40, size)
    for image, (x, y, width, height), found in zip(images, draws.box.tolist(), STILL.crop(images, draws), strict=True):
        expected = tv.resized_crop(image, y, x, height, width, [size, size], antialias=True)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_crops_are_drawn_as_torchvision_draws_them() -> None:
    """Mean, spread and corners of four thousand crops of both; 0.03 is four standard errors of the means."""
    views, size, n = ContrastViews(scale=(0.1, 0.9)), 40, 4000
    torch.manual_seed(0)
    theirs = [RandomResizedCrop.get_params(torch.zeros(1, size, size), [0.1, 0.9], [3 / 4, 4 / 3]) for _ in range(n)]
    y, x, height, width = torch.tensor(theirs, dtype=torch.float64).T / size
    for ours, rival in zip((drawn(views, n, size).box.double() / size).T, (x, y, width, height), strict=True):
        assert abs(ours.mean() - rival.mean()) < 0.03
        assert abs(ours.std() - rival.std()) < 0.03
        shares = torch.linspace(0.05, 0.95, 10, dtype=torch.float64)
        assert (ours.quantile(shares) - rival.quantile(shares)).abs().max() < 0.06


@pytest.mark.parametrize("scale", [(0.2, 1.0), (0.5, 0.5), (1.0, 1.0), (0.001, 0.002)])
@pytest.mark.parametrize("size", [2, 9, 64])
def test_crops_lie_on_the_image(scale: tuple[float, float], size: int) -> None:
    corner, side = drawn(ContrastViews(scale=scale), 500, size).box.split(2, 1)
    assert corner.min() >= 0
    assert side.min() >= 1
    assert (corner + side).max() <= size
    if scale == (1.0, 1.0):
        assert ((side == size).all(1)).any()  # what ten attempts miss is the whole image


def test_a_whole_image_stays_as_it_is() -> None:
    images, draws = scene(3, 4), drawn(STILL, 3)
    whole = replace(draws, box=torch.tensor([[0, 0, 24, 24]] * 3))
    torch.testing.assert_close(STILL.crop(images, whole), images, atol=1e-5, rtol=0)


def test_flips_turn_the_crop_over() -> None:
    views = ContrastViews(**NEVER | {"flip": 0.5})  # type: ignore[arg-type]
    images, draws = scene(60, 3), drawn(views, 60)
    assert len(draws.flip.unique(dim=0)) == 4
    cropped, found = views.crop(images, draws), views.augment(images, draws)
    for crop, view, (across, down) in zip(cropped, found, draws.flip.tolist(), strict=True):
        expected = crop.flip([axis for axis, turned in ((2, across), (1, down)) if turned])
        torch.testing.assert_close(view, expected, atol=1e-5, rtol=0)


# -- colours and sharpness --


def test_hue_is_that_of_colorsys() -> None:
    images = scene(4, 3, 6)
    images[0] = 0.3  # grey has no hue
    images[1, :, :3] = images[1, :, :3].round()  # primary colours, black and white
    turn = torch.tensor([0.2, -0.5, 0.37, -0.08])
    found = hue(images, turn)
    for n, y, x in np.ndindex(4, 6, 6):
        h, s, v = colorsys.rgb_to_hsv(*images[n, :, y, x].tolist())
        expected = colorsys.hsv_to_rgb((h + turn[n].item()) % 1, s, v)
        assert found[n, :, y, x].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("size", [3, 20])
def test_blur_is_scipys(sigma: float, size: int) -> None:
    images = scene(2, 5, size)
    expected = images[1].double().numpy()
    for axis in (1, 2):
        expected = gaussian_filter1d(expected, sigma, axis=axis, mode="nearest", radius=6)
    found = blur(images, torch.tensor([0.7, sigma]))
    np.testing.assert_allclose(found[1].numpy(), expected, atol=1e-6)


def test_grey_is_the_mean_of_the_bands() -> None:
    images = scene(2, 13)
    expected = np.repeat(images.double().numpy().mean(1, keepdims=True), 13, 1)
    np.testing.assert_allclose(grey(images, torch.zeros(2)).numpy(), expected, atol=1e-6)


def test_grey_of_colours_is_their_luma() -> None:
    views = ContrastViews(**NEVER | {"grey": 1.0, "colour": True})  # type: ignore[arg-type]
    images, draws = scene(4, 3), drawn(views, 4)
    expected = tv.rgb_to_grayscale(views.crop(images, draws), 3)
    torch.testing.assert_close(views.augment(images, draws), expected, atol=1e-3, rtol=0)


def one_by_one(view: Tensor, names: list[str], values: list[float]) -> Tensor:
    """What the draws of a slot do to its crop, spelled out."""
    for name, value in zip(names, values, strict=True):
        if name == "brightness":
            view = (view * value).clamp(0, 1)
        elif name == "contrast":
            mean = view.mean((1, 2), keepdim=True)
            view = (mean + value * (view - mean)).clamp(0, 1)
        elif name == "colour":
            view = tv.adjust_saturation(view, value)
        elif name == "hue":
            view = tv.adjust_hue(view, value)
        elif name == "grey":
            view = view.mean(0, keepdim=True).expand_as(view)
        elif name == "blur":
            for axis in (1, 2):
                view = torch.from_numpy(gaussian_filter1d(view.numpy(), value, axis=axis, mode="nearest", radius=6))
        else:
            assert name == "identity"
    return view


@pytest.mark.parametrize(("bands", "colour"), [(3, True), (3, False), (13, False)])
def test_a_view_is_its_operations_in_their_order(bands: int, colour: bool) -> None:
    views = ContrastViews(flip=0, colour=colour)
    images, draws = scene(60, bands), drawn(views, 60)
    for names, values, crop, found in zip(
        codes(draws), draws.value.tolist(), views.crop(images, draws), views.augment(images, draws), strict=True
    ):
        # torchvision's weights of red, green and blue have four digits, ours three.
        torch.testing.assert_close(found, one_by_one(crop, names, values), atol=2e-3 if colour else 1e-5, rtol=0)


# -- draws --


@pytest.mark.parametrize("colour", [False, True])
def test_draws_have_the_settings_shares_and_ranges(colour: bool) -> None:
    views = ContrastViews(brightness=0.3, contrast=0.2, saturation=0.5, colour=colour)
    draws = drawn(views, 5000)
    ranges = {"brightness": (0.7, 1.3), "contrast": (0.8, 1.2)}
    ranges |= {"colour": (0.5, 1.5), "hue": (-0.1, 0.1)} if colour else {}
    jitter = draws.operation[:, : len(ranges)]
    assert jitter.ne(0).any(1).double().mean().item() == pytest.approx(0.8, abs=0.03)
    assert torch.equal(jitter.ne(0).any(1), jitter.ne(0).all(1))  # all of them, or none
    for name, (low, high) in ranges.items():
        here = jitter == NAMES.index(name)
        assert torch.equal(here.any(1), jitter.ne(0).any(1))
        assert here.sum(0).double().div(here.sum()).tolist() == pytest.approx([1 / len(ranges)] * len(ranges), abs=0.03)
        values = draws.value[:, : len(ranges)][here]
        assert low <= values.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < values.max() <= high
    shown_grey, blurred = draws.operation[:, -2] != 0, draws.operation[:, -1] != 0
    assert shown_grey.double().mean().item() == pytest.approx(0.2, abs=0.03)
    assert blurred.double().mean().item() == pytest.approx(0.5, abs=0.03)
    assert 0.1 <= draws.value[:, -1].min() < 0.15
    assert 1.95 < draws.value[:, -1].max() <= 2
    assert draws.flip.double().mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.03)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), bands=st.sampled_from([1, 3, 13]), size=st.integers(1, 30))
def test_a_picture_is_a_function_of_its_slot(seed: int, bands: int, size: int) -> None:
    views = ContrastViews(colour=bands == 3)
    images, draws = scene(7, bands, size, seed), drawn(views, 7, size, seed)
    for make in (views.crop, views.augment):
        whole = make(images, draws)
        assert whole.shape == images.shape
        assert whole.dtype == torch.float32
        assert 0 <= whole.min() <= whole.max() <= 1
        assert torch.equal(make(images[2:5], draws[2:5]), whole[2:5])
        assert torch.equal(make(images[[6, 0]], draws[[6, 0]]), whole[[6, 0]])


def test_the_same_seed_draws_the_same() -> None:
    views, images = ContrastViews(), scene(6, 4)
    one, same, other = (views.augment(images, drawn(views, 6, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_bands_are_treated_alike() -> None:
    views = ContrastViews()
    images = scene(40, 1).expand(-1, 13, -1, -1).contiguous()
    found = views.augment(images, drawn(views, 40))
    torch.testing.assert_close(found, found[:, :1].expand_as(found), atol=1e-6, rtol=0)


def test_images_stay_as_they_are() -> None:
    views, images = ContrastViews(), scene(8, 4)
    before = images.clone()
    views.augment(images, drawn(views, 8))
    assert torch.equal(images, before)


# -- refusals --


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": (0.0, 1.0)}, r"scale = \(0\.0, 1\.0\): it must be \(least, largest\), above 0"),
        ({"scale": (0.6, 0.5)}, r"scale = \(0\.6, 0\.5\)"),
        ({"scale": (0.5, 1.1)}, r"scale = \(0\.5, 1\.1\)"),
        ({"grey": 1.5}, r"grey = 1\.5: it must be between 0 and 1"),
        ({"brightness": -0.1}, r"brightness = -0\.1"),
        ({"hue": 0.7}, r"hue = 0\.7: it must be between 0 and 0\.5"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ContrastViews(**settings)  # type: ignore[arg-type]


def test_images_that_do_not_match_are_refused() -> None:
    views = ContrastViews(colour=True)
    for make in (views.crop, views.augment):
        with pytest.raises(UserError, match="draws for 3 images of 24 × 24"):
            make(scene(4, 3), drawn(views, 3))
        with pytest.raises(UserError, match=r"float64: views take float32"):
            make(scene(3, 3).double(), drawn(views, 3))
    with pytest.raises(UserError, match=r"colour=True with 4 bands"):
        views.augment(scene(3, 4), drawn(views, 3))
