import pytest
import torch
from torch import nn

from wherewhen.build import build
from wherewhen.encoders import Timm, ViT, encode, feature_width
from wherewhen.errors import UserError

TINY = "resnet10t"


@pytest.mark.parametrize(
    ("model", "size", "width", "maps"),
    [
        ("resnet18", 64, 512, ((64, 2), (64, 4), (128, 8), (256, 16), (512, 32))),
        ("resnet50", 64, 2048, ((64, 2), (256, 4), (512, 8), (1024, 16), (2048, 32))),
        ("convnext_atto", 64, 320, ((40, 4), (80, 8), (160, 16), (320, 32))),
        ("vit_tiny_patch16_224", 64, 192, ((192, 16),)),
        ("swin_tiny_patch4_window7_224", 64, 768, ((96, 4), (192, 8), (384, 16), (768, 32))),
        ("mobilenetv3_small_050", 64, 1024, ((16, 2), (8, 4), (16, 8), (24, 16), (288, 32))),
    ],
)
def test_a_network_by_name(model: str, size: int, width: int, maps: tuple[tuple[int, int], ...]) -> None:
    encoder = Timm(5, size, model).eval()
    images = torch.randn(2, 5, size, size)
    with torch.no_grad():
        said = encoder.features(images)
        torch.testing.assert_close(said.pooled, encoder(images))
    assert tuple(zip(encoder.map_widths, encoder.map_strides, strict=True)) == maps
    assert [m.shape for m in said.maps] == [(2, c, size // s, size // s) for c, s in maps]
    assert said.pooled.shape == (2, width)
    assert encoder.width == width == feature_width(encoder, 5, size)


def test_the_small_stem_keeps_every_pixel() -> None:
    encoder = Timm(4, 32, "resnet18", stem="small").eval()
    assert encoder.map_strides == (1, 2, 4, 8)
    assert encoder.map_widths == (64, 128, 256, 512)
    maps = encoder.features(torch.randn(1, 4, 32, 32)).maps
    assert [m.shape[-1] for m in maps] == [32, 16, 8, 4]


def test_features_have_gradients_and_batch_norm_learns() -> None:
    encoder = Timm(3, 32, TINY)
    before = {name: value.clone() for name, value in encoder.state_dict().items() if "running_mean" in name}
    encoder.features(torch.randn(4, 3, 32, 32)).pooled.square().sum().backward()
    assert encoder.training
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    assert any(not torch.equal(before[name], encoder.state_dict()[name]) for name in before)


def test_asking_for_the_width_leaves_no_trace() -> None:
    encoder = Timm(3, 32, TINY)
    means = [value for name, value in encoder.state_dict().items() if "running_mean" in name]
    assert means
    assert all((value == 0).all() for value in means)


def test_networks_can_be_built_without_memory() -> None:
    with torch.device("meta"):
        encoder = Timm(13, 64, "resnet50")
    assert encoder.width == 2048
    assert next(encoder.parameters()).is_meta


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "resnt18"}, "no model 'resnt18'; did you mean resnet18"),
        ({"model": "qqqqqqqq"}, r"timm\.list_models\(\) lists all"),
        ({"model": "vit_tiny_patch16_224", "image_size": 60}, "60 is not a multiple of .* patch size 16"),
        ({"model": "vit_tiny_patch16_224", "stem": "small"}, "no stem of one convolution"),
        ({"model": "resnet18d", "stem": "small"}, "no stem of one convolution"),
        ({"model": "vgg11", "drop_path": 0.1}, "cannot be built .* drop_path 0.1"),
    ],
)
def test_mistakes_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Timm(3, **{"image_size": 32} | settings)  # type: ignore[arg-type]


def test_no_token_is_taken() -> None:
    with pytest.raises(UserError, match="take no token"):
        Timm(3, 32, TINY).features(torch.zeros(1, 3, 32, 32), torch.zeros(1, 512))


def test_a_config_names_it() -> None:
    encoder = build({"name": "Timm", "model": TINY}, nn.Module, "wherewhen.encoders", channels=13, image_size=64)
    assert isinstance(encoder, Timm)
    assert encoder(torch.zeros(2, 13, 64, 64)).shape == (2, 512)


def test_our_vit_says_where_its_map_is() -> None:
    vit = ViT(3, image_size=16, patch_size=4, width=32, depth=1, heads=2).eval()
    said = vit.features(torch.randn(2, 3, 16, 16))
    assert [m.shape for m in said.maps] == [
        (2, c, 16 // s, 16 // s) for c, s in zip(vit.map_widths, vit.map_strides, strict=True)
    ]


def test_every_encoder_can_be_asked_alike() -> None:
    images = torch.randn(2, 3, 32, 32)
    plain = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for encoder, width, maps in (
        (plain, 3, 0),
        (Timm(3, 32, TINY), 512, 5),
        (ViT(3, width=12, heads=1, depth=1), 12, 1),
    ):
        said = encode(encoder.eval(), images, maps=True)
        assert said.pooled.shape == (2, width)
        assert len(said.maps) == maps
        torch.testing.assert_close(encode(encoder, images).pooled, said.pooled)
