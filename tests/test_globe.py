"""Maps across the date line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherewhen.globe import east_or_west, together, wrapped

ANGLES = st.floats(-180, 180, allow_nan=False)


def place(*longitudes: float) -> np.ndarray:
    return np.column_stack((np.zeros(len(longitudes)), longitudes))


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ([7.0, 9.0, 8.0], [7.0, 9.0, 8.0]),
        ([-120.0, 5.0, 30.0], [-120.0, 5.0, 30.0]),
        ([178.0, -179.0, np.nan, 177.0], [178.0, 181.0, np.nan, 177.0]),  # Fiji
        ([-3.0], [-3.0]),
        ([np.nan], [np.nan]),
    ],
)
def test_places_lie_together(given_: list[float], expected: list[float]) -> None:
    np.testing.assert_array_equal(together(place(*given_))[:, 1], expected)


@given(st.lists(ANGLES, min_size=1, max_size=20))
def test_no_other_cut_of_the_globe_is_narrower(longitudes: list[float]) -> None:
    found = together(place(*longitudes))[:, 1]
    turns = (found - longitudes) / 360
    np.testing.assert_allclose(turns, turns.round(), atol=1e-9)
    cuts = [np.where(np.array(longitudes) < cut, np.array(longitudes) + 360, longitudes) for cut in longitudes]
    assert np.ptp(found) <= min(np.ptp(cut) for cut in cuts) + 1e-9


def test_longitudes_as_people_write_them() -> None:
    assert [east_or_west(x) for x in (7.5, -120, 181, 0, 360)] == ["7.5° E", "120° W", "179° W", "0° E", "0° E"]


def test_what_lies_on_the_globe_stays_where_it_is() -> None:
    np.testing.assert_array_equal(wrapped(np.array([-180.0, 7.5, 180.0, 181.0, -185.0])), [-180, 7.5, 180, -179, 175])
