import numpy as np
import pytest

from wherewhen.world.fields import Fields, kilometres, smooth_noise


def test_a_field_has_unit_variance_and_the_wavelength_it_was_asked_for() -> None:
    fields = Fields(np.random.default_rng(0), [400.0, 4000.0], 64, 0.3)
    lat, lon = np.random.default_rng(1).uniform((-60, -180), (60, 180), (4000, 2)).T
    values = fields(lat, lon)
    assert values.shape == (2, 4000)
    assert values.std(1) == pytest.approx([1, 1], abs=0.2)
    step = np.abs(fields(lat + 0.2, lon) - values).mean(1)
    assert 7 < step[0] / step[1] < 14  # ten times the wavelength, a tenth of the slope


def test_a_field_is_the_same_however_its_places_are_grouped() -> None:
    fields = Fields(np.random.default_rng(0), [300.0] * 3, 16, 0.3)
    lat, lon = np.linspace(35, 68, 50), np.linspace(-10, 40, 50)
    alone = np.stack([fields(a, o) for a, o in zip(lat, lon, strict=True)], 1)
    assert np.allclose(fields(lat, lon), alone, rtol=0, atol=1e-12)


def test_kilometres_follow_the_degree() -> None:
    east, north = kilometres(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    assert north[1] - north[0] == pytest.approx(111.2)
    assert east[1] - east[0] == pytest.approx(111.2 * np.cos(np.radians(52)))


@pytest.mark.parametrize("cells", [3, 9, 32])
def test_smooth_noise_has_unit_variance_and_blobs_of_its_size(cells: int) -> None:
    noise = np.stack([smooth_noise(np.random.default_rng(seed), cells, 64) for seed in range(200)])
    assert noise.std() == pytest.approx(1, abs=0.08)
    blob = round(64 / cells)
    assert np.corrcoef(noise[:, 32, 20], noise[:, 32, 20 + max(1, blob // 2)])[0, 1] > 0.5
    far = noise[:, :, : 64 - 5 * min(blob, 10)] * noise[:, :, 5 * min(blob, 10) :]
    assert abs(far.mean()) < 0.1
