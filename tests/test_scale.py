from dataclasses import replace

import numpy as np
import pytest
import torch

from wherewhen.bands import load_sensor
from wherewhen.errors import UserError
from wherewhen.scale import Scale, check_bands

RGB = load_sensor("rgb8").bands
L2A = load_sensor("sentinel2_l2a").bands[:2]


def test_pictures_go_to_minus_one_and_one() -> None:
    scale = Scale.of(RGB, np.full(3, 90.0), np.full(3, 30.0))
    stored = torch.tensor([0.0, 127.5, 255.0])[:, None, None].expand(1, 3, 3, 1).clone()
    stored[0, :, :, 0] = torch.tensor([0.0, 127.5, 255.0])
    unit = scale.unit(stored)
    assert unit[0, 0, :, 0].tolist() == [0, 0.5, 1]
    assert scale(unit)[0, 0, :, 0].tolist() == [-1, 0, 1]


def test_reflectance_is_clipped_to_two_sigmas_and_standardised() -> None:
    bands = tuple(replace(band, scale=1e-4, offset=-1000.0) for band in L2A)
    mean, std = np.array([0.1, 0.3]), np.array([0.02, 0.1])
    scale = Scale.of(bands, mean, std)
    reflectance = torch.tensor([[0.1, 0.12, 0.9], [0.3, 0.2, -0.5]])
    stored = reflectance * 10_000 + 1_000
    standardised = scale(scale.unit(stored[None, :, None]))[0, :, 0]
    torch.testing.assert_close(standardised, torch.tensor([[0.0, 1.0, 2.0], [0.0, -1.0, -2.0]]), atol=1e-4, rtol=0)


def test_a_constant_band_gives_no_infinity() -> None:
    scale = Scale.of(L2A, np.zeros(2), np.zeros(2))
    assert scale(scale.unit(torch.rand(1, 2, 3, 3))).isfinite().all()


def test_scale_is_saved_with_the_model() -> None:
    a, b = (Scale.of(L2A, np.full(2, m), np.full(2, 0.1)) for m in (0.1, 0.4))
    b.load_state_dict(a.state_dict())
    stored = torch.full((1, 2, 1, 1), 2500.0)
    assert torch.equal(a.unit(stored), b.unit(stored))


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (L2A[::-1], "bands B01, B02"),
        (tuple(replace(b, unit="8-bit") for b in L2A), "reflectance"),
        (tuple(replace(b, offset=7.0) for b in L2A), r"\+ 7"),
    ],
)
def test_other_bands_units_and_offsets_are_refused(given: tuple, word: str) -> None:  # type: ignore[type-arg]
    check_bands(L2A, L2A, "here")
    with pytest.raises(UserError, match=word):
        check_bands(L2A, given, "here")
