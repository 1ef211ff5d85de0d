from pathlib import Path

import geopandas
import numpy as np
import pytest
from shapely import MultiPoint, Point, Polygon

from wherewhen.assess.points import read_points, text
from wherewhen.errors import UserError

LON, LAT = np.array([13.5, 13.6, 14.0]), np.array([50.4, 50.5, 50.6])
NAMES = ["forest", "water", None]
UTM = "EPSG:32633"


def points(crs: str = "EPSG:4326") -> geopandas.GeoDataFrame:
    columns = {"id": [7, 8, 9], "class": NAMES, "stratum": ["a", "", None]}
    return geopandas.GeoDataFrame(columns, geometry=geopandas.points_from_xy(LON, LAT), crs="EPSG:4326").to_crs(crs)


def written(folder: Path, name: str, frame: geopandas.GeoDataFrame) -> Path:
    path = folder / name
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".csv":
        frame.drop(columns="geometry").assign(Lon=LON, LAT=LAT).to_csv(path, index=False)
    else:
        frame.to_file(path)
    return path


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3035"])
@pytest.mark.parametrize("name", ["points.geojson", "points.gpkg", "points.parquet", "points.csv"])
@pytest.mark.parametrize("map_crs", [UTM, "EPSG:4326"])
def test_every_format_says_the_same(tmp_path: Path, name: str, crs: str, map_crs: str) -> None:
    found = read_points(written(tmp_path, name, points(crs)), "class", map_crs)
    truth = points(map_crs).geometry
    np.testing.assert_allclose(found["x"], truth.x, rtol=1e-8)
    np.testing.assert_allclose(found["y"], truth.y, rtol=1e-8)
    assert found["name"].tolist() == NAMES
    assert found["point"].tolist() == ["7", "8", "9"]
    assert found["stratum"].tolist() == ["a", None, None]


def test_x_and_y_of_a_csv_are_in_the_maps_system_unless_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("x;y;kind\n500000;5600000;1\n;5600000;2\nwest;1;3\n")
    found = read_points(path, "kind", UTM)
    assert found["x"][0] == 500_000
    assert found["point"].tolist() == ["1", "2", "3"]
    assert np.isfinite(found[["x", "y"]]).all(axis=1).tolist() == [True, False, False]
    moved = read_points(path, "kind", "EPSG:4326", crs=UTM)
    assert moved["x"][0] == pytest.approx(15)  # the meridian of the zone


def test_a_csv_names_its_coordinates_as_labels_do(tmp_path: Path) -> None:
    (tmp_path / "web.csv").write_text("lng,lat,class\n15,50,a\n")
    (tmp_path / "survey.csv").write_text("Easting,Northing,class\n500000,5600000,a\n")
    assert read_points(tmp_path / "web.csv", "class", "EPSG:4326")[["x", "y"]].to_numpy().tolist() == [[15, 50]]
    assert read_points(tmp_path / "survey.csv", "class", UTM)[["x", "y"]].to_numpy().tolist() == [[500_000, 5_600_000]]


def test_points_beyond_the_projection_and_without_geometry_are_kept_for_the_list(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"class": ["a", "b", "c"]}, geometry=[Point(13, 50), None, MultiPoint([(13.0, 51.0)])], crs="EPSG:4326"
    )
    found = read_points(written(tmp_path, "points.gpkg", frame), "class", "EPSG:4326")
    assert found["y"].tolist() == pytest.approx([50, np.nan, 51], nan_ok=True)
    far = read_points(written(tmp_path, "far.gpkg", frame.set_geometry([Point(13, 95)] * 3, crs=4326)), "class", UTM)
    assert not np.isfinite(far["x"]).any()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, np.nan, 3.0], ["1", None, "3"]),
        ([1, 2, 3], ["1", "2", "3"]),
        ([1.5, 2.0, None], ["1.5", "2", None]),
        ([" a", "", None], ["a", None, None]),
    ],
)
def test_classes_are_text(values: list[object], expected: list[str | None]) -> None:
    import pandas as pd

    assert text(pd.Series(values)).tolist() == expected


def test_points_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    square = Polygon([(0, 0), (0, 1), (1, 1)])
    crowd = MultiPoint([(0, 0), (1, 1)])
    for name, shapes in (("area.geojson", [Point(0, 0), square]), ("crowd.gpkg", [crowd, crowd])):
        written(tmp_path, name, geopandas.GeoDataFrame({"class": ["a", "b"]}, geometry=shapes, crs="EPSG:4326"))
    written(tmp_path, "nowhere.parquet", points().set_crs(None, allow_override=True))
    (tmp_path / "empty.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    (tmp_path / "broken.geojson").write_text('{"type": "Feat')
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    (tmp_path / "header.csv").write_text("lon,lat,class\n")
    (tmp_path / "places.csv").write_text("place,class\n1,a\n")
    (tmp_path / "other.csv").write_text("lon,lat,kind\n1,2,a\n")
    for name, message in (
        ("absent.csv", "does not exist"),
        ("area.geojson", r"feature 2 is a Polygon.*--design"),
        ("crowd.gpkg", "feature 1 holds several points"),
        ("nowhere.parquet", r"does not say its coordinate reference system.*--crs"),
        ("empty.geojson", "holds no points"),
        ("broken.geojson", "cannot read points from"),
        ("broken.parquet", "cannot read points from"),
        ("header.csv", "holds no points"),
        ("places.csv", "no columns lon and lat, nor x and y"),
        ("other.csv", r"no column 'class'.*among lon, lat, kind"),
    ):
        with pytest.raises(UserError, match=message):
            read_points(tmp_path / name, "class", UTM)
    with pytest.raises(UserError, match="'EPSG:1' is no coordinate reference system"):
        read_points(written(tmp_path, "good.csv", points()), "class", UTM, crs="EPSG:1")
