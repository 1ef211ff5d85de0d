import numpy as np
import pytest

from wherewhen.errors import UserError
from wherewhen.tasks.elsewhere import far_away, permuted, place, replaced

WHERE = np.array([[1.0, 30.0, 0.1], [2.0, 10.0, 0.9], [3.0, 40.0, 0.5], [4.0, 20.0, np.nan]])


def test_far_away_is_half_the_list_and_half_a_year() -> None:
    far = far_away(WHERE)  # by longitude: 1, 3, 0, 2
    np.testing.assert_array_equal(far[:, :2], WHERE[[1, 0, 3, 2]][:, :2])
    np.testing.assert_allclose(far[:, 2], [0.6, 0.4, 0.0, np.nan])
    assert WHERE[0, 0] == 1.0


@pytest.mark.parametrize("count", [2, 3, 50])
def test_permuted_gives_everyone_anothers_place_and_time(count: int) -> None:
    where = np.random.default_rng(0).random((count, 3))
    other = permuted(where)
    assert sorted(other.tolist()) == sorted(where.tolist())
    assert not (other == where).all(1).any()
    np.testing.assert_array_equal(permuted(where), other)


def test_what_a_user_can_ask_for() -> None:
    np.testing.assert_array_equal(replaced(WHERE, "true"), WHERE)
    np.testing.assert_array_equal(replaced(WHERE, "far"), far_away(WHERE))
    np.testing.assert_array_equal(replaced(WHERE, "permuted"), permuted(WHERE))
    assert np.isnan(replaced(WHERE, "hidden")).all()
    there = replaced(WHERE, "-33.9,151.2")
    np.testing.assert_array_equal(there[:, :2], [[-33.9, 151.2]] * 4)
    np.testing.assert_array_equal(there[:, 2], WHERE[:, 2])
    summer = replaced(WHERE, "true", 184)
    np.testing.assert_array_equal(summer[:, :2], WHERE[:, :2])
    np.testing.assert_array_equal(summer[:, 2], 0.5)
    assert replaced(WHERE, "true", 1)[0, 2] == 0
    assert replaced(WHERE, "true", 366)[0, 2] < 1


@pytest.mark.parametrize("text", ["nowhere", "", "91,0", "0,181", "1,2,3", "nan,0", "45"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--where .* none of true, far, permuted, hidden and no place.*LAT,LON"):
        place(text)


@pytest.mark.parametrize("day", [0, 367, -1])
def test_what_is_no_day_is_refused(day: int) -> None:
    with pytest.raises(UserError, match=rf"--when {day} is no day of a year; give 1"):
        replaced(WHERE, "true", day)
