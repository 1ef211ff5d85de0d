import numpy as np

from wherewhen.experiments.trained import far_away


def test_far_away_is_half_the_list_and_half_a_year() -> None:
    where = np.array([[1.0, 30.0, 0.1], [2.0, 10.0, 0.9], [3.0, 40.0, 0.5], [4.0, 20.0, np.nan]])
    far = far_away(where)  # by longitude: 1, 3, 0, 2
    np.testing.assert_array_equal(far[:, :2], where[[1, 0, 3, 2]][:, :2])
    np.testing.assert_allclose(far[:, 2], [0.6, 0.4, 0.0, np.nan])
    assert where[0, 0] == 1.0
