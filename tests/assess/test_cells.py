import numpy as np
import pytest
from pyproj import CRS, Transformer

from tests.assess.generated import DEGREES, UTM
from wherewhen.assess.cells import Cells
from wherewhen.errors import UserError
from wherewhen.ingest.rasters import Grid

EARTH_KM2 = 510_065_621.7  # of the WGS 84 ellipsoid


def geodesic(grid: Grid, row: int, column: int, side: int) -> float:
    """m² of a block of side × side pixels: a geodesic polygon with 200 corners an edge."""
    a, _, c, _, e, f = grid.transform
    way = np.linspace(0, side, 200, endpoint=False)
    x = c + a * (column + np.concatenate((way, np.full(200, side), side - way, np.zeros(200))))
    y = f + e * (row + np.concatenate((np.zeros(200), way, np.full(200, side), side - way)))
    crs = CRS(grid.crs)
    assert crs.geodetic_crs is not None
    lon, lat = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(x, y)
    ellipsoid = crs.get_geod()
    assert ellipsoid is not None
    return float(abs(ellipsoid.polygon_area_perimeter(lon, lat)[0]))


def whole(cells: Cells) -> np.ndarray:
    return np.broadcast_to(cells.area(0, cells.grid.shape[0]), cells.grid.shape)


SYSTEMS = {
    "UTM": UTM,
    "UTM, far from its meridian": ("EPSG:32633", (30.0, 0.0, 150_000.0, 0.0, -30.0, 7_600_000.0)),
    "coarse, over the whole zone": ("EPSG:32633", (2000.0, 0.0, 100_000.0, 0.0, -2000.0, 8_000_000.0)),
    "Web Mercator": ("EPSG:3857", (500.0, 0.0, 1e6, 0.0, -500.0, 9_000_000.0)),
    "Lambert conformal": ("EPSG:2154", (25.0, 0.0, 700_000.0, 0.0, -25.0, 6_600_000.0)),
    "US survey feet": ("EPSG:2263", (100.0, 0.0, 900_000.0, 0.0, -100.0, 250_000.0)),
    "polar, with the pole inside": ("EPSG:3413", (1000.0, 0.0, -150_000.0, 0.0, -1000.0, 150_000.0)),
    "equal area": ("EPSG:3035", (100.0, 0.0, 4_321_000.0, 0.0, -100.0, 3_210_000.0)),
    "equal area on a sphere": ("ESRI:54009", (1000.0, 0.0, 900_000.0, 0.0, -1000.0, 5_000_000.0)),
    "over the date line": ("EPSG:3832", (1000.0, 0.0, 3_200_000.0, 0.0, -1000.0, -1_000_000.0)),
    "oblong": ("EPSG:32633", (30.0, 0.0, 400_000.0, 0.0, -20.0, 5_600_000.0)),
    "degrees": DEGREES,
    "oblong degrees": ("EPSG:4326", (0.03, 0.0, -10.0, 0.0, -0.01, 68.0)),
    "rows from the south": ("EPSG:4326", (0.01, 0.0, 10.0, 0.0, 0.01, -60.0)),
    "on another ellipsoid": ("EPSG:4267", (0.01, 0.0, -100.0, 0.0, -0.01, 40.0)),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_areas_are_those_on_the_ellipsoid(name: str) -> None:
    crs, transform = SYSTEMS[name]
    grid = Grid(crs, transform, (300, 280))
    area = whole(Cells(grid, "a map"))
    for row, column in ((0, 0), (0, 260), (140, 130), (280, 0), (280, 260)):
        block = area[row : row + 20, column : column + 20].sum()
        assert block == pytest.approx(geodesic(grid, row, column, 20), rel=5e-5)


def test_the_plane_of_a_projection_would_be_wrong() -> None:
    """What is corrected: 0.08 % on the meridian of UTM, four times too much in Web Mercator at 60° north."""
    assert Cells(Grid(*UTM, (10, 10)), "a map").area(0, 10).mean() == pytest.approx(900 * 1.00055, rel=1e-4)
    mercator = Grid("EPSG:3857", (10.0, 0.0, 0.0, 0.0, -10.0, 8_399_738.0), (10, 10))
    assert Cells(mercator, "a map").area(0, 10).mean() == pytest.approx(100 / 4.0, rel=0.01)


def test_all_of_the_earth() -> None:
    degrees = Cells(Grid("EPSG:4326", (0.5, 0.0, -180.0, 0.0, -0.5, 90.0), (360, 720)), "a map")
    assert whole(degrees).sum() / 1e6 == pytest.approx(EARTH_KM2, rel=1e-9)
    of_points = Cells(Grid("EPSG:4326", (0.5, 0.0, -180.25, 0.0, -0.5, 90.25), (361, 720)), "a map")
    assert whole(of_points).sum() / 1e6 == pytest.approx(EARTH_KM2, rel=1e-9)
    mollweide = Cells(
        Grid("ESRI:54009", (50_000.0, 0.0, -18_050_000.0, 0.0, -50_000.0, 9_050_000.0), (362, 722)), "a map"
    )
    assert np.isfinite(whole(mollweide)).all()


@pytest.mark.parametrize("name", ["UTM", "degrees", "Web Mercator"])
def test_strips_hold_what_the_whole_holds(name: str) -> None:
    cells = Cells(Grid(*SYSTEMS[name], (300, 280)), "a map")
    parts = [np.broadcast_to(cells.area(top, height), (height, 280)) for top, height in ((0, 1), (1, 200), (201, 99))]
    np.testing.assert_array_equal(np.concatenate(parts), whole(cells))


def test_maps_of_one_row_or_column_have_areas() -> None:
    for shape in ((1, 1), (1, 40), (40, 1)):
        assert whole(Cells(Grid(*UTM, shape), "a map")).shape == shape
        assert whole(Cells(Grid(*DEGREES, shape), "a map")).shape == shape


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (Grid("", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), (5, 5)), "no coordinate reference system.*gdal_edit"),
        (Grid(UTM[0], (8.0, 6.0, 4e5, 6.0, -8.0, 5e6), (5, 5)), "rotated.*gdalwarp"),
        (Grid('LOCAL_CS["of the lab",UNIT["metre",1]]', (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), (5, 5)), "no place on Earth"),
        (Grid("EPSG:3035", (1.0, 0.0, 9e9, 0.0, -1.0, 9e9), (5, 5)), "lies outside"),
    ],
)
def test_maps_without_areas_are_refused(grid: Grid, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Cells(grid, "map.tif")
