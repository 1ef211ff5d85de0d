"""Pixel operations against Pillow and against loops that spell them out."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from wherewhen.errors import UserError
from wherewhen.views.photometry import PHOTOMETRIC, colour

ANY_BANDS = [name for name in PHOTOMETRIC if name != "colour"]
ROUNDING = 1.001 / 255  # Pillow rounds or cuts to 8 bits


def scene(n: int, bands: int, size: int, seed: int = 0) -> Tensor:
    """Smooth pictures with noise on the 8-bit levels, none of which fills the whole range."""
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.nn.functional.interpolate(
        torch.rand(n, bands, 4, 4, generator=generator), (size, size), mode="bilinear"
    )
    noisy = 0.1 + 0.7 * smooth + 0.1 * torch.rand(n, bands, size, size, generator=generator)
    return (noisy * 255).round() / 255


def to_pillow(image: Tensor) -> Image.Image:
    levels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(levels if levels.shape[2] == 3 else levels[..., 0])


def from_pillow(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.atleast_3d(np.asarray(image)).copy()).permute(2, 0, 1) / 255


def values(name: str, count: int) -> Tensor:
    """Values that span an operation's range, its ends included."""
    return torch.linspace(PHOTOMETRIC[name].low, PHOTOMETRIC[name].high, count)


PILLOW: list[tuple[str, int, Callable[[Image.Image, float], Image.Image], float]] = [
    ("autocontrast", 3, lambda image, _: ImageOps.autocontrast(image), ROUNDING),
    ("brightness", 3, lambda image, v: ImageEnhance.Brightness(image).enhance(v), ROUNDING),
    # Pillow rounds the grey it fades to, then the result.
    ("colour", 3, lambda image, v: ImageEnhance.Color(image).enhance(v), 1.5 * ROUNDING),
    ("contrast", 1, lambda image, v: ImageEnhance.Contrast(image).enhance(v), 1.5 * ROUNDING),
    ("equalize", 3, lambda image, _: ImageOps.equalize(image), 1e-6),
    ("posterize", 3, lambda image, v: ImageOps.posterize(image, int(v)), 1e-6),
    ("sharpness", 3, lambda image, v: ImageEnhance.Sharpness(image).enhance(v), 1.5 * ROUNDING),
    # The threshold lies between levels, so that 8 bits and float agree on which side a value is.
    ("solarize", 3, lambda image, v: ImageOps.solarize(image, int(v * 255) + 1), 1e-6),
]


@pytest.mark.parametrize(("name", "bands", "pillow", "tolerance"), PILLOW, ids=[case[0] for case in PILLOW])
@pytest.mark.parametrize("size", [24, 33])
def test_equals_pillow(
    name: str, bands: int, pillow: Callable[[Image.Image, float], Image.Image], tolerance: float, size: int
) -> None:
    images, value = scene(9, bands, size), values(name, 9)
    if name == "solarize":
        value = ((value * 255).floor() + 0.5) / 255
    found = PHOTOMETRIC[name].apply(images, value)
    expected = torch.stack(
        [from_pillow(pillow(to_pillow(image), v.item())) for image, v in zip(images, value, strict=True)]
    )
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)
    # The comparison has something to see.
    assert (found - images).abs().amax((1, 2, 3)).median() > 3 * tolerance


def test_every_operation_is_compared_with_pillow() -> None:
    assert {case[0] for case in PILLOW} == set(PHOTOMETRIC)


def test_contrast_fades_each_band_to_its_own_mean() -> None:
    """Where Pillow differs: it fades all bands to the mean grey."""
    images, value = scene(2, 12, 16), torch.tensor([0.2, 0.8])
    means = images.double().numpy().mean((2, 3), keepdims=True)
    expected = means + value.double().numpy()[:, None, None, None] * (images.double().numpy() - means)
    found = PHOTOMETRIC["contrast"].apply(images, value).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    pillow = from_pillow(ImageEnhance.Contrast(to_pillow(images[0, :3])).enhance(0.2))
    assert np.abs(found[0, :3] - pillow.numpy()).max() > 0.02


@pytest.mark.parametrize("name", ANY_BANDS)
@pytest.mark.parametrize("bands", [1, 3, 12, 13])
def test_bands_and_samples_do_not_touch_each_other(name: str, bands: int) -> None:
    images, value = scene(5, bands, 20), values(name, 5)
    whole = PHOTOMETRIC[name].apply(images, value)
    for sample in range(5):
        for band in range(bands):
            alone = PHOTOMETRIC[name].apply(images[sample : sample + 1, band : band + 1], value[sample : sample + 1])
            assert torch.equal(alone[0, 0], whole[sample, band])


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(PHOTOMETRIC)),
    bands=st.sampled_from([1, 3, 12, 13]),
    size=st.integers(3, 40),
    kind=st.sampled_from(["noise", "black", "white", "two values", "almost flat"]),
    seed=st.integers(0, 1000),
)
def test_range_type_and_input_are_kept(name: str, bands: int, size: int, kind: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(3, 3 if name == "colour" else bands, size, size, generator=generator)
    images = {
        "noise": noise,
        "black": torch.zeros_like(noise),
        "white": torch.ones_like(noise),
        "two values": noise.round(),
        "almost flat": 1 - noise * 1e-7,
    }[kind]
    before = images.clone()
    found = PHOTOMETRIC[name].apply(images, values(name, 3))
    assert found.dtype == torch.float32
    assert found.shape == images.shape
    assert 0 <= found.min() <= found.max() <= 1  # also false for NaN
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", ["brightness", "colour", "contrast", "sharpness"])
def test_factor_one_changes_nothing(name: str) -> None:
    images = scene(2, 3, 16)
    torch.testing.assert_close(PHOTOMETRIC[name].apply(images, torch.ones(2)), images, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "value", "pixel", "expected"),
    [
        ("posterize", 8.0, 201 / 255, 201 / 255),
        ("posterize", 4.0, 201 / 255, 192 / 255),
        ("posterize", 4.999, 201 / 255, 192 / 255),
        ("posterize", 1.0, 201 / 255, 128 / 255),
        ("solarize", 0.0, 0.25, 0.75),
        ("solarize", 0.5, 0.5, 0.5),
        ("solarize", 0.5, 0.49, 0.49),
        ("solarize", 1.0, 1.0, 0.0),
        ("brightness", 0.0, 0.7, 0.0),
        ("autocontrast", 0.0, 0.7, 0.7),
        ("equalize", 0.0, 0.7, 0.7),
        ("contrast", 0.0, 0.7, 0.7),
    ],
)
def test_flat_picture(name: str, value: float, pixel: float, expected: float) -> None:
    found = PHOTOMETRIC[name].apply(torch.full((1, 2, 5, 5), pixel), torch.tensor([value]))
    torch.testing.assert_close(found, torch.full_like(found, expected), atol=1e-6, rtol=0)


def test_equalize_makes_levels_equally_frequent() -> None:
    skewed = torch.rand(1, 4, 64, 64, generator=torch.Generator().manual_seed(1)) ** 3
    found = PHOTOMETRIC["equalize"].apply(skewed, torch.zeros(1))
    assert (skewed.quantile(0.5) < 0.2).item()
    for share in (0.25, 0.5, 0.75):
        assert found.flatten().quantile(share).item() == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("bands", [1, 12, 13])
def test_colour_refuses_other_bands(bands: int) -> None:
    with pytest.raises(UserError, match=rf"{bands} bands.*red, green, blue.*colour=False"):
        colour(scene(1, bands, 8), torch.ones(1))
