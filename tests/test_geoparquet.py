"""Points as WKB and back, whole tables or parts of them."""

import numpy as np
import pyarrow as pa
import pytest

from wherewhen.errors import UserError
from wherewhen.geoparquet import points_to_wkb, wkb_to_points

PLACE = np.array([[47.5, 8.25], [np.nan, np.nan], [-33.0, 151.0], [0.0, -180.0], [np.nan, np.nan], [90.0, 0.0]])


def test_points_are_what_shapely_writes() -> None:
    shapely = pytest.importorskip("shapely")
    expected = [None if np.isnan(lat) else shapely.to_wkb(shapely.Point(lon, lat), byte_order=1) for lat, lon in PLACE]
    assert points_to_wkb(PLACE).to_pylist() == expected


@pytest.mark.parametrize(("start", "stop"), [(0, 6), (1, 4), (3, 6), (1, 2), (2, 2)])
def test_parts_come_back(start: int, stop: int) -> None:
    whole = points_to_wkb(PLACE)
    chunks = pa.chunked_array([whole[start:stop], whole[stop:], whole[2:4]], pa.binary())
    expected = np.concatenate([PLACE[start:stop], PLACE[stop:], PLACE[2:4]])
    np.testing.assert_array_equal(wkb_to_points(chunks, "here"), expected)


def test_what_is_no_point_is_refused() -> None:
    big_endian = b"\0\0\0\0\1" + b"\0" * 16
    for bad in (b"short", b"\0" * 42, big_endian):
        with pytest.raises(UserError, match="here: geometry must hold WKB points"):
            wkb_to_points(pa.chunked_array([points_to_wkb(PLACE), pa.array([bad], pa.binary())]), "here")
