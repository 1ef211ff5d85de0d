"""Windows of a scene as one: every pixel is counted, nothing depends on panels or on what is done already."""

from collections.abc import Container

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from wherewhen.errors import UserError
from wherewhen.predict import blend
from wherewhen.predict.blend import BLEND, Strip, Tiling, strips

SCENE = np.random.default_rng(0).normal(size=(2, 300, 420)).astype(np.float32)


def mapped(
    scene: np.ndarray, tiling: Tiling, predict: blend.Predict, classes: int = 3, done: Container[int] = ()
) -> tuple[np.ndarray, list[Strip]]:
    """The whole map (K, H, W), NaN where no strip is, and the strips."""
    seen = np.ones(scene.shape[1:], bool)

    def read(top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        part = np.s_[top : top + height, left : left + width]
        return scene[:, part[0], part[1]], seen[part]

    whole, found = np.full((classes, *scene.shape[1:]), np.nan, np.float32), []
    for panel in tiling.panels(classes):
        for strip in strips(tiling, panel, classes, read, predict, 3, done):
            height, width = strip.seen.shape
            part = np.s_[:, strip.top : strip.top + height, strip.left : strip.left + width]
            assert np.isnan(whole[part]).all()  # nothing twice
            whole[part] = strip.probability
            found.append(strip)
    return whole, found


def network(reach: int, seed: int = 0) -> blend.Predict:
    """A convolution that looks `reach` pixels far, with zeros around what it is shown."""
    weight = torch.randn(3, 2, 2 * reach + 1, 2 * reach + 1, generator=torch.Generator().manual_seed(seed)) / (
        reach + 1
    )

    def predict(images: np.ndarray) -> np.ndarray:
        answer: np.ndarray = F.conv2d(torch.from_numpy(images), weight, padding=reach).softmax(1).numpy()
        return answer

    return predict


@pytest.mark.parametrize(("side", "align"), [(112, 1), (160, 32), (999, 1)])
def test_a_network_that_looks_no_farther_than_half_the_overlap_has_no_seams(
    side: int, align: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blend, "BUFFER", 4 * 4 * side * 130)  # several panels
    predict = network(reach=20)
    whole, _ = mapped(SCENE, Tiling((300, 420), side, 40, align), predict)
    np.testing.assert_allclose(whole, predict(SCENE[None])[0], atol=1e-5)


def test_one_that_looks_farther_is_faded() -> None:
    """A step in what windows say, from one to the next, is spread over `BLEND` pixels."""
    count = iter(range(1000))

    def predict(images: np.ndarray) -> np.ndarray:
        answers = [np.full((1, *images.shape[2:]), next(count) % 2, np.float32) for _ in images]
        return np.stack(answers)

    whole, _ = mapped(SCENE[:, :100], Tiling((100, 420), 160, 40), predict, 1)
    steps = np.abs(np.diff(whole[0], axis=1))
    assert whole.min() == 0
    assert whole.max() == 1
    assert steps.max() <= 1 / BLEND + 1e-6


def test_strips_that_are_done_change_nothing_in_the_others() -> None:
    tiling, predict = Tiling((300, 420), 112, 40), network(30)
    whole, found = mapped(SCENE, tiling, predict)
    assert len(found) > 4
    for done in ({0}, {0, 1, 2}, {1, 3}, set(range(len(found) - 1))):
        rest, some = mapped(SCENE, tiling, predict, done=done)
        assert {strip.number for strip in some} == {strip.number for strip in found} - done
        there = ~np.isnan(rest)
        assert there.any()
        np.testing.assert_array_equal(rest[there], whole[there])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(40, 128), st.integers(0, 60), st.sampled_from([1, 8, 32]))
def test_weights_of_neighbours_add_up(height: int, width: int, side: int, overlap: int, align: int) -> None:
    tiling = Tiling((height, width), side, overlap, align)
    try:
        tiling.check()
    except UserError:
        assert side < 2 * (overlap + BLEND)
        return
    for axis, length in enumerate((height, width)):
        total = np.zeros(length)
        starts = tiling.starts(axis)
        for start in starts:
            weights = tiling.weights(axis, start)
            total[start : start + len(weights)] += weights
        if (side - tiling.step) % 2 == 0:
            np.testing.assert_allclose(total, 1, atol=1e-5)
        assert total.min() > 0.9
        assert all(start % align == 0 for start in starts) or tiling.step < align
        assert 2 * tiling.drop + 1 >= overlap - 1
    tops = tiling.starts(0)
    for number, top in enumerate(tops):
        last = top + int(np.flatnonzero(tiling.weights(0, top)).max())
        reached = sum(tiling.final(i) <= last for i in range(number, len(tops))) + 1
        assert reached <= min(tiling.reach, len(tops) - number)
    assert [tiling.final(i) for i in range(len(tiling.starts(0)))][-1] == height


def test_where_nothing_is_seen_no_network_runs() -> None:
    def read(top: int, left: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((2, height, width), np.float32), np.zeros((height, width), bool)

    def never(images: np.ndarray) -> np.ndarray:
        raise AssertionError

    (strip,) = strips(Tiling((90, 90), 128, 32), (0, 90), 3, read, never, 4, ())
    assert strip.probability.shape == (3, 90, 90)
    assert not strip.probability.any()
    assert not strip.seen.any()


def test_windows_that_do_not_advance_are_refused() -> None:
    with pytest.raises(UserError, match="--overlap 48 or less"):
        Tiling((1000, 1000), 128, 64).check()
