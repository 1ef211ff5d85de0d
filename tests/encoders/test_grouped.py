import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from wherewhen.bands import load_sensor, semantic_groups, texture_groups
from wherewhen.build import build
from wherewhen.encoders import Grouped, Timm, feature_width
from wherewhen.encoders.grouped import Texture
from wherewhen.errors import UserError
from wherewhen.views.texture import local_binary_pattern

L1C = tuple(band.name for band in load_sensor("sentinel2_l1c").bands)
L2A = tuple(band.name for band in load_sensor("sentinel2_l2a").bands)


class Counting(nn.Module):
    """Mean and deviation of each channel; counts its calls."""

    width, map_widths, map_strides = 6, (3,), (4,)

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        assert images.shape[1] == 3
        return torch.cat((images.mean((2, 3)), images.std((2, 3))), dim=1)


def slowly(images: Tensor, bands: tuple[str, ...], texture: Texture, spread: float) -> Tensor:
    """One picture at a time, (N, G, 6)."""
    table = semantic_groups("readme_l2a")
    rows = []
    for image in images.double().numpy():
        by_name = dict(zip(bands, image, strict=True))
        pictures = [np.stack([by_name[band] for band in triple]) for triple in table.values()]
        triples = {"none": {}, "bands": texture_groups("readme_l2a"), "semantic": table}[texture]
        for triple in triples.values():
            grey = [np.round(255 * np.clip(by_name[band] * spread + 0.5, 0, 1)) for band in triple]
            codes = local_binary_pattern(torch.tensor(np.stack(grey), dtype=torch.float32)).double().numpy()
            pictures.append((codes / 17 - 0.5) / spread)
        rows.append([np.concatenate((p.mean((1, 2)), p.std((1, 2), ddof=1))) for p in pictures])
    return torch.tensor(np.array(rows), dtype=torch.float32)


