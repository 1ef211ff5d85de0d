import numpy as np
import pytest
import torch
from skimage.feature import local_binary_pattern
from torch import nn

from wherewhen.build import build
from wherewhen.encoders import Learner, WithTexture, feature_width
from wherewhen.errors import UserError


@pytest.mark.parametrize("bins", [16, 18])
def test_features_are_followed_by_the_histogram_of_every_band(bins: int) -> None:
    unit = torch.randint(0, 256, (3, 4, 20, 20), generator=torch.Generator().manual_seed(0)) / 255
    images = (unit - 0.5) / 0.25
    plain = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    encoder = WithTexture(4, plain, bins=bins, spread=0.25, image_size=20)
    said = encoder(images)
    assert said.shape == (3, 4 + 4 * bins)
    torch.testing.assert_close(said[:, :4], plain(images))
    for image, row in zip((unit * 255).round().numpy(), said[:, 4:].numpy(), strict=True):
        codes = [local_binary_pattern(band.astype(int), 16, 2, method="uniform") for band in image]
        counts = np.array([[np.sum(band == code) for code in range(bins)] for band in codes])
        truth = (counts - counts.min()) / (counts.max() - counts.min())
        np.testing.assert_allclose(row, truth.ravel(), atol=0.02)  # float32 ties move a pixel or two


def test_an_image_says_the_same_in_any_company() -> None:
    encoder = WithTexture(2, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), image_size=16)
    images = torch.randn(4, 2, 16, 16)
    torch.testing.assert_close(torch.cat([encoder(image[None]) for image in images]), encoder(images))


def test_a_flat_image_has_a_histogram() -> None:
    encoder = WithTexture(2, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), image_size=16)
    assert encoder(torch.zeros(1, 2, 16, 16)).isfinite().all()


def test_a_config_describes_it_and_a_head_can_be_trained() -> None:
    spec = {"name": "WithTexture", "encoder": {"name": "Timm", "model": "test_vit"}, "bins": 18}
    found = {"channels": 3, "image_size": 32, "bands": ("B04", "B03", "B02"), "spread": 0.25}
    encoder: WithTexture = build(spec, nn.Module, "wherewhen.encoders", **found)
    assert encoder.spread == 0.25
    width = feature_width(encoder, 3, 32)
    assert width == encoder.width == encoder.encoder.width + 3 * 18
    learner = Learner(encoder, width, 5)
    images = torch.randn(2, 3, 32, 32)
    learner(images).logits.square().sum().backward()
    (gradient,) = [value.grad for name, value in learner.named_parameters() if name == "head.weight"]
    assert gradient is not None
    assert gradient[:, -54:].abs().sum() > 0
    said = encoder.eval().features(images)
    torch.testing.assert_close(said.pooled, encoder(images))
    assert [m.shape[1] for m in said.maps] == list(encoder.map_widths)


def test_bins_are_at_most_the_codes() -> None:
    with pytest.raises(UserError, match="18 codes"):
        WithTexture(2, nn.Flatten(), bins=19)


def test_it_can_be_built_without_memory() -> None:
    with torch.device("meta"):
        assert WithTexture(3, {"name": "Timm", "model": "resnet10t"}).width == 512 + 3 * 18
