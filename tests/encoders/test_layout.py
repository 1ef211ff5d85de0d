"""Weights of convolutions, channels last."""

import copy

import torch
from torch import nn

from wherewhen.encoders import Timm
from wherewhen.encoders.layout import channels_last


def test_weights_lie_channels_last_and_say_the_same() -> None:
    plain = Timm(4, 32, model="resnet10t").eval()
    laid_out = channels_last(copy.deepcopy(plain))
    for name, weight in laid_out.state_dict().items():
        torch.testing.assert_close(weight, plain.state_dict()[name], rtol=0, atol=0)
        assert weight.dim() != 4 or weight.is_contiguous(memory_format=torch.channels_last), name
    images = torch.randn(3, 4, 32, 32)
    maps = laid_out.features(images).maps
    assert maps[0].is_contiguous(memory_format=torch.channels_last)  # though the images are not
    for mine, theirs in zip(maps, plain.features(images).maps, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_a_network_of_volumes_is_left_alone() -> None:
    network = nn.Sequential(nn.Conv3d(2, 3, 3), nn.Conv1d(2, 3, 3))
    before = [weight.stride() for weight in network.parameters()]
    assert [weight.stride() for weight in channels_last(network).parameters()] == before