@pytest.mark.parametrize("bands", [L1C, L2A, tuple(reversed(L2A))])
@pytest.mark.parametrize(("texture", "count"), [("none", 7), ("bands", 11), ("semantic", 14)])
def test_it_says_what_one_picture_after_the_other_says(bands: tuple[str, ...], texture: Texture, count: int) -> None:
    images = torch.randn(3, len(bands), 12, 12, generator=torch.Generator().manual_seed(0))
    inner = Counting()
    encoder = Grouped(inner, bands=bands, texture=texture, spread=0.25)
    each = encoder.each(images)
    assert inner.calls == 1
    assert each.shape == (3, count, 6)
    torch.testing.assert_close(each, slowly(images, bands, texture, 0.25), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(encoder(images), each.mean(1))
    assert len(set(encoder.names)) == count


@settings(deadline=None, max_examples=20)
@given(order=st.permutations(L2A))
def test_the_order_of_the_bands_does_not_matter(order: list[str]) -> None:
    images = torch.randn(2, len(L2A), 8, 8, generator=torch.Generator().manual_seed(1))
    mixed = images[:, [L2A.index(band) for band in order]]
    ours = Grouped(Counting(), bands=L2A, texture="bands")(images)
    torch.testing.assert_close(Grouped(Counting(), bands=order, texture="bands")(mixed), ours)


def test_groups_keep_the_order_red_green_blue() -> None:
    images = torch.arange(12.0).view(1, 12, 1, 1).expand(1, 12, 4, 4)
    shown = Grouped(Counting(), bands=L2A).pictures(images)
    assert shown[0, 0, :, 0, 0].tolist() == [L2A.index(band) for band in ("B04", "B03", "B02")]


def test_texture_looks_at_the_image_in_grey_values() -> None:
    unit = torch.rand(2, 12, 9, 9, generator=torch.Generator().manual_seed(2))
    encoder = Grouped(Counting(), bands=L2A, texture="bands", spread=0.25)
    shown = encoder.texture((unit - 0.5) / 0.25)
    codes = local_binary_pattern((unit * 255).round())
    torch.testing.assert_close(shown, (codes.float() / 17 - 0.5) / 0.25, atol=1e-5, rtol=1e-5)
    assert shown.min() >= -2
    assert shown.max() <= 2


def test_a_missing_band_is_named_with_its_group() -> None:
    bands = tuple(band for band in L2A if band != "B12")
    with pytest.raises(UserError, match=r"group 'urban' needs B12, but the images have B01, .*missing to drop"):
        Grouped(Counting(), bands=bands)
    with pytest.raises(UserError, match="needs B10"):
        Grouped(Counting(), "readme_l1c", L2A)


def test_a_group_can_be_dropped_but_not_silently() -> None:
    bands = tuple(band for band in L2A if band != "B01")
    with pytest.warns(UserWarning, match="B01.*is dropped") as heard:
        encoder = Grouped(Counting(), bands=bands, texture="bands", missing="drop")
    assert len(heard) == 2  # complementary_1, and the texture of the first bands
    assert encoder.names == tuple(
        name
        for table in (semantic_groups("readme_l2a"), texture_groups("readme_l2a"))
        for name, triple in table.items()
        if "B01" not in triple
    )
    assert encoder(torch.zeros(1, len(bands), 8, 8)).shape == (1, 6)


@pytest.mark.filterwarnings("ignore:band group")
def test_some_group_must_be_left() -> None:
    with pytest.raises(UserError, match="none of the groups"):
        Grouped(Counting(), bands=("red", "green", "blue"), missing="drop")


def test_groups_are_three_bands() -> None:
    with pytest.raises(UserError, match="'two' has 2 bands"):
        Grouped(Counting(), {"two": ("B04", "B03")}, L2A)


def test_feature_maps_are_averaged_over_the_pictures() -> None:
    encoder = Grouped({"name": "Timm", "model": "resnet10t"}, bands=L2A, texture="bands", image_size=32).eval()
    images = torch.randn(2, 12, 32, 32)
    with torch.no_grad():
        said = encoder.features(images)
        alone = [encoder.encoder.features(picture) for picture in encoder.pictures(images).unbind(1)]
    torch.testing.assert_close(said.pooled, torch.stack([one.pooled for one in alone]).mean(0), atol=1e-5, rtol=1e-4)
    for level, shown in enumerate(said.maps):
        truth = torch.stack([one.maps[level] for one in alone]).mean(0)
        torch.testing.assert_close(shown, truth, atol=1e-5, rtol=1e-4)
    assert [m.shape[1] for m in said.maps] == list(encoder.map_widths)
    assert [32 // m.shape[2] for m in said.maps] == list(encoder.map_strides)


def test_a_config_describes_both_encoders() -> None:
    spec = {
        "name": "Grouped",
        "encoder": {"name": "Timm", "model": "resnet10t"},
        "groups": {"colour": ["B04", "B03", "B02"], "infrared": ["B08", "B04", "B03"]},
        "texture": "semantic",
    }
    encoder = build(spec, nn.Module, "wherewhen.encoders", channels=12, image_size=32, bands=L2A, spread=0.25)
    assert isinstance(encoder, Grouped)
    assert isinstance(encoder.encoder, Timm)
    assert encoder.spread == 0.25
    assert encoder.names == ("colour", "infrared", "lbp_colour", "lbp_infrared")
    assert feature_width(encoder, 12, 32) == encoder.width == 512


def test_only_the_inner_encoder_is_saved() -> None:
    encoder = Grouped(Timm(3, 32, "resnet10t"), bands=L2A, texture="bands")
    assert all(name.startswith("encoder.") for name in encoder.state_dict())


def test_texture_needs_no_gradient_but_the_groups_do() -> None:
    images = torch.randn(2, 12, 8, 8, requires_grad=True)
    encoder = Grouped(
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), bands=L2A, texture="bands"
    )
    encoder(images).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize("texture", ["none", "bands"])
def test_it_can_be_built_without_memory(texture: Texture) -> None:
    with torch.device("meta"):
        encoder = Grouped({"name": "Timm", "model": "resnet10t"}, bands=L2A, texture=texture)
        assert feature_width(encoder, 12, 64) == 512
