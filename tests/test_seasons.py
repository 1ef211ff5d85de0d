"""Which dates of which places make a step."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wherewhen.errors import UserError
from wherewhen.seasons import DatesBatches, Places

NAMES = ["a", "b", "a", None, "b", "a", "c"]
TIMES = np.array(["2020-03", "2020-01", "2019-05", "2020-01", "NaT", "2021-01", "2020-01"], dtype="datetime64[D]")


def pixels(index: np.ndarray) -> Any:
    """In place of a `PixelSource`: an image is its own number."""
    return torch.from_numpy(index)[:, None, None, None].float()


def many(places: int, visits: int) -> tuple[list[str], np.ndarray]:
    """Names and times of a regular archive, shuffled."""
    order = np.random.default_rng(0).permutation(places * visits)
    times = np.datetime64("2020-01-01") + np.arange(places * visits) % visits * 30
    return [f"p{i // visits}" for i in order], times[order]


def test_images_of_a_place_are_in_the_order_of_their_dates_unknown_ones_last() -> None:
    images = [[list(period) for period in place] for place in Places(NAMES, TIMES).images]
    assert images == [[[2, 0, 5]], [[1, 4]], [[3]], [[6]]]


def test_places_with_too_few_dates_are_left_out_and_told() -> None:
    places = Places(NAMES, TIMES, dates=3)
    assert len(places) == 2
    assert places.left_out[-1] == "c"


def test_two_periods_are_the_older_and_the_newer_half() -> None:
    names, times = many(5, 6)
    for older, newer in Places(names, times, dates=2, periods=2).images:
        assert times[older].max() < times[newer].min()
        assert len(older) == len(newer) == 3


def test_no_place_with_enough_dates_is_an_error_that_says_how_to_get_some() -> None:
    with pytest.raises(UserError, match=r"no place has 4 images.*--visits 3 --periods 2"):
        Places(NAMES, TIMES, dates=3, periods=2)


@given(st.integers(0, 10**6), st.integers(0, 500))
def test_dates_of_a_place_are_drawn_without_replacement(seed: int, step: int) -> None:
    names, times = many(7, 4)
    images, place = DatesBatches(pixels, Places(names, times, dates=3), 4, seed).images(step)  # type: ignore[arg-type]
    assert images.shape == (3, 4)
    for slot in range(4):
        assert len(set(images[:, slot])) == 3
        assert len({names[i] for i in images[:, slot]}) == 1
    assert len(place) == 4


def test_a_place_with_two_dates_shows_the_second_again() -> None:
    names, times = many(4, 2)
    images, _ = DatesBatches(pixels, Places(names, times, dates=3), 4, 0).images(0)  # type: ignore[arg-type]
    assert (images[1] == images[2]).all()
    assert (images[0] != images[1]).all()


def test_every_place_is_met_once_a_round() -> None:
    names, times = many(12, 3)
    batches = DatesBatches(pixels, Places(names, times, dates=1), 4, 3)  # type: ignore[arg-type]
    assert batches.round == 3
    met = np.concatenate([batches.images(step)[1] for step in range(3)])
    assert sorted(met) == list(range(12))


def test_the_periods_of_a_place_stand_side_by_side_and_its_dates_come_from_its_own_period() -> None:
    names, times = many(6, 6)
    places = Places(names, times, dates=3, periods=2)
    images, place = DatesBatches(pixels, places, 8, 0).images(5)  # type: ignore[arg-type]
    assert (place[::2] == place[1::2]).all()
    for slot in range(8):
        assert set(images[:, slot]) == set(places.images[place[slot]][slot % 2])


@pytest.mark.parametrize("periods", [1, 2])
def test_processes_share_the_batch_of_one(periods: int) -> None:
    names, times = many(9, 6)
    places = Places(names, times, dates=3, periods=periods)
    whole = DatesBatches(pixels, places, 8, 4)(11)  # type: ignore[arg-type]
    parts = [DatesBatches(pixels, places, 8, 4, rank, 2)(11) for rank in range(2)]  # type: ignore[arg-type]
    assert whole.pixels.shape == (3, 8, 1, 1, 1)
    assert torch.equal(whole.pixels, torch.cat([part.pixels for part in parts], dim=1))
    assert torch.equal(whole.place, torch.cat([part.place for part in parts]))


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    names, times = many(9, 6)
    with pytest.raises(UserError, match="batch of 6 does not divide by 2 process"):
        DatesBatches(pixels, Places(names, times, periods=2), 6, 0, 0, 2)  # type: ignore[arg-type]
