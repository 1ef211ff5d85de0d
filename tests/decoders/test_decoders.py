from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wherewhen.decoders import Pyramid, Siamese, UNet
from wherewhen.encoders import DenseLearner, Encoded, MetadataEncoder, Timm, ViT
from wherewhen.errors import UserError

VIT: dict[str, Any] = {"image_size": 32, "width": 32, "depth": 1, "heads": 2}


def encoders(channels: int) -> dict[str, Any]:
    return {
        "resnet": Timm(channels, 32, "resnet18"),
        "small resnet": Timm(channels, 32, "resnet18", stem="small"),
        "convnext": Timm(channels, 32, "convnext_atto"),
        "vit": ViT(channels, patch_size=8, **VIT),
        "fine vit": ViT(channels, patch_size=2, **VIT),
        "convolutional vit": ViT(channels, patch_size=8, stem="convolutions", **VIT),
    }


@pytest.mark.parametrize("name", encoders(1))
@pytest.mark.parametrize("dates", [1, 2])
def test_every_encoder_labels_every_pixel(name: str, dates: int) -> None:
    encoder = encoders(3)[name]
    seen: Any = Siamese(encoder) if dates == 2 else encoder
    learner = DenseLearner(seen, UNet(seen.map_widths, seen.map_strides, width=8), classes=5)
    reply = learner(torch.randn(2, 3 * dates, 32, 32))
    assert reply.logits.shape == (2, 5, 32, 32)
    assert reply.pooled.shape == (2, encoder.width)
    unused = [n for n, g in gradients(learner, reply.logits) if g is None]
    assert all(".net.head." in n for n in unused)  # convnext's norm between pooling and classifier


def gradients(network: nn.Module, logits: Tensor) -> list[tuple[str, Tensor | None]]:
    names, weights = zip(*network.named_parameters(), strict=True)
    found = torch.autograd.grad((logits * torch.randn_like(logits)).sum(), weights, allow_unused=True)
    return list(zip(names, found, strict=True))


def test_the_finest_skip_reaches_its_own_pixels() -> None:
    """What differs in one place of the finest map differs there in the decoded map, and nowhere far off."""
    decoder = UNet((4, 8), (1, 2), width=8).eval()
    maps = [torch.randn(1, 4, 16, 16), torch.randn(1, 8, 8, 8)]
    before = decoder(maps, (16, 16))
    maps[0] = maps[0].clone()
    maps[0][0, :, 3, 12] += 5
    moved = (decoder(maps, (16, 16)) - before).abs().amax((0, 1)) > 1e-5
    assert moved[3, 12]
    rows, columns = moved.nonzero().T
    assert rows.min() >= 1
    assert rows.max() <= 5
    assert columns.min() >= 10
    assert columns.max() <= 14


@pytest.mark.parametrize(
    ("widths", "strides", "blocks"),
    [((64, 64, 128, 256, 512), (2, 4, 8, 16, 32), [256, 128, 64, 32, 16]), ((8, 16), (1, 2), [16])],
)
def test_blocks_are_those_of_the_published_decoder(
    widths: tuple[int, ...], strides: tuple[int, ...], blocks: list[int]
) -> None:
    found = [block.conv2[0].out_channels for block in UNet(widths, strides).net.blocks]
    assert found == blocks


def test_a_pyramid_doubles_the_map_until_two_pixels_are_one() -> None:
    pyramid = Pyramid(32, 8)
    maps = pyramid([torch.randn(2, 32, 4, 4)])
    assert [tuple(m.shape) for m in maps] == [(2, 8, 16, 16), (2, 16, 8, 8), (2, 32, 4, 4)]
    assert (pyramid.map_widths, pyramid.map_strides) == ((8, 16, 32), (2, 4, 8))


def test_differences_are_those_of_two_calls() -> None:
    encoder = Timm(3, 32, "resnet18").eval()
    before, after = torch.randn(2, 2, 3, 32, 32)
    one, other = encoder.features(before), encoder.features(after)
    calls: list[object] = []
    encoder.net.conv1.register_forward_hook(lambda module, given, made: calls.append(given))
    found = Siamese(encoder).eval().features(torch.cat((before, after), dim=1))
    assert len(calls) == 1
    for mine, a, b in zip(found.maps, one.maps, other.maps, strict=True):
        torch.testing.assert_close(mine, (a - b).abs(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.pooled, (one.pooled - other.pooled).abs(), atol=1e-4, rtol=1e-4)
    backwards = Siamese(encoder).eval().features(torch.cat((after, before), dim=1))
    torch.testing.assert_close(found.pooled, backwards.pooled)


def test_nothing_changed_is_nothing() -> None:
    image = torch.randn(2, 3, 32, 32)
    found = Siamese(Timm(3, 32, "resnet18").eval()).eval().features(torch.cat((image, image), dim=1))
    assert all(not m.any() for m in found.maps)


def test_both_dates_are_told_the_same() -> None:
    encoder = ViT(3, patch_size=8, **VIT).eval()
    image, token = torch.randn(2, 3, 32, 32), torch.randn(2, 32)
    found: Encoded = Siamese(encoder).eval().features(torch.cat((image, image), dim=1), token)
    assert found.token is not None
    torch.testing.assert_close(found.token, encoder(image, token).token, atol=1e-5, rtol=1e-4)
    assert not found.maps[-1].any()


@pytest.mark.parametrize("late", [True, False])
def test_place_and_time_reach_the_pixels(late: bool) -> None:
    encoder = ViT(3, patch_size=8, stem="convolutions", **VIT)
    decoder = UNet(encoder.map_widths, encoder.map_strides, width=8)
    metadata = MetadataEncoder(32, ["place", "time"])
    learner = DenseLearner(encoder, decoder, 4, metadata, distill=not late, late=late).eval()
    images, where = torch.randn(2, 3, 32, 32), torch.tensor([[10.0, 20.0, 0.3], [60.0, 20.0, 0.3]])
    told, other, untold = learner(images, where), learner(images, where.flip(0)), learner(images)
    assert not torch.equal(told.logits, other.logits)
    assert not torch.equal(told.logits, untold.logits)
    assert (told.token is None) == late
    swapped = learner(images.flip(0), where)
    torch.testing.assert_close(swapped.logits.flip(0), other.logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UNet((), ()), "needs one or more"),
        (lambda: UNet((8, 4), (4, 2)), "finest first"),
        (lambda: UNet((8, 4), (1, 2), width=0), "width 0"),
        (lambda: Pyramid(8, 6), "stride 6"),
    ],
)
def test_what_cannot_be_decoded(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
